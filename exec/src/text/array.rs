//! PostgreSQL's array text: `{1,NULL,"a b"}`, one dimension and nested ones read as an error.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use proto::{ColumnType, ErrorKind, SqlError};

use super::write_value;
use super::zone::TimeZone;

/// Appends one array value.
pub(super) fn write_array(
    values: &dyn Array,
    row: usize,
    ty: ColumnType,
    zone: &TimeZone,
    out: &mut String,
) -> Result<(), SqlError> {
    let elements: ArrayRef = match values.data_type() {
        DataType::List(_) => values.as_list::<i32>().value(row),
        DataType::LargeList(_) => values.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => values.as_fixed_size_list().value(row),
        other => {
            return Err(SqlError::new(ErrorKind::Internal, format!("Arrow type {other} carries no array")));
        }
    };
    out.push('{');
    let element_type = ColumnType {
        array: matches!(elements.data_type(), DataType::List(_)) && ty.kind != proto::TypeKind::Vector,
        ..ty
    };
    let mut text = String::new();
    for position in 0..elements.len() {
        if position > 0 {
            out.push(',');
        }
        if elements.is_null(position) {
            out.push_str("NULL");
            continue;
        }
        text.clear();
        write_value(elements.as_ref(), position, element_type, zone, &mut text)?;
        if element_type.array {
            out.push_str(&text);
        } else {
            write_element(&text, out);
        }
    }
    out.push('}');
    Ok(())
}

/// Appends an `int2vector` or `oidvector`: elements with blanks between them.
pub(super) fn write_spaced(
    values: &dyn Array,
    row: usize,
    zone: &TimeZone,
    out: &mut String,
) -> Result<(), SqlError> {
    let elements = values.as_list::<i32>().value(row);
    let element_type = ColumnType::of_data_type(elements.data_type());
    for position in 0..elements.len() {
        if position > 0 {
            out.push(' ');
        }
        write_value(elements.as_ref(), position, element_type, zone, out)?;
    }
    Ok(())
}

fn write_element(text: &str, out: &mut String) {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(|c: char| {
            matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_ascii_whitespace() || c == '\u{b}'
        });
    if plain {
        out.push_str(text);
        return;
    }
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        let _ = out.write_char(character);
    }
    out.push('"');
}

/// The elements of an array's text; none stands for NULL.
///
/// # Errors
/// 22P02 for malformed text, 22000 for more than one dimension.
pub(super) fn split_array(text: &str) -> Result<Vec<Option<String>>, SqlError> {
    let malformed = |detail: &str| {
        SqlError::new(ErrorKind::InvalidTextRepresentation, format!("malformed array literal: \"{text}\""))
            .with_detail(detail)
    };
    let trimmed = text.trim();
    let Some(inner) = trimmed.strip_prefix('{') else {
        return Err(malformed("Array value must start with \"{\" or dimension information."));
    };
    let mut elements = Vec::new();
    let mut current = String::new();
    let mut quoted = false;
    let mut in_quotes = false;
    let mut characters = inner.chars();
    let mut closed = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => current.push(characters.next().ok_or_else(|| malformed("Unexpected end of input."))?),
            '"' => {
                in_quotes = !in_quotes;
                quoted = true;
            }
            _ if in_quotes => current.push(character),
            '{' => return Err(SqlError::new(ErrorKind::DataException, "array must be 1-D")),
            ',' | '}' => {
                let empty = current.trim().is_empty() && !quoted;
                closed = character == '}';
                if !(closed && empty && elements.is_empty()) {
                    if empty {
                        return Err(malformed(&format!("Unexpected \"{character}\" character.")));
                    }
                    elements.push(finish_element(&current, quoted));
                }
                current.clear();
                quoted = false;
                if closed {
                    break;
                }
            }
            _ => current.push(character),
        }
    }
    if !closed {
        return Err(malformed("Unexpected end of input."));
    }
    if !characters.as_str().trim().is_empty() {
        return Err(malformed("Junk after closing right brace."));
    }
    Ok(elements)
}

fn finish_element(text: &str, quoted: bool) -> Option<String> {
    if quoted {
        return Some(text.to_owned());
    }
    let text = text.trim();
    (!text.eq_ignore_ascii_case("null")).then(|| text.to_owned())
}
