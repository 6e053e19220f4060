use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use proto::catalog::{CatalogChange, ForeignKey, UniqueKey};
use proto::record::TableChange;

use super::*;
use crate::testing::{Tested, batch, row, table_meta};

async fn started() -> (Bench, Tested) {
    let bench = Bench::new(Form::Memory, std::path::Path::new(""));
    let tested = bench.start().await.expect("a node on empty back ends");
    (bench, tested)
}

#[tokio::test]
async fn a_commit_is_visible_to_the_next_barrier_and_not_before() {
    let (_bench, tested) = started().await;
    let table = tested.create("t").await.expect("a table");
    let before = tested.node.barrier(tested.database).await.expect("a barrier");
    let outcome = tested.insert(&table, &[row(1, "a"), row(2, "b")]).await.expect("a commit");
    let after = tested.node.barrier(tested.database).await.expect("a barrier");
    assert_eq!(after.read_ts, outcome.ts);
    assert!(before.read_ts < outcome.ts);
    assert_eq!(tested.places(&table, before).await.expect("a read").len(), 0);
    assert_eq!(tested.rows(&table).await.expect("a read"), [row(1, "a"), row(2, "b")]);
}

#[tokio::test]
async fn a_taken_key_is_refused_with_postgresqls_words() {
    let (_bench, tested) = started().await;
    let table = tested.create("t").await.expect("a table");
    tested.insert(&table, &[row(1, "a")]).await.expect("a commit");
    let refusals = [vec![row(2, "b"), row(1, "again")], vec![row(3, "c"), row(3, "twice")]];
    for (rows, id) in refusals.iter().zip([1, 3]) {
        match tested.insert(&table, rows).await {
            Err(Error::DuplicateKey { table, constraint, row }) => {
                assert_eq!((table.name.as_str(), constraint.as_str()), ("t", "t_pkey"));
                assert_eq!((row.num_rows(), row.column(0).as_primitive::<Int64Type>().value(0)), (1, id));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tested.rows(&table).await.expect("a read"), [row(1, "a")]);
    tested.delete(&table, &[1]).await.expect("a delete");
    tested.insert(&table, &[row(1, "new")]).await.expect("the key is free again");
    tested.update(&table, &[row(1, "newer")]).await.expect("an update keeps its key");
    assert_eq!(tested.rows(&table).await.expect("a read"), [row(1, "newer")]);
}

#[tokio::test]
async fn a_row_is_deleted_once() {
    let (_bench, tested) = started().await;
    let table = tested.create("t").await.expect("a table");
    tested.insert(&table, &[row(1, "a"), row(2, "b")]).await.expect("a commit");
    let change = tested.deleting(&table, &[1]).await.expect("a row");
    tested.commit(vec![change.clone()]).await.expect("the first delete");
    assert!(matches!(tested.commit(vec![change]).await, Err(Error::Conflict)));
    let nowhere = RowRef { segment: SegmentId(999), ordinal: 0, row: RowId(1) };
    let mut change = TableChange::new(table.id, 1);
    change.deletes.push(RowDelete { target: nowhere, key: Default::default() });
    assert!(matches!(tested.commit(vec![change]).await, Err(Error::Conflict)));
}

#[tokio::test]
async fn racing_commits_of_one_key_have_one_winner_and_share_turns() {
    let (_bench, tested) = started().await;
    let table = tested.create("t").await.expect("a table");
    let names: Vec<[_; 1]> = (0..40).map(|racer| [row(racer % 4, &racer.to_string())]).collect();
    let racers = names.iter().map(|rows| tested.insert(&table, rows));
    let outcomes = futures::future::join_all(racers).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 4);
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::DuplicateKey { .. })));
    assert_eq!(refused.count(), 36);
    let mut given: Vec<_> = outcomes.iter().flatten().map(|outcome| outcome.ts).collect();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 4, "one timestamp per transaction");
    assert_eq!(tested.rows(&table).await.expect("a read").len(), 4);
}

