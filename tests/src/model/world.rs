//! A node with its back ends, its twin, and the operations that are done to both.

use std::sync::Arc;

use cluster::clock::{SeededDice, SimClock};
use cluster::log::MemoryLog;
use cluster::meta::MemoryMeta;
use cluster::oracle::WindowOracle;
use cluster::{
    CommitRequest, CompactionGoal, DEFAULT_DATABASE, Error, Node, NodeParts, PlantedBug, Settings,
};
use object_store::memory::InMemory;
use proto::DatabaseId;
use proto::catalog::{CatalogChange, TableMeta};
use proto::time::ReadPoint;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use segments::{SnapshotSource, TableOverlay, TableSnapshot};

use super::Counts;
use super::twin::Twin;
use crate::rows;

mod reads;

/// Rows a table holds at most, roughly.
const ROWS_KEPT: usize = 400;
/// Snapshots kept for later comparison.
const TRAVELS: usize = 4;

/// See the file header.
pub(super) struct World {
    parts: NodeParts,
    log: Arc<MemoryLog>,
    clock: Arc<SimClock>,
    /// `None` only between a stop and the next start.
    node: Option<Arc<Node>>,
    database: DatabaseId,
    tables: [Arc<TableMeta>; 2],
    twin: Twin,
    travels: Vec<(ReadPoint, [Arc<TableSnapshot>; 2], Twin)>,
    dice: StdRng,
    next_number: u32,
    next_version: u32,
    trace: Vec<String>,
    counts: Counts,
}

