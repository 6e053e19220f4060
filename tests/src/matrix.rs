//! The delete matrix: rows are deleted and updated before, during and after everything that can happen to a segment,
//! in every state it can be in; afterwards every way to read must agree with a naive twin, now and at an earlier
//! instant, and again after a restart and after everything was merged.
//!
//! It runs on the real `cluster::Node` over back ends in memory. Writes of objects can be held up, so that
//! *during* is during. What it is not: a test of SQL.
//!
//! Invariant: one seed is one choice of rows, rounds and versions; a cell that did not delete anything is a failure.

use std::fmt;

mod cell;
mod full;
mod gate;

/// What a segment is in when the operation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Growing,
    /// A flush has sealed it and waits for the store.
    Sealing,
    /// Sealed; the store was full.
    Unflushed,
    Flushed,
    /// In files before their commit, which the flusher waits to name.
    Staged,
    /// In files before their commit, and named since.
    Imported,
    Indexed,
    /// A merge has read it and waits for the store.
    CompactionInput,
    CompactionOutput,
    /// Read back after a restart.
    Reloaded,
    /// Rebuilt from the object store alone: meta store and log were lost.
    Restored,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Flush,
    /// Nothing is old enough to be purged.
    Merge,
    Purge,
    IndexBuild,
    Load,
    Collection,
    Crash,
    Restart,
}

/// When rows are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    During,
    After,
}

/// All states.
pub const STATES: [State; 11] = [
    State::Growing,
    State::Sealing,
    State::Unflushed,
    State::Flushed,
    State::Staged,
    State::Imported,
    State::Indexed,
    State::CompactionInput,
    State::CompactionOutput,
    State::Reloaded,
    State::Restored,
];
/// All operations.
pub const OPERATIONS: [Operation; 8] = [
    Operation::Flush,
    Operation::Merge,
    Operation::Purge,
    Operation::IndexBuild,
    Operation::Load,
    Operation::Collection,
    Operation::Crash,
    Operation::Restart,
];
/// All moments.
pub const MOMENTS: [Moment; 3] = [Moment::Before, Moment::During, Moment::After];

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub cells: u64,
    pub reads: u64,
    pub deleted_rows: u64,
    /// Deletes whose fate a crash left open, and how many of them had happened.
    pub in_doubt: u64,
    pub happened: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} cells, {} tables read in every way, {} rows deleted, {} deletes in doubt of which {} happened",
            self.cells, self.reads, self.deleted_rows, self.in_doubt, self.happened
        )
    }
}

/// A flush, a merge and an index build meet a full disk, and space comes back.
///
/// # Errors
/// What is not as it must be.
pub fn run_full_disk(seed: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(full::run(seed))
}

/// Every cell with one seed.
///
/// # Errors
/// Every cell whose reads differ from the twin's.
pub fn run(seed: u64, report: &mut Report) -> Result<(), Vec<String>> {
    let mut failures = Vec::new();
    for state in STATES {
        for operation in OPERATIONS {
            for moment in MOMENTS {
                let name = format!("seed {seed}: {state:?} × {operation:?} × {moment:?}");
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let outcome = match runtime {
                    Ok(runtime) => runtime.block_on(cell::run(seed, state, operation, moment, report)),
                    Err(error) => Err(error.to_string()),
                };
                report.cells += 1;
                failures.extend(outcome.err().map(|difference| format!("{name}: {difference}")));
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}
