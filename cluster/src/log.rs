//! The seam to the log: what happened. Channels of records, numbered from 0; a broker may keep some numbers for
//! itself, which no reader sees.
//!
//! Contract (each line is a test in `log/suite.rs`, run by every implementation):
//! 1. `append` gives the first offset of its records, which lie behind one another; offsets only grow, the order
//!    read is the order appended. Between two appends of an owner nothing lies unless it fences.
//! 2. A `Synced` append returns only once it and everything before it is durable. A `Deferred` one returns once
//!    it is accepted and becomes durable with the next synced append at the latest.
//! 3. `read` yields durable records only, and an append's records all or none.
//! 4. After `fence(epoch)`, and after an append of an epoch, appends of smaller epochs fail and leave nothing
//!    readable, over restarts too once an append of that epoch is durable.
//! 5. `read(from)` gives exactly the suffix that starts at `from`, in batches; when no record is left it gives
//!    nothing and `wait` resolves with the next durable record.
//! 6. Reading what was trimmed is an error, never silence. `trim(before)` keeps everything from `before` on
//!    and may keep more; the next offset, the epoch and the incarnation survive it.
//! 7. Everything acknowledged survives reopening. A torn tail is cut; damage before it is an error that names
//!    the file.
//! 8. `Error::NotWritten` means that nothing of the append will ever be read. `Error::Unknown` means that it may
//!    be; after one every append fails until the channel is opened again, which settles it.
//! 9. `exists` tells whether a channel was ever opened; it needs no opening and changes nothing.
//!
//! What it is not: it does not know what records mean. Filtering what an old owner managed to append behind a
//! newer epoch's first record is the follower's (`follower/replay.rs`), for brokers that cannot refuse it.

use async_trait::async_trait;
use bytes::Bytes;
use proto::{ChannelId, Epoch, Offset};

use crate::error::Result;

mod file;
mod frame;
mod kafka;
mod memory;
#[cfg(any(test, feature = "suites"))]
pub mod suite;

pub use file::FileLog;
pub use kafka::KafkaLog;
pub use memory::MemoryLog;

/// When an append returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it is durable; concurrent appends share the wait.
    Synced,
    /// At once; a later synced append covers it.
    Deferred,
}

/// What a channel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Drawn once when the channel was created; another number means another log.
    pub incarnation: u64,
    /// The first offset that can be read.
    pub first: Offset,
    /// The offset behind the last durable record.
    pub end: Offset,
    /// The highest epoch seen or fenced.
    pub epoch: Epoch,
}

/// A record at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub offset: Offset,
    /// The epoch of the append that carried it.
    pub epoch: Epoch,
    pub record: Bytes,
}

/// The log.
#[async_trait]
pub trait LogBroker: Send + Sync + std::fmt::Debug {
    /// Whether there is such a channel.
    async fn exists(&self, channel: ChannelId) -> Result<bool>;
    /// Opens a channel, creating it with `fresh_incarnation` when it does not exist. Opening it again settles
    /// an append of unknown outcome.
    async fn open(&self, channel: ChannelId, fresh_incarnation: u64) -> Result<LogBounds>;
    /// Appends records in one piece under the owner's epoch; the offset of the first.
    async fn append(
        &self,
        channel: ChannelId,
        epoch: Epoch,
        records: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Offset>;
    /// Durable records from `from` on, whole appends until `max_bytes` are exceeded; empty at the end.
    async fn read(&self, channel: ChannelId, from: Offset, max_bytes: usize) -> Result<Vec<LogEntry>>;
    /// Waits until a record at or behind `from` is durable.
    async fn wait(&self, channel: ChannelId, from: Offset) -> Result<()>;
    /// Refuses appends of smaller epochs from now on.
    async fn fence(&self, channel: ChannelId, epoch: Epoch) -> Result<()>;
    /// Gives up what lies before `before`.
    async fn trim(&self, channel: ChannelId, before: Offset) -> Result<()>;
    /// What the channel holds now.
    async fn bounds(&self, channel: ChannelId) -> Result<LogBounds>;
}

#[cfg(test)]
mod tests;
