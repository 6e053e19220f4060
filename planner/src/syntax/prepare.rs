//! PREPARE and EXECUTE as statements.
//!
//! The values of EXECUTE are read as the select list of a query without FROM, so that nothing else need know how
//! values are planned.

use std::sync::Arc;

use proto::SqlError;
use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::cursor::Cursor;
use super::errors::Source;
use super::{Ast, Parsed, ReadHints, Statement, parser, sql, statement};

/// `PREPARE name [(type, …)] AS statement`.
pub(super) fn prepare(source: &Source<'_>, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.keyword("transaction") {
        return Ok(Statement::Unsupported("PREPARE TRANSACTION".to_owned()));
    }
    let name = cursor.name()?;
    let mut types = Vec::new();
    if cursor.peek() == Some(&Token::LParen) {
        let close = cursor.closing_parenthesis()?;
        let inside = cursor.rest()[1..close].to_vec();
        types = all_of(source, inside, Parser::parse_data_type)?;
        cursor.skip(close + 1);
    }
    cursor.expect_keyword("as")?;
    let rest = cursor.rest();
    let (Some(first), Some(last)) = (rest.first(), rest.last()) else { return Err(source.at_end()) };
    let (start, end) = (first.span.start.column, last.span.end.column);
    let refused = source.near(first.span);
    let inner = statement(source, rest.to_vec())?;
    let can_be_prepared = matches!(&inner, Statement::Sql(ast) if matches!(
        &**ast,
        ast::Statement::Query(_)
            | ast::Statement::Insert(_)
            | ast::Statement::Update(_)
            | ast::Statement::Delete(_)
    ));
    if !can_be_prepared {
        return Err(refused);
    }
    let text = source.slice(start, end).to_owned();
    let position = u32::try_from(start).unwrap_or(u32::MAX);
    let parsed = Parsed { statement: inner, text, position, hints: ReadHints::new() };
    Ok(Statement::Prepare { name, types, statement: Arc::new(parsed) })
}

/// `EXECUTE name [(value, …)]`.
pub(super) fn execute(source: &Source<'_>, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let name = cursor.name()?;
    if cursor.is_at_end() {
        return Ok(Statement::Execute { name, values: None });
    }
    let values = values(source, &mut cursor)?;
    if values.is_none() {
        return Err(cursor.error());
    }
    Ok(Statement::Execute { name, values })
}

/// `(value, …)` at the end of a statement; none for an empty list.
pub(super) fn values(source: &Source<'_>, cursor: &mut Cursor<'_>) -> Result<Option<Ast>, SqlError> {
    let Some(open) = cursor.rest().first().filter(|token| token.token == Token::LParen) else {
        return Err(cursor.error());
    };
    if cursor.rest().get(1).is_some_and(|token| token.token == Token::RParen) {
        cursor.skip(1);
        let empty = cursor.clone();
        cursor.skip(1);
        cursor.expect_end()?;
        *cursor = empty;
        return Ok(None);
    }
    let select = Word { value: "SELECT".to_owned(), quote_style: None, keyword: Keyword::SELECT };
    let select = TokenWithSpan { token: Token::Word(select), span: open.span };
    let close = cursor.closing_parenthesis()?;
    let inside = cursor.rest()[1..close].to_vec();
    cursor.skip(close + 1);
    cursor.expect_end()?;
    // Only values: what else a select list or query may hold is refused here.
    all_of(source, inside.clone(), Parser::parse_expr)?;
    let query = std::iter::once(select).chain(inside).collect();
    sql(source, query).map(Some)
}

/// Things separated by commas, and nothing behind them.
fn all_of<T>(
    source: &Source<'_>,
    tokens: Vec<TokenWithSpan>,
    one: fn(&mut Parser<'static>) -> Result<T, sqlparser::parser::ParserError>,
) -> Result<Vec<T>, SqlError> {
    let mut parser = parser(tokens);
    let found = parser.parse_comma_separated(one).map_err(|error| source.parser_error(&error))?;
    let next = parser.peek_token();
    if next.token == Token::EOF { Ok(found) } else { Err(source.near(next.span)) }
}
