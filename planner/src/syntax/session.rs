//! SET, RESET, SHOW, DISCARD, DEALLOCATE and UNLISTEN.

use proto::SqlError;
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::{Statement, discard_target, transaction};
use crate::plan::{SessionCommand, SetValue, TransactionCommand};

pub(super) fn set(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.keywords(&["session", "characteristics", "as", "transaction"]) {
        let modes = transaction::modes(&mut cursor)?;
        cursor.expect_end()?;
        return Ok(Statement::Session(SessionCommand::SetCharacteristics(modes)));
    }
    if cursor.keyword("transaction") {
        if cursor.keyword("snapshot") {
            return Ok(Statement::Unsupported("SET TRANSACTION SNAPSHOT".to_owned()));
        }
        let (modes, at) = transaction::modes_at(&mut cursor)?;
        cursor.expect_end()?;
        return Ok(Statement::Transaction(TransactionCommand::SetModes { modes, at }));
    }
    if cursor.keywords(&["constraints"]) {
        return Ok(Statement::Unsupported("SET CONSTRAINTS".to_owned()));
    }
    let local = cursor.keyword("local");
    if !local && !cursor.keywords(&["session", "authorization"]) {
        cursor.keyword("session");
    } else if !local {
        return assign(cursor, "session_authorization".to_owned(), false);
    }
    if cursor.keywords(&["time", "zone"]) {
        return time_zone(cursor, local);
    }
    if cursor.keyword("names") {
        return assign(cursor, "client_encoding".to_owned(), local);
    }
    if cursor.keyword("role") {
        return assign(cursor, "role".to_owned(), local);
    }
    let name = setting_name(&mut cursor)?;
    if !cursor.token(&Token::Eq) {
        cursor.expect_keyword("to")?;
    }
    assign(cursor, name, local)
}

fn assign(mut cursor: Cursor<'_>, name: String, local: bool) -> Result<Statement, SqlError> {
    let value = values(&mut cursor)?;
    cursor.expect_end()?;
    Ok(Statement::Session(SessionCommand::Set { name, value, local }))
}

fn time_zone(mut cursor: Cursor<'_>, local: bool) -> Result<Statement, SqlError> {
    if cursor.keyword("local") {
        cursor.expect_end()?;
        let name = "timezone".to_owned();
        return Ok(Statement::Session(SessionCommand::Set { name, value: SetValue::Default, local }));
    }
    if cursor.keyword("interval") {
        let text = cursor.string()?;
        while !cursor.is_at_end() {
            cursor.skip(1);
        }
        let value = SetValue::Values(vec![text]);
        return Ok(Statement::Session(SessionCommand::Set { name: "timezone".to_owned(), value, local }));
    }
    assign(cursor, "timezone".to_owned(), local)
}

/// `a` or `a.b`, in lower case unless quoted.
fn setting_name(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let mut name = cursor.name()?;
    while cursor.token(&Token::Period) {
        name.push('.');
        name.push_str(&cursor.name()?);
    }
    Ok(name)
}

fn values(cursor: &mut Cursor<'_>) -> Result<SetValue, SqlError> {
    if cursor.keyword("default") {
        return Ok(SetValue::Default);
    }
    let mut values = vec![value(cursor)?];
    while cursor.token(&Token::Comma) {
        values.push(value(cursor)?);
    }
    Ok(SetValue::Values(values))
}

fn value(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let negative = cursor.token(&Token::Minus);
    if !negative {
        cursor.token(&Token::Plus);
    }
    if let Some(Token::Number(number, _)) = cursor.peek() {
        cursor.skip(1);
        return Ok(if negative { format!("-{number}") } else { number.clone() });
    }
    if negative {
        return Err(cursor.error());
    }
    match cursor.peek() {
        Some(Token::Word(_)) => {
            // `SET x TO a.b` is not PostgreSQL's, but `on`, `off` and identifiers are.
            cursor.name()
        }
        _ => cursor.string(),
    }
}

pub(super) fn reset(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let command = if cursor.keyword("all") {
        SessionCommand::ResetAll
    } else {
        SessionCommand::Reset { name: named_setting(&mut cursor)? }
    };
    cursor.expect_end()?;
    Ok(Statement::Session(command))
}

pub(super) fn show(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let command = if cursor.keyword("all") {
        SessionCommand::ShowAll
    } else {
        SessionCommand::Show { name: named_setting(&mut cursor)? }
    };
    cursor.expect_end()?;
    Ok(Statement::Session(command))
}

/// A setting by its name or by the words SQL gives it.
fn named_setting(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    if cursor.keywords(&["time", "zone"]) {
        Ok("timezone".to_owned())
    } else if cursor.keywords(&["transaction", "isolation", "level"]) {
        Ok("transaction_isolation".to_owned())
    } else if cursor.keywords(&["session", "authorization"]) {
        Ok("session_authorization".to_owned())
    } else {
        setting_name(cursor)
    }
}

pub(super) fn discard(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let target = cursor.peek_word().as_deref().and_then(discard_target).ok_or_else(|| cursor.error())?;
    cursor.skip(1);
    cursor.expect_end()?;
    Ok(Statement::Session(SessionCommand::Discard(target)))
}

pub(super) fn deallocate(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.keyword("prepare");
    let name = if cursor.keyword("all") { None } else { Some(cursor.name()?) };
    cursor.expect_end()?;
    Ok(Statement::Session(SessionCommand::Deallocate { name }))
}

/// UNLISTEN: nothing can be listened to yet, so that there is nothing to end.
pub(super) fn unlisten(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    if !cursor.token(&Token::Mul) {
        cursor.name()?;
    }
    cursor.expect_end()?;
    Ok(Statement::Session(SessionCommand::Unlisten))
}
