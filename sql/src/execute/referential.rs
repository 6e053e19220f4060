//! Foreign keys of a statement, from the side of the rows referred to: an error, or the action of ON DELETE and ON UPDATE
//! on the rows that refer.
//!
//! Referring rows are looked for in the newest state with the statement's own changes, once the rows referred to are
//! locked against new references. They are locked, checked and buffered like rows that a statement of their own changes.
//!
//! What it is not: it does not go from table to table; what it changed is followed by `references`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{cast, interleave};
use cluster::locks::{LockMode, LockModes};
use proto::catalog::{Reference, ReferentialAction, TableMeta};
use proto::key::encode_unique_keys;
use proto::record::RowRef;
use proto::{ErrorKind, SqlError, Timestamp};
use segments::TableSnapshot;

use super::copy::evaluate_constant;
use super::duplicates::{self, Taken};
use super::insert::overlay;
use super::keys::{KeyValues, tracked_places};
use super::locking::Wanted;
use super::references::{Ended, RowChanges, plain_key_text};
use super::transaction::{Extent, Transaction};
use super::write::WriteFailure;
use super::{SessionExecutor, rows, rows_error, storage_error};

/// Keys, each with the row among the ended ones that had it.
type GoneKeys<'a> = HashMap<Box<[u8]>, (&'a Ended, usize)>;

/// The keys that a statement took away.
struct Gone<'a> {
    keys: GoneKeys<'a>,
    action: ReferentialAction,
}

/// The rows that refer to what is gone, with the key each refers to.
struct Found {
    snapshot: Arc<TableSnapshot>,
    targets: Vec<RowRef>,
    keys: Vec<Box<[u8]>>,
}

impl SessionExecutor {
    /// What one foreign key asks for after rows of the table it refers to have ended: the changes of referring rows.
    pub(super) async fn follow(
        &mut self,
        transaction: &mut Transaction,
        reference: &Reference<'_>,
        changes: &RowChanges,
    ) -> Result<Vec<RowChanges>, WriteFailure> {
        let mut followed = Vec::new();
        for is_update in [false, true] {
            let ended = changes.ended.iter().filter(|ended| ended.new.is_some() == is_update);
            let action = if is_update { reference.foreign.on_update } else { reference.foreign.on_delete };
            let mut gone = Gone { keys: taken_away(reference, ended)?, action };
            if gone.keys.is_empty() {
                continue;
            }
            if action == ReferentialAction::NoAction {
                let target = self.newest_of(transaction, reference.target.id).await?;
                forget_present(reference, &target, &mut gone)?;
            }
            let Some(found) = self.referring_rows(transaction, reference, &gone).await? else { continue };
            followed.push(match action {
                ReferentialAction::NoAction | ReferentialAction::Restrict => {
                    return Err(
                        still_referenced(reference, &gone, found.keys.first().map(AsRef::as_ref)).into()
                    );
                }
                ReferentialAction::Cascade if !is_update => {
                    self.end_referring(transaction, reference, &found).await?
                }
                _ => self.change_referring(transaction, reference, &gone, &found).await?,
            });
        }
        Ok(followed)
    }

    /// The rows that refer to keys that are gone; one is enough when it is an error.
    async fn referring_rows(
        &self,
        transaction: &mut Transaction,
        reference: &Reference<'_>,
        gone: &Gone<'_>,
    ) -> Result<Option<Found>, WriteFailure> {
        if gone.keys.is_empty() {
            return Ok(None);
        }
        let refuses = matches!(gone.action, ReferentialAction::NoAction | ReferentialAction::Restrict);
        let (mode, most) =
            if refuses { (LockMode::RowShare, 1) } else { (LockMode::RowExclusive, usize::MAX) };
        self.lock_tables(transaction, [(reference.table.id, mode)]).await?;
        let snapshot = self.newest_of(transaction, reference.table.id).await?;
        let since = transaction.references_since.get_or_insert(snapshot.read_ts);
        *since = (*since).min(snapshot.read_ts);
        let wanted: HashSet<Box<[u8]>> = gone.keys.keys().cloned().collect();
        let found = snapshot.referring(*reference, &wanted, Timestamp::ZERO, most);
        let (targets, keys): (Vec<_>, Vec<_>) =
            found.map_err(|error| storage_error(&error))?.into_iter().unzip();
        Ok((!targets.is_empty()).then_some(Found { snapshot, targets, keys }))
    }

