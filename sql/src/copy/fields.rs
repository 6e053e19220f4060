//! Rows of text fields on their way to a batch: what the text and csv decoders share.
//!
//! Fields are collected per column and read by type when a batch is full. A value that does not fit is looked
//! for again row by row, so that the error names the first bad line as PostgreSQL does.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use exec::text::InputContext;
use proto::{ColumnType, ErrorKind, SqlError};

use super::options::CopyHeader;
use super::{BATCH_BYTES, BATCH_ROWS, bad_format, shown};
use crate::decode::column_of_texts;
use crate::session::CopyIn;

/// The fields of the batch at hand.
#[derive(Debug)]
pub(super) struct Fields {
    table: String,
    schema: SchemaRef,
    types: Vec<ColumnType>,
    context: InputContext,
    columns: Vec<StringBuilder>,
    /// The line of each row of the batch at hand.
    lines: Vec<u64>,
    /// Rows whose line is not the one behind the row before: (row, line).
    jumps: Vec<(u64, u64)>,
    /// Rows so far, over all batches.
    rows: u64,
    bytes: usize,
    header: CopyHeader,
    /// The line being read, counted from 1.
    pub(super) line: u64,
}

impl Fields {
    pub(super) fn new(copy: &CopyIn, context: InputContext) -> Self {
        let types: Vec<ColumnType> =
            copy.schema.fields().iter().map(|field| ColumnType::of_field(field)).collect();
        Self {
            table: copy.table.clone(),
            schema: Arc::clone(&copy.schema),
            columns: types.iter().map(|_| StringBuilder::new()).collect(),
            types,
            context,
            lines: Vec::new(),
            jumps: Vec::new(),
            rows: 0,
            bytes: 0,
            header: copy.options.header,
            line: 0,
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|field| field.name().as_str())
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// `COPY t, line 3`.
    pub(super) fn position(&self) -> String {
        format!("COPY {}, line {}", self.table, self.line)
    }

    /// `COPY t, line 3` for a row counted from 0.
    pub(super) fn position_of(&self, row: u64) -> String {
        format!("COPY {}, line {}", self.table, self.line_of(row))
    }

    fn line_of(&self, row: u64) -> u64 {
        let before = self.jumps.partition_point(|&(jump, _)| jump <= row);
        match before.checked_sub(1).map(|last| self.jumps[last]) {
            Some((jump, line)) => line + (row - jump),
            None => row + 1,
        }
    }

    /// Adds the place to an error; with the whole line where there is one.
    pub(super) fn located(&self, error: SqlError, line: Option<&[u8]>) -> SqlError {
        if error.context.is_some() {
            return error;
        }
        let context = match line.map(std::str::from_utf8) {
            Some(Ok(line)) => format!("{}: \"{}\"", self.position(), shown(line)),
            _ => self.position(),
        };
        error.with_context(context)
    }

    /// Whether the next row is the header.
    pub(super) fn takes_header(&self) -> bool {
        self.line == 1 && self.header != CopyHeader::Absent
    }

    /// Checks the header where it must match.
    pub(super) fn check_header(&self, names: &[Option<&str>]) -> Result<(), SqlError> {
        if self.header != CopyHeader::Match {
            return Ok(());
        }
        if names.len() != self.types.len() {
            return Err(bad_format(format!(
                "wrong number of fields in header line: got {}, expected {}",
                names.len(),
                self.types.len()
            )));
        }
        for (position, (got, expected)) in names.iter().zip(self.names()).enumerate() {
            let field = position + 1;
            match got {
                Some(got) if *got == expected => {}
                Some(got) => {
                    return Err(bad_format(format!(
                        "column name mismatch in header line field {field}: got \"{got}\", expected \"{expected}\""
                    )));
                }
                None => {
                    return Err(bad_format(format!(
                        "column name mismatch in header line field {field}: got null value, expected \"{expected}\""
                    )));
                }
            }
        }
        Ok(())
    }

    /// Adds a row; the fields must be as many as the columns.
    ///
    /// # Errors
    /// 22P04 for another number of fields; nothing is added then.
    pub(super) fn push_row<'a>(
        &mut self,
        count: usize,
        fields: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<(), SqlError> {
        if count < self.types.len() {
            let missing = self.schema.field(count).name();
            return Err(bad_format(format!("missing data for column \"{missing}\"")));
        }
        if count > self.types.len() {
            return Err(bad_format("extra data after last expected column"));
        }
        for (column, field) in self.columns.iter_mut().zip(fields) {
            match field {
                Some(text) => {
                    self.bytes += text.len();
                    column.append_value(text);
                }
                None => column.append_null(),
            }
        }
        self.bytes += count;
        self.lines.push(self.line);
        if self.line_of(self.rows) != self.line {
            self.jumps.push((self.rows, self.line));
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows so far as a batch.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        if self.lines.is_empty() {
            return Ok(None);
        }
        let texts: Vec<StringArray> = self.columns.iter_mut().map(StringBuilder::finish).collect();
        let lines = std::mem::take(&mut self.lines);
        self.bytes = 0;
        let columns: Result<Vec<ArrayRef>, SqlError> = texts
            .iter()
            .zip(&self.types)
            .map(|(texts, &ty)| column_of_texts(texts, ty, &self.context))
            .collect();
        let columns = columns.map_err(|error| self.first_bad(&texts, &lines).unwrap_or(error))?;
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(lines.len()));
        // NOT NULL is the executor's to check: batches carry the columns as nullable.
        let batch = RecordBatch::try_new_with_options(nullable(&self.schema), columns, &options);
        batch.map(Some).map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
    }

    /// The error of the first row that has one, in row order.
    fn first_bad(&self, texts: &[StringArray], lines: &[u64]) -> Option<SqlError> {
        (0..lines.len()).find_map(|row| {
            texts.iter().zip(&self.types).enumerate().find_map(|(position, (column, &ty))| {
                let error = column_of_texts(&column.slice(row, 1), ty, &self.context).err()?;
                let value = if column.is_null(row) {
                    "null input".to_owned()
                } else {
                    format!("\"{}\"", shown(column.value(row)))
                };
                let name = self.schema.field(position).name();
                let place = format!("COPY {}, line {}, column {name}: {value}", self.table, lines[row]);
                Some(error.with_context(place))
            })
        })
    }
}

/// The schema with every column nullable.
pub(crate) fn nullable(schema: &SchemaRef) -> SchemaRef {
    if schema.fields().iter().all(|field| field.is_nullable()) {
        return Arc::clone(schema);
    }
    let fields: Vec<_> =
        schema.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true))).collect();
    Arc::new(arrow::datatypes::Schema::new_with_metadata(fields, schema.metadata().clone()))
}
