//! Checks everything that a node needs to start: the catalog, the manifests, every byte of every object that they name,
//! and every record of the log.
//!
//! What it is not: a repair; nothing is rewritten and nothing is deleted. Opening the log does to a torn tail what the next
//! start would do: it is cut, because nothing in it was ever acknowledged.
//!
//! Invariant: damage is reported under the name of the object it was found in and does not end the walk; only a store
//! that cannot be asked does.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStore};
use prost::Message as _;
use proto::ChannelId;
use proto::catalog::TableMeta;
use proto::record::decode_record;
use segments::format::catalog_object::{CATALOG_FOLDER, CatalogObject, list_catalogs};
use segments::format::manifest::{Manifest, SegmentFiles, TableFiles};
use segments::format::object_name::ObjectName;
use segments::store::read_object;
use segments::{SealedSegment, verify_object};

use crate::catalog::{checkpoint_key, epoch_key, load};
use crate::channel::{Checkpoint, compare};
use crate::error::{Error, Result};
use crate::flusher::{table_files, tables_with_files};
use crate::log::LogBroker;
use crate::meta::MetaStore;

/// Bytes of the log that are read at once.
const READ_BYTES: usize = 4 << 20;

/// Where a node keeps everything.
#[derive(Clone, Debug)]
pub struct Stores {
    pub meta: Arc<dyn MetaStore>,
    pub log: Arc<dyn LogBroker>,
    pub store: Arc<dyn ObjectStore>,
}

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub object: String,
    pub reason: String,
}

/// What was looked at and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub tables: u64,
    /// Dropped tables whose files are kept for the retention.
    pub dropped_tables: u64,
    pub segments: u64,
    /// Objects that manifests name, and their bytes.
    pub objects: u64,
    pub object_bytes: u64,
    pub log_records: u64,
    /// Objects of ours that no manifest names: a running server deletes them after a while.
    pub unnamed_objects: u64,
    pub unnamed_bytes: u64,
    pub damage: Vec<Damage>,
}

impl Report {
    fn damaged(&mut self, object: impl Into<String>, reason: impl Into<String>) {
        self.damage.push(Damage { object: object.into(), reason: reason.into() });
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
                error @ Error::Segments(
                    segments::Error::FormatVersion { .. } | segments::Error::SegmentFull(_),
                ),
            ) => {
                self.damaged(about, error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Walks everything. `progress` hears how many bytes of objects are done, and of how many.
///
/// # Errors
/// When the meta store, the log or the object store cannot be read at all.
pub async fn verify(stores: &Stores, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Report> {
    let mut report = Report::default();
    let Some(catalog) = report.settle("catalog", load(stores.meta.as_ref()).await)? else {
        return Ok(report);
    };
    report.tables = catalog.tables.len() as u64;
    let objects = list(stores.store.as_ref()).await?;
    let mut tables = Vec::new();
    for id in tables_with_files(stores.meta.as_ref()).await? {
        let table = catalog.tables.get(&id);
        let of_object = || objects.iter().find(|(name, _)| name.table == id).map(|(name, _)| name.database);
        let Some(database) = table.map(|table| table.database).or_else(of_object) else { continue };
        report.dropped_tables += u64::from(table.is_none());
        let files = table_files(stores.meta.as_ref(), stores.store.as_ref(), database, id).await;
        if let Some(Some(files)) = report.settle(&format!("table {id}"), files)? {
            tables.push((Arc::clone(table.unwrap_or(&files.table)), files));
        }
    }
    let total = tables.iter().flat_map(|(_, files)| files.segments.values()).map(bytes_of).sum();
    progress(0, total);
    for (table, files) in &tables {
        for segment in files.segments.values() {
            verify_segment(stores, &mut report, table, segment).await?;
            progress(report.object_bytes, total);
        }
    }
    count_unnamed(&mut report, &objects, &tables);
    verify_catalogs(stores, &mut report).await?;
    let channels: BTreeSet<ChannelId> =
        catalog.databases.values().map(|database| database.home_channel).collect();
    for channel in channels {
        let records = verify_channel(stores, channel).await;
        report.log_records += report.settle("log", records)?.unwrap_or_default();
    }
    Ok(report)
}

fn bytes_of(segment: &SegmentFiles) -> u64 {
    segment.objects.iter().map(|entry| entry.length).sum()
}

/// Every byte of a segment's objects; then that they open, which shows that they fit each other.
async fn verify_segment(
    stores: &Stores,
    report: &mut Report,
    table: &Arc<TableMeta>,
    segment: &SegmentFiles,
) -> Result<()> {
    report.segments += 1;
    let before = report.damage.len();
    for entry in &segment.objects {
        report.objects += 1;
        report.object_bytes += entry.length;
        let checked = verify_object(stores.store.as_ref(), entry).await;
        report.settle(entry.key.as_ref(), checked.map_err(Error::from))?;
    }
    if report.damage.len() > before {
        return Ok(());
    }
    let name = format!("segment {} of table \"{}\"", segment.segment, table.name);
    let opened = SealedSegment::open_state(stores.store.as_ref(), Arc::clone(table), segment.clone()).await;
    let Some(state) = report.settle(&name, opened.map_err(Error::from))? else { return Ok(()) };
    if let segments::SegmentForm::Sealed(sealed) = &state.form {
        for index in sealed.indexes() {
            if let Some(reason) = index.failure() {
                report.damaged(format!("index {} of {name}", index.oid()), reason);
            }
        }
    }
    Ok(())
}

/// Every catalog object, each by itself: one that is no longer needed may have lost its parent.
async fn verify_catalogs(stores: &Stores, report: &mut Report) -> Result<()> {
    for n in list_catalogs(stores.store.as_ref(), CATALOG_FOLDER).await? {
        let key = CatalogObject::key(CATALOG_FOLDER, n);
        let read = read_object(stores.store.as_ref(), &key).await.and_then(CatalogObject::decode);
        report.settle(key.as_ref(), read.map_err(Error::from))?;
    }
    Ok(())
}

/// Every object that has a key of ours.
async fn list(store: &dyn ObjectStore) -> Result<Vec<(ObjectName, ObjectMeta)>> {
    let failed = |error| Error::from(segments::Error::store("list", "", error));
    let listed: Vec<ObjectMeta> = store.list(None).try_collect().await.map_err(failed)?;
    let ours = |object: ObjectMeta| Some((ObjectName::parse(&object.location)?, object));
    Ok(listed.into_iter().filter_map(ours).collect())
}

fn count_unnamed(
    report: &mut Report,
    objects: &[(ObjectName, ObjectMeta)],
    tables: &[(Arc<TableMeta>, TableFiles)],
) {
    let mut named = BTreeSet::new();
    for (table, files) in tables {
        let manifests = files.ancestors.iter().chain([&files.id]);
        named.extend(manifests.map(|id| Manifest::key(table.database, table.id, *id)));
        let objects = files.segments.values().flat_map(|segment| &segment.objects);
        named.extend(objects.map(|entry| entry.key.clone()));
    }
    for (_, object) in objects.iter().filter(|(_, object)| !named.contains(&object.location)) {
        report.unnamed_objects += 1;
        report.unnamed_bytes += object.size;
    }
}

/// Reads a channel whole; the number of its records.
async fn verify_channel(stores: &Stores, channel: ChannelId) -> Result<u64> {
    // Nobody has ever owned it: there is no log, and opening would make one.
    if stores.meta.get(&epoch_key(channel)).await?.is_none() {
        return Ok(0);
    }
    let bounds = stores.log.open(channel, 0).await?;
    if let Some(entry) = stores.meta.get(&checkpoint_key(channel)).await? {
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
