//! One merge: steps 1 to 4 of the task's header.

use std::sync::Arc;

use proto::catalog::{IndexMeta, TableMeta};
use proto::{ErrorKind, SegmentId, SqlError, TableId, Timestamp};
use segments::flush::{store_objects, write_index};
use segments::merge::merge;
use segments::{DeleteSet, MergeInput, SealedSegment, SegmentForm};
use tokio_util::sync::CancellationToken;

use super::merges::Merges;
use super::{CompactionGoal, CompactionPhase, Compactor};
use crate::collector::Writer;
use crate::error::{Error, Result};
use crate::flusher::Replacement;
use crate::indexer::needs_index;
use crate::owner::OwnerHandle;
use crate::tasks::{Stop, blocking_async};

/// How often a merged segment is indexed again because the table's indexes have changed meanwhile.
const MOST_ROUNDS: usize = 20;

/// What a merge reads, and as what.
struct Job {
    table: Arc<TableMeta>,
    inputs: Vec<MergeInput>,
    horizon: Timestamp,
    /// Ends when the manifest names the objects, or nobody writes any more.
    writer: Arc<Writer>,
    ending: Ending,
}

/// Whether a merge shall end before it is done.
#[derive(Clone)]
struct Ending {
    stop: Stop,
    canceled: CancellationToken,
    merges: Arc<Merges>,
}

impl Ending {
    /// Notes progress; false when the merge shall end.
    fn goes_on(&self, done: usize, total: usize) -> bool {
        self.merges.progress(done, total);
        !self.stop.is_requested() && !self.canceled.is_cancelled()
    }

    fn check(&self) -> Result<()> {
        if self.stop.is_requested() {
            return Err(Error::Stopped);
        }
        if self.canceled.is_cancelled() {
            let message = "canceling statement due to user request";
            return Err(SqlError::new(ErrorKind::QueryCanceled, message).into());
        }
        Ok(())
    }
}

impl Compactor {
    /// Merges segments of a table. The segment that took their place, when any row was left.
    pub(super) async fn work(
        &self,
        owner: &OwnerHandle,
        stop: &Stop,
        (table, goal): (TableId, CompactionGoal),
        inputs: &[SegmentId],
        canceled: &CancellationToken,
    ) -> Result<Option<SegmentId>> {
        let (state, catalog) = (owner.published.state(), self.parts.catalog.snapshot());
        let found = state.tables.get(&table).zip(catalog.tables.get(&table));
        let (rows, meta) = found.ok_or(Error::UndefinedTable(table))?;
        let read = |id: &SegmentId| {
            let state = &rows.segment(*id)?.state;
            let SegmentForm::Sealed(segment) = &state.form else { return None };
            Some(MergeInput { segment: Arc::clone(segment), deletes: state.deletes.clone() })
        };
        let read: Vec<MergeInput> = inputs.iter().filter_map(read).collect();
        let count = read.iter().map(|input| input.segment.rows() as u64).sum();
        let bytes = read.iter().map(|input| input.segment.stored_bytes()).sum();
        let horizon = self.parts.horizons.raise(meta, Some(&owner.published)).await?;
        self.merges.begin((table, goal), inputs.to_vec(), (count, bytes));
        let ending =
            Ending { stop: stop.clone(), canceled: canceled.clone(), merges: Arc::clone(&self.merges) };
        let job = Job {
            table: Arc::clone(meta),
            inputs: read,
            horizon,
            writer: Arc::new(self.parts.writers.begin(owner.epoch())),
            ending,
        };
        drop((state, catalog));
        let outcome = self.merge(owner, job).await;
        self.merges.end(outcome.as_ref().err());
        if outcome.is_err() {
            // What was written is named by nothing.
            self.parts.garbage.scan();
        }
        (self.parts.settings.release_memory)();
        outcome
    }

    async fn merge(&self, owner: &OwnerHandle, job: Job) -> Result<Option<SegmentId>> {
        let purged = job.inputs.iter().filter_map(|input| input.deletes.last_end(job.horizon)).max();
        let mut replacement = Replacement {
            table: job.table.id,
            inputs: job.inputs.iter().map(|input| input.segment.id()).collect(),
            holds: job.inputs.iter().map(|input| (input.segment.id(), input.segment.hold())).collect(),
            merged: self.write_rows(&job).await?,
            purged: purged.unwrap_or_default(),
            writer: Arc::clone(&job.writer),
        };
        for _ in 0..MOST_ROUNDS {
            if let Some(merged) = &mut replacement.merged {
                self.write_indexes(owner, &job, merged).await?;
            }
            job.ending.check()?;
            self.merges.phase(CompactionPhase::Replacing);
            match self.flusher.replace(replacement.clone()).await {
                // The table has another index by now.
                Err(Error::SchemaChanged) => {}
                outcome => return outcome.map(|()| replacement.merged.map(|merged| merged.id())),
            }
        }
        Err(Error::SchemaChanged)
    }

