use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use proto::Offset;
use proto::time::Dice;
use segments::SystemDoor;
use segments::file::fault::{Fault, FaultDoor, Operation};

use super::suite::Bench;
use super::*;
use crate::clock::SystemDice;
use crate::error::Error;
use crate::golden::as_golden;
use crate::testing::service;

const CHANNEL: ChannelId = ChannelId(7);

struct Memory(Arc<MemoryLog>);

#[async_trait]
impl Bench for Memory {
    async fn open(&self) -> Result<Arc<dyn LogBroker>> {
        self.0.crash();
        Ok(Arc::clone(&self.0) as _)
    }
}

/// Files of 4 KB, so that rolling and trimming happen.
struct Files(tempfile::TempDir);

#[async_trait]
impl Bench for Files {
    async fn open(&self) -> Result<Arc<dyn LogBroker>> {
        Ok(FileLog::with_roll(Arc::new(SystemDoor), self.0.path().join("log"), 4096))
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    suite::run(|| Memory(MemoryLog::new())).await.expect("the log answers");
}

#[tokio::test]
async fn files_keep_the_contract() {
    suite::run(|| Files(directory())).await.expect("the log answers");
}

async fn append(log: &FileLog, record: &'static [u8], durability: Durability) -> Result<Offset> {
    log.append(CHANNEL, Epoch(1), vec![record.into(), "second".into()], durability).await
}

/// A log of five synced appends in one file; its path and the offsets at which frames end.
async fn five_appends(root: &Path) -> PathBuf {
    let log = FileLog::new(Arc::new(SystemDoor), root);
    log.open(CHANNEL, 1).await.expect("a new channel");
    for record in [b"one".as_slice(), b"two", b"three", b"four", b"five"] {
        append(&log, record, Durability::Synced).await.expect("an append");
    }
    root.join("7").join("00000000000000000000.log")
}

fn bytes_of(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = OpenOptions::new().read(true).open(path).expect("the log's file");
    io::Read::read_to_end(&mut file, &mut bytes).expect("a read");
    bytes
}

fn copy_with(root: &Path, bytes: &[u8]) {
    let path = root.join("7");
    std::fs::DirBuilder::new().recursive(true).create(&path).expect("a directory");
    let path = path.join("00000000000000000000.log");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path).expect("a file");
    file.write_all(bytes).expect("a write");
}

#[tokio::test]
async fn a_tail_cut_at_every_byte_loses_only_the_frame_it_cuts() {
    let origin = directory();
    let bytes = bytes_of(&five_appends(origin.path()).await);
    let frame = (bytes.len() - frame::FILE_HEADER) / 5;
    for length in 0..=bytes.len() {
        let root = directory();
        copy_with(root.path(), &bytes[..length]);
        let log = FileLog::new(Arc::new(SystemDoor), root.path());
        let bounds = log.open(CHANNEL, 1).await.unwrap_or_else(|error| panic!("cut at {length}: {error}"));
        // The last frame's padding is not part of what must be there.
        let whole = (0..5).filter(|index| length >= frame::FILE_HEADER + (index + 1) * frame).count();
        assert_eq!(bounds.end, Offset(whole as u64 * 2), "cut at {length}");
        assert_eq!(append(&log, b"next", Durability::Synced).await.expect("an append"), bounds.end);
        let entries = log.read(CHANNEL, Offset(0), usize::MAX).await.expect("a read");
        assert_eq!(entries.len() as u64, bounds.end.0 + 2, "cut at {length}");
    }
}

#[tokio::test]
async fn golden_files_of_the_log_read_back() {
    let origin = directory();
    let bytes = as_golden("log", &bytes_of(&five_appends(origin.path()).await));
    let root = directory();
    copy_with(root.path(), &bytes);
    let log = FileLog::new(Arc::new(SystemDoor), root.path());
    let bounds = log.open(CHANNEL, 2).await.expect("an old log");
    assert_eq!((bounds.incarnation, bounds.end, bounds.epoch), (1, Offset(10), Epoch(1)));
    let entries = log.read(CHANNEL, Offset(0), usize::MAX).await.expect("a read");
    let records: Vec<&[u8]> = entries.iter().map(|entry| entry.record.as_ref()).collect();
    let written = ["one", "two", "three", "four", "five"].map(|record| [record, "second"]).concat();
    assert_eq!(records, written.iter().map(|record| record.as_bytes()).collect::<Vec<_>>());
}

