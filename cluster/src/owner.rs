//! The one writer of a channel: a task that checks, orders and appends, and shows the result.
//!
//! A turn takes what is waiting, checks each request against the applied state plus what the turn has accepted
//! so far (a working clone of the state), draws its timestamp, encodes and applies it to the clone; then all
//! records go to the log in one append, the clone is published, and everyone gets an answer. So channel order
//! is timestamp order, a group shares one fdatasync, and a failed append is undone by dropping the clone.
//!
//! Verdicts that rest on commits of the same turn (a duplicate of a key that is not durable yet) are given with
//! the turn's outcome. After an append of unknown outcome the owner takes the channel over anew before the
//! next turn. Catalog changes are turns of their own (`owner/ddl.rs`).
//!
//! What it is not: it evaluates nothing; requests carry rows and row identities.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proto::catalog::CatalogChange;
use proto::record::TableChange;
use proto::{ChannelId, DatabaseId, Epoch, SegmentId, SequenceId, TableId, Timestamp, TxnId};
use segments::SegmentForm;
use tokio::sync::{mpsc, oneshot};

use crate::channel::{Parts, take_over};
use crate::error::{Error, Result};
use crate::flusher;
use crate::follower::{ChannelState, Published};
use crate::settings::PlantedBug;
use crate::staging::StagedSegment;
use crate::tasks::Stop;

mod batch;
mod check;
mod ddl;
mod internal;
mod references;
mod sequence;

use batch::{Batch, Catalogs};

/// Segment ids taken from the meta store at once.
const SEGMENT_BLOCK: u64 = 64;

/// What a transaction asks to be decided.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    pub database: DatabaseId,
    pub txn: TxnId,
    /// What the transaction has read; rows it deletes must not have ended since.
    pub read_ts: Timestamp,
    pub changes: Vec<TableChange>,
    /// How many payloads were appended before.
    pub payload_parts: u32,
    pub catalog: Vec<CatalogChange>,
    /// Tables whose rows the catalog changes rest on: none may have begun or ended since the timestamp.
    pub unchanged: Vec<(TableId, Timestamp)>,
    /// Rows begun until this instant are known not to refer to what the transaction takes away by ending rows, or to
    /// end with it. Zero when nobody has looked: the owner then looks at all of them.
    pub references_since: Timestamp,
    /// The segments that `changes` and the payloads name.
    pub staged: Vec<StagedSegment>,
    /// Their values of unique keys are known to be no earlier row's, and to be different. Zero when nobody has looked.
    pub keys_since: Timestamp,
}

impl CommitRequest {
    /// A transaction that does nothing yet and has read until `read_ts`.
    #[must_use]
    pub const fn new(database: DatabaseId, txn: TxnId, read_ts: Timestamp) -> Self {
        Self {
            database,
            txn,
            read_ts,
            changes: Vec::new(),
            payload_parts: 0,
            catalog: Vec::new(),
            unchanged: Vec::new(),
            references_since: Timestamp::ZERO,
            staged: Vec::new(),
            keys_since: Timestamp::ZERO,
        }
    }
}

/// What a decided transaction got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitOutcome {
    pub ts: Timestamp,
    /// The catalog revision that includes its changes.
    pub catalog_revision: u64,
}

/// Where an answer goes; the asker may be gone.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// What an owner is asked.
#[derive(Debug)]
pub(crate) enum OwnerMessage {
    Commit {
        request: Box<CommitRequest>,
        reply: Reply<CommitOutcome>,
    },
    Payload {
        txn: TxnId,
        part: u32,
        changes: Vec<TableChange>,
        encoded: Bytes,
        epoch: Epoch,
        reply: Reply<()>,
    },
    Abort {
        txn: TxnId,
    },
    NextValues {
        sequence: SequenceId,
        count: usize,
        reply: Reply<Vec<i64>>,
    },
    SetSequence {
        sequence: SequenceId,
        next: i64,
        reply: Reply<()>,
    },
    /// Answered when everything that came before is durable and shown.
    Fence {
        reply: Reply<()>,
    },
    /// Ends the growing segments that have rows, of one table or of all.
    Seal {
        only: Option<TableId>,
        reply: Reply<()>,
    },
    /// A stored segment has other indexes now.
    Indexed {
        table: TableId,
        segment: SegmentId,
        form: SegmentForm,
        reply: Reply<()>,
    },
    /// A segment is in files now.
    Stored {
        stored: Stored,
        reply: Reply<()>,
    },
    /// A merged segment takes its inputs' place.
    Replaced {
        replaced: Box<Replaced>,
        reply: Reply<()>,
    },
    /// A change of the channel's files has an unknown outcome: take the channel over anew.
    TakeOver {
        reply: Reply<()>,
    },
    /// Tables were dropped: forget what the catalog no longer has.
    Forget {
        reply: Reply<()>,
    },
}

