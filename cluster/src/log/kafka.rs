//! The log in Kafka: a channel is a topic with one partition, a record is a message, and offsets are Kafka's.
//!
//! The channel's owner is the only one that appends, so it knows the offset of its next message. A message that
//! lands elsewhere shows that somebody else has appended: the append is of unknown outcome and the channel must
//! be taken over anew. That fences old owners although the broker refuses nobody: a new owner's fence is a
//! message, so it moves the end away from where the old owner expects it. The messages of an append name their
//! place in it; a reader drops an append that is not there whole and in one piece (`kafka/frame.rs`).
//!
//! What it is not: it uses no Kafka transactions and no consumer groups. Some offsets hold messages of its own
//! (the beginning, fences), which no reader sees.
//!
//! Invariants: every message is acknowledged by all in-sync replicas and in the order it was sent (idempotent
//! producer); a topic that deletes by time or size, or lost its beginning, is refused; the newest message is
//! never trimmed, because it carries the incarnation and the epoch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::{ChannelId, Epoch, Offset};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;

use super::{Durability, LogBounds, LogBroker, LogEntry};
use crate::error::{Error, Result};
use crate::tasks::{blocking, sleep};

mod frame;
mod read;
mod topic;
mod write;

use frame::{Frame, Kind};
use read::Reader;
use topic::Topics;
use write::Writer;

/// How long a question to the brokers may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often, and after which pause, a broker is asked again about a topic that it may not know yet.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// The largest record.
const MAX_RECORD: usize = 64 << 20;

/// See the file header.
pub struct KafkaLog {
    brokers: String,
    prefix: String,
    topics: Topics,
    /// Asks for the ends of topics; it never fetches.
    probe: Arc<BaseConsumer>,
    channels: Mutex<BTreeMap<ChannelId, Arc<Channel>>>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "KafkaLog({}/{})", self.brokers, self.prefix)
    }
}

/// An open channel.
struct Channel {
    topic: String,
    incarnation: u64,
    writer: tokio::sync::Mutex<Writer>,
    reader: tokio::sync::Mutex<Option<Reader>>,
    /// The offset behind what this process knows to be durable.
    durable: watch::Sender<Offset>,
    epoch: Mutex<Epoch>,
}

impl KafkaLog {
    /// A client of the Kafka at `brokers` (`host:port`, with commas) whose topics are called `<prefix>.<channel>`.
    ///
    /// # Errors
    /// When the prefix is no name of a topic, or no client can be made.
    pub fn connect(brokers: &str, prefix: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if prefix.is_empty() || prefix.len() > 200 || !prefix.chars().all(allowed) {
            return Err(Error::Unavailable {
                what: format!("Kafka at {brokers}"),
                reason: format!("\"{prefix}\" cannot begin the name of a topic: letters, digits, . _ - only"),
            });
        }
        let probe: BaseConsumer = consumer(brokers).create().map_err(|error| failed(brokers, &error))?;
        let topics = Topics::new(brokers)?;
        Ok(Self {
            brokers: brokers.to_owned(),
            prefix: prefix.to_owned(),
            topics,
            probe: Arc::new(probe),
            channels: Mutex::default(),
        })
    }

    /// Whether a broker answers.
    ///
    /// # Errors
    /// When none does; the error says who was asked.
    pub async fn ping(&self) -> Result<()> {
        let (probe, brokers) = (Arc::clone(&self.probe), self.brokers.clone());
        blocking(move || probe.client().fetch_metadata(None, PATIENCE).map(drop))
            .await?
            .map_err(|error| failed(&brokers, &error))
    }

    fn topic(&self, channel: ChannelId) -> String {
        format!("{}.{}", self.prefix, channel.0)
    }

    fn channel(&self, id: ChannelId) -> Result<Arc<Channel>> {
        self.channels.lock().get(&id).cloned().ok_or_else(|| super::file::not_open(id))
    }

