//! Building vector indexes: one task per channel that gives every stored segment the indexes its table has.
//!
//! It sleeps until a segment was stored or the catalog changed, then works off what is missing: build in a blocking
//! thread, store the object under a key of this epoch that nobody used before, and ask the flusher, the one writer of
//! manifests, to name it. Indexes that the catalog no longer has are taken out of the manifests the same way, and
//! their files go after that. Nothing here blocks a writer; a segment without its index is searched exactly.
//!
//! Rows that have ended are left out when they are many, and a segment of such rows alone gets no index: the few who
//! still read them are answered exactly.
//!
//! A crash before the manifest leaves an object that nothing names, and the next start builds again. A build that
//! failed is not tried again before the next checkpoint, the next start or another CREATE INDEX.

use std::sync::Arc;

use object_store::path::Path;
use proto::catalog::{IndexMeta, TableMeta};
use proto::{ChannelId, Oid, SegmentId, TableId};
use segments::flush::{store_objects, write_index};
use segments::{DeleteSet, ObjectEntry, ObjectKind, SealedSegment, SegmentForm};
use tokio::sync::Notify;

use crate::channel::Parts;
use crate::error::{Error, Result};
use crate::flusher::{self, IndexChange};
use crate::follower::{ChannelState, Stage};
use crate::owner::OwnerHandle;
use crate::tasks::{Stop, blocking_async};

mod builds;

pub(crate) use builds::Builds;
pub use builds::{BuildState, IndexBuild};

/// The task's state.
#[derive(Debug)]
pub(crate) struct Indexer {
    parts: Parts,
    channel: ChannelId,
    flusher: flusher::Handle,
    builds: Arc<Builds>,
    look: Arc<Notify>,
}

/// An index to be built.
struct Job {
    table: TableId,
    meta: IndexMeta,
    segment: Arc<SealedSegment>,
    deletes: DeleteSet,
}

impl Indexer {
    /// An indexer that `run` starts; `look` wakes it.
    pub(crate) fn new(
        parts: Parts,
        channel: ChannelId,
        flusher: flusher::Handle,
        builds: Arc<Builds>,
        look: Arc<Notify>,
    ) -> Self {
        Self { parts, channel, flusher, builds, look }
    }

    /// Works until asked to stop.
    pub(crate) async fn run(self, owner: OwnerHandle, stop: Stop) {
        loop {
            let failed = self.take_out_dropped(&owner).await.err();
            if let Some(error) = failed {
                tracing::warn!(channel = %self.channel, %error, "a dropped index could not be taken out");
            }
            while let Some(job) = self.next(&owner.published.state()) {
                if stop.is_requested() {
                    return;
                }
                self.work(&owner, &stop, job).await;
            }
            tokio::select! {
                biased;
                () = stop.requested() => return,
                () = self.look.notified() => {}
            }
        }
    }

    /// The next index that a stored segment lacks, or has damaged.
    fn next(&self, state: &ChannelState) -> Option<Job> {
        let catalog = self.parts.catalog.snapshot();
        for (id, rows) in &state.tables {
            let Some(table) = catalog.tables.get(id) else { continue };
            for (meta, segment, deletes) in stored_pairs(table, rows) {
                if needs_index(segment, deletes, meta.oid) && !self.builds.has_failed(meta.oid, segment.id())
                {
                    let (meta, segment, deletes) = (meta.clone(), Arc::clone(segment), deletes.clone());
                    return Some(Job { table: *id, meta, segment, deletes });
                }
            }
        }
        None
    }

    async fn work(&self, owner: &OwnerHandle, stop: &Stop, job: Job) {
        let (oid, segment) = (job.meta.oid, job.segment.id());
        self.builds.begin(job.table, oid, segment, job.segment.rows());
        let outcome = self.build(owner, stop, job).await;
        if let Err(error) = &outcome
            && !stop.is_requested()
            && self.wanted(oid)
        {
            tracing::warn!(index = %oid, %segment, %error, "an index could not be built");
        }
        if stop.is_requested() && outcome.is_err() || !self.wanted(oid) {
            self.builds.forget(oid, segment);
        } else {
            self.builds.end(oid, segment, outcome.err());
        }
        (self.parts.settings.release_memory)();
    }

    fn wanted(&self, oid: Oid) -> bool {
        self.parts.catalog.snapshot().tables.values().any(|table| table.index(oid).is_some())
    }

