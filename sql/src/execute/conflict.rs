//! INSERT … ON CONFLICT: existing keys found first, then each row inserted, skipped or turned into an update.
//!
//! The keys are looked up in the newest snapshot and locked, the missing ones and those that are updated; a key that
//! came or went before the lock was granted makes the statement run again, so the clause holds under concurrency.
//! Under REPEATABLE READ a key that came or went since the transaction's snapshot is 40001, as in PostgreSQL.
//!
//! Without a target any unique key may be the one in the way; with one, other keys are looked up here too, because
//! the commit's verdict would only make the statement run again.
//!
//! Invariant: one statement touches a key at most once; DO UPDATE on a second row of the same key is 21000.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Schema;
use cluster::locks::{LockMode, LockModes};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::Expr;
use futures::StreamExt as _;
use planner::plan::{ConflictAction, ConflictPlan, ConflictTarget, InsertPlan};
use proto::catalog::{KeyMeta, TableMeta};
use proto::record::{RowRef, batch_bytes};
use proto::{ErrorKind, SqlError};
use segments::TableSnapshot;

use super::duplicates::Taken;
use super::insert::overlay;
use super::keys::KeyValues;
use super::locking::{Wanted, concurrent_update, value_target};
use super::references::{Ended, RowChanges};
use super::transaction::{Extent, Transaction};
use super::write::{WriteEffect, WriteFailure};
use super::{SessionExecutor, duplicates, rows, rows_error, storage_error};

/// An existing row that a source row meets.
#[derive(Clone, Copy, Debug)]
struct Met {
    /// The source row.
    row: u32,
    /// The first key they share, by its place among the arbiters.
    arbiter: usize,
    target: RowRef,
}

/// What becomes of the rows of one source batch.
#[derive(Debug, Default)]
struct Split {
    inserted: Vec<u32>,
    met: Vec<Met>,
}

/// A source batch, and what becomes of it.
struct Gathered {
    batch: RecordBatch,
    keys: KeyValues,
    split: Split,
}

