//! Merging stored segments and purging rows that ended behind the horizon: one task per channel.
//!
//! It sleeps until a segment was stored, rows ended, the horizon has passed enough of them, or somebody asks (VACUUM).
//! A merge: (1) read the inputs and their deletes from the published state; (2) write the merged rows, in a blocking
//! thread, to objects of a fresh segment; (3) build every index the table has over them; (4) ask the flusher, the
//! one writer of manifests, to put the merged segment in its inputs' place. Until then readers and writers see the
//! inputs, from then on the merged segment, never both: (4) is one meta transaction and one turn of the owner, which
//! carries over by row id the deletes that came meanwhile.
//!
//! Rows keep their ids, timestamps and keys. A reference to a row of an input, held by an open transaction or
//! written in the log, is resolved by row id from then on. Readers keep the inputs they have. A crash before (4)
//! leaves objects that nothing names, for the `collector`.
//!
//! What it is not: it decides nothing about what exists; what to merge is `plan`, a pure function.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proto::{ChannelId, SegmentId, TableId, Timestamp};
use segments::SegmentForm;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::channel::Parts;
use crate::error::{Error, Result};
use crate::flusher;
use crate::follower::{Segment, Stage, TableState};
use crate::owner::{OwnerHandle, OwnerMessage};
use crate::tasks::{Stop, sleep};

mod merges;
mod plan;
mod work;

use merges::Merges;
pub use merges::{Compaction, CompactionPhase, CompactionState};
pub use plan::CompactionGoal;
use plan::{Candidate, Limits, plan};

/// Automatic merges for the sake of purging are looked for at most this often.
const LEAST_PAUSE_MILLIS: u64 = 1_000;
/// After a failure (a full disk) automatic merges rest this long, or until the next checkpoint.
const REST_MILLIS: u64 = 30_000;

/// What somebody asks for and waits for.
#[derive(Debug)]
struct Wish {
    table: TableId,
    goal: CompactionGoal,
    reply: oneshot::Sender<Result<()>>,
    /// The asker is gone: the merge ends.
    canceled: CancellationToken,
}

/// The way to a compactor.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    wishes: mpsc::Sender<Wish>,
    merges: Arc<Merges>,
    rested: Arc<Notify>,
}

impl Handle {
    /// Merges what a goal says, and returns when it is done. Dropping the future ends it.
    pub(crate) async fn compact(&self, table: TableId, goal: CompactionGoal) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let canceled = CancellationToken::new();
        let _gone = canceled.clone().drop_guard();
        self.wishes.send(Wish { table, goal, reply, canceled }).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// Ends a rest after a failure.
    pub(crate) fn look(&self) {
        self.rested.notify_one();
    }

    /// The merge that runs and the last that ended.
    pub(crate) fn all(&self) -> Vec<Compaction> {
        self.merges.all()
    }
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct Compactor {
    parts: Parts,
    channel: ChannelId,
    flusher: flusher::Handle,
    merges: Arc<Merges>,
    /// A segment was stored or rows ended.
    look: Arc<Notify>,
    rested: Arc<Notify>,
    wishes: mpsc::Receiver<Wish>,
    /// When to look for rows that can be purged by then, milliseconds since 1970.
    due_millis: Option<u64>,
    /// No automatic merge before this, milliseconds since 1970.
    rests_until_millis: u64,
}

impl Compactor {
    /// A compactor that `run` starts; `look` wakes it.
    pub(crate) fn new(
        parts: Parts,
        channel: ChannelId,
        flusher: flusher::Handle,
        look: Arc<Notify>,
    ) -> (Self, Handle) {
        let (sender, wishes) = mpsc::channel(16);
        let merges = Arc::new(Merges::new(Arc::clone(&parts.clock)));
        let rested = Arc::new(Notify::new());
        let handle = Handle { wishes: sender, merges: Arc::clone(&merges), rested: Arc::clone(&rested) };
        let (due_millis, rests_until_millis) = (Some(0), 0);
        let compactor =
            Self { parts, channel, flusher, merges, look, rested, wishes, due_millis, rests_until_millis };
        (compactor, handle)
    }

