use proto::Classify;
use segments::SystemDoor;
use segments::file::fault::{Fault, FaultDoor, Operation};

use super::*;
use crate::log::FileLog;
use crate::meta::MemoryMeta;
use crate::testing::faulty::Fuse;
use crate::testing::{Tested, row, table_meta};
use crate::{rebuild, verify};

fn benches() -> Vec<(Bench, Option<tempfile::TempDir>)> {
    let directory = tempfile::tempdir().expect("a directory");
    vec![
        (Bench::new(Form::Memory, directory.path()), None),
        (Bench::new(Form::Files, directory.path()), Some(directory)),
    ]
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() {
    for (bench, _directory) in benches() {
        let tested = bench.start().await.expect("a node");
        let table = tested.create("t").await.expect("a table");
        let sequence = tested.create_sequence("s", 1, i64::MAX).await.expect("a sequence");
        let given = tested.node.next_values(sequence, 3).await.expect("values");
        tested.insert(&table, &[row(1, "a"), row(2, "b"), row(3, "c")]).await.expect("a commit");
        tested.delete(&table, &[2]).await.expect("a delete");
        let last = tested.update(&table, &[row(3, "new")]).await.expect("an update");
        // A transaction that is never decided.
        let open = tested.node.draw_txn();
        let payload = vec![tested.inserting(&table, &[row(7, "open")])];
        tested.node.append_payload(tested.database, open, 0, payload).await.expect("a payload");
        tested.kill().await;

        let tested = bench.start().await.expect("the node again");
        let table = Arc::clone(&tested.node.catalog().tables[&table.id]);
        assert_eq!(tested.rows(&table).await.expect("a read"), [row(1, "a"), row(3, "new")]);
        let barrier = tested.node.barrier(tested.database).await.expect("a barrier");
        assert_eq!(barrier.read_ts, last.ts);
        let next = tested.node.next_values(sequence, 1).await.expect("a value");
        assert!(next[0] > given[2], "{next:?} after {given:?}");
        let mut request = tested.request(vec![]).await.expect("a request");
        (request.txn, request.payload_parts) = (open, 1);
        assert!(matches!(tested.node.commit(request).await, Err(Error::Conflict)), "its front is gone");
        let after = tested.insert(&table, &[row(4, "d")]).await.expect("a commit");
        assert!(after.ts > last.ts);
        tested.node.stop().await.expect("a stop");
    }
}

#[tokio::test]
async fn an_old_node_cannot_write_behind_a_new_one() {
    let bench = Bench::new(Form::Memory, std::path::Path::new(""));
    let old = bench.start().await.expect("a node");
    let table = old.create("t").await.expect("a table");
    old.insert(&table, &[row(1, "a")]).await.expect("a commit");
    let new = bench.start().await.expect("a second node on the same back ends");
    new.insert(&table, &[row(2, "b")]).await.expect("a commit");
    // The old node finds out, takes over in turn and sees what it missed.
    let refused = old.insert(&table, &[row(2, "c")]).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(new.rows(&table).await.expect("a read"), [row(1, "a"), row(2, "b")]);
    let duplicate = old.insert(&table, &[row(2, "c")]).await;
    assert!(
        matches!(duplicate, Err(Error::DuplicateKey { .. } | Error::Unavailable { .. })),
        "{duplicate:?}"
    );
}

#[tokio::test]
async fn a_log_of_another_cluster_is_refused() {
    let bench = Bench::new(Form::Memory, std::path::Path::new(""));
    let tested = bench.start().await.expect("a node");
    let table = tested.create("t").await.expect("a table");
    tested.insert(&table, &[row(1, "a")]).await.expect("a commit");
    tested.node.checkpoint().await.expect("a checkpoint");
    tested.kill().await;
    let parts = bench.parts().await.expect("the back ends");
    let stranger = bench.parts_with(parts.meta, MemoryLog::new(), parts.store).await.expect("parts");
    let error = Node::start(stranger).await.expect_err("an empty log in place of the real one");
    assert!(matches!(error, Error::Corrupted { .. }), "{error}");
}

#[tokio::test]
async fn a_failing_disk_is_survived_without_a_restart() {
    for operation in [Operation::Write, Operation::SyncFile] {
        let directory = tempfile::tempdir().expect("a directory");
        let bench = Bench::new(Form::Memory, directory.path());
        let parts = bench.parts().await.expect("the back ends");
        let door = FaultDoor::new(Arc::new(SystemDoor));
        let log = FileLog::new(Arc::new(door.clone()), directory.path());
        let parts =
            bench.parts_with(Arc::clone(&parts.meta), log, Arc::clone(&parts.store)).await.expect("parts");
        let tested = Tested { node: Node::start(parts).await.expect("a node"), database: bench.database };
        let table = tested.create("t").await.expect("a table");
        tested.insert(&table, &[row(1, "a")]).await.expect("a commit");
        let mut open = tested.request(vec![]).await.expect("a request");
        let payload = vec![tested.inserting(&table, &[row(5, "open")])];
        tested.node.append_payload(tested.database, open.txn, 0, payload).await.expect("a payload");
        open.payload_parts = 1;

        let error = std::io::ErrorKind::StorageFull;
        door.plan(Fault { operation, after: 0, error, forever: false });
        let failed = tested.insert(&table, &[row(2, "b")]).await;
        match (operation, failed) {
            (Operation::Write, Err(error)) => assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}"),
            (_, failed) => assert!(matches!(failed, Err(Error::Unknown { .. })), "{failed:?}"),
        }
        tested.insert(&table, &[row(2, "again")]).await.expect("nothing of the failed one is there");
        let decided = tested.node.commit(open).await;
        // A definite failure leaves the channel as it was; a takeover voids what was open.
        assert_eq!(decided.is_ok(), operation == Operation::Write, "{decided:?}");
        let rows = tested.rows(&table).await.expect("a read");
        assert_eq!(rows[..2], [row(1, "a"), row(2, "again")]);
        assert_eq!(rows.len(), if operation == Operation::Write { 3 } else { 2 });
        tested.node.checkpoint().await.expect("a checkpoint");
        assert_eq!(tested.rows(&table).await.expect("a read"), rows);
    }
}