    /// The first offset that can be read and the one behind the last.
    async fn ends(&self, topic: &str) -> Result<(Offset, Offset)> {
        let (probe, name, brokers) = (Arc::clone(&self.probe), topic.to_owned(), self.brokers.clone());
        let mut tries = 0;
        loop {
            let (probe, name) = (Arc::clone(&probe), name.clone());
            let asked = move || {
                // Takes away what the client has to say about its connections.
                drop(probe.poll(Duration::ZERO));
                probe.fetch_watermarks(&name, 0, PATIENCE)
            };
            match blocking(asked).await? {
                Ok((first, end)) => return Ok((Offset(first as u64), Offset(end as u64))),
                // A topic just created has no leader for a moment.
                Err(error) if is_passing(&error) && tries < TRIES => tries += 1,
                Err(error) => return Err(failed(&brokers, &error)),
            }
            sleep(Some(PAUSE)).await;
        }
    }

    /// The frame of the message at an offset.
    async fn frame_at(&self, topic: &str, offset: Offset) -> Result<Frame> {
        let mut reader = Reader::open(&self.brokers, topic, offset)?;
        let message = reader.next().await;
        reader.close().await?;
        Ok(message?.frame)
    }

    /// Writes the message that a new topic begins with; of several who try, the first decides.
    async fn begin(&self, topic: &str, incarnation: u64) -> Result<()> {
        let mut writer = Writer::new(&self.brokers, topic, incarnation, Offset(0))?;
        let begun = writer.control(Kind::Begin, Epoch(0)).await;
        writer.close().await?;
        begun.map(drop)
    }

    async fn open_topic(&self, topic: &str, fresh_incarnation: u64) -> Result<LogBounds> {
        self.topics.ensure(topic).await?;
        let (mut first, mut end) = self.ends(topic).await?;
        if end == Offset(0) {
            self.begin(topic, fresh_incarnation).await?;
            (first, end) = self.ends(topic).await?;
        }
        if first >= end {
            let reason = "all its messages are gone: somebody else has trimmed it";
            return Err(Error::corrupted(format!("Kafka topic {topic}"), reason));
        }
        let newest = self.frame_at(topic, Offset(end.0 - 1)).await?;
        let oldest = self.frame_at(topic, first).await?;
        if newest.incarnation != oldest.incarnation {
            let reason = "it holds messages of two logs";
            return Err(Error::corrupted(format!("Kafka topic {topic}"), reason));
        }
        Ok(LogBounds { incarnation: newest.incarnation, first, end, epoch: newest.epoch })
    }
}

/// What every client is configured with.
fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("topic.metadata.refresh.interval.ms", "-1")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "1000")
        .set("receive.message.max.bytes", (2 * MAX_RECORD).to_string());
    config
}

/// What clients that read are configured with.
fn consumer(brokers: &str) -> ClientConfig {
    let mut config = client(brokers);
    config
        .set("group.id", "elanus")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("fetch.message.max.bytes", "8388608");
    config
}

fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
        )
    )
}

fn failed(brokers: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Unavailable { what: format!("Kafka at {brokers}"), reason: error.to_string() }
}

#[async_trait]
impl LogBroker for KafkaLog {
    async fn exists(&self, channel: ChannelId) -> Result<bool> {
        let topic = self.topic(channel);
        Ok(self.topics.exists(&topic).await? && self.ends(&topic).await?.1 > Offset(0))
    }

    async fn open(&self, channel: ChannelId, fresh_incarnation: u64) -> Result<LogBounds> {
        let topic = self.topic(channel);
        let former = self.channels.lock().remove(&channel);
        if let Some(former) = former {
            former.writer.lock().await.give_up("the channel was opened again");
        }
        let bounds = self.open_topic(&topic, fresh_incarnation).await?;
        let writer = Writer::new(&self.brokers, &topic, bounds.incarnation, bounds.end)?;
        let opened = Channel {
            topic,
            incarnation: bounds.incarnation,
            writer: tokio::sync::Mutex::new(writer),
            reader: tokio::sync::Mutex::default(),
            durable: watch::Sender::new(bounds.end),
            epoch: Mutex::new(bounds.epoch),
        };
        self.channels.lock().insert(channel, Arc::new(opened));
        Ok(bounds)
    }

