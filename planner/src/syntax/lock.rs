//! `LOCK [TABLE] [ONLY] name [*] [, …] [IN mode MODE] [NOWAIT]`.

use proto::SqlError;
use sqlparser::tokenizer::Token;

use super::Statement;
use super::cursor::Cursor;
use crate::plan::TableLockMode;

/// The modes by their words; a longer one comes before one it begins with.
const MODES: [(&[&str], TableLockMode); 8] = [
    (&["access", "share"], TableLockMode::AccessShare),
    (&["row", "share"], TableLockMode::RowShare),
    (&["row", "exclusive"], TableLockMode::RowExclusive),
    (&["share", "update", "exclusive"], TableLockMode::ShareUpdateExclusive),
    (&["share", "row", "exclusive"], TableLockMode::ShareRowExclusive),
    (&["share"], TableLockMode::Share),
    (&["exclusive"], TableLockMode::Exclusive),
    (&["access", "exclusive"], TableLockMode::AccessExclusive),
];

pub(super) fn parse(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.keyword("table");
    let mut tables = Vec::new();
    loop {
        cursor.keyword("only");
        tables.push(cursor.object_name()?);
        cursor.token(&Token::Mul);
        if !cursor.token(&Token::Comma) {
            break;
        }
    }
    let mut mode = TableLockMode::AccessExclusive;
    if cursor.keyword("in") {
        let found = MODES.iter().find(|(words, _)| cursor.keywords(words));
        mode = found.ok_or_else(|| cursor.error())?.1;
        cursor.expect_keyword("mode")?;
    }
    let nowait = cursor.keyword("nowait");
    cursor.expect_end()?;
    Ok(Statement::Lock { tables, mode, nowait })
}
