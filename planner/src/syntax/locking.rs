//! The locking clauses that sqlparser does not read: `FOR NO KEY UPDATE`, `FOR KEY SHARE`, and several names behind OF.
//!
//! They are written as clauses it does read, one per name, with the strength in front of the name: no identifier of a
//! text can hold the separator.

use sqlparser::ast::{self, LockType};
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::plan::RowLock;

const SEPARATOR: char = '\0';

/// Rewrites the clauses of a statement.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>) {
    limits_first(tokens);
    let mut at = 0;
    while at < tokens.len() {
        match clause(tokens, at) {
            Some((length, replacement)) => {
                let count = replacement.len();
                tokens.splice(at..at + length, replacement);
                at += count;
            }
            None => at += 1,
        }
    }
}

/// LIMIT and OFFSET may stand behind the clauses, too; sqlparser reads them in front.
fn limits_first(tokens: &mut [TokenWithSpan]) {
    let mut at = 0;
    while at < tokens.len() {
        let mut end = at;
        while let Some(length) = clause_length(tokens, end) {
            end += length;
        }
        let is_limit = ["limit", "offset", "fetch"].iter().any(|first| word(tokens, end, first));
        if end > at && is_limit {
            let mut depth = 0_usize;
            let behind = tokens[end..].iter().position(|found| match found.token {
                Token::LParen => {
                    depth += 1;
                    false
                }
                Token::RParen if depth == 0 => true,
                Token::RParen => {
                    depth -= 1;
                    false
                }
                _ => false,
            });
            let behind = behind.map_or(tokens.len(), |length| end + length);
            tokens[at..behind].rotate_left(end - at);
            at = behind;
        } else {
            at = end.max(at + 1);
        }
    }
}

/// How many tokens a locking clause has.
fn clause_length(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    if !word(tokens, start, "for") {
        return None;
    }
    let mut at = start + 1;
    for noise in ["no", "key"] {
        if word(tokens, at, noise) {
            at += 1;
        }
    }
    if !word(tokens, at, "update") && !word(tokens, at, "share") {
        return None;
    }
    at += 1;
    if word(tokens, at, "of") {
        at += 2;
        while tokens.get(at).map(|found| &found.token) == Some(&Token::Comma) {
            at += 2;
        }
    }
    if word(tokens, at, "nowait") {
        at += 1;
    } else if word(tokens, at, "skip") && word(tokens, at + 1, "locked") {
        at += 2;
    }
    (at <= tokens.len()).then_some(at - start)
}

/// The strength of a clause, and the relation it names.
pub(crate) fn read(clause: &ast::LockClause) -> (RowLock, Option<ast::Ident>) {
    let plain = match clause.lock_type {
        LockType::Share => RowLock::Share,
        LockType::Update => RowLock::Update,
    };
    let name = clause.of.as_ref().and_then(|name| match name.0.last() {
        Some(ast::ObjectNamePart::Identifier(name)) => Some(name.clone()),
        _ => None,
    });
    let Some(mut name) = name else { return (plain, None) };
    let Some((strength, rest)) = name.value.split_once(SEPARATOR) else { return (plain, Some(name)) };
    let strength = match strength {
        "no key update" => RowLock::NoKeyUpdate,
        "key share" => RowLock::KeyShare,
        _ => plain,
    };
    name.value = rest.to_owned();
    let named = !name.value.is_empty();
    (strength, named.then_some(name))
}

fn word(tokens: &[TokenWithSpan], at: usize, wanted: &str) -> bool {
    matches!(tokens.get(at).map(|found| &found.token), Some(Token::Word(word))
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

fn clause(tokens: &[TokenWithSpan], start: usize) -> Option<(usize, Vec<TokenWithSpan>)> {
    if !word(tokens, start, "for") {
        return None;
    }
    let (strength, kind, mut at) = if word(tokens, start + 1, "no") && word(tokens, start + 2, "key") {
        ("no key update", "update", start + 3)
    } else if word(tokens, start + 1, "key") {
        ("key share", "share", start + 2)
    } else {
        ("", if word(tokens, start + 1, "share") { "share" } else { "update" }, start + 1)
    };
    if !word(tokens, at, kind) {
        return None;
    }
    at += 1;
    let mut names = Vec::new();
    if word(tokens, at, "of") {
        loop {
            let Token::Word(name) = &tokens.get(at + 1)?.token else { return None };
            names.push(name.clone());
            at += 2;
            if tokens.get(at).map(|found| &found.token) != Some(&Token::Comma) {
                break;
            }
        }
    }
    if strength.is_empty() && names.len() < 2 {
        return None;
    }
    let wait_start = at;
    if word(tokens, at, "nowait") {
        at += 1;
    } else if word(tokens, at, "skip") && word(tokens, at + 1, "locked") {
        at += 2;
    }
    let span = tokens[start].span;
    let make = |token| TokenWithSpan { token, span };
    let mut out = Vec::new();
    if names.is_empty() {
        names.push(Word { value: String::new(), ..quoted(String::new()) });
    }
    for name in names {
        let value = if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() };
        out.push(make(Token::make_keyword("FOR")));
        out.push(make(Token::make_keyword(if kind == "share" { "SHARE" } else { "UPDATE" })));
        out.push(make(Token::make_keyword("OF")));
        out.push(make(Token::Word(quoted(format!("{strength}{SEPARATOR}{value}")))));
        out.extend(tokens[wait_start..at].iter().cloned());
    }
    Some((at - start, out))
}

fn quoted(value: String) -> Word {
    Word { value, quote_style: Some('"'), keyword: sqlparser::keywords::Keyword::NoKeyword }
}