/// A segment's rows or deletes that were written to files.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) table: TableId,
    pub(crate) segment: SegmentId,
    /// The form to serve from now on; None when only deletes were written.
    pub(crate) form: Option<SegmentForm>,
    /// The deletes that are in the files.
    pub(crate) deletes: segments::DeleteSet,
    /// Where a delete that is not among them may begin.
    pub(crate) later: crate::follower::Unsaved,
}

/// A merged segment that a table's newest manifest names instead of its inputs.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub(crate) replacement: flusher::Replacement,
    /// The deletes of the merged segment that are in the files.
    pub(crate) deletes: segments::DeleteSet,
    /// Where a delete that is not among them may begin.
    pub(crate) later: crate::follower::Unsaved,
    /// Behind every record that may carry rows of the inputs.
    pub(crate) before: proto::Offset,
}

/// The way to an owner and to what it shows.
#[derive(Clone, Debug)]
pub(crate) struct OwnerHandle {
    pub(crate) sender: mpsc::Sender<OwnerMessage>,
    pub(crate) published: Arc<Published>,
    /// The epoch payloads are encoded under.
    pub(crate) epoch: Arc<AtomicU64>,
}

impl OwnerHandle {
    /// Sends a request and waits for its answer.
    pub(crate) async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> OwnerMessage) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(message(reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Unknown { reason: "the server is shutting down".into() })?
    }

    /// The owner's epoch.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct Owner {
    parts: Parts,
    channel: ChannelId,
    epoch: Epoch,
    handle: OwnerHandle,
    inbox: mpsc::Receiver<OwnerMessage>,
    flusher: flusher::Handle,
    /// Fresh segment ids.
    ids: std::ops::Range<u64>,
    /// Next value to give out per sequence; the logged mark lies at or ahead of it.
    sequences: HashMap<SequenceId, sequence::Place>,
    /// The outcome of the last append is unknown: take over before anything else.
    broken: bool,
    /// What commits of the turn have staged: a takeover after it must find the objects, whoever has lost interest.
    doubtful: Vec<StagedSegment>,
}

impl Owner {
    /// Takes the channel over; `run` starts working.
    pub(crate) async fn start(parts: Parts, channel: ChannelId, flusher: flusher::Handle) -> Result<Self> {
        let (sender, inbox) = mpsc::channel(parts.settings.inbox);
        let published = Published::new(channel, ChannelState::new());
        let handle = OwnerHandle { sender, published, epoch: Arc::new(AtomicU64::new(0)) };
        let mut owner = Self {
            parts,
            channel,
            epoch: Epoch(0),
            handle,
            inbox,
            flusher,
            ids: 0..0,
            sequences: HashMap::new(),
            broken: true,
            doubtful: Vec::new(),
        };
        owner.take_over().await?;
        Ok(owner)
    }

    /// The way to this owner.
    pub(crate) fn handle(&self) -> OwnerHandle {
        self.handle.clone()
    }

    /// Works until asked to stop.
    pub(crate) async fn run(mut self, stop: Stop) {
        let mut messages = Vec::new();
        loop {
            let received = tokio::select! {
                biased;
                () = stop.requested() => return self.turn_away(),
                received = self.inbox.recv_many(&mut messages, self.parts.settings.turn) => received,
            };
            if received == 0 {
                return;
            }
            self.turn(std::mem::take(&mut messages)).await;
        }
    }

    /// Answers what was not begun: nothing of it has happened.
    fn turn_away(mut self) {
        self.inbox.close();
        while let Ok(message) = self.inbox.try_recv() {
            self.refuse(message, "the server is shutting down");
        }
    }

    /// A new epoch, the state at the end of the log, and the Commits that are still missing.
    async fn take_over(&mut self) -> Result<()> {
        self.reload_catalog().await?;
        let taken = take_over(&self.parts, self.channel).await?;
        self.epoch = taken.epoch;
        self.handle.epoch.store(taken.epoch.0, Ordering::SeqCst);
        self.sequences.clear();
        self.flusher.took_over(taken.incarnation);
        self.handle.published.publish(taken.state);
        self.broken = false;
        for decision in taken.decided {
            self.append_decided(decision).await?;
        }
        self.handle.published.set_behind(false);
        self.flusher.look();
        Ok(())
    }

    /// What it shows anew, rows do not follow before the Commits that are missing are appended.
    async fn reload_catalog(&self) -> Result<()> {
        let (catalog, published) = (&self.parts.catalog, &self.handle.published);
        let (was_behind, revision) = (published.is_behind(), catalog.snapshot().revision);
        published.set_behind(true);
        let reloaded = catalog.reload().await;
        published.set_behind(was_behind || catalog.snapshot().revision > revision);
        reloaded
    }

