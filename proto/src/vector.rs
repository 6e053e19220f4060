//! pgvector's text and binary forms of `vector`: one parser and one printer of each.
//!
//! Text: `[1,2.5,-3]`, white space around brackets, commas and numbers; binary: int16 dimensions, int16 unused
//! (0), then big-endian float4. Messages and SQLSTATEs are pgvector 0.8's, word for word.
//!
//! Invariant: a parsed vector has 1..=16000 elements, all finite.

use std::fmt::Write as _;

use crate::error::{ErrorKind, SqlError};
use crate::types::MAX_VECTOR_DIMENSIONS;

/// Parses the text form and appends the elements to `out`; returns the number of elements.
///
/// # Errors
/// 22P02 for malformed text, 22003 for a number out of range, 22000 for NaN, infinity or no element, 54000 for
/// more than 16000 elements. On error `out` is as it was.
pub fn parse_text(text: &str, out: &mut Vec<f32>) -> Result<usize, SqlError> {
    let start = out.len();
    let result = parse_elements(text, out, start);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn parse_elements(text: &str, out: &mut Vec<f32>, start: usize) -> Result<usize, SqlError> {
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return Err(malformed(text).with_detail("Vector contents must start with \"[\"."));
    }
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return Err(SqlError::new(ErrorKind::DataException, "vector must have at least 1 dimension"));
    }
    loop {
        if out.len() - start == MAX_VECTOR_DIMENSIONS {
            return Err(too_many_dimensions());
        }
        at = skip_space(bytes, at);
        if at == bytes.len() {
            return Err(malformed(text).with_detail("Unexpected end of input."));
        }
        let end = number_end(bytes, at);
        if end == at {
            return Err(malformed(text));
        }
        out.push(parse_number(text, &text[at..end])?);
        at = skip_space(bytes, end);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b']') => break,
            None => return Err(malformed(text).with_detail("Unexpected end of input.")),
            Some(_) => return Err(malformed(text)),
        }
    }
    at = skip_space(bytes, at + 1);
    if at != bytes.len() {
        return Err(malformed(text).with_detail("Junk after closing right brace."));
    }
    Ok(out.len() - start)
}

fn parse_number(whole: &str, token: &str) -> Result<f32, SqlError> {
    let value: f32 = token.parse().map_err(|_| malformed(whole))?;
    let digits = token.trim_start_matches(['+', '-']);
    if value.is_nan() {
        return Err(SqlError::new(ErrorKind::DataException, "NaN not allowed in vector"));
    }
    if value.is_infinite() {
        if digits.starts_with(['i', 'I']) {
            return Err(SqlError::new(ErrorKind::DataException, "infinite value not allowed in vector"));
        }
        return Err(SqlError::new(
            ErrorKind::NumericValueOutOfRange,
            format!("\"{token}\" is out of range for type vector"),
        ));
    }
    Ok(value)
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && matches!(bytes[at], b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r') {
        at += 1;
    }
    at
}

/// The end of the longest run of characters that can belong to a number (or `nan`, `inf`, `infinity`).
fn number_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'+' | b'-' | b'.')) {
        at += 1;
    }
    at
}

fn malformed(text: &str) -> SqlError {
    SqlError::new(
        ErrorKind::InvalidTextRepresentation,
        format!("invalid input syntax for type vector: \"{text}\""),
    )
}

fn too_many_dimensions() -> SqlError {
    SqlError::new(
        ErrorKind::ProgramLimitExceeded,
        format!("vector cannot have more than {MAX_VECTOR_DIMENSIONS} dimensions"),
    )
}

/// Appends the text form: shortest digits that read back as the same float4, as PostgreSQL prints them.
pub fn write_text(elements: &[f32], out: &mut String) {
    out.push('[');
    for (position, &element) in elements.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_float4(element, out);
    }
    out.push(']');
}

/// Appends a float4 as PostgreSQL prints it (`extra_float_digits` ≥ 1): shortest round-trip digits, plain
/// between 1e-4 and 1e15, exponent of at least two digits elsewhere.
pub fn write_float4(value: f32, out: &mut String) {
    if let Some(text) = special_float(f64::from(value)) {
        out.push_str(text);
        return;
    }
    let mut scientific = Scientific::default();
    let _ = write!(scientific, "{value:e}");
    write_shortest(scientific.text(), 6, out);
}

