//! Foreign keys of a statement, from the side of the rows that refer: what they refer to is there, and stays there.
//!
//! A referring row locks the row it refers to FOR KEY SHARE, as in PostgreSQL, so that it can be changed but neither go
//! nor get another key before the transaction ends. What is there is judged by the newest state, not by the
//! statement's snapshot, and looked at again once the lock is granted.
//!
//! What it is not: what happens to referring rows when the row they refer to goes (`referential`).
//!
//! Invariant: the owner of the channel checks all of it again, so that a lock that was lost costs a refused commit.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use cluster::locks::LockMode;
use proto::catalog::{CatalogSnapshot, MatchType, Reference, TableMeta};
use proto::record::RowRef;
use proto::{ErrorKind, SqlError, TableId};
use segments::{ScanColumn, TableSnapshot, is_private};

use super::display::value_text;
use super::duplicates::identity;
use super::keys::tracked_places;
use super::locking::{Wanted, row_target};
use super::transaction::Transaction;
use super::write::WriteFailure;
use super::{SessionExecutor, node_error, rows, storage_error};

/// Rows looked at together when a constraint is added.
const PROVED_ROWS: usize = 8192;

/// Rows that ended: their tracked columns, and whole rows in their places when they were updated.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) old: RecordBatch,
    pub(super) new: Option<RecordBatch>,
}

/// What a statement did to the rows of a table, as far as foreign keys ask.
#[derive(Debug, Default)]
pub(super) struct RowChanges {
    /// Whole rows that did not take the place of others.
    pub(super) begun: Vec<RecordBatch>,
    pub(super) ended: Vec<Ended>,
}

impl SessionExecutor {
    /// Whether foreign keys ask what becomes of rows of a table.
    pub(super) fn is_watched(&self, transaction: &Transaction, table: &TableMeta) -> bool {
        !table.foreign_keys.is_empty() || self.catalog_of(transaction).references_to(table).next().is_some()
    }

    /// Does what foreign keys ask for after a statement has changed rows of a table: referring rows go or change
    /// along, and every row that refers to one finds it.
    ///
    /// # Errors
    /// 23503; `Conflict` when a row that is to change along has changed since.
    pub(super) async fn keep_references(
        &mut self,
        transaction: &mut Transaction,
        table: &Arc<TableMeta>,
        changes: RowChanges,
    ) -> Result<(), WriteFailure> {
        let catalog = self.catalog_of(transaction);
        let mut open = VecDeque::from([(Arc::clone(table), changes)]);
        let mut refer = Vec::new();
        while let Some((table, changes)) = open.pop_front() {
            for reference in catalog.references_to(&table) {
                let followed = self.follow(transaction, &reference, &changes).await?;
                open.extend(followed.into_iter().map(|changes| (Arc::clone(reference.table), changes)));
            }
            refer.push((table, changes));
        }
        for (table, changes) in refer {
            self.check_references(transaction, &table, &changes).await?;
        }
        Ok(())
    }

    /// Checks what new rows of a table refer to, and keeps it.
    pub(super) async fn check_references(
        &self,
        transaction: &mut Transaction,
        table: &Arc<TableMeta>,
        changes: &RowChanges,
    ) -> Result<(), WriteFailure> {
        if table.foreign_keys.is_empty() {
            return Ok(());
        }
        let catalog = self.catalog_of(transaction);
        let targets = table.foreign_keys.iter().map(|key| (key.target, LockMode::RowShare));
        self.lock_tables(transaction, targets.filter(|(target, _)| *target != table.id)).await?;
        for reference in catalog.references_of(table) {
            let wanted = new_references(&reference, changes)?;
            self.keep_targets(transaction, &reference, &wanted).await?;
        }
        Ok(())
    }

