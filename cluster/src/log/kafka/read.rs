//! Reading: messages from an offset on, put together to whole appends.
//!
//! Invariant: an append is given when all its messages lie behind one another; what was cut is dropped, what may
//! still grow is left for a later call.

use std::time::Duration;

use bytes::Bytes;
use proto::{Epoch, Offset};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::{Message as _, Offset as KafkaOffset, TopicPartitionList};

use super::frame::{Frame, Kind};
use super::{LogEntry, consumer, failed};
use crate::error::{Error, Result};
use crate::tasks::blocking;

/// How long a message that must be there may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A message at its place.
pub(super) struct Placed {
    pub(super) offset: Offset,
    pub(super) frame: Frame,
    value: Bytes,
}

/// See the file header.
pub(super) struct Reader {
    consumer: StreamConsumer,
    brokers: String,
    topic: String,
    position: Offset,
}

impl Reader {
    /// A reader that starts at `from`.
    pub(super) fn open(brokers: &str, topic: &str, from: Offset) -> Result<Self> {
        let consumer = consumer(brokers).create().map_err(|error| failed(brokers, &error))?;
        let mut reader =
            Self { consumer, brokers: brokers.to_owned(), topic: topic.to_owned(), position: from };
        reader.seek(from)?;
        Ok(reader)
    }

    fn seek(&mut self, from: Offset) -> Result<()> {
        let mut wanted = TopicPartitionList::new();
        wanted
            .add_partition_offset(&self.topic, 0, KafkaOffset::Offset(from.0 as i64))
            .and_then(|()| self.consumer.assign(&wanted))
            .map_err(|error| failed(&self.brokers, &error))?;
        self.position = from;
        Ok(())
    }

    /// The offset behind the last message given.
    pub(super) const fn position(&self) -> Offset {
        self.position
    }

    /// Ends the consumer, which may have to wait for its threads.
    pub(super) async fn close(self) -> Result<()> {
        blocking(move || drop(self)).await
    }

    /// The next message, which is known to be there.
    pub(super) async fn next(&mut self) -> Result<Placed> {
        match tokio::time::timeout(PATIENCE, self.next_ever()).await {
            Ok(message) => message,
            Err(_) => Err(failed(&self.brokers, &format!("{} cannot be read: no answer", self.topic))),
        }
    }

    /// The next message, whenever it comes.
    pub(super) async fn next_ever(&mut self) -> Result<Placed> {
        let message = self.consumer.recv().await.map_err(|error| failed(&self.brokers, &error))?;
        let offset = Offset(message.offset() as u64);
        let value = message.payload().unwrap_or_default();
        let frame = Frame::decode(message.key().unwrap_or_default(), value).map_err(|reason| {
            Error::corrupted(format!("Kafka topic {}, offset {offset}", self.topic), reason)
        })?;
        let value = Bytes::copy_from_slice(value);
        drop(message);
        self.position = offset.next();
        Ok(Placed { offset, frame, value })
    }

    /// The newest epoch among the messages before `end`.
    pub(super) async fn newest_epoch(&mut self, end: Offset) -> Result<Epoch> {
        let mut newest = Epoch(0);
        while self.position < end {
            newest = newest.max(self.next().await?.frame.epoch);
        }
        Ok(newest)
    }

    /// The records from `from` on, whole appends until `max_bytes` are exceeded or `end` is reached. `first` is the
    /// first offset that can be read.
    pub(super) async fn appends(
        &mut self,
        from: Offset,
        first: Offset,
        end: Offset,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>> {
        let (mut given, mut append, mut bytes) = (Vec::new(), Append::default(), 0);
        let mut rewound = false;
        while self.position < end && (bytes <= max_bytes || given.is_empty()) {
            let message = self.next().await?;
            if message.offset == from && message.frame.index > 0 && !rewound {
                // In the middle of an append: whether it is whole shows from its beginning.
                rewound = true;
                let start = Offset(from.0.saturating_sub(u64::from(message.frame.index)));
                if start >= first {
                    self.seek(start)?;
                    continue;
                }
                append.assume_beginning(&message.frame);
            }
            let Some(whole) = append.add(message) else { continue };
            for entry in whole.into_iter().filter(|entry| entry.offset >= from) {
                bytes += entry.record.len();
                given.push(entry);
            }
        }
        Ok(given)
    }
}

/// The messages of an append that is not whole yet.
#[derive(Default)]
struct Append {
    /// The epoch, the place of the next message, and how many there are.
    expected: Option<(Epoch, u32, u32)>,
    entries: Vec<LogEntry>,
}

impl Append {
    /// Takes the messages before this one, which were trimmed, for present.
    fn assume_beginning(&mut self, frame: &Frame) {
        self.expected = Some((frame.epoch, frame.index, frame.count));
    }

    /// Adds the next message; the append's records once it is whole.
    fn add(&mut self, message: Placed) -> Option<Vec<LogEntry>> {
        let Placed { offset, frame, value } = message;
        let goes_on = self.expected == Some((frame.epoch, frame.index, frame.count));
        if frame.kind != Kind::Record || !(frame.index == 0 || goes_on) {
            *self = Self::default();
            return None;
        }
        if frame.index == 0 {
            self.entries.clear();
        }
        self.entries.push(LogEntry { offset, epoch: frame.epoch, record: value });
        if frame.index + 1 == frame.count {
            self.expected = None;
            return Some(std::mem::take(&mut self.entries));
        }
        self.expected = Some((frame.epoch, frame.index + 1, frame.count));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: u64, kind: Kind, epoch: u64, index: u32, count: u32) -> Placed {
        let frame = Frame { kind, epoch: Epoch(epoch), incarnation: 1, index, count };
        Placed { offset: Offset(offset), frame, value: Bytes::new() }
    }

    /// The offsets that a reader of these messages sees.
    fn seen(messages: impl IntoIterator<Item = Placed>) -> Vec<u64> {
        let mut append = Append::default();
        let whole = messages.into_iter().filter_map(|message| append.add(message));
        whole.flatten().map(|entry| entry.offset.0).collect()
    }

    #[test]
    fn an_append_that_was_cut_does_not_exist() {
        let record = |offset, epoch, index, count| message(offset, Kind::Record, epoch, index, count);
        let fence = |offset, epoch| message(offset, Kind::Fence, epoch, 0, 1);
        assert_eq!(seen([record(0, 1, 0, 1), record(1, 1, 0, 2), record(2, 1, 1, 2)]), [0, 1, 2]);
        assert_eq!(seen([record(0, 1, 0, 2), fence(1, 2), record(2, 1, 1, 2), record(3, 2, 0, 1)]), [3]);
        assert_eq!(seen([record(0, 1, 0, 2), record(1, 1, 0, 1), record(2, 1, 1, 2)]), [1]);
        assert_eq!(seen([record(0, 1, 0, 3), record(1, 1, 1, 3), record(2, 2, 0, 1)]), [2]);
        assert_eq!(seen([record(0, 1, 0, 2), record(1, 2, 1, 2)]), [] as [u64; 0]);
        assert_eq!(seen([record(0, 1, 0, 3), record(1, 1, 2, 3)]), [] as [u64; 0]);
    }
}
