//! Clients of a simulated node: they look, change what they saw, and write down what they were told.

use std::sync::Arc;
use std::time::Duration;

use cluster::tasks::sleep;
use cluster::{CommitRequest, Error, Node};
use proto::catalog::{CatalogChange, TableMeta};
use proto::record::TableChange;
use proto::time::ReadPoint;
use proto::{Classify, ErrorKind, Timestamp};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use segments::{SnapshotSource, TableOverlay, TableSnapshot};

use super::draft::{self, Changes};
use super::ledger::Asked;
use super::staging;
use super::world::{World, words};
use crate::reads::{self, Fault, Nearness, Rows, Seen};
use crate::rows;

/// One client.
pub(super) struct Client {
    pub(super) world: Arc<World>,
    pub(super) name: String,
    pub(super) dice: StdRng,
}

/// Both tables at one instant, as they were read and judged.
struct Sight {
    point: ReadPoint,
    snapshots: [Arc<TableSnapshot>; 2],
    rows: [Rows; 2],
}

/// A transaction before it is sent.
struct Draft {
    request: CommitRequest,
    asked: Asked,
}

/// Both tables as scans show them.
async fn scan(snapshots: &[Arc<TableSnapshot>; 2]) -> Result<[Vec<Seen>; 2], Trouble> {
    for snapshot in snapshots {
        let all: Vec<usize> = (0..snapshot.table.columns.len()).collect();
        snapshot.load(&all).await.map_err(|error| Trouble::Error(error.to_string()))?;
    }
    let of = |table: usize| reads::scan(&snapshots[table], table).map_err(|fault| Trouble::of(fault, "scan"));
    Ok([of(0)?, of(1)?])
}

/// Why something did not come about.
pub(super) enum Trouble {
    /// As it may happen when back ends fail.
    Error(String),
    Violation(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error.to_string())
    }
}

impl From<segments::Error> for Trouble {
    fn from(error: segments::Error) -> Self {
        Self::Error(error.to_string())
    }
}

impl Trouble {
    /// What a read did not show; one that says that it cannot read is none, while back ends fail.
    fn of(fault: Fault, what: &str) -> Self {
        match fault {
            Fault::Unreadable(error) => Self::Error(format!("{what}: {error}")),
            Fault::Different(why) => Self::Violation(format!("{what}: {why}")),
        }
    }
}

impl Client {
    pub(super) fn new(world: &Arc<World>, name: &str, seed: u64) -> Self {
        Self { world: Arc::clone(world), name: name.to_owned(), dice: StdRng::seed_from_u64(seed) }
    }

    /// Writes until the run ends.
    pub(super) async fn write(mut self) {
        while !self.world.has_ended() {
            let world = Arc::clone(&self.world);
            if world.with_node(|node| self.transaction(node)).await.is_none() {
                self.world.trace.add(&self.name, "its server died");
            }
            self.rest().await;
        }
    }

    /// Reads until the run ends.
    pub(super) async fn read(mut self) {
        while !self.world.has_ended() {
            let world = Arc::clone(&self.world);
            world.with_node(|node| self.look(node)).await;
            // Looking costs this machine more than anything else.
            sleep(Some(Duration::from_millis(self.dice.random_range(20..400)))).await;
        }
    }

    async fn rest(&mut self) {
        let millis = self.dice.random_range(1..=1 + self.world.plan.pause_millis);
        sleep(Some(Duration::from_millis(millis))).await;
    }

    /// Notes trouble; a violation ends the run.
    fn note(&self, what: &str, outcome: Result<(), Trouble>) {
        match outcome {
            Ok(()) => self.world.trace.add(&self.name, what),
            Err(Trouble::Error(error)) => self.world.trace.add(&self.name, format!("{what}: {error}")),
            Err(Trouble::Violation(why)) => self.world.judge(&self.name, Err(format!("{what}: {why}"))),
        }
    }

