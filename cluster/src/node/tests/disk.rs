//! A disk that fails or is full, under each of a node's back ends: nothing is acknowledged that is not synced, reads go
//! on, and writes do when the disk is well again, without a restart. The power fails at the end of each case.

use proto::Classify;
use segments::file::fault::{Fault, FaultDoor, Operation};
use segments::file::volatile::VolatileDoor;
use segments::{FileDoor, LocalStore};

use super::*;
use crate::log::FileLog;
use crate::meta::RedbMeta;
use crate::testing::{Row, Tested, row};

/// Tries until writes must work again: the first may find out that the channel has to be taken over.
const TRIES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Log,
    Meta,
    Store,
}

/// The back ends of a node on one disk, each behind a door of its own.
struct Disk {
    power: VolatileDoor,
    doors: [FaultDoor; 3],
    bench: Bench,
}

impl Disk {
    fn new() -> Self {
        let power = VolatileDoor::new();
        power.create_dirs(std::path::Path::new("/data")).expect("a directory");
        let doors = [(); 3].map(|()| FaultDoor::new(Arc::new(power.clone())));
        Self { power, doors, bench: Bench::new(Form::Memory, std::path::Path::new("")) }
    }

    fn door(&self, part: Part) -> &FaultDoor {
        &self.doors[part as usize]
    }

    async fn start(&self) -> Tested {
        let door = |part| Arc::new(self.door(part).clone()) as Arc<dyn FileDoor>;
        let clock = Arc::clone(&self.bench.clock) as _;
        let meta = RedbMeta::open(door(Part::Meta), "/data/meta.redb", clock).await.expect("the meta store");
        let log = FileLog::new(door(Part::Log), "/data/log");
        let store = LocalStore::open(door(Part::Store), "/data/store").expect("the object store");
        let parts = self.bench.parts_with(Arc::new(meta), log, Arc::new(store)).await.expect("the oracle");
        Tested { node: Node::start(parts).await.expect("a node"), database: self.bench.database }
    }
}

async fn case(part: Part, operation: Operation, error: std::io::ErrorKind) {
    let at = format!("{part:?}, {operation:?}, {error:?}");
    let disk = Disk::new();
    let tested = disk.start().await;
    let table = tested.create("t").await.expect("a table");
    tested.insert(&table, &[row(1, "before")]).await.expect("a commit");
    let mut acknowledged: Vec<Row> = vec![row(1, "before")];
    let mut unknown: Vec<Row> = Vec::new();
    disk.door(part).plan(Fault { operation, after: 0, error, forever: true });
    for id in 10..13 {
        let new = row(id, "while it fails");
        match tested.insert(&table, std::slice::from_ref(&new)).await {
            Ok(_) => acknowledged.push(new),
            Err(Error::Unknown { .. }) => unknown.push(new),
            Err(failure) => {
                let is_full = error == std::io::ErrorKind::StorageFull && operation == Operation::Write;
                let first = id == 10 && is_full;
                assert!(!first || failure.kind() == ErrorKind::DiskFull, "{at}: {failure}");
            }
        }
        let rows = tested.rows(&table).await.unwrap_or_else(|error| panic!("{at}: a read: {error}"));
        assert_eq!(rows, acknowledged, "{at}: while it fails");
    }
    assert_eq!(part == Part::Log, acknowledged.len() == 1, "{at}: {acknowledged:?}");
    let failure = tested.node.checkpoint().await.expect_err("a checkpoint needs all three");
    assert!(!matches!(failure, Error::Internal(_)), "{at}: {failure}");
    assert_eq!(
        tested.rows(&table).await.expect("a read"),
        acknowledged,
        "{at}: after a checkpoint that failed"
    );

    disk.door(part).heal();
    let mut tries = 0;
    while let Err(failure) = tested.insert(&table, &[row(20, "well again")]).await {
        tries += 1;
        assert!(tries < TRIES, "{at}: writes do not go on: {failure}");
    }
    acknowledged.push(row(20, "well again"));
    tested.node.checkpoint().await.unwrap_or_else(|error| panic!("{at}: a checkpoint: {error}"));
    tested.insert(&table, &[row(21, "not in a file")]).await.expect("a commit");
    acknowledged.push(row(21, "not in a file"));
    disk.power.power_off();
    tested.kill().await;
    disk.power.power_on(&mut |_| 0);
    let tested = disk.start().await;
    let mut rows = tested.rows(&table).await.expect("a read");
    rows.retain(|row| !unknown.contains(row));
    assert_eq!(rows, acknowledged, "{at}: after a loss of power");
    tested.kill().await;
}

#[tokio::test]
async fn nothing_is_acknowledged_after_a_failed_write_or_sync_and_all_goes_on_afterwards() {
    for part in [Part::Log, Part::Meta, Part::Store] {
        for operation in [Operation::Write, Operation::SyncFile] {
            for error in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other] {
                case(part, operation, error).await;
            }
        }
    }
}