#[tokio::test]
async fn damage_before_the_tail_names_the_file() {
    let origin = directory();
    let bytes = bytes_of(&five_appends(origin.path()).await);
    let frame = (bytes.len() - frame::FILE_HEADER) / 5;
    let last = frame::FILE_HEADER + 4 * frame;
    for position in (0..last).step_by(3) {
        let root = directory();
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        copy_with(root.path(), &damaged);
        let log = FileLog::new(Arc::new(SystemDoor), root.path());
        let opened = log.open(CHANNEL, 1).await;
        // Padding and the reserved end of the file header are covered by no checksum that matters.
        let outcome = match opened {
            Ok(_) => log.read(CHANNEL, Offset(0), usize::MAX).await.map(|entries| entries.len()),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(entries) => assert_eq!(entries, 10, "a flipped bit at {position} lost records"),
            // The number of the format is in no checksum: a changed one is that of another version.
            Err(Error::Corrupted { object, .. } | Error::FormatVersion { object, .. }) => {
                assert!(object.contains("0.log"), "{object}");
            }
            Err(other) => panic!("a flipped bit at {position}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_damaged_older_file_is_found_when_it_is_read() {
    let root = directory();
    let log = FileLog::with_roll(Arc::new(SystemDoor), root.path(), 256);
    log.open(CHANNEL, 1).await.expect("a new channel");
    for _ in 0..20 {
        append(&log, b"some record", Durability::Synced).await.expect("an append");
    }
    drop(log);
    let path = root.path().join("7/00000000000000000000.log");
    let mut bytes = bytes_of(&path);
    bytes[frame::FILE_HEADER + frame::FRAME_HEADER + 9] ^= 1;
    copy_with(root.path(), &bytes);
    let log = FileLog::new(Arc::new(SystemDoor), root.path());
    log.open(CHANNEL, 1).await.expect("the last file is whole");
    let error = log.read(CHANNEL, Offset(0), usize::MAX).await.expect_err("the first is not");
    assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
}

async fn faulty(root: &Path) -> (FaultDoor, Arc<FileLog>) {
    let door = FaultDoor::new(Arc::new(SystemDoor));
    let log = FileLog::new(Arc::new(door.clone()), root);
    log.open(CHANNEL, 1).await.expect("a new channel");
    (door, log)
}

fn fault(operation: Operation, error: io::ErrorKind) -> Fault {
    Fault { operation, after: 0, error, forever: false }
}

#[tokio::test]
async fn a_full_disk_is_a_definite_no_and_the_next_append_works() {
    let root = directory();
    let (door, log) = faulty(root.path()).await;
    append(&log, b"before", Durability::Synced).await.expect("an append");
    door.plan(fault(Operation::Write, io::ErrorKind::StorageFull));
    let refused = append(&log, b"refused", Durability::Synced).await;
    assert!(matches!(refused, Err(Error::NotWritten { .. })), "{refused:?}");
    assert_eq!(append(&log, b"after", Durability::Synced).await.expect("an append"), Offset(2));
    drop(log);
    let log = FileLog::new(Arc::new(SystemDoor), root.path());
    assert_eq!(log.open(CHANNEL, 1).await.expect("the same channel").end, Offset(4));
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_until_reopened() {
    let root = directory();
    let (door, log) = faulty(root.path()).await;
    append(&log, b"before", Durability::Synced).await.expect("an append");
    door.plan(fault(Operation::SyncFile, io::ErrorKind::Other));
    let unknown = append(&log, b"unknown", Durability::Synced).await;
    assert!(matches!(unknown, Err(Error::Unknown { .. })), "{unknown:?}");
    for durability in [Durability::Synced, Durability::Deferred] {
        let refused = append(&log, b"refused", durability).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    }
    assert_eq!(log.read(CHANNEL, Offset(0), usize::MAX).await.expect("a read").len(), 2);
    let bounds = log.open(CHANNEL, 1).await.expect("reopened");
    assert_eq!(bounds.end, Offset(2), "what the disk may not have is cut");
    append(&log, b"after", Durability::Synced).await.expect("an append");
}

#[tokio::test]
async fn a_file_that_cannot_be_begun_refuses_and_can_be_begun_later() {
    let root = directory();
    let door = FaultDoor::new(Arc::new(SystemDoor));
    let log = FileLog::with_roll(Arc::new(door.clone()), root.path(), 256);
    log.open(CHANNEL, 1).await.expect("a new channel");
    let mut acknowledged = 0;
    for round in 0..30 {
        door.plan(fault(Operation::SyncDirectory, io::ErrorKind::StorageFull));
        match append(&log, b"a record that fills files", Durability::Synced).await {
            Ok(_) => acknowledged += 2,
            Err(Error::NotWritten { .. }) => {}
            Err(other) => panic!("round {round}: {other}"),
        }
        door.heal();
    }
    assert!(acknowledged < 60, "some rolls failed");
    drop(log);
    let log = FileLog::new(Arc::new(SystemDoor), root.path());
    log.open(CHANNEL, 1).await.expect("the same channel");
    assert_eq!(log.read(CHANNEL, Offset(0), usize::MAX).await.expect("a read").len(), acknowledged);
}

#[tokio::test]
async fn concurrent_appends_share_syncs_and_deferred_ones_need_none() {
    let root = directory();
    let (door, log) = faulty(root.path()).await;
    let syncs =
        |door: &FaultDoor| door.take_seen().iter().filter(|seen| **seen == Operation::SyncFile).count();
    syncs(&door);
    for _ in 0..50 {
        append(&log, b"payload", Durability::Deferred).await.expect("an append");
    }
    assert_eq!(syncs(&door), 0);
    let appends = (0..50).map(|_| append(&log, b"commit", Durability::Synced));
    futures::future::try_join_all(appends).await.expect("appends");
    let syncs = syncs(&door);
    assert!((1..40).contains(&syncs), "{syncs} syncs for 50 commits that waited together");
}

/// Topics of its own in a real Kafka.
struct Kafka {
    brokers: String,
    prefix: String,
}

impl Kafka {
    fn fresh() -> Self {
        let url = service("kafka").remove("ELANUS_TEST_KAFKA").expect("the address");
        let brokers = url.trim_start_matches("kafka://").to_owned();
        Self { brokers, prefix: format!("test-{:016x}", SystemDice.next_u64()) }
    }

    fn connect(&self) -> KafkaLog {
        KafkaLog::connect(&self.brokers, &self.prefix).expect("a client")
    }

    fn admin(&self) -> rdkafka::admin::AdminClient<rdkafka::client::DefaultClientContext> {
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).create().expect("a client")
    }

    fn topic(&self) -> String {
        format!("{}.{}", self.prefix, CHANNEL.0)
    }
}

#[async_trait]
impl Bench for Kafka {
    async fn open(&self) -> Result<Arc<dyn LogBroker>> {
        Ok(Arc::new(self.connect()))
    }
}

async fn append_to(log: &KafkaLog, epoch: u64, records: &[&'static str]) -> Result<Offset> {
    let records = records.iter().map(|record| Bytes::from_static(record.as_bytes())).collect();
    log.append(CHANNEL, Epoch(epoch), records, Durability::Synced).await
}

async fn texts(log: &KafkaLog) -> Vec<(u64, String)> {
    let entries = log.read(CHANNEL, Offset(0), usize::MAX).await.expect("a read");
    let text = |record: Bytes| String::from_utf8(record.into()).expect("text");
    entries.into_iter().map(|entry| (entry.epoch.0, text(entry.record))).collect()
}

#[tokio::test]
async fn kafka_keeps_the_contract() {
    suite::run(Kafka::fresh).await.expect("the log answers");
}

#[tokio::test]
async fn an_owner_that_was_replaced_gets_no_acknowledgement_from_kafka() {
    let bench = Kafka::fresh();
    let (old, new) = (bench.connect(), bench.connect());
    old.open(CHANNEL, 1).await.expect("a topic");
    append_to(&old, 1, &["a"]).await.expect("the owner appends");
    let bounds = new.open(CHANNEL, 2).await.expect("the same topic");
    assert_eq!((bounds.incarnation, bounds.epoch), (1, Epoch(1)));
    new.fence(CHANNEL, Epoch(2)).await.expect("the newer owner");
    let late = append_to(&old, 1, &["late", "later"]).await.expect_err("replaced");
    assert!(matches!(late, Error::Unknown { .. }), "{late}");
    let again = append_to(&old, 1, &["x"]).await.expect_err("nothing until it is opened again");
    assert!(matches!(again, Error::Unavailable { .. }), "{again}");
    // The newer owner cannot tell its place any more either, and takes the next epoch.
    let moved = append_to(&new, 2, &["b"]).await.expect_err("somebody appended in between");
    assert!(matches!(moved, Error::Unknown { .. }), "{moved}");
    new.open(CHANNEL, 3).await.expect("the same topic");
    new.fence(CHANNEL, Epoch(3)).await.expect("the newest owner");
    append_to(&new, 3, &["c"]).await.expect("undisturbed");
    old.open(CHANNEL, 4).await.expect("the same topic");
    let fenced = old.fence(CHANNEL, Epoch(2)).await.expect_err("an epoch that was replaced");
    assert!(matches!(fenced, Error::Fenced { current: Epoch(3), .. }), "{fenced}");
    let seen = texts(&new).await;
    let expected = [(1, "a"), (1, "late"), (1, "later"), (2, "b"), (3, "c")];
    assert_eq!(seen, expected.map(|(epoch, text)| (epoch, text.to_owned())), "the replay drops late ones");
}

#[tokio::test]
async fn a_fence_finds_a_newer_one_that_came_in_between() {
    let bench = Kafka::fresh();
    let (one, other) = (bench.connect(), bench.connect());
    one.open(CHANNEL, 1).await.expect("a topic");
    other.open(CHANNEL, 1).await.expect("the same topic");
    one.fence(CHANNEL, Epoch(7)).await.expect("first");
    let late = other.fence(CHANNEL, Epoch(6)).await.expect_err("the other was quicker");
    assert!(matches!(late, Error::Fenced { current: Epoch(7), .. }), "{late}");
}

#[tokio::test]
async fn a_topic_that_would_lose_records_is_refused() {
    use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
    for (setting, value) in
        [("retention.ms", "604800000"), ("cleanup.policy", "compact"), ("retention.bytes", "9")]
    {
        let bench = Kafka::fresh();
        let topic = bench.topic();
        let mut wanted = NewTopic::new(&topic, 1, TopicReplication::Fixed(1)).set(setting, value);
        for (name, safe) in [("retention.ms", "-1"), ("retention.bytes", "-1")] {
            if name != setting {
                wanted = wanted.set(name, safe);
            }
        }
        bench.admin().create_topics([&wanted], &AdminOptions::new()).await.expect("a topic");
        let error = bench.connect().open(CHANNEL, 1).await.expect_err("it loses records");
        let message = error.to_string();
        assert!(
            message.contains(&topic) && message.contains(setting) && message.contains(value),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_topic_that_was_emptied_behind_our_back_is_refused() {
    let bench = Kafka::fresh();
    let log = bench.connect();
    log.open(CHANNEL, 1).await.expect("a topic");
    append_to(&log, 1, &["a"]).await.expect("an append");
    let mut all = rdkafka::TopicPartitionList::new();
    all.add_partition_offset(&bench.topic(), 0, rdkafka::Offset::End).expect("an offset");
    bench.admin().delete_records(&all, &rdkafka::admin::AdminOptions::new()).await.expect("deleted");
    let error = log.open(CHANNEL, 1).await.expect_err("emptied");
    assert!(error.to_string().contains("somebody else has trimmed it"), "{error}");
    let error = log.read(CHANNEL, Offset(0), 1).await.expect_err("not open");
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_kafka_that_does_not_answer_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its address").to_string();
    drop(free);
    let log = KafkaLog::connect(&address, "test").expect("a client");
    let error = log.open(CHANNEL, 1).await.expect_err("nobody listens");
    assert!(matches!(&error, Error::Unavailable { what, .. } if what.contains(&address)), "{error}");
}