    /// Everything that is acknowledged, read and judged.
    async fn sight(&self, node: &Node) -> Result<(Sight, cluster::Pin), Trouble> {
        let least = self.world.ledger().acknowledged();
        let (point, pin) = node.pinned_barrier(self.world.database).await?;
        let tables = self.world.tables(&node.catalog()).ok_or_else(no_tables)?;
        let snapshots =
            [node.snapshot(tables[0].id, point).await?, node.snapshot(tables[1].id, point).await?];
        let seen = scan(&snapshots).await?;
        let mut ledger = self.world.ledger();
        ledger.look(point.read_ts, least, &seen).map_err(Trouble::Violation)?;
        let rows = [ledger.rows_at(0, point.read_ts), ledger.rows_at(1, point.read_ts)];
        Ok((Sight { point, snapshots, rows }, pin))
    }

    async fn transaction(&mut self, node: Arc<Node>) {
        if self.world.tables(&node.catalog()).is_none() {
            let made = self.world.make_missing_tables(&node).await;
            return self.note("made the tables that were missing", made.map_err(Trouble::from));
        }
        let (sight, _pin) = match self.sight(&node).await {
            Ok(sight) => sight,
            Err(trouble) => return self.note("look", Err(trouble)),
        };
        if self.dice.random_ratio(1, 4) {
            self.rest().await;
        }
        let draft = if self.dice.random_ratio(1, 40) {
            self.draft_tables(&node, &sight).await
        } else {
            self.draft_rows(&node, &sight).await
        };
        match draft {
            Ok(draft) => self.send(&node, draft).await,
            Err(trouble) => self.note("draft", Err(trouble)),
        }
    }

    /// Some changes of what was seen; at least one row is new.
    async fn draft_rows(&mut self, node: &Node, sight: &Sight) -> Result<Draft, Trouble> {
        let world = Arc::clone(&self.world);
        let changes = draft::draw(&mut self.dice, &world.plan, &mut world.ledger(), &sight.rows);
        let mut request = world.request(node, sight.point.read_ts);
        if changes.has_looked {
            request.references_since = sight.point.read_ts;
        }
        let mut are_free = true;
        let mut asked = Asked { clears: Vec::from_iter(changes.truncates.then_some(1)), ..Asked::default() };
        for table in 0..2 {
            let Changes { inserts, deletes, .. } = &changes;
            asked.begins.extend(inserts[table].iter().map(|(number, version)| (table, *number, *version)));
            asked
                .ends
                .extend(deletes[table].iter().map(|number| (table, *number, sight.rows[table][number])));
            let clears = asked.clears.contains(&table);
            let mut overlay =
                overlay(&sight.snapshots[table], table, &inserts[table], &deletes[table], clears)?;
            if !inserts[table].is_empty() && self.dice.random_ratio(1, 6) {
                let doomed = world.ledger().new_number();
                staging::stage(node, world.database, (table, doomed), &mut overlay, &mut request).await?;
                are_free &= staging::are_free(&sight.snapshots[table], table, &inserts[table])?;
            }
            if !overlay.is_empty() {
                request.changes.push(overlay.into_change()?);
            }
        }
        if !request.staged.is_empty() {
            world.deeds.count(|counts| &mut counts.staged);
            if are_free {
                request.keys_since = sight.point.read_ts;
            }
        }
        Ok(Draft { request, asked })
    }

    /// The second table, or both, dropped and made anew.
    async fn draft_tables(&mut self, node: &Node, sight: &Sight) -> Result<Draft, Trouble> {
        let world = Arc::clone(&self.world);
        let old = [0, 1].map(|table| Arc::clone(&sight.snapshots[table].table));
        let first = node.allocate_oids(2 * rows::OIDS).await?;
        let mut new = rows::table_metas(world.database, old[0].channel, first).map(Arc::new);
        let both = self.dice.random_ratio(1, 3);
        if !both {
            let parts = rows::table_meta(1, world.database, old[1].channel, first, Some(&old[0]));
            new = [Arc::clone(&old[0]), Arc::new(parts)];
        }
        let mut request = world.request(node, sight.point.read_ts);
        let changed = if both { 0..2 } else { 1..2 };
        for table in changed.clone().rev() {
            request.catalog.push(CatalogChange::DropTable(old[table].id));
        }
        request.catalog.extend(changed.clone().map(|table| CatalogChange::PutTable(Arc::clone(&new[table]))));
        if both {
            request.unchanged = vec![(old[0].id, sight.point.read_ts)];
        }
        let number = world.ledger().new_number();
        let version = world.ledger().new_version(0, number, (0, 0));
        request.changes.push(mark(&new[0], number, version)?);
        let asked = Asked { begins: vec![(0, number, version)], ends: Vec::new(), clears: changed.collect() };
        Ok(Draft { request, asked })
    }

