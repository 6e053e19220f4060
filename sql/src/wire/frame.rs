//! The framing gate: cuts the byte stream into exact frames under a size limit.
//!
//! Every method that awaits is cancel safe: bytes received stay in the gate.
//!
//! Invariant: the buffer grows with what arrives, never with what a length field promises.

use std::fmt;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use proto::{ErrorKind, SqlError};
use tokio::io::{AsyncRead, AsyncReadExt};

/// PostgreSQL's limit on a startup packet.
pub const STARTUP_LIMIT: usize = 10_000;
/// PostgreSQL's limit on messages that are always short, and ours on everything before authentication.
pub const SMALL_LIMIT: usize = 10_000;
/// The default limit on all other messages.
pub const DEFAULT_LIMIT: usize = 256 << 20;
/// How much one read asks for in a session.
const READ_STEP: usize = 32 << 10;
/// How much one read asks for before: many connections may sit there.
const STARTUP_STEP: usize = 1 << 10;
/// What `watch` takes in while a statement runs.
const WATCH_LIMIT: usize = 256 << 10;

/// One message: its type byte and its body without the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    pub body: Bytes,
}

/// Why no frame came.
#[derive(Debug)]
pub enum GateError {
    /// The client closed between two frames.
    Closed,
    /// The connection broke, or closed inside a frame.
    Broken(io::Error),
    /// The bytes cannot be a message; the stream is out of step and must be closed.
    Refused(SqlError),
}

impl fmt::Display for GateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("connection closed by client"),
            Self::Broken(error) => write!(formatter, "could not receive data from client: {error}"),
            Self::Refused(error) => error.fmt(formatter),
        }
    }
}

/// Reads frames from a connection.
#[derive(Debug)]
pub struct Gate<R> {
    reader: R,
    buffer: BytesMut,
    step: usize,
}

impl<R: AsyncRead + Unpin> Gate<R> {
    /// A gate over a fresh connection.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::new(), step: STARTUP_STEP }
    }

    /// The client is authenticated: read in larger steps from now on.
    pub const fn open_up(&mut self) {
        self.step = READ_STEP;
    }

    /// The next packet without type byte, as sent before a session: its body behind the length.
    ///
    /// # Errors
    /// The connection's end, or 08P01 for a length no such packet has.
    pub async fn startup_packet(&mut self) -> Result<Bytes, GateError> {
        self.fill(4).await?;
        let length = self.length_at(0);
        if !(8..=STARTUP_LIMIT).contains(&length) {
            return Err(GateError::Refused(violation("invalid length of startup packet")));
        }
        self.fill(length).await?;
        self.buffer.advance(4);
        Ok(self.buffer.split_to(length - 4).freeze())
    }

    /// The next message. `limit` bounds what may be long; short messages have PostgreSQL's bound.
    ///
    /// # Errors
    /// The connection's end, 08P01 for an unknown type or an impossible length, 54000 beyond the limit.
    pub async fn frame(&mut self, limit: usize) -> Result<Frame, GateError> {
        self.fill(1).await?;
        let tag = self.buffer[0];
        let bound = bound_of(tag, limit).map_err(GateError::Refused)?;
        self.fill(5).await?;
        let length = self.length_at(1);
        if length < 4 {
            return Err(GateError::Refused(violation("invalid message length")));
        }
        if length > bound {
            return Err(GateError::Refused(too_long(length, bound)));
        }
        self.fill(length + 1).await?;
        self.buffer.advance(5);
        let body = self.buffer.split_to(length - 4).freeze();
        Ok(Frame { tag, body })
    }

    /// Whether bytes beyond the last frame are here already.
    #[must_use]
    pub fn has_buffered(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The type of the next message when all of it has arrived.
    #[must_use]
    pub fn buffered_tag(&self) -> Option<u8> {
        (self.buffer.len() >= 5 && self.buffer.len() > self.length_at(1)).then(|| self.buffer[0])
    }

    /// Resolves when the client has gone; takes in what arrives meanwhile, up to a bound.
    pub async fn watch(&mut self) {
        while self.buffer.len() < WATCH_LIMIT {
            if self.read_more(self.step).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    fn length_at(&self, at: usize) -> usize {
        let bytes = &self.buffer[at..at + 4];
        u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
    }

    /// Reads until `wanted` bytes are buffered.
    async fn fill(&mut self, wanted: usize) -> Result<(), GateError> {
        while self.buffer.len() < wanted {
            let missing = wanted - self.buffer.len();
            self.read_more(missing.clamp(self.step, 1 << 20)).await?;
        }
        Ok(())
    }

    async fn read_more(&mut self, room: usize) -> Result<(), GateError> {
        self.buffer.reserve(room);
        match self.reader.read_buf(&mut self.buffer).await {
            Ok(0) if self.buffer.is_empty() => Err(GateError::Closed),
            Ok(0) => Err(GateError::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(GateError::Broken(error)),
        }
    }
}

/// The bound on a message of this type.
fn bound_of(tag: u8, limit: usize) -> Result<usize, SqlError> {
    match tag {
        b'Q' | b'P' | b'B' | b'F' | b'd' => Ok(limit),
        b'E' | b'C' | b'D' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => Ok(SMALL_LIMIT.min(limit)),
        _ => Err(violation(&format!("invalid frontend message type {tag}"))),
    }
}

fn violation(message: &str) -> SqlError {
    SqlError::new(ErrorKind::ProtocolViolation, message)
}

fn too_long(length: usize, bound: usize) -> SqlError {
    SqlError::new(
        ErrorKind::ProgramLimitExceeded,
        format!("message of {length} bytes exceeds the limit of {bound} bytes"),
    )
}

#[cfg(test)]
mod tests;
