//! PostgreSQL's text functions: positions count characters from 1.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use proto::{ErrorKind, SqlError};

use super::cast::text_of;
use super::overload::{Call, PgFunction, text_unary};

/// PostgreSQL's bound on the size of a value.
const MAX_TEXT_BYTES: usize = 1 << 30;

fn too_long() -> SqlError {
    SqlError::new(ErrorKind::ProgramLimitExceeded, "requested length too large")
}

fn texts(rows: Vec<Option<String>>) -> ArrayRef {
    Arc::new(StringArray::from(rows))
}

fn count(call: &Call<'_>, compute: fn(&str) -> usize) -> Result<ArrayRef, SqlError> {
    let values = call.text(0)?;
    Ok(Arc::new(values.iter().map(|text| text.map(|text| compute(text) as i32)).collect::<Int32Array>()))
}

/// Text and number to text; null in, null out.
fn text_int(
    call: &Call<'_>,
    compute: fn(&str, i32) -> Result<String, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let (values, numbers) = (call.text(0)?, call.primitive::<Int32Type>(1)?);
    super::overload::rows(call, &[&values, &numbers], |row| compute(values.value(row), numbers.value(row)))
        .map(texts)
}

/// The byte span of `count` characters from character `start` (from 0).
fn slice(text: &str, start: usize, count: usize) -> &str {
    let mut bounds = text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()));
    let Some(from) = bounds.by_ref().nth(start) else { return "" };
    if count == 0 {
        return "";
    }
    let to = bounds.nth(count - 1).unwrap_or(text.len());
    &text[from..to]
}

fn substring(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, starts) = (call.text(0)?, call.primitive::<Int32Type>(1)?);
    let counts = if call.count() > 2 { Some(call.primitive::<Int32Type>(2)?) } else { None };
    let mut arguments: Vec<&dyn Array> = vec![&values, &starts];
    if let Some(counts) = &counts {
        arguments.push(counts);
    }
    let rows = super::overload::rows(call, &arguments, |row| {
        let start = i64::from(starts.value(row));
        let end = match &counts {
            Some(counts) if counts.value(row) < 0 => {
                return Err(SqlError::new(
                    ErrorKind::SubstringError,
                    "negative substring length not allowed",
                ));
            }
            Some(counts) => start + i64::from(counts.value(row)),
            None => i64::MAX,
        };
        let first = start.max(1);
        Ok(slice(values.value(row), (first - 1) as usize, (end - first).max(0) as usize).to_owned())
    })?;
    Ok(texts(rows))
}

/// Position of the second text in the first.
fn strpos(call: &Call<'_>, haystack: usize) -> Result<ArrayRef, SqlError> {
    let (values, parts) = (call.text(haystack)?, call.text(1 - haystack)?);
    let rows = super::overload::rows(call, &[&values, &parts], |row| {
        let text = values.value(row);
        Ok(text.find(parts.value(row)).map_or(0, |at| text[..at].chars().count() as i32 + 1))
    })?;
    Ok(Arc::new(Int32Array::from(rows)))
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Both,
}

fn trim(call: &Call<'_>, side: Side) -> Result<ArrayRef, SqlError> {
    let values = call.text(0)?;
    let sets = if call.count() > 1 { Some(call.text(1)?) } else { None };
    let mut arguments: Vec<&dyn Array> = vec![&values];
    if let Some(sets) = &sets {
        arguments.push(sets);
    }
    let rows = super::overload::rows(call, &arguments, |row| {
        let set = sets.as_ref().map_or(" ", |sets| sets.value(row));
        let drop = |character: char| set.contains(character);
        let text = values.value(row);
        let text = match side {
            Side::Left => text.trim_start_matches(drop),
            Side::Right => text.trim_end_matches(drop),
            Side::Both => text.trim_matches(drop),
        };
        Ok(text.to_owned())
    })?;
    Ok(texts(rows))
}

