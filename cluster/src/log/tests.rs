use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use proto::Offset;
use segments::SystemDoor;
use segments::file::fault::{Fault, FaultDoor, Operation};

use super::suite::Bench;
use super::*;
use crate::error::Error;

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
            Err(Error::Corrupted { object, .. }) => assert!(object.ends_with("0.log"), "{object}"),
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