    /// Works until asked to stop.
    pub(crate) async fn run(mut self, owner: OwnerHandle, stop: Stop) {
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = stop.requested() => return,
                wish = self.wishes.recv() => match wish {
                    Some(wish) => self.fulfil(&owner, &stop, wish).await,
                    None => return,
                },
                () = self.rested.notified() => {
                    self.rests_until_millis = 0;
                    self.due_millis = Some(0);
                }
                () = self.look.notified() => self.expect(&owner),
                () = sleep(due) => {
                    self.due_millis = None;
                    self.work_automatically(&owner, &stop).await;
                }
            }
        }
    }

    /// How long until something may be due; None when nothing is expected.
    fn due(&self) -> Option<Duration> {
        let due = self.due_millis.filter(|_| self.parts.settings.compacts)?;
        let left = due.max(self.rests_until_millis).saturating_sub(self.parts.clock.now_millis());
        Some(Duration::from_millis(left))
    }

    /// Decides when to look again after a segment was stored or rows ended: at once when a table has many small
    /// segments, otherwise when the horizon has reached the first of the rows that ended.
    fn expect(&mut self, owner: &OwnerHandle) {
        let state = owner.published.state();
        let limits = self.limits();
        let is_small = |segment: &&Arc<Segment>| match &segment.state.form {
            SegmentForm::Sealed(sealed) => sealed.stored_bytes() < limits.segment_bytes / 2,
            SegmentForm::Growing(_) => false,
        };
        let small = |rows: &TableState| rows.segments.iter().filter(is_small).count();
        let now = self.parts.clock.now_millis();
        let due = if state.tables.values().any(|rows| small(rows) >= limits.small_segments) {
            now
        } else {
            let catalog = self.parts.catalog.snapshot();
            let tables = state.tables.keys().filter_map(|id| catalog.tables.get(id));
            let shortest = tables.map(|table| self.parts.horizons.retention_millis(table)).min();
            now.saturating_add(shortest.unwrap_or_default().max(LEAST_PAUSE_MILLIS))
        };
        self.due_millis = Some(self.due_millis.map_or(due, |known| known.min(due)));
    }

    fn limits(&self) -> Limits {
        let settings = &self.parts.settings;
        Limits {
            segment_bytes: settings.segment_bytes as u64,
            small_segments: settings.compaction_segments,
            dead_fraction: settings.compaction_dead_fraction,
        }
    }

    async fn fulfil(&self, owner: &OwnerHandle, stop: &Stop, wish: Wish) {
        let Wish { table, goal, reply, canceled } = wish;
        let mut outcome = Ok(());
        let mut done = BTreeSet::new();
        while outcome.is_ok() && !canceled.is_cancelled() {
            // What a merge gave is not merged again for the same wish.
            let Some(merge) = self.next(owner, table, goal, &done) else { break };
            let output = self.work(owner, stop, (table, goal), &merge, &canceled).await;
            outcome = output.map(|output| done.extend(output));
        }
        // The asker may be gone.
        let _ = reply.send(outcome);
    }

    /// The first merge of a table's plan.
    fn next(
        &self,
        owner: &OwnerHandle,
        table: TableId,
        goal: CompactionGoal,
        except: &BTreeSet<SegmentId>,
    ) -> Option<Vec<SegmentId>> {
        let state = owner.published.state();
        let catalog = self.parts.catalog.snapshot();
        let horizon = self.parts.horizons.expected(catalog.tables.get(&table)?, &owner.published);
        let mut candidates = candidates(state.tables.get(&table)?, horizon);
        candidates.retain(|one| !except.contains(&one.segment));
        plan(&candidates, &self.limits(), goal).into_iter().next()
    }

    async fn work_automatically(&mut self, owner: &OwnerHandle, stop: &Stop) {
        let tables: Vec<TableId> = owner.published.state().tables.keys().copied().collect();
        let (goal, canceled) = (CompactionGoal::Automatic, CancellationToken::new());
        for table in tables {
            while let Some(merge) = self.next(owner, table, goal, &BTreeSet::new()) {
                if stop.is_requested() {
                    return;
                }
                let outcome = self.work(owner, stop, (table, goal), &merge, &canceled).await;
                if let Err(error) = outcome {
                    if !stop.is_requested() {
                        tracing::warn!(channel = %self.channel, %table, %error, "segments could not be merged");
                    }
                    let now = self.parts.clock.now_millis();
                    self.rests_until_millis = now + REST_MILLIS;
                    self.due_millis = Some(now + REST_MILLIS);
                    return;
                }
                // Those who wait for an answer come first.
                while let Ok(wish) = self.wishes.try_recv() {
                    self.fulfil(owner, stop, wish).await;
                }
            }
        }
        let forgotten = forget_dropped(&self.parts, self.channel, owner, &self.flusher).await;
        if let Err(error) = &forgotten {
            tracing::warn!(channel = %self.channel, %error, "dropped tables could not be forgotten");
        }
        let next =
            forgotten.ok().flatten().map(|due| due.max(self.parts.clock.now_millis() + LEAST_PAUSE_MILLIS));
        self.due_millis = next.into_iter().chain(self.next_purge_millis(owner)).min();
    }

    /// When the horizon will have reached so many ended rows of a segment that it is written anew.
    fn next_purge_millis(&self, owner: &OwnerHandle) -> Option<u64> {
        let state = owner.published.state();
        let fraction = self.parts.settings.compaction_dead_fraction;
        let catalog = self.parts.catalog.snapshot();
        let tables = state.tables.iter().filter_map(|(id, rows)| Some((catalog.tables.get(id)?, rows)));
        let stored = tables.flat_map(|(table, rows)| {
            let retention = self.parts.horizons.retention_millis(table);
            rows.segments.iter().map(move |segment| (segment, retention))
        });
        let due = stored.filter(|(segment, _)| segment.stage == Stage::Stored).filter_map(
            |(segment, retention)| {
                // One millisecond on: the horizon is the first timestamp of a millisecond.
                let behind = retention.saturating_add(1);
                let (rows, deletes) = (segment.state.form.rows(), &segment.state.deletes);
                let needed = ((rows as f64 * fraction).ceil() as usize).max(1);
                if !deletes.ends().is_empty() {
                    return Some(deletes.max_ts().millis().saturating_add(behind));
                }
                let mut ends: Vec<u64> = deletes.entries().map(|entry| entry.ts.millis()).collect();
                let last = (ends.len() >= needed).then(|| *ends.select_nth_unstable(needed - 1).1)?;
                Some(last.saturating_add(behind))
            },
        );
        let now = self.parts.clock.now_millis();
        due.min().map(|due| due.max(now + LEAST_PAUSE_MILLIS))
    }
}

