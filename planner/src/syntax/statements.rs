//! Cursors, COMMENT, sequences and databases: statements that sqlparser does not know or reads in its own way.
//!
//! What it is not: names are not looked up, and types only as far as sqlparser reads them.

use proto::SqlError;
use sqlparser::ast;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Statement;
use super::cursor::Cursor;
use super::errors::Source;
use crate::plan::{CursorCommand, FetchCount};

/// `DECLARE name … CURSOR … FOR query`.
pub(super) fn declare(source: &Source<'_>, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let name = cursor.name()?;
    loop {
        if cursor.keyword("binary") || cursor.keywords(&["scroll"]) {
            return Ok(Statement::Unsupported("a BINARY or SCROLL cursor".to_owned()));
        }
        let noise = cursor.keyword("insensitive")
            || cursor.keyword("asensitive")
            || cursor.keywords(&["no", "scroll"]);
        if !noise {
            break;
        }
    }
    cursor.expect_keyword("cursor")?;
    if cursor.keywords(&["with", "hold"]) {
        return Ok(Statement::Unsupported("DECLARE CURSOR ... WITH HOLD".to_owned()));
    }
    cursor.keywords(&["without", "hold"]);
    cursor.expect_keyword("for")?;
    let query = Box::new(super::statement(source, cursor.rest().to_vec())?);
    Ok(Statement::Declare { name, query })
}

/// `FETCH` and `MOVE`: `[direction] [FROM | IN] name`.
pub(super) fn fetch(mut cursor: Cursor<'_>, moves: bool) -> Result<Statement, SqlError> {
    let count = count(&mut cursor)?;
    let _ = cursor.keyword("from") || cursor.keyword("in");
    let name = cursor.name()?;
    cursor.expect_end()?;
    Ok(Statement::Cursor(CursorCommand::Fetch { name, count, moves }))
}

fn count(cursor: &mut Cursor<'_>) -> Result<FetchCount, SqlError> {
    let forward = cursor.keyword("forward");
    if cursor.keyword("all") {
        return Ok(FetchCount::All);
    }
    if let Some(Token::Number(digits, _)) = cursor.peek() {
        let rows = digits.parse().map_err(|_| cursor.error())?;
        cursor.skip(1);
        return Ok(FetchCount::Rows(rows));
    }
    if !forward {
        for word in ["backward", "prior", "first", "last", "absolute", "relative"] {
            if cursor.keyword(word) {
                return Ok(FetchCount::Backward);
            }
        }
        if cursor.token(&Token::Minus) {
            return Ok(FetchCount::Backward);
        }
        cursor.keyword("next");
    }
    Ok(FetchCount::Rows(1))
}

/// `CLOSE name | ALL`.
pub(super) fn close(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let name = if cursor.keyword("all") { None } else { Some(cursor.name()?) };
    cursor.expect_end()?;
    Ok(Statement::Cursor(CursorCommand::Close { name }))
}

/// What COMMENT is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commented {
    Table(ast::ObjectName),
    Column(ast::ObjectName),
    Sequence(ast::ObjectName),
    Index(ast::ObjectName),
    Schema(ast::Ident),
    Database(ast::Ident),
    Extension(ast::Ident),
    Constraint { name: ast::Ident, table: ast::ObjectName },
}

/// `COMMENT ON kind name IS text`.
pub(super) fn comment(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.expect_keyword("on")?;
    let kind = cursor.peek_word().ok_or_else(|| cursor.error())?;
    cursor.skip(1);
    let about = match kind.as_str() {
        "table" => Commented::Table(cursor.object_name()?),
        "column" => Commented::Column(cursor.object_name()?),
        "sequence" => Commented::Sequence(cursor.object_name()?),
        "index" => Commented::Index(cursor.object_name()?),
        "schema" => Commented::Schema(cursor.identifier()?),
        "database" => Commented::Database(cursor.identifier()?),
        "extension" => Commented::Extension(cursor.identifier()?),
        "constraint" => {
            let name = cursor.identifier()?;
            cursor.expect_keyword("on")?;
            Commented::Constraint { name, table: cursor.object_name()? }
        }
        other => return Ok(Statement::Unsupported(format!("COMMENT ON {}", other.to_uppercase()))),
    };
    cursor.expect_keyword("is")?;
    let text = if cursor.keyword("null") { None } else { Some(cursor.string()?) };
    cursor.expect_end()?;
    Ok(Statement::Comment { about, text })
}

/// What CREATE and ALTER SEQUENCE say of a sequence.
#[derive(Clone, Debug, Default)]
pub struct SequenceClauses {
    pub options: Vec<ast::SequenceOptions>,
    /// `OWNED BY column`, or NONE.
    pub owned_by: Option<Option<ast::ObjectName>>,
    /// `RESTART [WITH value]`.
    pub restart: Option<Option<i64>>,
}

/// `CREATE SEQUENCE [IF NOT EXISTS] name [AS type] options`.
pub(super) fn create_sequence(source: &Source<'_>, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let if_not_exists = cursor.keywords(&["if", "not", "exists"]);
    let name = cursor.object_name()?;
    let mut data_type = None;
    if cursor.keyword("as") {
        let ty = cursor.rest().iter().take(1).cloned().collect();
        cursor.skip(1);
        data_type = Some(whole(source, ty, |parser| parser.parse_data_type())?);
    }
    let clauses = sequence_clauses(&mut cursor)?;
    Ok(Statement::CreateSequence { name, if_not_exists, data_type, clauses })
}