    async fn turn(&mut self, messages: Vec<OwnerMessage>) {
        if let Err(error) = self.parts.lease.check() {
            // Whoever holds the lease now must not be disturbed by a takeover.
            let reason = error.to_string();
            messages.into_iter().for_each(|message| self.refuse(message, &reason));
            return;
        }
        let mut waiting = messages.into_iter().peekable();
        while waiting.peek().is_some() {
            if self.broken
                && let Err(error) = self.take_over().await
            {
                tracing::error!(channel = %self.channel, %error, "could not take the channel over");
                self.broken = true;
                let reason = error.to_string();
                waiting.for_each(|message| self.refuse(message, &reason));
                return;
            }
            let mut batch = Batch::new(&self.handle.published.state(), Catalogs::of(&self.parts.catalog));
            let mut alone = None;
            for message in waiting.by_ref() {
                if is_alone(&message) {
                    alone = Some(message);
                    break;
                }
                self.add(&mut batch, message).await;
            }
            self.finish(batch).await;
            if let Some(message) = alone {
                self.work_alone(message).await;
            }
            if !self.broken {
                self.doubtful.clear();
            }
        }
    }

    /// Adds one request to the turn.
    async fn add(&mut self, batch: &mut Batch, message: OwnerMessage) {
        match message {
            OwnerMessage::Commit { request, reply } => {
                let outcome = self.add_commit(batch, *request).await;
                batch.answer(reply, outcome);
            }
            OwnerMessage::Payload { txn, part, changes, encoded, epoch, reply } => {
                let encoded = (epoch == self.epoch).then_some(encoded);
                let outcome = self.add_payload(batch, txn, part, changes, encoded);
                batch.answer(reply, outcome);
            }
            OwnerMessage::Abort { txn } => self.add_abort(batch, txn),
            OwnerMessage::NextValues { sequence, count, reply } => {
                let outcome = self.add_next_values(batch, sequence, count);
                batch.answer(reply, outcome);
            }
            OwnerMessage::SetSequence { sequence, next, reply } => {
                let outcome = self.add_set_sequence(batch, sequence, next);
                batch.answer(reply, outcome);
            }
            OwnerMessage::Fence { reply } => batch.answer(reply, Ok(())),
            OwnerMessage::Seal { only, reply } => {
                let outcome = self.add_seals(batch, only);
                batch.answer(reply, outcome);
            }
            // `is_alone` keeps it out of turns.
            OwnerMessage::Stored { reply, .. }
            | OwnerMessage::Indexed { reply, .. }
            | OwnerMessage::Replaced { reply, .. }
            | OwnerMessage::TakeOver { reply }
            | OwnerMessage::Forget { reply } => drop(reply),
        }
    }

    /// Answers everything that cannot be worked on.
    #[allow(clippy::unused_self, reason = "reads as what the owner does")]
    fn refuse(&self, message: OwnerMessage, reason: &str) {
        fn refuse<T>(reply: Reply<T>, reason: &str) {
            let what = "the channel".to_owned();
            // The asker may be gone.
            let _ = reply.send(Err(Error::Unavailable { what, reason: reason.to_owned() }));
        }
        match message {
            OwnerMessage::Commit { reply, .. } => refuse(reply, reason),
            OwnerMessage::NextValues { reply, .. } => refuse(reply, reason),
            OwnerMessage::Payload { reply, .. }
            | OwnerMessage::SetSequence { reply, .. }
            | OwnerMessage::Fence { reply }
            | OwnerMessage::Seal { reply, .. }
            | OwnerMessage::Stored { reply, .. }
            | OwnerMessage::Indexed { reply, .. }
            | OwnerMessage::Replaced { reply, .. }
            | OwnerMessage::TakeOver { reply }
            | OwnerMessage::Forget { reply } => refuse(reply, reason),
            OwnerMessage::Abort { .. } => {}
        }
    }

    /// A segment id that nobody else uses.
    async fn fresh_segment(&mut self) -> Result<SegmentId> {
        if self.ids.is_empty() {
            let mut first = self.parts.catalog.allocate_segments(SEGMENT_BLOCK).await?;
            if self.parts.settings.has(PlantedBug::SegmentNumbersUsedAgain) {
                first = SegmentId(1 << 40);
            }
            self.ids = first.0..first.0 + SEGMENT_BLOCK;
        }
        let id = self.ids.start;
        self.ids.start += 1;
        Ok(SegmentId(id))
    }
}

/// Whether a message is a turn of its own.
fn is_alone(message: &OwnerMessage) -> bool {
    match message {
        OwnerMessage::Commit { request, .. } => !request.catalog.is_empty(),
        OwnerMessage::Stored { .. }
        | OwnerMessage::Indexed { .. }
        | OwnerMessage::Replaced { .. }
        | OwnerMessage::TakeOver { .. }
        | OwnerMessage::Forget { .. } => true,
        _ => false,
    }
}