/// `left` and `right`: negative numbers count from the other end.
fn end_piece(text: &str, wanted: i32, left: bool) -> String {
    let length = text.chars().count();
    let kept = if wanted >= 0 {
        (wanted as usize).min(length)
    } else {
        length.saturating_sub(wanted.unsigned_abs() as usize)
    };
    if left { slice(text, 0, kept).to_owned() } else { slice(text, length - kept, kept).to_owned() }
}

fn pad(call: &Call<'_>, left: bool) -> Result<ArrayRef, SqlError> {
    let (values, lengths) = (call.text(0)?, call.primitive::<Int32Type>(1)?);
    let fills = if call.count() > 2 { Some(call.text(2)?) } else { None };
    let mut arguments: Vec<&dyn Array> = vec![&values, &lengths];
    if let Some(fills) = &fills {
        arguments.push(fills);
    }
    let rows = super::overload::rows(call, &arguments, |row| {
        let (text, wanted) = (values.value(row), lengths.value(row).max(0) as usize);
        if wanted > MAX_TEXT_BYTES / 4 {
            return Err(too_long());
        }
        let length = text.chars().count();
        if length >= wanted {
            return Ok(slice(text, 0, wanted).to_owned());
        }
        let fill = fills.as_ref().map_or(" ", |fills| fills.value(row));
        let padding: String = fill.chars().cycle().take(wanted - length).collect();
        Ok(if left { format!("{padding}{text}") } else { format!("{text}{padding}") })
    })?;
    Ok(texts(rows))
}

fn repeat(text: &str, times: i32) -> Result<String, SqlError> {
    let times = times.max(0) as usize;
    if text.len().saturating_mul(times) > MAX_TEXT_BYTES {
        return Err(too_long());
    }
    Ok(text.repeat(times))
}

fn replace(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    super::overload::rows(call, &[&values, &from, &to], |row| {
        if from.value(row).is_empty() {
            return Ok(values.value(row).to_owned());
        }
        Ok(values.value(row).replace(from.value(row), to.value(row)))
    })
    .map(texts)
}

fn translate(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    super::overload::rows(call, &[&values, &from, &to], |row| {
        let replaced = values.value(row).chars().filter_map(|character| {
            match from.value(row).chars().position(|candidate| candidate == character) {
                Some(position) => to.value(row).chars().nth(position),
                None => Some(character),
            }
        });
        Ok(replaced.collect())
    })
    .map(texts)
}

fn split_part(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, separators, fields) = (call.text(0)?, call.text(1)?, call.primitive::<Int32Type>(2)?);
    super::overload::rows(call, &[&values, &separators, &fields], |row| {
        let (text, separator, field) = (values.value(row), separators.value(row), fields.value(row));
        if field == 0 {
            return Err(SqlError::new(ErrorKind::InvalidParameterValue, "field position must not be zero"));
        }
        if separator.is_empty() {
            return Ok(if field == 1 || field == -1 { text.to_owned() } else { String::new() });
        }
        let position = field.unsigned_abs() as usize - 1;
        let part = if field > 0 {
            text.split(separator).nth(position)
        } else {
            text.rsplit(separator).nth(position)
        };
        Ok(part.unwrap_or_default().to_owned())
    })
    .map(texts)
}

/// The text form of any argument.
pub(super) fn shown(call: &Call<'_>, position: usize) -> Result<StringArray, SqlError> {
    let ty = call.argument_type(position);
    if ty.is_textual() {
        return call.text(position);
    }
    let zone = call.session().map(|session| session.time_zone).unwrap_or_default();
    let array = call.array(position)?;
    if let Some(values) = arrow::array::AsArray::as_boolean_opt(array.as_ref()) {
        // Output functions print bools as t and f, unlike the cast to text.
        return Ok(values.iter().map(|value| value.map(|value| if value { "t" } else { "f" })).collect());
    }
    text_of(&array, ty, &zone)
}

/// Joins arguments, leaving NULLs out.
fn concat(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let columns = (0..call.count()).map(|position| shown(call, position)).collect::<Result<Vec<_>, _>>()?;
    let rows = (0..call.rows())
        .map(|row| Some(columns.iter().filter(|c| c.is_valid(row)).map(|c| c.value(row)).collect::<String>()))
        .collect();
    Ok(texts(rows))
}

