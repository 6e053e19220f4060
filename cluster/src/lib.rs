//! Agreement and motion: the meta store, the log, the oracle, channel owners, followers, flushers and indexers.
//!
//! What it is not: it knows no SQL, no DataFusion and no wire; how rows are laid out and searched is
//! `segments`. It never sees `exec`; both meet in `sql`.
//!
//! Invariants: nothing is acknowledged before its record is durable; a channel has one writer at a time
//! (epochs); readers never block writers (states are immutable values, swapped whole); nothing runs when
//! nothing happens.

pub mod backup;
mod catalog;
mod catalog_objects;
mod channel;
pub mod clock;
mod collector;
mod compactor;
pub mod error;
mod flusher;
mod follower;
#[cfg(test)]
mod golden;
mod horizon;
mod indexer;
pub mod lease;
pub mod locks;
pub mod log;
pub mod meta;
pub mod node;
pub mod oracle;
mod owner;
pub mod rebuild;
pub mod settings;
mod staging;
pub mod tasks;
#[cfg(any(test, feature = "suites"))]
pub mod testing;
pub mod verify;

pub use catalog::{DEFAULT_DATABASE, DroppedTable};
pub use collector::GarbageInfo;
pub use compactor::{Compaction, CompactionGoal, CompactionPhase, CompactionState};
pub use error::{Error, Result};
pub use horizon::{NamedSnapshot, Pin};
pub use indexer::{BuildState, IndexBuild};
pub use node::{IndexStatus, Instant, Node, NodeParts, SegmentInfo};
pub use owner::{CommitOutcome, CommitRequest};
pub use settings::{PlantedBug, Settings};
pub use staging::StagedSegment;
