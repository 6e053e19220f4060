//! The objects of a segment and the manifest that names them: steps 1 to 4 of a flush, and their inverse.
//!
//! The meta store keeps one pointer per table, `storage/<table>/manifest`: epoch and number of the newest
//! manifest, 8 bytes little-endian each.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use proto::catalog::{CatalogSnapshot, TableMeta};
use proto::{ChannelId, DatabaseId, Epoch, Offset, RowId, SegmentId, TableId};
use segments::flush::{NewObject, store_objects, write_deletes, write_segment};
use segments::format::manifest::{Manifest, ManifestId, ObjectKind, SegmentFiles, TableFiles};
use segments::store::put_new;
use segments::{DeleteSet, SealedSegment, SegmentForm, SegmentHold, SegmentState};

use crate::catalog::manifest_key;
use crate::channel::{Parts, epoch_guard};
use crate::collector::{Retired, Writer};
use crate::error::{Error, Result};
use crate::flusher::{IndexChange, Replacement};
use crate::follower::{ChannelState, Segment, Stage};
use crate::meta::{Guard, MetaStore, Outcome, Write};
use crate::settings::PlantedBug;
use crate::tasks::blocking_async;

/// What a channel's flusher remembers of the manifests it wrote.
#[derive(Debug, Default)]
pub(super) struct Written {
    tables: Mutex<BTreeMap<TableId, TableFiles>>,
    /// Those whose manifest may still become a table's newest, because nobody knows what became of the commit that names
    /// it. They end, and a collection may take their objects, once another manifest has taken its place.
    in_doubt: Mutex<BTreeMap<TableId, Vec<Arc<Writer>>>>,
}

/// A table's manifest to be followed by another: what it names, and the guard that it is still the newest.
struct Before {
    files: TableFiles,
    guard: Guard,
    /// The number of the objects and the manifest that follow.
    writer: Arc<Writer>,
}

/// One segment to be written.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) parts: &'a Parts,
    pub(super) written: &'a Written,
    pub(super) channel: ChannelId,
    pub(super) epoch: Epoch,
    pub(super) table: &'a Arc<TableMeta>,
    /// Every delete of this table in a record before this offset will be in an object.
    pub(super) through: Offset,
}

