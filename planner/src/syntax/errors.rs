//! PostgreSQL's syntax errors: the message names the token as written, the position counts characters from 1.

use proto::{ErrorKind, SqlError};
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Span, TokenizerError};

use super::depth::too_deep;

/// The text that errors point into.
pub(super) struct Source<'a> {
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// The characters from position `start` up to, not including, `end` (both from 1).
    pub(super) fn slice(&self, start: u64, end: u64) -> &'a str {
        let from = self.byte(start);
        let to = self.byte(end).max(from);
        &self.text[from..to]
    }

    fn byte(&self, position: u64) -> usize {
        let skip = usize::try_from(position.saturating_sub(1)).unwrap_or(usize::MAX);
        if self.text.is_ascii() {
            return skip.min(self.text.len());
        }
        self.text.char_indices().nth(skip).map_or(self.text.len(), |(byte, _)| byte)
    }

    /// `syntax error at or near "x"` for the token of a span; at end of input when the span is empty.
    pub(super) fn near(&self, span: Span) -> SqlError {
        if span.start.line == 0 {
            return self.at_end();
        }
        self.near_text(self.slice(span.start.column, span.end.column), span.start.column)
    }

    /// An error of the lexer, at a token.
    pub(super) fn refused(&self, what: &str, span: Span) -> SqlError {
        let token = self.slice(span.start.column, span.end.column);
        super::syntax_error(format!("{what} at or near \"{token}\""))
            .with_position(u32::try_from(span.start.column).unwrap_or(u32::MAX))
    }

    pub(super) fn at_end(&self) -> SqlError {
        let position = u32::try_from(self.text.chars().count() + 1).unwrap_or(u32::MAX);
        super::syntax_error("syntax error at end of input").with_position(position)
    }

    fn near_text(&self, token: &str, position: u64) -> SqlError {
        super::syntax_error(format!("syntax error at or near \"{token}\""))
            .with_position(u32::try_from(position).unwrap_or(u32::MAX))
    }

    /// sqlparser's error, whose text ends in the place we gave the token.
    pub(super) fn parser_error(&self, error: &ParserError) -> SqlError {
        match error {
            ParserError::RecursionLimitExceeded => too_deep(),
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
                if message.contains("found: EOF") {
                    return self.at_end();
                }
                match position_in(message) {
                    Some(position) => self.near_position(position),
                    None => super::syntax_error(format!("syntax error: {message}")),
                }
            }
        }
    }

    /// The error at a position, naming the token that starts there.
    fn near_position(&self, position: u64) -> SqlError {
        let rest = &self.text[self.byte(position)..];
        let end = token_end(rest);
        if end == 0 { self.at_end() } else { self.near_text(&rest[..end], position) }
    }

    pub(super) fn tokenizer_error(&self, error: &TokenizerError) -> SqlError {
        let position = self.text_position(error.location.line, error.location.column);
        let what = if error.message.contains("comment") {
            "unterminated /* comment"
        } else if error.message.contains("dollar") {
            "unterminated dollar-quoted string"
        } else if error.message.starts_with("Unterminated") || error.message.contains("string") {
            "unterminated quoted string"
        } else if error.message.contains("close delimiter") {
            "unterminated quoted identifier"
        } else {
            return self.near_position(position);
        };
        let rest = &self.text[self.byte(position)..];
        SqlError::new(ErrorKind::SyntaxError, format!("{what} at or near \"{rest}\""))
            .with_position(u32::try_from(position).unwrap_or(u32::MAX))
    }

    fn text_position(&self, line: u64, column: u64) -> u64 {
        let skipped: usize = self
            .text
            .split_inclusive('\n')
            .take(usize::try_from(line.saturating_sub(1)).unwrap_or(0))
            .map(|line| line.chars().count())
            .sum();
        skipped as u64 + column.max(1)
    }
}

fn position_in(message: &str) -> Option<u64> {
    let (_, column) = message.rsplit_once("Column: ")?;
    let digits: String = column.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Bytes of the token that `text` starts with.
fn token_end(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    if first == '\'' || first == '"' {
        return text[1..].find(first).map_or(text.len(), |end| end + 2);
    }
    if first.is_alphanumeric() || first == '_' || first == '$' {
        return text
            .find(|c: char| {
                !(c.is_alphanumeric() || c == '_' || c == '$' || c == '.' && first.is_ascii_digit())
            })
            .unwrap_or(text.len());
    }
    first.len_utf8()
}
