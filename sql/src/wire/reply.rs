//! Replies: an output buffer that messages are written into and that is sent with as few writes as possible.
//!
//! Invariant: what is unsent stays below `FLUSH_AT` plus one message, because callers await `flush_if_full`
//! after each; a slow client holds its session up, not the server's memory.

use std::io;

use proto::SqlError;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::error::{ErrorSeverity, error_fields};
use crate::session::{Notice, ResultColumn, TransactionStatus};

/// Unsent bytes at which the buffer is sent without being asked.
pub const FLUSH_AT: usize = 64 << 10;
/// Capacity above which the buffer is given back after it was sent.
const KEEP_CAPACITY: usize = 1 << 20;

/// The messages to a client, buffered.
#[derive(Debug)]
pub struct Replies<W> {
    writer: W,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Replies<W> {
    pub const fn new(writer: W) -> Self {
        Self { writer, buffer: Vec::new() }
    }

    /// Sends what is buffered.
    ///
    /// # Errors
    /// The connection's.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.writer.write_all(&self.buffer).await?;
        self.buffer.clear();
        if self.buffer.capacity() > KEEP_CAPACITY {
            self.buffer = Vec::new();
        }
        self.writer.flush().await
    }

    /// Sends what is buffered once it is much.
    ///
    /// # Errors
    /// The connection's.
    pub async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= FLUSH_AT { self.flush().await } else { Ok(()) }
    }

    /// Closes the sending side.
    pub async fn shut_down(&mut self) {
        // The client may be gone already; there is nobody left to tell.
        let _ = self.writer.shutdown().await;
    }

    /// The unsent bytes; rows and COPY data are written here directly.
    pub const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// One byte without a frame: the answer to SSLRequest and GSSENCRequest.
    pub fn raw(&mut self, byte: u8) {
        self.buffer.push(byte);
    }

    /// A message without a body.
    pub fn empty(&mut self, tag: u8) {
        self.message(tag, |_| {});
    }

    /// A message whose body `write` appends.
    pub fn message(&mut self, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
        let start = begin(&mut self.buffer, tag);
        write(&mut self.buffer);
        end(&mut self.buffer, start);
    }

    pub fn authentication_ok(&mut self) {
        self.authentication(0, &[]);
    }

    /// A request of authentication: its kind, and what the method says.
    pub fn authentication(&mut self, kind: i32, data: &[u8]) {
        self.message(b'R', |out| {
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(data);
        });
    }

    pub fn parameter_status(&mut self, name: &str, value: &str) {
        self.message(b'S', |out| {
            put_string(out, name);
            put_string(out, value);
        });
    }

    pub fn backend_key(&mut self, pid: i32, secret: i32) {
        self.message(b'K', |out| {
            out.extend_from_slice(&pid.to_be_bytes());
            out.extend_from_slice(&secret.to_be_bytes());
        });
    }

    /// `version` is the newest protocol spoken here, `options` the unknown `_pq_.` names.
    pub fn negotiate_protocol(&mut self, version: i32, options: &[String]) {
        self.message(b'v', |out| {
            out.extend_from_slice(&version.to_be_bytes());
            out.extend_from_slice(&(options.len() as i32).to_be_bytes());
            for option in options {
                put_string(out, option);
            }
        });
    }

    pub fn ready(&mut self, status: TransactionStatus) {
        let byte = match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        };
        self.message(b'Z', |out| out.push(byte));
    }

    pub fn error(&mut self, severity: ErrorSeverity, error: &SqlError) {
        let fields = error_fields(severity, error);
        self.fields(b'E', &fields);
    }

    pub fn notice(&mut self, notice: &Notice) {
        let mut fields = vec![
            (b'S', notice.severity.name().to_owned()),
            (b'V', notice.severity.name().to_owned()),
            (b'C', notice.code.to_owned()),
            (b'M', notice.message.clone()),
        ];
        fields.extend(notice.detail.clone().map(|detail| (b'D', detail)));
        fields.extend(notice.hint.clone().map(|hint| (b'H', hint)));
        self.fields(b'N', &fields);
    }

    fn fields(&mut self, tag: u8, fields: &[(u8, String)]) {
        self.message(tag, |out| {
            for (field, value) in fields {
                out.push(*field);
                put_string(out, value);
            }
            out.push(0);
        });
    }

    /// RowDescription; `format` gives each column's format code.
    pub fn row_description(&mut self, columns: &[ResultColumn], format: impl Fn(usize) -> i16) {
        self.message(b'T', |out| {
            out.extend_from_slice(&(columns.len() as i16).to_be_bytes());
            for (position, column) in columns.iter().enumerate() {
                put_string(out, &column.name);
                out.extend_from_slice(&column.table_oid.to_be_bytes());
                out.extend_from_slice(&column.attnum.to_be_bytes());
                out.extend_from_slice(&column.ty.oid().0.to_be_bytes());
                let length = if column.ty.array { -1 } else { column.ty.kind.length() };
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(&column.ty.typmod.to_be_bytes());
                out.extend_from_slice(&format(position).to_be_bytes());
            }
        });
    }

    pub fn parameter_description(&mut self, types: impl ExactSizeIterator<Item = u32>) {
        self.message(b't', |out| {
            out.extend_from_slice(&(types.len() as u16).to_be_bytes());
            for oid in types {
                out.extend_from_slice(&oid.to_be_bytes());
            }
        });
    }

    pub fn command_complete(&mut self, tag: &str) {
        self.message(b'C', |out| put_string(out, tag));
    }

    /// CopyInResponse (`G`) or CopyOutResponse (`H`).
    pub fn copy_response(&mut self, tag: u8, binary: bool, columns: usize) {
        self.message(tag, |out| {
            out.push(u8::from(binary));
            out.extend_from_slice(&(columns as i16).to_be_bytes());
            for _ in 0..columns {
                out.extend_from_slice(&i16::from(binary).to_be_bytes());
            }
        });
    }
}

/// Starts a message in a buffer; returns where its length goes.
pub fn begin(out: &mut Vec<u8>, tag: u8) -> usize {
    out.push(tag);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    start
}

/// Ends the message that `begin` started: fills in its length.
pub fn end(out: &mut [u8], start: usize) {
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a string and its NUL; a NUL inside would end it early and is left out.
fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|&byte| byte != 0));
    out.push(0);
}