    async fn append(
        &self,
        channel: ChannelId,
        epoch: Epoch,
        records: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Offset> {
        let state = self.channel(channel)?;
        let mut writer = state.writer.lock().await;
        state.admit(channel, epoch)?;
        let first = writer.send(epoch, records).await?;
        if durability == Durability::Synced {
            let end = writer.settle().await?;
            state.durable.send_replace(end);
        }
        Ok(first)
    }

    async fn read(&self, channel: ChannelId, from: Offset, max_bytes: usize) -> Result<Vec<LogEntry>> {
        let state = self.channel(channel)?;
        let (first, end) = self.ends(&state.topic).await?;
        if from < first {
            return Err(Error::Trimmed { channel, offset: from, first });
        }
        let mut place = state.reader.lock().await;
        let mut reader = match place.take() {
            Some(reader) if reader.position() == from => reader,
            _ => Reader::open(&self.brokers, &state.topic, from)?,
        };
        let entries = reader.appends(from, first, end, max_bytes).await?;
        if reader.position() < end {
            *place = Some(reader);
        } else {
            // An open reader keeps asking the broker for more.
            reader.close().await?;
        }
        Ok(entries)
    }

    async fn wait(&self, channel: ChannelId, from: Offset) -> Result<()> {
        let state = self.channel(channel)?;
        let mut durable = state.durable.subscribe();
        let mut reader = Reader::open(&self.brokers, &state.topic, from)?;
        tokio::select! {
            known = durable.wait_for(|end| *end > from) => known.map(drop).map_err(|_| Error::Stopped),
            message = reader.next_ever() => message.map(drop),
        }
    }

    async fn fence(&self, channel: ChannelId, epoch: Epoch) -> Result<()> {
        let state = self.channel(channel)?;
        let mut writer = state.writer.lock().await;
        state.admit(channel, epoch)?;
        let expected = writer.next();
        let placed = writer.control(Kind::Fence, epoch).await?;
        if placed < expected {
            writer.give_up("the topic was created anew");
            return Err(Error::corrupted(format!("Kafka topic {}", state.topic), "it was created anew"));
        }
        // What others appended in between counts unless one of them holds a newer epoch.
        if placed > expected {
            let mut reader = Reader::open(&self.brokers, &state.topic, expected)?;
            let newest = reader.newest_epoch(placed).await;
            reader.close().await?;
            let newest = newest?;
            if newest > epoch {
                *state.epoch.lock() = newest;
                return Err(Error::Fenced { channel, epoch, current: newest });
            }
        }
        state.durable.send_replace(placed.next());
        Ok(())
    }

    async fn trim(&self, channel: ChannelId, before: Offset) -> Result<()> {
        let state = self.channel(channel)?;
        let (first, end) = self.ends(&state.topic).await?;
        let before = before.min(Offset(end.0.saturating_sub(1)));
        if before > first { self.topics.delete_before(&state.topic, before).await } else { Ok(()) }
    }

    async fn bounds(&self, channel: ChannelId) -> Result<LogBounds> {
        let state = self.channel(channel)?;
        let (first, end) = self.ends(&state.topic).await?;
        let epoch = *state.epoch.lock();
        Ok(LogBounds { incarnation: state.incarnation, first, end, epoch })
    }
}

impl Channel {
    /// Refuses epochs that this process knows to be replaced.
    fn admit(&self, channel: ChannelId, epoch: Epoch) -> Result<()> {
        let mut current = self.epoch.lock();
        if epoch < *current {
            return Err(Error::Fenced { channel, epoch, current: *current });
        }
        *current = epoch;
        Ok(())
    }
}
