//! `format(template, values…)`: `%s`, `%I`, `%L` and `%%`, with positions and widths.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use proto::{ErrorKind, SqlError};

use super::catalog::names::{quote_identifier, quote_literal};
use super::overload::{Call, PgFunction};
use super::strings::shown;

/// The functions of this module.
pub(super) fn functions() -> Vec<PgFunction> {
    vec![PgFunction::stable("format").on("text", "text", format).on("text,variadic any", "text", format)]
}

fn format(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let templates = call.text(0)?;
    let columns = (1..call.count()).map(|position| shown(call, position)).collect::<Result<Vec<_>, _>>()?;
    let formatted = (0..call.rows())
        .map(|row| {
            let values: Vec<Option<&str>> =
                columns.iter().map(|column| column.is_valid(row).then(|| column.value(row))).collect();
            templates.is_valid(row).then(|| filled(templates.value(row), &values)).transpose()
        })
        .collect::<Result<StringArray, _>>()?;
    Ok(Arc::new(formatted))
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(ErrorKind::InvalidParameterValue, message)
}

fn hinted(message: impl Into<String>) -> SqlError {
    invalid(message).with_hint("For a single \"%\" use \"%%\".")
}

/// What stands between `%` and the letter.
#[derive(Default)]
struct Specifier {
    /// From 1.
    position: Option<usize>,
    left: bool,
    width: usize,
}

fn filled(template: &str, values: &[Option<&str>]) -> Result<String, SqlError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template.chars().peekable();
    let mut taken = 0;
    while let Some(character) = rest.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        if rest.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let specifier = specifier(&mut rest)?;
        let kind = rest.next().ok_or_else(|| hinted("unterminated format() type specifier"))?;
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(hinted(format!("unrecognized format() type specifier \"{kind}\"")));
        }
        taken = specifier.position.unwrap_or(taken + 1);
        let value = values.get(taken - 1).ok_or_else(|| invalid("too few arguments for format()"))?;
        pad(&mut out, &converted(kind, *value)?, &specifier);
    }
    Ok(out)
}

fn specifier(rest: &mut Peekable<Chars<'_>>) -> Result<Specifier, SqlError> {
    let mut found = Specifier::default();
    if let Some(first) = number(rest)? {
        if rest.next_if_eq(&'$').is_none() {
            return Ok(Specifier { width: first, ..found });
        }
        if first == 0 {
            return Err(invalid("format specifies argument 0, but arguments are numbered from 1"));
        }
        found.position = Some(first);
    }
    while rest.next_if_eq(&'-').is_some() {
        found.left = true;
    }
    if rest.peek() == Some(&'*') {
        return Err(SqlError::unsupported("a format() width taken from an argument"));
    }
    found.width = number(rest)?.unwrap_or_default();
    Ok(found)
}

fn number(rest: &mut Peekable<Chars<'_>>) -> Result<Option<usize>, SqlError> {
    let mut number: Option<i32> = None;
    while let Some(digit) = rest.peek().and_then(|character| character.to_digit(10)) {
        rest.next();
        let grown = number.unwrap_or(0).checked_mul(10).and_then(|number| number.checked_add(digit as i32));
        number = Some(
            grown
                .ok_or_else(|| SqlError::new(ErrorKind::NumericValueOutOfRange, "number is out of range"))?,
        );
    }
    Ok(number.map(|number| number as usize))
}

fn converted(kind: char, value: Option<&str>) -> Result<String, SqlError> {
    match (kind, value) {
        ('I', None) => Err(SqlError::new(
            ErrorKind::NullValueNotAllowed,
            "null values cannot be formatted as an SQL identifier",
        )),
        ('I', Some(value)) => Ok(quote_identifier(value)),
        ('L', None) => Ok("NULL".to_owned()),
        ('L', Some(value)) => Ok(quote_literal(value)),
        (_, value) => Ok(value.unwrap_or_default().to_owned()),
    }
}

fn pad(out: &mut String, text: &str, specifier: &Specifier) {
    let missing = specifier.width.saturating_sub(text.chars().count());
    let blanks = std::iter::repeat_n(' ', missing);
    if specifier.left {
        out.push_str(text);
        out.extend(blanks);
    } else {
        out.extend(blanks);
        out.push_str(text);
    }
}
