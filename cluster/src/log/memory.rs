//! The log without files: for tests and simulation. It outlives the nodes that share it, and `crash` takes
//! away what no synced append covered.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::{ChannelId, Epoch, Offset};
use tokio::sync::watch;

use super::{Durability, LogBounds, LogBroker, LogEntry};
use crate::error::{Error, Result};

#[derive(Debug)]
struct Channel {
    bounds: LogBounds,
    /// From `bounds.first` on; those at and behind `bounds.end` are not durable.
    entries: Vec<LogEntry>,
    /// Sizes of the appends, to keep them whole: first offset → number of records.
    appends: BTreeMap<u64, u64>,
    durable: watch::Sender<Offset>,
}

impl Channel {
    /// Drops what is not durable.
    fn cut(&mut self) {
        self.entries.truncate((self.bounds.end.0 - self.bounds.first.0) as usize);
        self.appends.split_off(&self.bounds.end.0);
    }
}

/// See the file header.
#[derive(Debug, Default)]
pub struct MemoryLog {
    channels: Mutex<BTreeMap<ChannelId, Channel>>,
}

impl MemoryLog {
    /// A log without channels.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What a power cut does: records that no synced append covered are gone.
    pub fn crash(&self) {
        self.channels.lock().values_mut().for_each(Channel::cut);
    }

    fn with<T>(&self, id: ChannelId, act: impl FnOnce(&mut Channel) -> Result<T>) -> Result<T> {
        let mut channels = self.channels.lock();
        let channel = channels.get_mut(&id).ok_or_else(|| super::file::not_open(id))?;
        act(channel)
    }
}

#[async_trait]
impl LogBroker for MemoryLog {
    async fn exists(&self, channel: ChannelId) -> Result<bool> {
        Ok(self.channels.lock().contains_key(&channel))
    }

    async fn open(&self, channel: ChannelId, fresh_incarnation: u64) -> Result<LogBounds> {
        let mut channels = self.channels.lock();
        let channel = channels.entry(channel).or_insert_with(|| Channel {
            bounds: LogBounds {
                incarnation: fresh_incarnation,
                first: Offset(0),
                end: Offset(0),
                epoch: Epoch(0),
            },
            entries: Vec::new(),
            appends: BTreeMap::new(),
            durable: watch::Sender::new(Offset(0)),
        });
        channel.cut();
        Ok(channel.bounds)
    }

    async fn append(
        &self,
        channel: ChannelId,
        epoch: Epoch,
        records: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Offset> {
        self.with(channel, |state| {
            if epoch < state.bounds.epoch {
                return Err(Error::Fenced { channel, epoch, current: state.bounds.epoch });
            }
            state.bounds.epoch = epoch;
            let first = Offset(state.bounds.first.0 + state.entries.len() as u64);
            if !records.is_empty() {
                state.appends.insert(first.0, records.len() as u64);
            }
            for (offset, record) in (first.0..).zip(records) {
                state.entries.push(LogEntry { offset: Offset(offset), epoch, record });
            }
            if durability == Durability::Synced {
                state.bounds.end = Offset(state.bounds.first.0 + state.entries.len() as u64);
                state.durable.send_replace(state.bounds.end);
            }
            Ok(first)
        })
    }

    async fn read(&self, channel: ChannelId, from: Offset, max_bytes: usize) -> Result<Vec<LogEntry>> {
        self.with(channel, |state| {
            let LogBounds { first, end, .. } = state.bounds;
            if from < first {
                return Err(Error::Trimmed { channel, offset: from, first });
            }
            let mut read = Vec::new();
            let (mut next, mut bytes) = (from.0, 0);
            while next < end.0 && bytes <= max_bytes {
                let (start, records) =
                    state.appends.range(..=next).next_back().map_or((next, 1), |(s, r)| (*s, *r));
                let stop = (start + records).min(end.0);
                for entry in &state.entries[(next - first.0) as usize..(stop - first.0) as usize] {
                    bytes += entry.record.len();
                    read.push(entry.clone());
                }
                next = stop;
            }
            Ok(read)
        })
    }

    async fn wait(&self, channel: ChannelId, from: Offset) -> Result<()> {
        let mut durable = self.with(channel, |state| Ok(state.durable.subscribe()))?;
        durable.wait_for(|end| *end > from).await.map_err(|_| Error::Stopped)?;
        Ok(())
    }

    async fn fence(&self, channel: ChannelId, epoch: Epoch) -> Result<()> {
        self.with(channel, |state| {
            if epoch < state.bounds.epoch {
                return Err(Error::Fenced { channel, epoch, current: state.bounds.epoch });
            }
            state.bounds.epoch = epoch;
            Ok(())
        })
    }

    async fn trim(&self, channel: ChannelId, before: Offset) -> Result<()> {
        self.with(channel, |state| {
            let LogBounds { first, end, .. } = state.bounds;
            // Whole appends go, as whole files do elsewhere.
            let containing =
                state.appends.range(..=before.0).next_back().map_or(first.0, |(start, _)| *start);
            let start = if before >= end { end.0 } else { containing.max(first.0) };
            state.entries.drain(..(start - first.0) as usize);
            state.appends = state.appends.split_off(&start);
            state.bounds.first = Offset(start);
            Ok(())
        })
    }

    async fn bounds(&self, channel: ChannelId) -> Result<LogBounds> {
        self.with(channel, |state| Ok(state.bounds))
    }
}
