//! The catalog in time: what existed at an instant, and what was dropped and can still be had.
//!
//! ```text
//! history/step/<revision>    `Step`: the instant of a change, and what the keys it wrote held before
//! history/since              u64 LE: instants before it cannot be told any more
//! ```
//! The catalog of an instant is the present one with all later steps undone, newest first. A step is written in the
//! meta transaction of its change, with the timestamp that the change's Commit record will have.
//!
//! A dropped table stays *stored* until its horizon has passed the drop: its rows are replayed, flushed and kept, and
//! reads of earlier instants and UNDROP find them. Everything that only asks what exists sees it no more.
//!
//! A column that ALTER TABLE drops, or gives another type, stays in the rows that have it: growing rows keep it, files
//! are never written again, and what writes rows to files, a flush or a merge, writes the columns that any table since
//! the horizon has (`Catalog::kept`).
//!
//! Invariants: undoing a step gives exactly what was before it; a table that is not stored any more never is again
//! under the same step, because horizons only grow; every column of a table that can be read is in its rows.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use proto::catalog::{CatalogChange, CatalogSnapshot, Column, SequenceMeta, TableMeta};
use proto::{DatabaseId, TableId, Timestamp};
use segments::format::catalog_object::Entries;

use super::{Catalog, Known, REVISION, number, object_key, put_entry, read_number, remove_entry};
use crate::error::{Error, Result};
use crate::horizon::Horizons;
use crate::meta::{Guard, MetaStore, Outcome, Write};

const STEPS: &str = "history/step/";
pub(super) const SINCE: &str = "history/since";

/// What a key held before a change; no value: nothing.
#[derive(Clone, PartialEq, Message)]
struct Former {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct StepForm {
    #[prost(fixed64, tag = "1")]
    ts: u64,
    #[prost(message, repeated, tag = "2")]
    former: Vec<Former>,
    /// Whether rows kept the columns that the change took from their table; false of steps that were made when they
    /// did not.
    #[prost(bool, tag = "3")]
    keeps_columns: bool,
}

/// One change of the catalog.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    revision: u64,
    form: StepForm,
}

impl Step {
    /// The change that these writes are, made at an instant.
    pub(super) async fn of(
        meta: &dyn MetaStore,
        revision: u64,
        ts: Timestamp,
        writes: &[Write],
    ) -> Result<Self> {
        let mut former: Vec<Former> = Vec::new();
        for write in writes {
            let (Write::Put { key, .. } | Write::PutLeased { key, .. } | Write::Delete { key }) = write;
            if key == REVISION || former.iter().any(|known| known.key == *key) {
                continue;
            }
            let value = meta.get(key).await?.map(|entry| entry.value);
            former.push(Former { key: key.clone(), value });
        }
        Ok(Self { revision, form: StepForm { ts: ts.0, former, keeps_columns: true } })
    }

    /// The keys that the step wrote, and what they held before.
    pub(super) fn former(&self) -> impl Iterator<Item = (&str, Option<&Bytes>)> {
        self.form.former.iter().map(|former| (former.key.as_str(), former.value.as_ref()))
    }

    pub(super) const fn ts(&self) -> Timestamp {
        Timestamp(self.form.ts)
    }

    pub(super) fn write(&self) -> Write {
        Write::put(step_key(self.revision), self.form.encode_to_vec())
    }

    /// Makes of a catalog what it was before the step.
    fn undo(&self, snapshot: &mut CatalogSnapshot) -> Result<()> {
        for former in &self.form.former {
            match &former.value {
                Some(value) => put_entry(snapshot, &former.key, value)?,
                None => remove_entry(snapshot, &former.key)?,
            }
        }
        Ok(())
    }

    /// The tables that the step has changed and that a later catalog does not have.
    fn dropped(&self, catalog: &CatalogSnapshot) -> Result<Vec<DroppedTable>> {
        let mut before = CatalogSnapshot::default();
        for former in &self.form.former {
            if let Some(value) = &former.value {
                put_entry(&mut before, &former.key, value)?;
            }
        }
        let gone = before.tables.values().filter(|table| is_gone(table, catalog));
        let dropped = gone.map(|table| DroppedTable {
            table: Arc::clone(table),
            dropped_at: self.ts(),
            restore: restoring(table, &before),
        });
        Ok(dropped.collect())
    }

