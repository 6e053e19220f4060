//! Checks of unique keys that a statement makes for itself, inside a transaction block or when a key of ON CONFLICT is
//! not the only one.
//!
//! The channel's owner checks every key again at COMMIT; the check here exists because PostgreSQL reports 23505
//! at the statement, and because a transaction must not hold two rows with one key among its own writes.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;
use exec::functions::catalog::names::quote_identifier;
use proto::catalog::{KeyMeta, TableMeta};
use proto::record::RowRef;
use proto::{ErrorKind, Oid, RowId, SqlError};
use segments::{ScanColumn, TableSnapshot, is_private};

use super::display::value_text;
use super::keys::KeyValues;
use super::storage_error;

/// What a row is wherever it is: a merge of segments moves it and keeps its id. Private rows have ids of their own.
pub(crate) type RowIdentity = (bool, RowId);

/// The values that rows of a statement have taken, by the index of the key.
#[derive(Debug, Default)]
pub(crate) struct Taken(HashMap<Oid, HashSet<Box<[u8]>>>);

impl Taken {
    /// Takes a value; false when it was taken before.
    pub(crate) fn take(&mut self, key: KeyMeta<'_>, value: &[u8]) -> bool {
        self.0.entry(key.index_oid).or_default().insert(value.into())
    }

    /// Whether a value is taken.
    pub(crate) fn has(&self, key: KeyMeta<'_>, value: &[u8]) -> bool {
        self.0.get(&key.index_oid).is_some_and(|taken| taken.contains(value))
    }
}

/// The identity of a row.
pub(crate) fn identity(row: &RowRef) -> RowIdentity {
    (is_private(row.segment), row.row)
}

/// PostgreSQL's duplicate-key error for row `row` of `batch` (the table's columns in order).
pub(crate) fn duplicate_key(
    table: &TableMeta,
    constraint: &str,
    batch: &RecordBatch,
    row: usize,
) -> SqlError {
    let columns = table.keys().find(|key| key.name == constraint).map_or(&[][..], |key| key.columns);
    SqlError::new(
        ErrorKind::UniqueViolation,
        format!("duplicate key value violates unique constraint \"{constraint}\""),
    )
    .with_detail(format!("Key {} already exists.", key_text(table, &table.positions(columns), batch, row)))
    .with_table(&table.namespace, &table.name)
    .with_constraint(constraint)
}

/// `(a, b)=(1, x)` of columns of a row.
pub(crate) fn key_text(table: &TableMeta, positions: &[usize], batch: &RecordBatch, row: usize) -> String {
    let names: Vec<String> = positions.iter().map(|&at| quote_identifier(&table.columns[at].name)).collect();
    let values: Vec<String> =
        positions.iter().map(|&at| value_text(batch.column(at), table.columns[at].ty, row)).collect();
    format!("({})=({})", names.join(", "), values.join(", "))
}

/// Checks that no row of `batch` has a key that is visible in `snapshot` (except rows in `ending`) or that an
/// earlier row of the statement has taken; remembers the keys in `taken`.
///
/// # Errors
/// 23505 for the first such row, by the key whose index is the oldest.
pub(crate) fn check_keys(
    table: &TableMeta,
    snapshot: &TableSnapshot,
    batch: &RecordBatch,
    keys: &KeyValues,
    ending: &HashSet<RowIdentity>,
    taken: &mut Taken,
) -> Result<(), SqlError> {
    let mut all: Vec<_> = keys.each(table).collect();
    all.sort_by_key(|(key, _)| key.index_oid);
    let mut first: Option<(usize, &str)> = None;
    for (key, values) in &all {
        let found = snapshot.find(*key, values).map_err(|error| storage_error(&error))?;
        for (row, value) in values.iter().enumerate() {
            let exists = found[row].is_some_and(|target| !ending.contains(&identity(&target)));
            if exists || value.is_some_and(|value| !taken.take(*key, value)) {
                if first.is_none_or(|(known, _)| row < known) {
                    first = Some((row, key.name));
                }
                break;
            }
        }
    }
    match first {
        Some((row, constraint)) => Err(duplicate_key(table, constraint, batch, row)),
        None => Ok(()),
    }
}

/// Shows that the rows of a table differ in a key that it is to have.
///
/// # Errors
/// 23505 for the lowest value that comes twice.
pub(crate) fn prove_key(snapshot: &TableSnapshot, key: KeyMeta<'_>) -> Result<(), SqlError> {
    let table = &snapshot.table;
    let columns: Vec<ScanColumn> = table.positions(key.columns).into_iter().map(ScanColumn::Column).collect();
    let within: Vec<usize> = (0..columns.len()).collect();
    let mut values: Vec<(Box<[u8]>, usize, u32)> = Vec::new();
    for (segment, view) in snapshot.segments.iter().enumerate() {
        let ordinals: Vec<u32> = view.visible().set_indices().map(|ordinal| ordinal as u32).collect();
        let rows = view.read_rows(&columns, &ordinals).map_err(|error| storage_error(&error))?;
        let found = proto::key::encode_unique_keys(&rows, &within, key.nulls_distinct)?;
        values.extend(
            found.into_iter().zip(ordinals).filter_map(|(value, ordinal)| Some((value?, segment, ordinal))),
        );
    }
    values.sort_unstable();
    let Some(pair) = values.windows(2).find(|pair| pair[0].0 == pair[1].0) else { return Ok(()) };
    let (_, segment, ordinal) = &pair[0];
    let every: Vec<ScanColumn> = (0..table.columns.len()).map(ScanColumn::Column).collect();
    let row = snapshot.segments[*segment].read_rows(&every, &[*ordinal]).map_err(|e| storage_error(&e))?;
    Err(duplicated(table, key, &row, 0))
}

/// 23505 for a row whose value of a key that is to be comes twice.
pub(crate) fn duplicated(table: &TableMeta, key: KeyMeta<'_>, batch: &RecordBatch, row: usize) -> SqlError {
    SqlError::new(ErrorKind::UniqueViolation, format!("could not create unique index \"{}\"", key.name))
        .with_detail(format!(
            "Key {} is duplicated.",
            key_text(table, &table.positions(key.columns), batch, row)
        ))
        .with_table(&table.namespace, &table.name)
        .with_constraint(key.name)
}