    /// ON DELETE CASCADE.
    async fn end_referring(
        &self,
        transaction: &mut Transaction,
        reference: &Reference<'_>,
        found: &Found,
    ) -> Result<RowChanges, WriteFailure> {
        let table = reference.table;
        let old = rows::read_rows(&found.snapshot, &found.targets, &table.tracked_positions())?;
        let keys = KeyValues::tracked(&old, table, 0)?;
        let mut wanted = Wanted::default();
        wanted.add_keys(table, &keys, &rows::all(&old));
        for (target, key) in found.targets.iter().zip(&keys.primary) {
            wanted.add_row(table, target, key, LockModes::change(true));
        }
        let read: Vec<_> = found.targets.iter().copied().zip(keys.primary.iter().cloned()).collect();
        self.lock_rows(transaction, table, &found.snapshot, wanted, read).await?;
        let buffer = overlay(transaction, table);
        for (target, key) in found.targets.iter().zip(&keys.primary) {
            buffer.delete(*target, rows::delete_key(key));
        }
        Ok(RowChanges { begun: Vec::new(), ended: vec![Ended { old, new: None }] })
    }

    /// SET NULL, SET DEFAULT, and ON UPDATE CASCADE.
    async fn change_referring(
        &mut self,
        transaction: &mut Transaction,
        reference: &Reference<'_>,
        gone: &Gone<'_>,
        found: &Found,
    ) -> Result<RowChanges, WriteFailure> {
        let table = reference.table;
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let whole = rows::read_rows(&found.snapshot, &found.targets, &all)?;
        let context = self.statement_context(transaction, &[]).await?;
        let rules = planner::row_rules(table, &self.rule_context(transaction))?;
        let mut columns = whole.columns().to_vec();
        for (number, &position) in table.positions(&reference.foreign.columns).iter().enumerate() {
            let ty = table.columns[position].ty.data_type();
            let value = match gone.action {
                ReferentialAction::Cascade => new_values(reference, gone, found, number)?,
                ReferentialAction::SetDefault => match &rules.defaults[position] {
                    Some(default) => evaluate_constant(default, whole.num_rows(), &context)?,
                    None => new_null_array(&ty, whole.num_rows()),
                },
                _ => new_null_array(&ty, whole.num_rows()),
            };
            columns[position] = cast(&value, &ty).map_err(rows_error("a foreign key"))?;
        }
        let changed = RecordBatch::try_new(table.stored_schema(), columns);
        let new = rows::conform(&changed.map_err(rows_error("a foreign key"))?, table)?;
        rows::check(&new, table, rules.checks.as_deref(), &context)?;
        if gone.action == ReferentialAction::SetDefault {
            self.refuse_gone_default(transaction, reference, gone, &new).await?;
        }
        let old = rows::project(&whole, &table.tracked_positions())?;
        self.replace_rows(transaction, table, found, (&old, &new)).await?;
        Ok(RowChanges { begun: Vec::new(), ended: vec![Ended { old, new: Some(new) }] })
    }

    /// # Errors
    /// 23503 when the default is a key that is gone.
    async fn refuse_gone_default(
        &self,
        transaction: &Transaction,
        reference: &Reference<'_>,
        gone: &Gone<'_>,
        new: &RecordBatch,
    ) -> Result<(), SqlError> {
        let defaults = reference.encode(new, &reference.positions())?.into_iter().flatten();
        let Some(key) = defaults.into_iter().find(|key| gone.keys.contains_key(key)) else { return Ok(()) };
        let target = self.newest_of(transaction, reference.target.id).await?;
        let found = target.find(reference.key, &[Some(&key)]).map_err(|error| storage_error(&error))?;
        if found == [None] { Err(still_referenced(reference, gone, Some(&key))) } else { Ok(()) }
    }

    /// Locks rows, and buffers others in their places.
    async fn replace_rows(
        &self,
        transaction: &mut Transaction,
        table: &Arc<TableMeta>,
        found: &Found,
        (old, new): (&RecordBatch, &RecordBatch),
    ) -> Result<(), WriteFailure> {
        let (old_keys, new_keys) = (KeyValues::tracked(old, table, 0)?, KeyValues::of(new, table)?);
        let mut wanted = Wanted::default();
        wanted.add_moved(table, &old_keys, &new_keys);
        for (row, target) in found.targets.iter().enumerate() {
            let changed = LockModes::change(new_keys.differs(&old_keys, row));
            wanted.add_row(table, target, &old_keys.primary[row], changed);
        }
        let read: Vec<_> = found.targets.iter().copied().zip(old_keys.primary.iter().cloned()).collect();
        self.lock_rows(transaction, table, &found.snapshot, wanted, read).await?;
        if transaction.extent != Extent::Statement {
            let newest = self.newest_of(transaction, table.id).await?;
            let ending = found.targets.iter().map(duplicates::identity).collect();
            duplicates::check_keys(table, &newest, new, &new_keys, &ending, &mut Taken::default())?;
        }
        let buffer = overlay(transaction, table);
        for (target, key) in found.targets.iter().zip(&old_keys.primary) {
            buffer.delete(*target, rows::delete_key(key));
        }
        buffer.insert(new).map_err(|error| storage_error(&error).into())
    }
}

