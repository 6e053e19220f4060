//! From memory to files: frozen segments, deletes, and the checkpoint behind which the log may go.
//!
//! A staged segment, whose files its own transaction has written, begins at (3).
//!
//! One task per channel. It sleeps until the owner tells it that a segment froze or that the log has grown past
//! its limit, or until somebody asks for a checkpoint.
//!
//! Flushing a segment: (1) take the frozen rows and their deletes from the published state; (2) write the objects,
//! each under a key of this epoch that nobody used before; (3) write a manifest that names them; (4) one meta
//! transaction, guarded by the channel's epoch and by the table's manifest pointer, moves the pointer: from here
//! on the segment is stored; (5) the owner serves it from the files. A checkpoint seals and flushes
//! everything, writes the deletes of stored segments that are in no object yet, then (6) stores the first
//! record that a restart still needs and (7) trims the log before it. Between the two the catalog object says how far the files
//! reach (`catalog_objects`); before (4) it has the catalog that the manifest was written under.
//!
//! Why no crash loses anything: before (4) there are only objects that nothing names, and the log still holds the
//! rows, because the checkpoint never passes the first record of a segment that is not stored. After (4) a
//! replay skips the rows of stored segments (a segment is stored whole, so it skips all or none) and applies their
//! deletes again, which changes nothing twice. The checkpoint is computed from a state that was published, so
//! from durable records only, and never passes the first delete that is in no object, nor the first record of an
//! open transaction. (7) follows (6): what is trimmed is not needed by any checkpoint that a restart can find.
//!
//! A merge is made elsewhere (`compactor`) and takes its inputs' place here, in one such transaction; its deletes are
//! those that its inputs have by then. What a new manifest does not name any more is left to the `collector`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::Message;
use proto::catalog::{IndexMeta, TableMeta};
use proto::{ChannelId, Classify as _, Epoch, Offset, Oid, SegmentId, SqlError, TableId, Timestamp};
use segments::{DeleteSet, ObjectEntry, SealedSegment, SegmentForm, SegmentHold};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::catalog::checkpoint_key;
use crate::catalog_objects::RecoveryMark;
use crate::channel::{Checkpoint, Parts, SequenceMark, TableMark, epoch_guard};
use crate::collector::Writer;
use crate::error::{Error, Result};
use crate::follower::{ChannelState, Segment, Stage, TableState, Unsaved};
use crate::indexer::needs_index;
use crate::meta::{Guard, Outcome, Write};
use crate::owner::{OwnerHandle, OwnerMessage, Replaced, Stored};
use crate::settings::PlantedBug;
use crate::tasks::{Stop, sleep};

mod files;

pub(crate) use files::{load_tables, pointer_bytes, pointer_of, table_files, tables_with_files};

/// A flush that failed (a full disk) is not tried again before this many bytes were appended.
const RETRY_BYTES: u64 = 16 << 20;
/// Or before this has passed: there may be space again without anybody writing.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Signals {
    /// Something to do may have come up.
    look: Notify,
    /// Bytes appended since the last checkpoint.
    log_bytes: AtomicU64,
    incarnation: AtomicU64,
    /// After a failure: the next attempt waits until this many bytes were appended.
    retry_at: AtomicU64,
}

/// An index file that a segment gets, or loses.
#[derive(Debug)]
pub(crate) struct IndexChange {
    pub(crate) table: TableId,
    pub(crate) segment: SegmentId,
    pub(crate) oid: Oid,
    /// None when the index goes.
    pub(crate) file: Option<(IndexMeta, ObjectEntry)>,
    /// Who wrote the file.
    pub(crate) writer: Option<Arc<Writer>>,
}

/// A merged segment, and what it takes the place of.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    pub(crate) table: TableId,
    pub(crate) inputs: Vec<SegmentId>,
    /// Whether readers still have the inputs.
    pub(crate) holds: Vec<(SegmentId, SegmentHold)>,
    /// None when no row was left.
    pub(crate) merged: Option<Arc<SealedSegment>>,
    /// The end of every row that was left out lies at or before this instant.
    pub(crate) purged: Timestamp,
    /// Who wrote the objects.
    pub(crate) writer: Arc<Writer>,
}