    /// A table's definition before the step, when the step has changed it.
    fn table(&self, table: TableId) -> Result<Option<Arc<TableMeta>>> {
        let key = object_key("table", table.0);
        let former = self.form.former.iter().find(|former| former.key == key);
        let Some(value) = former.and_then(|former| former.value.as_ref()) else { return Ok(None) };
        let mut before = CatalogSnapshot::default();
        put_entry(&mut before, &key, value)?;
        Ok(before.tables.remove(&table))
    }

    fn mentions(&self, table: TableId) -> bool {
        let key = object_key("table", table.0);
        self.form.former.iter().any(|former| former.key == key)
    }
}

fn step_key(revision: u64) -> String {
    format!("{STEPS}{revision:020}")
}

/// The step that a key holds; `None` for keys of other things.
pub(super) fn decode_step(key: &str, value: &Bytes) -> Result<Option<Step>> {
    let Some(revision) = key.strip_prefix(STEPS) else { return Ok(None) };
    let revision = revision.parse().map_err(|error| Error::corrupted(key, error))?;
    let form = StepForm::decode(value.clone()).map_err(|error| Error::corrupted(key, error))?;
    Ok(Some(Step { revision, form }))
}

/// The steps that the store has, ascending, and the instant they reach back to; none when nobody has begun.
pub(super) async fn load(meta: &dyn MetaStore) -> Result<(Vec<Arc<Step>>, Option<Timestamp>)> {
    let mut steps = Vec::new();
    for entry in meta.list(STEPS).await?.entries {
        steps.extend(decode_step(&entry.key, &entry.value)?.map(Arc::new));
    }
    let since = match meta.get(SINCE).await? {
        Some(entry) => Some(Timestamp(read_number(SINCE, &entry.value)?)),
        None => None,
    };
    Ok((steps, since))
}

/// The former definitions of tables that the history among entries of a store has, newest last.
pub(crate) fn mentioned_tables(entries: &Entries) -> Result<Vec<Arc<TableMeta>>> {
    let mut tables = Vec::new();
    for (key, value) in entries {
        let Some(step) = decode_step(key, value)? else { continue };
        let mut before = CatalogSnapshot::default();
        for (key, former) in step.former() {
            if let Some(value) = former {
                put_entry(&mut before, key, value)?;
            }
        }
        tables.extend(before.tables.into_values());
    }
    Ok(tables)
}

/// A table that was dropped and is still stored.
#[derive(Clone, Debug)]
pub struct DroppedTable {
    pub table: Arc<TableMeta>,
    /// When it was dropped.
    pub dropped_at: Timestamp,
    /// What makes it exist again, with its sequences and comments, as it was.
    pub restore: Vec<CatalogChange>,
}

/// The tables that steps have dropped, whose horizon has not passed that, the last drop first.
pub(super) fn dropped(
    catalog: &CatalogSnapshot,
    steps: &[Arc<Step>],
    horizons: &Horizons,
) -> Result<Vec<DroppedTable>> {
    let mut found: Vec<DroppedTable> = Vec::new();
    for step in steps.iter().rev() {
        for dropped in step.dropped(catalog)? {
            let known = found.iter().any(|known| known.table.id == dropped.table.id);
            if !known && step.ts() > horizons.mark(dropped.table.id) {
                found.push(dropped);
            }
        }
    }
    Ok(found)
}

/// The same after one more step.
pub(super) fn dropped_after(
    before: &[DroppedTable],
    step: &Step,
    catalog: &CatalogSnapshot,
    horizons: &Horizons,
) -> Result<Vec<DroppedTable>> {
    let mut found = step.dropped(catalog)?;
    let is_kept = |dropped: &&DroppedTable| {
        is_gone(&dropped.table, catalog) && dropped.dropped_at > horizons.mark(dropped.table.id)
    };
    found.extend(before.iter().filter(is_kept).cloned());
    Ok(found)
}

/// Whether a table is not in a catalog whose database is.
fn is_gone(table: &TableMeta, catalog: &CatalogSnapshot) -> bool {
    !catalog.tables.contains_key(&table.id) && catalog.databases.contains_key(&table.database)
}

