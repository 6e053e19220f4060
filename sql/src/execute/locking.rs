//! Locks of a session's transactions: what is taken for which statement, and how long it is waited for.
//!
//! A statement locks the tables it names before it looks at them, and rows and keys once it knows them and before it
//! buffers a change. Outside a block a query takes no lock: it reads one instant, whatever others do meanwhile.
//!
//! What it is not: it knows no queue and no conflict (`cluster::locks`), and decides about no row.
//!
//! Invariant: the locks of a transaction go with it, however it ends, and after its commit is visible.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::locks::{LockMode, LockModes, LockOwner, LockTarget, Waiting};
use proto::catalog::{KeyMeta, TableMeta};
use proto::record::RowRef;
use proto::{ErrorKind, SqlError, TableId};
use segments::keys::{hash_key, hash_key_of};
use segments::{TableSnapshot, is_private};

use super::keys::KeyValues;
use super::transaction::{Extent, Isolation, Transaction};
use super::write::WriteFailure;
use super::{SessionExecutor, node_error};
use crate::session::CancelFlag;

/// Locks to be taken, each target once; taken in the order of targets, so that two statements over the same rows
/// do not meet crosswise.
#[derive(Debug, Default)]
pub(super) struct Wanted(BTreeMap<LockTarget, LockModes>);

impl Wanted {
    pub(super) fn add(&mut self, target: LockTarget, modes: impl Into<LockModes>) {
        let known = self.0.entry(target).or_default();
        *known = known.with(modes.into());
    }

    /// A row that is changed or locked; a row of the transaction's own without a key is nobody else's concern.
    pub(super) fn add_row(
        &mut self,
        table: &TableMeta,
        row: &RowRef,
        key: &[u8],
        modes: impl Into<LockModes>,
    ) {
        if !is_private(row.segment) || table.primary_key.is_some() {
            self.add(row_target(table, row, key), modes);
        }
    }

    /// Keys that rows are going to have, or whose values are free once they have ended.
    pub(super) fn add_keys(&mut self, table: &TableMeta, keys: &KeyValues, rows: &[u32]) {
        for (key, values) in keys.each(table) {
            for value in rows.iter().filter_map(|row| values[*row as usize]) {
                self.add(value_target(table.id, key, value), LockMode::Write);
            }
        }
    }

    /// Keys that rows are about to change, what they were and what they will be. The row's own lock stands for its old
    /// primary key.
    pub(super) fn add_moved(&mut self, table: &TableMeta, old: &KeyValues, new: &KeyValues) {
        for ((key, old), (_, new)) in old.each(table).zip(new.each(table)) {
            for (old, new) in old.into_iter().zip(new).filter(|(old, new)| old != new) {
                for value in [old.filter(|_| !key.is_primary), new].into_iter().flatten() {
                    self.add(value_target(table.id, key, value), LockMode::Write);
                }
            }
        }
    }
}

fn key_target(table: TableId, key: &[u8]) -> LockTarget {
    LockTarget::Key { table, hash: hash_key(key) }
}

/// What is locked for a value of a unique key.
pub(super) fn value_target(table: TableId, key: KeyMeta<'_>, value: &[u8]) -> LockTarget {
    if key.is_primary {
        key_target(table, value)
    } else {
        LockTarget::Key { table, hash: hash_key_of(key.index_oid, value) }
    }
}

/// What is locked for a row.
pub(super) fn row_target(table: &TableMeta, row: &RowRef, key: &[u8]) -> LockTarget {
    if table.primary_key.is_some() {
        key_target(table.id, key)
    } else {
        LockTarget::Row { table: table.id, row: row.row }
    }
}

/// What ends a wait besides the lock.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    pub(super) process: i32,
    pub(super) cancel: CancelFlag,
    pub(super) lock_timeout: Option<Duration>,
    pub(super) deadlock_timeout: Duration,
}

impl Patience {
    /// Takes locks in their order; true when it had to wait.
    ///
    /// # Errors
    /// 55P03 after `lock_timeout`, 40P01 in a deadlock, 57014 when the statement is cancelled.
    pub(super) async fn take(
        &self,
        owner: &LockOwner,
        mut wanted: &[(LockTarget, LockModes)],
    ) -> Result<bool, SqlError> {
        let mut waited = false;
        while let Some(wait) = owner.take(&mut wanted) {
            waited = true;
            self.sit_out(wait).await?;
        }
        Ok(waited)
    }

    async fn sit_out(&self, mut wait: Waiting<'_>) -> Result<(), SqlError> {
        let mut timeout = std::pin::pin!(after(self.lock_timeout));
        let mut look = std::pin::pin!(after(Some(self.deadlock_timeout)));
        let mut has_looked = false;
        loop {
            tokio::select! {
                biased;
                () = &mut wait => return Ok(()),
                reason = self.cancel.cancelled() => return Err(reason.error()),
                () = &mut timeout => {
                    return Err(SqlError::new(
                        ErrorKind::LockNotAvailable,
                        "canceling statement due to lock timeout",
                    ));
                }
                // Once is enough: a circle is closed by whoever begins to wait last, and that one looks later.
                () = &mut look, if !has_looked => {
                    has_looked = true;
                    wait.check_deadlock(self.process).map_err(|error| node_error(&error))?;
                }
            }
        }
    }
}