/// Appends a float8 as PostgreSQL prints it.
pub fn write_float8(value: f64, out: &mut String) {
    if let Some(text) = special_float(value) {
        out.push_str(text);
        return;
    }
    let mut scientific = Scientific::default();
    let _ = write!(scientific, "{value:e}");
    write_shortest(scientific.text(), 15, out);
}

fn special_float(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("Infinity")
    } else if value == f64::NEG_INFINITY {
        Some("-Infinity")
    } else if value == 0.0 {
        Some(if value.is_sign_negative() { "-0" } else { "0" })
    } else {
        None
    }
}

/// Rust's shortest scientific form of one number, without an allocation: at most 17 digits, point, two signs,
/// `e` and three digits of exponent.
#[derive(Default)]
struct Scientific {
    bytes: [u8; 32],
    length: usize,
}

impl Scientific {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl std::fmt::Write for Scientific {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Turns Rust's shortest scientific form into PostgreSQL's layout; decimal exponents from -4 up to
/// `plain_limit` are printed plain (6 for float4, 15 for float8), the others as `d.ddde+XX`.
fn write_shortest(scientific: &str, plain_limit: i32, out: &mut String) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    out.push_str(sign);
    // The digits around the point: the first one, and the others.
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if exponent < -4 || exponent >= plain_limit {
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "e{sign}{:02}", exponent.abs());
    } else if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(first);
        out.push_str(rest);
    } else {
        let whole = exponent as usize;
        out.push_str(first);
        if rest.len() <= whole {
            out.push_str(rest);
            out.extend(std::iter::repeat_n('0', whole - rest.len()));
        } else {
            out.push_str(&rest[..whole]);
            out.push('.');
            out.push_str(&rest[whole..]);
        }
    }
}

/// Parses the binary form and appends the elements to `out`; returns the number of elements.
///
/// # Errors
/// 22P03 when the length does not fit, 22000 for unused ≠ 0, no element, NaN or infinity, 54000 for too many.
pub fn parse_binary(bytes: &[u8], out: &mut Vec<f32>) -> Result<usize, SqlError> {
    let Some((header, body)) = bytes.split_at_checked(4) else {
        return Err(short_binary());
    };
    let dimensions = i16::from_be_bytes([header[0], header[1]]);
    let unused = i16::from_be_bytes([header[2], header[3]]);
    if dimensions < 1 {
        return Err(SqlError::new(ErrorKind::DataException, "vector must have at least 1 dimension"));
    }
    let dimensions = dimensions as usize;
    if dimensions > MAX_VECTOR_DIMENSIONS {
        return Err(too_many_dimensions());
    }
    if unused != 0 {
        return Err(SqlError::new(
            ErrorKind::DataException,
            format!("expected unused to be 0, not {unused}"),
        ));
    }
    if body.len() != dimensions * 4 {
        return Err(short_binary());
    }
    let start = out.len();
    let elements = body.chunks_exact(4);
    out.extend(elements.map(|bytes| f32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])));
    if let Err(error) = check_finite(&out[start..]) {
        out.truncate(start);
        return Err(error);
    }
    Ok(dimensions)
}

fn short_binary() -> SqlError {
    SqlError::new(ErrorKind::InvalidBinaryRepresentation, "insufficient data left in message")
}

/// Appends the binary form.
pub fn write_binary(elements: &[f32], out: &mut Vec<u8>) {
    out.extend_from_slice(&(elements.len() as i16).to_be_bytes());
    out.extend_from_slice(&0_i16.to_be_bytes());
    for element in elements {
        out.extend_from_slice(&element.to_be_bytes());
    }
}

/// # Errors
/// 22000 when an element is NaN or infinite.
pub fn check_finite(elements: &[f32]) -> Result<(), SqlError> {
    // Without an early end, so that it runs at the speed of memory.
    if elements.iter().fold(true, |finite, element| finite & element.is_finite()) {
        return Ok(());
    }
    let message = if elements.iter().any(|element| element.is_nan()) {
        "NaN not allowed in vector"
    } else {
        "infinite value not allowed in vector"
    };
    Err(SqlError::new(ErrorKind::DataException, message))
}

/// # Errors
/// 22000 when a vector of `actual` dimensions goes into a column of `expected`.
pub fn check_dimensions(expected: usize, actual: usize) -> Result<(), SqlError> {
    if expected == actual {
        return Ok(());
    }
    Err(SqlError::new(ErrorKind::DataException, format!("expected {expected} dimensions, not {actual}")))
}

#[cfg(test)]
mod tests;
