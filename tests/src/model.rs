//! The model test: random operations on a `cluster::Node` over in-memory back ends, beside a naive twin.
//!
//! Two tables share a channel. Rows are inserted, updated, deleted, truncated, alone and in transactions over both
//! tables, given up, written as payloads, sealed, flushed, merged and purged, and what nothing needs is collected; rows have
//! a unique key beside the primary one, and those of the second table refer to those of the first; the node is stopped and
//! crashed and started again, and rebuilt from the object store alone. After every operation every read must equal the twin's: scans, look-ups by either key, nearest neighbours,
//! snapshots taken earlier, and the buffered writes of a transaction that is not decided.
//!
//! What it is not: a test of SQL. Invariants: one seed is one run; a difference is reported with the seed and the
//! operations before it; a run that did too little of one kind is a failure.

use std::fmt;

use cluster::PlantedBug;

mod twin;
mod world;

use world::World;

/// What one seed did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub commits: u64,
    pub conflicts: u64,
    pub duplicates: u64,
    /// References to nothing that were refused.
    pub orphans: u64,
    pub given_up: u64,
    pub checkpoints: u64,
    pub restarts: u64,
    pub rebuilds: u64,
    pub reads: u64,
    pub table_changes: u64,
    pub compactions: u64,
    pub collections: u64,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.commits += other.commits;
        self.conflicts += other.conflicts;
        self.duplicates += other.duplicates;
        self.orphans += other.orphans;
        self.given_up += other.given_up;
        self.checkpoints += other.checkpoints;
        self.restarts += other.restarts;
        self.rebuilds += other.rebuilds;
        self.reads += other.reads;
        self.table_changes += other.table_changes;
        self.compactions += other.compactions;
        self.collections += other.collections;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} commits, {} conflicts, {} duplicate keys, {} orphans, {} given up, {} checkpoints, {} restarts, {} \
             rebuilds, {} table changes, {} compactions, {} collections, {} reads",
            self.commits,
            self.conflicts,
            self.duplicates,
            self.orphans,
            self.given_up,
            self.checkpoints,
            self.restarts,
            self.rebuilds,
            self.table_changes,
            self.compactions,
            self.collections,
            self.reads
        )
    }
}

/// Runs one seed.
///
/// # Errors
/// The first read that differs from the twin's, with the operations that led to it.
pub fn run(seed: u64, operations: usize, bug: Option<PlantedBug>) -> Result<Counts, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut world =
            World::start(seed, bug).await.map_err(|error| format!("seed {seed}: start: {error}"))?;
        for number in 0..operations {
            if let Err(difference) = world.step().await {
                let trace = world.trace();
                let tail = trace[trace.len().saturating_sub(25)..].join("\n  ");
                return Err(format!("seed {seed}, operation {number}: {difference}\n  {tail}"));
            }
        }
        world.stop().await.map_err(|error| format!("seed {seed}: stop: {error}"))?;
        Ok(world.counts())
    })
}
