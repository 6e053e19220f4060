//! INSERT: rows from the source plan into the table, with key checks where they are due.
//!
//! Outside a block a small load waits for the commit, which checks its keys; a large one, and any inside a block, is
//! checked here and buffered where the transaction can see it, and what is much of it goes to files.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt as _;
use planner::plan::InsertPlan;
use proto::SqlError;
use proto::catalog::TableMeta;
use proto::record::batch_bytes;
use segments::{TableOverlay, TableSnapshot};

use super::duplicates::Taken;
use super::keys::KeyValues;
use super::locking::Wanted;
use super::references::RowChanges;
use super::transaction::{Extent, Transaction};
use super::write::{WriteEffect, WriteFailure};
use super::{SessionExecutor, duplicates, rows, storage_error};

/// Takes rows of one table for one statement.
pub(super) struct RowSink {
    table: Arc<TableMeta>,
    /// Rows need not be checked nor seen: the statement is its own transaction and nothing reads them before.
    unchecked: bool,
    /// What was not checked.
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    taken: Taken,
    /// Rows that may refer to rows of the same statement, which are looked at when all are there.
    begun: Vec<RecordBatch>,
}

impl RowSink {
    pub(super) fn new(table: Arc<TableMeta>, transaction: &Transaction) -> Self {
        Self {
            unchecked: transaction.extent == Extent::Statement && !refers_to_itself(&table),
            table,
            pending: Vec::new(),
            pending_bytes: 0,
            taken: Taken::default(),
            begun: Vec::new(),
        }
    }

    /// Takes rows that `rows::conform` gave; `snapshot` is the table as the statement sees it.
    pub(super) async fn push(
        &mut self,
        session: &SessionExecutor,
        transaction: &mut Transaction,
        snapshot: &Arc<TableSnapshot>,
        batch: RecordBatch,
    ) -> Result<(), WriteFailure> {
        let keys = KeyValues::of(&batch, &self.table)?;
        let mut wanted = Wanted::default();
        wanted.add_keys(&self.table, &keys, &rows::all(&batch));
        session.take_locks(transaction, wanted).await?;
        if refers_to_itself(&self.table) {
            self.begun.push(batch.clone());
        } else if !self.table.foreign_keys.is_empty() {
            let changes = RowChanges { begun: vec![batch.clone()], ended: Vec::new() };
            session.check_references(transaction, &self.table, &changes).await?;
        }
        if !self.unchecked {
            return self.buffer(session, transaction, snapshot, &batch, &keys).await;
        }
        self.pending_bytes += batch_bytes(&batch);
        self.pending.push(batch);
        if self.pending_bytes >= session.write_memory_bytes() {
            self.unchecked = false;
            for batch in std::mem::take(&mut self.pending) {
                let keys = KeyValues::of(&batch, &self.table)?;
                self.buffer(session, transaction, snapshot, &batch, &keys).await?;
            }
        }
        Ok(())
    }

    /// Checks the keys of rows and puts them where the transaction can see them.
    async fn buffer(
        &mut self,
        session: &SessionExecutor,
        transaction: &mut Transaction,
        snapshot: &Arc<TableSnapshot>,
        batch: &RecordBatch,
        keys: &KeyValues,
    ) -> Result<(), WriteFailure> {
        let newest = session.newest_snapshot(transaction, snapshot).await?;
        duplicates::check_keys(&self.table, &newest, batch, keys, &HashSet::new(), &mut self.taken)?;
        overlay(transaction, &self.table).insert(batch).map_err(|error| storage_error(&error))?;
        if session.stage_if_large(transaction, self.table.id).await? {
            // From now on the overlay is looked at for what the statement has taken.
            self.taken = Taken::default();
            transaction.wrote_in_step = true;
        }
        Ok(())
    }

    /// Leaves the rows that were not checked for the commit.
    pub(super) async fn finish(
        self,
        session: &SessionExecutor,
        transaction: &mut Transaction,
    ) -> Result<(), WriteFailure> {
        for batch in &self.pending {
            overlay(transaction, &self.table).insert(batch).map_err(|error| storage_error(&error))?;
        }
        let changes = RowChanges { begun: self.begun, ended: Vec::new() };
        session.check_references(transaction, &self.table, &changes).await
    }
}

fn refers_to_itself(table: &TableMeta) -> bool {
    table.foreign_keys.iter().any(|key| key.target == table.id)
}

/// The transaction's buffered writes to a table.
pub(super) fn overlay<'a>(transaction: &'a mut Transaction, table: &Arc<TableMeta>) -> &'a mut TableOverlay {
    if let Some(point) = transaction.last_point {
        transaction.keys_since.get_or_insert(point.read_ts);
    }
    transaction.writes.entry(table.id).or_insert_with(|| TableOverlay::new(Arc::clone(table)))
}

impl SessionExecutor {
    pub(super) async fn insert(
        &mut self,
        transaction: &mut Transaction,
        plan: &InsertPlan,
        context: &Arc<exec::StatementContext>,
    ) -> Result<WriteEffect, WriteFailure> {
        let snapshot = self.snapshot_of(context, &plan.table)?;
        let mut batches = self.shared.engine.execute(plan.source.clone(), Arc::clone(context)).await?;
        if let Some(conflict) = &plan.conflict {
            return self.insert_on_conflict(transaction, plan, conflict, context, batches).await;
        }
        let mut sink = RowSink::new(Arc::clone(&plan.table), transaction);
        let mut effect = WriteEffect::default();
        while let Some(batch) = batches.next().await {
            let batch = rows::conform(&batch.map_err(exec::to_sql_error)?, &plan.table)?;
            rows::check(&batch, &plan.table, plan.checks.as_deref(), context)?;
            effect.affected += batch.num_rows() as u64;
            effect.returned.extend(Self::returning(plan.returning.as_ref(), &batch, context)?);
            sink.push(self, transaction, &snapshot, batch).await?;
        }
        sink.finish(self, transaction).await?;
        Ok(effect)
    }

    /// The snapshot that a statement's context carries for a table.
    pub(super) fn snapshot_of(
        &self,
        context: &exec::StatementContext,
        table: &Arc<TableMeta>,
    ) -> Result<Arc<TableSnapshot>, SqlError> {
        context.snapshot(table, None).map_err(exec::to_sql_error)
    }
}
