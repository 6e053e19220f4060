//! Functions on bytes: `encode` and `decode`, lengths, random identities.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, FixedSizeBinaryBuilder, Int32Array, StringArray};
use proto::{ErrorKind, SqlError};

use super::overload::{Call, PgFunction, rows};
use crate::text::number::{parse_bytea, write_bytea};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// PostgreSQL breaks base64 after this many characters.
const BASE64_LINE: usize = 76;

fn unknown_encoding(name: &str) -> SqlError {
    SqlError::new(ErrorKind::InvalidParameterValue, format!("unrecognized encoding: \"{name}\""))
}

fn binary(call: &Call<'_>, position: usize) -> Result<BinaryArray, SqlError> {
    Ok(call.array(position)?.as_binary::<i32>().clone())
}

fn encode(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, formats) = (binary(call, 0)?, call.text(1)?);
    let out = rows(call, &[&values, &formats], |row| {
        let bytes = values.value(row);
        match formats.value(row).to_ascii_lowercase().as_str() {
            "hex" => {
                let mut text = String::with_capacity(bytes.len() * 2 + 2);
                write_bytea(bytes, &mut text);
                Ok(text.split_off(2))
            }
            "base64" => Ok(to_base64(bytes)),
            "escape" => Ok(to_escape(bytes)),
            _ => Err(unknown_encoding(formats.value(row))),
        }
    })?;
    Ok(Arc::new(StringArray::from(out)))
}

fn decode(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, formats) = (call.text(0)?, call.text(1)?);
    let out = rows(call, &[&values, &formats], |row| {
        let text = values.value(row);
        match formats.value(row).to_ascii_lowercase().as_str() {
            "hex" => parse_bytea(&format!("\\x{text}")),
            "base64" => from_base64(text),
            "escape" => parse_bytea(text),
            _ => Err(unknown_encoding(formats.value(row))),
        }
    })?;
    Ok(Arc::new(out.iter().map(Option::as_deref).collect::<BinaryArray>()))
}

fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for (position, group) in bytes.chunks(3).enumerate() {
        if position > 0 && position * 4 % BASE64_LINE == 0 {
            out.push('\n');
        }
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            out.push(if digit <= group.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    out
}

fn from_base64(text: &str) -> Result<Vec<u8>, SqlError> {
    let invalid = |message: String| SqlError::new(ErrorKind::InvalidParameterValue, message);
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut digits, mut padding) = (0_u32, 0, 0);
    for character in text.chars().filter(|c| !c.is_ascii_whitespace()) {
        let value = match ALPHABET.iter().position(|&symbol| char::from(symbol) == character) {
            Some(value) if padding == 0 => value as u32,
            None if character == '=' && digits >= 2 => {
                padding += 1;
                0
            }
            Some(_) => return Err(invalid("unexpected \"=\" while decoding base64 sequence".to_owned())),
            None => {
                return Err(invalid(format!(
                    "invalid symbol \"{character}\" found while decoding base64 sequence"
                )));
            }
        };
        bits = bits << 6 | value;
        digits += 1;
        if digits == 4 {
            let bytes = bits.to_be_bytes();
            out.extend_from_slice(&bytes[1..4 - padding]);
            (bits, digits) = (0, 0);
        }
    }
    if digits != 0 {
        return Err(invalid("invalid base64 end sequence".to_owned())
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted."));
    }
    Ok(out)
}

fn to_escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0 | 128.. => out.push_str(&format!("\\{byte:03o}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

/// Bytes of a bytea.
pub(super) fn length(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let values = binary(call, 0)?;
    Ok(Arc::new(values.iter().map(|bytes| bytes.map(|bytes| bytes.len() as i32)).collect::<Int32Array>()))
}

/// Random (version 4) identities.
fn random_uuid(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let dice = Arc::clone(&call.session()?.dice);
    let mut builder = FixedSizeBinaryBuilder::with_capacity(call.rows(), 16);
    for _ in 0..call.rows() {
        let mut bytes = [0_u8; 16];
        bytes[..8].copy_from_slice(&dice.next_u64().to_be_bytes());
        bytes[8..].copy_from_slice(&dice.next_u64().to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        builder.append_value(bytes).map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))?;
    }
    Ok(Arc::new(builder.finish()))
}

/// The functions on bytes.
#[must_use]
pub(super) fn functions() -> Vec<PgFunction> {
    vec![
        PgFunction::immutable("encode").on("bytea,text", "text", encode),
        PgFunction::immutable("decode").on("text,text", "bytea", decode),
        PgFunction::volatile("gen_random_uuid").on("", "uuid", random_uuid),
        PgFunction::immutable("byteacat").on("bytea,bytea", "bytea", concat),
    ]
}

fn concat(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (left, right) = (binary(call, 0)?, binary(call, 1)?);
    let out = rows(call, &[&left, &right], |row| Ok([left.value(row), right.value(row)].concat()))?;
    Ok(Arc::new(out.iter().map(Option::as_deref).collect::<BinaryArray>()))
}
