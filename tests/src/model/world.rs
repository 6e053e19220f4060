//! A node with its back ends, its twin, and the operations that are done to both.

use std::sync::Arc;

use cluster::{CommitRequest, CompactionGoal, DEFAULT_DATABASE, Error, Node, PlantedBug, Settings};
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
use crate::memory_node::MemoryNode;
use crate::rows;

mod reads;

/// Rows a table holds at most, roughly.
const ROWS_KEPT: usize = 400;
/// Snapshots kept for later comparison.
const TRAVELS: usize = 4;

/// See the file header.
pub(super) struct World {
    home: MemoryNode,
    database: DatabaseId,
    tables: [Arc<TableMeta>; 2],
    twin: Twin,
    travels: Vec<(ReadPoint, [Arc<TableSnapshot>; 2], Twin)>,
    dice: StdRng,
    next_number: u32,
    next_serial: u32,
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
        let home = MemoryNode::start(seed, Arc::new(InMemory::new()), settings).await?;
        let catalog = home.node().catalog();
        let database = catalog.database(DEFAULT_DATABASE).ok_or("no default database")?;
        let (database, channel) = (database.id, database.home_channel);
        let oid = home.node().allocate_oids(2 * rows::OIDS).await.map_err(words)?;
        let tables = rows::table_metas(database, channel, oid).map(Arc::new);
        let mut world = Self {
            home,
            database,
            tables,
            twin: Twin::default(),
            travels: Vec::new(),
            dice,
            next_number: 0,
            next_serial: 0,
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
        self.home.node()
    }

    fn note(&mut self, what: impl Into<String>) {
        self.trace.push(what.into());
    }

