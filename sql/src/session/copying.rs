//! COPY over the wire: data from the client into batches, batches to the client as data.

use arrow::record_batch::RecordBatch;
use proto::{ErrorKind, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{CopyIn, CopyOut, Executor};
use super::{Failure, Session};
use crate::copy::{self, CopyDecoder, CopyEncoder, CopyFormat};
use crate::wire::frame::GateError;
use crate::wire::messages::Message;
use crate::wire::reply::{FLUSH_AT, begin, end};

/// How much of one CopyData is decoded before full batches are passed on.
const DECODE_STEP: usize = 1 << 20;

impl<E, R, W> Session<E, R, W>
where
    E: Executor,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    /// Takes the client's data; gives the command tag.
    pub(super) async fn copy_in(&mut self, copy: CopyIn) -> Result<String, Failure> {
        match self.take_copy(copy).await {
            Ok(decoder) => {
                let rows = self.watch.run(&mut self.gate, self.executor.copy_finish()).await;
                let rows = rows.map_err(|error| self.located(error, &decoder, None))?;
                self.send_notices();
                Ok(format!("COPY {rows}"))
            }
            Err(failure) => {
                self.executor.copy_abort().await;
                Err(failure)
            }
        }
    }

    async fn take_copy(&mut self, copy: CopyIn) -> Result<CopyDecoder, Failure> {
        let context = crate::decode::input_context(self.executor.settings(), self.executor.now_micros());
        let columns = copy.schema.fields().len();
        let binary = copy.options.format == CopyFormat::Binary;
        let progress = copy.progress.clone();
        let mut decoder = CopyDecoder::new(copy, context)?;
        self.replies.copy_response(b'G', binary, columns);
        self.replies.flush().await?;
        let mut rows = 0_u64;
        loop {
            match self.copy_message().await? {
                Some(Message::CopyData(data)) => {
                    progress.add_bytes(data.len() as u64);
                    for piece in data.chunks(DECODE_STEP) {
                        decoder.push(piece)?;
                        while let Some(batch) = decoder.take_full()? {
                            let passed = self.pass_on(batch.clone()).await;
                            passed.map_err(|error| self.located(error, &decoder, Some((&batch, rows))))?;
                            rows += batch.num_rows() as u64;
                        }
                    }
                    self.watch.cancel().check()?;
                }
                Some(Message::CopyDone) => break,
                Some(Message::CopyFail(reason)) => {
                    return Err(SqlError::new(
                        ErrorKind::QueryCanceled,
                        format!("COPY from stdin failed: {reason}"),
                    )
                    .with_context(decoder.position())
                    .into());
                }
                _ => {}
            }
        }
        for batch in decoder.finish()? {
            let passed = self.pass_on(batch.clone()).await;
            passed.map_err(|error| self.located(error, &decoder, Some((&batch, rows))))?;
            rows += batch.num_rows() as u64;
        }
        Ok(decoder)
    }

    async fn pass_on(&mut self, batch: RecordBatch) -> Result<(), SqlError> {
        self.watch.run(&mut self.gate, self.executor.copy_rows(batch)).await
    }

    /// Adds the line of the row that was refused: the executor's word, or the first NULL that must not be one.
    fn located(
        &self,
        error: SqlError,
        decoder: &CopyDecoder,
        batch: Option<(&RecordBatch, u64)>,
    ) -> SqlError {
        copy::located(error, self.executor.failed_copy_row(), batch, |row| decoder.position_of(row))
    }

    /// The next message during COPY; `None` for Flush and Sync, which mean nothing there.
    async fn copy_message(&mut self) -> Result<Option<Message>, Failure> {
        let cancel = self.watch.cancel().clone();
        let frame = tokio::select! {
            biased;
            frame = self.gate.frame(self.limits.message_bytes) => frame?,
            reason = cancel.cancelled() => return Err(reason.error().into()),
        };
        let tag = frame.tag;
        match Message::decode(frame)? {
            message @ (Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_)) => Ok(Some(message)),
            Message::Flush | Message::Sync => Ok(None),
            Message::Terminate => Err(GateError::Closed.into()),
            _ => Err(SqlError::new(
                ErrorKind::ProtocolViolation,
                format!("unexpected message type 0x{tag:02X} during COPY from stdin"),
            )
            .into()),
        }
    }

    /// Sends a result as COPY data; gives the command tag.
    pub(super) async fn copy_out(&mut self, copy: CopyOut) -> Result<String, Failure> {
        let CopyOut { columns, mut rows, options, progress } = copy;
        let encoder = CopyEncoder::new(&columns, options, self.encode_context());
        self.replies.copy_response(b'H', encoder.is_binary(), columns.len());
        let mut sent = 0_u64;
        // Clients read a row per message; the binary header is in the message of the first row.
        let mut header = encoder.header();
        if !encoder.is_binary()
            && let Some(header) = header.take()
        {
            self.replies.message(b'd', |out| out.extend_from_slice(&header));
        }
        while let Some(batch) = self.watch.next_batch(&mut self.gate, &mut rows).await? {
            let writer = encoder.batch(&batch)?;
            for row in 0..batch.num_rows() {
                let buffer = self.replies.buffer();
                let start = begin(buffer, b'd');
                buffer.extend(header.take().into_iter().flatten());
                writer.write_row(row, buffer);
                end(buffer, start);
                progress.add_bytes((buffer.len() - start) as u64);
                progress.add_rows(1);
                sent += 1;
                if self.replies.buffer().len() >= FLUSH_AT {
                    self.send_full().await?;
                }
            }
        }
        if let Some(trailer) = encoder.trailer() {
            let header = header.take().unwrap_or_default();
            self.replies.message(b'd', |out| {
                out.extend_from_slice(&header);
                out.extend_from_slice(trailer);
            });
        }
        self.replies.empty(b'c');
        Ok(format!("COPY {sent}"))
    }
}