    /// Sends a transaction, whole or in parts, and writes down what becomes of it.
    async fn send(&mut self, node: &Node, draft: Draft) {
        let Draft { mut request, asked } = draft;
        let (txn, database) = (request.txn, self.world.database);
        let what = format!("transaction {asked:?}");
        let changes_tables = !request.catalog.is_empty();
        let number = self.world.ledger().ask(asked);
        let _lost = Unanswered { world: &self.world, number };
        self.world.trace.add(&self.name, format!("{number}: {what}"));
        if !changes_tables && self.dice.random_ratio(1, 6) {
            let changes = std::mem::take(&mut request.changes);
            for (part, change) in (0..).zip(changes) {
                if let Err(error) = node.append_payload(database, txn, part, vec![change]).await {
                    node.abort(database, txn).await;
                    let refused = self.world.ledger().refused(number, &error.to_string());
                    self.world.trace.add(&self.name, format!("{number}: no part {part}: {error}"));
                    return self.world.judge(&self.name, refused);
                }
                request.payload_parts += 1;
            }
            if self.dice.random_ratio(1, 4) {
                if self.dice.random() {
                    node.abort(database, txn).await;
                }
                let refused = self.world.ledger().refused(number, "given up");
                self.world.trace.add(&self.name, format!("{number}: given up"));
                return self.world.judge(&self.name, refused);
            }
        }
        let outcome = node.commit(request).await;
        let verdict = match &outcome {
            Ok(outcome) => {
                if changes_tables {
                    self.world.deeds.count(|counts| &mut counts.table_changes);
                }
                self.world.ledger().done(number, outcome.ts)
            }
            Err(Error::Unknown { .. }) => {
                self.world.ledger().lost(number);
                Ok(())
            }
            Err(error) => self.world.ledger().refused(number, &error.to_string()),
        };
        let told = outcome.map(|outcome| outcome.ts.to_string()).unwrap_or_else(words);
        self.world.trace.add(&self.name, format!("{number}: {told}"));
        self.world.judge(&self.name, verdict);
    }

    /// One way of reading.
    async fn look(&mut self, node: Arc<Node>) {
        match self.dice.random_range(0..10) {
            0..5 => {
                let outcome = self.look_now(&node).await;
                self.note("looked at everything", outcome);
            }
            5..8 => {
                let outcome = self.look_back(&node).await;
                self.note("looked back", outcome);
            }
            _ => {
                let outcome = self.hold(&node).await;
                self.note("held on to what it saw", outcome);
            }
        }
    }

    /// Every way to read what is there now.
    async fn look_now(&mut self, node: &Node) -> Result<(), Trouble> {
        let (sight, _pin) = self.sight(node).await?;
        self.check(&sight).await
    }

    async fn check(&mut self, sight: &Sight) -> Result<(), Trouble> {
        let last = self.world.ledger().last_number();
        for table in 0..2 {
            let live = sight.rows[table].keys().copied();
            let mut numbers = live.choose_multiple(&mut self.dice, 8);
            numbers.extend((0..8).map(|_| self.dice.random_range(1..=last + 1)));
            let index = (rows::index_oid(&sight.snapshots[table].table), Nearness::Approximate);
            reads::check(&sight.snapshots[table], table, &sight.rows[table], numbers, index)
                .map_err(|fault| Trouble::of(fault, &format!("table {table} at {}", sight.point.read_ts)))?;
        }
        Ok(())
    }

    /// Looks at everything when nothing may fail.
    pub(super) async fn audit(&mut self, when: &str) -> Result<(), String> {
        let node = self.world.node().ok_or("the node is gone")?;
        self.world.trace.add(&self.name, when);
        self.look_now(&node).await.map_err(|trouble| match trouble {
            Trouble::Error(why) | Trouble::Violation(why) => format!("{when}: {why}"),
        })
    }