impl Job<'_> {
    /// Writes what the segment has in no file yet and moves the table's pointer. The form to serve from now on,
    /// when the rows were written.
    pub(super) async fn store(&self, segment: &Segment) -> Result<Option<SegmentForm>> {
        let before = self.before().await?;
        let (files, form) = match &segment.state.form {
            SegmentForm::Growing(_) => {
                let (files, form) = self.write_rows(&segment.state, before.writer.n).await?;
                (files, Some(form))
            }
            SegmentForm::Sealed(sealed) if segment.stage == Stage::Staged => {
                let (mut files, deletes) = (sealed.files().clone(), &segment.state.deletes);
                if !deletes.is_empty() {
                    files = self.write_deletes(sealed, files, deletes, before.writer.n).await?;
                }
                (files, Some(segment.state.form.clone()))
            }
            SegmentForm::Sealed(sealed) => {
                let known = self.known_files(&before.files, sealed.id())?;
                let deletes = &segment.state.deletes;
                (self.write_deletes(sealed, known, deletes, before.writer.n).await?, None)
            }
        };
        let manifest = self.next(&before, self.through, vec![files], Vec::new());
        self.commit(before, &manifest, &[], None).await?;
        if let Some(objects) = &segment.objects {
            objects.named();
        }
        Ok(form)
    }

    /// Names a merged segment instead of its inputs and moves the table's pointer. `replaced_before` is behind every
    /// record that may carry rows of the inputs.
    pub(super) async fn replace(
        &self,
        replacement: &Replacement,
        deletes: &DeleteSet,
        replaced_before: Offset,
    ) -> Result<()> {
        let trimmed = self.parts.log.bounds(self.channel).await?.first;
        let before = self.before().await?;
        let mut segments = Vec::new();
        if let Some(merged) = &replacement.merged {
            let mut files = merged.files().clone();
            if !deletes.is_empty() {
                files = self.write_deletes(merged, files, deletes, before.writer.n).await?;
            }
            segments.push(files);
        }
        let mut manifest = self.next(&before, self.through, segments, replacement.inputs.clone());
        manifest.purged = manifest.purged.max(replacement.purged);
        // A replay begins behind what was trimmed and meets nothing of older ones.
        manifest.replaced.retain(|(_, before)| *before > trimmed);
        manifest.replaced.extend(replacement.inputs.iter().map(|segment| (*segment, replaced_before)));
        self.commit(before, &manifest, &replacement.holds, Some(&replacement.writer)).await
    }

    async fn before(&self) -> Result<Before> {
        let writer = Arc::new(self.parts.writers.begin(self.epoch));
        let (pointer, guard) = read_pointer(self.parts.meta.as_ref(), self.table.id).await?;
        Ok(Before { files: self.files(pointer).await?, guard, writer })
    }

    fn next(
        &self,
        before: &Before,
        through: Offset,
        segments: Vec<SegmentFiles>,
        removed: Vec<SegmentId>,
    ) -> Manifest {
        let id = ManifestId { epoch: self.epoch, n: before.writer.n };
        before.files.next(id, Arc::clone(self.table), through, segments, removed)
    }

    /// Names other index files for a stored segment and moves the table's pointer. The segment as it is served then.
    pub(super) async fn change_index(
        &self,
        sealed: &SealedSegment,
        change: &IndexChange,
    ) -> Result<Arc<SealedSegment>> {
        let before = self.before().await?;
        let mut files = self.known_files(&before.files, sealed.id())?;
        files.objects.retain(|object| object.kind != ObjectKind::Index(change.oid.0));
        files.objects.extend(change.file.as_ref().map(|(_, entry)| entry.clone()));
        // Deletes in objects are what they were.
        let manifest = self.next(&before, before.files.through, vec![files], Vec::new());
        self.commit(before, &manifest, &[], change.writer.as_ref()).await?;
        Ok(match &change.file {
            Some((meta, entry)) => sealed.with_index(self.parts.store.as_ref(), meta, entry).await,
            None => Arc::new(sealed.without_index(change.oid)),
        })
    }

    fn known_files(&self, files: &TableFiles, segment: SegmentId) -> Result<SegmentFiles> {
        files.segments.get(&segment).cloned().ok_or_else(|| {
            Error::corrupted(manifest_key(self.table.id), format!("segment {segment} is not in it"))
        })
    }

    /// The table's files at the pointer.
    async fn files(&self, pointer: Option<ManifestId>) -> Result<TableFiles> {
        let Some(pointer) = pointer else { return Ok(TableFiles::empty(Arc::clone(self.table))) };
        let known =
            self.written.tables.lock().get(&self.table.id).filter(|files| files.id == pointer).cloned();
        match known {
            Some(files) => Ok(files),
            None => {
                let (store, table) = (self.parts.store.as_ref(), self.table);
                Ok(TableFiles::read(store, table.database, table.id, pointer).await?)
            }
        }
    }

    async fn write_rows(&self, state: &SegmentState, n: u64) -> Result<(SegmentFiles, SegmentForm)> {
        let (deletes, store, epoch) = (state.deletes.clone(), Arc::clone(&self.parts.store), self.epoch);
        let SegmentForm::Growing(growing) = &state.form else {
            return Err(Error::Internal("a stored segment was to be written again".into()));
        };
        let kept = self.parts.catalog.kept(growing.table(), growing.version())?;
        let rows = if kept == *growing.table() { growing.clone() } else { growing.with_table(kept)? };
        let files = blocking_async(async move {
            let (files, objects) = write_segment(&rows, &deletes, epoch, n)?;
            store_objects(store.as_ref(), &objects).await?;
            Ok::<_, Error>(files)
        })
        .await??;
        // As it was written: the owner brings it forward when the table has changed meanwhile.
        let table = Arc::clone(state.form.table());
        let sealed = SealedSegment::open(self.parts.store.as_ref(), table, files.clone()).await?;
        Ok((files, SegmentForm::Sealed(sealed)))
    }

    async fn write_deletes(
        &self,
        sealed: &SealedSegment,
        files: SegmentFiles,
        deletes: &DeleteSet,
        n: u64,
    ) -> Result<SegmentFiles> {
        let object = write_deletes(self.table, sealed.id(), sealed.rows(), deletes, self.epoch, n);
        let files = files.with_deletes(object.entry.clone());
        self.put(vec![object]).await?;
        Ok(files)
    }

    async fn put(&self, objects: Vec<NewObject>) -> Result<()> {
        let store = Arc::clone(&self.parts.store);
        let stored = blocking_async(async move { store_objects(store.as_ref(), &objects).await }).await?;
        if self.parts.settings.has(PlantedBug::LastWriteErrorIgnored) {
            return Ok(());
        }
        self.believe(stored)
    }

    /// What a put came to.
    fn believe(&self, stored: segments::Result<()>) -> Result<()> {
        match stored {
            Err(segments::Error::Missing { .. })
                if self.parts.settings.has(PlantedBug::ConflictTakenForExisting) =>
            {
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Stores the manifest, makes it the table's newest, and retires what it does not name any more. `other`: who
    /// else has written objects that it names.
    async fn commit(
        &self,
        before: Before,
        manifest: &Manifest,
        holds: &[(SegmentId, SegmentHold)],
        other: Option<&Arc<Writer>>,
    ) -> Result<()> {
        if let Err(error) = self.move_pointer(manifest, before.guard).await {
            if matches!(error, Error::Unknown { .. }) {
                let mut in_doubt = self.written.in_doubt.lock();
                let writers = in_doubt.entry(self.table.id).or_default();
                writers.extend([Some(&before.writer), other].into_iter().flatten().cloned());
                if self.parts.settings.has(PlantedBug::LostAnswerTakenForFailure) {
                    let key = Manifest::key(self.table.database, self.table.id, manifest.id);
                    let (due_millis, hold) = (self.parts.clock.now_millis(), None);
                    let retired = Retired { table: self.table.id, bytes: 0, due_millis, hold };
                    self.parts.garbage.retire([(key, retired)]);
                }
            }
            return Err(error);
        }
        // It was guarded by the pointer before it: no commit that was in doubt can follow it.
        self.written.in_doubt.lock().remove(&self.table.id);
        let mut after = before.files.clone();
        after.apply(manifest);
        self.retire(&before.files, &after, holds);
        self.written.tables.lock().insert(self.table.id, after);
        Ok(())
    }

    fn retire(&self, before: &TableFiles, after: &TableFiles, holds: &[(SegmentId, SegmentHold)]) {
        let grace_millis = self.parts.settings.collection_grace_millis;
        let due_millis = self.parts.clock.now_millis().saturating_add(grace_millis);
        let hold_of = |segment| holds.iter().find(|(held, _)| *held == segment).map(|(_, hold)| hold.clone());
        let retired = |bytes, hold| Retired { table: self.table.id, bytes, due_millis, hold };
        let unnamed = before.segments.iter().flat_map(|(segment, files)| {
            let now = after.segments.get(segment);
            let is_named =
                move |key: &Path| now.is_some_and(|now| now.objects.iter().any(|entry| entry.key == *key));
            let hold = hold_of(*segment);
            let unnamed = files.objects.iter().filter(move |entry| !is_named(&entry.key));
            unnamed.map(move |entry| (entry.key.clone(), retired(entry.length, hold.clone())))
        });
        self.parts.garbage.retire(unnamed);
        if before.id != ManifestId::default() && after.ancestors.is_empty() {
            let manifests = before.ancestors.iter().chain([&before.id]);
            let key = |id: &ManifestId| Manifest::key(before.table.database, before.table.id, *id);
            self.parts.garbage.retire(manifests.map(|id| (key(id), retired(0, None))));
        }
    }

    async fn move_pointer(&self, manifest: &Manifest, guard: Guard) -> Result<()> {
        self.parts.catalog_objects.cover(self.parts.catalog.snapshot().revision).await?;
        let path = Manifest::key(self.table.database, self.table.id, manifest.id);
        let (store, bytes): (Arc<dyn ObjectStore>, _) = (Arc::clone(&self.parts.store), manifest.encode());
        let stored = blocking_async(async move { put_new(store.as_ref(), &path, bytes).await }).await?;
        self.believe(stored)?;
        let guards = vec![epoch_guard(self.channel, self.epoch), guard];
        let write = Write::put(manifest_key(self.table.id), pointer_bytes(manifest.id));
        match self.parts.meta.commit(guards, vec![write]).await? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Refused { .. } => {
                let what = format!("channel {}", self.channel);
                Err(Error::Unavailable { what, reason: "it was taken over meanwhile".into() })
            }
        }
    }
}

/// The stored form of a pointer.
pub(crate) fn pointer_bytes(id: ManifestId) -> Vec<u8> {
    [id.epoch.0.to_le_bytes(), id.n.to_le_bytes()].concat()
}

/// Reads a pointer back.
pub(crate) fn pointer_of(key: &str, value: &[u8]) -> Result<ManifestId> {
    let (epoch, n) = value.split_at_checked(8).ok_or_else(|| Error::corrupted(key, "not 16 bytes"))?;
    let number = |bytes| crate::catalog::read_number(key, bytes);
    Ok(ManifestId { epoch: Epoch(number(epoch)?), n: number(n)? })
}

/// A table's pointer, and the guard that nobody else has moved it.
async fn read_pointer(meta: &dyn MetaStore, table: TableId) -> Result<(Option<ManifestId>, Guard)> {
    let key = manifest_key(table);
    let Some(entry) = meta.get(&key).await? else {
        return Ok((None, Guard::Absent { key }));
    };
    Ok((Some(pointer_of(&key, &entry.value)?), Guard::Equals { key, value: entry.value }))
}

/// What a table consists of by its newest manifest; `None` before its first.
pub(crate) async fn table_files(
    meta: &dyn MetaStore,
    store: &dyn ObjectStore,
    database: DatabaseId,
    table: TableId,
) -> Result<Option<TableFiles>> {
    match read_pointer(meta, table).await? {
        (Some(pointer), _) => Ok(Some(TableFiles::read(store, database, table, pointer).await?)),
        (None, _) => Ok(None),
    }
}

/// The tables that have a manifest, dropped ones that are kept among them.
pub(crate) async fn tables_with_files(meta: &dyn MetaStore) -> Result<Vec<TableId>> {
    let id = |key: &str| key.split('/').nth(1)?.parse().ok().map(TableId);
    let listing = meta.list("storage/").await?;
    let tables = listing.entries.iter().filter_map(|entry| {
        let table = id(&entry.key)?;
        (entry.key == manifest_key(table)).then_some(table)
    });
    Ok(tables.collect())
}

/// Loads the stored segments of every table of a channel into a state.
pub(crate) async fn load_tables(
    parts: &Parts,
    channel: ChannelId,
    catalog: &CatalogSnapshot,
    state: &mut ChannelState,
) -> Result<()> {
    let tables: Vec<&Arc<TableMeta>> =
        catalog.tables.values().filter(|table| table.channel == channel).collect();
    let loaded = futures::future::try_join_all(tables.iter().map(|table| load_table(parts, table))).await?;
    for (table, loaded) in tables.into_iter().zip(loaded) {
        let rows = state.table_mut(table.id);
        let Some((files, segments)) = loaded else { continue };
        (rows.purged, rows.replaced) = (files.purged, files.replaced);
        for (segment, files) in segments.into_iter().zip(files.segments.values()) {
            rows.next_row = rows.next_row.max(RowId(files.max_row.0 + 1));
            rows.add(segment);
        }
    }
    Ok(())
}

async fn load_table(parts: &Parts, table: &Arc<TableMeta>) -> Result<Option<(TableFiles, Vec<Segment>)>> {
    let (meta, store) = (parts.meta.as_ref(), parts.store.as_ref());
    let Some(files) = table_files(meta, store, table.database, table.id).await? else { return Ok(None) };
    let mut segments = Vec::with_capacity(files.segments.len());
    for files in files.segments.values() {
        let mut state = SealedSegment::open_state_to_serve(store, Arc::clone(table), files.clone()).await?;
        if parts.settings.has(PlantedBug::SegmentServedWithoutDeletes) {
            state.deletes = DeleteSet::new();
        }
        segments.push(Segment::stored(state, None));
    }
    Ok(Some((files, segments)))
}