    async fn build(&self, owner: &OwnerHandle, stop: &Stop, job: Job) -> Result<()> {
        let epoch = owner.epoch();
        // Ends when the manifest names the file.
        let writer = Arc::new(self.parts.writers.begin(epoch));
        let n = writer.n;
        let (store, builds, catalog) =
            (Arc::clone(&self.parts.store), Arc::clone(&self.builds), Arc::clone(&self.parts.catalog));
        let (stop, threads) = (stop.clone(), self.parts.settings.index_threads);
        let (table, segment) = (job.table, job.segment.id());
        let (meta, rows, deletes) = (job.meta.clone(), Arc::clone(&job.segment), job.deletes);
        let entry: ObjectEntry = blocking_async(async move {
            let mut report = |phase, done, total| {
                builds.progress(meta.oid, segment, phase, done, total);
                let catalog = catalog.snapshot();
                let wanted = catalog.tables.get(&table).is_some_and(|table| table.index(meta.oid).is_some());
                wanted && !stop.is_requested()
            };
            let object = write_index(&rows, &deletes, &meta, (epoch, n), threads, &mut report)?;
            store_objects(store.as_ref(), std::slice::from_ref(&object)).await?;
            Ok::<_, Error>(object.entry)
        })
        .await??;
        let oid = job.meta.oid;
        let (file, writer) = (Some((job.meta, entry)), Some(writer));
        self.flusher.change_index(IndexChange { table, segment, oid, file, writer }).await
    }

    /// Takes indexes that the catalog no longer has out of their segments, then deletes their files.
    async fn take_out_dropped(&self, owner: &OwnerHandle) -> Result<()> {
        let state = owner.published.state();
        let catalog = self.parts.catalog.snapshot();
        for (id, rows) in &state.tables {
            let Some(table) = catalog.tables.get(id) else { continue };
            for segment in rows.segments.iter().filter(|segment| segment.stage == Stage::Stored) {
                let SegmentForm::Sealed(sealed) = &segment.state.form else { continue };
                // By its files: a segment read after the drop serves the index no more, and still names it.
                let dropped = sealed.files().objects.iter().filter_map(|entry| match entry.kind {
                    ObjectKind::Index(oid) if table.index(Oid(oid)).is_none() => Some((Oid(oid), entry)),
                    _ => None,
                });
                for (oid, entry) in dropped {
                    self.take_out(*id, sealed.id(), oid, entry.key.clone()).await?;
                }
            }
        }
        self.builds.retain(|oid| catalog.tables.values().any(|table| table.index(oid).is_some()));
        Ok(())
    }

    async fn take_out(&self, table: TableId, segment: SegmentId, oid: Oid, key: Path) -> Result<()> {
        self.flusher.change_index(IndexChange { table, segment, oid, file: None, writer: None }).await?;
        let store = Arc::clone(&self.parts.store);
        let deleted =
            blocking_async(async move { object_store::ObjectStoreExt::delete(store.as_ref(), &key).await });
        if let Err(error) = deleted.await? {
            tracing::warn!(%error, "the file of a dropped index stays");
        }
        Ok(())
    }
}

/// Every pair of an index of the table and a stored segment, with its deletes.
fn stored_pairs<'a>(
    table: &'a TableMeta,
    rows: &'a crate::follower::TableState,
) -> impl Iterator<Item = (&'a IndexMeta, &'a Arc<SealedSegment>, &'a DeleteSet)> {
    let stored = rows.segments.iter().filter_map(|segment| match &segment.state.form {
        SegmentForm::Sealed(sealed) => Some((sealed, &segment.state.deletes)),
        SegmentForm::Growing(_) => None,
    });
    stored.flat_map(move |(segment, deletes)| table.indexes.iter().map(move |meta| (meta, segment, deletes)))
}

/// Whether a stored segment has rows that somebody may search for, and no index of an OID that finds them.
pub(crate) fn needs_index(segment: &SealedSegment, deletes: &DeleteSet, oid: Oid) -> bool {
    let is_usable = segment.index(oid).is_some_and(|index| index.usable().is_some());
    !is_usable && !deletes.has_ended_all(segment.rows())
}

/// Whether nothing of a segment of a table waits for an index.
pub(crate) fn is_indexed(state: &ChannelState, table: TableId, segment: SegmentId, oid: Oid) -> bool {
    // A segment that is gone needs none.
    let found = state.tables.get(&table).and_then(|rows| rows.segment(segment));
    found.is_none_or(|found| match &found.state.form {
        SegmentForm::Sealed(sealed) => !needs_index(sealed, &found.state.deletes, oid),
        SegmentForm::Growing(_) => false,
    })
}
