//! How deep a text nests, told from its tokens before anything recursive runs.
//!
//! The parser builds a left-deep tree of a flat operator chain and planning recurses over it, so the length of a
//! chain is depth too. AND and OR are counted apart: the binder balances such chains, so they may be long.

use proto::{ErrorKind, SqlError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Operators on one path through an expression tree.
const MAX_OPERATORS: u32 = 400;
/// Terms of one AND/OR chain.
const MAX_CONNECTIVES: u32 = 20_000;
/// Parentheses, brackets and CASE inside each other.
const MAX_NESTING: usize = 128;
/// Set operations and joins of one query level.
const MAX_CHAIN: u32 = 400;

#[derive(Default)]
struct Level {
    /// Operators since the last connective or comma, and the deepest group among them.
    operators: u32,
    inner: u32,
    /// The deepest operator path of this level so far.
    peak: u32,
    connectives: u32,
    peak_connectives: u32,
    inner_connectives: u32,
    chain: u32,
    case: bool,
}

impl Level {
    fn end_segment(&mut self) {
        self.peak = self.peak.max(self.operators + self.inner);
        self.operators = 0;
        self.inner = 0;
    }

    fn end_list_item(&mut self) {
        self.end_segment();
        self.peak_connectives = self.peak_connectives.max(self.connectives + self.inner_connectives);
        self.connectives = 0;
        self.inner_connectives = 0;
    }
}

/// # Errors
/// 54001 `stack depth limit exceeded`.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut levels = vec![Level::default()];
    for token in tokens {
        step(&token.token, &mut levels);
        let Some(level) = levels.last() else { return Ok(()) };
        if levels.len() > MAX_NESTING
            || level.operators + level.inner > MAX_OPERATORS
            || level.connectives + level.inner_connectives > MAX_CONNECTIVES
            || level.chain > MAX_CHAIN
        {
            return Err(too_deep());
        }
    }
    Ok(())
}

/// 54001, as PostgreSQL reports a statement that is too deep.
pub(crate) fn too_deep() -> SqlError {
    SqlError::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded")
}

fn step(token: &Token, levels: &mut Vec<Level>) {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => levels.push(Level::default()),
        Token::RParen | Token::RBracket | Token::RBrace => close(levels),
        Token::SemiColon => {
            levels.clear();
            levels.push(Level::default());
        }
        Token::Comma => {
            if let Some(level) = levels.last_mut() {
                level.end_list_item();
            }
        }
        Token::Word(word) if word.quote_style.is_none() => keyword(&word.value, levels),
        Token::Word(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::Placeholder(_)
        | Token::Period => {}
        _ => {
            if let Some(level) = levels.last_mut() {
                level.operators += 1;
            }
        }
    }
}

fn keyword(word: &str, levels: &mut Vec<Level>) {
    let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
    if is("CASE") {
        levels.push(Level { case: true, ..Level::default() });
        return;
    }
    if is("END") {
        if levels.last().is_some_and(|level| level.case) {
            close(levels);
        }
        return;
    }
    let Some(level) = levels.last_mut() else { return };
    if is("AND") || is("OR") {
        level.end_segment();
        level.connectives += 1;
    } else if is("NOT") || is("LIKE") || is("ILIKE") || is("IS") || is("IN") || is("BETWEEN") || is("COLLATE")
    {
        level.operators += 1;
    } else if is("UNION") || is("INTERSECT") || is("EXCEPT") || is("JOIN") {
        level.chain += 1;
        level.end_list_item();
    } else if is("SELECT")
        || is("FROM")
        || is("WHERE")
        || is("HAVING")
        || is("WHEN")
        || is("THEN")
        || is("ELSE")
    {
        level.end_list_item();
    }
}

fn close(levels: &mut Vec<Level>) {
    if levels.len() < 2 {
        return;
    }
    if let Some(mut level) = levels.pop() {
        level.end_list_item();
        if let Some(outer) = levels.last_mut() {
            outer.inner = outer.inner.max(level.peak + 1);
            outer.inner_connectives = outer.inner_connectives.max(level.peak_connectives);
        }
    }
}
