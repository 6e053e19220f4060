//! Text forms of integers, decimals, bytea and uuid.

use std::fmt::Write as _;

use arrow::datatypes::i256;
use proto::{ErrorKind, SqlError, TypeKind};

/// Appends an integer.
pub fn write_int(value: i64, out: &mut String) {
    let _ = write!(out, "{value}");
}

/// Appends a decimal with all digits of its scale.
pub fn write_decimal(value: i128, scale: i8, out: &mut String) {
    write_decimal_text(&value.to_string(), scale, out);
}

/// Appends the unscaled digits of a decimal with its point.
pub fn write_decimal_text(unscaled: &str, scale: i8, out: &mut String) {
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", unscaled), |rest| ("-", rest));
    out.push_str(sign);
    if scale <= 0 {
        out.push_str(digits);
        if digits != "0" {
            out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        }
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    if digits.len() <= scale {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', scale - digits.len()));
        out.push_str(digits);
    } else {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    }
}

/// 22P02 for a type.
pub(crate) fn malformed(kind: TypeKind, text: &str) -> SqlError {
    SqlError::new(
        ErrorKind::InvalidTextRepresentation,
        format!("invalid input syntax for type {}: \"{text}\"", kind.display_name()),
    )
}

/// 22003 for text that names a number its type cannot hold.
pub(crate) fn text_out_of_range(kind: TypeKind, text: &str) -> SqlError {
    SqlError::new(
        ErrorKind::NumericValueOutOfRange,
        format!("value \"{text}\" is out of range for type {}", kind.display_name()),
    )
}

/// Reads an integer: decimal, `0x`, `0o`, `0b`, underscores between digits.
///
/// # Errors
/// 22P02 for anything else, 22003 when it does not fit `minimum..=maximum`.
pub fn parse_int(text: &str, kind: TypeKind, minimum: i128, maximum: i128) -> Result<i64, SqlError> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    if let Ok(value) = trimmed.parse::<i64>()
        && minimum <= i128::from(value)
        && i128::from(value) <= maximum
    {
        return Ok(value);
    }
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ => (10, digits),
    };
    let digits = digits.strip_prefix('_').filter(|_| radix != 10).unwrap_or(digits);
    let well_formed = !digits.is_empty()
        && !digits.starts_with('_')
        && !digits.ends_with('_')
        && !digits.contains("__")
        && digits.chars().all(|c| c == '_' || c.is_digit(radix));
    if !well_formed {
        return Err(malformed(kind, text));
    }
    let plain: String = digits.chars().filter(|&c| c != '_').collect();
    i128::from_str_radix(&plain, radix)
        .ok()
        .map(|value| if negative { -value } else { value })
        .filter(|value| (minimum..=maximum).contains(value))
        .and_then(|value| i64::try_from(value).ok())
        .ok_or_else(|| text_out_of_range(kind, text))
}

/// Reads a float8.
///
/// # Errors
/// 22P02 for malformed text, 22003 for numbers beyond the range.
pub fn parse_float8(text: &str) -> Result<f64, SqlError> {
    let trimmed = text.trim();
    let value: f64 = checked_float(trimmed)
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| malformed(TypeKind::Float8, text))?;
    if lost(value == 0.0, value.is_infinite(), trimmed) {
        return Err(SqlError::new(
            ErrorKind::NumericValueOutOfRange,
            format!("\"{trimmed}\" is out of range for type double precision"),
        ));
    }
    Ok(value)
}

/// Reads a float4.
///
/// # Errors
/// 22P02 for malformed text, 22003 for numbers beyond the range.
pub fn parse_float4(text: &str) -> Result<f32, SqlError> {
    let trimmed = text.trim();
    let value: f32 = checked_float(trimmed)
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| malformed(TypeKind::Float4, text))?;
    if lost(value == 0.0, value.is_infinite(), trimmed) {
        return Err(SqlError::new(
            ErrorKind::NumericValueOutOfRange,
            format!("\"{trimmed}\" is out of range for type real"),
        ));
    }
    Ok(value)
}

fn checked_float(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Whether a number over- or underflowed, rather than being written as infinity or zero.
fn lost(zero: bool, infinite: bool, text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    (infinite && mantissa.bytes().any(|byte| byte.is_ascii_digit()))
        || (zero && mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte)))
}

/// A decimal read from text: unscaled digits and the number of digits behind the point.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    pub unscaled: i256,
    pub scale: i32,
}

/// Reads a numeric: digits, point, exponent. NaN and infinities have no carrier (0A000).
///
/// # Errors
/// 22P02 for malformed text, 22003 for more digits than the carrier holds.
pub fn parse_decimal(text: &str) -> Result<Decimal, SqlError> {
    let trimmed = text.trim();
    let lower = trimmed.to_ascii_lowercase();
    if matches!(lower.trim_start_matches(['+', '-']), "nan" | "inf" | "infinity") {
        return Err(SqlError::unsupported("numeric NaN and infinity"));
    }
    let (mantissa, exponent) = match lower.split_once('e') {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.parse::<i32>().map_err(|_| malformed(TypeKind::Numeric, text))?)
        }
        None => (lower.as_str(), 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first() {
        Some(b'-') => (true, &mantissa[1..]),
        Some(b'+') => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all: String = whole.chars().chain(fraction.chars()).filter(|&c| c != '_').collect();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed(TypeKind::Numeric, text));
    }
    let mut scale = fraction.chars().filter(|&c| c != '_').count() as i32 - exponent;
    let significant = all.trim_start_matches('0');
    if significant.len() > 76 || exponent.abs() > 100 {
        return Err(numeric_overflow());
    }
    let mut unscaled = i256::from_string(if significant.is_empty() { "0" } else { significant })
        .ok_or_else(numeric_overflow)?;
    while scale < 0 {
        unscaled = unscaled.checked_mul(i256::from_i128(10)).ok_or_else(numeric_overflow)?;
        scale += 1;
    }
    Ok(Decimal { unscaled: if negative { unscaled.wrapping_neg() } else { unscaled }, scale })
}

