//! COPY between tables and places that the server reaches: the loops over pieces and batches.
//!
//! What it is not: no formats and no places (`crate::copy`); a program is none of them.
//!
//! Invariants: a COPY that fails or is cancelled leaves no row, no transaction of its own and no half-written place;
//! this side holds a piece of the data and a batch of rows at once. The channel's owner still holds the rows of a
//! COPY FROM in memory until its commit.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt as _;
use planner::plan::{CopyFormat, CopyFrom, CopyOptions, QueryPlan};
use planner::syntax::Parsed;
use proto::SqlError;
use proto::catalog::TableMeta;

use super::super::SessionExecutor;
use super::super::prepare::result_columns;
use super::wire_options;
use crate::copy::parquet::{ParquetSink, ParquetSource};
use crate::copy::place::{Sink, Source};
use crate::copy::progress::CopyProgress;
use crate::copy::{self, CopyDecoder, CopyEncoder};
use crate::decode::input_context;
use crate::encode::EncodeContext;
use crate::session::{CopyIn, Executor as _, Outcome, ResultColumn, RowStream};

/// Bytes that are encoded before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// A batch that was refused, until its decoder has said where it stood.
struct Refused {
    error: SqlError,
    failed: Option<u64>,
    batch: RecordBatch,
    before: u64,
}

impl Refused {
    fn located(self, position_of: impl FnOnce(u64) -> String) -> SqlError {
        copy::located(self.error, self.failed, Some((&self.batch, self.before)), position_of)
    }
}

impl SessionExecutor {
    pub(super) async fn copy_from_place(
        &mut self,
        from: &CopyFrom,
        name: &str,
    ) -> Result<Outcome<Parsed>, SqlError> {
        let cancel = self.cancel.clone();
        let source = tokio::select! {
            source = self.shared.places.source(name) => source?,
            reason = cancel.cancelled() => return Err(reason.error()),
        };
        let progress = self.begin_progress(Some(&from.table), true, Some(source.size()));
        let schema = self.copy_begin(from, progress.clone()).await?;
        let taken = match from.options.format {
            CopyFormat::Parquet => self.take_parquet(source, from, &schema, progress).await,
            _ => self.take_data(source, from, schema, progress).await,
        };
        if let Err(error) = taken {
            self.copy_drop().await;
            return Err(error);
        }
        let rows = self.copy_end().await?;
        Ok(Outcome::Done { tag: format!("COPY {rows}") })
    }

    async fn take_data(
        &mut self,
        mut source: Source,
        from: &CopyFrom,
        schema: SchemaRef,
        progress: CopyProgress,
    ) -> Result<(), SqlError> {
        let context = input_context(&self.settings, self.now_micros());
        let options = wire_options(&from.options)?;
        let copy = CopyIn { table: from.table.name.clone(), schema, options, progress: progress.clone() };
        let mut decoder = CopyDecoder::new(copy, context)?;
        let cancel = self.cancel.clone();
        let mut rows = 0;
        loop {
            let piece = tokio::select! {
                biased;
                reason = cancel.cancelled() => return Err(reason.error()),
                piece = source.next_piece() => piece?,
            };
            let Some(piece) = piece else { break };
            progress.add_bytes(piece.len() as u64);
            decoder.push(&piece)?;
            while let Some(batch) = decoder.take_full()? {
                rows += self
                    .take_batch(batch, rows)
                    .await
                    .map_err(|refused| refused.located(|row| decoder.position_of(row)))?;
            }
        }
        for batch in decoder.finish()? {
            rows += self
                .take_batch(batch, rows)
                .await
                .map_err(|refused| refused.located(|row| decoder.position_of(row)))?;
        }
        Ok(())
    }

