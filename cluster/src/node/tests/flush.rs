use super::*;
use crate::testing::faulty::Fuse;
use crate::testing::{Tested, row};

fn bench(form: Form) -> (Bench, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    (Bench::new(form, directory.path()), directory)
}

fn stages(tested: &Tested, table: TableId) -> Vec<&'static str> {
    let infos = tested.node.segment_infos();
    infos.iter().filter(|info| info.table == table).map(|info| info.stage).collect()
}

/// The offset a restart of the tests' channel begins at, and the first the log still has.
async fn log_state(bench: &Bench) -> (u64, u64, u64) {
    let parts = bench.parts().await.expect("the back ends");
    let bounds = parts.log.open(ChannelId(16_384), 0).await.expect("the channel");
    let checkpoint =
        parts.meta.get(&crate::catalog::checkpoint_key(ChannelId(16_384))).await.expect("a read");
    let checkpoint = checkpoint.map_or(0, |entry| {
        let decoded: crate::channel::Checkpoint = prost::Message::decode(entry.value).expect("a checkpoint");
        decoded.offset
    });
    (checkpoint, bounds.first.0, bounds.end.0)
}

#[tokio::test]
async fn a_checkpoint_moves_rows_to_files_and_trims_the_log() {
    for form in [Form::Memory, Form::Files] {
        let (bench, _directory) = bench(form);
        let tested = bench.start().await.expect("a node");
        let table = tested.create("t").await.expect("a table");
        tested.insert(&table, &[row(1, "a"), row(2, "b"), row(3, "c")]).await.expect("a commit");
        tested.delete(&table, &[2]).await.expect("a delete");
        let last = tested.update(&table, &[row(3, "new")]).await.expect("an update");
        let expected = [row(1, "a"), row(3, "new")];
        tested.node.checkpoint().await.expect("a checkpoint");
        assert_eq!(stages(&tested, table.id), ["sealed"]);
        assert_eq!(tested.rows(&table).await.expect("a read"), expected);
        tested.insert(&table, &[row(4, "d")]).await.expect("a commit");
        assert_eq!(stages(&tested, table.id), ["sealed", "growing"]);
        assert!(tested.insert(&table, &[row(1, "again")]).await.is_err(), "the key file knows the key");
        tested.delete(&table, &[4]).await.expect("a delete");
        tested.node.checkpoint().await.expect("another checkpoint");
        tested.node.checkpoint().await.expect("one with nothing to do");
        tested.kill().await;

        let (checkpoint, _, end) = log_state(&bench).await;
        assert_eq!(checkpoint, end, "a restart needs nothing of the log");
        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), expected);
        assert!(tested.insert(&table, &[row(3, "again")]).await.is_err());
        let next = tested.insert(&table, &[row(2, "b")]).await.expect("a freed key");
        assert!(next.ts > last.ts);
        let point = tested.node.barrier(tested.database).await.expect("a barrier");
        let places = tested.places(&table, point).await.expect("a read");
        assert_eq!(places[&2].0.row, RowId(6), "row ids are never used twice");
        tested.kill().await;
    }
}

#[tokio::test]
async fn deletes_survive_in_every_state_of_their_segment() {
    for form in [Form::Memory, Form::Files] {
        let (bench, _directory) = bench(form);
        let (works, full) = (Fuse::unlimited(), Fuse::new(0));
        let tested = bench.start_behind([&works, &works, &full]).await.expect("a node whose store is full");
        let table = tested.create("t").await.expect("a table");
        let all: Vec<_> = (1..=8).map(|id| row(id, "x")).collect();
        tested.insert(&table, &all).await.expect("a commit");
        tested.delete(&table, &[1]).await.expect("a delete of a growing row");
        seal(&tested).await;
        assert_eq!(stages(&tested, table.id), ["frozen"]);
        tested.delete(&table, &[2]).await.expect("a delete of a sealed row that is in no file");
        tested.kill().await;

        let tested = bench.start().await.expect("the node again");
        tested.delete(&table, &[3]).await.expect("a delete after the restart");
        tested.node.checkpoint().await.expect("a checkpoint");
        assert_eq!(stages(&tested, table.id), ["sealed"]);
        tested.delete(&table, &[4]).await.expect("a delete of a stored row");
        tested.kill().await;

        let tested = bench.start().await.expect("the node again");
        let left = |from| (from..=8).map(|id| row(id, "x")).collect::<Vec<_>>();
        assert_eq!(tested.rows(&table).await.expect("a read"), left(5));
        tested.delete(&table, &[5]).await.expect("a delete");
        tested.node.checkpoint().await.expect("a checkpoint with only deletes to write");
        tested.kill().await;

        let (checkpoint, _, end) = log_state(&bench).await;
        assert_eq!(checkpoint, end, "the deletes are in an object");
        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), left(6));
        let mut change = proto::record::TableChange::new(table.id, 1);
        change.truncate = true;
        tested.commit(vec![change]).await.expect("a truncate of stored rows");
        tested.insert(&table, &[row(1, "after")]).await.expect("a commit");
        tested.kill().await;

        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), [row(1, "after")]);
        tested.node.checkpoint().await.expect("a checkpoint");
        tested.kill().await;
        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), [row(1, "after")]);
        tested.kill().await;
    }
}

/// Ends the growing segments on a node whose flusher cannot write: they stay frozen.
async fn seal(tested: &Tested) {
    let runtime = tested.node.runtime(tested.database).expect("a channel");
    runtime.owner.ask(|reply| OwnerMessage::Seal { only: None, reply }).await.expect("seals");
}

