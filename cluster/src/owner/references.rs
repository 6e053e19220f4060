//! Whether every row refers to a row that is there, once a transaction is applied.
//!
//! Statements make sure of that themselves, with the rows they rely on locked, and tell the user what is wrong. Here
//! it is looked at again, so that a lock that was lost never leaves a row that refers to nothing; it costs a refused
//! commit.
//!
//! What it is not: no action of ON DELETE or ON UPDATE; what these change is in the transaction already.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proto::catalog::{CatalogSnapshot, KeyMeta, Reference, TableMeta};
use proto::key::encode_unique_keys;
use proto::record::RowRef;
use proto::{TableId, Timestamp};
use segments::{ScanColumn, TableSnapshot};

use super::check::Net;
use crate::error::{Error, Result};
use crate::follower::ChannelState;

type Keys = HashSet<Box<[u8]>>;

/// Checks both sides of every foreign key that a transaction touches. Rows begun until `since` need not be looked at
/// for references to what it takes away.
pub(super) fn check(
    state: &ChannelState,
    catalog: &CatalogSnapshot,
    nets: &BTreeMap<TableId, Net<'_>>,
    since: Timestamp,
) -> Result<()> {
    for (id, net) in nets {
        let Some(meta) = catalog.tables.get(id) else { continue };
        if net.inserts_rows() {
            for reference in catalog.references_of(meta) {
                let after = After { state, nets };
                if !after.has_all(&reference, new_references(&reference, net)?)? {
                    return Err(Error::Conflict);
                }
            }
        }
        if net.truncate || !net.deleted.is_empty() {
            for reference in catalog.references_to(meta) {
                let after = After { state, nets };
                let gone = after.taken_away(&reference, net)?;
                if after.is_referred_to(&reference, &gone, since)? {
                    return Err(Error::Conflict);
                }
            }
        }
    }
    Ok(())
}

/// The keys that inserted rows refer to.
fn new_references(reference: &Reference<'_>, net: &Net<'_>) -> Result<Keys> {
    let positions = reference.positions();
    let within: Vec<usize> = (0..positions.len()).collect();
    let mut keys = Keys::new();
    for batch in net.inserted(&positions)? {
        keys.extend(reference.encode(&batch, &within)?.into_iter().flatten());
    }
    Ok(keys)
}

/// The keys of inserted rows.
fn new_keys(meta: &TableMeta, key: KeyMeta<'_>, net: &Net<'_>) -> Result<Keys> {
    let positions = meta.positions(key.columns);
    let within: Vec<usize> = (0..positions.len()).collect();
    let mut keys = Keys::new();
    for batch in net.inserted(&positions)? {
        keys.extend(encode_unique_keys(&batch, &within, key.nulls_distinct)?.into_iter().flatten());
    }
    Ok(keys)
}

/// The state once the transaction is applied.
struct After<'a> {
    state: &'a ChannelState,
    nets: &'a BTreeMap<TableId, Net<'a>>,
}

impl After<'_> {
    /// The rows of before that a transaction has not truncated.
    fn rows(&self, meta: &Arc<TableMeta>) -> Result<Option<TableSnapshot>> {
        if self.nets.get(&meta.id).is_some_and(|net| net.truncate) {
            return Ok(None);
        }
        let rows = self.state.tables.get(&meta.id);
        rows.map(|rows| rows.at(Arc::clone(meta), Timestamp::MAX)).transpose()
    }

    fn ends(&self, table: TableId, row: RowRef) -> bool {
        self.nets.get(&table).is_some_and(|net| net.ends(row))
    }

    /// Whether all keys are there.
    fn has_all(&self, reference: &Reference<'_>, mut keys: Keys) -> Result<bool> {
        if let Some(net) = self.nets.get(&reference.target.id) {
            for key in new_keys(reference.target, reference.key, net)? {
                keys.remove(&key);
            }
        }
        if keys.is_empty() {
            return Ok(true);
        }
        let Some(rows) = self.rows(reference.target)? else { return Ok(false) };
        let values: Vec<Option<&[u8]>> = keys.iter().map(|key| Some(key.as_ref())).collect();
        let found = rows.find(reference.key, &values)?;
        let target = reference.target.id;
        Ok(found.iter().all(|row| row.is_some_and(|row| !self.ends(target, row))))
    }

    /// The keys that no row has any more.
    fn taken_away(&self, reference: &Reference<'_>, net: &Net<'_>) -> Result<Keys> {
        let Some(rows) = self.state.tables.get(&reference.target.id) else { return Ok(Keys::new()) };
        let rows = rows.at(Arc::clone(reference.target), Timestamp::MAX)?;
        let positions = reference.target.positions(reference.key.columns);
        let columns: Vec<ScanColumn> = positions.into_iter().map(ScanColumn::Column).collect();
        let mut ended: Vec<Vec<u32>> = vec![Vec::new(); rows.segments.len()];
        if net.truncate {
            for (ordinals, view) in ended.iter_mut().zip(&rows.segments) {
                *ordinals = view.visible_since(Timestamp::ZERO);
            }
        } else {
            for (segment, ordinal) in net.deleted.values().filter_map(|row| rows.locate(row)) {
                ended[segment].push(ordinal);
            }
        }
        let within: Vec<usize> = (0..columns.len()).collect();
        let mut gone = Keys::new();
        for (ordinals, view) in ended.iter().zip(&rows.segments) {
            let batch = view.read_rows(&columns, ordinals)?;
            gone.extend(
                encode_unique_keys(&batch, &within, reference.key.nulls_distinct)?.into_iter().flatten(),
            );
        }
        for key in new_keys(reference.target, reference.key, net)? {
            gone.remove(&key);
        }
        Ok(gone)
    }

    /// Whether a row that was there before refers to one of the keys. New rows are looked at from their side.
    fn is_referred_to(&self, reference: &Reference<'_>, gone: &Keys, since: Timestamp) -> Result<bool> {
        if gone.is_empty() {
            return Ok(false);
        }
        let Some(rows) = self.rows(reference.table)? else { return Ok(false) };
        let found = rows.referring(*reference, gone, since, usize::MAX)?;
        Ok(found.iter().any(|(row, _)| !self.ends(reference.table.id, *row)))
    }
}
