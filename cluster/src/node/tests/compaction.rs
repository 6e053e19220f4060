//! Merging, purging and collecting: what readers, writers, restarts and the object store see of it.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use proto::Classify;
use proto::time::ReadPoint;

use super::*;
use crate::compactor::CompactionGoal;
use crate::testing::faulty::Fuse;
use crate::testing::{Row, Tested, row};

fn bench(form: Form) -> (Bench, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut bench = Bench::new(form, directory.path());
    // What is tested is asked for.
    bench.settings.compacts = false;
    bench.settings.collection_grace_millis = 0;
    (bench, directory)
}

fn segments(tested: &Tested, table: TableId) -> Vec<(SegmentId, u64, u64)> {
    let infos = tested.node.segment_infos();
    let of_table = infos.iter().filter(|info| info.table == table);
    of_table.map(|info| (info.segment, info.rows, info.deleted)).collect()
}

async fn objects(bench: &Bench) -> BTreeSet<String> {
    let parts = bench.parts().await.expect("the back ends");
    let listed: Vec<_> = parts.store.list(None).try_collect().await.expect("a listing");
    listed.into_iter().map(|object| object.location.to_string()).collect()
}

/// Three stored segments of three rows, the second row of each deleted.
async fn three_segments(tested: &Tested, table: &Arc<proto::catalog::TableMeta>) -> Vec<Row> {
    for first in [1, 11, 21] {
        tested.insert(table, &[first, first + 1, first + 2].map(|id| row(id, "x"))).await.expect("a commit");
        tested.node.flush(table.id).await.expect("a flush");
    }
    tested.delete(table, &[2, 12, 22]).await.expect("a delete");
    [1, 3, 11, 13, 21, 23].map(|id| row(id, "x")).to_vec()
}

#[tokio::test]
async fn a_merge_keeps_rows_history_and_keys_and_purges_behind_the_horizon() {
    for form in [Form::Memory, Form::Files] {
        let (bench, _directory) = bench(form);
        let tested = bench.start().await.expect("a node");
        let table = tested.create("t").await.expect("a table");
        let before = tested.insert(&table, &[row(100, "first")]).await.expect("a commit").ts;
        let expected = three_segments(&tested, &table).await;
        let places = tested.places(&table, tested.node.barrier(tested.database).await.expect("a barrier"));
        let places = places.await.expect("a read");
        tested.delete(&table, &[100]).await.expect("a delete");

        // Nothing is old enough to be purged.
        tested.node.compact(table.id, CompactionGoal::Full).await.expect("a compaction");
        assert_eq!(
            segments(&tested, table.id).iter().map(|one| (one.1, one.2)).collect::<Vec<_>>(),
            [(10, 4)]
        );
        assert_eq!(tested.rows(&table).await.expect("a read"), expected);
        let then = tested.places(&table, ReadPoint::at(before)).await.expect("an earlier instant");
        assert_eq!(then.keys().copied().collect::<Vec<_>>(), [100]);
        let after = tested.places(&table, tested.node.barrier(tested.database).await.expect("a barrier"));
        for (id, (place, _)) in after.await.expect("a read") {
            assert_eq!(place.row, places[&id].0.row, "row ids stay");
        }
        tested.kill().await;

        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), expected);
        assert!(
            tested.insert(&table, &[row(3, "again")]).await.is_err(),
            "the merged key file knows the key"
        );
        // An hour later.
        bench.clock.advance(bench.settings.retention_millis + 1_000);
        tested.insert(&table, &[row(2, "again")]).await.expect("a freed key");
        tested.node.compact(table.id, CompactionGoal::Vacuum).await.expect("a compaction");
        assert_eq!(
            segments(&tested, table.id).iter().map(|one| (one.1, one.2)).collect::<Vec<_>>(),
            [(7, 0)]
        );
        let gone = tested.places(&table, ReadPoint::at(before)).await.expect_err("rows of then are gone");
        assert_eq!(gone.kind(), ErrorKind::SnapshotTooOld);
        let mut expected = expected;
        expected.insert(1, row(2, "again"));
        assert_eq!(tested.rows(&table).await.expect("a read"), expected);
        tested.kill().await;
        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), expected);
        let gone = tested.places(&table, ReadPoint::at(before)).await.expect_err("still gone");
        assert_eq!(gone.kind(), ErrorKind::SnapshotTooOld);
        tested.kill().await;
    }
}

