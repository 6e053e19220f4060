//! One cell of the matrix: a node, its twin, and what is done to both.

use std::sync::Arc;

use cluster::{
    CommitOutcome, CommitRequest, CompactionGoal, DEFAULT_DATABASE, Node, Settings, StagedSegment,
};
use futures::future::BoxFuture;
use proto::catalog::{CatalogChange, IndexMeta, TableMeta};
use proto::time::ReadPoint;
use proto::{DatabaseId, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use segments::{SnapshotSource, TableOverlay, TableSnapshot};

use super::gate::{Gate, Way};
use super::{Moment, Operation, Report, State};
use crate::memory_node::MemoryNode;
use crate::reads::{self, Nearness, Rows};
use crate::rows;

/// Rows per insert.
const ROWS: u32 = 25;
/// Rows begin with their number as unique value; later ones are above this.
const FIRST_NEW_CODE: u32 = 500;
/// How long ended rows stay readable, milliseconds. Far more than the oracle's time jumps at a start.
const RETENTION_MILLIS: u64 = 60_000;

type Work = BoxFuture<'static, cluster::Result<()>>;

/// A row version, for the twin.
struct Version {
    number: u32,
    version: u32,
    from: Timestamp,
    until: Timestamp,
}

pub(super) struct World {
    home: MemoryNode,
    pub(super) gate: Arc<Gate>,
    database: DatabaseId,
    pub(super) table: Arc<TableMeta>,
    pub(super) index: IndexMeta,
    versions: Vec<Version>,
    dice: StdRng,
    last_number: u32,
    last_serial: u32,
    last_code: u32,
    reads: u64,
}

/// A commit and what it does to the twin.
struct Draft {
    request: CommitRequest,
    deleted: Vec<u32>,
    inserted: Vec<(u32, u32)>,
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Runs a cell.
pub(super) async fn run(
    seed: u64,
    state: State,
    operation: Operation,
    moment: Moment,
    report: &mut Report,
) -> Result<(), String> {
    let mut world = World::start(seed).await?;
    let outcome = world.cell(state, operation, moment, report).await;
    report.reads += world.reads;
    world.gate.set(Way::Open);
    if let Some(node) = world.home.take() {
        node.stop().await.map_err(words)?;
    }
    outcome
}

impl World {
    pub(super) async fn start(seed: u64) -> Result<Self, String> {
        let gate = Gate::new();
        let settings = Settings {
            retention_millis: RETENTION_MILLIS,
            collection_grace_millis: 0,
            // What is merged here is asked for.
            compacts: false,
            index_threads: 1,
            ..Settings::default()
        };
        let home = MemoryNode::start(seed, Arc::<Gate>::clone(&gate), settings).await?;
        let catalog = home.node().catalog();
        let database = catalog.database(DEFAULT_DATABASE).ok_or("no default database")?;
        let oid = home.node().allocate_oids(rows::OIDS).await.map_err(words)?;
        let table = Arc::new(rows::table_meta(0, database.id, database.home_channel, oid, None));
        let mut world = Self {
            home,
            gate,
            database: database.id,
            table: Arc::clone(&table),
            index: rows::index_meta(0, &table, 16, 200),
            versions: Vec::new(),
            dice: StdRng::seed_from_u64(seed),
            last_number: 0,
            last_serial: 0,
            last_code: FIRST_NEW_CODE,
            reads: 0,
        };
        world.change_catalog(CatalogChange::PutTable(table)).await?;
        Ok(world)
    }

    pub(super) fn node(&self) -> Arc<Node> {
        self.home.node()
    }

    pub(super) async fn barrier(&self) -> Result<ReadPoint, String> {
        self.node().barrier(self.database).await.map_err(words)
    }

    async fn snapshot(&self, point: ReadPoint) -> Result<Arc<TableSnapshot>, String> {
        self.node().snapshot(self.table.id, point).await.map_err(words)
    }

    async fn request(&self) -> Result<CommitRequest, String> {
        Ok(self.home.request(self.database, self.barrier().await?.read_ts))
    }

    pub(super) async fn change_catalog(&mut self, change: CatalogChange) -> Result<(), String> {
        let mut request = self.request().await?;
        request.catalog = vec![change];
        self.node().commit(request).await.map_err(words)?;
        let catalog = self.node().catalog();
        self.table = Arc::clone(catalog.tables.get(&self.table.id).ok_or("the table is gone")?);
        Ok(())
    }

    fn rows_at(&self, ts: Timestamp) -> Rows {
        let visible = self.versions.iter().filter(|one| one.from <= ts && ts < one.until);
        visible.map(|one| (one.number, one.version)).collect()
    }

    fn apply(&mut self, draft: &Draft, ts: Timestamp) {
        for one in self.versions.iter_mut().filter(|one| one.until == Timestamp::MAX) {
            if draft.deleted.contains(&one.number) {
                one.until = ts;
            }
        }
        let born = draft.inserted.iter().map(|&(number, version)| Version {
            number,
            version,
            from: ts,
            until: Timestamp::MAX,
        });
        self.versions.extend(born);
    }

    pub(super) async fn insert(&mut self) -> Result<(), String> {
        let (overlay, inserted) = self.new_rows()?;
        self.commit_rows(overlay, inserted, Vec::new()).await
    }

    /// Rows that are in files before their commit; `is_held`: the store then takes nothing until it is let.
    async fn insert_staged(&mut self, is_held: bool) -> Result<(), String> {
        let (mut overlay, inserted) = self.new_rows()?;
        let staged = self.node().stage(self.database, overlay.growing()).await.map_err(words)?;
        overlay.stage(Arc::clone(staged.segment()));
        if is_held {
            self.gate.set(Way::Held);
        }
        self.commit_rows(overlay, inserted, vec![staged]).await
    }

    fn new_rows(&mut self) -> Result<(TableOverlay, Vec<(u32, u32)>), String> {
        let first = self.last_number + 1;
        self.last_number += ROWS;
        let numbers = first..=self.last_number;
        let inserted: Vec<(u32, u32)> = numbers.map(|number| (number, rows::version(0, number, 0))).collect();
        let mut overlay = TableOverlay::new(Arc::clone(&self.table));
        overlay.insert(&rows::batch(&self.table, 0, &inserted)).map_err(words)?;
        Ok((overlay, inserted))
    }

    async fn commit_rows(
        &mut self,
        overlay: TableOverlay,
        inserted: Vec<(u32, u32)>,
        staged: Vec<StagedSegment>,
    ) -> Result<(), String> {
        let mut request = self.request().await?;
        request.staged = staged;
        request.changes = vec![overlay.into_change().map_err(words)?];
        let outcome = self.node().commit(request.clone()).await.map_err(words)?;
        self.apply(&Draft { request, deleted: Vec::new(), inserted }, outcome.ts);
        Ok(())
    }

    /// Some rows to be deleted and some to be updated.
    async fn draft(&mut self) -> Result<Draft, String> {
        let live = self.rows_at(self.barrier().await?.read_ts);
        let deleted = live.keys().copied().choose_multiple(&mut self.dice, 6);
        let (_, updated) = deleted.split_at(3);
        self.last_serial += 1;
        let mut inserted = Vec::new();
        for number in updated {
            // The unique value stays, or is one that no row ever had.
            let code = rows::code(live[number]).filter(|_| self.dice.random()).unwrap_or_else(|| {
                self.last_code += 1;
                self.last_code
            });
            inserted.push((*number, rows::version(self.last_serial, code, 0)));
        }
        let pairs: Vec<(u32, u32)> = deleted.iter().map(|&number| (number, 0)).collect();
        let batch = rows::batch(&self.table, 0, &pairs);
        let keys = proto::key::encode_keys(&batch, &self.table.key_positions()).map_err(words)?;
        let mut request = self.request().await?;
        let snapshot = self.snapshot(ReadPoint::at(request.read_ts)).await?;
        let found = snapshot.find_keys(&keys).map_err(words)?;
        let mut overlay = TableOverlay::new(Arc::clone(&self.table));
        for (key, row) in keys.into_iter().zip(found) {
            overlay.delete(row.ok_or("a live key is not found")?, key.into_vec().into());
        }
        overlay.insert(&rows::batch(&self.table, 0, &inserted)).map_err(words)?;
        request.changes = vec![overlay.into_change().map_err(words)?];
        Ok(Draft { request, deleted, inserted })
    }

    pub(super) async fn delete(&mut self) -> Result<(), String> {
        let draft = self.draft().await?;
        let outcome = self.node().commit(draft.request.clone()).await.map_err(words)?;
        self.apply(&draft, outcome.ts);
        Ok(())
    }

    async fn cell(
        &mut self,
        state: State,
        operation: Operation,
        moment: Moment,
        report: &mut Report,
    ) -> Result<(), String> {
        let in_files = !matches!(state, State::Growing | State::Sealing | State::Unflushed);
        for round in 0..3 {
            let stays = state == State::Staged && round == 2;
            match state {
                State::Staged | State::Imported => self.insert_staged(stays).await?,
                _ => self.insert().await?,
            }
            if in_files && !stays {
                self.node().flush(self.table.id).await.map_err(words)?;
            }
        }
        self.delete().await?;
        if operation == Operation::Purge {
            self.home.clock.advance(2 * RETENTION_MILLIS);
        }
        self.delete().await?;
        let older = self.barrier().await?;
        let background = self.bring_to(state).await?;
        let held = self.snapshot(older).await?;
        let draft = self.draft().await?;
        report.deleted_rows += draft.deleted.len() as u64;
        self.meet(operation, moment, background, draft, report).await?;
        self.gate.set(Way::Open);
        reads::check(
            &held,
            0,
            &self.rows_at(older.read_ts),
            1..=self.last_number + 1,
            (self.index.oid, Nearness::Exact),
        )
        .map_err(|difference| format!("held since before: {difference}"))?;
        self.check(older, "afterwards").await?;
        self.restart().await?;
        self.check(older, "after a restart").await?;
        self.node().compact(self.table.id, CompactionGoal::Full).await.map_err(words)?;
        self.node().checkpoint().await.map_err(words)?;
        self.check(older, "all merged").await?;
        self.node().collect().await.map_err(words)?;
        self.restart().await?;
        self.check(older, "after a collection and a restart").await
    }

    pub(super) async fn check(&mut self, older: ReadPoint, when: &str) -> Result<(), String> {
        for point in [self.barrier().await?, older] {
            let snapshot = self.snapshot(point).await.map_err(|error| format!("{when}: {error}"))?;
            let at = if point == older { "at the earlier instant" } else { "now" };
            reads::check(
                &snapshot,
                0,
                &self.rows_at(point.read_ts),
                1..=self.last_number + 1,
                (self.index.oid, Nearness::Exact),
            )
            .map_err(|difference| format!("{when}, {at}: {difference}"))?;
            self.reads += 1;
        }
        Ok(())
    }

    /// Brings the table's segments into a state; what runs in it goes on while the cell does.
    async fn bring_to(&mut self, state: State) -> Result<Option<Work>, String> {
        let (node, table) = (self.node(), self.table.id);
        match state {
            State::Growing | State::Flushed | State::Staged | State::Imported => {}
            State::Indexed => self.build_index().await?,
            State::Reloaded => {
                self.build_index().await?;
                self.restart().await?;
            }
            State::Restored => {
                self.build_index().await?;
                node.checkpoint().await.map_err(words)?;
                drop(node);
                let report = self.home.rebuild().await?;
                if report.cut_rows > 0 {
                    return Err(format!("a checkpoint did not cover everything: {report:?}"));
                }
            }
            State::CompactionOutput => {
                self.build_index().await?;
                node.compact(table, CompactionGoal::Full).await.map_err(words)?;
            }
            State::Unflushed => {
                self.gate.set(Way::Full);
                let error = node.flush(table).await.expect_err("the store is full");
                if proto::Classify::kind(&error) != proto::ErrorKind::DiskFull {
                    return Err(format!("a full store gives {error:?}"));
                }
            }
            State::Sealing => {
                self.gate.set(Way::Held);
                return Ok(Some(Box::pin(async move { node.flush(table).await })));
            }
            State::CompactionInput => {
                self.build_index().await?;
                self.gate.set(Way::Held);
                return Ok(Some(Box::pin(async move { node.compact(table, CompactionGoal::Full).await })));
            }
        }
        Ok(None)
    }

    async fn build_index(&mut self) -> Result<(), String> {
        if self.table.index(self.index.oid).is_none() {
            self.change_catalog(CatalogChange::PutIndex(self.table.id, self.index.clone())).await?;
        }
        self.node().build_index(self.table.id, self.index.oid).await.map_err(words)
    }

    /// The operation, what the state had under way, and the deletes, in the order of the moment.
    async fn meet(
        &mut self,
        operation: Operation,
        moment: Moment,
        background: Option<Work>,
        draft: Draft,
        report: &mut Report,
    ) -> Result<(), String> {
        let node = self.node();
        let dies = matches!(operation, Operation::Crash | Operation::Restart);
        let waits = background.is_some();
        let background = background.unwrap_or_else(|| Box::pin(async { Ok(()) }));
        let writes = matches!(
            operation,
            Operation::Flush | Operation::Merge | Operation::Purge | Operation::IndexBuild
        );
        if operation == Operation::IndexBuild && self.table.index(self.index.oid).is_none() {
            self.change_catalog(CatalogChange::PutIndex(self.table.id, self.index.clone())).await?;
        }
        // What the draft was planned under may have changed with the index.
        let draft = if draft.request.changes[0].schema_version == self.table.schema_version {
            draft
        } else {
            self.draft().await?
        };
        let work = self.work(operation);
        let rounds = self.dice.random_range(0..30);
        let gate = Arc::clone(&self.gate);
        let yields = async move || {
            for _ in 0..rounds {
                tokio::task::yield_now().await;
            }
        };
        match moment {
            Moment::Before => {
                let started = poll_once(background).await;
                let outcome = node.commit(draft.request.clone()).await.map_err(words)?;
                self.apply(&draft, outcome.ts);
                if !dies {
                    gate.set(Way::Open);
                }
                self.finish(operation, started, work, waits).await
            }
            Moment::During => {
                if writes {
                    gate.set(Way::Held);
                }
                let delete = async {
                    yields().await;
                    let outcome = node.commit(draft.request.clone()).await;
                    yields().await;
                    if !dies {
                        gate.set(Way::Open);
                    }
                    outcome
                };
                let (ended, worked, outcome) = tokio::join!(background, work, delete);
                if !dies {
                    ended.map_err(words)?;
                }
                worked.map_err(words)?;
                drop(node);
                self.revive(operation).await?;
                self.settle(draft, outcome, report).await
            }
            Moment::After => {
                let started = poll_once(background).await;
                if !dies {
                    gate.set(Way::Open);
                }
                drop(node);
                self.finish(operation, started, work, waits).await?;
                let outcome = self.node().commit(draft.request.clone()).await;
                self.settle(draft, outcome, report).await
            }
        }
    }

    /// Waits for what runs, and starts the node again when it was ended.
    async fn finish(
        &mut self,
        operation: Operation,
        background: Work,
        work: Work,
        waits: bool,
    ) -> Result<(), String> {
        let (ended, worked) = tokio::join!(background, work);
        let dies = matches!(operation, Operation::Crash | Operation::Restart);
        if !(waits && dies) {
            ended.map_err(words)?;
        }
        worked.map_err(words)?;
        self.revive(operation).await
    }

    /// An answered commit has happened. One without an answer has happened or not: the first key says which.
    async fn settle(
        &mut self,
        draft: Draft,
        outcome: cluster::Result<CommitOutcome>,
        report: &mut Report,
    ) -> Result<(), String> {
        match outcome {
            Ok(outcome) => self.apply(&draft, outcome.ts),
            Err(error) => {
                report.in_doubt += 1;
                let now = self.barrier().await?;
                let snapshot = self.snapshot(now).await?;
                let numbers = 1..=self.last_number + 1;
                let without = reads::check(
                    &snapshot,
                    0,
                    &self.rows_at(now.read_ts),
                    numbers,
                    (self.index.oid, Nearness::Exact),
                );
                if without.is_err() {
                    if !matches!(error, cluster::Error::Unknown { .. }) {
                        return Err(format!("a commit that failed with {error} has happened: {without:?}"));
                    }
                    report.happened += 1;
                    self.apply(&draft, now.read_ts);
                }
            }
        }
        Ok(())
    }

    /// The operation as a future that needs nothing of the cell.
    fn work(&self, operation: Operation) -> Work {
        let (node, table, index) = (self.node(), self.table.id, self.index.oid);
        let (gate, point) = (Arc::clone(&self.gate), ReadPoint::at(Timestamp::MAX));
        let is_full = self.gate.way() == Way::Full;
        let reopens = is_full
            && !matches!(
                operation,
                Operation::Load | Operation::Collection | Operation::Crash | Operation::Restart
            );
        Box::pin(async move {
            if reopens {
                gate.set(Way::Open);
            }
            match operation {
                Operation::Flush => {
                    node.flush(table).await?;
                    node.checkpoint().await
                }
                Operation::Merge => node.compact(table, CompactionGoal::Full).await,
                Operation::Purge => node.compact(table, CompactionGoal::Vacuum).await,
                Operation::IndexBuild => node.build_index(table, index).await,
                Operation::Load => {
                    let point = ReadPoint { guarantee_ts: Timestamp::ZERO, ..point };
                    let snapshot = node.snapshot(table, point).await.map_err(cluster::Error::from)?;
                    snapshot.load(&[0, 1, 2]).await.map_err(cluster::Error::from)
                }
                Operation::Collection => node.collect().await,
                Operation::Restart => {
                    // A stop waits for what is being written.
                    if gate.way() == Way::Held {
                        gate.set(Way::Open);
                    }
                    node.stop().await
                }
                Operation::Crash => {
                    gate.set(Way::Cut);
                    node.stop().await
                }
            }
        })
    }

    /// Starts a node where the last one was stopped or killed.
    async fn revive(&mut self, operation: Operation) -> Result<(), String> {
        match operation {
            Operation::Crash | Operation::Restart => self.restart().await,
            _ => Ok(()),
        }
    }

    /// Stops the node, if it still runs, and starts it on what is durable.
    pub(super) async fn restart(&mut self) -> Result<(), String> {
        if let Some(node) = self.home.take() {
            node.stop().await.map_err(words)?;
        }
        self.gate.set(Way::Open);
        self.home.start_again().await
    }
}

/// Lets a future begin.
async fn poll_once(mut work: Work) -> Work {
    // One look is enough: it sends its message and waits.
    let ended = futures::future::poll_fn(|context| {
        std::task::Poll::Ready(match work.as_mut().poll(context) {
            std::task::Poll::Ready(outcome) => Some(outcome),
            std::task::Poll::Pending => None,
        })
    })
    .await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    match ended {
        Some(outcome) => Box::pin(async { outcome }),
        None => work,
    }
}
