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
use segments::{SegmentForm, SegmentView, TableSnapshot};

use super::references;
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
}

/// Checks a transaction against a state that includes everything accepted before it.
pub(super) fn check(
    state: &ChannelState,
    catalog: &CatalogSnapshot,
    all: &[&[TableChange]],
    references_since: Timestamp,
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
    }
    if settings.has(PlantedBug::ReferencesNotCheckedAgain) {
        return Ok(());
    }
    references::check(state, catalog, &nets, references_since)
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
}
