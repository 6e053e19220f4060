//! COPY: the options, the decoders of its three formats and the encoders of its output.
//!
//! What it is not: the protocol around it (session) or the writing of rows (executor). Decoders take bytes
//! as they come, in pieces of any size, and give record batches in the schema of the columns that the data
//! names.
//!
//! Invariant: what is buffered never exceeds one row's bytes (at most `ROW_LIMIT`), one piece and one batch.

use std::fmt;

use arrow::array::Array as _;
use arrow::record_batch::RecordBatch;
use exec::text::InputContext;
use proto::{ErrorKind, SqlError};

use crate::session::CopyIn;

mod binary;
mod csv;
mod fields;
pub mod options;
mod output;
pub(crate) mod parquet;
pub mod place;
pub mod progress;
mod text;

pub(crate) use fields::nullable;
pub use options::{CopyColumns, CopyFormat, CopyHeader, CopyOptions};
pub use output::{CopyEncoder, CopyRows};

/// The longest row of COPY data.
pub const ROW_LIMIT: usize = 64 << 20;
/// Rows at which a batch is full.
const BATCH_ROWS: usize = 8192;
/// Bytes of data at which a batch is full.
const BATCH_BYTES: usize = 1 << 20;
/// How much of a value PostgreSQL shows in the CONTEXT line.
const SHOWN_BYTES: usize = 100;

/// A decoder of one format.
trait Decoder: Send + fmt::Debug {
    /// Takes the next bytes.
    fn push(&mut self, bytes: &[u8]) -> Result<(), SqlError>;
    /// The data is complete.
    fn end(&mut self) -> Result<(), SqlError>;
    /// Whether a batch is full.
    fn is_full(&self) -> bool;
    /// The rows decoded so far; `None` when there are none.
    fn take(&mut self) -> Result<Option<RecordBatch>, SqlError>;
    /// PostgreSQL's CONTEXT line for where the decoder is.
    fn position(&self) -> String;
    /// PostgreSQL's CONTEXT line for a row, counted from 0.
    fn position_of(&self, row: u64) -> String;
}

/// Turns COPY data into batches.
#[derive(Debug)]
pub struct CopyDecoder {
    decoder: Box<dyn Decoder>,
}

impl CopyDecoder {
    /// A decoder for one COPY.
    ///
    /// # Errors
    /// Options that do not go together; 0A000 for a column type without binary input.
    pub fn new(copy: CopyIn, context: InputContext) -> Result<Self, SqlError> {
        copy.options.check()?;
        let decoder: Box<dyn Decoder> = match copy.options.format {
            CopyFormat::Text => Box::new(text::TextDecoder::new(copy, context)),
            CopyFormat::Csv => Box::new(csv::CsvDecoder::new(copy, context)),
            CopyFormat::Binary => Box::new(binary::BinaryDecoder::new(&copy, context)?),
        };
        Ok(Self { decoder })
    }

    /// Takes the next bytes of the data.
    ///
    /// # Errors
    /// What is wrong with the data, with the CONTEXT line of the place.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        self.decoder.push(bytes)
    }

    /// A batch once one is full.
    ///
    /// # Errors
    /// Values that their types do not take, with the CONTEXT line of the place.
    pub fn take_full(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        if self.decoder.is_full() { self.decoder.take() } else { Ok(None) }
    }

    /// The data is complete: the last batches.
    ///
    /// # Errors
    /// As `push` and `take_full`.
    pub fn finish(&mut self) -> Result<Vec<RecordBatch>, SqlError> {
        self.decoder.end()?;
        Ok(self.decoder.take()?.into_iter().collect())
    }

    /// PostgreSQL's CONTEXT line for where the decoder is.
    #[must_use]
    pub fn position(&self) -> String {
        self.decoder.position()
    }

    /// PostgreSQL's CONTEXT line for a row of the data, counted from 0 over all batches.
    #[must_use]
    pub fn position_of(&self, row: u64) -> String {
        self.decoder.position_of(row)
    }
}

fn bad_format(message: impl Into<String>) -> SqlError {
    SqlError::new(ErrorKind::BadCopyFileFormat, message)
}

fn too_long() -> SqlError {
    SqlError::new(
        ErrorKind::ProgramLimitExceeded,
        format!("a row of COPY data is longer than {ROW_LIMIT} bytes"),
    )
}

/// Adds the place of a refused row to an error that has none: the executor's word (`failed`), or the first NULL in a
/// column that must not have one. `before` counts the rows of the batches before.
pub(crate) fn located(
    error: SqlError,
    failed: Option<u64>,
    batch: Option<(&RecordBatch, u64)>,
    position_of: impl FnOnce(u64) -> String,
) -> SqlError {
    let found = batch.and_then(|(batch, before)| Some(before + refused_null(&error, batch)?));
    match failed.or(found) {
        Some(row) if error.context.is_none() => error.with_context(position_of(row)),
        _ => error,
    }
}

/// The row that violates NOT NULL, when the column it names came with the data.
fn refused_null(error: &SqlError, batch: &RecordBatch) -> Option<u64> {
    if error.kind != ErrorKind::NotNullViolation {
        return None;
    }
    let column = batch.column_by_name(error.column.as_deref()?)?;
    (0..column.len()).find(|&row| column.is_null(row)).map(|row| row as u64)
}

/// A value as the CONTEXT line shows it: cut after 100 bytes.
fn shown(text: &str) -> String {
    if text.len() <= SHOWN_BYTES {
        return text.to_owned();
    }
    let mut end = SHOWN_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests;
