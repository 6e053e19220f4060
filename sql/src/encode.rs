//! Encoding results: Arrow batches to rows in PostgreSQL's text and binary forms.
//!
//! How a column is written is decided once per batch and column; writing a cell is one indirect call.
//!
//! What it is not: the text forms themselves (exec::text) or the framing of other messages (wire).

use std::fmt;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::record_batch::RecordBatch;
use exec::text::TimeZone;
use proto::{ColumnType, ErrorKind, SqlError};

use crate::session::ResultColumn;
use crate::settings::SessionSettings;
use crate::wire::reply::{begin, end};

mod binary;
mod carrier;
pub mod numeric;
mod text;

pub(crate) use binary::{EPOCH_DAYS, EPOCH_MICROS};

/// PostgreSQL's bound on one message.
const ROW_LIMIT: usize = (1 << 30) - 1;

/// The form of a value on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

impl Format {
    /// # Errors
    /// 22023 for anything but 0 and 1.
    pub fn of_code(code: i16) -> Result<Self, SqlError> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            _ => Err(SqlError::new(
                ErrorKind::InvalidParameterValue,
                format!("unsupported format code: {code}"),
            )),
        }
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// What output depends on in the session.
#[derive(Clone, Copy, Debug, Default)]
pub struct EncodeContext {
    pub zone: TimeZone,
    /// `bytea_output = escape`.
    pub bytea_escape: bool,
}

impl EncodeContext {
    /// The context of a session's settings.
    #[must_use]
    pub fn of(settings: &SessionSettings) -> Self {
        Self { zone: settings.time_zone(), bytea_escape: settings.get("bytea_output") == Some("escape") }
    }
}

/// Writes the value of a row that is not null; text goes through the scratch string.
type WriteValue = Box<dyn Fn(usize, &mut Vec<u8>) + Send>;

/// One column of a batch, ready to be written in one format.
pub struct ColumnWriter {
    nulls: Option<NullBuffer>,
    write: WriteValue,
}

impl fmt::Debug for ColumnWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ColumnWriter").finish_non_exhaustive()
    }
}

impl ColumnWriter {
    /// Decides how a column is written.
    ///
    /// # Errors
    /// XX000 when the array cannot carry the type, 0A000 for a type without binary form.
    pub fn new(
        array: &ArrayRef,
        ty: ColumnType,
        format: Format,
        context: &EncodeContext,
    ) -> Result<Self, SqlError> {
        let array = carrier::carry(carrier::of_pair(array, ty, format), ty)?;
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        let write = match format {
            Format::Text => text::writer(&array, ty, context)?,
            Format::Binary => binary::writer(&array, ty)?,
        };
        Ok(Self { nulls, write })
    }

    /// Whether the value of a row is NULL.
    #[must_use]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the value of a row that is not null.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        (self.write)(row, out);
    }

    /// Appends length and value, -1 for NULL.
    pub fn write_field(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            return;
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        (self.write)(row, out);
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// The rows of one batch, ready to be written as DataRow messages.
#[derive(Debug)]
pub struct RowWriter {
    columns: Vec<ColumnWriter>,
    rows: usize,
}

impl RowWriter {
    /// Decides how every column is written.
    ///
    /// # Errors
    /// XX000 when the batch is not what was announced; as `ColumnWriter::new`.
    pub fn new(
        batch: &RecordBatch,
        columns: &[ResultColumn],
        format: impl Fn(usize) -> Format,
        context: &EncodeContext,
    ) -> Result<Self, SqlError> {
        if batch.num_columns() != columns.len() {
            return Err(SqlError::new(
                ErrorKind::Internal,
                format!("result has {} columns, {} were announced", batch.num_columns(), columns.len()),
            ));
        }
        let writers = columns
            .iter()
            .zip(batch.columns())
            .enumerate()
            .map(|(position, (column, array))| ColumnWriter::new(array, column.ty, format(position), context))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { columns: writers, rows: batch.num_rows() })
    }

    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Appends one row as a DataRow message.
    ///
    /// # Errors
    /// 54000 when the row is longer than a message can be; nothing is appended then.
    pub fn write_row(&self, row: usize, out: &mut Vec<u8>) -> Result<(), SqlError> {
        let before = out.len();
        let start = begin(out, b'D');
        out.extend_from_slice(&(self.columns.len() as i16).to_be_bytes());
        for column in &self.columns {
            column.write_field(row, out);
        }
        if out.len() - before > ROW_LIMIT {
            out.truncate(before);
            return Err(SqlError::new(ErrorKind::ProgramLimitExceeded, "out of memory")
                .with_detail(format!("A row is longer than the {ROW_LIMIT} bytes of a message.")));
        }
        end(out, start);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