fn restoring(table: &Arc<TableMeta>, before: &CatalogSnapshot) -> Vec<CatalogChange> {
    let owned = |sequence: &&Arc<SequenceMeta>| sequence.owned_by.is_some_and(|(owner, _)| owner == table.id);
    let sequences: Vec<_> = before.sequences.values().filter(owned).cloned().collect();
    let is_of = |object: u32| {
        object == table.id.oid().0 || sequences.iter().any(|sequence| sequence.id.oid().0 == object)
    };
    let comments = before.comments.iter().filter(|(about, _)| is_of(about.object));
    let comments = comments.map(|(about, text)| CatalogChange::PutComment(*about, Some(Arc::clone(text))));
    let mut changes = vec![CatalogChange::PutTable(Arc::clone(table))];
    changes.extend(comments);
    changes.extend(sequences.iter().cloned().map(CatalogChange::PutSequence));
    changes
}

/// What storage keeps: what exists, and what was dropped and is not forgotten.
pub(super) fn stored(catalog: &Arc<CatalogSnapshot>, dropped: &[DroppedTable]) -> Arc<CatalogSnapshot> {
    if dropped.is_empty() {
        return Arc::clone(catalog);
    }
    let mut stored = catalog.as_ref().clone();
    for change in dropped.iter().flat_map(|dropped| &dropped.restore) {
        match change {
            CatalogChange::PutTable(table) => drop(stored.tables.insert(table.id, Arc::clone(table))),
            CatalogChange::PutSequence(sequence) => {
                stored.sequences.entry(sequence.id).or_insert_with(|| Arc::clone(sequence));
            }
            _ => {}
        }
    }
    Arc::new(stored)
}

/// A former version of a table as its rows can be read today: by the indexes they have today, where those are about
/// the same vectors. `None` when columns of then are gone; `keeps_columns`: rows have kept them since.
pub(super) fn readable(
    then: &Arc<TableMeta>,
    now: &TableMeta,
    keeps_columns: bool,
) -> Option<Arc<TableMeta>> {
    if then.schema_version == now.schema_version {
        return Some(Arc::new(now.clone()));
    }
    let has =
        |column: &Column| now.columns.iter().any(|known| known.id == column.id && known.ty == column.ty);
    if !keeps_columns && (now.rewritten > then.schema_version || !then.columns.iter().all(has)) {
        return None;
    }
    let mut table = then.with_indexes_of(now);
    table.indexes.retain(|index| then.columns.iter().any(|column| column.id == index.column && has(column)));
    Some(Arc::new(table))
}

/// A table with all columns that rows of a schema version may be asked for. `former`: the table and what it was
/// before, the newest first.
fn keeping(former: &[Arc<TableMeta>], version: u64) -> Option<Arc<TableMeta>> {
    // Rows written anew may have another type under the same id: those of before go by the last table before.
    let base = former.iter().find(|table| table.rewritten <= version).or(former.first())?;
    let mut table = Arc::clone(base);
    let alike = former.iter().filter(|former| former.rewritten == base.rewritten);
    for column in alike.flat_map(|former| &former.columns) {
        if !table.columns.iter().any(|known| known.id == column.id) {
            Arc::make_mut(&mut table).columns.push(column.clone());
        }
    }
    Some(table)
}

impl Catalog {
    /// The catalog of an instant. Tables whose rows can still be read as they were then stand in the form that says
    /// how; `past_table` tells them from the others.
    ///
    /// # Errors
    /// `BeforeHorizon` when the history does not reach back so far.
    pub(crate) fn at(&self, ts: Timestamp) -> Result<Arc<CatalogSnapshot>> {
        let known = self.known();
        if ts < known.since {
            let what = "the catalog".to_owned();
            return Err(Error::BeforeHorizon { what, asked: ts, oldest: known.since });
        }
        let later: Vec<_> = known.steps.iter().rev().filter(|step| step.ts() > ts).collect();
        if later.is_empty() {
            return Ok(Arc::clone(&known.catalog));
        }
        let mut snapshot = known.catalog.as_ref().clone();
        for step in &later {
            step.undo(&mut snapshot)?;
        }
        for table in snapshot.tables.values_mut() {
            let now = known.stored.tables.get(&table.id).filter(|now| !Arc::ptr_eq(now, table));
            let keeps = !later.iter().any(|step| !step.form.keeps_columns && step.mentions(table.id));
            if let Some(readable) = now.and_then(|now| readable(table, now, keeps)) {
                *table = readable;
            }
        }
        Ok(Arc::new(snapshot))
    }

