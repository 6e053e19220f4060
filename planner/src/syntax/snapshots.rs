//! CREATE SNAPSHOT, DROP SNAPSHOT and UNDROP TABLE.

use proto::SqlError;
use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::{Statement, WrittenInstant, instants};

/// What is done with a named snapshot.
#[derive(Clone, Debug)]
pub enum SnapshotStatement {
    Create {
        name: String,
        /// None: all of the database.
        tables: Vec<ast::ObjectName>,
        /// None: now.
        at: Option<WrittenInstant>,
    },
    Drop {
        name: String,
        if_exists: bool,
    },
}

/// `CREATE SNAPSHOT name [FOR TABLE table, …] [AS OF [SYSTEM TIME] instant]`, behind its second word.
pub(super) fn create(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let name = cursor.name()?;
    let mut tables = Vec::new();
    if cursor.keywords(&["for", "table"]) {
        tables.push(cursor.object_name()?);
        while cursor.token(&Token::Comma) {
            tables.push(cursor.object_name()?);
        }
    }
    let mut at = None;
    if cursor.keywords(&["as", "of"]) {
        cursor.keywords(&["system", "time"]);
        at = Some(instants::required(&mut cursor)?);
    }
    cursor.expect_end()?;
    Ok(Statement::Snapshot(SnapshotStatement::Create { name, tables, at }))
}

/// `DROP SNAPSHOT [IF EXISTS] name`, behind its second word.
pub(super) fn drop(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let if_exists = cursor.keywords(&["if", "exists"]);
    let name = cursor.name()?;
    cursor.expect_end()?;
    Ok(Statement::Snapshot(SnapshotStatement::Drop { name, if_exists }))
}

/// `UNDROP TABLE name [AS new_name]`, behind its first word.
pub(super) fn undrop(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.expect_keyword("table")?;
    let name = cursor.object_name()?;
    let new_name = if cursor.keyword("as") { Some(cursor.name()?) } else { None };
    cursor.expect_end()?;
    Ok(Statement::Undrop { name, new_name })
}
