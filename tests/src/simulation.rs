//! Deterministic simulation: a whole node, its clients and its enemies in one thread, on a clock that jumps, from a seed.
//!
//! The node is the real one (owner, followers, flusher, compactor, indexer, collector, recovery). Its log, meta store and
//! object store are those in memory behind wrappers that are slow, fail before and after the fact, answer late or not at
//! all, cut bodies short and show old listings. Writers change rows of two tables on one channel, one of which may be
//! idle: they want the same unique values, refer to rows that others delete, empty a table, drop tables and make them anew; readers look at the present and the past in every way; a keeper flushes, merges, collects, builds and drops
//! indexes; a killer ends the process at any operation or time, in the middle of its start too, and what was not
//! synced is gone, now and then meta store and log with it, which are then rebuilt from the objects. Or the three are those in files (`Form::Disk`), on a disk in memory that loses its power at any
//! operation, with what was not synced lost, torn or half there. Thresholds are drawn down to absurd values. `ledger` judges everything that anyone sees.
//!
//! What it is not: a test of SQL or of sessions; the operations are calls of `cluster::Node`.
//!
//! Invariants: a seed is a run, twice the same (`Report::hash`); a run that did too little is a failure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cluster::PlantedBug;
use cluster::clock::SimClock;
use cluster::tasks::simulation::Simulation;
use cluster::tasks::sleep;

mod backing;
mod clients;
mod draft;
mod faults;
mod keepers;
mod ledger;
mod log;
mod meta;
mod staging;
mod store;
mod trace;
mod world;

pub use backing::Form;
use clients::Client;
use world::World;

/// Acknowledged transactions after which a run may end, once it has done enough of everything else.
const COMMITS: u64 = 60;
/// A run that has not done enough by then is worth nothing.
const LONGEST_MILLIS: u64 = 15 * 60 * 1000;

/// What one seed did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of everything that happened, in order.
    pub hash: u64,
    pub events: u64,
    pub simulated_millis: u64,
    pub commits: u64,
    pub refused: u64,
    /// Transactions whose answer was lost, and how many of them had happened.
    pub lost: u64,
    pub lost_that_happened: u64,
    pub deleted_rows: u64,
    /// Both tables, read whole at one instant.
    pub looks: u64,
    pub manifests: u64,
    pub deleted_objects: u64,
    pub flushes: u64,
    pub merges: u64,
    pub indexes: u64,
    pub collections: u64,
    pub kills: u64,
    /// Tables dropped and made anew.
    pub table_changes: u64,
    /// Transactions whose rows were in files before their commit.
    pub staged: u64,
    /// Starts on what the object store alone gave back, and transactions that these took back.
    pub rebuilds: u64,
    pub undone: u64,
}

impl Report {
    /// Adds what another seed did.
    pub fn add(&mut self, other: Self) {
        self.hash ^= other.hash;
        self.events += other.events;
        self.simulated_millis += other.simulated_millis;
        self.commits += other.commits;
        self.refused += other.refused;
        self.lost += other.lost;
        self.lost_that_happened += other.lost_that_happened;
        self.deleted_rows += other.deleted_rows;
        self.looks += other.looks;
        self.manifests += other.manifests;
        self.deleted_objects += other.deleted_objects;
        self.flushes += other.flushes;
        self.merges += other.merges;
        self.indexes += other.indexes;
        self.collections += other.collections;
        self.kills += other.kills;
        self.table_changes += other.table_changes;
        self.staged += other.staged;
        self.rebuilds += other.rebuilds;
        self.undone += other.undone;
    }

    fn is_enough(&self) -> bool {
        self.commits >= COMMITS
            && self.deleted_rows >= 20
            && self.manifests >= 3
            && self.flushes >= 1
            && self.merges >= 1
            && self.kills >= 2
            && self.looks >= 100
            && self.staged >= 1
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} simulated seconds, {} events, {} commits, {} refused, {} without an answer of which {} happened, \
             {} rows deleted, {} looks, {} manifests, {} objects deleted, {} flushes, {} merges, {} index changes, \
             {} collections, {} kills, {} changes of tables, {} transactions staged, {} rebuilds that \
             took back {} commits",
            self.simulated_millis / 1000,
            self.events,
            self.commits,
            self.refused,
            self.lost,
            self.lost_that_happened,
            self.deleted_rows,
            self.looks,
            self.manifests,
            self.deleted_objects,
            self.flushes,
            self.merges,
            self.indexes,
            self.collections,
            self.kills,
            self.table_changes,
            self.staged,
            self.rebuilds,
            self.undone
        )
    }
}

