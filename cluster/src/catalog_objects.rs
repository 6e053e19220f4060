//! What the meta store says, kept in the object store too, so that `rebuild` can have it back from there alone.
//!
//! ```text
//! catalog/…  counter/…  history/…  horizon/…  snapshot/…  oracle/…    as in the meta store
//! recovery/<channel>    `RecoveryMark`: up to which instant the channel's rows are in files
//! ```
//! These entries make a catalog object (`segments::format::catalog_object`), all of them or what changed. One is written
//! after a change of the catalog, before a manifest becomes a table's newest when the catalog has changed since the last one,
//! and after every flush. After a change of the catalog a failure is only said: the flush that comes next does not go
//! on without it, so files never get ahead of the catalog that explains them.
//!
//! Why the newest object is never older than one before it, whoever writes: numbers are taken by creating the object; the
//! entries are read from the meta store after the number before was seen to be taken, and read again when somebody
//! else was quicker.
//!
//! What it is not: passwords, leases, epochs, decisions and manifest pointers are not in it. Old objects go when one that
//! holds everything was written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use parking_lot::Mutex;
use prost::Message;
use proto::{ChannelId, Timestamp};
use segments::format::catalog_object::{CATALOG_FOLDER, CatalogObject, Entries, list_catalogs, read_catalog};

use crate::channel::{SequenceMark, TableMark};
use crate::error::{Error, Result};
use crate::follower::ChannelState;
use crate::meta::MetaStore;
use crate::tasks::blocking_async;

/// A chain longer than this is cut by an object that holds everything.
const LONGEST_CHAIN: usize = 16;
/// What of the meta store is kept.
const KEPT: [&str; 6] = ["catalog/", "counter/", "history/", "horizon/", "snapshot/", "oracle/"];
const MARKS: &str = "recovery/";

/// How far the files of a channel reach.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RecoveryMark {
    /// Every row that began or ended at or before this instant is in files.
    #[prost(fixed64, tag = "1")]
    pub(crate) complete: u64,
    /// The channel's last commit when the mark was made.
    #[prost(fixed64, tag = "2")]
    pub(crate) last_ts: u64,
    #[prost(message, repeated, tag = "3")]
    pub(crate) sequences: Vec<SequenceMark>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) tables: Vec<TableMark>,
}

impl RecoveryMark {
    /// The mark of a published state.
    pub(crate) fn of(state: &ChannelState) -> Self {
        Self {
            complete: state.complete().0,
            last_ts: state.last_ts.0,
            sequences: SequenceMark::all(state),
            tables: TableMark::all(state),
        }
    }

    /// Its key among the entries of a catalog object.
    pub(crate) fn key(channel: ChannelId) -> String {
        format!("{MARKS}{:020}", channel.0)
    }

    /// The marks among the entries of a catalog object.
    pub(crate) fn all(entries: &Entries) -> Result<BTreeMap<ChannelId, Self>> {
        let marks = entries.iter().filter(|(key, _)| key.starts_with(MARKS));
        let read = |(key, value): (&String, &bytes::Bytes)| {
            let channel = key[MARKS.len()..].parse().map_err(|error| Error::corrupted(key, error))?;
            let mark = Self::decode(value.clone()).map_err(|error| Error::corrupted(key, error))?;
            Ok((ChannelId(channel), mark))
        };
        marks.map(read).collect()
    }
}

/// What the newest object says.
#[derive(Debug, Default)]
struct Written {
    n: u64,
    /// Parents of the newest object; `None` when the next one must hold everything.
    parents: Option<usize>,
    entries: Entries,
}

/// See the file header.
#[derive(Debug)]
pub(crate) struct CatalogObjects {
    meta: Arc<dyn MetaStore>,
    store: Arc<dyn ObjectStore>,
    written: tokio::sync::Mutex<Written>,
    /// The catalog's revision in the newest object.
    revision: AtomicU64,
    complete: Mutex<BTreeMap<ChannelId, Timestamp>>,
    oldest: AtomicU64,
}

impl CatalogObjects {
    /// Reads what was written last; when it cannot be read the next object holds everything.
    pub(crate) async fn open(meta: Arc<dyn MetaStore>, store: Arc<dyn ObjectStore>) -> Result<Self> {
        let objects = Self {
            meta,
            store,
            written: tokio::sync::Mutex::default(),
            revision: AtomicU64::new(0),
            complete: Mutex::default(),
            oldest: AtomicU64::new(u64::MAX),
        };
        let mut written = objects.written.lock().await;
        objects.look(&mut written).await?;
        // What a rebuild would go by until another object is written.
        if written.parents.is_some() {
            let revision = crate::catalog::of_entries(&written.entries)?.revision;
            objects.adopt(revision, &written.entries)?;
        } else if written.n > 0 {
            objects.oldest.store(0, Ordering::SeqCst);
        }
        drop(written);
        Ok(objects)
    }

    /// Goes by the newest object there is.
    async fn look(&self, written: &mut Written) -> Result<()> {
        let Some(n) = list_catalogs(self.store.as_ref(), CATALOG_FOLDER).await?.pop() else {
            *written = Written::default();
            return Ok(());
        };
        *written = match read_catalog(self.store.as_ref(), CATALOG_FOLDER, n).await {
            Ok((entries, parents)) => Written { n, parents: Some(parents), entries },
            Err(error) => {
                tracing::warn!(%error, "the catalog in the object store is written anew");
                Written { n, ..Written::default() }
            }
        };
        Ok(())
    }

