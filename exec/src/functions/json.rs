//! Values as JSON: `json_build_object` and `json_build_array`.
//!
//! Arrays, vectors and records as values are refused.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::overload::{Call, PgFunction};
use super::strings::shown;

/// The functions of this module.
pub(super) fn functions() -> Vec<PgFunction> {
    vec![
        PgFunction::stable("json_build_object").on("", "json", object).on("variadic any", "json", object),
        PgFunction::stable("json_build_array").on("", "json", array).on("variadic any", "json", array),
    ]
}

/// One argument of every row.
struct Argument {
    ty: ColumnType,
    texts: StringArray,
}

impl Argument {
    /// The value as JSON.
    fn value(&self, row: usize) -> String {
        if self.texts.is_null(row) {
            return "null".to_owned();
        }
        let text = self.texts.value(row);
        match self.ty.kind {
            TypeKind::Bool => (if text == "t" { "true" } else { "false" }).to_owned(),
            TypeKind::Json | TypeKind::Jsonb => text.to_owned(),
            TypeKind::Int2
            | TypeKind::Int4
            | TypeKind::Int8
            | TypeKind::Float4
            | TypeKind::Float8
            | TypeKind::Numeric
                if text.ends_with(|last: char| last.is_ascii_digit()) =>
            {
                text.to_owned()
            }
            TypeKind::Timestamp | TypeKind::Timestamptz => quoted(&iso_moment(text, self.ty.kind)),
            _ => quoted(text),
        }
    }
}

fn arguments(call: &Call<'_>) -> Result<Vec<Argument>, SqlError> {
    (0..call.count())
        .map(|position| {
            let ty = call.argument_type(position);
            if ty.array || matches!(ty.kind, TypeKind::Vector | TypeKind::Record) {
                return Err(SqlError::unsupported(format!("a value of type {} in JSON", ty.display())));
            }
            Ok(Argument { ty, texts: shown(call, position)? })
        })
        .collect()
}

fn object(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let arguments = arguments(call)?;
    if arguments.len() % 2 == 1 {
        return Err(SqlError::new(
            ErrorKind::InvalidParameterValue,
            "argument list must have even number of elements",
        )
        .with_hint("The arguments of json_build_object() must consist of alternating keys and values."));
    }
    let member = |row: usize, pair: &[Argument]| match pair {
        [key, value] if key.texts.is_valid(row) => {
            Ok(format!("{} : {}", quoted(key.texts.value(row)), value.value(row)))
        }
        _ => Err(SqlError::new(ErrorKind::NullValueNotAllowed, "null value not allowed for object key")),
    };
    rows(call, |row| {
        let members = arguments.chunks(2).map(|pair| member(row, pair));
        Ok(format!("{{{}}}", members.collect::<Result<Vec<_>, _>>()?.join(", ")))
    })
}

fn array(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let arguments = arguments(call)?;
    rows(call, |row| {
        let values: Vec<String> = arguments.iter().map(|argument| argument.value(row)).collect();
        Ok(format!("[{}]", values.join(", ")))
    })
}

fn rows(call: &Call<'_>, text: impl Fn(usize) -> Result<String, SqlError>) -> Result<ArrayRef, SqlError> {
    let texts = (0..call.rows()).map(|row| text(row).map(Some)).collect::<Result<StringArray, _>>()?;
    Ok(Arc::new(texts))
}

/// A moment as JSON has it: a T between date and time, minutes in the zone.
fn iso_moment(text: &str, kind: TypeKind) -> String {
    let moment = text.replacen(' ', "T", 1);
    let has_minutes = moment.rfind(['+', '-']).is_some_and(|at| moment[at..].contains(':'));
    if kind == TypeKind::Timestamptz && !has_minutes && moment.contains('T') {
        return format!("{moment}:00");
    }
    moment
}

/// A JSON string.
fn quoted(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