/// Runs one seed.
///
/// # Errors
/// The first thing that must not be, with what happened before it and how to see it again.
pub fn run(seed: u64, form: Form, bug: Option<PlantedBug>) -> Result<Report, String> {
    let clock = Arc::new(SimClock::new(1_700_000_000_000));
    let simulation = Simulation::new(Arc::clone(&clock));
    let outcome = simulation.run(async {
        let world = World::new(seed, form, bug, clock).await.map_err(|error| (error, String::new()))?;
        let outcome = live(&world, seed).await;
        outcome.map_err(|why| (why, world.trace.tail()))
    });
    let stuck = || Err(("nothing can run any more and it has not ended".to_owned(), String::new()));
    outcome.unwrap_or_else(stuck).map_err(|(why, tail)| {
        format!("SEED={seed}, {form:?}: {why}\nagain: SEED={seed} SEEDS=1 TRACE=1 make simulate\n  {tail}")
    })
}

async fn live(world: &Arc<World>, seed: u64) -> Result<Report, String> {
    let mut clients = Vec::new();
    for number in 0..world.plan.writers {
        let client = Client::new(world, &format!("writer {number}"), seed ^ (number + 1) << 32);
        clients.push(tokio::spawn(client.write()));
    }
    for number in 0..2 {
        let client = Client::new(world, &format!("reader {number}"), seed ^ (number + 101) << 32);
        clients.push(tokio::spawn(client.read()));
    }
    let keeper = tokio::spawn(keepers::keep(Arc::clone(world), seed ^ 201 << 32));
    let killer = tokio::spawn(keepers::kill(Arc::clone(world), seed ^ 202 << 32));
    let weather = tokio::spawn(keepers::change_weather(Arc::clone(world), seed ^ 203 << 32));
    loop {
        tokio::select! {
            biased;
            () = world.ended() => break,
            () = sleep(Some(Duration::from_secs(1))) => {}
        }
        if report(world).is_enough() || world.trace.millis() >= LONGEST_MILLIS {
            break;
        }
    }
    world.end();
    let panicked = |error: tokio::task::JoinError| error.to_string();
    for client in clients {
        client.await.map_err(panicked)?;
    }
    keeper.await.map_err(panicked)?;
    killer.await.map_err(panicked)?;
    weather.await.map_err(panicked)?;
    world.deeds.failure().map_or(Ok(()), Err)?;
    keepers::rest(world).await?;
    finish(world, seed).await?;
    let report = report(world);
    if report.is_enough() { Ok(report) } else { Err(format!("INVALID, it did too little: {report}")) }
}

/// Everything is read once more: as it was found, in files, merged, collected, and after another start.
async fn finish(world: &Arc<World>, seed: u64) -> Result<(), String> {
    let mut client = Client::new(world, "auditor", seed ^ 301 << 32);
    client.audit("after the last start").await?;
    let node = world.node().ok_or("the node is gone")?;
    node.checkpoint().await.map_err(|error| format!("the last checkpoint: {error}"))?;
    client.audit("after a checkpoint").await?;
    let catalog = node.catalog();
    let tables = world.tables(&catalog).ok_or("the tables are not there")?;
    for table in tables.map(|table| table.id) {
        let merged = node.compact(table, cluster::CompactionGoal::Full).await;
        merged.map_err(|error| format!("the last merge: {error}"))?;
    }
    client.audit("merged").await?;
    sleep(Some(Duration::from_secs(5))).await;
    node.collect().await.map_err(|error| format!("the last collection: {error}"))?;
    drop(node);
    keepers::rest(world).await?;
    client.audit("after a collection and another start").await?;
    world.deeds.failure().map_or(Ok(()), Err)
}

fn report(world: &World) -> Report {
    let (ledger, counts) = (world.ledger(), world.deeds.counts());
    let tally = ledger.tally();
    Report {
        hash: world.trace.hash(),
        events: world.trace.events(),
        simulated_millis: world.trace.millis(),
        commits: tally.done + tally.undone,
        refused: tally.refused,
        lost: tally.lost,
        lost_that_happened: tally.lost_that_happened,
        deleted_rows: tally.ended_rows,
        looks: ledger.looks(),
        manifests: counts.manifests,
        deleted_objects: counts.deleted_objects,
        flushes: counts.flushes,
        merges: counts.merges,
        indexes: counts.indexes,
        collections: counts.collections,
        kills: counts.kills,
        table_changes: counts.table_changes,
        staged: counts.staged,
        rebuilds: counts.rebuilds,
        undone: tally.undone,
    }
}