    /// Finds and locks the rows that are referred to.
    async fn keep_targets(
        &self,
        transaction: &mut Transaction,
        reference: &Reference<'_>,
        wanted: &[Referring<'_>],
    ) -> Result<(), WriteFailure> {
        let mut seen = HashSet::new();
        let distinct: Vec<&Referring<'_>> = wanted.iter().filter(|row| seen.insert(&row.key)).collect();
        if distinct.is_empty() {
            return Ok(());
        }
        let values: Vec<Option<&[u8]>> = distinct.iter().map(|row| Some(row.key.as_ref())).collect();
        let mut snapshot = self.newest_of(transaction, reference.target.id).await?;
        loop {
            let found = snapshot.find(reference.key, &values).map_err(|error| storage_error(&error))?;
            if let Some(missing) = found.iter().position(Option::is_none) {
                let Referring { batch, row, .. } = distinct[missing];
                return Err(not_present(reference, batch, *row).into());
            }
            let targets: Vec<RowRef> = found.into_iter().flatten().collect();
            let waited = self.share_rows(transaction, reference, &snapshot, &targets, &values).await?;
            let newest = self.newest_of(transaction, reference.target.id).await?;
            if !waited && newest.read_ts == snapshot.read_ts {
                return Ok(());
            }
            let again = newest.find(reference.key, &values).map_err(|error| storage_error(&error))?;
            let same = |(then, now): (&RowRef, &Option<RowRef>)| {
                now.is_some_and(|now| identity(then) == identity(&now))
            };
            if targets.iter().zip(&again).all(same) {
                return Ok(());
            }
            snapshot = newest;
        }
    }

    /// Locks rows that others begin to refer to; true when it had to wait.
    async fn share_rows(
        &self,
        transaction: &mut Transaction,
        reference: &Reference<'_>,
        snapshot: &TableSnapshot,
        targets: &[RowRef],
        values: &[Option<&[u8]>],
    ) -> Result<bool, SqlError> {
        let positions = reference.target.key_positions();
        let keys: Vec<Box<[u8]>> = if reference.key.is_primary {
            values.iter().flatten().map(|value| Box::from(*value)).collect()
        } else if positions.is_empty() {
            vec![Box::default(); targets.len()]
        } else {
            let batch = rows::read_rows(snapshot, targets, &positions)?;
            rows::keys(&batch, &(0..positions.len()).collect::<Vec<_>>())?
        };
        let mut wanted = Wanted::default();
        // A row that only this transaction knows is not taken away by another.
        for (row, key) in targets.iter().zip(&keys).filter(|(row, _)| !is_private(row.segment)) {
            wanted.add(row_target(reference.target, row, key), LockMode::ForKeyShare);
        }
        self.take_locks(transaction, wanted).await
    }

    /// A table as of the last acknowledged commit, with the transaction's own writes.
    pub(super) async fn newest_of(
        &self,
        transaction: &Transaction,
        table: TableId,
    ) -> Result<Arc<TableSnapshot>, SqlError> {
        let pinned = self.shared.node.pinned_barrier(self.database).await;
        let (point, _pin) = pinned.map_err(|error| node_error(&error))?;
        self.table_snapshot(transaction, table, point).await
    }

    /// Shows that all rows of a table meet a foreign key that it is to have.
    ///
    /// # Errors
    /// 23503 for the first that does not.
    pub(super) async fn prove_reference(
        &self,
        transaction: &Transaction,
        catalog: &CatalogSnapshot,
        snapshot: &TableSnapshot,
        name: &str,
    ) -> Result<(), SqlError> {
        let table = &snapshot.table;
        let mut references = catalog.references_of(table);
        let Some(reference) = references.find(|reference| reference.foreign.name == name) else {
            return Err(SqlError::new(ErrorKind::Internal, "a new foreign key refers to nothing"));
        };
        let target = self.newest_of(transaction, reference.target.id).await?;
        let columns: Vec<ScanColumn> = (0..table.columns.len()).map(ScanColumn::Column).collect();
        for view in &snapshot.segments {
            let visible: Vec<u32> = view.visible().set_indices().map(|ordinal| ordinal as u32).collect();
            for ordinals in visible.chunks(PROVED_ROWS) {
                let batch = view.read_rows(&columns, ordinals).map_err(|error| storage_error(&error))?;
                let begun = RowChanges { begun: vec![batch], ended: Vec::new() };
                let wanted = new_references(&reference, &begun)?;
                let values: Vec<Option<&[u8]>> = wanted.iter().map(|row| Some(row.key.as_ref())).collect();
                let found = target.find(reference.key, &values).map_err(|error| storage_error(&error))?;
                if let Some(missing) = found.iter().position(Option::is_none) {
                    return Err(not_present(&reference, wanted[missing].batch, wanted[missing].row));
                }
            }
        }
        Ok(())
    }
}

/// A row with the key it refers to.
struct Referring<'a> {
    key: Box<[u8]>,
    /// Whole rows, and which of them it is.
    batch: &'a RecordBatch,
    row: usize,
}

