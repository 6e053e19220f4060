//! Reading a message's body: every read is checked against the end of the frame.
//!
//! Strings must be UTF-8, as PostgreSQL demands of a UTF-8 client.

use bytes::{Buf, Bytes};
use proto::{ErrorKind, SqlError};

/// What is left of one body.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
}

impl Body {
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// # Errors
    /// 08P01 when the frame is too short.
    pub fn u8(&mut self) -> Result<u8, SqlError> {
        self.need(1)?;
        Ok(self.bytes.get_u8())
    }

    /// # Errors
    /// 08P01 when the frame is too short.
    pub fn u16(&mut self) -> Result<u16, SqlError> {
        self.need(2)?;
        Ok(self.bytes.get_u16())
    }

    /// # Errors
    /// 08P01 when the frame is too short.
    pub fn i16(&mut self) -> Result<i16, SqlError> {
        self.need(2)?;
        Ok(self.bytes.get_i16())
    }

    /// # Errors
    /// 08P01 when the frame is too short.
    pub fn u32(&mut self) -> Result<u32, SqlError> {
        self.need(4)?;
        Ok(self.bytes.get_u32())
    }

    /// # Errors
    /// 08P01 when the frame is too short.
    pub fn i32(&mut self) -> Result<i32, SqlError> {
        self.need(4)?;
        Ok(self.bytes.get_i32())
    }

    /// # Errors
    /// 08P01 when the frame is too short.
    pub fn take(&mut self, length: usize) -> Result<Bytes, SqlError> {
        self.need(length)?;
        Ok(self.bytes.split_to(length))
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }

    /// A string up to its NUL.
    ///
    /// # Errors
    /// 08P01 without a NUL, 22021 when it is not UTF-8.
    pub fn string(&mut self) -> Result<String, SqlError> {
        let end = self
            .bytes
            .iter()
            .position(|&byte| byte == 0)
            .ok_or_else(|| violation("invalid string in message"))?;
        let text = utf8(&self.bytes[..end])?.to_owned();
        self.bytes.advance(end + 1);
        Ok(text)
    }

    /// A string whose empty form means the unnamed statement or portal.
    ///
    /// # Errors
    /// As `string`.
    pub fn name(&mut self) -> Result<Option<String>, SqlError> {
        self.string().map(|name| (!name.is_empty()).then_some(name))
    }

    /// A count of items that each need at least `size` bytes; refused when they cannot be there.
    ///
    /// # Errors
    /// 08P01 when the frame is too short.
    pub fn count(&mut self, size: usize) -> Result<usize, SqlError> {
        let count = usize::from(self.u16()?);
        self.need(count * size)?;
        Ok(count)
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 08P01 when something is left.
    pub fn finish(&self) -> Result<(), SqlError> {
        if self.is_empty() { Ok(()) } else { Err(violation("invalid message format")) }
    }

    fn need(&self, length: usize) -> Result<(), SqlError> {
        if self.bytes.len() < length {
            return Err(violation("insufficient data left in message"));
        }
        Ok(())
    }
}

fn violation(message: &str) -> SqlError {
    SqlError::new(ErrorKind::ProtocolViolation, message)
}

/// The text of bytes.
///
/// # Errors
/// 22021 that names the first bytes that are not UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, SqlError> {
    std::str::from_utf8(bytes).map_err(|error| invalid_utf8(bytes, &error))
}

/// PostgreSQL's message for bytes that are not UTF-8: the sequence its first byte promises, as far as there.
fn invalid_utf8(bytes: &[u8], error: &std::str::Utf8Error) -> SqlError {
    let rest = &bytes[error.valid_up_to()..];
    let promised = match rest.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let shown: Vec<String> = rest.iter().take(promised).map(|byte| format!("0x{byte:02x}")).collect();
    SqlError::new(
        ErrorKind::CharacterNotInRepertoire,
        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
    )
}