/// Resolves when the time is over; never without one.
async fn after(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

impl SessionExecutor {
    pub(super) fn patience(&self) -> Patience {
        Patience {
            process: self.backend_pid,
            cancel: self.cancel.clone(),
            lock_timeout: self.settings.timeout("lock_timeout"),
            deadlock_timeout: self.settings.timeout("deadlock_timeout").unwrap_or(Duration::from_secs(1)),
        }
    }

    /// Who holds the transaction's locks.
    pub(super) fn lock_owner<'a>(&self, transaction: &'a mut Transaction) -> &'a Arc<LockOwner> {
        transaction.locks.get_or_insert_with(|| Arc::new(self.locks.transaction(self.backend_pid)))
    }

    /// Takes locks for a transaction; true when it had to wait.
    pub(super) async fn take_locks(
        &self,
        transaction: &mut Transaction,
        wanted: Wanted,
    ) -> Result<bool, SqlError> {
        if wanted.0.is_empty() {
            return Ok(false);
        }
        let wanted: Vec<_> = wanted.0.into_iter().collect();
        let owner = self.lock_owner(transaction);
        self.patience().take(owner, &wanted).await
    }

    /// Locks tables for a statement that is planned.
    ///
    /// # Errors
    /// `stale_plan` when it had to wait and the catalog is another one now.
    pub(super) async fn lock_tables(
        &self,
        transaction: &mut Transaction,
        tables: impl IntoIterator<Item = (TableId, LockMode)>,
    ) -> Result<(), SqlError> {
        let mut wanted = Wanted::default();
        for (table, mode) in tables {
            wanted.add(LockTarget::Table(table), mode);
        }
        let revision = self.shared.node.catalog().revision;
        if self.take_locks(transaction, wanted).await? && self.shared.node.catalog().revision != revision {
            return Err(exec::statement::stale_plan());
        }
        Ok(())
    }

    /// Locks the tables that a statement reads: always inside a block, so that nobody alters them before its end;
    /// outside one only to wait for whoever has locked readers out.
    pub(super) async fn lock_for_reading(
        &self,
        transaction: &mut Transaction,
        tables: &[TableId],
    ) -> Result<(), SqlError> {
        if transaction.extent == Extent::Statement && !self.locks.bar_readers() {
            return Ok(());
        }
        self.lock_tables(transaction, tables.iter().map(|table| (*table, LockMode::AccessShare))).await
    }

    /// Waits until nobody is about to change the definition of tables; true when somebody was.
    pub(super) async fn wait_for_definitions(&mut self, tables: &[TableId]) -> Result<bool, SqlError> {
        let mut wanted = Wanted::default();
        tables.iter().for_each(|table| wanted.add(LockTarget::Table(*table), LockMode::AccessShare));
        let mut transaction = self.take_transaction();
        let waited = self.take_locks(&mut transaction, wanted).await;
        self.keep(transaction);
        waited
    }

    /// Locks the tables of a statement that changes rows of `target`.
    pub(super) async fn lock_for_writing(
        &self,
        transaction: &mut Transaction,
        target: TableId,
        tables: &[TableId],
    ) -> Result<(), SqlError> {
        let read = tables.iter().filter(|table| **table != target);
        let read = read.map(|table| (*table, LockMode::AccessShare));
        self.lock_tables(transaction, read.chain([(target, LockMode::RowExclusive)])).await
    }

    /// Locks rows that a statement is about to change; `rows` are those it has read, with their keys.
    ///
    /// # Errors
    /// `Conflict` when one of them has changed since: the statement is to be evaluated again. Outside a block the
    /// commit finds that out, so only a wait is taken for a sign of it.
    pub(super) async fn lock_rows(
        &self,
        transaction: &mut Transaction,
        table: &TableMeta,
        snapshot: &Arc<TableSnapshot>,
        wanted: Wanted,
        rows: impl IntoIterator<Item = (RowRef, Box<[u8]>)>,
    ) -> Result<(), WriteFailure> {
        let waited = self.take_locks(transaction, wanted).await?;
        if transaction.extent == Extent::Statement {
            return if waited { Err(concurrent_update()) } else { Ok(()) };
        }
        let committed = rows.into_iter().filter(|(row, _)| !is_private(row.segment));
        let ended = self.shared.node.first_ended(self.database, table.id, committed);
        let Some((_, key)) = ended.map_err(|error| node_error(&error))? else { return Ok(()) };
        if transaction.isolation == Isolation::RepeatableRead && table.primary_key.is_some() {
            let newest = self.newest_snapshot(transaction, snapshot).await?;
            let found = newest.find_keys(&[key]).map_err(|error| super::storage_error(&error))?;
            if found == [None] {
                return Err(WriteFailure::Conflict(SqlError::new(
                    ErrorKind::SerializationFailure,
                    "could not serialize access due to concurrent delete",
                )));
            }
        }
        Err(concurrent_update())
    }

    /// The table as of the last acknowledged commit, with the transaction's own writes: what decides about a key.
    /// `known` serves when nothing was committed since.
    pub(super) async fn newest_snapshot(
        &self,
        transaction: &Transaction,
        known: &Arc<TableSnapshot>,
    ) -> Result<Arc<TableSnapshot>, SqlError> {
        let node = &self.shared.node;
        let (point, _pin) = node.pinned_barrier(self.database).await.map_err(|error| node_error(&error))?;
        if point.read_ts <= known.read_ts && !transaction.wrote_in_step {
            return Ok(Arc::clone(known));
        }
        self.table_snapshot(transaction, known.table.id, point).await
    }
}

/// A row has changed since it was read: READ COMMITTED looks again, REPEATABLE READ ends in it.
pub(super) fn concurrent_update() -> WriteFailure {
    WriteFailure::Conflict(SqlError::new(
        ErrorKind::SerializationFailure,
        "could not serialize access due to concurrent update",
    ))
}
