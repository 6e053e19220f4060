//! Names as PostgreSQL reads and prints them: identifiers with their quotes, qualified names, literals.
//!
//! Invariant: `split(quote_identifier(name)) == [name]` for every name.

use std::collections::HashSet;
use std::sync::LazyLock;

use proto::{ErrorKind, SqlError};

/// Words that an identifier must be quoted to spell: every keyword that is not "unreserved".
static QUOTED_WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    keywords().filter(|keyword| keyword.category != "U").map(|keyword| keyword.word).collect()
});

/// A row of `pg_get_keywords()`.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    pub word: &'static str,
    /// `U`, `C`, `T` or `R`.
    pub category: &'static str,
    pub is_bare_label: bool,
    pub category_text: &'static str,
    pub bare_label_text: &'static str,
}

/// PostgreSQL 16's keywords in alphabetical order.
pub fn keywords() -> impl Iterator<Item = Keyword> {
    include_str!("builtin/keywords.tsv").lines().skip(1).map(|line| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap_or_default();
        Keyword {
            word: field(),
            category: field(),
            is_bare_label: field() == "t",
            category_text: field(),
            bare_label_text: field(),
        }
    })
}

/// `quote_ident`: quotes only where reading the name back needs it.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    let starts_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let is_plain = name
        .chars()
        .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_');
    if starts_plain && is_plain && !QUOTED_WORDS.contains(name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// `schema.name` with quotes where needed.
#[must_use]
pub fn quote_qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_identifier(schema), quote_identifier(name))
}

/// `quote_literal`: single quotes doubled; with a backslash inside, the `E'…'` form.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Reads a qualified name: unquoted parts are folded to lower case.
///
/// # Errors
/// 42602 `invalid name syntax`.
pub fn split(text: &str) -> Result<Vec<String>, SqlError> {
    let invalid = || SqlError::new(ErrorKind::InvalidName, "invalid name syntax");
    let mut parts = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let (part, behind) =
            if rest.starts_with('"') { quoted_part(rest) } else { plain_part(rest) }.ok_or_else(invalid)?;
        parts.push(part);
        let behind = behind.trim_start();
        if behind.is_empty() {
            return Ok(parts);
        }
        rest = behind.strip_prefix('.').ok_or_else(invalid)?.trim_start();
    }
}

/// A part in double quotes, and what follows it.
fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((position, character)) = characters.next() {
        if character != '"' {
            part.push(character);
        } else if characters.next_if(|&(_, next)| next == '"').is_some() {
            part.push('"');
        } else {
            return (!part.is_empty()).then(|| (part, text.get(position + 1..).unwrap_or_default()));
        }
    }
    None
}

/// A part without quotes, and what follows it.
fn plain_part(text: &str) -> Option<(String, &str)> {
    let end = text
        .find(|character: char| character == '.' || character == '"' || character.is_whitespace())
        .unwrap_or(text.len());
    let (part, behind) = text.split_at(end);
    (!part.is_empty()).then(|| (part.to_lowercase(), behind))
}

#[cfg(test)]
mod tests;
