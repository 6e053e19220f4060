//! Deleting objects that nothing needs: inputs of merges, replaced deletes objects and manifests, files of dropped
//! tables, and what interrupted flushes, merges and index builds left behind.
//!
//! Two ways lead here. Whoever moves a table's pointer retires what the new manifest does not name. And a scan, at the
//! start, after drops and after failed writers, lists the store and retires what no manifest names. Retired objects
//! are deleted when the grace period is over and no reader has the segment they belong to.
//!
//! Why a scan never finds an object that somebody will name: it lists first, then asks which writers are open, then
//! reads the manifests. A listed object was written by a writer that is still open (left alone), or that has
//! ended: then its manifest was committed before, and names the object, or it never will be. A writer of a
//! replaced epoch cannot commit any more, because every commit is guarded by the channel's epoch.
//!
//! What it is not: a scan for several nodes on one store; it trusts that all writers are this node's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use proto::{Classify as _, DatabaseId, Epoch, SqlError, TableId};
use segments::format::manifest::Manifest;
use segments::format::object_name::ObjectName;
use tokio::sync::{mpsc, oneshot};

use crate::catalog::manifest_key;
use crate::channel::Parts;
use crate::error::{Error, Result};
use crate::flusher::{table_files, tables_with_files};
use crate::meta::Write;
use crate::settings::PlantedBug;
use crate::tasks::{Stop, blocking_async, sleep};

mod garbage;
mod writers;

pub use garbage::GarbageInfo;
pub(crate) use garbage::{Garbage, Retired};
pub(crate) use writers::{Writer, Writers};

/// After a failure the collector rests this long, unless something comes up.
const REST: Duration = Duration::from_secs(30);

/// Somebody who waits for a scan and for what is due to be deleted.
pub(crate) type Request = oneshot::Sender<Result<()>>;

/// The task's state.
#[derive(Debug)]
pub(crate) struct Collector {
    parts: Parts,
    requests: mpsc::Receiver<Request>,
}

impl Collector {
    /// A collector that `run` starts, and the way to it.
    pub(crate) fn new(parts: Parts) -> (Self, mpsc::Sender<Request>) {
        let (sender, requests) = mpsc::channel(16);
        (Self { parts, requests }, sender)
    }

    /// Works until asked to stop.
    pub(crate) async fn run(mut self, stop: Stop) {
        self.parts.garbage.scan();
        let mut rests = false;
        loop {
            let mut waiting = Vec::new();
            let due = if rests { Some(REST) } else { self.next_due() };
            tokio::select! {
                biased;
                () = stop.requested() => return,
                received = self.requests.recv_many(&mut waiting, 16) => if received == 0 { return },
                () = self.parts.garbage.look.notified() => {}
                () = sleep(due) => {}
            }
            let outcome = self.look(!waiting.is_empty()).await;
            rests = outcome.is_err();
            if let Err(error) = &outcome {
                tracing::warn!(%error, "objects could not be collected");
            }
            let failure = outcome.err().map(|error| SqlError::new(error.kind(), error.to_string()));
            for reply in waiting {
                let result = failure.clone().map_or(Ok(()), |error| Err(error.into()));
                // The asker may be gone.
                let _ = reply.send(result);
            }
        }
    }

    /// How long until something that waits may be due; None when nothing waits.
    fn next_due(&self) -> Option<Duration> {
        let due = self.parts.garbage.next_due_millis()?;
        let left = due.saturating_sub(self.parts.clock.now_millis());
        // What a reader holds is looked at again after as long.
        let grace = self.parts.settings.collection_grace_millis;
        Some(Duration::from_millis(if left == 0 { grace.max(1000) } else { left }))
    }

    async fn look(&self, asked: bool) -> Result<()> {
        let scanned = if self.parts.garbage.take_scan() || asked { self.scan().await } else { Ok(()) };
        if scanned.is_err() {
            self.parts.garbage.scan_later();
        }
        self.delete_due().await?;
        scanned
    }

