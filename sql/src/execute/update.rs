//! UPDATE, DELETE and TRUNCATE: row identities from the source plan, ended and replaced in the write buffer.
//!
//! A row that the plan yields twice (UPDATE … FROM with several partners) is changed once, by its first yield.
//! All rows are gathered before the first is changed, so a statement never sees its own writes. With RETURNING they
//! are changed and returned in the order of the primary key, whatever join or segment found them first.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use cluster::locks::{LockMode, LockModes};
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt as _;
use planner::plan::{DeletePlan, TruncatePlan, UpdatePlan};
use proto::catalog::TableMeta;
use proto::record::{RowRef, batch_bytes};
use proto::{ErrorKind, SqlError};

use super::duplicates::Taken;
use super::insert::overlay;
use super::keys::KeyValues;
use super::locking::Wanted;
use super::references::{Ended, RowChanges};
use super::transaction::{Extent, Transaction};
use super::write::{WriteEffect, WriteFailure};
use super::{SessionExecutor, duplicates, rows, storage_error};
use crate::session::Notice;

/// Columns of a DML source before the table's: `_segment, _ordinal, _row`.
const IDENTITY_COLUMNS: usize = 3;
/// Bytes that a row to be changed takes beside its columns: its place, its locks, its end.
const AFFECTED_BYTES: usize = 200;

/// The rows of one source batch that the statement changes.
struct Affected {
    targets: Vec<RowRef>,
    batch: RecordBatch,
}

impl SessionExecutor {
    pub(super) async fn update(
        &mut self,
        transaction: &mut Transaction,
        plan: &UpdatePlan,
        context: &Arc<exec::StatementContext>,
    ) -> Result<WriteEffect, WriteFailure> {
        let table = &plan.table;
        let width = table.columns.len();
        let snapshot = self.snapshot_of(context, table)?;
        let mut affected = self.affected_rows(transaction, table, &plan.source, context).await?;
        let tracked = IDENTITY_COLUMNS + width;
        let old_keys: Vec<usize> = (tracked..tracked + table.key_positions().len()).collect();
        if plan.returning.is_some() {
            affected = in_key_order(affected, &old_keys)?;
        }
        let values: Vec<usize> = (IDENTITY_COLUMNS..IDENTITY_COLUMNS + width).collect();
        let mut wanted = Wanted::default();
        let mut changes = Vec::with_capacity(affected.len());
        for Affected { targets, batch } in &affected {
            let new_rows = rows::conform(&rows::project(batch, &values)?, table)?;
            let old = KeyValues::tracked(batch, table, tracked)?;
            let new = KeyValues::of(&new_rows, table)?;
            for (row, target) in targets.iter().enumerate() {
                let changed = LockModes::change(new.differs(&old, row));
                wanted.add_row(table, target, &old.primary[row], changed);
            }
            wanted.add_moved(table, &old, &new);
            changes.push((new_rows, old, new));
        }
        let targets = || affected.iter().flat_map(|rows| rows.targets.iter());
        let ending: HashSet<duplicates::RowIdentity> = targets().map(duplicates::identity).collect();
        let read = affected.iter().zip(&changes);
        let read = read
            .flat_map(|(rows, (_, old, _))| rows.targets.iter().copied().zip(old.primary.iter().cloned()));
        self.lock_rows(transaction, table, &snapshot, wanted, read).await?;
        let newest = match transaction.extent {
            // The commit checks the keys.
            Extent::Statement => None,
            _ => Some(self.newest_snapshot(transaction, &snapshot).await?),
        };
        let mut taken = Taken::default();
        let mut effect = WriteEffect::default();
        let (watched, mut row_changes) = (self.is_watched(transaction, table), RowChanges::default());
        let tracked: Vec<usize> = (tracked..tracked + table.tracked_positions().len()).collect();
        for (Affected { targets, batch }, (new_rows, old, new)) in affected.iter().zip(&changes) {
            rows::check(new_rows, table, plan.checks.as_deref(), context)?;
            if let Some(newest) = &newest {
                duplicates::check_keys(table, newest, new_rows, new, &ending, &mut taken)?;
            }
            let buffer = overlay(transaction, table);
            for (target, key) in targets.iter().zip(&old.primary) {
                buffer.delete(*target, rows::delete_key(key));
            }
            buffer.insert(new_rows).map_err(|error| storage_error(&error))?;
            self.shared.engine.check_memory(buffer.memory_bytes())?;
            if watched {
                let old = rows::project(batch, &tracked)?;
                row_changes.ended.push(Ended { old, new: Some(new_rows.clone()) });
            }
            effect.affected += targets.len() as u64;
            let visible = with_extra(new_rows, batch, plan.extra)?;
            effect.returned.extend(Self::returning(plan.returning.as_ref(), &visible, context)?);
        }
        self.keep_references(transaction, table, row_changes).await?;
        Ok(effect)
    }

