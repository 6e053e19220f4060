//! COPY's text format: lines of fields between delimiters, backslash escapes, `\N`, `\.`.

use arrow::record_batch::RecordBatch;
use exec::text::InputContext;
use proto::SqlError;

use super::fields::Fields;
use super::options::CopyOptions;
use super::{Decoder, ROW_LIMIT, bad_format, too_long};
use crate::decode::text;
use crate::session::CopyIn;

/// How lines end; the first line's ending is the data's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    Unknown,
    Newline,
    Return,
    ReturnNewline,
}

#[derive(Debug)]
pub(super) struct TextDecoder {
    fields: Fields,
    options: CopyOptions,
    pending: Vec<u8>,
    /// How far `pending` was looked through for a line's end.
    scanned: usize,
    line_end: LineEnd,
    /// `\.` was read: the rest is ignored.
    ended: bool,
}

/// The bounds of a line in the pending bytes: its end, and where the next begins.
struct Line {
    end: usize,
    next: usize,
}

impl TextDecoder {
    pub(super) fn new(copy: CopyIn, context: InputContext) -> Self {
        Self {
            fields: Fields::new(&copy, context),
            options: copy.options,
            pending: Vec::new(),
            scanned: 0,
            line_end: LineEnd::Unknown,
            ended: false,
        }
    }

    /// The next complete line from `start`; `last` when no more bytes come.
    fn next_line(&mut self, start: usize, last: bool) -> Result<Option<Line>, SqlError> {
        let bytes = &self.pending;
        let mut at = self.scanned.max(start);
        while let Some(found) = bytes[at..]
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r' | b'\\'))
            .map(|offset| at + offset)
        {
            match bytes[found] {
                // The byte behind a backslash never ends a line.
                b'\\' if found + 1 < bytes.len() => at = found + 2,
                b'\\' if last => at = found + 1,
                b'\\' => {
                    self.scanned = found;
                    return Ok(None);
                }
                b'\n' => {
                    if matches!(self.line_end, LineEnd::Return | LineEnd::ReturnNewline) {
                        return Err(bad_format("literal newline found in data")
                            .with_hint("Use \"\\n\" to represent newline."));
                    }
                    self.line_end = LineEnd::Newline;
                    return Ok(Some(Line { end: found, next: found + 1 }));
                }
                _ => {
                    if found + 1 == bytes.len() && !last {
                        self.scanned = found;
                        return Ok(None);
                    }
                    let newline = bytes.get(found + 1) == Some(&b'\n');
                    let own = if newline { LineEnd::ReturnNewline } else { LineEnd::Return };
                    if self.line_end != LineEnd::Unknown && self.line_end != own {
                        return Err(bad_format("literal carriage return found in data")
                            .with_hint("Use \"\\r\" to represent carriage return."));
                    }
                    self.line_end = own;
                    return Ok(Some(Line { end: found, next: found + 1 + usize::from(newline) }));
                }
            }
        }
        self.scanned = bytes.len();
        Ok((last && start < bytes.len()).then_some(Line { end: bytes.len(), next: bytes.len() }))
    }

    fn run(&mut self, last: bool) -> Result<(), SqlError> {
        let mut start = 0;
        while !self.ended {
            let line = match self.next_line(start, last) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.fields.line += 1;
                    return Err(self.fields.located(error, None));
                }
            };
            self.fields.line += 1;
            let bytes = &self.pending[start..line.end];
            if bytes == b"\\." {
                self.ended = true;
            } else {
                take_line(&mut self.fields, &self.options, bytes)
                    .map_err(|error| self.fields.located(error, Some(bytes)))?;
            }
            start = line.next;
            self.scanned = start;
        }
        if self.ended {
            self.pending.clear();
            self.scanned = 0;
        } else {
            self.pending.drain(..start);
            self.scanned = self.scanned.saturating_sub(start);
        }
        if self.pending.len() > ROW_LIMIT {
            self.fields.line += 1;
            return Err(self.fields.located(too_long(), None));
        }
        Ok(())
    }
}

impl Decoder for TextDecoder {
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

/// Splits one line into fields and adds the row.
fn take_line(fields: &mut Fields, options: &CopyOptions, line: &[u8]) -> Result<(), SqlError> {
    let null = options.null.as_str();
    let whole = text(line)?;
    if fields.names().next().is_none() {
        return if line.is_empty() {
            fields.push_row(0, std::iter::empty())
        } else {
            fields.push_row(1, std::iter::empty())
        };
    }
    if !line.contains(&b'\\') {
        let delimiter = char::from(options.delimiter);
        let split = || whole.split(delimiter).map(|field| (field != null).then_some(field));
        if fields.takes_header() {
            return fields.check_header(&split().collect::<Vec<_>>());
        }
        return fields.push_row(split().count(), split());
    }
    let mut values = Vec::new();
    for raw in split_escaped(whole, options.delimiter) {
        values.push(if raw == null { None } else { Some(unescape(raw)?) });
    }
    if fields.takes_header() {
        return fields.check_header(&values.iter().map(Option::as_deref).collect::<Vec<_>>());
    }
    fields.push_row(values.len(), values.iter().map(Option::as_deref))
}

/// Splits at delimiters that no backslash stands before.
fn split_escaped(line: &str, delimiter: u8) -> Vec<&str> {
    let bytes = line.as_bytes();
    let (mut fields, mut start, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            at += 2;
            continue;
        }
        if bytes[at] == delimiter {
            fields.push(&line[start..at]);
            start = at + 1;
        }
        at += 1;
    }
    fields.push(&line[start..]);
    fields
}

/// Resolves backslash escapes.
fn unescape(raw: &str) -> Result<String, SqlError> {
    if !raw.contains('\\') {
        return Ok(raw.to_owned());
    }
    let bytes = raw.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' || at + 1 == bytes.len() {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        at += 1;
        let (byte, used) = escaped(&bytes[at..]);
        out.push(byte);
        at += used;
    }
    // Octal and hexadecimal escapes can make what is no text.
    text(&out).map(str::to_owned)
}

/// The byte that an escape behind its backslash means, and how many bytes it takes.
fn escaped(rest: &[u8]) -> (u8, usize) {
    let digits = |start: usize, most: usize, radix: u32| {
        rest[start..].iter().take(most).take_while(|byte| char::from(**byte).is_digit(radix)).count()
    };
    let number = |start: usize, count: usize, radix: u32| {
        rest[start..start + count]
            .iter()
            .fold(0_u32, |value, byte| value * radix + char::from(*byte).to_digit(radix).unwrap_or(0))
            as u8
    };
    match rest[0] {
        b'0'..=b'7' => {
            let count = digits(0, 3, 8);
            (number(0, count, 8), count)
        }
        b'x' => match digits(1, 2, 16) {
            0 => (b'x', 1),
            count => (number(1, count, 16), count + 1),
        },
        b'b' => (0x08, 1),
        b'f' => (0x0c, 1),
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'v' => (0x0b, 1),
        other => (other, 1),
    }
}
