//! Backups: the objects of a server in another object store, and a record of what they were together at one instant.
//!
//! A backup is a catalog object in the folder `backup` (`segments::format::catalog_object`) that holds everything a
//! server's own has, and besides
//!
//! ```text
//! backup/at                  u64 LE: every commit at or before this instant is in it
//! storage/<table>/manifest   the table's manifest, as in the meta store
//! ```
//! The objects that the manifests name lie beside it under their own keys. Objects are written once, so the next backup to the
//! same place copies only what is new: backups are incremental by themselves. The record comes last; what an interrupted
//! backup has copied belongs to nothing and is used by the next.
//!
//! A restore copies what the backup's manifests name and goes on as a rebuild, to the backup's instant or an earlier
//! one: rows and their ends keep their timestamps for the retention.
//!
//! Invariants: every copied object has the checksum that its manifest says; nothing at the place that is restored to is overwritten.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode};
use proto::{DatabaseId, TableId, Timestamp};
use segments::format::catalog_object::{BACKUP_FOLDER, CatalogObject, Entries, list_catalogs, read_catalog};
use segments::format::manifest::{Manifest, ManifestId, ObjectEntry, TableFiles};
use segments::store::{put_new, read_object};

use crate::catalog::{number, of_entries, read_number};
use crate::catalog_objects::RecoveryMark;
use crate::error::{Error, Result};
use crate::flusher::pointer_of;
use crate::node::Node;
use crate::rebuild::{self, Source, Target, compose};
use crate::tasks::blocking_async;

const AT: &str = "backup/at";
const POINTERS: &str = "storage/";
/// How often a backup begins anew because rows were purged behind its instant.
const ATTEMPTS: usize = 5;

/// What a backup has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its number at its place.
    pub n: u64,
    /// Every commit at or before this instant is in it.
    pub at: Timestamp,
    pub tables: u64,
    pub objects: u64,
    pub bytes: u64,
    /// Of them, those that were not there yet.
    pub copied_objects: u64,
    pub copied_bytes: u64,
}

/// The tables of a backup, and the objects they consist of.
struct Content {
    tables: Vec<TableFiles>,
}

impl Content {
    async fn read(store: &dyn ObjectStore, entries: &Entries) -> Result<Self> {
        let databases = databases(entries)?;
        let mut tables = Vec::new();
        for (table, pointer) in pointers(entries)? {
            if let Some(database) = databases.get(&table) {
                tables.push(TableFiles::read(store, *database, table, pointer).await?);
            }
        }
        Ok(Self { tables })
    }

    fn objects(&self) -> impl Iterator<Item = &ObjectEntry> {
        self.tables.iter().flat_map(|files| files.segments.values()).flat_map(|segment| &segment.objects)
    }

    fn manifests(&self) -> impl Iterator<Item = Path> {
        self.tables.iter().flat_map(|files| {
            let key = |id: &ManifestId| Manifest::key(files.table.database, files.table.id, *id);
            files.ancestors.iter().chain([&files.id]).map(key)
        })
    }

    fn bytes(&self) -> u64 {
        self.objects().map(|entry| entry.length).sum()
    }

