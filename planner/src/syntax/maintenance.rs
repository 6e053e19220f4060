//! VACUUM, ANALYZE and CALL as statements.

use proto::{ErrorKind, SqlError};
use sqlparser::ast;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::Cursor;
use super::errors::Source;
use super::{Ast, Statement, prepare};

/// Words of the grammar that name no table unless they are quoted.
const NO_TABLES: [&str; 5] = ["full", "freeze", "verbose", "analyze", "analyse"];
/// Numbers PARALLEL takes.
const MOST_WORKERS: u32 = 1024;

/// `VACUUM` or `ANALYZE`.
#[derive(Clone, Debug, Default)]
pub struct MaintenanceStatement {
    /// ANALYZE alone when false.
    pub vacuum: bool,
    pub full: bool,
    pub analyze: bool,
    pub verbose: bool,
    /// Tables with the columns named; all tables when there are none.
    pub targets: Vec<(ast::ObjectName, Vec<ast::Ident>)>,
}

/// `CALL`.
#[derive(Debug)]
pub struct CallStatement {
    pub name: ast::ObjectName,
    /// The arguments as the select list of a query; none when there are none.
    pub arguments: Option<Ast>,
}

/// The options that say what cannot go together.
#[derive(Default)]
struct Restrictions {
    parallel: bool,
    no_skipping: bool,
    only_statistics: bool,
}