fn concat_ws(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let separators = call.text(0)?;
    let columns = (1..call.count()).map(|position| shown(call, position)).collect::<Result<Vec<_>, _>>()?;
    let rows = (0..call.rows())
        .map(|row| {
            separators.is_valid(row).then(|| {
                let parts: Vec<&str> =
                    columns.iter().filter(|c| c.is_valid(row)).map(|c| c.value(row)).collect();
                parts.join(separators.value(row))
            })
        })
        .collect();
    Ok(texts(rows))
}

/// A LIKE pattern with another escape character as one with backslashes; without one, nothing is escaped.
fn like_escape(pattern: &str, escape: &str) -> Result<String, SqlError> {
    let mut characters = escape.chars();
    let escape = characters.next();
    if characters.next().is_some() {
        return Err(SqlError::new(ErrorKind::InvalidEscapeSequence, "invalid escape string")
            .with_hint("Escape string must be empty or one character."));
    }
    if escape == Some('\\') {
        return Ok(pattern.to_owned());
    }
    let mut out = String::with_capacity(pattern.len());
    let mut escaped = false;
    for character in pattern.chars() {
        if Some(character) == escape && !escaped {
            out.push('\\');
            escaped = true;
            continue;
        }
        if character == '\\' && !escaped {
            out.push('\\');
        }
        out.push(character);
        escaped = false;
    }
    Ok(out)
}

fn initcap(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if inside {
            out.extend(character.to_lowercase());
        } else {
            out.extend(character.to_uppercase());
        }
        inside = character.is_alphanumeric();
    }
    out
}

fn chr(code: i32) -> Result<String, SqlError> {
    if code == 0 {
        return Err(SqlError::new(ErrorKind::ProgramLimitExceeded, "null character not permitted"));
    }
    u32::try_from(code).ok().and_then(char::from_u32).map(String::from).ok_or_else(|| {
        SqlError::new(ErrorKind::ProgramLimitExceeded, "requested character too large for encoding")
    })
}

fn starts_with(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, prefixes) = (call.text(0)?, call.text(1)?);
    let rows = super::overload::rows(call, &[&values, &prefixes], |row| {
        Ok(values.value(row).starts_with(prefixes.value(row)))
    })?;
    Ok(Arc::new(BooleanArray::from(rows)))
}

fn hexadecimal(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let values = call.primitive::<Int64Type>(0)?;
    let narrow = call.argument_type(0).kind == proto::TypeKind::Int4;
    Ok(texts(
        values
            .iter()
            .map(|value| value.map(|v| if narrow { format!("{:x}", v as i32) } else { format!("{v:x}") }))
            .collect(),
    ))
}

fn md5(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    call.delegate(&datafusion::functions::crypto::md5())
}

/// `regexp_replace` by DataFusion, whose expressions are Perl's.
fn regexp_replace(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    call.delegate(&datafusion::functions::regex::regexp_replace()).map_err(|error| match error.kind {
        ErrorKind::Internal => SqlError::new(
            ErrorKind::InvalidRegularExpression,
            format!("invalid regular expression: {}", error.message),
        ),
        _ => error,
    })
}

fn lengths() -> Vec<PgFunction> {
    let mut functions: Vec<PgFunction> = ["length", "char_length", "character_length"]
        .into_iter()
        .map(|name| PgFunction::immutable(name).on("text", "int4", |c| count(c, |text| text.chars().count())))
        .collect();
    functions.extend([
        PgFunction::immutable("octet_length").on("text", "int4", |c| count(c, str::len)).on(
            "bytea",
            "int4",
            super::bytes::length,
        ),
        PgFunction::immutable("bit_length").on("text", "int4", |c| count(c, |text| text.len() * 8)),
        PgFunction::immutable("ascii")
            .on("text", "int4", |c| count(c, |text| text.chars().next().map_or(0, |first| first as usize))),
    ]);
    functions
}

