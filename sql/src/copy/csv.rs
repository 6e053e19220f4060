//! COPY's csv format, by PostgreSQL's rules: quotes may open and close anywhere in a field, quoted fields may
//! hold line ends, only unquoted fields are NULL.

use arrow::record_batch::RecordBatch;
use exec::text::InputContext;
use proto::SqlError;

use super::fields::Fields;
use super::options::CopyOptions;
use super::text::LineEnd;
use super::{Decoder, ROW_LIMIT, bad_format, too_long};
use crate::decode::text;
use crate::session::CopyIn;

/// Where the search for a record's end stands.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    at: usize,
    in_quotes: bool,
    after_escape: bool,
    /// Line ends inside quotes.
    inner_lines: u64,
}

#[derive(Debug)]
pub(super) struct CsvDecoder {
    fields: Fields,
    options: CopyOptions,
    /// Per column: the null string means itself even unquoted; it means NULL even quoted.
    never_null: Vec<bool>,
    quoted_null: Vec<bool>,
    pending: Vec<u8>,
    scan: Scan,
    line_end: LineEnd,
    ended: bool,
}

impl CsvDecoder {
    pub(super) fn new(copy: CopyIn, context: InputContext) -> Self {
        let fields = Fields::new(&copy, context);
        let options = copy.options;
        Self {
            never_null: fields.names().map(|name| options.force_not_null.contains(name)).collect(),
            quoted_null: fields.names().map(|name| options.force_null.contains(name)).collect(),
            fields,
            options,
            pending: Vec::new(),
            scan: Scan::default(),
            line_end: LineEnd::Unknown,
            ended: false,
        }
    }

    /// The end of the next record and where the one behind it begins.
    fn next_record(&mut self, last: bool) -> Result<Option<(usize, usize)>, SqlError> {
        let (quote, escape) = (self.options.quote, self.options.escape);
        let bytes = &self.pending;
        let scan = &mut self.scan;
        while scan.at < bytes.len() {
            let byte = bytes[scan.at];
            if scan.in_quotes && escape != quote && byte == escape {
                scan.after_escape = !scan.after_escape;
            }
            if byte == quote && !scan.after_escape {
                scan.in_quotes = !scan.in_quotes;
            }
            if byte != escape || escape == quote {
                scan.after_escape = false;
            }
            if matches!(byte, b'\n' | b'\r') {
                if scan.in_quotes {
                    // As PostgreSQL counts: by the line end seen so far, and by `\r` while none was.
                    let counted = if self.line_end == LineEnd::Newline { b'\n' } else { b'\r' };
                    scan.inner_lines += u64::from(byte == counted);
                } else if byte == b'\r' && scan.at + 1 == bytes.len() && !last {
                    return Ok(None);
                } else {
                    let newline = byte == b'\r' && bytes.get(scan.at + 1) == Some(&b'\n');
                    check_line_end(&mut self.line_end, byte, newline)?;
                    let end = scan.at;
                    return Ok(Some((end, end + 1 + usize::from(newline))));
                }
            }
            scan.at += 1;
        }
        Ok((last && !bytes.is_empty()).then_some((bytes.len(), bytes.len())))
    }

    fn run(&mut self, last: bool) -> Result<(), SqlError> {
        let mut start = 0;
        while !self.ended && (start < self.pending.len()) {
            let (end, next) = match self.next_record(last) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    self.fields.line += 1;
                    return Err(self.fields.located(error, None));
                }
            };
            self.fields.line += 1;
            let record = &self.pending[start..end];
            if record == b"\\." {
                self.ended = true;
            } else {
                // PostgreSQL reports a record by the line it ends on.
                self.fields.line += self.scan.inner_lines;
                self.take_record(start, end)?;
            }
            start = next;
            self.scan = Scan { at: next, ..Scan::default() };
        }
        if self.ended {
            self.pending.clear();
            self.scan = Scan::default();
        } else {
            self.pending.drain(..start);
            self.scan.at -= start;
        }
        if self.pending.len() > ROW_LIMIT {
            self.fields.line += 1;
            return Err(self.fields.located(too_long(), None));
        }
        Ok(())
    }

    fn take_record(&mut self, start: usize, end: usize) -> Result<(), SqlError> {
        let record = &self.pending[start..end];
        let taken = split(record, &self.options).and_then(|values| {
            let texts: Vec<Option<&str>> = values
                .iter()
                .enumerate()
                .map(|(column, value)| {
                    let flag = |flags: &[bool]| flags.get(column).copied().unwrap_or(false);
                    let may_be_null =
                        if value.quoted { flag(&self.quoted_null) } else { !flag(&self.never_null) };
                    (!(may_be_null && value.text == self.options.null)).then_some(value.text.as_str())
                })
                .collect();
            if self.fields.takes_header() {
                return self.fields.check_header(&texts);
            }
            self.fields.push_row(texts.len(), texts.into_iter())
        });
        taken.map_err(|error| self.fields.located(error, Some(record)))
    }
}

fn check_line_end(known: &mut LineEnd, byte: u8, newline: bool) -> Result<(), SqlError> {
    let own = match (byte, newline) {
        (b'\n', _) => LineEnd::Newline,
        (_, true) => LineEnd::ReturnNewline,
        (_, false) => LineEnd::Return,
    };
    if *known != LineEnd::Unknown && *known != own {
        return Err(if own == LineEnd::Newline {
            bad_format("unquoted newline found in data")
                .with_hint("Use quoted CSV field to represent newline.")
        } else {
            bad_format("unquoted carriage return found in data")
                .with_hint("Use quoted CSV field to represent carriage return.")
        });
    }
    *known = own;
    Ok(())
}

/// One field of a record.
struct Value {
    text: String,
    quoted: bool,
}

/// Splits a record into its fields.
fn split(record: &[u8], options: &CopyOptions) -> Result<Vec<Value>, SqlError> {
    let (delimiter, quote, escape) = (options.delimiter, options.quote, options.escape);
    let mut values = Vec::new();
    let (mut field, mut quoted, mut in_quotes) = (Vec::new(), false, false);
    let mut at = 0;
    while at < record.len() {
        let byte = record[at];
        at += 1;
        if in_quotes {
            if byte == escape && record.get(at).is_some_and(|&next| next == escape || next == quote) {
                field.push(record[at]);
                at += 1;
            } else if byte == quote {
                in_quotes = false;
            } else {
                field.push(byte);
            }
        } else if byte == delimiter {
            values.push(value(&field, quoted)?);
            field.clear();
            quoted = false;
        } else if byte == quote {
            in_quotes = true;
            quoted = true;
        } else {
            field.push(byte);
        }
    }
    if in_quotes {
        return Err(bad_format("unterminated CSV quoted field"));
    }
    values.push(value(&field, quoted)?);
    Ok(values)
}

fn value(field: &[u8], quoted: bool) -> Result<Value, SqlError> {
    Ok(Value { text: text(field)?.to_owned(), quoted })
}

impl Decoder for CsvDecoder {
    fn push(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        if self.ended {
            return Ok(());
        }
        self.pending.extend_from_slice(bytes);
        self.run(false)
    }

    fn end(&mut self) -> Result<(), SqlError> {
        self.run(true)
    }

    fn is_full(&self) -> bool {
        self.fields.is_full()
    }

    fn take(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        self.fields.take()
    }

    fn position(&self) -> String {
        self.fields.position()
    }

    fn position_of(&self, row: u64) -> String {
        self.fields.position_of(row)
    }
}
