//! COPY: rows from the client or a place into a table, and query rows to the client or a place.
//!
//! What it is not: no data formats (`crate::copy`) and no protocol (session).
//!
//! Invariant: a COPY that fails leaves nothing, however much of it was already in the log.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DFSchema;
use exec::StatementContext;
use planner::plan::{self, CopyFrom, CopyPlan};
use planner::syntax::Parsed;
use proto::catalog::TableMeta;
use proto::{ErrorKind, SequenceId, SqlError};
use segments::TableSnapshot;

use super::insert::RowSink;
use super::prepare::result_columns;
use super::transaction::{Extent, Transaction};
use super::{SessionExecutor, rows, rows_error};
use crate::copy::options::CopyColumns;
use crate::copy::progress::{CopyProgress, CopyWork};
use crate::copy::{CopyFormat, CopyOptions};
use crate::session::{CopyIn, CopyOut, Outcome};

mod places;

/// A COPY … FROM under way; it holds the session's transaction until it ends.
pub(super) struct CopyRun {
    transaction: Transaction,
    plan: CopyFrom,
    context: Arc<StatementContext>,
    snapshot: Arc<TableSnapshot>,
    /// Columns filled from their own sequence: position and sequence.
    drawn: HashMap<usize, SequenceId>,
    sink: RowSink,
    rows: u64,
    /// The row of the data that failed a check, counted from 0.
    refused: Option<u64>,
    progress: CopyProgress,
}

impl std::fmt::Debug for CopyRun {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CopyRun")
            .field("table", &self.plan.table.name)
            .field("rows", &self.rows)
            .finish()
    }
}

impl SessionExecutor {
    pub(super) async fn copy_statement(&mut self, copy: &CopyPlan) -> Result<Outcome<Parsed>, SqlError> {
        match copy {
            CopyPlan::To { query, table, options, file: Some(file) } => {
                self.copy_to_place(query, table.as_ref(), options, file).await
            }
            CopyPlan::To { query, table, options, file: None } => {
                let options = wire_options(options)?;
                let rows = self.query_rows(query).await?;
                let columns = result_columns(&query.columns).into();
                let progress = self.begin_progress(table.as_ref(), false, None);
                Ok(Outcome::CopyOut(CopyOut { columns, rows, options, progress }))
            }
            CopyPlan::From(from) => match &from.file {
                Some(file) => self.copy_from_place(from, file).await,
                None => {
                    let options = wire_options(&from.options)?;
                    let progress = self.begin_progress(Some(&from.table), true, None);
                    let schema = self.copy_begin(from, progress.clone()).await?;
                    let table = from.table.name.clone();
                    Ok(Outcome::CopyIn(CopyIn { table, schema, options, progress }))
                }
            },
        }
    }

    /// Begins to count a COPY; `size` is that of a place's bytes, none for the client's connection.
    fn begin_progress(&self, table: Option<&Arc<TableMeta>>, from: bool, size: Option<u64>) -> CopyProgress {
        self.shared.copies.begin(CopyWork {
            pid: self.backend_pid,
            database: self.database,
            table: table.map(|table| table.id),
            from,
            file: size.is_some(),
            bytes_total: size.unwrap_or(0),
        })
    }