/// Lets go of the tables of a channel that were dropped behind their horizon. When the next will be due, milliseconds
/// since 1970. A drop that a rebuild from the object store would undo is first made one that it would not.
pub(crate) async fn forget_dropped(
    parts: &Parts,
    channel: ChannelId,
    owner: &OwnerHandle,
    flusher: &flusher::Handle,
) -> Result<Option<u64>> {
    let mut due = None;
    let catalog = parts.catalog.snapshot();
    let databases = catalog.databases.values().filter(|database| database.home_channel == channel);
    for dropped in databases.flat_map(|database| parts.catalog.dropped(database.id)) {
        let retention = parts.horizons.retention_millis(&dropped.table).saturating_add(1);
        let passed = dropped.dropped_at.millis().saturating_add(retention);
        let is_undone = || dropped.dropped_at > parts.catalog_objects.complete(channel);
        if is_undone() && passed <= parts.oracle.wall_millis() {
            flusher.checkpoint().await?;
        }
        if is_undone() || parts.horizons.raise(&dropped.table, None).await? < dropped.dropped_at {
            due = Some(due.map_or(passed, |due: u64| due.min(passed)));
        }
    }
    if parts.catalog.expire(parts.catalog_objects.oldest()).await? {
        owner.ask(|reply| OwnerMessage::Forget { reply }).await?;
        parts.garbage.scan();
    }
    Ok(due)
}

/// A table's stored segments as the plan sees them.
fn candidates(rows: &TableState, horizon: Timestamp) -> Vec<Candidate> {
    let stored = rows.segments.iter().filter_map(|segment| match &segment.state.form {
        SegmentForm::Sealed(sealed) if segment.stage == Stage::Stored => {
            Some((sealed, &segment.state.deletes))
        }
        _ => None,
    });
    let candidate = |(sealed, deletes): (&Arc<segments::SealedSegment>, &segments::DeleteSet)| {
        let has_ended = sealed.files().schema_version < sealed.table().rewritten;
        Candidate {
            segment: sealed.id(),
            first_row: sealed.files().min_row,
            rows: sealed.rows() as u64,
            purgeable: deletes.ended(sealed.rows(), horizon) as u64,
            bytes: sealed.stored_bytes(),
            is_copyable: !has_ended,
        }
    };
    stored.map(candidate).collect()
}