/// `VACUUM [(option, …) | FULL FREEZE VERBOSE ANALYZE] [table [(column, …)], …]`.
pub(super) fn vacuum(source: &Source<'_>, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let mut statement = MaintenanceStatement { vacuum: true, ..MaintenanceStatement::default() };
    let mut restrictions = Restrictions::default();
    if cursor.token(&Token::LParen) {
        loop {
            vacuum_option(source, &mut cursor, &mut statement, &mut restrictions)?;
            if !cursor.token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        statement.full = cursor.keyword("full");
        cursor.keyword("freeze");
        statement.verbose = cursor.keyword("verbose");
        statement.analyze = cursor.keyword("analyze") || cursor.keyword("analyse");
    }
    targets(&mut cursor, &mut statement)?;
    restrictions.check(&statement)?;
    Ok(Statement::Maintenance(statement))
}

/// `ANALYZE [(option, …) | VERBOSE] [table [(column, …)], …]`.
pub(super) fn analyze(source: &Source<'_>, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let mut statement = MaintenanceStatement { analyze: true, ..MaintenanceStatement::default() };
    if cursor.token(&Token::LParen) {
        loop {
            let at = cursor.rest().first();
            let name = cursor.name()?;
            let value = option_value(&mut cursor);
            match name.as_str() {
                "verbose" => statement.verbose = is_on(&name, value)?,
                "skip_locked" => drop(is_on(&name, value)?),
                "buffer_usage_limit" => check_size(&value)?,
                _ => return Err(unrecognized(source, "ANALYZE", &name, at)),
            }
            if !cursor.token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        statement.verbose = cursor.keyword("verbose");
    }
    targets(&mut cursor, &mut statement)?;
    Ok(Statement::Maintenance(statement))
}

/// `CALL name(argument, …)`.
pub(super) fn call(source: &Source<'_>, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let name = cursor.object_name()?;
    if cursor.peek() != Some(&Token::LParen) {
        return Err(cursor.error());
    }
    let arguments = prepare::values(source, &mut cursor)?;
    Ok(Statement::Call(CallStatement { name, arguments }))
}

fn targets(cursor: &mut Cursor<'_>, statement: &mut MaintenanceStatement) -> Result<(), SqlError> {
    while !cursor.is_at_end() {
        if cursor.peek_word().is_some_and(|word| NO_TABLES.contains(&word.as_str())) {
            return Err(cursor.error());
        }
        let table = cursor.object_name()?;
        let mut columns = Vec::new();
        if cursor.token(&Token::LParen) {
            columns.push(cursor.identifier()?);
            while cursor.token(&Token::Comma) {
                columns.push(cursor.identifier()?);
            }
            cursor.expect_token(&Token::RParen)?;
        }
        if !columns.is_empty() && !statement.analyze {
            let message = "ANALYZE option must be specified when a column list is provided";
            return Err(SqlError::new(ErrorKind::FeatureNotSupported, message));
        }
        statement.targets.push((table, columns));
        if !cursor.token(&Token::Comma) {
            return cursor.expect_end();
        }
        if cursor.is_at_end() {
            return Err(cursor.error());
        }
    }
    Ok(())
}

/// What is written behind an option's name.
enum OptionValue {
    None,
    Text(String),
}

fn option_value(cursor: &mut Cursor<'_>) -> OptionValue {
    let negative = cursor.token(&Token::Minus);
    let text = match cursor.peek() {
        Some(Token::Word(word)) => word.value.to_ascii_lowercase(),
        Some(Token::SingleQuotedString(text)) => text.clone(),
        Some(Token::Number(number, _)) if negative => format!("-{number}"),
        Some(Token::Number(number, _)) => number.clone(),
        _ => return OptionValue::None,
    };
    cursor.skip(1);
    OptionValue::Text(text)
}

fn is_on(name: &str, value: OptionValue) -> Result<bool, SqlError> {
    let OptionValue::Text(text) = value else { return Ok(true) };
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(super::syntax_error(format!("{name} requires a Boolean value"))),
    }
}

fn vacuum_option(
    source: &Source<'_>,
    cursor: &mut Cursor<'_>,
    statement: &mut MaintenanceStatement,
    restrictions: &mut Restrictions,
) -> Result<(), SqlError> {
    let at = cursor.rest().first();
    let name = cursor.name()?;
    let value = option_value(cursor);
    match name.as_str() {
        "full" => statement.full = is_on(&name, value)?,
        "analyze" | "analyse" => statement.analyze = is_on(&name, value)?,
        "verbose" => statement.verbose = is_on(&name, value)?,
        "disable_page_skipping" => restrictions.no_skipping = is_on(&name, value)?,
        "only_database_stats" => restrictions.only_statistics = is_on(&name, value)?,
        // What they say of PostgreSQL's files has no counterpart here.
        "freeze" | "skip_locked" | "process_main" | "process_toast" | "truncate" | "skip_database_stats" => {
            is_on(&name, value)?;
        }
        "index_cleanup" => {
            if !matches!(&value, OptionValue::Text(text) if text.eq_ignore_ascii_case("auto")) {
                is_on(&name, value)?;
            }
        }
        "parallel" => restrictions.parallel = workers(value, at)? > 0,
        "buffer_usage_limit" => check_size(&value)?,
        _ => return Err(unrecognized(source, "VACUUM", &name, at)),
    }
    Ok(())
}

fn workers(value: OptionValue, at: Option<&TokenWithSpan>) -> Result<u32, SqlError> {
    let OptionValue::Text(text) = value else {
        let message = format!("parallel option requires a value between 0 and {MOST_WORKERS}");
        return Err(positioned(super::syntax_error(message), at));
    };
    text.parse().ok().filter(|workers| *workers <= MOST_WORKERS).ok_or_else(|| {
        let message = format!("parallel workers for vacuum must be between 0 and {MOST_WORKERS}");
        positioned(super::syntax_error(message), at)
    })
}

/// `BUFFER_USAGE_LIMIT`: a number of kB, or one with a unit.
fn check_size(value: &OptionValue) -> Result<(), SqlError> {
    let text = match value {
        OptionValue::Text(text) => text.trim(),
        OptionValue::None => "",
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[digits..].trim() {
        "" | "kB" => Some(1_u64),
        "MB" => Some(1 << 10),
        "GB" => Some(1 << 20),
        _ => None,
    };
    let size =
        text[..digits].parse::<u64>().ok().zip(factor).map(|(size, factor)| size.saturating_mul(factor));
    if size.is_some_and(|size| size == 0 || (128..=16_777_216).contains(&size)) {
        return Ok(());
    }
    let message = "BUFFER_USAGE_LIMIT option must be 0 or between 128 kB and 16777216 kB";
    Err(SqlError::new(ErrorKind::InvalidParameterValue, message))
}

fn unrecognized(source: &Source<'_>, command: &str, name: &str, at: Option<&TokenWithSpan>) -> SqlError {
    let Some(_) = at else { return source.at_end() };
    positioned(super::syntax_error(format!("unrecognized {command} option \"{name}\"")), at)
}

fn positioned(error: SqlError, at: Option<&TokenWithSpan>) -> SqlError {
    match at {
        Some(token) => error.with_position(u32::try_from(token.span.start.column).unwrap_or(u32::MAX)),
        None => error,
    }
}

impl Restrictions {
    fn check(&self, statement: &MaintenanceStatement) -> Result<(), SqlError> {
        let message = if statement.full && self.parallel {
            "VACUUM FULL cannot be performed in parallel"
        } else if statement.full && self.no_skipping {
            "VACUUM option DISABLE_PAGE_SKIPPING cannot be used with FULL"
        } else if self.only_statistics && !statement.targets.is_empty() {
            "ONLY_DATABASE_STATS cannot be specified with a list of tables"
        } else if self.only_statistics && (statement.full || statement.analyze) {
            "ONLY_DATABASE_STATS cannot be specified with other VACUUM options"
        } else {
            return Ok(());
        };
        Err(SqlError::new(ErrorKind::FeatureNotSupported, message))
    }
}