/// What the flusher is asked for.
#[derive(Debug)]
enum Work {
    /// Everything of the header.
    Checkpoint,
    /// Seals one table and flushes what is frozen.
    Table(TableId),
    /// Puts an index into a segment's manifest entry, or takes it out.
    Index(Box<IndexChange>),
    /// Puts a merged segment in its inputs' place.
    Replace(Box<Replacement>),
}

type Request = (Work, oneshot::Sender<Result<()>>);

/// The way to a flusher.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    signals: Arc<Signals>,
    requests: mpsc::Sender<Request>,
    limit: u64,
    compactor: Arc<Notify>,
}

impl Handle {
    /// The owner has (again) taken the channel over.
    pub(crate) fn took_over(&self, incarnation: u64) {
        self.signals.incarnation.store(incarnation, Ordering::SeqCst);
    }

    /// The owner has appended; `frozen` says that a segment waits.
    pub(crate) fn appended(&self, bytes: u64, frozen: bool) {
        let behind = self.signals.log_bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        let rested = behind >= self.signals.retry_at.load(Ordering::SeqCst);
        if rested && (frozen || behind > self.limit) {
            self.look();
        }
    }

    /// Wakes the flusher.
    pub(crate) fn look(&self) {
        self.signals.look.notify_one();
    }

