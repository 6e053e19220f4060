//! The log of a simulated node: the one in memory or in files, with fates.
//!
//! It keeps the contract of `cluster::log`: after an append of unknown fate every append fails until the channel is
//! opened again. What it adds to it is what a broker beyond the network may do: an append that nobody waits for any
//! more can arrive later, and is refused once the channel is fenced.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cluster::log::{Durability, LogBounds, LogBroker, LogEntry};
use cluster::tasks::sleep;
use cluster::{Error, Result};
use proto::{ChannelId, Epoch, Offset};

use super::faults::{Fate, Faults, Life};

/// See the file header.
#[derive(Debug)]
pub(super) struct SimulatedLog {
    pub(super) inner: Arc<dyn LogBroker>,
    pub(super) faults: Arc<Faults>,
    pub(super) life: Arc<Life>,
    pub(super) unsettled: Mutex<BTreeSet<ChannelId>>,
}

fn unavailable() -> Error {
    Error::Unavailable { what: "the simulated log".into(), reason: "it does not answer".into() }
}

impl SimulatedLog {
    async fn ask<T>(
        &self,
        what: &str,
        channel: ChannelId,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let fails = self.faults.read(&self.life).await;
        self.faults.trace.add("log", format!("{what} {channel}{}", if fails { ": fails" } else { "" }));
        if fails {
            return Err(unavailable());
        }
        let outcome = answer.await;
        self.faults.end(&self.life).await;
        outcome
    }

    fn unsettled(&self, channel: ChannelId) -> Error {
        self.unsettled.lock().expect("no panic").insert(channel);
        Error::Unknown { reason: "the simulated log did not answer".into() }
    }

    /// Lets an append arrive after its caller has given it up.
    fn arrive_later(&self, channel: ChannelId, epoch: Epoch, records: Vec<Bytes>) {
        let (inner, faults) = (Arc::clone(&self.inner), Arc::clone(&self.faults));
        let millis = u64::from(faults.pick(500));
        tokio::spawn(async move {
            sleep(Some(Duration::from_millis(millis))).await;
            let arrived = inner.append(channel, epoch, records, Durability::Synced).await;
            faults.trace.add("log", format!("late append to {channel}: {arrived:?}"));
        });
    }
}

#[async_trait]
impl LogBroker for SimulatedLog {
    async fn exists(&self, channel: ChannelId) -> Result<bool> {
        self.inner.exists(channel).await
    }

    async fn open(&self, channel: ChannelId, fresh_incarnation: u64) -> Result<LogBounds> {
        let opened = self.ask("open", channel, self.inner.open(channel, fresh_incarnation)).await?;
        self.unsettled.lock().expect("no panic").remove(&channel);
        Ok(opened)
    }

    async fn append(
        &self,
        channel: ChannelId,
        epoch: Epoch,
        records: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Offset> {
        if self.unsettled.lock().expect("no panic").contains(&channel) {
            return Err(unavailable());
        }
        let fate = self.faults.begin(&self.life).await;
        let bytes: usize = records.iter().map(Bytes::len).sum();
        self.faults.trace.add(
            "log",
            format!(
                "append {channel} {epoch} {} records, {bytes} bytes, {durability:?}: {fate:?}",
                records.len()
            ),
        );
        let outcome = match fate {
            Fate::Fine => self.inner.append(channel, epoch, records, durability).await,
            Fate::Refused | Fate::Mistaken => {
                let kinds = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other];
                let source = kinds[self.faults.pick(2) as usize].into();
                Err(Error::NotWritten { action: "could not append".into(), source })
            }
            Fate::Lost => Err(self.unsettled(channel)),
            Fate::Unanswered => {
                // Accepted; whether it became durable is another matter.
                let durability = if self.faults.pick(2) == 0 { durability } else { Durability::Deferred };
                let fenced = self.inner.append(channel, epoch, records, durability).await;
                fenced.and_then(|_| Err(self.unsettled(channel)))
            }
            Fate::Late => {
                self.arrive_later(channel, epoch, records);
                Err(self.unsettled(channel))
            }
        };
        self.faults.trace.add(
            "log",
            format!("  {}", outcome.as_ref().map_or_else(ToString::to_string, ToString::to_string)),
        );
        self.faults.end(&self.life).await;
        outcome
    }

    async fn read(&self, channel: ChannelId, from: Offset, max_bytes: usize) -> Result<Vec<LogEntry>> {
        // A replay in small pieces.
        let bytes = if self.faults.pick(2) == 0 { max_bytes } else { 200 };
        self.ask(&format!("read from {from}"), channel, self.inner.read(channel, from, bytes)).await
    }

    async fn wait(&self, channel: ChannelId, from: Offset) -> Result<()> {
        self.inner.wait(channel, from).await
    }

    async fn fence(&self, channel: ChannelId, epoch: Epoch) -> Result<()> {
        self.ask("fence", channel, self.inner.fence(channel, epoch)).await
    }

    async fn trim(&self, channel: ChannelId, before: Offset) -> Result<()> {
        self.ask(&format!("trim before {before}"), channel, self.inner.trim(channel, before)).await
    }

    async fn bounds(&self, channel: ChannelId) -> Result<LogBounds> {
        self.ask("bounds", channel, self.inner.bounds(channel)).await
    }
}