    /// One random operation, then every read.
    pub(super) async fn step(&mut self) -> Result<(), String> {
        self.home.clock.advance(self.dice.random_range(0..50));
        for _ in 0..self.dice.random_range(0..4) {
            tokio::task::yield_now().await;
        }
        match self.dice.random_range(0..100) {
            0..45 => self.transaction().await?,
            45..51 => self.duplicate_key().await?,
            51..55 => self.orphan().await?,
            55..62 => self.conflict().await?,
            62..66 => self.given_up().await?,
            66..72 => self.checkpoint().await?,
            72..76 => self.compact().await?,
            76..78 => self.collect().await?,
            78..86 => self.restart().await?,
            86..88 => self.rebuild().await?,
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

    fn fresh_numbers(&mut self, count: usize) -> Vec<u32> {
        (0..count)
            .map(|_| {
                self.next_number += 1;
                self.next_number
            })
            .collect()
    }

    /// New versions of rows: with codes that a table does not have, and referring to rows that are there.
    fn versions(&mut self, twin: &Twin, table: usize, numbers: &[u32]) -> Vec<(u32, u32)> {
        let mut taken = rows::codes(&twin.tables[table]);
        let there = rows::codes(&twin.tables[0]);
        let mut versions = Vec::with_capacity(numbers.len());
        for number in numbers {
            self.next_serial = (self.next_serial + 1) % rows::SERIALS;
            let drawn = self.dice.random_range(0..=rows::CODES);
            let code = if drawn > 0 && taken.insert(drawn) { drawn } else { 0 };
            let refers = table == 1 && self.dice.random_ratio(2, 3);
            let reference = if refers { there.iter().copied().choose(&mut self.dice) } else { None };
            versions.push((*number, rows::version(self.next_serial, code, reference.unwrap_or_default())));
        }
        versions
    }

    fn insert_new(&mut self, draft: &mut Draft, table: usize, count: usize) -> Result<(), String> {
        let numbers = self.fresh_numbers(count);
        self.insert_numbers(draft, table, &numbers)
    }

    fn insert_numbers(&mut self, draft: &mut Draft, table: usize, numbers: &[u32]) -> Result<(), String> {
        let new = self.versions(&draft.twin, table, numbers);
        self.insert(draft, table, &new)
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

    /// Deletes rows, and those that refer to them.
    fn delete(&self, draft: &mut Draft, table: usize, numbers: &[u32]) -> Result<(), String> {
        self.delete_alone(draft, table, numbers)?;
        let there = rows::codes(&draft.twin.tables[0]);
        let refers = |version: u32| rows::reference(version).is_some_and(|code| !there.contains(&code));
        let left = draft.twin.tables[1].iter().filter(|(_, version)| refers(**version));
        let left: Vec<u32> = left.map(|(number, _)| *number).collect();
        self.delete_alone(draft, 1, &left)
    }

    fn delete_alone(&self, draft: &mut Draft, table: usize, numbers: &[u32]) -> Result<(), String> {
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
                    // Whoever empties what is referred to empties both.
                    for table in table..2 {
                        draft.overlays[table].truncate();
                        draft.twin.tables[table].clear();
                    }
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
                    self.insert_new(draft, table, count)?;
                    self.note(format!("  insert {table} {:?}..", (self.next_number, count)));
                }
                10..16 => {
                    let numbers = self.some(draft, table, 10);
                    self.delete(draft, table, &numbers)?;
                    self.insert_numbers(draft, table, &numbers)?;
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

    fn request(&mut self, draft: Draft) -> Result<(CommitRequest, Twin), String> {
        let changes = draft.overlays.into_iter().filter(|overlay| !overlay.is_empty());
        let changes = changes.map(TableOverlay::into_change).collect::<Result<Vec<_>, _>>().map_err(words)?;
        let mut request = self.home.request(self.database, draft.read.read_ts);
        // Whoever has looked need not say so.
        if self.dice.random() {
            request.references_since = draft.read.read_ts;
        }
        request.changes = changes;
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

    /// An insert of a key that is there, or of a code, is refused and leaves nothing.
    async fn duplicate_key(&mut self) -> Result<(), String> {
        let table = self.dice.random_range(0..2);
        let mut draft = self.draft().await?;
        let numbers = self.fresh_numbers(3);
        let mut new = self.versions(&draft.twin, table, &numbers);
        let codes = rows::codes(&draft.twin.tables[table]);
        let code = if self.dice.random() { codes.into_iter().choose(&mut self.dice) } else { None };
        match (code, self.some(&draft, table, 1).pop()) {
            (Some(code), _) => new[2].1 = rows::version(0, code, 0),
            (None, Some(taken)) => new[2] = (taken, rows::version(0, 0, 0)),
            (None, None) => return Ok(()),
        }
        self.insert(&mut draft, table, &new)?;
        self.note(format!("duplicate key or code {code:?} in {table}"));
        let (request, _) = self.request(draft)?;
        match self.node().commit(request).await {
            Err(Error::DuplicateKey { .. }) => {
                self.counts.duplicates += 1;
                Ok(())
            }
            other => Err(format!("a duplicate key gave {other:?}")),
        }
    }

    /// A row that refers to nothing, or a delete of what is referred to, is refused and leaves nothing.
    async fn orphan(&mut self) -> Result<(), String> {
        let mut draft = self.draft().await?;
        let there = rows::codes(&draft.twin.tables[0]);
        let mut referred = draft.twin.tables[1].values().filter_map(|version| rows::reference(*version));
        let of =
            |code: u32| draft.twin.tables[0].iter().find(|(_, version)| rows::code(**version) == Some(code));
        if let Some(number) = referred.next().and_then(of).map(|(number, _)| *number)
            && self.dice.random()
        {
            self.delete_alone(&mut draft, 0, &[number])?;
            self.note(format!("delete of {number}, which is referred to"));
        } else {
            let Some(nothing) = (1..=rows::CODES).find(|code| !there.contains(code)) else { return Ok(()) };
            let number = self.fresh_numbers(1)[0];
            self.insert(&mut draft, 1, &[(number, rows::version(0, 0, nothing))])?;
            self.note(format!("{number} refers to {nothing}, which is not there"));
        }
        let (mut request, _) = self.request(draft)?;
        request.references_since = proto::Timestamp::ZERO;
        match self.node().commit(request).await {
            Err(Error::Conflict) => {
                self.counts.orphans += 1;
                Ok(())
            }
            other => Err(format!("a reference to nothing gave {other:?}")),
        }
    }

    /// Two transactions change the same row: the first wins.
    async fn conflict(&mut self) -> Result<(), String> {
        let table = self.dice.random_range(0..2);
        let mut late = self.draft().await?;
        let Some(number) = self.some(&late, table, 1).pop() else { return Ok(()) };
        let mut first = self.draft().await?;
        self.delete(&mut late, table, &[number])?;
        self.insert_new(&mut late, table, 2)?;
        self.delete(&mut first, table, &[number])?;
        if self.dice.random() {
            self.insert_numbers(&mut first, table, &[number])?;
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
        self.insert_new(&mut draft, 0, 20)?;
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
            // None of them has a code of another, or refers to a row of another.
            let numbers = self.fresh_numbers(3);
            let known = Twin { tables: [self.twin.tables[0].clone(), twin.tables[1].clone()] };
            let new = self.versions(if table == 0 { &twin } else { &known }, table, &numbers);
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
        let node = self.home.take().ok_or("no node")?;
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
        drop(node);
        self.home.start_again().await
    }

    /// Meta store and log are lost behind a checkpoint; the object store gives everything back.
    async fn rebuild(&mut self) -> Result<(), String> {
        self.note("rebuild");
        self.counts.rebuilds += 1;
        self.travels.clear();
        self.node().checkpoint().await.map_err(|error| format!("checkpoint: {error}"))?;
        self.home.rebuild().await.map(drop)
    }

    async fn change_catalog(&mut self, catalog: Vec<CatalogChange>) -> Result<(), String> {
        let read = self.node().barrier(self.database).await.map_err(words)?;
        let mut request = self.home.request(self.database, read.read_ts);
        request.catalog = catalog;
        self.node().commit(request).await.map_err(|error| format!("catalog: {error}"))?;
        self.counts.table_changes += 1;
        Ok(())
    }

    /// Drops the second table or both and creates them again under the same names.
    async fn recreate(&mut self) -> Result<(), String> {
        let first = self.dice.random_range(0..2);
        let (old, channel) = (self.tables.clone(), self.tables[0].channel);
        let oid = self.node().allocate_oids(2 * rows::OIDS).await.map_err(words)?;
        if first == 0 {
            self.tables = rows::table_metas(self.database, channel, oid).map(Arc::new);
        } else {
            self.tables[1] = Arc::new(rows::table_meta(1, self.database, channel, oid, Some(&old[0])));
        }
        let drops = old[first..].iter().rev().map(|table| CatalogChange::DropTable(table.id));
        let puts = self.tables[first..].iter().map(|table| CatalogChange::PutTable(Arc::clone(table)));
        let changes = drops.chain(puts).collect();
        self.note(format!("tables from {first} on are new, {}", self.tables[first].id));
        self.change_catalog(changes).await?;
        self.twin.tables[first..].iter_mut().for_each(rows::Rows::clear);
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
