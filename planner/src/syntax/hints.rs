//! Read hints: `/*+ Set(elanus.consistency_level bounded) */ SELECT …` sets what one statement's read must see.
//!
//! The comment has the form that users of PostgreSQL know from pg_hint_plan; names are those of the settings. It stands
//! before or inside its statement. What it is not: a way to choose plans. Any other hint is a comment, as in PostgreSQL
//! without that extension, and so is a hint in an unfinished form; a wrong value of a known name is an error, because
//! whoever wrote it expects another read than they would get.
//!
//! Invariant: a text without `/*+` is not looked at a second time.

use proto::catalog::Consistency;
use proto::{ErrorKind, SqlError};
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use super::dialect::ElanusDialect;

/// What one statement says of its read; nothing stands for the session's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadHints {
    pub consistency: Option<Consistency>,
    /// How old a bounded read may be.
    pub staleness_millis: Option<u64>,
    /// A commit that must be shown.
    pub guarantee: Option<u64>,
}

/// The hints of each statement of a text, in the order of `super::parse`.
///
/// # Errors
/// 22023 for a value that a known setting does not take.
pub(super) fn of_statements(text: &str) -> Result<Vec<ReadHints>, SqlError> {
    if !text.contains("/*+") {
        return Ok(Vec::new());
    }
    // The text is in tokens already, so this cannot fail; what would go wrong is said there.
    let tokens = Tokenizer::new(&ElanusDialect, text).tokenize().unwrap_or_default();
    let (mut statements, mut current, mut any) = (Vec::new(), ReadHints::default(), false);
    for token in tokens.into_iter().chain([Token::SemiColon]) {
        match token {
            Token::SemiColon if any => {
                statements.push(std::mem::take(&mut current));
                any = false;
            }
            Token::SemiColon => current = ReadHints::default(),
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                if let Some(hints) = comment.strip_prefix('+') {
                    current.read(hints)?;
                }
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => any = true,
        }
    }
    Ok(statements)
}

impl ReadHints {
    fn read(&mut self, mut hints: &str) -> Result<(), SqlError> {
        while let Some((before, rest)) = hints.split_once('(') {
            let Some((inside, after)) = rest.split_once(')') else { return Ok(()) };
            hints = after;
            let name = before.split_whitespace().last().unwrap_or_default();
            if let Some((setting, value)) = inside.trim().split_once(char::is_whitespace)
                && name.eq_ignore_ascii_case("set")
            {
                self.set(&setting.to_ascii_lowercase(), value.trim().trim_matches('\''))?;
            }
        }
        Ok(())
    }

    fn set(&mut self, setting: &str, value: &str) -> Result<(), SqlError> {
        let refused = || {
            let message = format!("invalid value for parameter \"{setting}\": \"{value}\"");
            SqlError::new(ErrorKind::InvalidParameterValue, message)
        };
        match setting {
            "elanus.consistency_level" => {
                let level = Consistency::of_word(&value.to_ascii_lowercase()).ok_or_else(refused)?;
                self.consistency = Some(level);
            }
            "elanus.staleness" => self.staleness_millis = Some(millis(value).ok_or_else(refused)?),
            "elanus.guarantee_ts" => self.guarantee = Some(value.parse().map_err(|_| refused())?),
            _ => {}
        }
        Ok(())
    }
}

/// A number of milliseconds, or with the units `ms`, `s`, `min`.
fn millis(value: &str) -> Option<u64> {
    let digits = value.find(|char: char| !char.is_ascii_digit()).unwrap_or(value.len());
    let factor = match value[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        _ => return None,
    };
    value[..digits].parse::<u64>().ok()?.checked_mul(factor)
}