    /// Up to which instant a channel's rows are known to be in files.
    pub(crate) fn complete(&self, channel: ChannelId) -> Timestamp {
        self.complete.lock().get(&channel).copied().unwrap_or_default()
    }

    /// Writes an object unless the newest one has this revision of the catalog.
    pub(crate) async fn cover(&self, revision: u64) -> Result<()> {
        if self.revision.load(Ordering::SeqCst) >= revision { Ok(()) } else { self.write(Vec::new()).await }
    }

    /// The oldest instant that a rebuild may go back to on a channel whose files do not hold everything.
    pub(crate) fn oldest(&self) -> Timestamp {
        Timestamp(self.oldest.load(Ordering::SeqCst))
    }

    /// What the newest object says, after one that says what is true now.
    pub(crate) async fn newest(&self) -> Result<Entries> {
        self.write(Vec::new()).await?;
        Ok(self.written.lock().await.entries.clone())
    }

    /// As `write`; a failure is said and left to the next flush.
    pub(crate) async fn try_write(&self, marks: Vec<(ChannelId, RecoveryMark)>) {
        if let Err(error) = self.write(marks).await {
            tracing::warn!(%error, "the catalog could not be written to the object store");
        }
    }

    /// Writes an object with what the meta store says now, and how far the files of channels reach, unless the newest
    /// one says the same.
    pub(crate) async fn write(&self, marks: Vec<(ChannelId, RecoveryMark)>) -> Result<()> {
        let mut written = self.written.lock().await;
        loop {
            let (entries, revision) = self.entries(&written, &marks).await?;
            if entries == written.entries && written.parents.is_some() {
                self.adopt(revision, &entries)?;
                return Ok(());
            }
            let n = written.n + 1;
            let parents = written.parents.filter(|parents| *parents < LONGEST_CHAIN);
            let object = match parents {
                Some(_) => CatalogObject::difference(n, written.n, &written.entries, &entries),
                None => CatalogObject::whole(n, &entries),
            };
            if !self.create(&object).await? {
                self.look(&mut written).await?;
                continue;
            }
            self.adopt(revision, &entries)?;
            *written = Written { n, parents: Some(parents.map_or(0, |parents| parents + 1)), entries };
            if parents.is_none() {
                self.collect(n).await;
            }
            return Ok(());
        }
    }

    fn adopt(&self, revision: u64, entries: &Entries) -> Result<()> {
        let marks = RecoveryMark::all(entries)?;
        *self.complete.lock() =
            marks.iter().map(|(channel, mark)| (*channel, Timestamp(mark.complete))).collect();
        // Where everything is in files, every later change of the catalog makes another mark.
        let behind = marks.values().filter(|mark| mark.complete < mark.last_ts).map(|mark| mark.complete);
        self.oldest.store(behind.min().unwrap_or(u64::MAX), Ordering::SeqCst);
        self.revision.store(revision, Ordering::SeqCst);
        Ok(())
    }

    /// What the next object must say, and the catalog's revision in it.
    async fn entries(
        &self,
        written: &Written,
        marks: &[(ChannelId, RecoveryMark)],
    ) -> Result<(Entries, u64)> {
        let mut entries = meta_entries(self.meta.as_ref()).await?;
        let catalog = crate::catalog::of_entries(&entries)?;
        let known = RecoveryMark::all(&written.entries)?;
        for channel in catalog.databases.values().map(|database| database.home_channel) {
            let new = marks.iter().find(|(of, _)| *of == channel).map(|(_, mark)| mark);
            // Whoever comes late with an older state does not take back what was said.
            let newest =
                new.into_iter().chain(known.get(&channel)).max_by_key(|mark| (mark.complete, mark.last_ts));
            if let Some(mark) = newest {
                entries.insert(RecoveryMark::key(channel), mark.encode_to_vec().into());
            }
        }
        Ok((entries, catalog.revision))
    }

    /// Whether the object was created; not when its number is taken.
    async fn create(&self, object: &CatalogObject) -> Result<bool> {
        let (store, bytes) = (Arc::clone(&self.store), object.encode());
        let key = CatalogObject::key(CATALOG_FOLDER, object.n);
        let location = key.clone();
        let put = async move { store.put_opts(&location, bytes.into(), PutMode::Create.into()).await };
        match blocking_async(put).await? {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(segments::Error::store("write", key.as_ref(), error).into()),
        }
    }

    /// Deletes what an object that holds everything has made useless. What fails is left to the next one.
    async fn collect(&self, whole: u64) {
        let store = Arc::clone(&self.store);
        let deleted = blocking_async(async move {
            for n in list_catalogs(store.as_ref(), CATALOG_FOLDER).await? {
                let key: Path = CatalogObject::key(CATALOG_FOLDER, n);
                if n < whole
                    && let Err(error) = store.delete(&key).await
                {
                    return Err(segments::Error::store("delete", key.as_ref(), error));
                }
            }
            Ok(())
        })
        .await;
        if let Err(error) = deleted.and_then(|deleted| Ok(deleted?)) {
            tracing::warn!(%error, "old catalog objects could not be deleted");
        }
    }
}

/// What of a meta store a catalog object keeps, all of one revision.
pub(crate) async fn meta_entries(meta: &dyn MetaStore) -> Result<Entries> {
    let listing = meta.list("").await?;
    let kept =
        listing.entries.into_iter().filter(|entry| KEPT.iter().any(|kept| entry.key.starts_with(kept)));
    Ok(kept.map(|entry| (entry.key, entry.value)).collect())
}
