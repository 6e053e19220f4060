use std::sync::Arc;

use async_trait::async_trait;
use proto::time::Dice;
use segments::SystemDoor;
use segments::file::fault::{Fault, FaultDoor, Operation};

use super::suite::Bench;
use super::*;
use crate::clock::{SimClock, SystemDice};
use crate::error::Error;
use crate::testing::service;

struct Memory(Arc<MemoryMeta>, Arc<SimClock>);

#[async_trait]
impl Bench for Memory {
    async fn open(&self) -> Result<Arc<dyn MetaStore>> {
        Ok(Arc::clone(&self.0) as _)
    }
    async fn pass(&self, millis: u64) {
        self.1.advance(millis);
    }
    fn restarts(&self) -> bool {
        false
    }
}

struct OnDisk(tempfile::TempDir, Arc<SimClock>);

#[async_trait]
impl Bench for OnDisk {
    async fn open(&self) -> Result<Arc<dyn MetaStore>> {
        Ok(Arc::new(
            RedbMeta::open(Arc::new(SystemDoor), self.0.path().join("meta.redb"), Arc::clone(&self.1) as _)
                .await?,
        ))
    }
    async fn pass(&self, millis: u64) {
        self.1.advance(millis);
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

/// A prefix of its own in a real etcd.
struct Etcd {
    endpoint: String,
    prefix: String,
}

impl Etcd {
    fn fresh() -> Self {
        let url = service("etcd").remove("ELANUS_TEST_ETCD").expect("the address");
        let endpoint = url.trim_start_matches("etcd://").to_owned();
        Self { endpoint, prefix: format!("test/{:016x}", SystemDice.next_u64()) }
    }
}

#[async_trait]
impl Bench for Etcd {
    async fn open(&self) -> Result<Arc<dyn MetaStore>> {
        Ok(Arc::new(EtcdMeta::connect(std::slice::from_ref(&self.endpoint), &self.prefix).await?))
    }
    async fn pass(&self, millis: u64) {
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
    }
    fn restarts(&self) -> bool {
        false
    }
    async fn forget_history(&self, store: &dyn MetaStore) -> Result<()> {
        let revision = store.list("").await?.revision;
        let endpoints = [self.endpoint.as_str()];
        let mut client = etcd_client::Client::connect(endpoints, None).await.expect("a client");
        client.compact(revision as i64, None).await.expect("a compaction");
        Ok(())
    }
}

#[tokio::test]
async fn etcd_keeps_the_contract() {
    suite::run(Etcd::fresh).await.expect("the store answers");
}

#[tokio::test]
async fn a_watch_from_before_a_compaction_says_so() {
    let bench = Etcd::fresh();
    let store = bench.open().await.expect("a client");
    let put = |value: &'static str| store.commit(vec![], vec![Write::put("w", value)]);
    let Ok(Outcome::Committed(first)) = put("1").await else { panic!("not committed") };
    assert!(matches!(put("2").await, Ok(Outcome::Committed(_))));
    bench.forget_history(&*store).await.expect("a compaction");
    let mut late = store.watch("w", first).await.expect("a watch");
    assert!(matches!(late.next().await, Err(Error::Compacted { .. })));
}

#[tokio::test]
async fn etcd_that_does_not_answer_leaves_commits_unknown() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = free.local_addr().expect("its address").to_string();
    drop(free);
    let store = EtcdMeta::connect(&[endpoint], "test").await.expect("a client");
    let (read, commit) = futures::join!(store.get("k"), store.commit(vec![], vec![Write::put("k", "v")]));
    let read = read.expect_err("nobody listens");
    assert!(
        matches!(read, Error::Unavailable { .. }) && read.to_string().starts_with("etcd at 127"),
        "{read}"
    );
    assert!(matches!(commit, Err(Error::Unknown { .. })), "{commit:?}");
}

#[tokio::test]
async fn redb_recovers_from_a_full_disk_without_a_restart() {
    for operation in [Operation::Write, Operation::SyncFile] {
        let directory = tempfile::tempdir().expect("a directory");
        let door = FaultDoor::new(Arc::new(SystemDoor));
        let path = directory.path().join("meta.redb");
        let clock = Arc::new(SimClock::new(0));
        let store = RedbMeta::open(Arc::new(door.clone()), path, clock).await.expect("a new file");
        let put = |key: &str| vec![Write::put(key, "1")];
        assert!(matches!(store.commit(vec![], put("before")).await, Ok(Outcome::Committed(_))));
        let error = std::io::ErrorKind::StorageFull;
        door.plan(Fault { operation, after: 0, error, forever: true });
        let error = store.commit(vec![], put("during")).await.expect_err("the disk is full");
        assert!(matches!(error, Error::Unknown { .. } | Error::NotWritten { .. }), "{error}");
        door.heal();
        assert!(matches!(store.commit(vec![], put("after")).await, Ok(Outcome::Committed(_))));
        assert!(store.get("before").await.expect("a read").is_some());
        assert!(store.get("after").await.expect("a read").is_some());
    }
}

#[tokio::test]
async fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("meta.redb");
    let clock = Arc::new(SimClock::new(0));
    let _first =
        RedbMeta::open(Arc::new(SystemDoor), &path, Arc::clone(&clock) as _).await.expect("a new file");
    let second = RedbMeta::open(Arc::new(SystemDoor), &path, clock).await.expect_err("the file is locked");
    assert!(matches!(second, Error::DataDirectoryInUse { .. }), "{second}");
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("meta.redb");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(&path).expect("a file");
    std::io::Write::write_all(&mut file, &[7; 8192]).expect("bytes");
    let error = RedbMeta::open(Arc::new(SystemDoor), &path, Arc::new(SimClock::new(0)))
        .await
        .expect_err("not a redb file");
    assert!(error.to_string().contains("meta.redb"), "{error}");
}

