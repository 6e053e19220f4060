//! Which statements our own parser reads, by their first words, and the small ones among them.

use proto::SqlError;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::Cursor;
use super::errors::Source;
use super::{Statement, copy, lock, maintenance, prepare, session, snapshots, statements, transaction};
use crate::plan::{ExplainFormat, ExplainOptions};

/// Commands that are a later capability, with the words that start them.
const LATER: [(&str, &str); 10] = [
    ("reindex", "REINDEX"),
    ("cluster", "CLUSTER"),
    ("do", "DO"),
    ("listen", "LISTEN"),
    ("notify", "NOTIFY"),
    ("grant", "GRANT"),
    ("revoke", "REVOKE"),
    ("merge", "MERGE"),
    ("load", "LOAD"),
    ("security", "SECURITY LABEL"),
];

/// Objects whose CREATE, ALTER and DROP are later capabilities and that sqlparser may not know.
const LATER_OBJECTS: [&str; 18] = [
    "view",
    "materialized",
    "role",
    "user",
    "group",
    "function",
    "procedure",
    "trigger",
    "type",
    "domain",
    "policy",
    "publication",
    "subscription",
    "aggregate",
    "operator",
    "collation",
    "tablespace",
    "server",
];

/// The statement, when it is one of ours.
pub(super) fn parse(source: &Source<'_>, tokens: &[TokenWithSpan]) -> Result<Option<Statement>, SqlError> {
    let mut cursor = Cursor::new(source, tokens);
    let Some(first) = cursor.peek_word() else { return Ok(None) };
    cursor.skip(1);
    let statement = match first.as_str() {
        "checkpoint" => {
            cursor.expect_end()?;
            Statement::Checkpoint
        }
        "vacuum" => maintenance::vacuum(source, cursor)?,
        "analyze" | "analyse" => maintenance::analyze(source, cursor)?,
        "call" => maintenance::call(source, cursor)?,
        "lock" => lock::parse(cursor)?,
        "explain" => explain(source, cursor)?,
        "copy" => copy::parse(cursor)?,
        "set" => session::set(cursor)?,
        "reset" => session::reset(cursor)?,
        "show" => session::show(cursor)?,
        "discard" => session::discard(cursor)?,
        "deallocate" => session::deallocate(cursor)?,
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            transaction::parse(&first, cursor)?
        }
        "undrop" => snapshots::undrop(cursor)?,
        "unlisten" => session::unlisten(cursor)?,
        "prepare" => prepare::prepare(source, cursor)?,
        "execute" => prepare::execute(source, cursor)?,
        "declare" => statements::declare(source, cursor)?,
        "fetch" | "move" => statements::fetch(cursor, first == "move")?,
        "close" => statements::close(cursor)?,
        "comment" => statements::comment(cursor)?,
        "create" | "drop" | "alter" => return object(source, &first, cursor),
        other => match LATER.iter().find(|(word, _)| *word == other) {
            Some((_, name)) => Statement::Unsupported((*name).to_owned()),
            None => return Ok(None),
        },
    };
    Ok(Some(statement))
}

/// CREATE, ALTER and DROP of extensions, and of the objects that come later.
fn object(source: &Source<'_>, verb: &str, mut cursor: Cursor<'_>) -> Result<Option<Statement>, SqlError> {
    if cursor.keywords(&["or", "replace"]) {
        let name = cursor.peek_word().unwrap_or_default().to_ascii_uppercase();
        return Ok(Some(Statement::Unsupported(format!("CREATE OR REPLACE {name}"))));
    }
    let Some(kind) = cursor.peek_word() else { return Ok(None) };
    if kind == "extension" {
        cursor.skip(1);
        return extension(verb, cursor).map(Some);
    }
    let own = match (verb, kind.as_str()) {
        ("alter", "sequence") => Some(statements::alter_sequence(skipped(cursor.clone()))?),
        ("create", "sequence") => Some(statements::create_sequence(source, skipped(cursor.clone()))?),
        ("create", "snapshot") => Some(snapshots::create(skipped(cursor.clone()))?),
        ("drop", "snapshot") => Some(snapshots::drop(skipped(cursor.clone()))?),
        ("create", "database") => Some(statements::create_database(skipped(cursor.clone()))?),
        ("drop", "database") => Some(statements::drop_database(skipped(cursor.clone()))?),
        _ => None,
    };
    if own.is_some() {
        return Ok(own);
    }
    if LATER_OBJECTS.contains(&kind.as_str()) || verb == "alter" && kind != "table" {
        let name = format!("{} {}", verb.to_ascii_uppercase(), kind.to_ascii_uppercase());
        return Ok(Some(Statement::Unsupported(name)));
    }
    Ok(None)
}

