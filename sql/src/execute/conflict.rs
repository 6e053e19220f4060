//! INSERT … ON CONFLICT: existing keys found first, then each row inserted, skipped or turned into an update.
//!
//! The keys are looked up in the newest snapshot and locked, the missing ones and those that are updated; a key that
//! came or went before the lock was granted makes the statement run again, so the clause holds under concurrency.
//! Under REPEATABLE READ a key that came or went since the transaction's snapshot is 40001, as in PostgreSQL.
//!
//! Invariant: one statement touches a key at most once; DO UPDATE on a second row of the same key is 21000.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::Schema;
use cluster::locks::{LockMode, LockModes};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::Expr;
use futures::StreamExt as _;
use planner::plan::{ConflictAction, ConflictPlan, InsertPlan};
use proto::catalog::TableMeta;
use proto::record::RowRef;
use proto::{ErrorKind, SegmentId, SqlError};
use segments::{ScanColumn, TableSnapshot};

use super::insert::overlay;
use super::locking::{Wanted, concurrent_update};
use super::transaction::{Extent, Transaction};
use super::write::{WriteEffect, WriteFailure};
use super::{SessionExecutor, duplicates, rows, rows_error, storage_error};

/// What becomes of the rows of one source batch.
#[derive(Debug, Default)]
struct Split {
    inserted: Vec<u32>,
    /// Source row and the existing row it meets.
    met: Vec<(u32, RowRef)>,
}

impl SessionExecutor {
    pub(super) async fn insert_on_conflict(
        &mut self,
        transaction: &mut Transaction,
        plan: &InsertPlan,
        conflict: &ConflictPlan,
        context: &Arc<exec::StatementContext>,
        mut batches: SendableRecordBatchStream,
    ) -> Result<WriteEffect, WriteFailure> {
        let table = &plan.table;
        let mut snapshot = self.snapshot_of(context, table)?;
        let updates = matches!(conflict.action, ConflictAction::Update { .. });
        let (mut wanted, mut awaited) = (Wanted::default(), Wanted::default());
        let mut taken = HashSet::new();
        let mut gathered = Vec::new();
        while let Some(batch) = batches.next().await {
            let batch = rows::conform(&batch.map_err(exec::to_sql_error)?, table)?;
            rows::check(&batch, table, plan.checks.as_deref(), context)?;
            let keys = rows::keys(&batch, &table.key_positions())?;
            let split = split(table, &snapshot, &keys, &conflict.action, &mut taken)?;
            wanted.add_keys(table, split.inserted.iter().map(|&row| &keys[row as usize]));
            for (row, target) in &split.met {
                let key = &keys[*row as usize];
                if updates {
                    wanted.add_row(table, target, key, LockModes::change(false));
                } else {
                    awaited.add_row(table, target, key, LockMode::Write);
                }
            }
            gathered.push((batch, keys, split));
        }
        // Whether a row that somebody changes will be in the way is known when that has ended; nothing is kept.
        let mark = self.lock_owner(transaction).mark();
        let waited = self.take_locks(transaction, awaited).await?;
        self.lock_owner(transaction).release_since(mark);
        let waited = self.take_locks(transaction, wanted).await? || waited;
        if transaction.extent == Extent::Statement {
            // The commit finds out what changed; after a wait it is likely enough.
            if waited {
                return Err(concurrent_update());
            }
        } else {
            let newest = self.newest_snapshot(transaction, &snapshot).await?;
            if !Arc::ptr_eq(&newest, &snapshot) {
                gathered.iter().try_for_each(|(_, keys, _)| check_same(&snapshot, &newest, keys))?;
                snapshot = newest;
            }
        }
        let all: Vec<usize> = (0..table.columns.len()).collect();
        snapshot.load(&all).await.map_err(|error| storage_error(&error))?;
        let mut effect = WriteEffect::default();
        for (batch, keys, split) in &gathered {
            let mut touched = vec![(split.inserted.clone(), rows::take_rows(batch, &split.inserted)?)];
            overlay(transaction, table).insert(&touched[0].1).map_err(|error| storage_error(&error))?;
            touched.extend(update_met(
                transaction,
                plan,
                conflict,
                (&snapshot, batch, keys, split),
                context,
            )?);
            let shown = in_source_order(&touched)?;
            effect.affected += shown.num_rows() as u64;
            effect.returned.extend(Self::returning(plan.returning.as_ref(), &shown, context)?);
        }
        Ok(effect)
    }
}

