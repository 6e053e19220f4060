//! Whether a transaction may be decided on a state: schema versions, live targets, free keys, foreign keys.
//!
//! Invariant: nothing here changes anything; a transaction that passes can be applied.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use proto::catalog::{CatalogSnapshot, KeyMeta, TableMeta};
use proto::key::encode_unique_keys;
use proto::record::{RowRef, TableChange};
use proto::{RowId, TableId, Timestamp};
use segments::{CHUNK_ROWS, ScanColumn, SegmentForm, SegmentView, TableSnapshot};

use super::{CommitRequest, references};
use crate::error::{Error, Result};
use crate::follower::{ChannelState, TableState};
use crate::settings::{PlantedBug, Settings};

/// What a transaction does to one table, over all its parts.
#[derive(Default)]
pub(super) struct Net<'a> {
    pub(super) truncate: bool,
    /// By row id, which stays the same when segments are merged.
    pub(super) deleted: HashMap<RowId, RowRef>,
    pub(super) inserts: Vec<&'a RecordBatch>,
    /// Inserted rows that are in files already, those the transaction has ended left out.
    pub(super) staged: Vec<Arc<SegmentView>>,
}

/// What a transaction's statements have looked at already.
#[derive(Clone, Copy)]
pub(super) struct Since {
    /// Rows begun until then do not refer to what the transaction takes away.
    references: Timestamp,
    /// Rows begun until then have no value of a unique key that a staged row has, nor have two staged rows the same.
    keys: Timestamp,
}

impl Since {
    pub(super) const fn of(request: &CommitRequest) -> Self {
        Self { references: request.references_since, keys: request.keys_since }
    }
}

/// Checks a transaction against a state that includes everything accepted before it.
pub(super) fn check(
    state: &ChannelState,
    catalog: &CatalogSnapshot,
    all: &[&[TableChange]],
    since: Since,
    settings: &Settings,
) -> Result<()> {
    // In order, so that of several reasons to refuse the same one is given every time.
    let mut nets: BTreeMap<TableId, Net<'_>> = BTreeMap::new();
    for change in all.iter().flat_map(|part| part.iter()) {
        let meta = catalog.tables.get(&change.table).ok_or(Error::UndefinedTable(change.table))?;
        if meta.schema_version != change.schema_version {
            return Err(Error::SchemaChanged);
        }
        let net = nets.entry(change.table).or_default();
        net.truncate |= change.truncate;
        let targets = change.deletes.iter().map(|delete| delete.target);
        net.deleted.extend(targets.map(|target| (target.row, target)));
        net.inserts.extend(&change.inserts);
        for rows in &change.staged {
            // Without them the channel was taken over since they were handed in.
            let staged = state.opened.get(&rows.segment).ok_or(Error::Conflict)?;
            let view = staged.live(&rows.ended)?;
            let is_older = view.form().table().schema_version < meta.schema_version;
            net.staged.push(Arc::new(if is_older { view.with_table(meta)? } else { view }));
        }
    }
    for (table, net) in &nets {
        // Present: looked up above.
        let Some(meta) = catalog.tables.get(table) else { continue };
        let rows = state.tables.get(table);
        check_shape(meta, &net.inserts)?;
        if !net.truncate {
            check_targets(rows.map(Arc::as_ref), net)?;
        }
        check_keys(meta, rows.map(Arc::as_ref), net, settings)?;
        check_staged_keys(meta, rows.map(Arc::as_ref), net, since.keys)?;
    }
    if settings.has(PlantedBug::ReferencesNotCheckedAgain) {
        return Ok(());
    }
    references::check(state, catalog, &nets, since.references)
}

