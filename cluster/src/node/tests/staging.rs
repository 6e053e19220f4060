//! Rows that are in files before their commit.

use object_store::ObjectStore as _;

use super::*;
use crate::testing::{Tested, row};

async fn started() -> (Bench, Tested, Arc<proto::catalog::TableMeta>) {
    let mut bench = Bench::new(Form::Memory, std::path::Path::new(""));
    bench.settings.collection_grace_millis = 0;
    let tested = bench.start().await.expect("a node");
    let table = tested.create("t").await.expect("a table");
    (bench, tested, table)
}

fn staged_rows(ids: std::ops::Range<i64>) -> Vec<crate::testing::Row> {
    ids.map(|id| row(id, "staged")).collect()
}

async fn objects(tested: &Tested, table: &proto::catalog::TableMeta) -> usize {
    use futures::TryStreamExt as _;
    let prefix = object_store::path::Path::from(format!("{}/{}/0", table.database, table.id));
    let listed = tested.node.parts.store.list(Some(&prefix)).try_collect::<Vec<_>>();
    listed.await.expect("a listing").len()
}

fn stages(tested: &Tested, table: &proto::catalog::TableMeta) -> Vec<&'static str> {
    let of_table = tested.node.segment_infos().into_iter().filter(|info| info.table == table.id);
    of_table.map(|info| info.stage).collect()
}

#[tokio::test]
async fn staged_rows_begin_at_their_commit_and_survive_a_kill_before_any_flush() {
    let (bench, tested, table) = started().await;
    tested.insert(&table, &[row(1, "before")]).await.expect("a commit");
    let before = tested.node.barrier(tested.database).await.expect("a barrier");
    tested.insert_staged(&table, &staged_rows(10..20), &[3]).await.expect("a commit");
    tested.insert(&table, &[row(2, "behind")]).await.expect("a commit");
    let mut expected = vec![row(1, "before"), row(2, "behind")];
    expected.extend(staged_rows(10..20).into_iter().filter(|row| row.0 != 13));
    assert_eq!(tested.rows(&table).await.expect("a read"), expected);
    let earlier = tested.places(&table, before).await.expect("a read");
    assert_eq!(earlier.keys().copied().collect::<Vec<_>>(), [1]);
    let ids: std::collections::BTreeSet<RowId> = tested
        .places(&table, tested.node.barrier(tested.database).await.expect("a barrier"))
        .await
        .expect("a read")
        .values()
        .map(|(place, _)| place.row)
        .collect();
    assert_eq!(ids.len(), expected.len(), "row ids differ");
    tested.kill().await;
    let again = bench.start().await.expect("the node again");
    assert_eq!(again.rows(&table).await.expect("a read"), expected);
    again.delete(&table, &[10]).await.expect("a commit");
    again.insert(&table, &[row(10, "staged")]).await.expect("a commit");
    again.node.checkpoint().await.expect("a checkpoint");
    assert_eq!(again.rows(&table).await.expect("a read"), expected);
    assert!(stages(&again, &table).iter().all(|stage| *stage == "sealed"));
    again.kill().await;
    let last = bench.start().await.expect("the node again");
    assert_eq!(last.rows(&table).await.expect("a read"), expected);
    last.kill().await;
}

#[tokio::test]
async fn what_is_given_up_is_collected_and_what_is_kept_is_not() {
    let (_bench, tested, table) = started().await;
    let (change, staged) = tested.staging(&table, &staged_rows(0..5), &[]).await.expect("files");
    assert_eq!(objects(&tested, &table).await, 2);
    tested.node.parts.garbage.scan();
    tested.node.collect().await.expect("a collection");
    assert_eq!(objects(&tested, &table).await, 2, "somebody still means to commit them");
    let mut request = tested.request(vec![change]).await.expect("a request");
    request.staged = vec![staged];
    tested.node.commit(request).await.expect("a commit");
    tested.node.checkpoint().await.expect("a checkpoint");
    let (_, given_up) = tested.staging(&table, &staged_rows(5..9), &[]).await.expect("files");
    let kept = objects(&tested, &table).await - 2;
    drop(given_up);
    tested.node.collect().await.expect("a collection");
    assert_eq!(objects(&tested, &table).await, kept);
    assert_eq!(tested.rows(&table).await.expect("a read"), staged_rows(0..5));
    tested.kill().await;
}

#[tokio::test]
async fn a_value_of_a_staged_row_is_taken_once() {
    let (_bench, tested, table) = started().await;
    tested.insert(&table, &[row(1, "early")]).await.expect("a commit");
    let looked = tested.node.barrier(tested.database).await.expect("a barrier").read_ts;
    tested.insert(&table, &[row(2, "late")]).await.expect("a commit");
    let commit = async |rows: &[crate::testing::Row], since, beside: &[crate::testing::Row]| {
        let (mut change, staged) = tested.staging(&table, rows, &[]).await.expect("files");
        if !beside.is_empty() {
            change.inserts = vec![crate::testing::batch(&table, beside)];
        }
        let mut request = tested.request(vec![change]).await.expect("a request");
        (request.staged, request.keys_since) = (vec![staged], since);
        tested.node.commit(request).await
    };
    let duplicate = |outcome| matches!(outcome, Err(Error::DuplicateKey { .. }));
    assert!(duplicate(commit(&staged_rows(1..3), proto::Timestamp::ZERO, &[]).await));
    assert!(duplicate(commit(&staged_rows(2..3), looked, &[]).await), "begun since the statement looked");
    assert!(duplicate(commit(&staged_rows(5..7), looked, &[row(6, "beside")]).await));
    let twice = [row(8, "one"), row(8, "two")];
    assert!(duplicate(commit(&twice, proto::Timestamp::ZERO, &[]).await));
    commit(&staged_rows(5..7), looked, &[row(7, "beside")]).await.expect("a commit");
    assert!(duplicate(tested.insert(&table, &[row(5, "again")]).await), "a staged row has it");
    let ids: Vec<i64> = tested.rows(&table).await.expect("a read").into_iter().map(|row| row.0).collect();
    assert_eq!(ids, [1, 2, 5, 6, 7]);
    tested.kill().await;
}

#[tokio::test]
async fn staged_rows_without_their_files_at_hand_are_refused() {
    let (_bench, tested, table) = started().await;
    let (change, _kept) = tested.staging(&table, &staged_rows(0..3), &[]).await.expect("files");
    let request = tested.request(vec![change]).await.expect("a request");
    assert!(matches!(tested.node.commit(request).await, Err(Error::Conflict)));
    assert_eq!(tested.rows(&table).await.expect("a read"), []);
    tested.kill().await;
}
