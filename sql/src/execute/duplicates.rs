//! Primary-key checks a statement makes for itself, inside a transaction block.
//!
//! The channel's owner checks every key again at COMMIT; the check here exists because PostgreSQL reports 23505
//! at the statement, and because a transaction must not hold two rows with one key among its own writes.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use exec::functions::catalog::names::quote_identifier;
use proto::catalog::TableMeta;
use proto::record::RowRef;
use proto::{ErrorKind, RowId, SqlError};
use segments::{PRIVATE_SEGMENT, TableSnapshot};

use super::display::value_text;

/// What a row is wherever it is: a merge of segments moves it and keeps its id. Private rows have ids of their own.
pub(crate) type RowIdentity = (bool, RowId);

/// The identity of a row.
pub(crate) fn identity(row: &RowRef) -> RowIdentity {
    (row.segment == PRIVATE_SEGMENT, row.row)
}

/// PostgreSQL's duplicate-key error for row `row` of `batch` (the table's columns in order).
pub(crate) fn duplicate_key(table: &TableMeta, batch: &RecordBatch, row: usize) -> SqlError {
    let positions = table.key_positions();
    let names: Vec<String> = positions.iter().map(|&at| quote_identifier(&table.columns[at].name)).collect();
    let values: Vec<String> =
        positions.iter().map(|&at| value_text(batch.column(at), table.columns[at].ty, row)).collect();
    let constraint = table.primary_key.as_ref().map_or("", |key| key.name.as_str());
    SqlError::new(
        ErrorKind::UniqueViolation,
        format!("duplicate key value violates unique constraint \"{constraint}\""),
    )
    .with_detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
    .with_table(&table.namespace, &table.name)
    .with_constraint(constraint)
}

/// Checks that no row of `batch` has a key that is visible in `snapshot` (except rows in `ending`) or that an
/// earlier row of the statement has taken; remembers the keys in `taken`.
///
/// # Errors
/// 23505 for the first such row.
pub(crate) fn check_keys(
    table: &TableMeta,
    snapshot: &TableSnapshot,
    batch: &RecordBatch,
    keys: &[Box<[u8]>],
    ending: &HashSet<RowIdentity>,
    taken: &mut HashSet<Box<[u8]>>,
) -> Result<(), SqlError> {
    if table.primary_key.is_none() {
        return Ok(());
    }
    let found = snapshot.find_keys(keys).map_err(|error| super::storage_error(&error))?;
    for (row, key) in keys.iter().enumerate() {
        let exists = found[row].is_some_and(|target| !ending.contains(&identity(&target)));
        if exists || !taken.insert(key.clone()) {
            return Err(duplicate_key(table, batch, row));
        }
    }
    Ok(())
}
