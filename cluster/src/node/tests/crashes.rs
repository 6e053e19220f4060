//! A node that dies at every step: the back ends stop after n operations, for every n the work takes.

use object_store::memory::InMemory;

use super::*;
use crate::log::FileLog;
use crate::testing::faulty::Fuse;
use crate::testing::{Row, Tested, row};

/// What the twin knows: rows that must be there, and rows of commits whose outcome is unknown.
#[derive(Clone, Debug, Default)]
struct Ledger {
    rows: std::collections::BTreeMap<i64, String>,
    /// The rows as they are if the unanswered operation happened.
    unsure: Option<std::collections::BTreeMap<i64, String>>,
}

impl Ledger {
    fn told<T>(
        &mut self,
        outcome: &Result<T>,
        change: impl FnOnce(&mut std::collections::BTreeMap<i64, String>),
    ) {
        let mut after = self.rows.clone();
        change(&mut after);
        match outcome {
            Ok(_) => self.rows = after,
            Err(Error::Unknown { .. }) if self.unsure.is_none() => self.unsure = Some(after),
            Err(_) => {}
        }
    }

    fn check(&self, rows: Vec<Row>, at: &str) {
        let found: std::collections::BTreeMap<i64, String> = rows.into_iter().collect();
        let unsure = self.unsure.as_ref().is_some_and(|unsure| *unsure == found);
        assert!(
            found == self.rows || unsure,
            "{at}: {found:?} is neither {:?} nor {:?}",
            self.rows,
            self.unsure
        );
    }
}

/// Inserts, deletes and updates around two checkpoints, stopping at the first failure.
async fn work(tested: &Tested, table: &Arc<proto::catalog::TableMeta>, ledger: &mut Ledger) -> Result<()> {
    for round in 0..2_i64 {
        let ids = [round * 10 + 1, round * 10 + 2, round * 10 + 3];
        let outcome = tested.insert(table, &ids.map(|id| row(id, "new"))).await;
        ledger.told(&outcome, |rows| rows.extend(ids.map(|id| (id, "new".to_owned()))));
        outcome?;
        let outcome = tested.delete(table, &[ids[0]]).await;
        ledger.told(&outcome, |rows| drop(rows.remove(&ids[0])));
        outcome?;
        let staged = [round * 10 + 4, round * 10 + 5, round * 10 + 6];
        let outcome = tested.insert_staged(table, &staged.map(|id| row(id, "staged")), &[1]).await;
        ledger.told(&outcome, |rows| {
            rows.extend([staged[0], staged[2]].map(|id| (id, "staged".to_owned())));
        });
        outcome?;
        let outcome = tested.delete(table, &[staged[2]]).await;
        ledger.told(&outcome, |rows| drop(rows.remove(&staged[2])));
        outcome?;
        tested.node.checkpoint().await?;
        let outcome = tested.update(table, &[row(ids[1], "updated")]).await;
        ledger.told(&outcome, |rows| drop(rows.insert(ids[1], "updated".to_owned())));
        outcome?;
        let outcome = tested.delete(table, &[ids[2]]).await;
        ledger.told(&outcome, |rows| drop(rows.remove(&ids[2])));
        outcome?;
    }
    tested.node.checkpoint().await
}

#[tokio::test]
async fn a_node_killed_at_any_step_of_its_work_loses_nothing() {
    for form in [Form::Memory, Form::Files] {
        let mut steps = 0;
        loop {
            let directory = tempfile::tempdir().expect("a directory");
            let bench = Bench::new(form, directory.path());
            let fuse = Fuse::unlimited();
            let tested = bench.start_with(&fuse).await.expect("a node");
            let table = tested.create("t").await.expect("a table");
            let mut ledger = Ledger::default();
            fuse.light(steps);
            let outcome = work(&tested, &table, &mut ledger).await;
            tested.kill().await;
            let at = format!("{form:?}, killed after {steps} operations");
            // Also die at every step of the restart.
            let fuse = Fuse::new(steps % 7);
            if let Ok(tested) = bench.start_with(&fuse).await {
                tested.kill().await;
            }
            let tested = bench.start().await.unwrap_or_else(|error| panic!("{at}: {error}"));
            ledger.check(tested.rows(&table).await.expect("a read"), &at);
            tested.node.checkpoint().await.unwrap_or_else(|error| panic!("{at}: {error}"));
            ledger.check(tested.rows(&table).await.expect("a read"), &at);
            tested.kill().await;
            let tested = bench.start().await.unwrap_or_else(|error| panic!("{at}: {error}"));
            ledger.check(tested.rows(&table).await.expect("a read"), &at);
            tested.kill().await;
            if outcome.is_ok() {
                assert!(steps > 20, "the work took only {steps} operations");
                break;
            }
            assert!(fuse.is_out() || steps < 1000);
            // Files are slow to open; memory has shown every step.
            steps += if form == Form::Files { 3 } else { 1 };
        }
    }
}