    /// The present form of a table of a past catalog.
    ///
    /// # Errors
    /// `BeforeHorizon` when the table was dropped and is gone; 0A000 when its rows lost columns since.
    pub(crate) fn past_table(&self, then: &Arc<TableMeta>) -> Result<Arc<TableMeta>> {
        let known = self.known();
        let what = format!("table \"{}\"", then.name);
        let Some(now) = known.stored.tables.get(&then.id) else {
            let (asked, oldest) = (Timestamp::ZERO, known.since);
            return Err(Error::BeforeHorizon { what, asked, oldest });
        };
        let mut keeps = true;
        for step in known.steps.iter().filter(|step| !step.form.keeps_columns) {
            keeps &= step.table(then.id)?.is_none_or(|former| former.schema_version < then.schema_version);
        }
        if readable(then, now, keeps).is_none() {
            let what = format!("reading {what} as of a time before its columns were changed by ALTER TABLE");
            return Err(proto::SqlError::unsupported(what).into());
        }
        Ok(Arc::clone(now))
    }

    /// A table as rows are written to files that were written at a schema version: with the columns that it has now,
    /// and with those that it had at an instant that can still be read.
    ///
    /// # Errors
    /// `Corrupted` when the history cannot be read.
    pub(crate) fn kept(&self, table: &Arc<TableMeta>, version: u64) -> Result<Arc<TableMeta>> {
        let horizon = self.horizons.mark(table.id);
        let mut former = vec![Arc::clone(table)];
        for step in self.known().steps.iter().rev().filter(|step| step.ts() > horizon) {
            former.extend(step.table(table.id)?);
        }
        Ok(keeping(&former, version).unwrap_or_else(|| Arc::clone(table)))
    }

    /// What storage keeps: what exists, and what was dropped and can still be read or had back.
    pub(crate) fn stored(&self) -> Arc<CatalogSnapshot> {
        Arc::clone(&self.known().stored)
    }

    /// The dropped tables of a database that can be had back, the last drop first.
    pub(crate) fn dropped(&self, database: DatabaseId) -> Vec<DroppedTable> {
        let known = self.known();
        known.dropped.iter().filter(|dropped| dropped.table.database == database).cloned().collect()
    }

    /// Starts the history of a store that has none: what was before cannot be told.
    pub(super) async fn begin_history(meta: &dyn MetaStore, now: Timestamp) -> Result<()> {
        let guard = Guard::Absent { key: SINCE.into() };
        // Refused: somebody else has begun.
        let _ = meta.commit(vec![guard], vec![Write::put(SINCE, number(now.0))]).await?;
        Ok(())
    }

    /// Lets go of dropped tables that the horizon has passed, and of steps that no instant needs. Whether a table
    /// went. Horizons must have been raised before. Steps behind `rebuildable` are kept: a rebuild would undo them.
    pub(crate) async fn expire(&self, rebuildable: Timestamp) -> Result<bool> {
        let _turn = self.turn.lock().await;
        let known = self.known();
        let horizon = self.horizons.catalog_horizon(known.stored.tables.values()).min(rebuildable);
        let (gone, steps): (Vec<_>, Vec<_>) =
            known.steps.iter().cloned().partition(|step| step.ts() <= horizon);
        let mut since = known.since;
        if let Some(newest) = gone.iter().map(|step| step.ts()).max() {
            since = since.max(newest);
            let revision = known.catalog.revision;
            let guard = Guard::Equals { key: REVISION.into(), value: number(revision) };
            let mut writes = vec![Write::put(SINCE, number(since.0))];
            writes.extend(gone.iter().map(|step| Write::Delete { key: step_key(step.revision) }));
            if let Outcome::Refused { .. } = self.meta.commit(vec![guard], writes).await? {
                // The catalog has changed; there is another time.
                return Ok(false);
            }
        }
        let next = Known::new(Arc::clone(&known.catalog), steps, since, &self.horizons)?;
        let went = next.dropped.len() < known.dropped.len();
        let next = Arc::new(next);
        let before = self.known.compare_and_swap(&known, Arc::clone(&next));
        if !Arc::ptr_eq(&before, &known) {
            // A change was shown meanwhile, and must not be lost; there is another time.
            return Ok(false);
        }
        let is_known = |table| {
            next.stored.tables.contains_key(&table) || next.steps.iter().any(|step| step.mentions(table))
        };
        self.horizons.forget(is_known).await?;
        for snapshot in self.horizons.snapshots() {
            if !next.catalog.databases.contains_key(&snapshot.of_database()) {
                self.horizons.drop_snapshot(snapshot.of_database(), &snapshot.name).await?;
            }
        }
        Ok(went)
    }
}