    pub(super) async fn delete(
        &mut self,
        transaction: &mut Transaction,
        plan: &DeletePlan,
        context: &Arc<exec::StatementContext>,
    ) -> Result<WriteEffect, WriteFailure> {
        let table = &plan.table;
        let snapshot = self.snapshot_of(context, table)?;
        let mut affected = self.affected_rows(transaction, table, &plan.source, context).await?;
        let tracked = places_of(&plan.columns, &table.tracked_positions())?;
        let keys = &tracked[..table.key_positions().len()];
        if plan.returning.is_some() {
            affected = in_key_order(affected, keys)?;
        }
        let mut wanted = Wanted::default();
        let mut read = Vec::new();
        for Affected { targets, batch } in &affected {
            let ending = KeyValues::tracked(&rows::project(batch, &tracked)?, table, 0)?;
            if !table.uniques.is_empty() {
                wanted.add_keys(table, &ending, &rows::all(batch));
            }
            for (target, key) in targets.iter().zip(ending.primary) {
                wanted.add_row(table, target, &key, LockModes::change(true));
                read.push((*target, key));
            }
        }
        self.lock_rows(transaction, table, &snapshot, wanted, read).await?;
        let mut effect = WriteEffect::default();
        let (watched, mut row_changes) = (self.is_watched(transaction, table), RowChanges::default());
        for Affected { targets, batch } in &affected {
            let buffer = overlay(transaction, table);
            for (target, key) in targets.iter().zip(rows::keys(batch, keys)?) {
                buffer.delete(*target, rows::delete_key(&key));
            }
            if watched {
                let old = rows::project(batch, &tracked)?;
                row_changes.ended.push(Ended { old, new: None });
            }
            effect.affected += targets.len() as u64;
            if plan.returning.is_some() {
                let all: Vec<usize> = (0..table.columns.len()).collect();
                let visible = rows::project(batch, &places_of(&plan.columns, &all)?)?;
                let visible = with_extra(&visible, batch, plan.extra)?;
                effect.returned.extend(Self::returning(plan.returning.as_ref(), &visible, context)?);
            }
        }
        self.keep_references(transaction, table, row_changes).await?;
        Ok(effect)
    }

    pub(super) async fn truncate(
        &mut self,
        transaction: &mut Transaction,
        plan: &TruncatePlan,
    ) -> Result<WriteEffect, WriteFailure> {
        if plan.restart_identity {
            return Err(SqlError::unsupported("TRUNCATE ... RESTART IDENTITY").into());
        }
        for notice in &plan.notices {
            self.notices.push(Notice::notice(notice.message.clone()));
        }
        let ids: Vec<_> = plan.tables.iter().map(|table| table.id).collect();
        let exclusive = ids.iter().map(|table| (*table, LockMode::AccessExclusive));
        self.lock_tables(transaction, exclusive).await?;
        self.statement_context(transaction, &ids).await?;
        for table in &plan.tables {
            overlay(transaction, table).truncate();
        }
        Ok(WriteEffect::default())
    }

    /// Runs a DML source to its end; each row once.
    async fn affected_rows(
        &self,
        transaction: &Transaction,
        table: &TableMeta,
        source: &LogicalPlan,
        context: &Arc<exec::StatementContext>,
    ) -> Result<Vec<Affected>, WriteFailure> {
        let mut batches = self.shared.engine.execute(source.clone(), Arc::clone(context)).await?;
        let mut seen = HashSet::new();
        // What a step of this statement has changed is not changed again.
        let changed = transaction.writes.get(&table.id).filter(|_| transaction.wrote_in_step);
        let (mut affected, mut held) = (Vec::new(), 0);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(exec::to_sql_error)?;
            let targets = rows::identities(&batch)?;
            let first: Vec<u32> = (0_u32..)
                .zip(&targets)
                .filter(|(_, target)| !changed.is_some_and(|changed| changed.has_deleted(target)))
                .filter(|(_, target)| seen.insert(**target))
                .map(|(row, _)| row)
                .collect();
            if first.is_empty() {
                continue;
            }
            let batch = rows::take_rows(&batch, &first)?;
            held += batch_bytes(&batch) + first.len() * AFFECTED_BYTES;
            self.shared.engine.check_memory(held)?;
            affected
                .push(Affected { targets: first.iter().map(|&row| targets[row as usize]).collect(), batch });
        }
        Ok(affected)
    }
}

/// Where the source of a DELETE that gives `columns` of the table has those at `positions`.
fn places_of(columns: &[usize], positions: &[usize]) -> Result<Vec<usize>, SqlError> {
    let place = |position: &usize| columns.iter().position(|column| column == position);
    let places: Option<Vec<usize>> =
        positions.iter().map(|position| Some(IDENTITY_COLUMNS + place(position)?)).collect();
    places.ok_or_else(|| SqlError::new(ErrorKind::Internal, "a column of a key is not among those read"))
}

/// All rows in one batch, by their keys; rows of a table without a primary key stay as they are.
fn in_key_order(affected: Vec<Affected>, keys: &[usize]) -> Result<Vec<Affected>, WriteFailure> {
    let Some(first) = affected.first().filter(|_| !keys.is_empty()) else { return Ok(affected) };
    let batch =
        arrow::compute::concat_batches(&first.batch.schema(), affected.iter().map(|rows| &rows.batch))
            .map_err(|error| SqlError::new(ErrorKind::Internal, format!("rows of RETURNING: {error}")))?;
    let targets: Vec<RowRef> = affected.into_iter().flat_map(|rows| rows.targets).collect();
    let keys = rows::keys(&batch, keys)?;
    let mut order: Vec<u32> = (0_u32..).take(targets.len()).collect();
    order.sort_by(|&left, &right| keys[left as usize].cmp(&keys[right as usize]));
    let targets = order.iter().map(|&row| targets[row as usize]).collect();
    Ok(vec![Affected { targets, batch: rows::take_rows(&batch, &order)? }])
}

/// Table rows followed by the source's trailing columns that only RETURNING reads.
fn with_extra(
    table_rows: &RecordBatch,
    source: &RecordBatch,
    extra: usize,
) -> Result<RecordBatch, WriteFailure> {
    if extra == 0 {
        return Ok(table_rows.clone());
    }
    let width = source.num_columns();
    let mut fields: Vec<_> = table_rows.schema().fields().iter().map(Arc::clone).collect();
    let mut columns = table_rows.columns().to_vec();
    for position in width - extra..width {
        fields.push(Arc::clone(&source.schema().fields()[position]));
        columns.push(Arc::clone(source.column(position)));
    }
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("rows of RETURNING: {error}")).into())
}