#[tokio::test]
async fn a_transaction_spans_tables_and_is_all_or_nothing() {
    let (_bench, tested) = started().await;
    let (one, two) =
        (tested.create("one").await.expect("a table"), tested.create("two").await.expect("a table"));
    let both = |id| vec![tested.inserting(&one, &[row(id, "x")]), tested.inserting(&two, &[row(id, "x")])];
    tested.commit(both(1)).await.expect("a commit");
    tested.insert(&two, &[row(2, "taken")]).await.expect("a commit");
    assert!(tested.commit(both(2)).await.is_err());
    assert_eq!(tested.rows(&one).await.expect("a read"), [row(1, "x")]);
    let stale = TableChange { schema_version: 7, ..tested.inserting(&one, &[row(3, "x")]) };
    assert!(matches!(tested.commit(vec![stale]).await, Err(Error::SchemaChanged)));
    let unknown = TableChange { table: TableId(1), ..tested.inserting(&one, &[row(3, "x")]) };
    assert!(matches!(tested.commit(vec![unknown]).await, Err(Error::UndefinedTable(_))));
}

#[tokio::test]
async fn truncate_ends_what_was_there_and_keeps_what_comes_with_it() {
    let (_bench, tested) = started().await;
    let table = tested.create("t").await.expect("a table");
    let first = tested.insert(&table, &[row(1, "a"), row(2, "b")]).await.expect("a commit");
    let mut change = tested.inserting(&table, &[row(2, "new")]);
    change.truncate = true;
    tested.commit(vec![change]).await.expect("a commit");
    assert_eq!(tested.rows(&table).await.expect("a read"), [row(2, "new")]);
    let then = ReadPoint::at(first.ts);
    assert_eq!(tested.places(&table, then).await.expect("a read").len(), 2, "the past is as it was");
}

#[tokio::test]
async fn payloads_are_invisible_until_their_commit_and_gone_after_an_abort() {
    let (_bench, tested) = started().await;
    let table = tested.create("t").await.expect("a table");
    let payload = |id| vec![tested.inserting(&table, &[row(id, "payload")])];
    let mut request =
        tested.request(vec![tested.inserting(&table, &[row(9, "inline")])]).await.expect("a request");
    for (part, id) in [(1, 2), (0, 1)] {
        tested.node.append_payload(tested.database, request.txn, part, payload(id)).await.expect("a payload");
    }
    assert_eq!(tested.rows(&table).await.expect("a read"), []);
    request.payload_parts = 2;
    let txn = request.txn;
    tested.node.commit(request).await.expect("a commit");
    let expected = [row(1, "payload"), row(2, "payload"), row(9, "inline")];
    assert_eq!(tested.rows(&table).await.expect("a read"), expected);
    let places = tested.places(&table, tested.node.barrier(tested.database).await.expect("a barrier")).await;
    let ids: Vec<u64> = places.expect("a read").values().map(|(place, _)| place.row.0).collect();
    assert_eq!(ids, [1, 2, 3], "parts in order, then the inline rows");

    let mut request = tested.request(vec![]).await.expect("a request");
    tested.node.append_payload(tested.database, request.txn, 0, payload(5)).await.expect("a payload");
    tested.node.abort(tested.database, request.txn).await;
    request.payload_parts = 1;
    assert!(tested.node.commit(request).await.is_err(), "an aborted transaction cannot be decided");
    assert_ne!(txn, tested.node.draw_txn());
    assert_eq!(tested.rows(&table).await.expect("a read"), expected);
}

#[tokio::test]
async fn large_changes_become_payloads_by_themselves() {
    let mut bench = Bench::new(Form::Memory, std::path::Path::new(""));
    bench.settings = Settings { inline_bytes: 1000, payload_bytes: 2000, ..Settings::default() };
    let tested = bench.start().await.expect("a node");
    let table = tested.create("t").await.expect("a table");
    let rows: Vec<_> = (0..2000).map(|id| row(id, "a name of some length")).collect();
    tested.insert(&table, &rows).await.expect("a commit");
    assert_eq!(tested.rows(&table).await.expect("a read"), rows);
    let mut change = tested.deleting(&table, &(0..1500).collect::<Vec<_>>()).await.expect("rows");
    change.inserts = vec![batch(&table, &rows[..700])];
    tested.commit(vec![change]).await.expect("a commit");
    assert_eq!(tested.rows(&table).await.expect("a read").len(), 1200);
}