/// `ALTER SEQUENCE [IF EXISTS] name …`.
pub(super) fn alter_sequence(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let if_exists = cursor.keywords(&["if", "exists"]);
    let name = cursor.object_name()?;
    if cursor.keywords(&["rename", "to"]) {
        let new_name = cursor.identifier()?;
        cursor.expect_end()?;
        return Ok(Statement::RenameSequence { name, if_exists, new_name });
    }
    if cursor.keywords(&["owner", "to"]) || cursor.keywords(&["set", "schema"]) {
        return Ok(Statement::Unsupported("this form of ALTER SEQUENCE".to_owned()));
    }
    let clauses = sequence_clauses(&mut cursor)?;
    Ok(Statement::AlterSequence { name, if_exists, clauses })
}

fn sequence_clauses(cursor: &mut Cursor<'_>) -> Result<SequenceClauses, SqlError> {
    use ast::SequenceOptions as Option_;
    let mut clauses = SequenceClauses::default();
    while !cursor.is_at_end() {
        let option = if cursor.keyword("increment") {
            let by = cursor.keyword("by");
            Option_::IncrementBy(number(cursor)?, by)
        } else if cursor.keyword("minvalue") {
            Option_::MinValue(Some(number(cursor)?))
        } else if cursor.keyword("maxvalue") {
            Option_::MaxValue(Some(number(cursor)?))
        } else if cursor.keywords(&["no", "minvalue"]) {
            Option_::MinValue(None)
        } else if cursor.keywords(&["no", "maxvalue"]) {
            Option_::MaxValue(None)
        } else if cursor.keyword("start") {
            let with = cursor.keyword("with");
            Option_::StartWith(number(cursor)?, with)
        } else if cursor.keyword("cache") {
            Option_::Cache(number(cursor)?)
        } else if cursor.keywords(&["no", "cycle"]) {
            Option_::Cycle(true)
        } else if cursor.keyword("cycle") {
            Option_::Cycle(false)
        } else if cursor.keywords(&["owned", "by"]) {
            let none = cursor.keyword("none");
            clauses.owned_by = Some(if none { None } else { Some(cursor.object_name()?) });
            continue;
        } else if cursor.keyword("restart") {
            let with = cursor.keyword("with");
            let given = with || matches!(cursor.peek(), Some(Token::Number(..) | Token::Minus));
            clauses.restart = Some(if given { Some(whole_number(cursor)?) } else { None });
            continue;
        } else {
            return Err(cursor.error());
        };
        clauses.options.push(option);
    }
    Ok(clauses)
}

fn whole_number(cursor: &mut Cursor<'_>) -> Result<i64, SqlError> {
    let sign = if cursor.token(&Token::Minus) { "-" } else { "" };
    let Some(Token::Number(digits, _)) = cursor.peek() else { return Err(cursor.error()) };
    let value = format!("{sign}{digits}").parse().map_err(|_| cursor.error())?;
    cursor.skip(1);
    Ok(value)
}

fn number(cursor: &mut Cursor<'_>) -> Result<ast::Expr, SqlError> {
    let text = whole_number(cursor)?.to_string();
    Ok(ast::Expr::Value(ast::Value::Number(text, false).with_empty_span()))
}

/// `CREATE DATABASE name [WITH] options`.
pub(super) fn create_database(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let name = cursor.name()?;
    let mut options = Vec::new();
    cursor.keyword("with");
    while !cursor.is_at_end() {
        let option = cursor.name()?;
        let option = if option == "connection" { format!("{option} {}", cursor.name()?) } else { option };
        cursor.token(&Token::Eq);
        let value = match cursor.next() {
            Some(Token::Word(word)) => word.value.clone(),
            Some(Token::SingleQuotedString(text)) => text.clone(),
            Some(Token::Number(digits, _)) => digits.clone(),
            _ => return Err(cursor.error()),
        };
        options.push((option, value));
    }
    Ok(Statement::CreateDatabase { name, options })
}

/// `DROP DATABASE [IF EXISTS] name [[WITH] (FORCE)]`.
pub(super) fn drop_database(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let if_exists = cursor.keywords(&["if", "exists"]);
    let name = cursor.name()?;
    let with = cursor.keyword("with");
    let mut force = false;
    if with || cursor.peek() == Some(&Token::LParen) {
        cursor.expect_token(&Token::LParen)?;
        cursor.expect_keyword("force")?;
        cursor.expect_token(&Token::RParen)?;
        force = true;
    }
    cursor.expect_end()?;
    Ok(Statement::DropDatabase { name, if_exists, force })
}

/// What a parser of sqlparser reads from all of some tokens.
fn whole<T>(
    source: &Source<'_>,
    tokens: Vec<TokenWithSpan>,
    read: impl FnOnce(&mut sqlparser::parser::Parser<'_>) -> Result<T, sqlparser::parser::ParserError>,
) -> Result<T, SqlError> {
    super::on_big_stack(|| {
        let mut parser = super::parser(tokens);
        let value = read(&mut parser).map_err(|error| source.parser_error(&error))?;
        let next = parser.peek_token();
        if next.token == Token::EOF { Ok(value) } else { Err(source.near(next.span)) }
    })
}
