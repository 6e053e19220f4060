//! Sending: messages go out at once and in order; settling waits until all of them are where they were meant to be.

use std::collections::VecDeque;

use bytes::Bytes;
use proto::{Epoch, Offset};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::frame::{Frame, Kind};
use super::{MAX_RECORD, client, failed};
use crate::error::{Error, Result};
use crate::tasks::blocking;

/// Bytes that may be under way before a send waits for the oldest of them.
const MAX_UNDER_WAY: usize = 64 << 20;
/// How long a message may be under way; after that nobody knows.
const DELIVERY_MILLIS: &str = "8000";

struct UnderWay {
    expected: Offset,
    bytes: usize,
    delivery: DeliveryFuture,
}

/// A channel's producer; see the file header.
pub(super) struct Writer {
    producer: FutureProducer,
    topic: String,
    incarnation: u64,
    /// Where the next message must land.
    next: Offset,
    under_way: VecDeque<UnderWay>,
    bytes_under_way: usize,
    /// Why nothing more is appended until the channel is opened again.
    broken: Option<String>,
}

impl Writer {
    pub(super) fn new(brokers: &str, topic: &str, incarnation: u64, next: Offset) -> Result<Self> {
        let producer = client(brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "0")
            .set("delivery.timeout.ms", DELIVERY_MILLIS)
            .set("request.timeout.ms", "5000")
            .set("message.max.bytes", (MAX_RECORD + (1 << 20)).to_string())
            .set("queue.buffering.max.kbytes", "1048576")
            .create()
            .map_err(|error| failed(brokers, &error))?;
        Ok(Self {
            producer,
            topic: topic.to_owned(),
            incarnation,
            next,
            under_way: VecDeque::new(),
            bytes_under_way: 0,
            broken: None,
        })
    }

    /// Where the next message must land.
    pub(super) const fn next(&self) -> Offset {
        self.next
    }

    /// Refuses everything from now on.
    pub(super) fn give_up(&mut self, reason: &str) {
        self.broken.get_or_insert_with(|| reason.to_owned());
    }

    /// Ends the producer, which may have to wait for its threads.
    pub(super) async fn close(self) -> Result<()> {
        blocking(move || drop(self)).await
    }

    /// Sends the records of one append; the offset of the first.
    pub(super) async fn send(&mut self, epoch: Epoch, records: Vec<Bytes>) -> Result<Offset> {
        self.check()?;
        if let Some(large) = records.iter().find(|record| record.len() > MAX_RECORD) {
            let reason =
                format!("a record of {} bytes is larger than the log takes ({MAX_RECORD})", large.len());
            let action = format!("could not append to Kafka topic {}", self.topic);
            return Err(Error::NotWritten { action, source: std::io::Error::other(reason) });
        }
        let (first, count) = (self.next, records.len() as u32);
        for (index, record) in (0..).zip(records) {
            let frame = Frame { kind: Kind::Record, epoch, incarnation: self.incarnation, index, count };
            self.dispatch(&frame, &record).await?;
        }
        Ok(first)
    }

    /// Hands one message to the producer; waits for older ones when too much is under way.
    async fn dispatch(&mut self, frame: &Frame, value: &[u8]) -> Result<()> {
        while self.bytes_under_way > MAX_UNDER_WAY {
            self.settle_oldest().await?;
        }
        let key = frame.encode(value);
        loop {
            let record = FutureRecord::to(&self.topic).partition(0).key(key.as_slice()).payload(value);
            match self.producer.send_result(record).map_err(|(error, _)| error) {
                Ok(delivery) => {
                    let bytes = value.len() + key.len();
                    self.bytes_under_way += bytes;
                    self.under_way.push_back(UnderWay { expected: self.next, bytes, delivery });
                    self.next = self.next.next();
                    return Ok(());
                }
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
                    if !self.under_way.is_empty() =>
                {
                    self.settle_oldest().await?;
                }
                Err(error) => return Err(self.unknown(&error.to_string())),
            }
        }
    }

    /// Waits until everything sent is durable; the offset behind it.
    pub(super) async fn settle(&mut self) -> Result<Offset> {
        self.check()?;
        while !self.under_way.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(self.next)
    }

    async fn settle_oldest(&mut self) -> Result<()> {
        let Some(oldest) = self.under_way.front_mut() else { return Ok(()) };
        // Taken from the queue only once it is answered: whoever waits here may be dropped.
        let delivered = (&mut oldest.delivery).await;
        let Some(UnderWay { expected, bytes, .. }) = self.under_way.pop_front() else { return Ok(()) };
        self.bytes_under_way -= bytes;
        match delivered {
            Ok(Ok(delivery)) if delivery.offset == expected.0 as i64 => Ok(()),
            Ok(Ok(delivery)) => {
                let reason = format!(
                    "a record meant for offset {expected} was appended at {}: somebody else appends too",
                    delivery.offset
                );
                Err(self.unknown(&reason))
            }
            Ok(Err((error, _))) => Err(self.unknown(&error.to_string())),
            Err(_) => Err(self.unknown("the producer is gone")),
        }
    }

    /// Appends a message of our own, wherever the end is by now; where it landed.
    pub(super) async fn control(&mut self, kind: Kind, epoch: Epoch) -> Result<Offset> {
        self.settle().await?;
        let frame = Frame { kind, epoch, incarnation: self.incarnation, index: 0, count: 1 };
        self.dispatch(&frame, &[]).await?;
        let Some(sent) = self.under_way.pop_front() else { return Ok(self.next) };
        self.bytes_under_way -= sent.bytes;
        match sent.delivery.await {
            Ok(Ok(delivery)) => {
                let placed = Offset(delivery.offset as u64);
                self.next = placed.next();
                Ok(placed)
            }
            Ok(Err((error, _))) => Err(self.unknown(&error.to_string())),
            Err(_) => Err(self.unknown("the producer is gone")),
        }
    }

    fn check(&self) -> Result<()> {
        self.broken.as_ref().map_or(Ok(()), |reason| {
            Err(Error::Unavailable { what: format!("Kafka topic {}", self.topic), reason: reason.clone() })
        })
    }

    /// Nobody knows what became of what was sent; nothing more is appended.
    fn unknown(&mut self, reason: &str) -> Error {
        self.give_up(reason);
        Error::Unknown { reason: format!("Kafka topic {}: {reason}", self.topic) }
    }
}