/// A transaction: what it buffered, and the twin as it must become.
struct Draft {
    read: ReadPoint,
    snapshots: [Arc<TableSnapshot>; 2],
    overlays: [TableOverlay; 2],
    twin: Twin,
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl World {
    pub(super) async fn start(seed: u64, bug: Option<PlantedBug>) -> Result<Self, String> {
        let mut dice = StdRng::seed_from_u64(seed);
        let clock = Arc::new(SimClock::new(1_700_000_000_000));
        let log = MemoryLog::new();
        let meta = Arc::new(MemoryMeta::new(Arc::<SimClock>::clone(&clock)));
        let oracle = WindowOracle::open(Arc::<MemoryMeta>::clone(&meta), Arc::<SimClock>::clone(&clock))
            .await
            .map_err(words)?;
        let settings = Settings {
            // Absurdly small now and then, so that sealing, payloads and forced flushes happen all the time.
            segment_bytes: 1 << dice.random_range(10..24),
            log_bytes: 1 << dice.random_range(13..30),
            inline_bytes: 1 << dice.random_range(9..18),
            payload_bytes: 1 << dice.random_range(9..16),
            retention_millis: [0, 40, 1 << 30][dice.random_range(0..3)],
            collection_grace_millis: [0, 30][dice.random_range(0..2)],
            compacts: dice.random(),
            compaction_segments: dice.random_range(2..9),
            planted_bug: bug,
            ..Settings::default()
        };
        let parts = NodeParts {
            meta,
            log: Arc::<MemoryLog>::clone(&log),
            store: Arc::new(InMemory::new()),
            oracle: Arc::new(oracle),
            clock: Arc::<SimClock>::clone(&clock),
            dice: Arc::new(SeededDice::new(seed)),
            lease: cluster::lease::Lease::of_directory(),
            settings,
        };
        let node = Node::start(parts.clone()).await.map_err(words)?;
        let catalog = node.catalog();
        let database = catalog.database(DEFAULT_DATABASE).ok_or("no default database")?;
        let (database, channel) = (database.id, database.home_channel);
        let oid = node.allocate_oids(8).await.map_err(words)?;
        let tables = [0, 1].map(|table| {
            let first = proto::Oid(oid.0 + 4 * table as u32);
            Arc::new(rows::table_meta(table, database, channel, first))
        });
        let mut world = Self {
            parts,
            log,
            clock,
            node: Some(node),
            database,
            tables,
            twin: Twin::default(),
            travels: Vec::new(),
            dice,
            next_number: 0,
            next_version: 0,
            trace: Vec::new(),
            counts: Counts::default(),
        };
        let changes = world.tables.iter().map(|table| CatalogChange::PutTable(Arc::clone(table))).collect();
        world.change_catalog(changes).await?;
        Ok(world)
    }

    pub(super) async fn stop(&mut self) -> Result<(), String> {
        self.node().stop().await.map_err(words)
    }

    pub(super) fn trace(&self) -> &[String] {
        &self.trace
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    fn node(&self) -> Arc<Node> {
        Arc::clone(self.node.as_ref().expect("a node runs between operations"))
    }

    fn note(&mut self, what: impl Into<String>) {
        self.trace.push(what.into());
    }

    /// One random operation, then every read.
    pub(super) async fn step(&mut self) -> Result<(), String> {
        self.clock.advance(self.dice.random_range(0..50));
        for _ in 0..self.dice.random_range(0..4) {
            tokio::task::yield_now().await;
        }
        match self.dice.random_range(0..100) {
            0..45 => self.transaction().await?,
            45..53 => self.duplicate_key().await?,
            53..61 => self.conflict().await?,
            61..66 => self.given_up().await?,
            66..72 => self.checkpoint().await?,
            72..76 => self.compact().await?,
            76..78 => self.collect().await?,
            78..88 => self.restart().await?,
            88..90 => self.recreate().await?,
            90..95 => self.remember().await?,
            _ => self.concurrent().await?,
        }
        self.check().await
    }

    async fn draft(&mut self) -> Result<Draft, String> {
        let read = self.node().barrier(self.database).await.map_err(words)?;
        let snapshots = self.snapshots(read).await?;
        let overlays = [0, 1].map(|table| TableOverlay::new(Arc::clone(&self.tables[table])));
        Ok(Draft { read, snapshots, overlays, twin: self.twin.clone() })
    }

    async fn snapshots(&self, read: ReadPoint) -> Result<[Arc<TableSnapshot>; 2], String> {
        let first = self.node().snapshot(self.tables[0].id, read).await.map_err(words)?;
        let second = self.node().snapshot(self.tables[1].id, read).await.map_err(words)?;
        Ok([first, second])
    }

    fn fresh_rows(&mut self, count: usize) -> Vec<(u32, u32)> {
        (0..count)
            .map(|_| {
                self.next_number += 1;
                self.next_version += 1;
                (self.next_number, self.next_version)
            })
            .collect()
    }

    /// Some keys that the draft's table has.
    fn some(&mut self, draft: &Draft, table: usize, most: usize) -> Vec<u32> {
        let wanted = self.dice.random_range(0..=most);
        draft.twin.tables[table].keys().copied().choose_multiple(&mut self.dice, wanted)
    }

    fn insert(&mut self, draft: &mut Draft, table: usize, new: &[(u32, u32)]) -> Result<(), String> {
        if new.is_empty() {
            return Ok(());
        }
        let batch = rows::batch(&self.tables[table], table, new);
        draft.overlays[table].insert(&batch).map_err(words)?;
        draft.twin.tables[table].extend(new.iter().copied());
        Ok(())
    }

    fn delete(&self, draft: &mut Draft, table: usize, numbers: &[u32]) -> Result<(), String> {
        let meta = &self.tables[table];
        let pairs: Vec<(u32, u32)> = numbers.iter().map(|number| (*number, 0)).collect();
        let batch = rows::batch(meta, table, &pairs);
        let keys = proto::key::encode_keys(&batch, &meta.key_positions()).map_err(words)?;
        let seen = draft.snapshots[table].with_overlay(&draft.overlays[table]);
        let found = seen.find_keys(&keys).map_err(words)?;
        for ((number, key), row) in numbers.iter().zip(keys).zip(found) {
            let row =
                row.ok_or_else(|| format!("table {table}: key {number} is not found in its transaction"))?;
            draft.overlays[table].delete(row, key.into_vec().into());
            draft.twin.tables[table].remove(number);
        }
        Ok(())
    }

    /// A few random writes to one or both tables.
    fn scribble(&mut self, draft: &mut Draft) -> Result<(), String> {
        for _ in 0..self.dice.random_range(1..5) {
            let table = self.dice.random_range(0..2);
            let crowded = draft.twin.tables[table].len() > ROWS_KEPT;
            match self.dice.random_range(0..20) {
                0 if self.dice.random_ratio(1, 4) => {
                    draft.overlays[table].truncate();
                    draft.twin.tables[table].clear();
                    self.note(format!("  truncate {table}"));
                }
                _ if crowded => {
                    let numbers = self.some(draft, table, ROWS_KEPT);
                    self.delete(draft, table, &numbers)?;
                    self.note(format!("  delete {table} {} rows", numbers.len()));
                }
                0..10 => {
                    let most = if self.dice.random_ratio(1, 5) { 120 } else { 8 };
                    let count = self.dice.random_range(1..=most);
                    let new = self.fresh_rows(count);
                    self.insert(draft, table, &new)?;
                    self.note(format!("  insert {table} {:?}..", (new[0], new.len())));
                }
                10..16 => {
                    let numbers = self.some(draft, table, 10);
                    self.delete(draft, table, &numbers)?;
                    self.next_version += 1;
                    let new: Vec<_> = numbers.iter().map(|number| (*number, self.next_version)).collect();
                    self.insert(draft, table, &new)?;
                    self.note(format!("  update {table} {numbers:?}"));
                }
                _ => {
                    let numbers = self.some(draft, table, 10);
                    self.delete(draft, table, &numbers)?;
                    self.note(format!("  delete {table} {numbers:?}"));
                }
            }
        }
        Ok(())
    }

    fn request(&self, draft: Draft) -> Result<(CommitRequest, Twin), String> {
        let changes = draft.overlays.into_iter().filter(|overlay| !overlay.is_empty());
        let changes = changes.map(TableOverlay::into_change).collect::<Result<Vec<_>, _>>().map_err(words)?;
        let request = CommitRequest {
            database: self.database,
            txn: self.node().draw_txn(),
            read_ts: draft.read.read_ts,
            unchanged: Vec::new(),
            references_since: proto::Timestamp::ZERO,
            changes,
            payload_parts: 0,
            catalog: Vec::new(),
        };
        Ok((request, draft.twin))
    }

    async fn transaction(&mut self) -> Result<(), String> {
        let mut draft = self.draft().await?;
        self.note("transaction");
        self.scribble(&mut draft)?;
        for table in 0..2 {
            let seen = draft.snapshots[table].with_overlay(&draft.overlays[table]);
            reads::compare(&seen, table, &draft.twin)
                .map_err(|difference| format!("inside: {difference}"))?;
        }
        let (request, twin) = self.request(draft)?;
        if self.dice.random_ratio(1, 8) {
            // The rows it has read move before it commits.
            self.compact().await?;
        }
        let outcome = self.node().commit(request).await.map_err(|error| format!("commit: {error}"))?;
        self.note(format!("  committed at {}", outcome.ts));
        self.twin = twin;
        self.counts.commits += 1;
        Ok(())
    }

    /// An insert of a key that is there is refused and leaves nothing.
    async fn duplicate_key(&mut self) -> Result<(), String> {
        let table = self.dice.random_range(0..2);
        let mut draft = self.draft().await?;
        let Some(taken) = self.some(&draft, table, 1).pop() else { return Ok(()) };
        let mut new = self.fresh_rows(3);
        new.push((taken, self.next_version));
        self.insert(&mut draft, table, &new)?;
        self.note(format!("duplicate key {taken} in {table}"));
        let (request, _) = self.request(draft)?;
        match self.node().commit(request).await {
            Err(Error::DuplicateKey { .. }) => {
                self.counts.duplicates += 1;
                Ok(())
            }
            other => Err(format!("a duplicate key gave {other:?}")),
        }
    }

    /// Two transactions change the same row: the first wins.
    async fn conflict(&mut self) -> Result<(), String> {
        let table = self.dice.random_range(0..2);
        let mut late = self.draft().await?;
        let Some(number) = self.some(&late, table, 1).pop() else { return Ok(()) };
        let mut first = self.draft().await?;
        self.delete(&mut late, table, &[number])?;
        let others = self.fresh_rows(2);
        self.insert(&mut late, table, &others)?;
        self.delete(&mut first, table, &[number])?;
        if self.dice.random() {
            self.next_version += 1;
            let version = self.next_version;
            self.insert(&mut first, table, &[(number, version)])?;
        }
        self.note(format!("conflict over {number} in {table}"));
        let (request, twin) = self.request(first)?;
        self.node().commit(request).await.map_err(|error| format!("first: {error}"))?;
        self.twin = twin;
        if self.dice.random_ratio(1, 3) {
            self.checkpoint().await?;
        }
        let (request, _) = self.request(late)?;
        match self.node().commit(request).await {
            Err(Error::Conflict) => {
                self.counts.conflicts += 1;
                Ok(())
            }
            other => Err(format!("a conflict gave {other:?}")),
        }
    }

    /// A transaction whose rows are in the log and that is never decided.
    async fn given_up(&mut self) -> Result<(), String> {
        let mut draft = self.draft().await?;
        let new = self.fresh_rows(20);
        self.insert(&mut draft, 0, &new)?;
        let (request, _) = self.request(draft)?;
        let txn = request.txn;
        self.note(format!("payload of {txn}, given up"));
        self.node().append_payload(self.database, txn, 0, request.changes).await.map_err(words)?;
        if self.dice.random() {
            self.node().abort(self.database, txn).await;
        }
        self.counts.given_up += 1;
        Ok(())
    }

    /// Several commits at once, which may share a turn of the owner.
    async fn concurrent(&mut self) -> Result<(), String> {
        let mut requests = Vec::new();
        let mut twin = self.twin.clone();
        for _ in 0..self.dice.random_range(2..6) {
            let mut draft = self.draft().await?;
            let table = self.dice.random_range(0..2);
            let new = self.fresh_rows(3);
            self.insert(&mut draft, table, &new)?;
            twin.tables[table].extend(new);
            requests.push(self.request(draft)?.0);
        }
        self.note(format!("{} commits at once", requests.len()));
        let node = self.node();
        let commits = requests.into_iter().map(|request| node.commit(request));
        for outcome in futures::future::join_all(commits).await {
            outcome.map_err(|error| format!("at once: {error}"))?;
            self.counts.commits += 1;
        }
        self.twin = twin;
        Ok(())
    }

    /// Merges and purges the segments of a table.
    async fn compact(&mut self) -> Result<(), String> {
        let table = self.dice.random_range(0..2);
        let goal = if self.dice.random() { CompactionGoal::Full } else { CompactionGoal::Vacuum };
        self.note(format!("compact {table} {goal:?}"));
        self.counts.compactions += 1;
        let compacted = self.node().compact(self.tables[table].id, goal).await;
        compacted.map_err(|error| format!("compact: {error}"))
    }

    /// Deletes the objects that nothing needs.
    async fn collect(&mut self) -> Result<(), String> {
        self.note("collect");
        self.counts.collections += 1;
        self.node().collect().await.map_err(|error| format!("collect: {error}"))
    }

    async fn checkpoint(&mut self) -> Result<(), String> {
        self.note("checkpoint");
        self.counts.checkpoints += 1;
        self.node().checkpoint().await.map_err(|error| format!("checkpoint: {error}"))
    }

    /// A stop in order, or a crash that forgets everything that was not made durable.
    async fn restart(&mut self) -> Result<(), String> {
        self.counts.restarts += 1;
        self.travels.clear();
        let node = self.node.take().ok_or("no node")?;
        if self.dice.random() {
            self.note("stop and start");
            node.stop().await.map_err(words)?;
        } else {
            self.note("crash and start");
            // A checkpoint or a merge may be under way when the lights go out.
            let (table, merges) = (self.tables[0].id, self.dice.random::<bool>());
            let turns = self.dice.random_range(0..40);
            let lights = async {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = lights => {}
                _ = node.checkpoint(), if !merges => {}
                _ = node.compact(table, CompactionGoal::Full), if merges => {}
            }
        }
        // Dropping the node aborts its tasks at whatever they were waiting for.
        drop(node);
        tokio::task::yield_now().await;
        self.log.crash();
        let oracle = WindowOracle::open(Arc::clone(&self.parts.meta), Arc::<SimClock>::clone(&self.clock))
            .await
            .map_err(words)?;
        self.parts.oracle = Arc::new(oracle);
        self.node = Some(Node::start(self.parts.clone()).await.map_err(|error| format!("start: {error}"))?);
        Ok(())
    }

    async fn change_catalog(&mut self, catalog: Vec<CatalogChange>) -> Result<(), String> {
        let read = self.node().barrier(self.database).await.map_err(words)?;
        let request = CommitRequest {
            database: self.database,
            txn: self.node().draw_txn(),
            read_ts: read.read_ts,
            unchanged: Vec::new(),
            references_since: proto::Timestamp::ZERO,
            changes: Vec::new(),
            payload_parts: 0,
            catalog,
        };
        self.node().commit(request).await.map_err(|error| format!("catalog: {error}"))?;
        self.counts.table_changes += 1;
        Ok(())
    }

    /// Drops a table and creates it again under the same name.
    async fn recreate(&mut self) -> Result<(), String> {
        let table = self.dice.random_range(0..2);
        let old = Arc::clone(&self.tables[table]);
        let oid = self.node().allocate_oids(4).await.map_err(words)?;
        let fresh = Arc::new(rows::table_meta(table, self.database, old.channel, oid));
        self.note(format!("table {table} {} becomes {}", old.id, fresh.id));
        self.change_catalog(vec![
            CatalogChange::DropTable(old.id),
            CatalogChange::PutTable(Arc::clone(&fresh)),
        ])
        .await?;
        self.tables[table] = fresh;
        self.twin.tables[table].clear();
        self.travels.clear();
        Ok(())
    }

    /// Keeps a snapshot and its instant, to be read again later.
    async fn remember(&mut self) -> Result<(), String> {
        let read = self.node().barrier(self.database).await.map_err(words)?;
        let snapshots = self.snapshots(read).await?;
        if self.travels.len() == TRAVELS {
            self.travels.remove(0);
        }
        self.travels.push((read, snapshots, self.twin.clone()));
        Ok(())
    }
}
