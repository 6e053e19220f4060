use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use redb::StorageBackend;
use redb::backends::FileBackend;

use super::suite::Bench;
use super::*;
use crate::clock::SimClock;
use crate::error::Error;

struct Memory(Arc<MemoryMeta>, Arc<SimClock>);

#[async_trait]
impl Bench for Memory {
    async fn open(&self) -> Result<Arc<dyn MetaStore>> {
        Ok(Arc::clone(&self.0) as _)
    }
    fn clock(&self) -> Arc<SimClock> {
        Arc::clone(&self.1)
    }
    fn restarts(&self) -> bool {
        false
    }
}

struct OnDisk(tempfile::TempDir, Arc<SimClock>);

#[async_trait]
impl Bench for OnDisk {
    async fn open(&self) -> Result<Arc<dyn MetaStore>> {
        Ok(Arc::new(RedbMeta::open(self.0.path().join("meta.redb"), Arc::clone(&self.1) as _).await?))
    }
    fn clock(&self) -> Arc<SimClock> {
        Arc::clone(&self.1)
    }
    fn restarts(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let fresh = || {
        let clock = Arc::new(SimClock::new(0));
        Memory(Arc::new(MemoryMeta::new(Arc::clone(&clock) as _)), clock)
    };
    suite::run(fresh).await.expect("the store answers");
}

#[tokio::test]
async fn redb_keeps_the_contract() {
    let fresh = || OnDisk(tempfile::tempdir().expect("a directory"), Arc::new(SimClock::new(0)));
    suite::run(fresh).await.expect("the store answers");
}

/// A file whose syncs fail while the switch is on.
#[derive(Debug)]
struct Failing(FileBackend, Arc<AtomicBool>);

impl StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        if self.1.load(Ordering::SeqCst) {
            return Err(std::io::Error::from_raw_os_error(28));
        }
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }
}

#[tokio::test]
async fn redb_recovers_from_a_full_disk_without_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path: PathBuf = directory.path().join("meta.redb");
    let failing = Arc::new(AtomicBool::new(false));
    let (target, switch) = (path.clone(), Arc::clone(&failing));
    let open = move || {
        let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&target)?;
        let backend = FileBackend::new(file)?;
        redb::Database::builder().create_with_backend(Failing(backend, Arc::clone(&switch)))
    };
    let store = RedbMeta::open_with(path, Arc::new(SimClock::new(0)), Box::new(open)).await.expect("a new file");
    let put = |key: &str| vec![Write::put(key, "1")];
    assert!(matches!(store.commit(vec![], put("before")).await, Ok(Outcome::Committed(_))));
    failing.store(true, Ordering::SeqCst);
    let error = store.commit(vec![], put("during")).await.expect_err("the disk is full");
    assert!(matches!(error, Error::Unknown { .. } | Error::NotWritten { .. }), "{error}");
    failing.store(false, Ordering::SeqCst);
    assert!(matches!(store.commit(vec![], put("after")).await, Ok(Outcome::Committed(_))));
    assert!(store.get("before").await.expect("a read").is_some());
    assert!(store.get("after").await.expect("a read").is_some());
}

#[tokio::test]
async fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("meta.redb");
    let clock = Arc::new(SimClock::new(0));
    let _first = RedbMeta::open(&path, Arc::clone(&clock) as _).await.expect("a new file");
    let second = RedbMeta::open(&path, clock).await.expect_err("the file is locked");
    assert!(matches!(second, Error::DataDirectoryInUse { .. }), "{second}");
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("meta.redb");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(&path).expect("a file");
    std::io::Write::write_all(&mut file, &[7; 8192]).expect("bytes");
    let error = RedbMeta::open(&path, Arc::new(SimClock::new(0))).await.expect_err("not a redb file");
    assert!(error.to_string().contains("meta.redb"), "{error}");
}