fn pieces() -> Vec<PgFunction> {
    vec![
        PgFunction::immutable("substr").on("text,int4", "text", substring).on(
            "text,int4,int4",
            "text",
            substring,
        ),
        PgFunction::immutable("substring").on("text,int4", "text", substring).on(
            "text,int4,int4",
            "text",
            substring,
        ),
        PgFunction::immutable("strpos").on("text,text", "int4", |c| strpos(c, 0)),
        PgFunction::immutable("position").on("text,text", "int4", |c| strpos(c, 0)),
        PgFunction::immutable("left")
            .on("text,int4", "text", |c| text_int(c, |text, n| Ok(end_piece(text, n, true)))),
        PgFunction::immutable("right")
            .on("text,int4", "text", |c| text_int(c, |text, n| Ok(end_piece(text, n, false)))),
        PgFunction::immutable("split_part").on("text,text,int4", "text", split_part),
        PgFunction::immutable("btrim").on("text", "text", |c| trim(c, Side::Both)).on(
            "text,text",
            "text",
            |c| trim(c, Side::Both),
        ),
        PgFunction::immutable("ltrim").on("text", "text", |c| trim(c, Side::Left)).on(
            "text,text",
            "text",
            |c| trim(c, Side::Left),
        ),
        PgFunction::immutable("rtrim").on("text", "text", |c| trim(c, Side::Right)).on(
            "text,text",
            "text",
            |c| trim(c, Side::Right),
        ),
        PgFunction::immutable("lpad").on("text,int4", "text", |c| pad(c, true)).on(
            "text,int4,text",
            "text",
            |c| pad(c, true),
        ),
        PgFunction::immutable("rpad").on("text,int4", "text", |c| pad(c, false)).on(
            "text,int4,text",
            "text",
            |c| pad(c, false),
        ),
    ]
}

/// The text functions.
#[must_use]
pub(super) fn functions() -> Vec<PgFunction> {
    let mut functions = lengths();
    functions.extend(pieces());
    functions.extend([
        PgFunction::immutable("lower").on("text", "text", |c| text_unary(c, |text| Ok(text.to_lowercase()))),
        PgFunction::immutable("upper").on("text", "text", |c| text_unary(c, |text| Ok(text.to_uppercase()))),
        PgFunction::immutable("initcap").on("text", "text", |c| text_unary(c, |text| Ok(initcap(text)))),
        PgFunction::immutable("reverse")
            .on("text", "text", |c| text_unary(c, |text| Ok(text.chars().rev().collect()))),
        PgFunction::immutable("repeat").on("text,int4", "text", |c| text_int(c, repeat)),
        PgFunction::immutable("replace").on("text,text,text", "text", replace),
        PgFunction::immutable("translate").on("text,text,text", "text", translate),
        PgFunction::immutable("like_escape").on("text,text", "text", |call| {
            let (patterns, escapes) = (call.text(0)?, call.text(1)?);
            super::overload::rows(call, &[&patterns, &escapes], |row| {
                like_escape(patterns.value(row), escapes.value(row))
            })
            .map(texts)
        }),
        PgFunction::stable("concat").on("variadic any", "text", concat),
        PgFunction::stable("concat_ws").on("text,variadic any", "text", concat_ws),
        PgFunction::immutable("md5").on("text", "text", md5),
        PgFunction::immutable("regexp_replace").on("text,text,text", "text", regexp_replace).on(
            "text,text,text,text",
            "text",
            regexp_replace,
        ),
        PgFunction::immutable("chr").on("int4", "text", |c| {
            let codes = c.primitive::<Int32Type>(0)?;
            super::overload::rows(c, &[&codes], |row| chr(codes.value(row))).map(texts)
        }),
        PgFunction::immutable("to_hex").on("int4", "text", hexadecimal).on("int8", "text", hexadecimal),
        PgFunction::immutable("starts_with").on("text,text", "bool", starts_with),
    ]);
    functions
}
