//! An index as a sealed segment carries it: ready to search, or with the reason why it is not.
//!
//! Invariant: an index that was found damaged is never asked again; its segment answers exactly without it.

use std::sync::{Arc, OnceLock};

use proto::{DistanceMetric, Oid};

use super::VectorIndex;

/// See the file header.
#[derive(Debug)]
pub struct SegmentIndex {
    oid: Oid,
    index: Option<Arc<dyn VectorIndex>>,
    /// Why the index cannot be used.
    failure: OnceLock<String>,
}

impl SegmentIndex {
    /// An index that can be searched.
    pub(crate) fn ready(oid: Oid, index: Arc<dyn VectorIndex>) -> Self {
        Self { oid, index: Some(index), failure: OnceLock::new() }
    }

    /// An index whose file could not be opened.
    pub(crate) fn failed(oid: Oid, reason: String) -> Self {
        Self { oid, index: None, failure: OnceLock::from(reason) }
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
