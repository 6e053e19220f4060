//! Checks everything that a node needs to start: the meta store's entries, the manifests, every byte of every object that
//! they name, and every record of the log. Checks a place with backups the same way (`backups`).
//!
//! What it is not: a repair; nothing is rewritten and nothing is deleted. Opening a log of files does to a torn tail what
//! the next start would do: it is cut, because nothing in it was ever acknowledged.
//!
//! Invariant: damage is reported under the name of the object it was found in and does not end the walk; only a store
//! that cannot be asked does.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::ObjectStore;
use prost::Message as _;
use proto::ChannelId;
use proto::record::decode_record;

use crate::catalog::{checkpoint_key, epoch_key, load};
use crate::channel::{Checkpoint, compare};
use crate::error::{Error, Result};
use crate::log::LogBroker;
use crate::meta::MetaStore;

mod backups;
mod entries;
mod objects;

pub use backups::verify_backups;
use objects::Walk;

/// Bytes of the log that are read at once.
const READ_BYTES: usize = 4 << 20;

/// Where a node keeps everything.
#[derive(Clone, Debug)]
pub struct Stores {
    pub meta: Arc<dyn MetaStore>,
    pub log: Arc<dyn LogBroker>,
    pub store: Arc<dyn ObjectStore>,
}

/// Hears how many bytes of objects are done, and of how many.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub object: String,
    pub reason: String,
}

/// What was looked at and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of a place with backups: how many there are.
    pub backups: u64,
    pub tables: u64,
    /// Dropped tables whose files are kept for the retention.
    pub dropped_tables: u64,
    pub segments: u64,
    /// Objects that manifests name, and their bytes.
    pub objects: u64,
    pub object_bytes: u64,
    pub log_records: u64,
    /// Objects of ours that no manifest names: a running server deletes them after a while, the next backup uses them.
    pub unnamed_objects: u64,
    pub unnamed_bytes: u64,
    pub damage: Vec<Damage>,
}

impl Report {
    fn damaged(&mut self, object: impl Into<String>, reason: impl Into<String>) {
        let damage = Damage { object: object.into(), reason: reason.into() };
        // What two things need is read twice.
        if !self.damage.contains(&damage) {
            self.damage.push(damage);
        }
    }

    /// Damage goes into the report, a store that cannot be asked ends the walk.
    fn settle<T>(&mut self, about: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(
                Error::Corrupted { object, reason }
                | Error::Segments(segments::Error::Corrupted { object, reason }),
            ) => {
                self.damaged(object, reason);
                Ok(None)
            }
            Err(Error::Segments(segments::Error::Missing { object })) => {
                self.damaged(object, "it is missing");
                Ok(None)
            }
            Err(
                error @ (Error::FormatVersion { .. }
                | Error::Segments(
                    segments::Error::FormatVersion { .. } | segments::Error::SegmentFull(_),
                )),
            ) => {
                self.damaged(about, error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Walks everything that a node needs.
///
/// # Errors
/// When there is no data, or the meta store, the log or the object store cannot be read at all.
pub async fn verify(stores: &Stores, progress: Progress<'_>) -> Result<Report> {
    let mut walk = Walk::new(stores.store.as_ref(), progress);
    let catalog = load(stores.meta.as_ref()).await;
    let Some(catalog) = walk.report.settle("catalog", catalog)? else { return Ok(walk.report) };
    if catalog.revision == 0 {
        return Err(Error::UndefinedObject { what: "a catalog in the meta store".into() });
    }
    entries::verify_forms(stores.meta.as_ref(), &mut walk.report).await?;
    let tables = walk.tables_of(stores.meta.as_ref(), &catalog).await?;
    walk.tables(&tables).await?;
    walk.catalog_objects().await?;
    let channels: BTreeSet<ChannelId> =
        catalog.databases.values().map(|database| database.home_channel).collect();
    for channel in channels {
        let about = format!("log channel {channel}");
        let records = verify_channel(stores, channel).await;
        walk.report.log_records += walk.report.settle(&about, records)?.unwrap_or_default();
    }
    entries::verify_pointers(stores.meta.as_ref(), &tables, &mut walk.report).await?;
    Ok(walk.report)
}

/// Reads a channel whole; the number of its records.
async fn verify_channel(stores: &Stores, channel: ChannelId) -> Result<u64> {
    // Nobody has ever owned it: there is no log.
    if stores.meta.get(&epoch_key(channel)).await?.is_none() {
        return Ok(0);
    }
    let checkpoint = stores.meta.get(&checkpoint_key(channel)).await?;
    if !stores.log.exists(channel).await? {
        // An owner takes its epoch before it opens the log for the first time.
        return match checkpoint {
            Some(_) => Err(Error::corrupted(format!("log channel {channel}"), "it is missing")),
            None => Ok(0),
        };
    }
    let bounds = stores.log.open(channel, 0).await?;
    if let Some(entry) = checkpoint {
        let checkpoint =
            Checkpoint::decode(entry.value).map_err(|error| Error::corrupted(entry.key, error))?;
        compare(channel, &bounds, &checkpoint)?;
    }
    let (mut next, mut records) = (bounds.first, 0);
    loop {
        let batch = stores.log.read(channel, next, READ_BYTES).await?;
        let Some(last) = batch.last() else { return Ok(records) };
        next = last.offset;
        next.0 += 1;
        records += batch.len() as u64;
        for entry in batch {
            let name = format!("record {} of log channel {channel}", entry.offset);
            decode_record(entry.record).map_err(|error| Error::corrupted(name, error))?;
        }
    }
}