#[tokio::test]
async fn a_catalog_change_with_rows_is_whole_or_absent_whenever_it_is_killed() {
    let mut steps = 0;
    loop {
        let bench = Bench::new(Form::Memory, std::path::Path::new(""));
        let fuse = Fuse::unlimited();
        let tested = bench.start_with(&fuse).await.expect("a node");
        let oid = tested.node.allocate_oids(4).await.expect("oids");
        let meta = crate::testing::table_meta(tested.database, oid.0, "t");
        let change = tested.inserting(&meta, &[row(1, "with its table")]);
        let (in_files, staged) = tested.staging(&meta, &[row(2, "in a file")], &[]).await.expect("files");
        let mut request = tested.request(vec![change, in_files]).await.expect("a request");
        request.staged = vec![staged];
        request.catalog = vec![CatalogChange::PutTable(Arc::clone(&meta))];
        fuse.light(steps);
        let outcome = tested.node.commit(request).await;
        tested.kill().await;
        for round in 0..2 {
            let tested = bench.start().await.expect("the node again");
            let exists = tested.node.catalog().tables.contains_key(&meta.id);
            if exists {
                let rows = tested.rows(&meta).await.expect("a read");
                assert_eq!(
                    rows,
                    [row(1, "with its table"), row(2, "in a file")],
                    "killed after {steps} operations, round {round}"
                );
            }
            assert!(exists || outcome.is_err(), "acknowledged, and not there");
            let unknown = matches!(outcome, Err(Error::Unknown { .. }));
            assert!(!exists || outcome.is_ok() || unknown, "refused, and there: {outcome:?}");
            let decisions = crate::catalog::decision_prefix(ChannelId(16_384));
            let parts = bench.parts().await.expect("the back ends");
            assert!(parts.meta.list(&decisions).await.expect("a listing").entries.is_empty());
            tested.kill().await;
        }
        if outcome.is_ok() {
            assert!(steps > 4, "the work took only {steps} operations");
            return;
        }
        steps += 1;
    }
}

#[tokio::test]
async fn a_log_cut_anywhere_in_its_last_frames_gives_whole_transactions() {
    let origin = tempfile::tempdir().expect("a directory");
    // Only the log is in files here: it is what is cut.
    let bench = Bench::new(Form::Memory, origin.path());
    let meta = bench.parts().await.expect("the back ends").meta;
    let start = async || {
        let log = FileLog::new(Arc::new(segments::SystemDoor), origin.path().join("log"));
        let parts = bench.parts_with(Arc::clone(&meta), log, Arc::new(InMemory::new())).await?;
        Ok::<_, Error>(Tested { node: Node::start(parts).await?, database: bench.database })
    };
    let tested = start().await.expect("a node");
    let table = tested.create("t").await.expect("a table");
    let other = tested.create("u").await.expect("a table");
    tested.insert(&table, &[row(1, "a"), row(2, "b")]).await.expect("a commit");
    let path = origin.path().join("log/16384/00000000000000000000.log");
    let before = std::fs::metadata(&path).expect("the log").len();
    // One transaction over two tables, then one in payloads.
    let both = vec![tested.inserting(&table, &[row(3, "c")]), tested.inserting(&other, &[row(3, "c")])];
    tested.commit(both).await.expect("a commit");
    let mut request = tested.request(vec![]).await.expect("a request");
    for part in 0..2 {
        let payload = vec![tested.inserting(&table, &[row(10 + i64::from(part), "p")])];
        tested.node.append_payload(tested.database, request.txn, part, payload).await.expect("a payload");
    }
    request.payload_parts = 2;
    tested.node.commit(request).await.expect("a commit");
    tested.kill().await;
    let bytes = {
        let mut bytes = Vec::new();
        let mut file = std::fs::OpenOptions::new().read(true).open(&path).expect("the log");
        std::io::Read::read_to_end(&mut file, &mut bytes).expect("a read");
        bytes
    };
    let mut outcomes = std::collections::BTreeSet::new();
    // Frames end at multiples of 8; `log/tests.rs` cuts at every byte. Here every frame end and the byte before.
    for length in (before..=bytes.len() as u64).rev().filter(|length| matches!(length % 8, 0 | 7)) {
        let file = std::fs::OpenOptions::new().write(true).truncate(true).open(&path).expect("the log");
        std::io::Write::write_all(&mut &file, &bytes[..length as usize]).expect("a write");
        let tested = start().await.unwrap_or_else(|error| panic!("cut at {length}: {error}"));
        let (rows, others) =
            (tested.rows(&table).await.expect("a read"), tested.rows(&other).await.expect("a read"));
        let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
        match ids.as_slice() {
            [1, 2] => assert!(others.is_empty(), "half a transaction at {length}"),
            [1, 2, 3] | [1, 2, 3, 10, 11] => assert_eq!(others.len(), 1, "half a transaction at {length}"),
            other => panic!("cut at {length}: {other:?}"),
        }
        outcomes.insert(ids.len());
        tested.kill().await;
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [2, 3, 5]);
}