/// What DO UPDATE makes of the existing rows that a batch met.
struct Updated {
    /// Source rows.
    sources: Vec<u32>,
    targets: Vec<RowRef>,
    rows: RecordBatch,
    old: KeyValues,
    new: KeyValues,
    /// The tracked columns of the old rows.
    tracked: RecordBatch,
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
        let arbiters = arbiters(table, &conflict.target);
        let mut snapshot = self.snapshot_of(context, table)?;
        let updates = matches!(conflict.action, ConflictAction::Update { .. });
        let (mut wanted, mut awaited) = (Wanted::default(), Wanted::default());
        let mut proposed = Taken::default();
        let (mut gathered, mut held) = (Vec::new(), 0);
        while let Some(batch) = batches.next().await {
            let batch = rows::conform(&batch.map_err(exec::to_sql_error)?, table)?;
            rows::check(&batch, table, plan.checks.as_deref(), context)?;
            let keys = KeyValues::of(&batch, table)?;
            let split = split(&snapshot, &keys, &arbiters, updates, &mut proposed)?;
            wanted.add_keys(table, &keys, &split.inserted);
            if updates {
                for (met, key) in split.met.iter().zip(&primary_keys(&snapshot, &split.met)?) {
                    wanted.add_row(table, &met.target, key, LockModes::change(false));
                }
            } else {
                for (value, met) in values_met(&keys, &arbiters, &split.met, table) {
                    awaited.add(value_target(table.id, arbiters[met.arbiter], value), LockMode::Write);
                }
            }
            held += batch_bytes(&batch);
            self.shared.engine.check_memory(held)?;
            gathered.push(Gathered { batch, keys, split });
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
                gathered.iter_mut().try_for_each(|rows| refresh(rows, &arbiters, &snapshot, &newest))?;
                snapshot = newest;
            }
        }
        let all: Vec<usize> = (0..table.columns.len()).collect();
        snapshot.load(&all).await.map_err(|error| storage_error(&error))?;
        self.write_gathered(transaction, plan, conflict, context, (&snapshot, &gathered)).await
    }

    /// Inserts the rows that met nothing and updates the rows that were met.
    async fn write_gathered(
        &mut self,
        transaction: &mut Transaction,
        plan: &InsertPlan,
        conflict: &ConflictPlan,
        context: &Arc<exec::StatementContext>,
        (snapshot, gathered): (&Arc<TableSnapshot>, &[Gathered]),
    ) -> Result<WriteEffect, WriteFailure> {
        let table = &plan.table;
        // Nothing but an arbiter is in the way of a row, unless there are other keys or keys change.
        let checks = table.keys().count() > arbiters(table, &conflict.target).len()
            || matches!(&conflict.action, ConflictAction::Update { assignments, .. }
                if assignments.iter().any(|(at, _)| table.tracked_positions().contains(at)));
        let (mut ending, mut taken) = (HashSet::new(), Taken::default());
        let mut effect = WriteEffect::default();
        let (watched, mut changes) = (self.is_watched(transaction, table), RowChanges::default());
        for Gathered { batch, split, .. } in gathered {
            let inserted = rows::take_rows(batch, &split.inserted)?;
            if checks {
                let keys = KeyValues::of(&inserted, table)?;
                duplicates::check_keys(table, snapshot, &inserted, &keys, &ending, &mut taken)?;
            }
            overlay(transaction, table).insert(&inserted).map_err(|error| storage_error(&error))?;
            changes.begun.extend(watched.then(|| inserted.clone()));
            let mut touched = vec![(split.inserted.clone(), inserted)];
            if let Some(updated) = updated(plan, conflict, snapshot, (batch, split), context)? {
                ending.extend(updated.targets.iter().map(duplicates::identity));
                if checks {
                    let mut wanted = Wanted::default();
                    wanted.add_moved(table, &updated.old, &updated.new);
                    if self.take_locks(transaction, wanted).await? {
                        return Err(concurrent_update());
                    }
                    let Updated { rows, new, .. } = &updated;
                    duplicates::check_keys(table, snapshot, rows, new, &ending, &mut taken)?;
                }
                let buffer = overlay(transaction, table);
                for (target, key) in updated.targets.iter().zip(&updated.old.primary) {
                    buffer.delete(*target, rows::delete_key(key));
                }
                buffer.insert(&updated.rows).map_err(|error| storage_error(&error))?;
                let ended = Ended { old: updated.tracked, new: Some(updated.rows.clone()) };
                changes.ended.extend(watched.then_some(ended));
                touched.push((updated.sources, updated.rows));
            }
            let shown = in_source_order(&touched)?;
            effect.affected += shown.num_rows() as u64;
            effect.returned.extend(Self::returning(plan.returning.as_ref(), &shown, context)?);
        }
        self.keep_references(transaction, table, changes).await?;
        Ok(effect)
    }
}

/// The keys in which a source row may meet an existing one, the oldest index first.
fn arbiters<'a>(table: &'a TableMeta, target: &ConflictTarget) -> Vec<KeyMeta<'a>> {
    let named = |key: &KeyMeta<'_>| match target {
        ConflictTarget::Any => true,
        ConflictTarget::Keys(keys) => keys.contains(&key.index_oid),
    };
    let mut arbiters: Vec<KeyMeta<'a>> = table.keys().filter(named).collect();
    arbiters.sort_by_key(|key| key.index_oid);
    arbiters
}

/// The values of each arbiter in the rows of a batch.
fn arbiter_values<'a>(
    keys: &'a KeyValues,
    arbiters: &[KeyMeta<'_>],
    table: &'a TableMeta,
) -> Vec<Vec<Option<&'a [u8]>>> {
    let of = |arbiter: &KeyMeta<'_>| {
        keys.each(table).find(|(key, _)| key.index_oid == arbiter.index_oid).map(|(_, values)| values)
    };
    arbiters.iter().filter_map(of).collect()
}

/// The values in which source rows met existing ones.
fn values_met<'a>(
    keys: &'a KeyValues,
    arbiters: &[KeyMeta<'_>],
    met: &'a [Met],
    table: &'a TableMeta,
) -> impl Iterator<Item = (&'a [u8], &'a Met)> {
    let values = arbiter_values(keys, arbiters, table);
    met.iter().filter_map(move |met| Some((values[met.arbiter][met.row as usize]?, met)))
}