#[tokio::test]
async fn a_transaction_that_read_before_a_merge_ends_its_rows_after_it() {
    let (mut bench, _directory) = bench(Form::Memory);
    bench.settings.retention_millis = 0;
    let tested = bench.start().await.expect("a node");
    let table = tested.create("t").await.expect("a table");
    let mut expected = three_segments(&tested, &table).await;
    let change = tested.deleting(&table, &[11, 23]).await.expect("a change");
    let rival = tested.deleting(&table, &[23]).await.expect("a change");
    bench.clock.advance(10);
    tested.node.compact(table.id, CompactionGoal::Full).await.expect("a compaction");
    tested.commit(vec![change]).await.expect("rows that moved are found");
    expected.retain(|row| row.0 != 11 && row.0 != 23);
    assert_eq!(tested.rows(&table).await.expect("a read"), expected);
    assert!(matches!(tested.commit(vec![rival]).await, Err(Error::Conflict)), "they have ended");
    tested.kill().await;
    // The log names the inputs; the manifest has the merged segment.
    let tested = bench.start().await.expect("the node again");
    assert_eq!(tested.rows(&table).await.expect("a read"), expected);
    // And once more: the record names rows that were purged since.
    bench.clock.advance(10);
    tested.node.compact(table.id, CompactionGoal::Full).await.expect("a compaction");
    assert_eq!(segments(&tested, table.id).iter().map(|one| (one.1, one.2)).collect::<Vec<_>>(), [(4, 0)]);
    tested.kill().await;
    let tested = bench.start().await.expect("the node again");
    assert_eq!(tested.rows(&table).await.expect("a read"), expected);
    tested.kill().await;
}

#[tokio::test]
async fn deletes_that_arrive_while_a_merge_runs_hit_the_merged_segment() {
    for rounds in 0..40 {
        let (bench, _directory) = bench(Form::Memory);
        let tested = bench.start().await.expect("a node");
        let table = tested.create("t").await.expect("a table");
        let mut expected = three_segments(&tested, &table).await;
        let deletes = async {
            for _ in 0..rounds {
                tokio::task::yield_now().await;
            }
            tested.delete(&table, &[1]).await.expect("a delete");
            tested.delete(&table, &[13]).await.expect("a delete");
        };
        let (merged, ()) = tokio::join!(tested.node.compact(table.id, CompactionGoal::Full), deletes);
        merged.expect("a compaction");
        expected.retain(|row| row.0 != 1 && row.0 != 13);
        assert_eq!(segments(&tested, table.id).len(), 1);
        assert_eq!(tested.rows(&table).await.expect("a read"), expected, "after {rounds} rounds");
        tested.kill().await;
        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), expected, "after {rounds} rounds");
        tested.node.checkpoint().await.expect("a checkpoint");
        tested.kill().await;
        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), expected, "after {rounds} rounds");
        tested.kill().await;
    }
}

#[tokio::test]
async fn nothing_that_is_needed_is_collected_and_everything_else_is() {
    for form in [Form::Memory, Form::Files] {
        let (mut bench, _directory) = bench(form);
        bench.settings.retention_millis = 0;
        let tested = bench.start().await.expect("a node");
        let table = tested.create("t").await.expect("a table");
        let dropped = tested.create("dropped").await.expect("a table");
        tested.insert(&dropped, &[row(1, "x")]).await.expect("a commit");
        let expected = three_segments(&tested, &table).await;
        tested.node.checkpoint().await.expect("a checkpoint");
        // A reader of the inputs.
        let point = tested.node.barrier(tested.database).await.expect("a barrier");
        let reader = tested.node.snapshot(table.id, point).await.expect("a snapshot");
        bench.clock.advance(10);
        tested.node.compact(table.id, CompactionGoal::Full).await.expect("a compaction");
        tested.ddl(vec![CatalogChange::DropTable(dropped.id)]).await.expect("a drop");
        let parts = &tested.node.parts;
        let orphan = object_store::path::Path::from(format!("16384/{}/0/999/1-7-scalars", table.id));
        let foreign = object_store::path::Path::from("backup/notes.txt");
        parts.store.put(&orphan, "left behind".into()).await.expect("an object");
        parts.store.put(&foreign, "not ours".into()).await.expect("an object");
        tested.node.collect().await.expect("a collection");
        let held = tested.node.garbage()[&table.id];
        assert!(held.pending_objects >= 9 && held.pending_bytes > 0, "the reader's segments stay: {held:?}");
        assert_eq!(reader.visible_rows(), 6);
        drop(reader);
        tested.node.collect().await.expect("a collection");
        let done = tested.node.garbage()[&table.id];
        assert_eq!(done.pending_objects, 0);
        assert!(done.reclaimed_objects > held.reclaimed_objects && done.reclaimed_bytes > 0);
        assert_eq!(tested.rows(&table).await.expect("a read"), expected);
        tested.kill().await;

        let mut left = objects(&bench).await;
        // What exists is written down there, in a few objects at any time.
        left.retain(|key| !key.starts_with("catalog/"));
        let ours = format!("16384/{}/", table.id);
        assert!(left.iter().all(|key| key.starts_with(&ours) || key == "backup/notes.txt"), "{left:?}");
        assert!(left.contains("backup/notes.txt") && !left.contains(orphan.as_ref()));
        let segments: BTreeSet<&str> = left.iter().filter_map(|key| key.split('/').nth(3)).collect();
        assert_eq!(
            segments.len(),
            1 + left.iter().filter(|key| key.contains("/manifest/")).count(),
            "{left:?}"
        );
        let pointers =
            bench.parts().await.expect("the back ends").meta.list("storage/").await.expect("a listing");
        assert_eq!(pointers.entries.len(), 1, "the dropped table's pointer is gone");
        let tested = bench.start().await.expect("the node again");
        assert_eq!(tested.rows(&table).await.expect("a read"), expected);
        tested.kill().await;
    }
}