#[tokio::test]
async fn catalog_changes_with_rows_are_one_transaction() {
    let (_bench, tested) = started().await;
    let oid = tested.node.allocate_oids(4).await.expect("oids");
    let meta = table_meta(tested.database, oid.0, "t");
    let mut request =
        tested.request(vec![tested.inserting(&meta, &[row(1, "with its table")])]).await.expect("a request");
    request.catalog = vec![CatalogChange::PutTable(Arc::clone(&meta))];
    let outcome = tested.node.commit(request.clone()).await.expect("a commit");
    assert_eq!(outcome.catalog_revision, tested.node.catalog().revision);
    assert_eq!(tested.rows(&meta).await.expect("a read"), [row(1, "with its table")]);
    request.txn = tested.node.draw_txn();
    assert!(tested.node.commit(request).await.is_err(), "the table exists");
    tested.ddl(vec![CatalogChange::DropTable(meta.id)]).await.expect("a drop");
    assert!(tested.rows(&meta).await.is_err());
    assert!(tested.node.segment_infos().is_empty());
}

#[tokio::test]
async fn a_new_database_has_its_own_channel_at_once() {
    let (_bench, tested) = started().await;
    let id = DatabaseId(u64::from(tested.node.allocate_oids(1).await.expect("an oid").0));
    let database = proto::catalog::DatabaseMeta {
        id,
        name: "other".into(),
        home_channel: ChannelId(0),
        extensions: Vec::new(),
    };
    tested.ddl(vec![CatalogChange::PutDatabase(Arc::new(database))]).await.expect("a database");
    let other = Tested { node: Arc::clone(&tested.node), database: id };
    let table = other.create("t").await.expect("a table in it");
    other.insert(&table, &[row(1, "there")]).await.expect("a commit");
    tested.ddl(vec![CatalogChange::DropDatabase(id)]).await.expect("a drop");
    assert!(matches!(other.node.barrier(id).await, Err(Error::UndefinedObject { .. })));
    assert!(tested.node.catalog().tables.is_empty());
}

#[tokio::test]
async fn sequences_give_each_value_once_up_to_their_end() {
    let (_bench, tested) = started().await;
    let sequence = tested.create_sequence("s", 1, i64::MAX).await.expect("a sequence");
    let draws = (0..20).map(|_| tested.node.next_values(sequence, 5));
    let mut values = futures::future::try_join_all(draws).await.expect("values").concat();
    values.sort_unstable();
    assert_eq!(values, (1..=100).collect::<Vec<_>>());
    tested.node.set_sequence(sequence, 10).await.expect("setval");
    assert_eq!(tested.node.next_values(sequence, 2).await.expect("values"), [10, 11]);
    let short = tested.create_sequence("short", 10, 25).await.expect("a sequence");
    assert_eq!(tested.node.next_values(short, 3).await.expect("values"), [1, 11, 21]);
    let end = tested.node.next_values(short, 1).await.expect_err("the end");
    assert_eq!(end.to_string(), "nextval: reached maximum value of sequence \"short\" (25)");
}

#[tokio::test]
async fn a_reader_ahead_of_the_channel_waits() {
    use futures::FutureExt;
    let (_bench, tested) = started().await;
    let table = tested.create("t").await.expect("a table");
    let first = tested.insert(&table, &[row(1, "a")]).await.expect("a commit");
    let ahead = ReadPoint::at(first.ts.next());
    assert!(tested.node.snapshot(table.id, ahead).now_or_never().is_none());
    let rows = [row(2, "b")];
    let (snapshot, committed) =
        futures::join!(tested.node.snapshot(table.id, ahead), tested.insert(&table, &rows));
    committed.expect("a commit");
    assert_eq!(snapshot.expect("a snapshot").table.id, table.id);
}

