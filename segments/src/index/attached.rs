//! An index as a sealed segment carries it: ready to search, or with the reason why it is not.
//!
//! Invariants: an index that was found damaged is never asked again; its segment answers exactly without it. So it does
//! for readers of instants before the index is complete.

use std::sync::{Arc, OnceLock};

use proto::{DistanceMetric, Oid, Timestamp};

use super::VectorIndex;

/// See the file header.
#[derive(Debug)]
pub struct SegmentIndex {
    oid: Oid,
    index: Option<Arc<dyn VectorIndex>>,
    /// Rows that are not in it because they had ended did so at or before this instant.
    complete_since: Timestamp,
    /// Why the index cannot be used.
    failure: OnceLock<String>,
}

impl SegmentIndex {
    /// An index that can be searched.
    pub(crate) fn ready(oid: Oid, index: Arc<dyn VectorIndex>, complete_since: Timestamp) -> Self {
        Self { oid, index: Some(index), complete_since, failure: OnceLock::new() }
    }

    /// An index whose file could not be opened.
    pub(crate) fn failed(oid: Oid, reason: String) -> Self {
        Self { oid, index: None, complete_since: Timestamp::ZERO, failure: OnceLock::from(reason) }
    }

    /// The index's OID.
    #[must_use]
    pub const fn oid(&self) -> Oid {
        self.oid
    }

    /// The index, unless it is damaged.
    #[must_use]
    pub fn usable(&self) -> Option<&Arc<dyn VectorIndex>> {
        self.index.as_ref().filter(|_| self.failure.get().is_none())
    }

    /// The index for a reader of an instant, when every row that the reader can see and that has a distance is in it.
    #[must_use]
    pub fn usable_at(&self, read_ts: Timestamp) -> Option<&Arc<dyn VectorIndex>> {
        self.usable().filter(|_| read_ts >= self.complete_since)
    }

    /// The first instant whose readers the index answers.
    #[must_use]
    pub const fn complete_since(&self) -> Timestamp {
        self.complete_since
    }

    /// Why the index cannot be used.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The metric it orders by, when it could be opened.
    #[must_use]
    pub fn metric(&self) -> Option<DistanceMetric> {
        self.index.as_ref().map(|index| index.metric())
    }

    /// Remembers that the index is damaged; the first reason stays.
    pub(crate) fn give_up(&self, reason: String) {
        // Another search may have found it first.
        let _ = self.failure.set(reason);
    }
}
