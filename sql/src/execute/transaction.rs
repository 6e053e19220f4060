//! A transaction as its session holds it: one snapshot rule, buffered writes, buffered catalog changes.
//!
//! Writes stay in the session (a private growing segment and a delete set per table) until COMMIT turns them
//! into one Commit record, so a rollback is forgetting. Every statement, also one outside BEGIN … COMMIT,
//! runs inside a `Transaction`; what differs is who ends it.
//!
//! Invariants: nothing of a transaction is in the log as a decision before its commit; a READ COMMITTED
//! transaction reads at a new point per statement, a REPEATABLE READ one at the point of its first statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::catalog::{CatalogChange, CatalogSnapshot};
use proto::record::TableChange;
use proto::time::ReadPoint;
use proto::{Oid, SqlError, TableId, TxnId};
use segments::TableOverlay;

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

/// One transaction.
#[derive(Clone, Debug)]
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
    /// The newest point any statement read at: what conflicts are judged by.
    pub(crate) last_point: Option<ReadPoint>,
    pub(crate) writes: BTreeMap<TableId, TableOverlay>,
    pub(crate) catalog_changes: Vec<CatalogChange>,
    /// The catalog this transaction sees once it has changed it.
    pub(crate) catalog: Option<Arc<CatalogSnapshot>>,
    /// Indexes it creates; they are built once it is committed.
    pub(crate) new_indexes: Vec<(TableId, Oid)>,
    /// Payload records already appended for this transaction.
    pub(crate) parts: u32,
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
            last_point: None,
            writes: BTreeMap::new(),
            catalog_changes: Vec::new(),
            catalog: None,
            new_indexes: Vec::new(),
            parts: 0,
        }
    }

    /// Whether COMMIT has anything to make durable.
    pub(crate) fn has_writes(&self) -> bool {
        self.parts > 0
            || !self.catalog_changes.is_empty()
            || self.writes.values().any(|overlay| !overlay.is_empty())
    }

    /// Adds catalog changes on top of `shared`, the catalog the process sees.
    pub(crate) fn change_catalog(&mut self, shared: &CatalogSnapshot, changes: Vec<CatalogChange>) {
        let base = self.catalog.as_deref().unwrap_or(shared);
        self.catalog = Some(Arc::new(base.with_changes(&changes)));
        for change in &changes {
            if let CatalogChange::DropTable(table) = change {
                self.writes.remove(table);
            }
        }
        self.catalog_changes.extend(changes);
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