/// What lies in a file, in redb's own terms.
fn content_of(path: &std::path::Path) -> String {
    use redb::{ReadableDatabase as _, ReadableTable as _};
    let database = redb::Database::open(path).expect("a file of redb");
    let transaction = database.begin_read().expect("a transaction");
    let entries: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("entries");
    let state: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("state");
    let mut content = String::new();
    for item in transaction.open_table(entries).expect("a table").iter().expect("entries") {
        let (key, value) = item.expect("an entry");
        content.push_str(&format!("entries {} {:02x?}\n", key.value(), value.value()));
    }
    for item in transaction.open_table(state).expect("a table").iter().expect("numbers") {
        let (key, value) = item.expect("a number");
        content.push_str(&format!("state {} {:016x}\n", key.value(), value.value()));
    }
    content
}

async fn redb_at(path: &std::path::Path) -> RedbMeta {
    let clock = Arc::new(SimClock::new(0));
    RedbMeta::open(Arc::new(SystemDoor), path, clock).await.expect("a meta store")
}

#[tokio::test]
async fn golden_files_of_redb_read_back() {
    use crate::golden::{as_golden, path_of, writes};
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("meta.redb");
    let store = redb_at(&path).await;
    for writes in [
        vec![Write::put("catalog/revision", vec![1, 0]), Write::put("gone", "x")],
        vec![Write::put("catalog/revision", vec![2, 0]), Write::Delete { key: "gone".into() }],
    ] {
        assert!(matches!(store.commit(vec![], writes).await, Ok(Outcome::Committed(_))));
    }
    let listing = store.list("").await.expect("a list");
    drop(store);
    as_golden("meta_content", content_of(&path).as_bytes());
    if writes() {
        std::fs::copy(&path, path_of("meta.redb")).expect("a golden file");
    }
    // The file of the first build with this format, and the same as a still earlier one left it, without a digest.
    for digests in [true, false] {
        let old = directory.path().join(format!("old-{digests}.redb"));
        std::fs::copy(path_of("meta.redb"), &old).expect("the golden file");
        if !digests {
            let database = redb::Database::open(&old).expect("a file of redb");
            let transaction = database.begin_write().expect("a transaction");
            {
                let state: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("state");
                let mut state = transaction.open_table(state).expect("a table");
                state.insert("format", 1).expect("a number");
                drop(state.remove("digest").expect("a number"));
            }
            transaction.commit().expect("committed");
        }
        assert_eq!(redb_at(&old).await.list("").await.expect("a list"), listing);
    }
}
