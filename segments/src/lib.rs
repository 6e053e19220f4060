//! The storage engine: rows in growing and sealed segments, deletes, visibility, files, exact vector search.
//!
//! What it is not: no tokio, no SQL, no clock, no log, no decision about what is committed. The caller (cluster)
//! says what happened and in which order; this crate keeps it, shows it at a timestamp and writes it down.
//!
//! Invariants: everything after `TableSnapshot::load` is synchronous and never awaits; a value that is shared
//! never changes (appending makes a new version, readers keep theirs); stored objects are written once and
//! damaged bytes end in `Error::Corrupted` with the object's name, never in a wrong answer.

#![allow(clippy::result_large_err, reason = "errors carry PostgreSQL's fields and are rare")]

pub mod bitmap;
pub mod deletes;
pub mod distance;
pub mod error;
pub mod faiss;
pub mod file;
pub mod flush;
pub mod format;
pub mod growing;
pub mod index;
pub mod keys;
pub mod merge;
pub mod overlay;
pub mod sealed;
pub mod search;
pub mod snapshot;
pub mod store;
pub mod view;

mod append_list;
#[cfg(test)]
mod fixture;
mod layout;
#[cfg(test)]
mod model;

pub use deletes::{DeleteEntry, DeleteSet};
pub use error::{Error, Result};
pub use file::{FileDoor, SystemDoor};
pub use format::manifest::{Manifest, ManifestId, ObjectEntry, ObjectKind, SegmentFiles, TableFiles};
pub use growing::{CHUNK_ROWS, GrowingRows, GrowingSegment};
pub use index::{BuildPhase, SearchParams, SegmentIndex};
pub use merge::MergeInput;
pub use overlay::{TableOverlay, is_private};
pub use sealed::{SealedSegment, SegmentHold, verify_object};
pub use search::{Hit, IndexUse, SearchMethod, SegmentHits, top_k};
pub use snapshot::{SnapshotSource, TableSnapshot};
pub use store::{CachedStore, LocalStore};
pub use view::{ScalarBound, ScanColumn, SegmentForm, SegmentState, SegmentView};