    /// The past, at the instant of some transaction or between two.
    async fn look_back(&mut self, node: &Node) -> Result<(), Trouble> {
        let now = node.oracle_millis();
        let back = [5, 100, 3_000, 60_000].choose(&mut self.dice).copied().unwrap_or_default();
        let millis = now.saturating_sub(self.dice.random_range(0..=back));
        let asked = Timestamp(Timestamp::from_millis(millis).0 + self.dice.random_range(0..4));
        let instant = match node.instant(self.world.database, asked).await {
            Ok(instant) => instant,
            Err(error) if error.kind() == ErrorKind::SnapshotTooOld => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut snapshots = Vec::new();
        let Some(tables) = self.world.tables(&instant.catalog) else { return Ok(()) };
        for meta in &tables {
            match node.past_snapshot(&instant, meta, false) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(error) if error.kind() == ErrorKind::SnapshotTooOld => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let Ok(snapshots) = <[_; 2]>::try_from(snapshots) else { return Ok(()) };
        let seen = scan(&snapshots).await?;
        let mut ledger = self.world.ledger();
        ledger.look(instant.ts, Timestamp::ZERO, &seen).map_err(Trouble::Violation)?;
        for (table, snapshot) in snapshots.iter().enumerate() {
            let codes = reads::look_up_codes(snapshot, table, &ledger.rows_at(table, instant.ts));
            codes.map_err(|fault| Trouble::of(fault, &format!("table {table} at {}", instant.ts)))?;
        }
        Ok(())
    }

    /// What a statement holds does not change under it.
    async fn hold(&mut self, node: &Node) -> Result<(), Trouble> {
        let (sight, _pin) = self.sight(node).await?;
        for _ in 0..self.dice.random_range(1..6) {
            self.rest().await;
        }
        self.check(&sight).await?;
        let [first, second] = [0, 1].map(|table| sight.snapshots[table].table.id);
        let again = [node.snapshot(first, sight.point).await?, node.snapshot(second, sight.point).await?];
        let seen = scan(&again).await?;
        self.world.ledger().look(sight.point.read_ts, Timestamp::ZERO, &seen).map_err(Trouble::Violation)
    }
}

/// A transaction whose client does not hear of it any more, unless it did.
struct Unanswered<'a> {
    world: &'a World,
    number: usize,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.world.ledger().lost_unless_answered(self.number);
    }
}

fn no_tables() -> Trouble {
    Trouble::Error("the tables are not there".to_owned())
}

/// A row of the first table.
fn mark(meta: &Arc<TableMeta>, number: u32, version: u32) -> Result<TableChange, Trouble> {
    let mut overlay = TableOverlay::new(Arc::clone(meta));
    overlay.insert(&rows::batch(meta, 0, &[(number, version)]))?;
    Ok(overlay.into_change()?)
}

/// The changes of one table, which is emptied first or not.
fn overlay(
    snapshot: &TableSnapshot,
    table: usize,
    inserts: &[(u32, u32)],
    deletes: &[u32],
    clears: bool,
) -> Result<TableOverlay, Trouble> {
    let meta = &snapshot.table;
    let mut overlay = TableOverlay::new(Arc::clone(meta));
    if clears {
        overlay.truncate();
    }
    let pairs: Vec<(u32, u32)> = deletes.iter().map(|number| (*number, 0)).collect();
    let keys = proto::key::encode_keys(&rows::batch(meta, table, &pairs), &meta.key_positions())
        .map_err(|error| Trouble::Violation(error.to_string()))?;
    let found = snapshot.find_keys(&keys)?;
    for ((number, key), row) in deletes.iter().zip(keys).zip(found) {
        let row = row.ok_or_else(|| {
            Trouble::Violation(format!("table {table}: key {number} is visible and not found"))
        })?;
        overlay.delete(row, key.into_vec().into());
    }
    if !inserts.is_empty() {
        overlay.insert(&rows::batch(meta, table, inserts))?;
    }
    Ok(overlay)
}
