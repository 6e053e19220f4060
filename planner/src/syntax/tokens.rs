//! The token pass: what sqlparser's tokenizer gives, corrected to PostgreSQL's lexical rules.
//!
//! All six vector operators become custom-operator tokens, which have PostgreSQL's "other operator" precedence;
//! a trailing sign is split off an operator as PostgreSQL's lexer does; string literals separated by a line
//! break become one; spans are rewritten to character positions in the whole text. Forms of time travel that there
//! are not are refused here, because what comes later would drop them silently.

use proto::{ErrorKind, SqlError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::dialect::ElanusDialect;
use super::errors::Source;
use super::instants::matches_words;

/// The longest statement text accepted, bytes; the wire refuses larger messages too.
pub const MAX_STATEMENT_BYTES: usize = 256 * 1024 * 1024;

/// Characters that let a PostgreSQL operator end in a sign.
const SIGN_KEEPERS: [char; 10] = ['~', '!', '@', '#', '%', '^', '&', '|', '`', '?'];

/// The tokens of a text without white space and comments; a span's columns are character positions from 1.
///
/// # Errors
/// 42601 for text that is no sequence of tokens, 0A000 for time-travel clauses, 54000 for a text too long.
pub fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    if text.len() > MAX_STATEMENT_BYTES {
        return Err(SqlError::new(
            ErrorKind::ProgramLimitExceeded,
            format!("statement is longer than {MAX_STATEMENT_BYTES} bytes"),
        ));
    }
    let dialect = ElanusDialect;
    let raw = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| Source::new(text).tokenizer_error(&error))?;
    let lines = LineStarts::new(text);
    let mut pass = Pass { out: Vec::with_capacity(raw.len() / 2), line_break: false, refused: None };
    for token in raw {
        pass.push(TokenWithSpan { token: token.token, span: lines.to_positions(token.span) });
    }
    if let Some((span, what)) = pass.refused {
        return Err(Source::new(text).refused(what, span));
    }
    refuse_time_travel(&pass.out)?;
    plain_quantified_operators(&mut pass.out);
    Ok(pass.out)
}

struct Pass {
    out: Vec<TokenWithSpan>,
    /// Whether a line break lies between the last token and the next.
    line_break: bool,
    /// The first token that cannot stand where it does, and why.
    refused: Option<(Span, &'static str)>,
}

impl Pass {
    fn push(&mut self, token: TokenWithSpan) {
        let TokenWithSpan { token, span } = token;
        match token {
            Token::Whitespace(space) => {
                self.line_break |= space.to_string().contains('\n');
                return;
            }
            Token::EOF => return,
            Token::TwoWayArrow => self.operator("<->".to_owned(), span),
            Token::Spaceship => self.operator("<=>".to_owned(), span),
            Token::CustomBinaryOperator(operator) => self.operator(operator, span),
            Token::Gt => self.greater(span),
            Token::SingleQuotedString(text) => self.string(text, span),
            Token::Word(word) if word.quote_style == Some('"') && word.value.is_empty() => {
                self.refused.get_or_insert((span, "zero-length delimited identifier"));
            }
            other => self.out.push(TokenWithSpan { token: other, span }),
        }
        self.line_break = false;
    }

    /// An operator, with the signs split off that PostgreSQL would not count to it.
    fn operator(&mut self, mut operator: String, span: Span) {
        let mut signs = Vec::new();
        while operator.chars().count() > 1
            && operator.ends_with(['+', '-'])
            && !operator.contains(SIGN_KEEPERS)
            && operator != "<+"
        {
            signs.extend(operator.pop());
        }
        let start = span.start.column;
        let length = operator.chars().count() as u64;
        let token = plain_token(&operator).unwrap_or(Token::CustomBinaryOperator(operator));
        self.out.push(TokenWithSpan { token, span: position_span(start, start + length) });
        for (offset, sign) in signs.into_iter().rev().enumerate() {
            let at = start + length + offset as u64;
            let token = if sign == '+' { Token::Plus } else { Token::Minus };
            self.out.push(TokenWithSpan { token, span: position_span(at, at + 1) });
        }
    }

