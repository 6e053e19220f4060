//! COPY's binary format: signature, flags, rows of length-prefixed fields, a trailer.
//!
//! Values go straight into typed column builders; vectors are copied as big-endian floats.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use exec::text::InputContext;
use proto::{ColumnType, ErrorKind, SqlError};

use super::fields::nullable;
use super::{BATCH_BYTES, BATCH_ROWS, Decoder, ROW_LIMIT, bad_format, too_long};
use crate::decode::binary::{BinaryColumn, column};
use crate::session::CopyIn;

/// The first bytes of binary COPY data.
pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Bytes of signature, flags and extension length.
const HEADER: usize = 19;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    /// Bytes of the header's extension still to be skipped.
    Extension(usize),
    Rows,
    Ended,
}

#[derive(Debug)]
pub(super) struct BinaryDecoder {
    table: String,
    schema: SchemaRef,
    columns: Vec<Box<dyn BinaryColumn>>,
    pending: Vec<u8>,
    state: State,
    rows: usize,
    bytes: usize,
    /// The row being read, counted from 1.
    line: u64,
}

impl BinaryDecoder {
    pub(super) fn new(copy: &CopyIn, context: InputContext) -> Result<Self, SqlError> {
        let columns = copy
            .schema
            .fields()
            .iter()
            .map(|field| column(ColumnType::of_field(field), 0, context))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            table: copy.table.clone(),
            schema: nullable(&copy.schema),
            columns,
            pending: Vec::new(),
            state: State::Header,
            rows: 0,
            bytes: 0,
            line: 0,
        })
    }

    /// Takes as much as is complete from the front of `bytes`; returns how much.
    fn consume(&mut self, bytes: &[u8]) -> Result<usize, SqlError> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.state {
                State::Header => {
                    if !rest.starts_with(&SIGNATURE[..SIGNATURE.len().min(rest.len())]) {
                        return Err(bad_format("COPY file signature not recognized"));
                    }
                    let Some(header) = rest.get(..HEADER) else { return Ok(at) };
                    self.state = State::Extension(read_header(header)?);
                    at += HEADER;
                }
                State::Extension(length) => {
                    let skipped = length.min(rest.len());
                    at += skipped;
                    if skipped < length {
                        self.state = State::Extension(length - skipped);
                        return Ok(at);
                    }
                    self.state = State::Rows;
                }
                State::Rows => match self.take_row(rest)? {
                    0 => return Ok(at),
                    taken => at += taken,
                },
                State::Ended if rest.is_empty() => return Ok(at),
                State::Ended => {
                    return Err(self.located(bad_format("received copy data after EOF marker"), None));
                }
            }
        }
    }

    /// Takes one row if it is complete; returns its bytes.
    fn take_row(&mut self, bytes: &[u8]) -> Result<usize, SqlError> {
        let Some(count) = bytes.get(..2) else { return Ok(0) };
        let count = i16::from_be_bytes([count[0], count[1]]);
        if count == -1 {
            self.state = State::Ended;
            return Ok(2);
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            self.line += 1;
            let message = format!("row field count is {count}, expected {}", self.columns.len());
            return Err(self.located(bad_format(message), None));
        }
        let Some(length) = self.complete_length(bytes)? else { return Ok(0) };
        self.line += 1;
        let mut at = 2;
        for position in 0..self.columns.len() {
            let size = length_at(bytes, at).unwrap_or(-1);
            at += 4;
            if size == -1 {
                self.columns[position].append_null();
                continue;
            }
            let value = &bytes[at..at + size as usize];
            at += value.len();
            if let Err(error) = self.columns[position].append(value) {
                return Err(self.located(error, Some(position)));
            }
        }
        self.rows += 1;
        self.bytes += length;
        Ok(length)
    }

    /// The bytes of the row at the front; `None` while some are missing.
    fn complete_length(&mut self, bytes: &[u8]) -> Result<Option<usize>, SqlError> {
        let mut at = 2;
        for _ in 0..self.columns.len() {
            let Some(size) = length_at(bytes, at) else { return Ok(None) };
            at += 4;
            match size {
                -1 => {}
                ..-1 => {
                    self.line += 1;
                    return Err(self.located(bad_format("invalid field size"), None));
                }
                size => at += size as usize,
            }
            if at > ROW_LIMIT {
                self.line += 1;
                return Err(self.located(too_long(), None));
            }
        }
        Ok((at <= bytes.len()).then_some(at))
    }

    fn located(&self, error: SqlError, column: Option<usize>) -> SqlError {
        let column = column
            .map_or_else(String::new, |column| format!(", column {}", self.schema.field(column).name()));
        let context = format!("{}{column}", self.position());
        error.with_context(context)
    }
}

fn length_at(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Checks flags; returns the length of the extension.
fn read_header(header: &[u8]) -> Result<usize, SqlError> {
    let flags = length_at(header, 11).unwrap_or(0) as u32;
    if flags & (1 << 16) != 0 {
        return Err(bad_format("invalid COPY file header (WITH OIDS)"));
    }
    if flags >> 16 != 0 {
        return Err(bad_format("unrecognized critical flags in COPY file header"));
    }
    let extension = length_at(header, 15).unwrap_or(-1);
    usize::try_from(extension).map_err(|_| bad_format("invalid COPY file header (missing length)"))
}

impl Decoder for BinaryDecoder {
    fn push(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        if self.pending.is_empty() {
            let taken = self.consume(bytes)?;
            self.pending.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let taken = self.consume(&pending)?;
        pending.drain(..taken);
        self.pending = pending;
        Ok(())
    }

    fn end(&mut self) -> Result<(), SqlError> {
        match self.state {
            State::Header => Err(bad_format("COPY file signature not recognized")),
            State::Extension(_) => Err(bad_format("invalid COPY file header (wrong length)")),
            // A file may end without the trailer, but not inside a row.
            State::Rows if !self.pending.is_empty() => {
                self.line += 1;
                Err(self.located(bad_format("unexpected EOF in COPY data"), None))
            }
            State::Rows | State::Ended => Ok(()),
        }
    }

    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    fn take(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns = self.columns.iter_mut().map(|column| column.finish()).collect::<Result<_, _>>();
        let columns = columns.map_err(|error| self.located(error, None))?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(std::sync::Arc::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
    }

    fn position(&self) -> String {
        format!("COPY {}, line {}", self.table, self.line)
    }

    fn position_of(&self, row: u64) -> String {
        format!("COPY {}, line {}", self.table, row + 1)
    }
}