/// DO UPDATE of the existing rows that a batch met: their source rows and new forms.
fn updated(
    plan: &InsertPlan,
    conflict: &ConflictPlan,
    snapshot: &TableSnapshot,
    (batch, split): (&RecordBatch, &Split),
    context: &Arc<exec::StatementContext>,
) -> Result<Option<Updated>, WriteFailure> {
    let ConflictAction::Update { assignments, filter, schema } = &conflict.action else { return Ok(None) };
    if split.met.is_empty() {
        return Ok(None);
    }
    let table = &plan.table;
    let every: Vec<usize> = (0..table.columns.len()).collect();
    let existing = rows::read_rows(snapshot, &targets(&split.met), &every)?;
    let sources: Vec<u32> = split.met.iter().map(|met| met.row).collect();
    let pair = beside(&existing, &rows::take_rows(batch, &sources)?)?;
    let kept = passing(filter.as_ref(), schema, &pair, context)?;
    let pair = rows::take_rows(&pair, &kept)?;
    let rows = assign(table, assignments, schema, &pair, context)?;
    rows::check(&rows, table, plan.checks.as_deref(), context)?;
    Ok(Some(Updated {
        sources: kept.iter().map(|&position| sources[position as usize]).collect(),
        targets: kept.iter().map(|&position| split.met[position as usize].target).collect(),
        old: KeyValues::of(&rows::take_rows(&existing, &kept)?, table)?,
        tracked: rows::project(&rows::take_rows(&existing, &kept)?, &table.tracked_positions())?,
        new: KeyValues::of(&rows, table)?,
        rows,
    }))
}

/// Finds the met rows where they are in a newer snapshot.
///
/// # Errors
/// `Conflict` when a key came, went or changed its row between the two.
fn refresh(
    rows: &mut Gathered,
    arbiters: &[KeyMeta<'_>],
    known: &TableSnapshot,
    newest: &TableSnapshot,
) -> Result<(), WriteFailure> {
    for (place, values) in arbiter_values(&rows.keys, arbiters, &known.table).into_iter().enumerate() {
        let find = |snapshot: &TableSnapshot| {
            snapshot.find(arbiters[place], &values).map_err(|error| storage_error(&error))
        };
        let (then, now) = (find(known)?, find(newest)?);
        let same = |(then, now): (&Option<RowRef>, &Option<RowRef>)| {
            then.as_ref().map(duplicates::identity) == now.as_ref().map(duplicates::identity)
        };
        if !then.iter().zip(&now).all(same) {
            return Err(concurrent_update());
        }
        for met in rows.split.met.iter_mut().filter(|met| met.arbiter == place) {
            met.target = now[met.row as usize].unwrap_or(met.target);
        }
    }
    Ok(())
}

/// Decides for each row of a batch.
fn split(
    snapshot: &TableSnapshot,
    keys: &KeyValues,
    arbiters: &[KeyMeta<'_>],
    updates: bool,
    proposed: &mut Taken,
) -> Result<Split, WriteFailure> {
    let values = arbiter_values(keys, arbiters, &snapshot.table);
    let mut found = Vec::with_capacity(arbiters.len());
    for (arbiter, values) in arbiters.iter().zip(&values) {
        found.push(snapshot.find(*arbiter, values).map_err(|error| storage_error(&error))?);
    }
    let mut split = Split::default();
    for (row, at) in (0_u32..).zip(0..keys.primary.len()) {
        let own = || arbiters.iter().zip(&values).filter_map(|(key, values)| Some((*key, values[at]?)));
        let repeated = own().any(|(key, value)| proposed.has(key, value));
        if updates && repeated {
            return Err(second_time().into());
        }
        let met = (0..arbiters.len()).find_map(|arbiter| Some((arbiter, found[arbiter][at]?)));
        if updates || met.is_none() {
            for (key, value) in own() {
                proposed.take(key, value);
            }
        }
        match met {
            Some((arbiter, target)) => split.met.push(Met { row, arbiter, target }),
            None if !repeated => split.inserted.push(row),
            None => {}
        }
    }
    Ok(split)
}

fn second_time() -> SqlError {
    SqlError::new(ErrorKind::CardinalityViolation, "ON CONFLICT DO UPDATE command cannot affect row a second time")
        .with_hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
}

fn targets(met: &[Met]) -> Vec<RowRef> {
    met.iter().map(|met| met.target).collect()
}

/// The primary keys of the rows that were met; without one the bytes are empty.
fn primary_keys(snapshot: &TableSnapshot, met: &[Met]) -> Result<Vec<Box<[u8]>>, SqlError> {
    let positions = snapshot.table.key_positions();
    if positions.is_empty() {
        return Ok(vec![Box::default(); met.len()]);
    }
    rows::keys(
        &rows::read_rows(snapshot, &targets(met), &positions)?,
        &(0..positions.len()).collect::<Vec<_>>(),
    )
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