    async fn take_parquet(
        &mut self,
        source: Source,
        from: &CopyFrom,
        schema: &SchemaRef,
        progress: CopyProgress,
    ) -> Result<(), SqlError> {
        let context = input_context(&self.settings, self.now_micros());
        let cancel = self.cancel.clone();
        let opened = ParquetSource::open(source, &from.table.name, schema, from.listed, context, progress);
        let mut source = tokio::select! {
            biased;
            reason = cancel.cancelled() => return Err(reason.error()),
            source = opened => source?,
        };
        let mut rows = 0;
        loop {
            let batch = tokio::select! {
                biased;
                reason = cancel.cancelled() => return Err(reason.error()),
                batch = source.next_batch() => batch?,
            };
            let Some(batch) = batch else { return Ok(()) };
            rows += self
                .take_batch(batch, rows)
                .await
                .map_err(|refused| refused.located(|row| source.position_of(row)))?;
        }
    }

    /// Passes a batch on; `before` rows came before it.
    async fn take_batch(&mut self, batch: RecordBatch, before: u64) -> Result<u64, Refused> {
        match self.copy_batch(batch.clone()).await {
            Ok(()) => Ok(batch.num_rows() as u64),
            Err(error) => Err(Refused { error, failed: self.refused_copy_row(), batch, before }),
        }
    }

    pub(super) async fn copy_to_place(
        &mut self,
        query: &QueryPlan,
        table: Option<&Arc<TableMeta>>,
        options: &CopyOptions,
        name: &str,
    ) -> Result<Outcome<Parsed>, SqlError> {
        let rows = self.query_rows(query).await?;
        let columns: Arc<[ResultColumn]> = result_columns(&query.columns).into();
        let progress = self.begin_progress(table, false, Some(0));
        let sink = self.shared.places.sink(name).await?;
        let sent = match options.format {
            CopyFormat::Parquet => self.give_parquet(sink, rows, &columns, progress).await?,
            _ => self.give_data(sink, rows, &columns, options, progress).await?,
        };
        Ok(Outcome::Done { tag: format!("COPY {sent}") })
    }

    async fn next_rows(&self, rows: &mut RowStream) -> Result<Option<RecordBatch>, SqlError> {
        tokio::select! {
            biased;
            reason = self.cancel.cancelled() => Err(reason.error()),
            batch = rows.next() => batch.transpose(),
        }
    }

    async fn give_parquet(
        &self,
        sink: Sink,
        mut rows: RowStream,
        columns: &Arc<[ResultColumn]>,
        progress: CopyProgress,
    ) -> Result<u64, SqlError> {
        let context = EncodeContext::of(&self.settings);
        let mut sink = match ParquetSink::new(sink, columns, context, progress.clone()) {
            Ok(sink) => sink,
            Err(refused) => {
                let (sink, error) = *refused;
                sink.abandon().await;
                return Err(error);
            }
        };
        let written = async {
            let mut sent = 0;
            while let Some(batch) = self.next_rows(&mut rows).await? {
                let count = batch.num_rows() as u64;
                sink.write(batch).await?;
                progress.add_rows(count);
                sent += count;
            }
            sink.finish().await?;
            Ok(sent)
        }
        .await;
        if written.is_err() {
            sink.abandon().await;
        }
        written
    }

    async fn give_data(
        &self,
        mut sink: Sink,
        mut rows: RowStream,
        columns: &Arc<[ResultColumn]>,
        options: &CopyOptions,
        progress: CopyProgress,
    ) -> Result<u64, SqlError> {
        let written = async {
            let encoder =
                CopyEncoder::new(columns, wire_options(options)?, EncodeContext::of(&self.settings));
            let mut buffer = encoder.header().unwrap_or_default();
            let mut sent = 0;
            while let Some(batch) = self.next_rows(&mut rows).await? {
                let writer = encoder.batch(&batch)?;
                for row in 0..batch.num_rows() {
                    writer.write_row(row, &mut buffer);
                    if buffer.len() >= WRITE_BYTES {
                        progress.add_bytes(buffer.len() as u64);
                        sink.write(std::mem::take(&mut buffer)).await?;
                    }
                }
                progress.add_rows(batch.num_rows() as u64);
                sent += batch.num_rows() as u64;
            }
            buffer.extend_from_slice(encoder.trailer().unwrap_or_default());
            progress.add_bytes(buffer.len() as u64);
            sink.write(buffer).await?;
            sink.finish().await?;
            Ok(sent)
        }
        .await;
        if written.is_err() {
            sink.abandon().await;
        }
        written
    }
}
