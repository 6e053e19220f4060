//! The catalog of each database as it was at an instant of its own, for a rebuild that brings its rows back as of then.
//!
//! Later steps of the history are undone, newest first, and go. Two things stay as they are: what has been dropped stays
//! dropped, because its files may be gone, and databases with their extensions exist or not as the newest catalog says. Of a
//! table whose files only the newest definition can read, that one stays, without the constraints that it did not have at
//! the instant: rows of then need not fulfil them.
//!
//! Invariants: afterwards nothing speaks of an object whose creation was undone; every foreign key refers to a table that is
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proto::catalog::{CatalogSnapshot, ForeignKey, TableMeta, decode_table, encode_table};
use proto::{DatabaseId, TableId, Timestamp};
use segments::format::catalog_object::Entries;

use super::history::{Step, decode_step};
use super::{comment_key, object_key, of_entries, put_entry};
use crate::error::{Error, Result};

/// Rolls the catalog among `entries` back. `instant` is a database's; `keep` are tables whose files only the newest
/// definition can read.
pub(crate) fn roll_back(
    entries: &mut Entries,
    instant: impl Fn(DatabaseId) -> Timestamp,
    keep: &BTreeSet<TableId>,
) -> Result<()> {
    let newest = entries.clone();
    let kept: Vec<String> = keep.iter().map(|table| object_key("table", table.0)).collect();
    let mut before: BTreeMap<String, Bytes> = BTreeMap::new();
    let mut steps: Vec<(String, Step)> = Vec::new();
    for (key, value) in &newest {
        if let Some(step) = decode_step(key, value)? {
            steps.push((key.clone(), step));
        }
    }
    for (step_key, step) in steps.iter().rev() {
        let mut undone = false;
        for (key, former) in step.former() {
            let Some(current) = newest.get(key) else { continue };
            let Some(database) = database_of(key, former.unwrap_or(current))? else { continue };
            if step.ts() <= instant(database) {
                continue;
            }
            if kept.iter().any(|kept| kept == key) {
                before.extend(former.map(|former| (key.to_owned(), former.clone())));
                continue;
            }
            undone = true;
            match former {
                Some(former) => drop(entries.insert(key.to_owned(), former.clone())),
                None => drop(entries.remove(key)),
            }
        }
        if undone {
            entries.remove(step_key);
        }
    }
    for (key, former) in before {
        let Some(newest) = newest.get(&key) else { continue };
        let table = without_later_constraints(&*table(&key, newest)?, &*table(&key, &former)?);
        entries.insert(key, encode_table(&table).into());
    }
    forget_references(entries)?;
    forget_comments(entries, &of_entries(&newest)?)
}

fn table(key: &str, value: &Bytes) -> Result<Arc<TableMeta>> {
    decode_table(value).map_err(|error| Error::corrupted(key, error))
}

/// A table without the constraints that it did not have before.
fn without_later_constraints(newest: &TableMeta, before: &TableMeta) -> TableMeta {
    let mut table = newest.clone();
    if table.primary_key != before.primary_key {
        table.primary_key = None;
    }
    table.uniques.retain(|key| before.key(key.index_oid).is_some());
    table.foreign_keys.retain(|foreign| before.foreign_keys.iter().any(|known| known.oid == foreign.oid));
    table.checks.retain(|check| before.checks.iter().any(|known| known.oid == check.oid));
    for column in &mut table.columns {
        column.nullable |= before.columns.iter().any(|known| known.id == column.id && known.nullable);
    }
    table
}

/// Foreign keys go with the tables and keys that they refer to.
fn forget_references(entries: &mut Entries) -> Result<()> {
    let catalog = of_entries(entries)?;
    for table in catalog.tables.values() {
        let is_known = |foreign: &ForeignKey| catalog.reference(table, foreign).is_some();
        if !table.foreign_keys.iter().all(is_known) {
            let mut left = table.as_ref().clone();
            left.foreign_keys.retain(is_known);
            entries.insert(object_key("table", table.id.0), encode_table(&left).into());
        }
    }
    Ok(())
}

/// The database of a table, sequence or schema; `None` for everything else.
fn database_of(key: &str, value: &Bytes) -> Result<Option<DatabaseId>> {
    if !["catalog/table/", "catalog/sequence/", "catalog/namespace/"].iter().any(|kind| key.starts_with(kind))
    {
        return Ok(None);
    }
    let mut one = CatalogSnapshot::default();
    put_entry(&mut one, key, value)?;
    let tables = one.tables.values().map(|table| table.database);
    let sequences = one.sequences.values().map(|sequence| sequence.database);
    Ok(tables.chain(sequences).chain(one.namespaces.values().map(|namespace| namespace.database)).next())
}

/// Comments go with the objects they are about.
fn forget_comments(entries: &mut Entries, before: &CatalogSnapshot) -> Result<()> {
    let after = of_entries(entries)?;
    let tables = before.tables.keys().filter(|id| !after.tables.contains_key(id)).map(|id| id.oid().0);
    let sequences = before.sequences.keys().filter(|id| !after.sequences.contains_key(id));
    let namespaces = before.namespaces.keys().filter(|oid| !after.namespaces.contains_key(oid));
    let gone: BTreeSet<u32> =
        tables.chain(sequences.map(|id| id.oid().0)).chain(namespaces.map(|oid| oid.0)).collect();
    for about in before.comments.keys().filter(|about| gone.contains(&about.object)) {
        entries.remove(&comment_key(*about));
    }
    Ok(())
}