fn check_shape(meta: &TableMeta, inserts: &[&RecordBatch]) -> Result<()> {
    let schema = meta.arrow_schema();
    for batch in inserts {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let fits = RecordBatch::try_new_with_options(Arc::clone(&schema), batch.columns().to_vec(), &options);
        fits.map_err(|error| segments::Error::RowShape {
            table: meta.name.clone(),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// Every row to delete must be there and must not have ended.
fn check_targets(rows: Option<&TableState>, net: &Net<'_>) -> Result<()> {
    let is_live = |target: &RowRef| {
        let (segment, ordinal) = rows?.locate(*target)?;
        let state = &rows?.segment(segment)?.state;
        Some((ordinal as usize) < state.form.rows() && state.deletes.delete_ts(ordinal).is_none())
    };
    let live = net.deleted.values().all(|target| is_live(target).unwrap_or(false));
    if live { Ok(()) } else { Err(Error::Conflict) }
}

/// No inserted value of a unique key may have a live row, other than those this transaction ends itself, or come twice.
/// The first row that does is named, by the first key in which it does.
fn check_keys(
    meta: &Arc<TableMeta>,
    rows: Option<&TableState>,
    net: &Net<'_>,
    settings: &Settings,
) -> Result<()> {
    if net.inserts.is_empty() || meta.keys().next().is_none() {
        return Ok(());
    }
    let mut live =
        rows.filter(|_| !net.truncate).map(|rows| rows.at(Arc::clone(meta), Timestamp::MAX)).transpose()?;
    let mut keys: Vec<KeyMeta<'_>> = meta.keys().collect();
    keys.sort_by_key(|key| key.index_oid);
    let mut first: Option<((usize, usize), KeyMeta<'_>)> = None;
    for key in keys {
        if settings.has(PlantedBug::UniqueCheckLeavesOutSealed) && !key.is_primary {
            let is_growing = |view: &Arc<SegmentView>| matches!(view.form(), SegmentForm::Growing(_));
            live.iter_mut().for_each(|live| live.segments.retain(is_growing));
        }
        let found = first_duplicate(key, &meta.positions(key.columns), live.as_ref(), net)?;
        // Of equals the earlier key stays.
        first = match (first, found) {
            (Some(known), Some(place)) if place < known.0 => Some((place, key)),
            (None, Some(place)) => Some((place, key)),
            (known, _) => known,
        };
    }
    let Some(((batch, row), key)) = first else { return Ok(()) };
    Err(Error::DuplicateKey {
        table: Arc::clone(meta),
        constraint: key.name.to_owned(),
        row: net.inserts[batch].slice(row, 1),
    })
}

/// No value of a staged row may be that of a live row begun after `since`, other than those this transaction ends, nor
/// that of a row that it inserts beside.
fn check_staged_keys(
    meta: &Arc<TableMeta>,
    rows: Option<&TableState>,
    net: &Net<'_>,
    since: Timestamp,
) -> Result<()> {
    if net.staged.is_empty() {
        return Ok(());
    }
    let table = Arc::clone(meta);
    let staged = TableSnapshot { table, read_ts: Timestamp::MAX, segments: net.staged.clone() };
    let live =
        rows.filter(|_| !net.truncate).map(|rows| rows.at(Arc::clone(meta), Timestamp::MAX)).transpose()?;
    for key in meta.keys() {
        let positions = meta.positions(key.columns);
        let columns: Vec<ScanColumn> = positions.iter().copied().map(ScanColumn::Column).collect();
        let within: Vec<usize> = (0..positions.len()).collect();
        for batch in &net.inserts {
            let values = encode_unique_keys(batch, &positions, key.nulls_distinct)?;
            refuse_found(&staged, key, &values)?;
        }
        for view in live.iter().flat_map(|live| &live.segments) {
            let begun = view.visible_since(since).into_iter();
            let stays = |ordinal: &u32| !net.deleted.contains_key(&view.form().identity(*ordinal).1);
            for ordinals in begun.filter(stays).collect::<Vec<_>>().chunks(CHUNK_ROWS) {
                let batch = view.read_rows(&columns, ordinals)?;
                refuse_found(&staged, key, &encode_unique_keys(&batch, &within, key.nulls_distinct)?)?;
            }
        }
        if since == Timestamp::ZERO {
            refuse_equal_staged(&staged, key)?;
        }
    }
    Ok(())
}

/// # Errors
/// `DuplicateKey` for the first value that a staged row has.
fn refuse_found(staged: &TableSnapshot, key: KeyMeta<'_>, values: &[Option<Box<[u8]>>]) -> Result<()> {
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    let Some(row) = staged.find(key, &values)?.into_iter().flatten().next() else { return Ok(()) };
    refuse(staged, key, row)
}

/// # Errors
/// `DuplicateKey` for the first staged row whose value another staged row has.
fn refuse_equal_staged(staged: &TableSnapshot, key: KeyMeta<'_>) -> Result<()> {
    let columns: Vec<ScanColumn> =
        staged.table.positions(key.columns).into_iter().map(ScanColumn::Column).collect();
    let within: Vec<usize> = (0..columns.len()).collect();
    let mut seen = HashSet::new();
    for view in &staged.segments {
        for ordinals in view.visible_since(Timestamp::ZERO).chunks(CHUNK_ROWS) {
            let batch = view.read_rows(&columns, ordinals)?;
            let values = encode_unique_keys(&batch, &within, key.nulls_distinct)?;
            for (value, &ordinal) in values.into_iter().zip(ordinals) {
                if value.is_some_and(|value| !seen.insert(value)) {
                    let row = view.form().identity(ordinal).1;
                    return refuse(staged, key, RowRef { segment: view.id(), ordinal, row });
                }
            }
        }
    }
    Ok(())
}

fn refuse(staged: &TableSnapshot, key: KeyMeta<'_>, row: RowRef) -> Result<()> {
    let view = staged.segments.iter().find(|view| view.id() == row.segment);
    let view = view.ok_or_else(|| Error::Internal("a row just found is not there".into()))?;
    let columns: Vec<ScanColumn> = (0..staged.table.columns.len()).map(ScanColumn::Column).collect();
    Err(Error::DuplicateKey {
        table: Arc::clone(&staged.table),
        constraint: key.name.to_owned(),
        row: view.read_rows(&columns, &[row.ordinal])?,
    })
}

/// Batch and row of the first inserted row whose value of a key is taken.
fn first_duplicate(
    key: KeyMeta<'_>,
    positions: &[usize],
    live: Option<&TableSnapshot>,
    net: &Net<'_>,
) -> Result<Option<(usize, usize)>> {
    let mut batches = Vec::with_capacity(net.inserts.len());
    for batch in &net.inserts {
        batches.push(encode_unique_keys(batch, positions, key.nulls_distinct)?);
    }
    let mut seen: HashSet<&[u8]> = HashSet::with_capacity(batches.iter().map(Vec::len).sum());
    for (batch, keys) in batches.iter().enumerate() {
        let values: Vec<Option<&[u8]>> = keys.iter().map(Option::as_deref).collect();
        let found = live.map(|live| live.find(key, &values)).transpose()?;
        for (row, value) in values.iter().enumerate() {
            let taken = found.as_ref().and_then(|found| found[row]).is_some_and(|found| !net.ends(found));
            if taken || value.is_some_and(|value| !seen.insert(value)) {
                return Ok(Some((batch, row)));
            }
        }
    }
    Ok(None)
}

impl Net<'_> {
    /// Whether this transaction ends a row itself.
    pub(super) fn ends(&self, row: RowRef) -> bool {
        self.deleted.contains_key(&row.row)
    }

    /// Whether rows are inserted.
    pub(super) fn inserts_rows(&self) -> bool {
        !self.inserts.is_empty() || !self.staged.is_empty()
    }

    /// These columns of all inserted rows.
    pub(super) fn inserted(&self, positions: &[usize]) -> Result<Vec<RecordBatch>> {
        let project = |batch: &&RecordBatch| batch.project(positions).map_err(segments::Error::Arrow);
        let mut batches = self.inserts.iter().map(project).collect::<segments::Result<Vec<_>>>()?;
        let columns: Vec<ScanColumn> = positions.iter().copied().map(ScanColumn::Column).collect();
        for view in &self.staged {
            for ordinals in view.visible_since(Timestamp::ZERO).chunks(CHUNK_ROWS) {
                batches.push(view.read_rows(&columns, ordinals)?);
            }
        }
        Ok(batches)
    }
}
