//! Savepoints, BEGIN, START TRANSACTION, COMMIT, END, ROLLBACK, ABORT and their modes.

use proto::SqlError;
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::{Statement, WrittenInstant, instants};
use crate::plan::{Isolation, TransactionCommand, TransactionModes};

pub(super) fn parse(first: &str, mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let command = match first {
        "savepoint" => TransactionCommand::Savepoint { name: cursor.name()? },
        "release" => {
            cursor.keyword("savepoint");
            TransactionCommand::Release { name: cursor.name()? }
        }
        "begin" | "start" => {
            let start = first == "start";
            if start {
                cursor.expect_keyword("transaction")?;
            } else {
                optional_word(&mut cursor);
            }
            let (modes, at) = modes_at(&mut cursor)?;
            TransactionCommand::Begin { modes, at, start }
        }
        _ => {
            if cursor.keyword("prepared") {
                // None can exist: PREPARE TRANSACTION is refused.
                let name = cursor.string()?;
                cursor.expect_end()?;
                return Err(SqlError::new(
                    proto::ErrorKind::UndefinedObject,
                    format!("prepared transaction with identifier \"{name}\" does not exist"),
                ));
            }
            optional_word(&mut cursor);
            if first == "rollback" && cursor.keyword("to") {
                cursor.keyword("savepoint");
                let name = cursor.name()?;
                cursor.expect_end()?;
                return Ok(Statement::Transaction(TransactionCommand::RollbackTo { name }));
            }
            let chain = chain(&mut cursor)?;
            if matches!(first, "commit" | "end") {
                TransactionCommand::Commit { chain }
            } else {
                TransactionCommand::Rollback { chain }
            }
        }
    };
    cursor.expect_end()?;
    Ok(Statement::Transaction(command))
}

fn optional_word(cursor: &mut Cursor<'_>) {
    let _ = cursor.keyword("transaction") || cursor.keyword("work");
}

fn chain(cursor: &mut Cursor<'_>) -> Result<bool, SqlError> {
    if !cursor.keyword("and") {
        return Ok(false);
    }
    let no = cursor.keyword("no");
    cursor.expect_keyword("chain")?;
    Ok(!no)
}

/// A possibly empty list of transaction modes.
pub(super) fn modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes, SqlError> {
    match modes_at(cursor)? {
        (modes, None) => Ok(modes),
        (_, Some(_)) => Err(SqlError::unsupported("AS OF SYSTEM TIME as a property of the session")
            .with_hint("Set elanus.read_time.")),
    }
}

/// The same with `AS OF SYSTEM TIME` among them.
pub(super) fn modes_at(
    cursor: &mut Cursor<'_>,
) -> Result<(TransactionModes, Option<WrittenInstant>), SqlError> {
    let mut modes = TransactionModes::default();
    let mut at = None;
    while !cursor.is_at_end() {
        if let Some(instant) = instants::optional(cursor)? {
            at = Some(instant);
        } else if cursor.keywords(&["isolation", "level"]) {
            modes.isolation = Some(isolation(cursor)?);
        } else if cursor.keywords(&["read", "only"]) {
            modes.read_only = Some(true);
        } else if cursor.keywords(&["read", "write"]) {
            modes.read_only = Some(false);
        } else if cursor.keyword("deferrable") {
            modes.deferrable = Some(true);
        } else if cursor.keywords(&["not", "deferrable"]) {
            modes.deferrable = Some(false);
        } else {
            return Err(cursor.error());
        }
        cursor.token(&Token::Comma);
    }
    Ok((modes, at))
}

fn isolation(cursor: &mut Cursor<'_>) -> Result<Isolation, SqlError> {
    if cursor.keywords(&["read", "uncommitted"]) {
        Ok(Isolation::ReadUncommitted)
    } else if cursor.keywords(&["read", "committed"]) {
        Ok(Isolation::ReadCommitted)
    } else if cursor.keywords(&["repeatable", "read"]) {
        Ok(Isolation::RepeatableRead)
    } else if cursor.keyword("serializable") {
        Ok(Isolation::Serializable)
    } else {
        Err(cursor.error())
    }
}
