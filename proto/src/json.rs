//! `json` and `jsonb`: PostgreSQL's validation, jsonb's canonical text, and the key by which jsonb compares.
//!
//! jsonb is carried as its canonical text: keys by length and then bytes, the last of equal keys, numbers as numeric
//! prints them. What it is not: no operators and no path language.
//!
//! Invariant: `canonical(canonical(x)) == canonical(x)`; equal jsonb values have equal keys.

use std::fmt::Write as _;

use crate::error::SqlError;

mod key;
mod parse;

pub use key::append_key;

/// A parsed value; numbers are the text numeric prints.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Value>),
    /// In jsonb's order, keys unique.
    Object(Vec<(String, Value)>),
}

/// Checks that a text is json.
///
/// # Errors
/// 22P02 in PostgreSQL's words.
pub fn validate(text: &str) -> Result<(), SqlError> {
    parse::parse(text, false).map(|_| ())
}

/// The text that jsonb prints for a json text.
///
/// # Errors
/// 22P02, 22P05 for `\u0000`, 22003 for numbers beyond numeric's range.
pub fn canonical(text: &str) -> Result<String, SqlError> {
    let value = parse::parse(text, true)?;
    let mut out = String::with_capacity(text.len());
    write(&value, &mut out);
    Ok(out)
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(text) => out.push_str(text),
        Value::Text(text) => write_string(text, out),
        Value::Array(elements) => {
            out.push('[');
            for (position, element) in elements.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { ", " });
                write(element, out);
            }
            out.push(']');
        }
        Value::Object(pairs) => {
            out.push('{');
            for (position, (name, value)) in pairs.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { ", " });
                write_string(name, out);
                out.push_str(": ");
                write(value, out);
            }
            out.push('}');
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => drop(write!(out, "\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