/// DO UPDATE of the existing rows that a batch met: their source rows and new forms.
fn update_met(
    transaction: &mut Transaction,
    plan: &InsertPlan,
    conflict: &ConflictPlan,
    (snapshot, batch, keys, split): (&TableSnapshot, &RecordBatch, &[Box<[u8]>], &Split),
    context: &Arc<exec::StatementContext>,
) -> Result<Option<(Vec<u32>, RecordBatch)>, WriteFailure> {
    let ConflictAction::Update { assignments, filter, schema } = &conflict.action else { return Ok(None) };
    if split.met.is_empty() {
        return Ok(None);
    }
    let table = &plan.table;
    let existing = read_rows(snapshot, &split.met)?;
    let sources: Vec<u32> = split.met.iter().map(|(row, _)| *row).collect();
    let pair = beside(&existing, &rows::take_rows(batch, &sources)?)?;
    let kept = passing(filter.as_ref(), schema, &pair, context)?;
    let pair = rows::take_rows(&pair, &kept)?;
    let updated = assign(table, assignments, schema, &pair, context)?;
    rows::check(&updated, table, plan.checks.as_deref(), context)?;
    let ending = kept.iter().map(|&position| duplicates::identity(&split.met[position as usize].1)).collect();
    let new_keys = rows::keys(&updated, &table.key_positions())?;
    // The statement took the keys of its rows; an updated row may keep its own.
    let mut moved = HashSet::new();
    duplicates::check_keys(table, snapshot, &updated, &new_keys, &ending, &mut moved)?;
    let buffer = overlay(transaction, table);
    for &position in &kept {
        let (source, target) = split.met[position as usize];
        buffer.delete(target, rows::delete_key(&keys[source as usize]));
    }
    buffer.insert(&updated).map_err(|error| storage_error(&error))?;
    Ok(Some((kept.iter().map(|&position| sources[position as usize]).collect(), updated)))
}

/// # Errors
/// `Conflict` when a key came, went or changed its row between two snapshots.
fn check_same(known: &TableSnapshot, newest: &TableSnapshot, keys: &[Box<[u8]>]) -> Result<(), WriteFailure> {
    if known.table.primary_key.is_none() {
        return Ok(());
    }
    let find = |snapshot: &TableSnapshot| {
        let found = snapshot.find_keys(keys).map_err(|error| storage_error(&error))?;
        Ok::<_, SqlError>(found.iter().map(|row| row.as_ref().map(duplicates::identity)).collect::<Vec<_>>())
    };
    if find(known)? == find(newest)? { Ok(()) } else { Err(concurrent_update()) }
}

/// Decides for each row of a batch.
fn split(
    table: &TableMeta,
    snapshot: &TableSnapshot,
    keys: &[Box<[u8]>],
    action: &ConflictAction,
    taken: &mut HashSet<Box<[u8]>>,
) -> Result<Split, WriteFailure> {
    let mut split = Split::default();
    if table.primary_key.is_none() {
        split.inserted = (0..keys.len() as u32).collect();
        return Ok(split);
    }
    let found = snapshot.find_keys(keys).map_err(|error| storage_error(&error))?;
    for (row, key) in (0_u32..).zip(keys) {
        let first = taken.insert(key.clone());
        match (action, found[row as usize]) {
            (ConflictAction::Update { .. }, _) if !first => return Err(second_time().into()),
            (_, None) if first => split.inserted.push(row),
            (_, Some(target)) => split.met.push((row, target)),
            _ => {}
        }
    }
    Ok(split)
}

fn second_time() -> SqlError {
    SqlError::new(ErrorKind::CardinalityViolation, "ON CONFLICT DO UPDATE command cannot affect row a second time")
        .with_hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
}