    /// Begins to take rows; the schema of the columns that the data name.
    async fn copy_begin(&mut self, from: &CopyFrom, progress: CopyProgress) -> Result<SchemaRef, SqlError> {
        let mut transaction = self.take_transaction();
        if transaction.read_only || self.reads_the_past() {
            self.keep(transaction);
            return Err(SqlError::new(
                ErrorKind::ReadOnlySqlTransaction,
                "cannot execute COPY FROM in a read-only transaction",
            ));
        }
        let table = &from.table;
        let prepared = self.copy_context(&mut transaction, table).await;
        let (context, snapshot) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.keep(transaction);
                return Err(error);
            }
        };
        let drawn = from
            .defaults
            .iter()
            .filter_map(|(position, _)| {
                let column = table.columns[*position].id;
                let mut sequences = context.session.catalog.sequences.values();
                sequences
                    .find(|sequence| sequence.owned_by == Some((table.id, column)))
                    .map(|sequence| (*position, sequence.id))
            })
            .collect();
        let schema = table.arrow_schema();
        let fields: Vec<_> = from.columns.iter().map(|&at| Arc::clone(&schema.fields()[at])).collect();
        let sink = RowSink::new(Arc::clone(table), &transaction);
        self.copy = Some(CopyRun {
            transaction,
            plan: from.clone(),
            context,
            snapshot,
            drawn,
            sink,
            rows: 0,
            refused: None,
            progress,
        });
        Ok(Arc::new(Schema::new(fields)))
    }

    async fn copy_context(
        &mut self,
        transaction: &mut Transaction,
        table: &Arc<TableMeta>,
    ) -> Result<(Arc<StatementContext>, Arc<TableSnapshot>), SqlError> {
        self.lock_for_writing(transaction, table.id, &[]).await?;
        let context = self.statement_context(transaction, &[table.id]).await?;
        let snapshot = self.snapshot_of(&context, table)?;
        Ok((context, snapshot))
    }

    pub(super) async fn copy_batch(&mut self, batch: RecordBatch) -> Result<(), SqlError> {
        let Some(mut run) = self.copy.take() else {
            return Err(SqlError::new(ErrorKind::ProtocolViolation, "no COPY is in progress"));
        };
        let result = self.copy_into(&mut run, &batch).await;
        self.copy = Some(run);
        result
    }

    async fn copy_into(&self, run: &mut CopyRun, batch: &RecordBatch) -> Result<(), SqlError> {
        let whole = self.with_defaults(run, batch).await?;
        let whole = rows::conform(&whole, &run.plan.table)?;
        if let Some(checks) = run.plan.checks.as_deref()
            && let Some((row, name)) = rows::first_failing(&whole, checks, &run.context)?
        {
            run.refused = Some(run.rows + row as u64);
            return Err(rows::check_violation(&whole, &run.plan.table, row, name));
        }
        let rows = whole.num_rows() as u64;
        run.rows += rows;
        run.progress.add_rows(rows);
        run.sink
            .push(self, &mut run.transaction, &run.snapshot, whole)
            .await
            .map_err(super::write::WriteFailure::into_error)
    }

    /// Whole rows: the data's columns in their places, defaults and NULLs in the others.
    async fn with_defaults(&self, run: &CopyRun, batch: &RecordBatch) -> Result<RecordBatch, SqlError> {
        let table = &run.plan.table;
        let count = batch.num_rows();
        let mut columns: Vec<Option<ArrayRef>> = vec![None; table.columns.len()];
        for (&position, column) in run.plan.columns.iter().zip(batch.columns()) {
            columns[position] = Some(Arc::clone(column));
        }
        for (position, expression) in &run.plan.defaults {
            columns[*position] = Some(match run.drawn.get(position) {
                Some(&sequence) => {
                    let values = run.context.sequences.next_values(sequence, count).await?;
                    let values = Int64Array::from(values);
                    let ty = table.columns[*position].ty.data_type();
                    arrow::compute::cast(&values, &ty).map_err(rows_error("COPY"))?
                }
                None => evaluate_constant(expression, count, &run.context)?,
            });
        }
        let schema = table.arrow_schema();
        let columns: Vec<ArrayRef> = columns
            .into_iter()
            .zip(schema.fields())
            .map(|(column, field)| column.unwrap_or_else(|| new_null_array(field.data_type(), count)))
            .collect();
        let nullable: Vec<_> =
            schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(nullable)), columns).map_err(rows_error("COPY"))
    }

    pub(super) fn refused_copy_row(&self) -> Option<u64> {
        self.copy.as_ref().and_then(|run| run.refused)
    }

    pub(super) async fn copy_end(&mut self) -> Result<u64, SqlError> {
        let Some(mut run) = self.copy.take() else {
            return Err(SqlError::new(ErrorKind::ProtocolViolation, "no COPY is in progress"));
        };
        let finished = run.sink.finish(self, &mut run.transaction).await;
        if run.transaction.extent != Extent::Statement {
            self.transaction = Some(run.transaction);
            return finished.map(|()| run.rows).map_err(super::write::WriteFailure::into_error);
        }
        match finished {
            Ok(()) => self
                .commit_transaction(run.transaction)
                .await
                .map(|_| run.rows)
                .map_err(super::write::WriteFailure::into_error),
            Err(failure) => {
                run.transaction.release_locks();
                Err(failure.into_error())
            }
        }
    }

    pub(super) async fn copy_drop(&mut self) {
        if let Some(run) = self.copy.take() {
            if run.transaction.extent == Extent::Statement {
                run.transaction.release_locks();
            } else {
                self.transaction = Some(run.transaction);
            }
        }
    }
}

/// `count` values of an expression without columns.
pub(super) fn evaluate_constant(
    expression: &datafusion::logical_expr::Expr,
    count: usize,
    context: &Arc<StatementContext>,
) -> Result<ArrayRef, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .map_err(rows_error("COPY"))?;
    let schema = Arc::new(DFSchema::empty());
    let mut arrays = exec::rows::evaluate(std::slice::from_ref(expression), &schema, &rows, context)?;
    arrays.pop().ok_or_else(|| SqlError::new(ErrorKind::Internal, "default expression without a value"))
}

/// The planner's options in the codecs' form.
///
/// # Errors
/// 0A000 for Parquet, which no client sends or takes.
fn wire_options(options: &plan::CopyOptions) -> Result<CopyOptions, SqlError> {
    let columns = |names: &[String]| match names {
        [] => CopyColumns::None,
        [star] if star == "*" => CopyColumns::All,
        named => CopyColumns::Named(named.to_vec()),
    };
    Ok(CopyOptions {
        format: match options.format {
            plan::CopyFormat::Text => CopyFormat::Text,
            plan::CopyFormat::Csv => CopyFormat::Csv,
            plan::CopyFormat::Binary => CopyFormat::Binary,
            plan::CopyFormat::Parquet => {
                return Err(SqlError::unsupported("COPY with FORMAT parquet over the connection"));
            }
        },
        delimiter: options.delimiter,
        null: options.null.clone(),
        header: match options.header {
            plan::CopyHeader::No => crate::copy::options::CopyHeader::Absent,
            plan::CopyHeader::Yes => crate::copy::options::CopyHeader::Present,
            plan::CopyHeader::Match => crate::copy::options::CopyHeader::Match,
        },
        quote: options.quote,
        escape: options.escape,
        force_quote: columns(&options.force_quote),
        force_not_null: columns(&options.force_not_null),
        force_null: columns(&options.force_null),
    })
}
