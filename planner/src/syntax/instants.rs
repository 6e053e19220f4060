//! Time travel's clauses: `t FOR SYSTEM_TIME AS OF instant` and `… AS OF SYSTEM TIME instant`.
//!
//! They are taken out of a statement's tokens before sqlparser sees them, because it would drop them. A table's
//! instant is known by the position of the name or alias it stands behind; whoever plans that table claims it, and a
//! statement with an unclaimed one is refused (`context::Instants`), so that none is ever ignored.

use proto::SqlError;
use sqlparser::ast;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::Cursor;
use super::errors::Source;
use super::syntax_error;

/// An instant as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenInstant {
    /// `SNAPSHOT 'name'`.
    Snapshot(String),
    /// A time, a distance from now, or a timestamp of the system.
    Value(Box<ast::Expr>),
}

/// The instants of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenInstants {
    /// `AS OF SYSTEM TIME`.
    pub statement: Option<WrittenInstant>,
    /// `FOR SYSTEM_TIME AS OF`, by the position of the word before it.
    pub tables: Vec<(u64, WrittenInstant)>,
}

/// Takes the clauses out of a statement's tokens.
///
/// # Errors
/// 42601 for a clause that cannot stand where it does, 0A000 for other forms of `FOR SYSTEM_TIME`.
pub(super) fn take(
    source: &Source<'_>,
    tokens: &mut Vec<TokenWithSpan>,
) -> Result<Option<Box<WrittenInstants>>, SqlError> {
    let mut found = WrittenInstants::default();
    let (mut at, mut depth) = (0, 0_usize);
    while at < tokens.len() {
        match &tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(_) => {
                let span = tokens[at].span;
                if matches_words(&tokens[at..], &["AS", "OF", "SYSTEM", "TIME"]) {
                    if depth > 0 || found.statement.is_some() {
                        let position = u32::try_from(span.start.column).unwrap_or(u32::MAX);
                        let message = "AS OF SYSTEM TIME must be provided once, on a top-level statement";
                        return Err(syntax_error(message).with_position(position));
                    }
                    found.statement = Some(take_instant(source, tokens, at)?);
                    continue;
                }
                if matches_words(&tokens[at..], &["FOR", "SYSTEM_TIME", "AS", "OF"]) {
                    let before = at.checked_sub(1).map(|before| &tokens[before]);
                    let before = before.filter(|token| matches!(token.token, Token::Word(_)));
                    let position = before.ok_or_else(|| source.near(span))?.span.start.column;
                    let instant = take_instant(source, tokens, at)?;
                    found.tables.push((position, instant));
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    let is_empty = found.statement.is_none() && found.tables.is_empty();
    Ok((!is_empty).then(|| Box::new(found)))
}

/// The instant behind the four words at a place, taken out with them.
fn take_instant(
    source: &Source<'_>,
    tokens: &mut Vec<TokenWithSpan>,
    at: usize,
) -> Result<WrittenInstant, SqlError> {
    let (instant, used) = read(source, &tokens[at + 4..])?;
    tokens.drain(at..at + 4 + used);
    Ok(instant)
}

/// `AS OF SYSTEM TIME instant` among the modes of a transaction.
pub(super) fn optional(cursor: &mut Cursor<'_>) -> Result<Option<WrittenInstant>, SqlError> {
    if !cursor.keywords(&["as", "of", "system", "time"]) {
        return Ok(None);
    }
    required(cursor).map(Some)
}

/// An instant that must be there.
pub(super) fn required(cursor: &mut Cursor<'_>) -> Result<WrittenInstant, SqlError> {
    let (instant, used) = read(cursor.source, cursor.rest())?;
    cursor.skip(used);
    Ok(instant)
}

/// The instant that tokens begin with, and how many they are.
fn read(source: &Source<'_>, tokens: &[TokenWithSpan]) -> Result<(WrittenInstant, usize), SqlError> {
    if let [first, second, ..] = tokens
        && matches_words(std::slice::from_ref(first), &["SNAPSHOT"])
        && let Token::SingleQuotedString(name) = &second.token
    {
        return Ok((WrittenInstant::Snapshot(name.clone()), 2));
    }
    let mut parser = super::parser(tokens.to_vec());
    let expression = parser.parse_expr().map_err(|error| source.parser_error(&error))?;
    Ok((WrittenInstant::Value(Box::new(expression)), parser.index().min(tokens.len())))
}

pub(super) fn matches_words(tokens: &[TokenWithSpan], words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && tokens.iter().zip(words).all(|(token, expected)| {
            matches!(&token.token, Token::Word(word)
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
        })
}