#[tokio::test]
async fn a_checkpoint_does_not_come_between_a_commit_and_its_payloads() {
    let bench = Bench::new(Form::Memory, std::path::Path::new(""));
    let tested = bench.start().await.expect("a node");
    let (large, small) =
        (tested.create("large").await.expect("a table"), tested.create("small").await.expect("a table"));
    let mut request = tested.request(Vec::new()).await.expect("a request");
    let payload = vec![tested.inserting(&large, &[row(1, "in a payload")])];
    tested.node.append_payload(tested.database, request.txn, 0, payload).await.expect("a payload");
    // Between payload and Commit: a row that stays in memory, so that the checkpoint cannot pass it.
    tested.insert(&small, &[row(1, "kept")]).await.expect("a commit");
    request.payload_parts = 1;
    tested.node.commit(request).await.expect("the commit");
    tested.node.flush(large.id).await.expect("a flush");
    tested.kill().await;
    let tested = bench.start().await.expect("the node again");
    assert_eq!(tested.rows(&large).await.expect("a read"), [row(1, "in a payload")]);
    assert_eq!(tested.rows(&small).await.expect("a read"), [row(1, "kept")]);
}

#[tokio::test]
async fn transactions_whose_payloads_lie_between_each_others_hold_the_checkpoint_together() {
    let bench = Bench::new(Form::Memory, std::path::Path::new(""));
    let tested = bench.start().await.expect("a node");
    let (large, small) =
        (tested.create("large").await.expect("a table"), tested.create("small").await.expect("a table"));
    let mut requests = Vec::new();
    for id in [1, 2] {
        let mut request = tested.request(Vec::new()).await.expect("a request");
        let payload = vec![tested.inserting(&large, &[row(id, "in a payload")])];
        tested.node.append_payload(tested.database, request.txn, 0, payload).await.expect("a payload");
        request.payload_parts = 1;
        requests.push(request);
    }
    // The first ends before the record that holds the checkpoint, the second began before the first ended.
    let [first, second] = <[_; 2]>::try_from(requests).expect("two");
    tested.node.commit(first).await.expect("the first commit");
    tested.insert(&small, &[row(1, "kept")]).await.expect("a commit");
    tested.node.commit(second).await.expect("the second commit");
    for _ in 0..2 {
        tested.node.flush(large.id).await.expect("a flush");
        tested.insert(&large, &[row(3, "new")]).await.expect("a commit");
        tested.delete(&large, &[3]).await.expect("a delete");
    }
    tested.kill().await;
    let tested = bench.start().await.expect("the node again");
    let rows = tested.rows(&large).await.expect("a read");
    assert_eq!(rows, [row(1, "in a payload"), row(2, "in a payload")]);
    tested.kill().await;
    // A replay passes over what is stored; what it has noted must lead as far back.
    let tested = bench.start().await.expect("the node once more");
    tested.insert(&large, &[row(4, "new")]).await.expect("a commit");
    tested.node.flush(large.id).await.expect("a flush");
    tested.kill().await;
    let tested = bench.start().await.expect("the node again");
    assert_eq!(tested.rows(&large).await.expect("a read").len(), 3);
    assert_eq!(tested.rows(&small).await.expect("a read"), [row(1, "kept")]);
}

