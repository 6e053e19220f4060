//! COPY TO: rows in the text, csv and binary formats.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use proto::SqlError;

use super::binary::SIGNATURE;
use super::options::{CopyFormat, CopyHeader, CopyOptions};
use crate::encode::{ColumnWriter, EncodeContext, Format};
use crate::session::ResultColumn;

/// Encodes the rows of one COPY TO.
#[derive(Debug)]
pub struct CopyEncoder {
    columns: Arc<[ResultColumn]>,
    options: Arc<CopyOptions>,
    force_quote: Arc<[bool]>,
    context: EncodeContext,
}

impl CopyEncoder {
    #[must_use]
    pub fn new(columns: &Arc<[ResultColumn]>, options: CopyOptions, context: EncodeContext) -> Self {
        Self {
            force_quote: columns.iter().map(|column| options.force_quote.contains(&column.name)).collect(),
            columns: Arc::clone(columns),
            options: Arc::new(options),
            context,
        }
    }

    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.options.format == CopyFormat::Binary
    }

    /// What comes before the rows.
    #[must_use]
    pub fn header(&self) -> Option<Vec<u8>> {
        if self.is_binary() {
            let mut header = SIGNATURE.to_vec();
            header.extend_from_slice(&[0; 8]);
            return Some(header);
        }
        if self.options.header == CopyHeader::Absent {
            return None;
        }
        let mut header = Vec::new();
        for (position, column) in self.columns.iter().enumerate() {
            if position > 0 {
                header.push(self.options.delimiter);
            }
            let name = column.name.as_bytes();
            match self.options.format {
                CopyFormat::Csv => {
                    write_csv(name, &self.options, false, self.columns.len() == 1, &mut header)
                }
                _ => write_text(name, self.options.delimiter, &mut header),
            }
        }
        header.push(b'\n');
        Some(header)
    }

    /// What comes behind the rows.
    #[must_use]
    pub fn trailer(&self) -> Option<&'static [u8]> {
        self.is_binary().then_some(&[0xff, 0xff])
    }

    /// The rows of a batch.
    ///
    /// # Errors
    /// As `ColumnWriter::new`.
    pub fn batch(&self, batch: &RecordBatch) -> Result<CopyRows, SqlError> {
        let format = if self.is_binary() { Format::Binary } else { Format::Text };
        let columns = self
            .columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| ColumnWriter::new(array, column.ty, format, &self.context))
            .collect::<Result<_, _>>()?;
        Ok(CopyRows {
            columns,
            options: Arc::clone(&self.options),
            force_quote: Arc::clone(&self.force_quote),
        })
    }
}

/// The rows of one batch, ready to be written.
#[derive(Debug)]
pub struct CopyRows {
    columns: Vec<ColumnWriter>,
    options: Arc<CopyOptions>,
    force_quote: Arc<[bool]>,
}

impl CopyRows {
    /// Appends one row with its line end.
    pub fn write_row(&self, row: usize, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(&(self.columns.len() as i16).to_be_bytes());
            for column in &self.columns {
                column.write_field(row, out);
            }
            return;
        }
        let mut value = Vec::new();
        for (position, column) in self.columns.iter().enumerate() {
            if position > 0 {
                out.push(self.options.delimiter);
            }
            if column.is_null(row) {
                out.extend_from_slice(self.options.null.as_bytes());
                continue;
            }
            value.clear();
            column.write(row, &mut value);
            if self.options.format == CopyFormat::Csv {
                write_csv(&value, &self.options, self.force_quote[position], self.columns.len() == 1, out);
            } else {
                write_text(&value, self.options.delimiter, out);
            }
        }
        out.push(b'\n');
    }
}

/// A value with backslash escapes.
fn write_text(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    for &byte in value {
        let escaped = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            _ if byte == delimiter => delimiter,
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escaped]);
    }
}

/// A value in quotes where it needs them.
fn write_csv(value: &[u8], options: &CopyOptions, force: bool, alone: bool, out: &mut Vec<u8>) {
    let special =
        |byte: &u8| *byte == options.delimiter || *byte == options.quote || matches!(byte, b'\n' | b'\r');
    let quote =
        force || value == options.null.as_bytes() || (alone && value == b"\\.") || value.iter().any(special);
    if !quote {
        out.extend_from_slice(value);
        return;
    }
    out.push(options.quote);
    for &byte in value {
        if byte == options.quote || byte == options.escape {
            out.push(options.escape);
        }
        out.push(byte);
    }
    out.push(options.quote);
}