/// The keys of ended rows that have none of them any more, in the new rows at their places.
fn taken_away<'a>(
    reference: &Reference<'_>,
    ended: impl Iterator<Item = &'a Ended>,
) -> Result<GoneKeys<'a>, SqlError> {
    let positions = reference.target.positions(reference.key.columns);
    let places = tracked_places(reference.target, &positions)?;
    let mut gone = HashMap::new();
    for rows in ended {
        let old = encode_unique_keys(&rows.old, &places, reference.key.nulls_distinct)?;
        let new = match &rows.new {
            Some(new) => Some(encode_unique_keys(new, &positions, reference.key.nulls_distinct)?),
            None => None,
        };
        for (row, key) in old.into_iter().enumerate() {
            // Nobody refers to a key with a NULL.
            let has_null = places.iter().any(|&place| rows.old.column(place).is_null(row));
            let stays = new.as_ref().is_some_and(|new| new[row] == key);
            if let Some(key) = key.filter(|_| !has_null && !stays) {
                gone.insert(key, (rows, row));
            }
        }
    }
    Ok(gone)
}

/// NO ACTION asks for nothing where another row has the key by now.
fn forget_present(
    reference: &Reference<'_>,
    target: &TableSnapshot,
    gone: &mut Gone<'_>,
) -> Result<(), SqlError> {
    let keys: Vec<Box<[u8]>> = gone.keys.keys().cloned().collect();
    let values: Vec<Option<&[u8]>> = keys.iter().map(|key| Some(key.as_ref())).collect();
    let found = target.find(reference.key, &values).map_err(|error| storage_error(&error))?;
    for (key, _) in keys.iter().zip(found).filter(|(_, found)| found.is_some()) {
        gone.keys.remove(key);
    }
    Ok(())
}

/// The new values of a referring column, in the order of the rows that were found.
fn new_values(
    reference: &Reference<'_>,
    gone: &Gone<'_>,
    found: &Found,
    number: usize,
) -> Result<ArrayRef, SqlError> {
    let position = reference.target.positions(&reference.foreign.target_columns)[number];
    let lost = || SqlError::new(ErrorKind::Internal, "a referring row without the row it refers to");
    let mut batches: Vec<&RecordBatch> = Vec::new();
    let mut places = Vec::with_capacity(found.keys.len());
    for key in &found.keys {
        let changed = gone.keys.get(key).and_then(|(ended, row)| Some((ended.new.as_ref()?, *row)));
        let (new, row) = changed.ok_or_else(lost)?;
        let batch = batches.iter().position(|known| std::ptr::eq(*known, new)).unwrap_or_else(|| {
            batches.push(new);
            batches.len() - 1
        });
        places.push((batch, row));
    }
    let columns: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(position).as_ref()).collect();
    interleave(&columns, &places).map_err(rows_error("a foreign key"))
}

/// 23503 of a row that is referred to.
fn still_referenced(reference: &Reference<'_>, gone: &Gone<'_>, key: Option<&[u8]>) -> SqlError {
    let Reference { foreign, table, target, .. } = reference;
    let error = SqlError::new(
        ErrorKind::ForeignKeyViolation,
        format!(
            "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
            target.name, foreign.name, table.name
        ),
    )
    .with_table(&table.namespace, &table.name)
    .with_constraint(&foreign.name);
    let Some((ended, row)) = key.and_then(|key| gone.keys.get(key)) else { return error };
    let positions = target.positions(&foreign.target_columns);
    let places = match tracked_places(target, &positions) {
        Ok(places) => places,
        Err(error) => return error,
    };
    let key = plain_key_text(target, &positions, &places, &ended.old, *row);
    error.with_detail(format!("Key {key} is still referenced from table \"{}\".", table.name))
}
