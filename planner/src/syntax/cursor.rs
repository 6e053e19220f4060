//! A place in a statement's tokens, for the commands that our own parser reads.

use proto::SqlError;
use sqlparser::ast;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::errors::Source;

/// Reads tokens front to back.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    pub(super) source: &'a Source<'a>,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(source: &'a Source<'a>, tokens: &'a [TokenWithSpan]) -> Self {
        Self { source, tokens, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    /// The next token's word in lower case, when it is an unquoted word.
    pub(super) fn peek_word(&self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
            _ => None,
        }
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(&token.token)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The tokens not read yet.
    pub(super) fn rest(&self) -> &'a [TokenWithSpan] {
        &self.tokens[self.at..]
    }

    pub(super) const fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// Takes the keyword if it is next.
    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word))
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword));
        if found {
            self.at += 1;
        }
        found
    }

    /// Takes all the keywords if they are next in this order.
    pub(super) fn keywords(&mut self, keywords: &[&str]) -> bool {
        let start = self.at;
        if keywords.iter().all(|keyword| self.keyword(keyword)) {
            return true;
        }
        self.at = start;
        false
    }

    pub(super) fn expect_keyword(&mut self, keyword: &str) -> Result<(), SqlError> {
        if self.keyword(keyword) { Ok(()) } else { Err(self.error()) }
    }

    pub(super) fn token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.token(token) { Ok(()) } else { Err(self.error()) }
    }

    pub(super) fn expect_end(&self) -> Result<(), SqlError> {
        if self.is_at_end() { Ok(()) } else { Err(self.error()) }
    }

    /// A name: unquoted ones in lower case.
    pub(super) fn name(&mut self) -> Result<String, SqlError> {
        self.identifier().map(|identifier| identifier.value)
    }

    pub(super) fn identifier(&mut self) -> Result<ast::Ident, SqlError> {
        let Some(found) = self.tokens.get(self.at) else { return Err(self.error()) };
        let Token::Word(word) = &found.token else { return Err(self.error()) };
        self.at += 1;
        let value = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
        Ok(ast::Ident { value, quote_style: Some('"'), span: found.span })
    }

    /// `a.b.c`.
    pub(super) fn object_name(&mut self) -> Result<ast::ObjectName, SqlError> {
        let mut parts = vec![ast::ObjectNamePart::Identifier(self.identifier()?)];
        while self.token(&Token::Period) {
            parts.push(ast::ObjectNamePart::Identifier(self.identifier()?));
        }
        Ok(ast::ObjectName(parts))
    }

    /// A string literal.
    pub(super) fn string(&mut self) -> Result<String, SqlError> {
        let text = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
            Some(Token::DollarQuotedString(text)) => text.value.clone(),
            _ => return Err(self.error()),
        };
        self.at += 1;
        Ok(text)
    }

    /// 42601 at the next token.
    pub(super) fn error(&self) -> SqlError {
        self.tokens.get(self.at).map_or_else(|| self.source.at_end(), |token| self.source.near(token.span))
    }

    /// The index, relative to the next token, of the parenthesis that closes the one that is next.
    pub(super) fn closing_parenthesis(&self) -> Result<usize, SqlError> {
        let mut depth = 0_usize;
        for (index, token) in self.rest().iter().enumerate() {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(index);
                    }
                }
                _ => {}
            }
        }
        Err(self.source.at_end())
    }
}