#[tokio::test]
async fn an_idle_table_holds_the_checkpoint_until_it_is_flushed() {
    let (mut bench, _directory) = bench(Form::Memory);
    bench.settings.segment_bytes = 2_000;
    let tested = bench.start().await.expect("a node");
    let (idle, busy) =
        (tested.create("idle").await.expect("a table"), tested.create("busy").await.expect("a table"));
    tested.insert(&idle, &[row(1, "kept")]).await.expect("a commit");
    for id in 0..200 {
        tested.insert(&busy, &[row(id, "some text to fill segments with")]).await.expect("a commit");
    }
    let flushed = || stages(&tested, busy.id).iter().filter(|stage| **stage == "sealed").count();
    while flushed() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stages(&tested, idle.id), ["growing"]);
    let busy_rows = tested.rows(&busy).await.expect("a read");
    tested.kill().await;
    let (checkpoint, first, end) = log_state(&bench).await;
    assert!(checkpoint < 10 && end > 200, "the idle table's row is at {checkpoint} of {end}");
    assert!(first <= checkpoint);

    let tested = bench.start().await.expect("the node again");
    assert_eq!(tested.rows(&idle).await.expect("a read"), [row(1, "kept")]);
    assert_eq!(tested.rows(&busy).await.expect("a read"), busy_rows);
    tested.node.checkpoint().await.expect("a checkpoint");
    tested.kill().await;
    let (checkpoint, first, end) = log_state(&bench).await;
    assert_eq!((checkpoint, first), (end, end));
    let tested = bench.start().await.expect("the node again");
    assert_eq!(tested.rows(&idle).await.expect("a read"), [row(1, "kept")]);
    assert_eq!(tested.rows(&busy).await.expect("a read"), busy_rows);
}

#[tokio::test]
async fn a_checkpoint_held_by_an_older_epoch_keeps_that_epochs_records() {
    let (mut bench, _directory) = bench(Form::Memory);
    bench.settings.segment_bytes = 2_000;
    let tested = bench.start().await.expect("a node");
    let (idle, busy) =
        (tested.create("idle").await.expect("a table"), tested.create("busy").await.expect("a table"));
    tested.insert(&idle, &[row(1, "of the first epoch")]).await.expect("a commit");
    tested.kill().await;
    for start in [0, 1000] {
        let tested = bench.start().await.expect("the node again");
        let before = stages(&tested, busy.id).len();
        for id in start..start + 100 {
            tested.insert(&busy, &[row(id, "some text to fill segments with")]).await.expect("a commit");
        }
        // A flush moves the checkpoint, which the idle table holds in the first epoch.
        while stages(&tested, busy.id).iter().filter(|stage| **stage == "sealed").count() <= before {
            tokio::task::yield_now().await;
        }
        assert_eq!(tested.rows(&idle).await.expect("a read"), [row(1, "of the first epoch")]);
        tested.kill().await;
        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&idle).await.expect("a read"), [row(1, "of the first epoch")]);
        assert_eq!(tested.rows(&busy).await.expect("a read").len() as i64, start / 10 + 100);
        tested.kill().await;
    }
}

#[tokio::test]
async fn the_log_is_kept_short_by_itself() {
    let (mut bench, _directory) = bench(Form::Memory);
    bench.settings.log_bytes = 20_000;
    let tested = bench.start().await.expect("a node");
    let table = tested.create("t").await.expect("a table");
    for id in 0..100 {
        tested.insert(&table, &[row(id, "text")]).await.expect("a commit");
    }
    while !stages(&tested, table.id).contains(&"sealed") {
        tokio::task::yield_now().await;
    }
    assert_eq!(tested.rows(&table).await.expect("a read").len(), 100);
}

#[tokio::test]
async fn an_open_transaction_holds_the_checkpoint() {
    let (bench, _directory) = bench(Form::Memory);
    let tested = bench.start().await.expect("a node");
    let table = tested.create("t").await.expect("a table");
    let mut request = tested.request(vec![]).await.expect("a request");
    let payload = vec![tested.inserting(&table, &[row(1, "late")])];
    tested.node.append_payload(tested.database, request.txn, 0, payload).await.expect("a payload");
    tested.insert(&table, &[row(2, "early")]).await.expect("a commit");
    tested.node.checkpoint().await.expect("a checkpoint");
    request.payload_parts = 1;
    tested.node.commit(request).await.expect("a commit");
    tested.kill().await;
    let tested = bench.start().await.expect("the node again");
    assert_eq!(tested.rows(&table).await.expect("a read"), [row(1, "late"), row(2, "early")]);
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    let (bench, directory) = bench(Form::Files);
    let tested = bench.start().await.expect("a node");
    let table = tested.create("t").await.expect("a table");
    tested.insert(&table, &[row(1, "a")]).await.expect("a commit");
    tested.node.checkpoint().await.expect("a checkpoint");
    tested.kill().await;
    let root = directory.path().join(format!("store/16384/{}/0", table.id));
    let segment = std::fs::read_dir(root).expect("segments").next().expect("one").expect("an entry").path();
    for entry in std::fs::read_dir(segment).expect("objects") {
        let path = entry.expect("an entry").path();
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("an object");
        let length = file.metadata().expect("its length").len();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(length / 2)).expect("a seek");
        std::io::Write::write_all(&mut file, b"damage").expect("a write");
    }
    let failed = match bench.start().await {
        Ok(tested) => tested.rows(&table).await.expect_err("damaged bytes are no answer").to_string(),
        Err(error) => error.to_string(),
    };
    assert!(failed.contains(&format!("16384/{}", table.id)), "{failed}");
}