#[tokio::test]
async fn a_second_unique_key_is_as_good_as_the_first() {
    let (_bench, tested) = started().await;
    let oid = tested.node.allocate_oids(5).await.expect("oids");
    let mut meta = (*table_meta(tested.database, oid.0, "t")).clone();
    meta.uniques.push(UniqueKey {
        constraint: None,
        index_oid: (oid.0 + 4).into(),
        name: "t_name".into(),
        columns: vec![2],
        nulls_distinct: true,
    });
    tested.ddl(vec![CatalogChange::PutTable(Arc::new(meta.clone()))]).await.expect("a table");
    let table = Arc::clone(&tested.node.catalog().tables[&meta.id]);
    tested.insert(&table, &[row(1, "a"), row(2, "b")]).await.expect("a commit");
    for (rows, constraint) in [
        (vec![row(3, "c"), row(4, "a")], "t_name"),
        (vec![row(3, "c"), row(4, "c")], "t_name"),
        (vec![row(1, "b")], "t_pkey"),
    ] {
        match tested.insert(&table, &rows).await {
            Err(Error::DuplicateKey { constraint: found, .. }) => assert_eq!(found, constraint),
            other => panic!("{other:?}"),
        }
    }
    let names: Vec<[_; 1]> = (0..40).map(|racer| [row(100 + racer, &(racer % 4).to_string())]).collect();
    let outcomes = futures::future::join_all(names.iter().map(|rows| tested.insert(&table, rows))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 4);
    tested.update(&table, &[row(1, "moved")]).await.expect("an update");
    tested.insert(&table, &[row(5, "a")]).await.expect("the value is free again");
}

/// Statements lock what they refer to; without locks the owner is the last to look.
#[tokio::test]
async fn no_commit_leaves_a_row_that_refers_to_nothing() {
    let (_bench, tested) = started().await;
    let parents = tested.create("p").await.expect("a table");
    let oid = tested.node.allocate_oids(5).await.expect("oids");
    let mut meta = (*table_meta(tested.database, oid.0, "c")).clone();
    meta.foreign_keys.push(ForeignKey {
        oid: (oid.0 + 4).into(),
        name: "c_id_fkey".into(),
        columns: vec![1],
        target: parents.id,
        target_columns: vec![1],
        target_index: parents.primary_key.as_ref().expect("a key").index_oid,
        match_type: Default::default(),
        on_delete: Default::default(),
        on_update: Default::default(),
    });
    tested.ddl(vec![CatalogChange::PutTable(Arc::new(meta.clone()))]).await.expect("a table");
    let children = Arc::clone(&tested.node.catalog().tables[&meta.id]);
    let refused = |outcome: Result<_>| assert!(matches!(outcome, Err(Error::Conflict)), "{outcome:?}");
    refused(tested.insert(&children, &[row(1, "orphan")]).await);
    let first = tested.insert(&parents, &[row(1, "a"), row(2, "b"), row(3, "c")]).await.expect("parents");
    let taken = tested.deleting(&parents, &[1]).await.expect("a row");
    tested.insert(&children, &[row(1, "child"), row(3, "child")]).await.expect("children");
    // Whether nobody has looked, or somebody before the children came.
    for since in [Timestamp::ZERO, first.ts] {
        let mut request = tested.request(vec![taken.clone()]).await.expect("a request");
        request.references_since = since;
        refused(tested.node.commit(request).await);
    }
    let mut all = tested.inserting(&parents, &[row(2, "stays")]);
    all.truncate = true;
    refused(tested.commit(vec![all.clone()]).await);
    tested.update(&parents, &[row(1, "same key")]).await.expect("the key is there as before");
    let both = vec![
        tested.deleting(&parents, &[1]).await.expect("a row"),
        tested.deleting(&children, &[1]).await.expect("a row"),
    ];
    tested.commit(both).await.expect("both ends at once");
    let both = vec![tested.inserting(&children, &[row(9, "x")]), tested.inserting(&parents, &[row(9, "y")])];
    tested.commit(both).await.expect("both begin at once");
    let mut empty = TableChange::new(children.id, 1);
    empty.truncate = true;
    tested.commit(vec![all, empty]).await.expect("nobody is left to refer");
    assert_eq!(tested.rows(&parents).await.expect("a read"), [row(2, "stays")]);
    refused(tested.insert(&children, &[row(2, "x"), row(3, "x")]).await);
    // What is referred to cannot go, whatever the catalog change was planned on.
    let gone = tested.ddl(vec![CatalogChange::DropTable(parents.id)]).await;
    assert!(matches!(gone, Err(Error::SchemaChanged)), "{gone:?}");
}
