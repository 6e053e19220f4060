//! Decoding of the server's messages: errors, column descriptions, rows.
//!
//! Invariant: a short or malformed body never panics; missing parts read as absent.

use std::fmt;
use std::io;

/// One column of a RowDescription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub table_oid: u32,
    pub attribute: i16,
    pub type_oid: u32,
    pub type_length: i16,
    pub type_modifier: i32,
    /// 0 text, 1 binary.
    pub format: i16,
}

/// The fields of an ErrorResponse or NoticeResponse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// CONTEXT, the field `W`.
    pub context: Option<String>,
    pub position: Option<u32>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

impl ServerError {
    /// Decodes the field list.
    #[must_use]
    pub fn decode(body: &[u8]) -> Self {
        let mut reader = MessageReader::new(body);
        let mut error = Self::default();
        while let Some(field) = reader.byte().filter(|&field| field != 0) {
            let Some(text) = reader.text() else { break };
            match field {
                b'V' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'W' => error.context = Some(text),
                b'P' => error.position = text.parse().ok(),
                b't' => error.table = Some(text),
                b'c' => error.column = Some(text),
                b'n' => error.constraint = Some(text),
                _ => {}
            }
        }
        error
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.severity, self.code, self.message)
    }
}

/// Why a call on a connection did not give a result.
#[derive(Debug)]
pub enum Failure {
    /// The server answered with an error; the session lives on (unless the error was fatal).
    Server(ServerError),
    /// The socket broke: what was under way has an unknown outcome.
    Socket(io::Error),
    /// The server sent something that does not belong here.
    Protocol(String),
}

impl Failure {
    /// The SQLSTATE, when the server answered.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.code),
            Self::Socket(_) | Self::Protocol(_) => None,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(formatter),
            Self::Socket(error) => write!(formatter, "connection broke: {error}"),
            Self::Protocol(what) => write!(formatter, "unexpected {what}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Reads a message body from front to back.
#[derive(Debug)]
pub struct MessageReader<'a> {
    rest: &'a [u8],
}

impl<'a> MessageReader<'a> {
    /// A reader at the start of `body`.
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    /// The next big-endian 16-bit number.
    pub fn int16(&mut self) -> Option<i16> {
        self.bytes(2).map(|bytes| i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The next big-endian 32-bit number.
    pub fn int32(&mut self) -> Option<i32> {
        self.bytes(4).map(|bytes| i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The next text that ends with a zero byte.
    pub fn text(&mut self) -> Option<String> {
        let end = self.rest.iter().position(|&byte| byte == 0)?;
        let text = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest = &self.rest[end + 1..];
        Some(text)
    }
}

/// Appends a text and its zero byte.
pub(super) fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(text.as_bytes());
    body.push(0);
}

/// Decodes a RowDescription.
pub(super) fn row_description(body: &[u8]) -> Vec<Column> {
    let mut reader = MessageReader::new(body);
    let count = reader.int16().unwrap_or(0);
    (0..count)
        .map_while(|_| {
            Some(Column {
                name: reader.text()?,
                table_oid: reader.int32()? as u32,
                attribute: reader.int16()?,
                type_oid: reader.int32()? as u32,
                type_length: reader.int16()?,
                type_modifier: reader.int32()?,
                format: reader.int16()?,
            })
        })
        .collect()
}

/// Decodes a DataRow into raw values.
pub(super) fn raw_row(body: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut reader = MessageReader::new(body);
    let count = reader.int16()?;
    let mut row = Vec::with_capacity(count.max(0) as usize);
    for _ in 0..count {
        let length = reader.int32()?;
        row.push(if length < 0 { None } else { Some(reader.bytes(length as usize)?.to_vec()) });
    }
    Some(row)
}

/// Decodes a DataRow of text values.
pub(super) fn data_row(body: &[u8]) -> Result<Vec<Option<String>>, Failure> {
    let row = raw_row(body).ok_or_else(|| Failure::Protocol("end of a DataRow".to_owned()))?;
    row.into_iter()
        .map(|value| {
            value
                .map(|bytes| {
                    String::from_utf8(bytes)
                        .map_err(|_| Failure::Protocol("bytes that are not UTF-8".to_owned()))
                })
                .transpose()
        })
        .collect()
}