#[tokio::test]
async fn a_change_of_the_catalog_whose_commit_is_missing_is_not_seen_in_part() {
    for (bench, _directory) in benches() {
        let (works, log) = (Fuse::unlimited(), Fuse::unlimited());
        let tested = bench.start_behind([&works, &log, &works]).await.expect("a node");
        let table = table_meta(tested.database, 20_000, "t");
        let mut request =
            tested.request(vec![tested.inserting(&table, &[row(1, "a")])]).await.expect("a request");
        request.catalog = vec![CatalogChange::PutTable(Arc::clone(&table))];
        // Rows, and the sync before the decision; the Commit does not get into the log.
        log.light(2);
        let error = tested.node.commit(request).await.expect_err("no log, no answer");
        assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
        log.light(i64::MAX);
        // It is decided, so the table is there, with its rows.
        let table = Arc::clone(&tested.node.catalog().tables[&table.id]);
        assert_eq!(tested.rows(&table).await.expect("a read"), [row(1, "a")]);
        tested.kill().await;
        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), [row(1, "a")]);
    }
}

#[tokio::test]
async fn a_drop_that_has_happened_is_not_answered_with_what_failed_behind_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut bench = Bench::new(Form::Memory, directory.path());
    bench.settings.retention_millis = 0;
    let (works, meta) = (Fuse::unlimited(), Fuse::unlimited());
    let tested = bench.start_behind([&meta, &works, &works]).await.expect("a node");
    let table = tested.create("t").await.expect("a table");
    // The change itself; what lets go of the table comes behind it.
    meta.light(1);
    tested.ddl(vec![CatalogChange::DropTable(table.id)]).await.expect("the table is gone");
    assert!(meta.is_out(), "nothing was written behind it");
    assert!(!tested.node.catalog().tables.contains_key(&table.id));
}

#[tokio::test]
async fn a_collection_that_is_cut_short_leaves_nothing_that_looks_damaged_or_stops_a_rebuild() {
    let mut cuts = 0;
    for deletions in 0..12 {
        let directory = tempfile::tempdir().expect("a directory");
        let mut bench = Bench::new(Form::Memory, directory.path());
        bench.settings.retention_millis = 0;
        bench.settings.collection_grace_millis = 0;
        let (works, store) = (Fuse::unlimited(), Fuse::unlimited());
        let tested = bench.start_behind([&works, &works, &store]).await.expect("a node");
        let kept = tested.create("kept").await.expect("a table");
        tested.insert(&kept, &[row(1, "kept")]).await.expect("a commit");
        let table = tested.create("t").await.expect("a table");
        for id in 0..4 {
            tested.insert(&table, &[row(id, "a")]).await.expect("a commit");
            tested.node.flush(table.id).await.expect("a flush");
        }
        tested.node.checkpoint().await.expect("a checkpoint");
        tested.ddl(vec![CatalogChange::DropTable(table.id)]).await.expect("a drop");
        bench.clock.advance(10);
        store.light(deletions);
        cuts += u64::from(tested.node.collect().await.is_err());
        tested.kill().await;

        let NodeParts { meta, log, store, clock, dice, .. } = bench.parts().await.expect("the back ends");
        let stores = verify::Stores { meta, log, store: Arc::clone(&store) };
        let report = verify::verify(&stores, &|_, _| ()).await.expect("a walk");
        assert_eq!(report.damage, [], "after {deletions} deletions");
        let (meta, log) = (Arc::new(MemoryMeta::new(Arc::clone(&clock))), MemoryLog::new());
        let target = rebuild::Target { meta, log, store, clock, dice };
        let report = rebuild::rebuild(&target, &|_, _| ()).await.expect("a rebuild");
        let tables: Vec<u64> = report.databases.iter().map(|database| database.tables).collect();
        assert_eq!(tables, [0, 0, 1], "after {deletions} deletions: {report:?}");
    }
    assert!(cuts >= 6, "only {cuts} collections were cut short");
}