/// 22003 for a numeric that the carrier cannot hold.
pub(crate) fn numeric_overflow() -> SqlError {
    SqlError::new(ErrorKind::NumericValueOutOfRange, "value overflows numeric format")
}

/// Changes the scale of a decimal, rounding half away from zero.
///
/// # Errors
/// 22003 when the digits do not fit.
pub fn rescale(unscaled: i256, from: i32, to: i32) -> Result<i256, SqlError> {
    let ten = i256::from_i128(10);
    let mut value = unscaled;
    if to >= from {
        for _ in from..to {
            value = value.checked_mul(ten).ok_or_else(numeric_overflow)?;
        }
        return Ok(value);
    }
    if from - to > 76 {
        return Ok(i256::ZERO);
    }
    let divisor = (to..from).try_fold(i256::ONE, |at, _| at.checked_mul(ten)).ok_or_else(numeric_overflow)?;
    Ok(divide_rounded(value, divisor))
}

/// Quotient rounded half away from zero; the divisor must not be zero.
#[must_use]
pub fn divide_rounded(value: i256, divisor: i256) -> i256 {
    let quotient = value.wrapping_div(divisor);
    let rest = value.wrapping_rem(divisor).wrapping_abs();
    let divisor_size = divisor.wrapping_abs();
    // rest * 2 may overflow for huge divisors, so compare with the other half.
    if rest >= divisor_size.wrapping_sub(rest) && rest != i256::ZERO {
        let away = if (value < i256::ZERO) == (divisor < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
        quotient.wrapping_add(away)
    } else {
        quotient
    }
}

/// Narrows to the 38 digits of the usual carrier.
///
/// # Errors
/// 22003 beyond them.
pub fn to_i128(value: i256) -> Result<i128, SqlError> {
    const LIMIT: i128 = 10_i128.pow(38);
    value.to_i128().filter(|value| value.unsigned_abs() < LIMIT.unsigned_abs()).ok_or_else(numeric_overflow)
}

/// Appends `\x` and hexadecimal digits.
pub fn write_bytea(bytes: &[u8], out: &mut String) {
    out.push_str("\\x");
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// Reads bytea in hexadecimal or escape form.
///
/// # Errors
/// 22P02 (22023 for bad hexadecimal digits) as PostgreSQL words it.
pub fn parse_bytea(text: &str) -> Result<Vec<u8>, SqlError> {
    if let Some(hex) = text.strip_prefix("\\x") {
        return parse_hex(hex);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at..] {
            [b'\\', b'\\', ..] => {
                out.push(b'\\');
                at += 2;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                at += 4;
            }
            [b'\\', ..] => {
                return Err(SqlError::new(
                    ErrorKind::InvalidTextRepresentation,
                    "invalid input syntax for type bytea",
                ));
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Ok(out)
}

fn parse_hex(hex: &str) -> Result<Vec<u8>, SqlError> {
    let invalid = |message: String| SqlError::new(ErrorKind::InvalidParameterValue, message);
    let mut digits = Vec::with_capacity(hex.len());
    for character in hex.chars().filter(|c| !c.is_ascii_whitespace()) {
        match character.to_digit(16) {
            Some(digit) => digits.push(digit as u8),
            None => return Err(invalid(format!("invalid hexadecimal digit: \"{character}\""))),
        }
    }
    if digits.len() % 2 != 0 {
        return Err(invalid("invalid hexadecimal data: odd number of digits".to_owned()));
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Appends a uuid in groups of 8-4-4-4-12.
pub fn write_uuid(bytes: &[u8], out: &mut String) {
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
}

/// Reads a uuid: 32 hexadecimal digits, dashes between groups of four, optional braces.
///
/// # Errors
/// 22P02 for anything else.
pub fn parse_uuid(text: &str) -> Result<[u8; 16], SqlError> {
    let bare = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(text);
    let mut digits = Vec::with_capacity(32);
    for character in bare.chars() {
        match character.to_digit(16) {
            Some(digit) => digits.push(digit as u8),
            None if character == '-' && digits.len() % 4 == 0 && !digits.is_empty() => {}
            None => return Err(malformed(TypeKind::Uuid, text)),
        }
    }
    if digits.len() != 32 || bare.ends_with('-') {
        return Err(malformed(TypeKind::Uuid, text));
    }
    let mut out = [0_u8; 16];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(out)
}

/// Reads a bool: any unique prefix of true, false, yes, no, on, off, or 1, 0, in any case.
///
/// # Errors
/// 22P02 for anything else.
pub fn parse_bool(text: &str) -> Result<bool, SqlError> {
    let lower = text.trim().to_ascii_lowercase();
    let is = |word: &str, least: usize| lower.len() >= least && word.starts_with(lower.as_str());
    if lower == "1" || is("true", 1) || is("yes", 1) || lower == "on" {
        Ok(true)
    } else if lower == "0" || is("false", 1) || is("no", 1) || is("off", 2) {
        Ok(false)
    } else {
        Err(malformed(TypeKind::Bool, text))
    }
}