    /// `>`: the end of `<+>` when `<` and `+` touch it.
    fn greater(&mut self, span: Span) {
        if let [.., less, plus] = self.out.as_slice()
            && less.token == Token::Lt
            && plus.token == Token::Plus
            && less.span.end == plus.span.start
            && plus.span.end == span.start
        {
            let start = less.span.start.column;
            self.out.truncate(self.out.len() - 2);
            let token = Token::CustomBinaryOperator("<+>".to_owned());
            self.out.push(TokenWithSpan { token, span: position_span(start, start + 3) });
        } else {
            self.out.push(TokenWithSpan { token: Token::Gt, span });
        }
    }

    /// SQL joins string literals that only white space with a line break separates.
    fn string(&mut self, text: String, span: Span) {
        if self.line_break
            && let Some(last) = self.out.last_mut()
            && let Token::SingleQuotedString(start) = &mut last.token
        {
            start.push_str(&text);
            last.span.end = span.end;
        } else if matches!(self.out.last().map(|last| &last.token), Some(Token::SingleQuotedString(_))) {
            self.refused.get_or_insert((span, "syntax error"));
        } else {
            self.out.push(TokenWithSpan { token: Token::SingleQuotedString(text), span });
        }
    }
}

/// The token of an operator that is not custom once its signs are split off.
fn plain_token(operator: &str) -> Option<Token> {
    Some(match operator {
        "<" => Token::Lt,
        ">" => Token::Gt,
        "=" => Token::Eq,
        "<=" => Token::LtEq,
        ">=" => Token::GtEq,
        "<>" | "!=" => Token::Neq,
        "*" => Token::Mul,
        "/" => Token::Div,
        "+" => Token::Plus,
        "-" => Token::Minus,
        "%" => Token::Mod,
        "->" => Token::Arrow,
        _ => return None,
    })
}

fn position_span(start: u64, end: u64) -> Span {
    Span::new(Location { line: 1, column: start }, Location { line: 1, column: end })
}

/// Where lines start, in characters from 0.
struct LineStarts(Vec<u64>);

impl LineStarts {
    fn new(text: &str) -> Self {
        let mut starts = vec![0];
        for (count, character) in text.chars().enumerate() {
            if character == '\n' {
                starts.push(count as u64 + 1);
            }
        }
        Self(starts)
    }

    fn position(&self, location: Location) -> u64 {
        let line = usize::try_from(location.line).unwrap_or(1).clamp(1, self.0.len());
        self.0[line - 1] + location.column
    }

    fn to_positions(&self, span: Span) -> Span {
        position_span(self.position(span.start), self.position(span.end))
    }
}

/// Other forms than `instants` takes; ignoring them would answer with the wrong rows.
fn refuse_time_travel(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    const FORMS: [&[&str]; 2] = [&["FOR", "SYSTEM_TIME"], &["AS", "OF", "TIMESTAMP"]];
    for start in 0..tokens.len() {
        let Token::Word(first) = &tokens[start].token else { continue };
        if !first.value.eq_ignore_ascii_case("AS") && !first.value.eq_ignore_ascii_case("FOR") {
            continue;
        }
        if matches_words(&tokens[start..], &["FOR", "SYSTEM_TIME", "AS", "OF"]) {
            continue;
        }
        if FORMS.iter().any(|form| matches_words(&tokens[start..], form)) {
            let position = u32::try_from(tokens[start].span.start.column).unwrap_or(u32::MAX);
            return Err(SqlError::unsupported("this form of AS OF").with_position(position));
        }
    }
    Ok(())
}

/// `OPERATOR(pg_catalog.=) ANY` as `= ANY`, which is all that sqlparser reads.
fn plain_quantified_operators(tokens: &mut Vec<TokenWithSpan>) {
    const LENGTH: usize = 6;
    let mut at = 0;
    while at + LENGTH < tokens.len() {
        let is_quantified =
            ["ANY", "SOME", "ALL"].iter().any(|word| matches_words(&tokens[at + LENGTH..], &[*word]));
        let is_spelled = is_quantified
            && matches_words(&tokens[at..], &["OPERATOR"])
            && tokens[at + 1].token == Token::LParen
            && matches_words(&tokens[at + 2..], &["PG_CATALOG"])
            && tokens[at + 3].token == Token::Period
            && tokens[at + 5].token == Token::RParen;
        if is_spelled {
            tokens.drain(at + 5..at + LENGTH);
            tokens.drain(at..at + 4);
        }
        at += 1;
    }
}