/// The new rows that refer to something, but for those which an update left as they were in that.
///
/// # Errors
/// 23503 for a row that MATCH FULL refuses.
fn new_references<'a>(
    reference: &Reference<'_>,
    changes: &'a RowChanges,
) -> Result<Vec<Referring<'a>>, SqlError> {
    let positions = reference.positions();
    let places = tracked_places(reference.table, &positions)?;
    let mut referring = Vec::new();
    let begun = changes.begun.iter().map(|batch| (batch, None));
    let updated = changes.ended.iter().filter_map(|ended| Some((ended.new.as_ref()?, Some(&ended.old))));
    for (batch, old) in begun.chain(updated) {
        let new = reference.encode(batch, &positions)?;
        let old = old.map(|old| reference.encode(old, &places)).transpose()?;
        for (row, key) in new.into_iter().enumerate() {
            let nulls = positions.iter().filter(|&&at| batch.column(at).is_null(row)).count();
            if reference.foreign.match_type == MatchType::Full && nulls > 0 && nulls < positions.len() {
                return Err(violation(
                    reference,
                    "MATCH FULL does not allow mixing of null and nonnull key values.".to_owned(),
                ));
            }
            let unchanged = old.as_ref().is_some_and(|old| old[row] == key);
            referring.extend(key.filter(|_| !unchanged).map(|key| Referring { key, batch, row }));
        }
    }
    Ok(referring)
}

/// 23503 of a row that refers to nothing.
fn not_present(reference: &Reference<'_>, batch: &RecordBatch, row: usize) -> SqlError {
    let positions = reference.table.positions(&reference.foreign.columns);
    let key = plain_key_text(reference.table, &positions, &positions, batch, row);
    violation(reference, format!("Key {key} is not present in table \"{}\".", reference.target.name))
}

fn violation(reference: &Reference<'_>, detail: String) -> SqlError {
    let (table, name) = (reference.table, &reference.foreign.name);
    SqlError::new(
        ErrorKind::ForeignKeyViolation,
        format!("insert or update on table \"{}\" violates foreign key constraint \"{name}\"", table.name),
    )
    .with_detail(detail)
    .with_table(&table.namespace, &table.name)
    .with_constraint(name)
}

/// `(a, b)=(1, x)` with names as they are, of the columns at `positions`, which a batch has at `places`.
pub(super) fn plain_key_text(
    table: &TableMeta,
    positions: &[usize],
    places: &[usize],
    batch: &RecordBatch,
    row: usize,
) -> String {
    let names: Vec<&str> = positions.iter().map(|&at| table.columns[at].name.as_str()).collect();
    let values = positions.iter().zip(places);
    let values: Vec<String> =
        values.map(|(&at, &place)| value_text(batch.column(place), table.columns[at].ty, row)).collect();
    format!("({})=({})", names.join(", "), values.join(", "))
}