    /// Seals and flushes everything and advances the checkpoint.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        self.ask(Work::Checkpoint).await
    }

    /// Seals a table's growing segment and returns when all its sealed rows are in files.
    pub(crate) async fn flush_table(&self, table: TableId) -> Result<()> {
        self.ask(Work::Table(table)).await
    }

    /// Makes an index part of a stored segment, or ends that.
    pub(crate) async fn change_index(&self, change: IndexChange) -> Result<()> {
        self.ask(Work::Index(Box::new(change))).await
    }

    /// Puts a merged segment in its inputs' place.
    ///
    /// # Errors
    /// `SchemaChanged` when it lacks an index that the table has by now.
    pub(crate) async fn replace(&self, replacement: Replacement) -> Result<()> {
        self.ask(Work::Replace(Box::new(replacement))).await
    }

    /// Rows have ended.
    pub(crate) fn rows_ended(&self) {
        self.compactor.notify_one();
    }

    async fn ask(&self, work: Work) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.requests.send((work, reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct Flusher {
    parts: Parts,
    channel: ChannelId,
    signals: Arc<Signals>,
    requests: mpsc::Receiver<Request>,
    limit: u64,
    written: files::Written,
    /// Wakes the indexer after a segment was stored.
    indexer: Arc<Notify>,
    /// Wakes the compactor after a segment was stored.
    compactor: Arc<Notify>,
}

impl Flusher {
    /// A flusher that `run` starts, and the way to it.
    pub(crate) fn new(
        parts: Parts,
        channel: ChannelId,
        indexer: Arc<Notify>,
        compactor: Arc<Notify>,
    ) -> (Self, Handle) {
        let signals = Arc::new(Signals::default());
        let (sender, requests) = mpsc::channel(16);
        let limit = parts.settings.log_bytes;
        let (to_signals, to_compactor) = (Arc::clone(&signals), Arc::clone(&compactor));
        let handle = Handle { signals: to_signals, requests: sender, limit, compactor: to_compactor };
        let written = files::Written::default();
        (Self { parts, channel, signals, requests, limit, written, indexer, compactor }, handle)
    }

    /// Works until asked to stop.
    pub(crate) async fn run(mut self, owner: OwnerHandle, stop: Stop) {
        loop {
            let mut waiting = Vec::new();
            let failed = self.signals.retry_at.load(Ordering::SeqCst) > 0;
            tokio::select! {
                biased;
                () = stop.requested() => return,
                received = self.requests.recv_many(&mut waiting, 16) => if received == 0 { return },
                () = self.signals.look.notified() => {}
                () = sleep(failed.then_some(RETRY_PAUSE)) => {}
            }
            let mut checkpoints = Vec::new();
            for (work, reply) in waiting {
                match work {
                    Work::Checkpoint => checkpoints.push(reply),
                    // The asker may be gone.
                    Work::Table(table) => drop(reply.send(self.flush_table(&owner, table).await)),
                    Work::Index(change) => drop(reply.send(self.change_index(&owner, *change).await)),
                    Work::Replace(replacement) => {
                        drop(reply.send(self.replace(&owner, *replacement).await));
                    }
                }
            }
            self.look_around(&owner, checkpoints).await;
        }
    }

    /// Flushes what waits, everything when somebody asked for a checkpoint or the log is long.
    async fn look_around(&self, owner: &OwnerHandle, waiting: Vec<oneshot::Sender<Result<()>>>) {
        let full = !waiting.is_empty() || self.signals.log_bytes.load(Ordering::SeqCst) > self.limit;
        let outcome = if full { self.checkpoint(owner).await } else { self.flush_frozen(owner).await };
        let retry_at = match &outcome {
            Ok(()) => 0,
            Err(_) => self.signals.log_bytes.load(Ordering::SeqCst) + RETRY_BYTES,
        };
        self.signals.retry_at.store(retry_at, Ordering::SeqCst);
        if let Err(error) = &outcome {
            // Tried again after some more appends, or when somebody asks.
            self.parts.garbage.scan();
            tracing::warn!(channel = %self.channel, %error, "a flush failed");
        }
        let failure = outcome.err().map(|error| SqlError::new(error.kind(), error.to_string()));
        for reply in waiting {
            let result = failure.clone().map_or(Ok(()), |error| Err(error.into()));
            // The asker may be gone.
            let _ = reply.send(result);
        }
    }

    async fn flush_table(&self, owner: &OwnerHandle, table: TableId) -> Result<()> {
        owner.ask(|reply| OwnerMessage::Seal { only: Some(table), reply }).await?;
        self.flush_frozen(owner).await
    }

    /// Moves a segment's manifest entry to another set of index files, then serves it with them.
    async fn change_index(&self, owner: &OwnerHandle, change: IndexChange) -> Result<()> {
        let epoch = owner.epoch();
        let state = owner.published.state();
        let catalog = self.parts.catalog.stored();
        let found = state.tables.get(&change.table).and_then(|rows| rows.segment(change.segment));
        let (Some(found), Some(table)) = (found, catalog.tables.get(&change.table)) else {
            // Dropped meanwhile, and its indexes with it.
            return Ok(());
        };
        let SegmentForm::Sealed(sealed) = &found.state.form else {
            return Err(Error::Internal(format!(
                "segment {} is in no file, it has no indexes",
                change.segment
            )));
        };
        let job = self.job(epoch, table, Offset(0));
        let form = SegmentForm::Sealed(job.change_index(sealed, &change).await?);
        let (table, segment) = (change.table, change.segment);
        owner.ask(|reply| OwnerMessage::Indexed { table, segment, form, reply }).await
    }

    /// Steps 1 to 5 of the header for every frozen segment, then the checkpoint.
    async fn flush_frozen(&self, owner: &OwnerHandle) -> Result<()> {
        let mut any = false;
        while let Some((table, segment)) = next_of(&owner.published.state(), Segment::waits) {
            self.store(owner, table, segment).await?;
            any = true;
        }
        if !any {
            return Ok(());
        }
        self.advance(owner).await?;
        (self.parts.settings.release_memory)();
        Ok(())
    }

    /// Everything of the header.
    async fn checkpoint(&self, owner: &OwnerHandle) -> Result<()> {
        owner.ask(|reply| OwnerMessage::Seal { only: None, reply }).await?;
        self.flush_frozen(owner).await?;
        let unsaved = |segment: &Segment| segment.stage == Stage::Stored && segment.unsaved.is_some();
        let mut seen = Vec::new();
        // Each segment once: a busy one could keep this loop going for ever.
        while let Some(next) = next_unseen(&owner.published.state(), unsaved, &seen) {
            self.store(owner, next.0, next.1).await?;
            seen.push(next);
        }
        self.advance(owner).await
    }

    /// Writes what a segment has in no file yet, and makes it the truth.
    async fn store(&self, owner: &OwnerHandle, table: TableId, segment: SegmentId) -> Result<()> {
        // Before the state: a takeover in between makes the guarded commit fail.
        let epoch = owner.epoch();
        let durable = self.parts.log.bounds(self.channel).await?.end;
        let state = owner.published.state();
        let catalog = self.parts.catalog.stored();
        let (Some(rows), Some(meta)) = (state.tables.get(&table), catalog.tables.get(&table)) else {
            // Dropped meanwhile: the owner forgets its segments before the next look.
            self.parts.garbage.scan();
            return owner.ask(|reply| OwnerMessage::Forget { reply }).await;
        };
        let Some(found) = rows.segment(segment) else { return Ok(()) };
        let covered = covered(&state, durable);
        let through = through(rows, &[segment], covered);
        let job = self.job(epoch, meta, through);
        let form = job.store(found).await?;
        let later = Unsaved { first: covered, ts: state.last_ts.next() };
        let stored = Stored { table, segment, form, deletes: found.state.deletes.clone(), later };
        owner.ask(|reply| OwnerMessage::Stored { stored, reply }).await?;
        self.indexer.notify_one();
        self.compactor.notify_one();
        Ok(())
    }

    fn job<'a>(&'a self, epoch: Epoch, table: &'a Arc<TableMeta>, through: Offset) -> files::Job<'a> {
        files::Job {
            parts: &self.parts,
            written: &self.written,
            channel: self.channel,
            epoch,
            table,
            through,
        }
    }

    /// Names a merged segment instead of its inputs, with the deletes that those have by now, and serves it.
    async fn replace(&self, owner: &OwnerHandle, replacement: Replacement) -> Result<()> {
        if replacement.purged > self.parts.catalog_objects.complete(self.channel) {
            // Rows are gone that a rebuild as of the known instant would miss.
            self.checkpoint(owner).await?;
        }
        let epoch = owner.epoch();
        let durable = self.parts.log.bounds(self.channel).await?.end;
        let state = owner.published.state();
        let catalog = self.parts.catalog.stored();
        let found = state.tables.get(&replacement.table).zip(catalog.tables.get(&replacement.table));
        let (rows, meta) = found.ok_or(Error::UndefinedTable(replacement.table))?;
        let is_stored = |id: &SegmentId| rows.segment(*id).is_some_and(|found| found.stage == Stage::Stored);
        if !replacement.inputs.iter().all(is_stored) {
            return Err(Error::Internal("a segment that was merged is not there".into()));
        }
        let covered = covered(&state, durable);
        let deletes = rows.carried_deletes(&replacement.inputs, replacement.merged.as_deref());
        if replacement.merged.as_ref().is_some_and(|merged| lacks_index(merged, &deletes, meta)) {
            return Err(Error::SchemaChanged);
        }
        let job = self.job(epoch, meta, through(rows, &replacement.inputs, covered));
        if let Err(error) = job.replace(&replacement, &deletes, state.next).await {
            if matches!(error, Error::Unknown { .. }) {
                // Inputs or merged segment: what the meta store says is read anew.
                owner.ask(|reply| OwnerMessage::TakeOver { reply }).await?;
            }
            return Err(error);
        }
        let later = Unsaved { first: covered, ts: state.last_ts.next() };
        let replaced = Replaced { replacement, deletes, later, before: state.next };
        owner.ask(|reply| OwnerMessage::Replaced { replaced: Box::new(replaced), reply }).await?;
        self.indexer.notify_one();
        Ok(())
    }

    /// Steps 6 and 7 of the header.
    async fn advance(&self, owner: &OwnerHandle) -> Result<()> {
        let epoch = owner.epoch();
        let appended = self.signals.log_bytes.load(Ordering::SeqCst);
        // A checkpoint of unknown fate must not arrive behind this one, for which the log is trimmed.
        let key = checkpoint_key(self.channel);
        let guard = match self.parts.meta.get(&key).await? {
            Some(entry) => Guard::WrittenAt { key: key.clone(), revision: entry.revision },
            None => Guard::Absent { key: key.clone() },
        };
        let durable = self.parts.log.bounds(self.channel).await?.end;
        let state = owner.published.state();
        let passes = self.parts.settings.has(PlantedBug::CheckpointPassesUnflushedRows);
        let offset = state.needed_from(passes).min(durable);
        let incarnation = self.signals.incarnation.load(Ordering::SeqCst);
        let checkpoint = checkpoint_of(&state, offset, incarnation);
        let writes = vec![Write::put(key, checkpoint.encode_to_vec())];
        match self.parts.meta.commit(vec![epoch_guard(self.channel, epoch), guard], writes).await? {
            Outcome::Committed(_) => {}
            Outcome::Refused { .. } => {
                let what = format!("channel {}", self.channel);
                return Err(Error::Unavailable { what, reason: "it was taken over meanwhile".into() });
            }
        }
        // Before the trimming: from here on the files can be had back to this instant without the log.
        let mut mark = RecoveryMark::of(&state);
        if self.parts.settings.has(PlantedBug::MarkPassesUnflushedRows) {
            mark.complete = mark.last_ts;
        }
        self.parts.catalog_objects.write(vec![(self.channel, mark)]).await?;
        // What came meanwhile counts towards the next one.
        let left = |bytes: u64| Some(bytes.saturating_sub(appended));
        let _ = self.signals.log_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
        self.parts.log.trim(self.channel, offset).await
    }
}

/// Every delete in a record before this offset is applied and durable.
fn covered(state: &ChannelState, durable: Offset) -> Offset {
    let open = state.open.values().map(|open| open.first).min();
    open.map_or(state.next, |open| open.min(state.next)).min(durable)
}

/// Every delete of a table in a record before this offset is in an object once those of `written` are.
fn through(rows: &TableState, written: &[SegmentId], covered: Offset) -> Offset {
    let others = rows.segments.iter().filter(|other| !written.contains(&other.state.form.id()));
    let unsaved = others.filter(|other| other.stage == Stage::Stored).filter_map(|other| other.unsaved);
    unsaved.map(|unsaved| unsaved.first).min().map_or(covered, |unsaved| unsaved.min(covered))
}

/// Whether a segment cannot be searched by an index that its table has.
fn lacks_index(segment: &SealedSegment, deletes: &DeleteSet, table: &TableMeta) -> bool {
    table.indexes.iter().any(|index| needs_index(segment, deletes, index.oid))
}

fn checkpoint_of(state: &ChannelState, offset: Offset, incarnation: u64) -> Checkpoint {
    Checkpoint {
        offset: offset.0,
        epoch: state.epoch_at(offset).0,
        last_ts: state.last_ts.0,
        incarnation,
        sequences: SequenceMark::all(state),
        tables: TableMark::all(state),
    }
}

fn next_of(state: &ChannelState, wanted: impl Fn(&Segment) -> bool) -> Option<(TableId, SegmentId)> {
    next_unseen(state, wanted, &[])
}

fn next_unseen(
    state: &ChannelState,
    wanted: impl Fn(&Segment) -> bool,
    seen: &[(TableId, SegmentId)],
) -> Option<(TableId, SegmentId)> {
    let of_table =
        state.tables.iter().flat_map(|(id, table)| table.segments.iter().map(move |found| (*id, found)));
    let mut wanted =
        of_table.filter(|(_, found)| wanted(found)).map(|(id, found)| (id, found.state.form.id()));
    wanted.find(|candidate| !seen.contains(candidate))
}
