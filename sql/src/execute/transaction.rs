//! A transaction as its session holds it: one snapshot rule, buffered writes, buffered catalog changes.
//!
//! Writes stay in the session (private segments and a delete set per table; what is much goes to files, `staging.rs`)
//! until COMMIT turns them into one Commit record, so a rollback is forgetting. Every statement, also one outside BEGIN … COMMIT,
//! runs inside a `Transaction`; what differs is who ends it.
//!
//! Invariants: nothing of a transaction is in the log as a decision before its commit; a READ COMMITTED
//! transaction reads at a new point per statement, a REPEATABLE READ one at the point of its first statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::locks::LockOwner;
use cluster::{Instant, Pin, StagedSegment};
use parking_lot::Mutex;
use proto::catalog::{CatalogChange, CatalogSnapshot, SequenceMeta};
use proto::record::TableChange;
use proto::time::ReadPoint;
use proto::{Oid, SequenceId, SqlError, TableId, Timestamp, TxnId};
use segments::TableOverlay;

use super::savepoints::Savepoint;
use super::storage_error;

/// How far a transaction sees others' commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// Every statement sees what was committed before the first.
    RepeatableRead,
}

/// Who ends the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// One statement outside any block.
    Statement,
    /// The statements of one simple-query text or of a pipeline up to Sync.
    Implicit,
    /// BEGIN … COMMIT.
    Block,
}

/// Which private catalog a transaction sees: no two of them are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CatalogStamp {
    txn: TxnId,
    change: u64,
}

/// One transaction.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) id: TxnId,
    pub(crate) extent: Extent,
    pub(crate) isolation: Isolation,
    pub(crate) read_only: bool,
    /// An error has ended the block; only ROLLBACK (or COMMIT, which rolls back) is accepted.
    pub(crate) failed: bool,
    /// `now()` of every statement inside, microseconds since 1970.
    pub(crate) started_micros: i64,
    /// The point of the first statement under REPEATABLE READ.
    pub(crate) fixed_point: Option<ReadPoint>,
    /// The past instant that all statements read at.
    pub(crate) instant: Option<Instant>,
    /// Keeps the newest of the points readable.
    pub(crate) pin: Option<Pin>,
    /// The newest point any statement read at: what conflicts are judged by.
    pub(crate) last_point: Option<ReadPoint>,
    pub(crate) writes: BTreeMap<TableId, TableOverlay>,
    pub(crate) catalog_changes: Vec<CatalogChange>,
    /// The catalog this transaction sees once it has changed it.
    pub(crate) catalog: Option<Arc<CatalogSnapshot>>,
    /// Indexes it creates; they are built once it is committed.
    pub(crate) new_indexes: Vec<(TableId, Oid)>,
    /// Names `catalog`; none while it is the shared one.
    pub(crate) stamp: Option<CatalogStamp>,
    /// Catalog changes so far, undone ones too.
    changes_made: u64,
    pub(crate) savepoints: Vec<Savepoint>,
    /// Tables whose rows a catalog change rests on, with the instant they were read at.
    pub(crate) unchanged: Vec<(TableId, Timestamp)>,
    /// Since when rows of other tables have been looked at for references to what this transaction took away.
    pub(crate) references_since: Option<Timestamp>,
    /// What of its rows is in files already, undone rows among them.
    pub(crate) staged: Vec<StagedSegment>,
    /// The oldest state in which keys of its new rows were looked up.
    pub(crate) keys_since: Option<Timestamp>,
    /// The next values of sequences that only this transaction knows.
    pub(crate) sequences: Arc<Mutex<BTreeMap<SequenceId, i64>>>,
    /// A step of the running statement has written, which the statement's snapshots do not show.
    pub(crate) wrote_in_step: bool,
    /// Who holds its locks, once it has taken one.
    pub(crate) locks: Option<Arc<LockOwner>>,
}

impl Transaction {
    pub(crate) fn new(id: TxnId, extent: Extent, isolation: Isolation, started_micros: i64) -> Self {
        Self {
            id,
            extent,
            isolation,
            read_only: false,
            failed: false,
            started_micros,
            fixed_point: None,
            instant: None,
            pin: None,
            last_point: None,
            writes: BTreeMap::new(),
            catalog_changes: Vec::new(),
            catalog: None,
            new_indexes: Vec::new(),
            stamp: None,
            changes_made: 0,
            savepoints: Vec::new(),
            unchanged: Vec::new(),
            references_since: None,
            staged: Vec::new(),
            keys_since: None,
            sequences: Arc::default(),
            wrote_in_step: false,
            locks: None,
        }
    }

    /// Whether COMMIT has anything to make durable.
    pub(crate) fn has_writes(&self) -> bool {
        !self.catalog_changes.is_empty() || self.writes.values().any(|overlay| !overlay.is_empty())
    }

    /// Adds catalog changes on top of `shared`, the catalog the process sees. Buffered rows of a changed table
    /// become rows of its new version.
    ///
    /// # Errors
    /// When a missing value cannot be read.
    pub(crate) fn change_catalog(
        &mut self,
        shared: &CatalogSnapshot,
        changes: Vec<CatalogChange>,
    ) -> segments::Result<()> {
        let base = self.catalog.as_deref().unwrap_or(shared);
        self.catalog = Some(Arc::new(base.with_changes(&changes)));
        for change in &changes {
            match change {
                CatalogChange::DropTable(table) => drop(self.writes.remove(table)),
                CatalogChange::PutTable(table) => {
                    if let Some(overlay) = self.writes.get_mut(&table.id) {
                        *overlay = overlay.with_table(table)?;
                    }
                }
                CatalogChange::PutSequence(sequence) if !shared.sequences.contains_key(&sequence.id) => {
                    self.sequences.lock().entry(sequence.id).or_insert(sequence.first);
                }
                _ => {}
            }
        }
        self.changes_made += 1;
        self.stamp = Some(CatalogStamp { txn: self.id, change: self.changes_made });
        self.catalog_changes.extend(changes);
        Ok(())
    }

    /// The catalog changes, leaving none behind; sequences made here go on where this transaction left them.
    pub(crate) fn take_catalog_changes(&mut self) -> Vec<CatalogChange> {
        let own = self.sequences.lock();
        let changes = std::mem::take(&mut self.catalog_changes).into_iter();
        let with_first = |change| match change {
            CatalogChange::PutSequence(sequence) => {
                let first = own.get(&sequence.id).copied().unwrap_or(sequence.first);
                CatalogChange::PutSequence(Arc::new(SequenceMeta { first, ..(*sequence).clone() }))
            }
            other => other,
        };
        changes.map(with_first).collect()
    }

    /// Gives all locks back: the transaction has ended.
    pub(crate) fn release_locks(&self) {
        if let Some(locks) = &self.locks {
            locks.release_all();
        }
    }

    /// Gives back what an error has made pointless: everything since the last savepoint, which can be returned to.
    pub(crate) fn release_failed_locks(&self) {
        if let Some(locks) = &self.locks {
            locks.release_since(self.savepoints.last().map_or(0, |savepoint| savepoint.locks));
        }
    }

    /// The net row changes, leaving none behind.
    ///
    /// # Errors
    /// XX000 when buffered rows cannot be gathered.
    pub(crate) fn take_changes(&mut self) -> Result<Vec<TableChange>, SqlError> {
        std::mem::take(&mut self.writes)
            .into_values()
            .filter(|overlay| !overlay.is_empty())
            .map(|overlay| overlay.into_change().map_err(|error| storage_error(&error)))
            .collect()
    }
}