    /// Retires every object that no manifest names.
    async fn scan(&self) -> Result<()> {
        let store = Arc::clone(&self.parts.store);
        let listed: Vec<ObjectMeta> = blocking_async(async move { store.list(None).try_collect().await })
            .await?
            .map_err(|error| Error::from(segments::Error::store("list", "", error)))?;
        // The order of these three makes it safe; see the file header.
        let mut open = self.parts.writers.open();
        if self.parts.settings.has(PlantedBug::CollectionIgnoresWriters) {
            open.clear();
        }
        let catalog = self.parts.catalog.stored();
        let mut tables: BTreeMap<(DatabaseId, TableId), Vec<(ObjectMeta, ObjectName)>> = BTreeMap::new();
        for object in listed {
            // A key that is not ours is nobody's to delete.
            if let Some(name) = ObjectName::parse(&object.location) {
                tables.entry((name.database, name.table)).or_default().push((object, name));
            }
        }
        for ((database, table), objects) in tables {
            let meta = catalog.tables.get(&table).filter(|meta| meta.database == database);
            let named = match meta {
                Some(meta) => self.named(meta).await?,
                None => BTreeSet::new(),
            };
            self.retire_unnamed(table, objects, &named, &open);
        }
        // Of those whose objects are gone.
        self.forget_pointers(|table| !self.parts.garbage.has_waiting(table)).await
    }

    /// The keys of a table that its newest manifest needs.
    async fn named(&self, table: &Arc<proto::catalog::TableMeta>) -> Result<BTreeSet<Path>> {
        let (meta, store) = (self.parts.meta.as_ref(), self.parts.store.as_ref());
        let Some(files) = table_files(meta, store, table.database, table.id).await? else {
            return Ok(BTreeSet::new());
        };
        let manifests = files.ancestors.iter().chain([&files.id]);
        let mut named: BTreeSet<Path> =
            manifests.map(|id| Manifest::key(table.database, table.id, *id)).collect();
        let objects = files.segments.values().flat_map(|segment| &segment.objects);
        named.extend(objects.map(|entry| entry.key.clone()));
        Ok(named)
    }

    fn retire_unnamed(
        &self,
        table: TableId,
        objects: Vec<(ObjectMeta, ObjectName)>,
        named: &BTreeSet<Path>,
        open: &BTreeSet<(Epoch, u64)>,
    ) {
        let grace_millis = self.parts.settings.collection_grace_millis;
        let due_millis = self.parts.clock.now_millis().saturating_add(grace_millis);
        let unnamed = objects.into_iter().filter(|(object, name)| {
            !named.contains(&object.location) && !open.contains(&(name.epoch, name.n))
        });
        self.parts.garbage.retire(unnamed.map(|(object, _)| {
            let retired = Retired { table, bytes: object.size, due_millis, hold: None };
            (object.location, retired)
        }));
    }

    async fn delete_due(&self) -> Result<()> {
        let mut due = self.parts.garbage.due(self.parts.clock.now_millis());
        let catalog = self.parts.catalog.stored();
        let tables = due.iter().map(|(_, table)| *table);
        let dropped: BTreeSet<TableId> = tables.filter(|table| !catalog.tables.contains_key(table)).collect();
        if !dropped.is_empty() {
            // Before their manifests, which nobody must look for any more: neither a start nor a rebuild.
            self.forget_pointers(|table| dropped.contains(&table)).await?;
            self.parts.catalog_objects.write(Vec::new()).await?;
        }
        // Manifests before what they name, and before those they build on: a rebuild goes by the highest manifest there is.
        due.sort_by_key(|(key, _)| {
            let name = ObjectName::parse(key);
            name.map(|name| (name.segment.is_some(), Reverse((name.epoch, name.n))))
        });
        for (key, _) in due {
            let (store, location) = (Arc::clone(&self.parts.store), key.clone());
            let deleted = blocking_async(async move { store.delete(&location).await }).await?;
            match deleted {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => self.parts.garbage.deleted(&key),
                Err(error) => return Err(segments::Error::store("delete", key.as_ref(), error).into()),
            }
        }
        Ok(())
    }

    /// Forgets which manifests are the newest of dropped tables.
    async fn forget_pointers(&self, is_wanted: impl Fn(TableId) -> bool) -> Result<()> {
        let with_files = tables_with_files(self.parts.meta.as_ref()).await?;
        let catalog = self.parts.catalog.stored();
        for table in with_files {
            if !catalog.tables.contains_key(&table) && is_wanted(table) {
                // No guard, so it is never refused.
                let _ = self
                    .parts
                    .meta
                    .commit(Vec::new(), vec![Write::Delete { key: manifest_key(table) }])
                    .await?;
            }
        }
        Ok(())
    }
}