    /// Copies what is not there yet, manifests last, and counts.
    async fn copy(
        &self,
        from: &Arc<dyn ObjectStore>,
        to: &Arc<dyn ObjectStore>,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Report> {
        let there = sizes(to.as_ref()).await?;
        let total = self.bytes();
        let mut report = Report { tables: self.tables.len() as u64, ..Report::default() };
        progress(0, total);
        for entry in self.objects() {
            report.objects += 1;
            report.bytes += entry.length;
            if there.get(&entry.key) != Some(&entry.length) {
                copy_object(from, to, &entry.key, Some(entry)).await?;
                report.copied_objects += 1;
                report.copied_bytes += entry.length;
            }
            progress(report.bytes, total);
        }
        for key in self.manifests() {
            // Also when it is there: another server's has other bytes, and is not to be mixed with this one's.
            copy_object(from, to, &key, None).await?;
        }
        Ok(report)
    }
}

async fn copy_object(
    from: &Arc<dyn ObjectStore>,
    to: &Arc<dyn ObjectStore>,
    key: &Path,
    entry: Option<&ObjectEntry>,
) -> Result<()> {
    let bytes = read_object(from.as_ref(), key).await?;
    if let Some(entry) = entry
        && (bytes.buffer().len() as u64 != entry.length
            || crc32c::crc32c(bytes.buffer().as_slice()) != entry.checksum)
    {
        return Err(bytes.corrupted("it is not what its manifest says").into());
    }
    let (to, key, bytes) = (Arc::clone(to), key.clone(), bytes.to_bytes());
    Ok(blocking_async(async move { put_new(to.as_ref(), &key, bytes).await }).await??)
}

async fn sizes(store: &dyn ObjectStore) -> Result<BTreeMap<Path, u64>> {
    let failed = |error| Error::from(segments::Error::store("list", "", error));
    let listed: Vec<_> = store.list(None).try_collect().await.map_err(failed)?;
    Ok(listed.into_iter().map(|object| (object.location, object.size)).collect())
}

/// Which database each table belongs to, of those that exist and those that the history knows.
pub(crate) fn databases(entries: &Entries) -> Result<BTreeMap<TableId, DatabaseId>> {
    let catalog = of_entries(entries)?;
    let known = crate::catalog::mentioned_tables(entries)?;
    let tables = known.iter().chain(catalog.tables.values());
    Ok(tables.map(|table| (table.id, table.database)).collect())
}

/// Which manifest counts of each table.
pub(crate) fn pointers(entries: &Entries) -> Result<BTreeMap<TableId, ManifestId>> {
    let mut pointers = BTreeMap::new();
    for (key, value) in entries.iter().filter(|(key, _)| key.starts_with(POINTERS)) {
        let table = key.split('/').nth(1).and_then(|id| id.parse().ok());
        let table = table.ok_or_else(|| Error::corrupted(key, "not a key of this version"))?;
        pointers.insert(TableId(table), pointer_of(key, value)?);
    }
    Ok(pointers)
}

/// Every commit at or before it is in the backup that has these entries.
pub(crate) fn instant(entries: &Entries) -> Result<Timestamp> {
    entries.get(AT).map_or(Ok(0), |at| read_number(AT, at)).map(Timestamp)
}

/// What is said of a place without backups.
pub(crate) fn none_there() -> Error {
    Error::UndefinedObject { what: "a backup (backup/…) at this place".into() }
}

impl Node {
    /// Puts everything into files and copies it to another store, while everybody goes on. `progress` hears how many
    /// bytes are done, and of how many.
    ///
    /// # Errors
    /// When a store fails, an object is damaged, or the place has a backup of another server.
    pub async fn backup(
        &self,
        to: &Arc<dyn ObjectStore>,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Report> {
        // What is named now is not deleted before it is copied.
        let _hold = self.parts.garbage.hold();
        let from = Arc::clone(&self.parts.store);
        for _ in 0..ATTEMPTS {
            let at = self.parts.oracle.now();
            self.checkpoint().await?;
            let mut entries = self.parts.catalog_objects.newest().await?;
            for entry in self.parts.meta.list(POINTERS).await?.entries {
                entries.insert(entry.key, entry.value);
            }
            entries.insert(AT.to_owned(), number(at.0));
            let content = Content::read(from.as_ref(), &entries).await?;
            if !reaches(&content, &entries)? {
                continue;
            }
            let report = content.copy(&from, to, progress).await?;
            return Ok(Report { n: write_record(to, &entries).await?, at, ..report });
        }
        let reason = "rows are purged faster than they can be copied: a longer retention helps".to_owned();
        Err(Error::Unavailable { what: "the backup".into(), reason })
    }
}

/// Whether no rows are gone that existed at the instant of their database.
fn reaches(content: &Content, entries: &Entries) -> Result<bool> {
    let catalog = of_entries(entries)?;
    let marks = RecoveryMark::all(entries)?;
    Ok(content.tables.iter().all(|files| {
        let database = catalog.databases.get(&files.table.database);
        let mark = database.and_then(|database| marks.get(&database.home_channel));
        mark.is_none_or(|mark| files.purged.0 <= mark.complete)
    }))
}

/// Takes the next number.
async fn write_record(to: &Arc<dyn ObjectStore>, entries: &Entries) -> Result<u64> {
    loop {
        let n = list_catalogs(to.as_ref(), BACKUP_FOLDER).await?.last().map_or(1, |last| last + 1);
        let (store, key) = (Arc::clone(to), CatalogObject::key(BACKUP_FOLDER, n));
        let (location, bytes) = (key.clone(), CatalogObject::whole(n, entries).encode());
        let put = async move { store.put_opts(&location, bytes.into(), PutMode::Create.into()).await };
        match blocking_async(put).await? {
            Ok(_) => return Ok(n),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(segments::Error::store("write", key.as_ref(), error).into()),
        }
    }
}

/// The newest backup, or the first one that holds everything up to an instant.
async fn choose(from: &dyn ObjectStore, until: Option<Timestamp>) -> Result<Entries> {
    let numbers = list_catalogs(from, BACKUP_FOLDER).await?;
    let Some(newest) = numbers.last() else {
        return Err(none_there());
    };
    let Some(until) = until else { return Ok(read_catalog(from, BACKUP_FOLDER, *newest).await?.0) };
    let mut last = Timestamp::ZERO;
    for n in &numbers {
        let (entries, _) = read_catalog(from, BACKUP_FOLDER, *n).await?;
        last = instant(&entries)?;
        if last >= until {
            return Ok(entries);
        }
    }
    let reason = format!("it is later than the newest backup, which reaches {last}");
    Err(Error::Unavailable { what: format!("instant {until}"), reason })
}

/// Brings a backup back. `until`: as of an instant, not of the backup's own.
///
/// # Errors
/// As `rebuild::rebuild`; when there is no such backup, when the store has objects already, or when rows of the instant
/// were purged before the backup.
pub async fn restore(
    from: &Arc<dyn ObjectStore>,
    target: &Target,
    until: Option<Timestamp>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<rebuild::Report> {
    if !sizes(target.store.as_ref()).await?.is_empty() {
        let reason = "it has objects, and nothing is overwritten".to_owned();
        return Err(Error::Unavailable { what: "the object store to restore to".into(), reason });
    }
    let mut entries = choose(from.as_ref(), until).await?;
    let content = Content::read(from.as_ref(), &entries).await?;
    let pointers = pointers(&entries)?;
    content.copy(from, &target.store, progress).await?;
    entries.retain(|key, _: &mut Bytes| key != AT && !key.starts_with(POINTERS));
    let source = Source { entries, pointers: Some(pointers), until: until.unwrap_or(Timestamp::MAX) };
    compose(target, source, &|_, _| {}).await
}