/// Merges and collections between writes, stopping at the first failure.
async fn work(
    tested: &Tested,
    bench: &Bench,
    table: &Arc<proto::catalog::TableMeta>,
    rows: &mut std::collections::BTreeMap<i64, String>,
) -> Result<bool> {
    for round in 0..2_i64 {
        let ids = [round * 10 + 1, round * 10 + 2, round * 10 + 3];
        let done = tested.insert(table, &ids.map(|id| row(id, "new"))).await;
        if done.is_err() {
            return Ok(false);
        }
        rows.extend(ids.map(|id| (id, "new".to_owned())));
        tested.node.flush(table.id).await?;
        if tested.delete(table, &[ids[0]]).await.is_err() {
            return Ok(false);
        }
        rows.remove(&ids[0]);
        let late = tested.deleting(table, &[ids[2]]).await?;
        bench.clock.advance(5);
        tested.node.compact(table.id, CompactionGoal::Full).await?;
        if tested.commit(vec![late]).await.is_err() {
            return Ok(false);
        }
        rows.remove(&ids[2]);
        tested.node.collect().await?;
    }
    tested.node.checkpoint().await?;
    tested.node.collect().await?;
    Ok(true)
}

#[tokio::test]
async fn a_node_killed_at_any_step_of_a_merge_has_its_inputs_or_the_merged_segment() {
    let mut steps = 0;
    let mut found = 0;
    loop {
        let (mut bench, _directory) = bench(Form::Memory);
        bench.settings.retention_millis = 0;
        let fuse = Fuse::unlimited();
        let tested = bench.start_with(&fuse).await.expect("a node");
        let table = tested.create("t").await.expect("a table");
        let mut rows = std::collections::BTreeMap::new();
        fuse.light(steps);
        let done = work(&tested, &bench, &table, &mut rows).await;
        tested.kill().await;
        let at = format!("killed after {steps} operations, {done:?}");
        let expected: Vec<Row> = rows.into_iter().collect();
        let mut objects_left = Vec::new();
        for round in 0..3 {
            let tested = bench.start().await.unwrap_or_else(|error| panic!("{at}, {round}: {error}"));
            let read = tested.rows(&table).await.unwrap_or_else(|error| panic!("{at}, {round}: {error}"));
            // A write whose answer was lost may have happened.
            if !matches!(done, Ok(false)) {
                assert_eq!(read, expected, "{at}, {round}");
            }
            bench.clock.advance(5);
            match round {
                0 => tested.node.compact(table.id, CompactionGoal::Full).await.expect("a compaction"),
                _ => tested.node.checkpoint().await.expect("a checkpoint"),
            }
            tested.node.collect().await.unwrap_or_else(|error| panic!("{at}, {round}: {error}"));
            assert_eq!(tested.rows(&table).await.expect("a read"), read, "{at}, {round}");
            tested.kill().await;
            objects_left = objects(&bench).await.into_iter().collect();
        }
        let segments: BTreeSet<&str> =
            objects_left.iter().filter_map(|key| key.split("/0/").nth(1)).collect();
        let segments: BTreeSet<&str> = segments.iter().filter_map(|key| key.split('/').next()).collect();
        assert!(segments.len() <= 1, "{at}: {objects_left:?}");
        found += usize::from(done.is_err());
        if matches!(done, Ok(true)) {
            assert!(found > 15, "only {found} of {steps} kills were in a flush or a merge");
            return;
        }
        steps += 1;
    }
}
