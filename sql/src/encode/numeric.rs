//! PostgreSQL's binary form of `numeric`: base-10000 digits with weight, sign and display scale.

use proto::{ErrorKind, SqlError};

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;

/// Appends a decimal given as its unscaled integer in text.
pub fn write_binary(unscaled: &str, scale: i8, out: &mut Vec<u8>) {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => (NEGATIVE, digits),
        None => (0, unscaled),
    };
    let scale = scale.max(0) as usize;
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let mut groups: Vec<u16> = Vec::with_capacity(padded.len() / 4 + 2);
    let lead = whole.len().div_ceil(4) * 4;
    push_groups(&format!("{whole:0>lead$}"), &mut groups);
    let mut weight = groups.len() as i32 - 1;
    let tail = fraction.len().div_ceil(4) * 4;
    push_groups(&format!("{fraction:0<tail$}"), &mut groups);
    let leading = groups.iter().take_while(|&&group| group == 0).count();
    groups.drain(..leading);
    weight -= leading as i32;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let (weight, sign) = if groups.is_empty() { (0, 0) } else { (weight, sign) };
    out.extend_from_slice(&(groups.len() as u16).to_be_bytes());
    out.extend_from_slice(&(weight as i16).to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(scale as u16).to_be_bytes());
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

fn push_groups(digits: &str, groups: &mut Vec<u16>) {
    for group in digits.as_bytes().chunks_exact(4) {
        groups.push(group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')));
    }
}

/// The text of the binary form, which the text input then checks against the type.
///
/// # Errors
/// 22P03 for anything that is not a numeric.
pub fn text_of_binary(bytes: &[u8]) -> Result<String, SqlError> {
    let invalid = |message: &str| SqlError::new(ErrorKind::InvalidBinaryRepresentation, message);
    let Some((header, body)) = bytes.split_at_checked(8) else {
        return Err(invalid("insufficient data left in message"));
    };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (count, weight, sign, scale) = (usize::from(word(0)), word(2) as i16, word(4), usize::from(word(6)));
    match sign {
        0 | NEGATIVE => {}
        NAN => return Ok("NaN".to_owned()),
        INFINITY => return Ok("Infinity".to_owned()),
        MINUS_INFINITY => return Ok("-Infinity".to_owned()),
        _ => return Err(invalid("invalid sign in external \"numeric\" value")),
    }
    if scale > 0x3fff {
        return Err(invalid("invalid scale in external \"numeric\" value"));
    }
    if body.len() != count * 2 {
        return Err(invalid("insufficient data left in message"));
    }
    let mut groups = Vec::with_capacity(count);
    for group in body.chunks_exact(2) {
        let group = u16::from_be_bytes([group[0], group[1]]);
        if group > 9999 {
            return Err(invalid("invalid digit in external \"numeric\" value"));
        }
        groups.push(group);
    }
    Ok(text_of_groups(&groups, weight, sign == NEGATIVE, scale))
}

fn text_of_groups(groups: &[u16], weight: i16, negative: bool, scale: usize) -> String {
    let mut text = String::new();
    if negative {
        text.push('-');
    }
    let group_at = |position: i32| {
        usize::try_from(i32::from(weight) - position)
            .ok()
            .and_then(|index| groups.get(index))
            .copied()
            .unwrap_or(0)
    };
    if weight < 0 {
        text.push('0');
    }
    for position in (0..=i32::from(weight)).rev() {
        text.push_str(&format!("{:04}", group_at(position)));
    }
    if scale > 0 {
        text.push('.');
        let mut fraction = String::new();
        let mut position = -1;
        while fraction.len() < scale {
            fraction.push_str(&format!("{:04}", group_at(position)));
            position -= 1;
        }
        text.push_str(&fraction[..scale]);
    }
    text
}
