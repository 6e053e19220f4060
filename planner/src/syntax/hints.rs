//! Read hints: `/*+ Set(elanus.consistency_level bounded) */ SELECT …` sets what one statement's read must see.
//!
//! The comment has the form that users of PostgreSQL know from pg_hint_plan; names are those of the settings. It stands
//! before or inside its statement. What it is not: a way to choose plans. Any other hint is a comment, as in PostgreSQL
//! without that extension, and so is a hint in an unfinished form. Values are checked by whoever has the settings.
//!
//! Invariant: a text without `/*+` is not looked at a second time.

use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use super::dialect::ElanusDialect;

/// The settings that a hint may name: those of what a read must see.
const READ_SETTINGS: [&str; 3] = ["elanus.consistency_level", "elanus.staleness", "elanus.guarantee_ts"];

/// Settings and values that hold for one statement, as written; of one named twice the last holds.
pub type ReadHints = Vec<(&'static str, String)>;

/// The hints of each statement of a text, in the order of `super::parse`.
pub(super) fn of_statements(text: &str) -> Vec<ReadHints> {
    if !text.contains("/*+") {
        return Vec::new();
    }
    // The text is in tokens already, so this cannot fail; what would go wrong is said there.
    let tokens = Tokenizer::new(&ElanusDialect, text).tokenize().unwrap_or_default();
    let (mut statements, mut current, mut any) = (Vec::new(), ReadHints::new(), false);
    for token in tokens.into_iter().chain([Token::SemiColon]) {
        match token {
            Token::SemiColon if any => {
                statements.push(std::mem::take(&mut current));
                any = false;
            }
            Token::SemiColon => current.clear(),
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                if let Some(hints) = comment.strip_prefix('+') {
                    read(hints, &mut current);
                }
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => any = true,
        }
    }
    statements
}

/// Adds what a hint's text sets.
fn read(mut hints: &str, into: &mut ReadHints) {
    while let Some((before, rest)) = hints.split_once('(') {
        let Some((inside, after)) = rest.split_once(')') else { return };
        hints = after;
        let is_set = before.split_whitespace().last().is_some_and(|name| name.eq_ignore_ascii_case("set"));
        let Some((setting, value)) = inside.trim().split_once(char::is_whitespace).filter(|_| is_set) else {
            continue;
        };
        if let Some(known) = READ_SETTINGS.into_iter().find(|known| known.eq_ignore_ascii_case(setting)) {
            into.push((known, value.trim().trim_matches('\'').to_owned()));
        }
    }
}