    /// Writes the rows that stay to a fresh segment and opens it; None when there are none.
    async fn write_rows(&self, job: &Job) -> Result<Option<Arc<SealedSegment>>> {
        let id = self.parts.catalog.allocate_segments(1).await?;
        let (inputs, horizon) = (job.inputs.clone(), job.horizon);
        // Asked behind the horizon's move: nobody asks for columns that were dropped before it.
        let table = self.parts.catalog.kept(&job.table, job.table.schema_version)?;
        let (ending, store, writer) =
            (job.ending.clone(), Arc::clone(&self.parts.store), Arc::clone(&job.writer));
        let files = blocking_async(async move {
            let report = |done, total| ending.goes_on(done, total);
            let merged = merge(&inputs, &table, id, horizon, (writer.epoch, writer.n), &report)?;
            let Some((files, objects)) = merged else { return Ok(None) };
            store_objects(store.as_ref(), &objects).await?;
            Ok::<_, Error>(Some(files))
        })
        .await??;
        let Some(files) = files else { return Ok(None) };
        let (rows, bytes) = (files.rows, files.objects.iter().map(|entry| entry.length).sum());
        self.merges.update(|merge| {
            (merge.output, merge.output_rows, merge.output_bytes) = (Some(id), rows, bytes);
        });
        let (store, table) = (self.parts.store.as_ref(), Arc::clone(&job.table));
        Ok(Some(SealedSegment::open(store, table, files).await?))
    }

    /// Builds the indexes that the table has by now and the merged segment lacks.
    async fn write_indexes(
        &self,
        owner: &OwnerHandle,
        job: &Job,
        merged: &mut Arc<SealedSegment>,
    ) -> Result<()> {
        let catalog = self.parts.catalog.snapshot();
        let table = catalog.tables.get(&job.table.id).ok_or(Error::UndefinedTable(job.table.id))?;
        if table.schema_version > merged.table().schema_version {
            *merged = merged.with_table(Arc::clone(table));
        }
        self.merges.phase(CompactionPhase::Indexing);
        for index in &table.indexes {
            // Deletes only come: what the flusher carries over later are these and more.
            let deletes = carried(owner, job, merged);
            if needs_index(merged, &deletes, index.oid) {
                job.ending.check()?;
                *merged = self.write_index(job, (merged, deletes), index).await?;
            }
        }
        // The flusher asks again: the table may have changed, and a file that was written may not have been readable.
        Ok(())
    }

    async fn write_index(
        &self,
        job: &Job,
        (merged, deletes): (&Arc<SealedSegment>, DeleteSet),
        index: &IndexMeta,
    ) -> Result<Arc<SealedSegment>> {
        let writer = Arc::clone(&job.writer);
        let (rows, meta, threads) = (Arc::clone(merged), index.clone(), self.parts.settings.index_threads);
        let (ending, store) = (job.ending.clone(), Arc::clone(&self.parts.store));
        let entry = blocking_async(async move {
            let mut report = |_, done, total| ending.goes_on(done, total);
            let number = (writer.epoch, writer.n);
            let object = write_index(&rows, &deletes, &meta, number, threads, &mut report)?;
            store_objects(store.as_ref(), std::slice::from_ref(&object)).await?;
            Ok::<_, Error>(object.entry)
        })
        .await??;
        Ok(merged.with_index(self.parts.store.as_ref(), index, &entry).await)
    }
}

/// The deletes that a merged segment would have now.
fn carried(owner: &OwnerHandle, job: &Job, merged: &SealedSegment) -> DeleteSet {
    let inputs: Vec<SegmentId> = job.inputs.iter().map(|input| input.segment.id()).collect();
    let state = owner.published.state();
    state
        .tables
        .get(&job.table.id)
        .map(|rows| rows.carried_deletes(&inputs, Some(merged)))
        .unwrap_or_default()
}
