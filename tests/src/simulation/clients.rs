//! Clients of a simulated node: they look, change what they saw, and write down what they were told.

use std::sync::Arc;
use std::time::Duration;

use cluster::tasks::sleep;
use cluster::{CommitRequest, Error, Node};
use proto::time::ReadPoint;
use proto::{Classify, ErrorKind, Timestamp};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use segments::{SnapshotSource, TableOverlay, TableSnapshot};

use super::ledger::RowVersion;
use super::world::{World, words};
use crate::reads::{self, Nearness, Rows, Seen};
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
    begins: Vec<RowVersion>,
    ends: Vec<RowVersion>,
}

/// Both tables as scans show them.
async fn scan(snapshots: &[Arc<TableSnapshot>; 2]) -> Result<[Vec<Seen>; 2], Trouble> {
    for snapshot in snapshots {
        let all: Vec<usize> = (0..snapshot.table.columns.len()).collect();
        snapshot.load(&all).await.map_err(|error| Trouble::Error(error.to_string()))?;
    }
    let of = |table: usize| reads::scan(&snapshots[table], table).map_err(Trouble::Violation);
    Ok([of(0)?, of(1)?])
}

/// Why something did not come about.
enum Trouble {
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
        let snapshots = [
            node.snapshot(self.world.tables[0], point).await?,
            node.snapshot(self.world.tables[1], point).await?,
        ];
        let seen = scan(&snapshots).await?;
        let mut ledger = self.world.ledger();
        ledger.look(point.read_ts, least, &seen).map_err(Trouble::Violation)?;
        let rows = [ledger.rows_at(0, point.read_ts), ledger.rows_at(1, point.read_ts)];
        Ok((Sight { point, snapshots, rows }, pin))
    }

    async fn transaction(&mut self, node: Arc<Node>) {
        let (sight, _pin) = match self.sight(&node).await {
            Ok(sight) => sight,
            Err(trouble) => return self.note("look", Err(trouble)),
        };
        if self.dice.random_ratio(1, 4) {
            self.rest().await;
        }
        let draft = match self.draft(&node, &sight) {
            Ok(draft) => draft,
            Err(why) => return self.note("draft", Err(Trouble::Violation(why))),
        };
        self.send(&node, draft).await;
    }

    fn table(&mut self) -> usize {
        usize::from(self.dice.random_range(0..100) < self.world.plan.second_table)
    }

    /// Some changes of what was seen; at least one row is new.
    fn draft(&mut self, node: &Node, sight: &Sight) -> Result<Draft, String> {
        let world = Arc::clone(&self.world);
        let mut draft =
            Draft { request: world.request(node, sight.point.read_ts), begins: Vec::new(), ends: Vec::new() };
        let mut inserts: [Vec<(u32, u32)>; 2] = [Vec::new(), Vec::new()];
        let mut deletes: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..self.dice.random_range(1..4) {
            let table = self.table();
            let crowded = sight.rows[table].len() > world.plan.rows;
            let most = if crowded { 20 } else { 5 };
            let some: Vec<u32> = sight.rows[table].keys().copied().choose_multiple(&mut self.dice, most);
            let some = some.into_iter().filter(|number| !deletes[table].contains(number)).collect::<Vec<_>>();
            let (updates, adds) = match self.dice.random_range(0..10) {
                _ if crowded => (false, 0),
                0..4 => (false, if self.dice.random_ratio(1, 6) { 60 } else { self.dice.random_range(1..6) }),
                4..7 => (true, 0),
                _ => (false, 0),
            };
            if adds == 0 {
                deletes[table].extend(&some);
            }
            let mut ledger = world.ledger();
            if updates {
                inserts[table]
                    .extend(some.iter().map(|number| (*number, ledger.new_version(table, *number))));
            }
            for _ in 0..adds {
                let number = ledger.new_number();
                inserts[table].push((number, ledger.new_version(table, number)));
            }
        }
        // A mark of its own, so that whoever looks sees whether it has happened.
        let table = self.table();
        let number = world.ledger().new_number();
        inserts[table].push((number, world.ledger().new_version(table, number)));
        // Now and then a key that is there, unless somebody else deletes it first.
        if self.dice.random_ratio(1, 20)
            && let Some(number) = sight.rows[table].keys().find(|number| !deletes[table].contains(*number))
        {
            inserts[table].push((*number, world.ledger().new_version(table, *number)));
        }
        for table in 0..2 {
            draft.begins.extend(inserts[table].iter().map(|(number, version)| (table, *number, *version)));
            draft
                .ends
                .extend(deletes[table].iter().map(|number| (table, *number, sight.rows[table][number])));
            let overlay = overlay(&sight.snapshots[table], table, &inserts[table], &deletes[table])?;
            if !overlay.is_empty() {
                draft.request.changes.push(overlay.into_change().map_err(words)?);
            }
        }
        Ok(draft)
    }

    /// Sends a transaction, whole or in parts, and writes down what becomes of it.
    async fn send(&mut self, node: &Node, draft: Draft) {
        let Draft { mut request, begins, ends } = draft;
        let (txn, database) = (request.txn, self.world.database);
        let what = format!("transaction begins {begins:?}, ends {ends:?}");
        let number = self.world.ledger().ask(begins, ends);
        let _lost = Unanswered { world: &self.world, number };
        self.world.trace.add(&self.name, format!("{number}: {what}"));
        if self.dice.random_ratio(1, 6) {
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
            Ok(outcome) => self.world.ledger().done(number, outcome.ts),
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
            let index = (self.world.indexes[table].oid, Nearness::Approximate);
            reads::check(&sight.snapshots[table], table, &sight.rows[table], numbers, index).map_err(
                |why| Trouble::Violation(format!("table {table} at {}: {why}", sight.point.read_ts)),
            )?;
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
        for table in self.world.tables {
            let Some(meta) = instant.catalog.tables.get(&table) else { return Ok(()) };
            match node.past_snapshot(&instant, meta, false) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(error) if error.kind() == ErrorKind::SnapshotTooOld => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let Ok(snapshots) = <[_; 2]>::try_from(snapshots) else { return Ok(()) };
        let seen = scan(&snapshots).await?;
        let mut ledger = self.world.ledger();
        ledger.look(instant.ts, Timestamp::ZERO, &seen).map_err(Trouble::Violation)
    }

    /// What a statement holds does not change under it.
    async fn hold(&mut self, node: &Node) -> Result<(), Trouble> {
        let (sight, _pin) = self.sight(node).await?;
        for _ in 0..self.dice.random_range(1..6) {
            self.rest().await;
        }
        self.check(&sight).await?;
        let again = [
            node.snapshot(self.world.tables[0], sight.point).await?,
            node.snapshot(self.world.tables[1], sight.point).await?,
        ];
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

/// The changes of one table.
fn overlay(
    snapshot: &TableSnapshot,
    table: usize,
    inserts: &[(u32, u32)],
    deletes: &[u32],
) -> Result<TableOverlay, String> {
    let meta = &snapshot.table;
    let mut overlay = TableOverlay::new(Arc::clone(meta));
    let pairs: Vec<(u32, u32)> = deletes.iter().map(|number| (*number, 0)).collect();
    let keys =
        proto::key::encode_keys(&rows::batch(meta, table, &pairs), &meta.key_positions()).map_err(words)?;
    let found = snapshot.find_keys(&keys).map_err(words)?;
    for ((number, key), row) in deletes.iter().zip(keys).zip(found) {
        let row = row.ok_or_else(|| format!("table {table}: key {number} is visible and not found"))?;
        overlay.delete(row, key.into_vec().into());
    }
    if !inserts.is_empty() {
        overlay.insert(&rows::batch(meta, table, inserts)).map_err(words)?;
    }
    Ok(overlay)
}