fn skipped(mut cursor: Cursor<'_>) -> Cursor<'_> {
    cursor.skip(1);
    cursor
}

fn extension(verb: &str, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    match verb {
        "create" => {
            let if_not_exists = cursor.keywords(&["if", "not", "exists"]);
            let name = cursor.name()?;
            cursor.keyword("with");
            while !cursor.is_at_end() {
                if cursor.keyword("schema") || cursor.keyword("version") {
                    cursor.next().ok_or_else(|| cursor.source.at_end())?;
                } else if !cursor.keyword("cascade") {
                    return Err(cursor.error());
                }
            }
            Ok(Statement::CreateExtension { name, if_not_exists })
        }
        "drop" => {
            let if_exists = cursor.keywords(&["if", "exists"]);
            let name = cursor.name()?;
            let _ = cursor.keyword("cascade") || cursor.keyword("restrict");
            cursor.expect_end()?;
            Ok(Statement::DropExtension { name, if_exists })
        }
        _ => Ok(Statement::Unsupported("ALTER EXTENSION".to_owned())),
    }
}

fn explain(source: &Source<'_>, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let mut options = ExplainOptions::default();
    if cursor.peek() == Some(&Token::LParen) && !starts_query(&cursor) {
        cursor.skip(1);
        loop {
            explain_option(&mut cursor, &mut options)?;
            if !cursor.token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        options.analyze = cursor.keyword("analyze") || cursor.keyword("analyse");
        options.verbose = cursor.keyword("verbose");
    }
    if cursor.is_at_end() {
        return Err(source.at_end());
    }
    let inner = super::statement(source, cursor.rest().to_vec())?;
    if matches!(inner, Statement::Maintenance(_) | Statement::Call(_) | Statement::Checkpoint) {
        return Err(cursor.error());
    }
    Ok(Statement::Explain(options, Box::new(inner)))
}

/// Whether the parenthesis opens a query (`EXPLAIN (SELECT 1)`) and not an option list.
fn starts_query(cursor: &Cursor<'_>) -> bool {
    cursor.rest().get(1).is_some_and(|token| match &token.token {
        Token::LParen => true,
        Token::Word(word) => ["select", "with", "values", "table"]
            .iter()
            .any(|keyword| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword)),
        _ => false,
    })
}

fn explain_option(cursor: &mut Cursor<'_>, options: &mut ExplainOptions) -> Result<(), SqlError> {
    let name = cursor.name()?;
    if name == "format" {
        let format = cursor.name()?;
        options.format = match format.as_str() {
            "text" => ExplainFormat::Text,
            "json" => ExplainFormat::Json,
            "xml" | "yaml" => return Err(SqlError::unsupported(format!("EXPLAIN format {format}"))),
            _ => {
                return Err(SqlError::new(
                    proto::ErrorKind::InvalidParameterValue,
                    format!("unrecognized value for EXPLAIN option \"format\": \"{format}\""),
                ));
            }
        };
        return Ok(());
    }
    let value = match cursor.peek() {
        Some(Token::Comma | Token::RParen) | None => true,
        _ => boolean(cursor, &name)?,
    };
    match name.as_str() {
        "analyze" | "analyse" => options.analyze = value,
        "verbose" => options.verbose = value,
        "costs" => options.costs = value,
        "buffers" => options.buffers = value,
        "timing" => options.timing = value,
        "summary" => options.summary = value,
        "settings" | "wal" | "generic_plan" | "memory" => {}
        _ => return Err(super::syntax_error(format!("unrecognized EXPLAIN option \"{name}\""))),
    }
    Ok(())
}

/// A boolean option value: a word, a string or a number.
pub(super) fn boolean(cursor: &mut Cursor<'_>, option: &str) -> Result<bool, SqlError> {
    let text = match cursor.next() {
        Some(Token::Word(word)) => word.value.to_ascii_lowercase(),
        Some(Token::SingleQuotedString(text)) => text.to_ascii_lowercase(),
        Some(Token::Number(number, _)) => number.clone(),
        _ => String::new(),
    };
    match text.as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(super::syntax_error(format!("{option} requires a Boolean value"))),
    }
}

impl Default for ExplainOptions {
    fn default() -> Self {
        Self {
            analyze: false,
            verbose: false,
            costs: true,
            buffers: false,
            timing: true,
            summary: false,
            format: ExplainFormat::Text,
        }
    }
}