/// The existing rows, one per pair, in their order.
fn read_rows(snapshot: &TableSnapshot, met: &[(u32, RowRef)]) -> Result<RecordBatch, SqlError> {
    let columns: Vec<ScanColumn> = (0..snapshot.table.columns.len()).map(ScanColumn::Column).collect();
    let mut wanted: HashMap<SegmentId, Vec<usize>> = HashMap::new();
    for (position, (_, target)) in met.iter().enumerate() {
        wanted.entry(target.segment).or_default().push(position);
    }
    let mut pieces = Vec::new();
    let mut place = vec![0_u32; met.len()];
    let mut read = 0_u32;
    for view in &snapshot.segments {
        let Some(positions) = wanted.get(&view.id()) else { continue };
        let ordinals: Vec<u32> = positions.iter().map(|&position| met[position].1.ordinal).collect();
        pieces.push(view.read_rows(&columns, &ordinals).map_err(|error| storage_error(&error))?);
        for &position in positions {
            place[position] = read;
            read += 1;
        }
    }
    let schema = snapshot.table.arrow_schema();
    let together =
        arrow::compute::concat_batches(&pieces.first().map_or(schema, RecordBatch::schema), &pieces)
            .map_err(rows_error("ON CONFLICT"))?;
    arrow::compute::take_record_batch(&together, &UInt32Array::from(place)).map_err(rows_error("ON CONFLICT"))
}

/// One batch with the columns of both: the existing row, then the excluded one.
fn beside(existing: &RecordBatch, excluded: &RecordBatch) -> Result<RecordBatch, SqlError> {
    let fields = existing
        .schema()
        .fields()
        .iter()
        .chain(excluded.schema().fields())
        .map(Arc::clone)
        .collect::<Vec<_>>();
    let columns = existing.columns().iter().chain(excluded.columns()).map(Arc::clone).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(rows_error("ON CONFLICT"))
}

/// Positions of the pairs that the WHERE of DO UPDATE lets through.
fn passing(
    filter: Option<&Expr>,
    schema: &datafusion::common::DFSchemaRef,
    pair: &RecordBatch,
    context: &Arc<exec::StatementContext>,
) -> Result<Vec<u32>, SqlError> {
    let Some(filter) = filter else { return Ok((0..pair.num_rows() as u32).collect()) };
    let passes = exec::rows::evaluate(std::slice::from_ref(filter), schema, pair, context)?;
    let passes = passes[0].as_boolean_opt().ok_or_else(|| {
        SqlError::new(ErrorKind::DatatypeMismatch, "argument of WHERE must be type boolean")
    })?;
    Ok((0..pair.num_rows() as u32)
        .filter(|&row| passes.is_valid(row as usize) && passes.value(row as usize))
        .collect())
}

/// The new rows: the existing ones with the assigned columns replaced.
fn assign(
    table: &TableMeta,
    assignments: &[(usize, Expr)],
    schema: &datafusion::common::DFSchemaRef,
    pair: &RecordBatch,
    context: &Arc<exec::StatementContext>,
) -> Result<RecordBatch, SqlError> {
    let expressions: Vec<Expr> = assignments.iter().map(|(_, value)| value.clone()).collect();
    let values = exec::rows::evaluate(&expressions, schema, pair, context)?;
    let mut fields: Vec<_> = pair.schema().fields()[..table.columns.len()].to_vec();
    let mut columns = pair.columns()[..table.columns.len()].to_vec();
    for ((position, _), value) in assignments.iter().zip(values) {
        let nullable =
            arrow::datatypes::Field::new(fields[*position].name(), value.data_type().clone(), true);
        fields[*position] = Arc::new(nullable);
        columns[*position] = value;
    }
    let changed =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(rows_error("ON CONFLICT"))?;
    rows::conform(&changed, table)
}

/// All touched rows in the order of their source rows.
fn in_source_order(touched: &[(Vec<u32>, RecordBatch)]) -> Result<RecordBatch, SqlError> {
    let batches: Vec<&RecordBatch> = touched.iter().map(|(_, batch)| batch).collect();
    let together = arrow::compute::concat_batches(&batches[0].schema(), batches.iter().copied())
        .map_err(rows_error("ON CONFLICT"))?;
    let mut order: Vec<(u32, u32)> =
        touched.iter().flat_map(|(sources, _)| sources.iter().copied()).zip(0_u32..).collect();
    order.sort_unstable();
    rows::take_rows(&together, &order.into_iter().map(|(_, place)| place).collect::<Vec<_>>())
}
