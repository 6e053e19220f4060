//! The vector index seam: what searches the vectors of one segment, and what builds such a thing.
//!
//! Nothing approximate is final: an index yields candidates, `search::top_k` and the Sort above it decide. An
//! index whose `is_exact` is true yields exactly the nearest rows with their exact distances.
//!
//! What it is not: no visibility, no filter. Both arrive as one bitmap, and a row outside it is never named.

use std::fmt;
use std::sync::Arc;

use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use proto::DistanceMetric;

use crate::error::Result;
use crate::view::SegmentForm;

pub mod flat;
pub use flat::{FlatBuilder, FlatIndex};

/// How hard an approximate index tries; an exact one ignores it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchParams {
    /// Candidates kept during a graph walk (`hnsw.ef_search`); 0 means the index's default.
    pub ef_search: usize,
    /// Lists visited (`ivfflat.probes`); 0 means the index's default.
    pub probes: usize,
}

/// A row an index proposes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub ordinal: u32,
    /// Exact when the index is exact, else only good for ordering candidates. NaN sorts behind all numbers.
    pub distance: f64,
}

/// Searches the vectors of one column of one segment.
pub trait VectorIndex: Send + Sync + fmt::Debug {
    /// The metric the index orders by.
    fn metric(&self) -> DistanceMetric;
    /// Row versions covered, NULL vectors included.
    fn rows(&self) -> usize;
    /// Whether candidates are exactly the nearest rows, with exact distances, ties by (ts, row).
    fn is_exact(&self) -> bool;
    /// Up to `k` rows among those set in `admit` that have a vector, nearest first. An exact index returns
    /// `k` whenever that many qualify.
    ///
    /// # Errors
    /// Damaged bytes, or a query of other dimensions than the column's.
    fn search(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        admit: &BooleanBuffer,
    ) -> Result<Vec<Candidate>>;
}

/// Builds an index over a column of a segment.
pub trait IndexBuilder: Send + Sync + fmt::Debug {
    /// The access method's SQL name (`flat`, `hnsw`, …).
    fn method(&self) -> &'static str;
    /// Builds.
    ///
    /// # Errors
    /// When the column is not `vector(n)`, or stored bytes are damaged.
    fn build(
        &self,
        segment: &SegmentForm,
        column: usize,
        metric: DistanceMetric,
    ) -> Result<Arc<dyn VectorIndex>>;
}

/// Says whether bytes about to be read are what was written; asked before vectors of a stored part are used.
pub(crate) trait Verify: Send + Sync + fmt::Debug {
    /// # Errors
    /// `Corrupted` when the checksum of a block that overlaps the byte range does not match.
    fn verify(&self, start: usize, end: usize) -> Result<()>;
}

/// Consecutive vectors in memory or in a mapped file, row after row without gaps.
#[derive(Clone, Debug)]
pub struct VectorPart {
    first: usize,
    rows: usize,
    values: ScalarBuffer<f32>,
    valid: Option<BooleanBuffer>,
    /// The check of a stored object's blocks.
    guard: Option<Arc<dyn Verify>>,
}

impl VectorPart {
    /// Vectors in memory.
    #[must_use]
    pub fn resident(
        first: usize,
        rows: usize,
        values: ScalarBuffer<f32>,
        valid: Option<BooleanBuffer>,
    ) -> Self {
        Self { first, rows, values, valid, guard: None }
    }

    /// Vectors in a stored object whose first element is the first byte `guard` knows.
    pub(crate) fn stored(
        first: usize,
        rows: usize,
        values: ScalarBuffer<f32>,
        valid: Option<BooleanBuffer>,
        guard: Arc<dyn Verify>,
    ) -> Self {
        Self { first, rows, values, valid, guard: Some(guard) }
    }

    /// Ordinal of the first row.
    #[must_use]
    pub const fn first(&self) -> usize {
        self.first
    }

    /// Number of rows, NULL vectors included.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Which rows have a vector; `None` when all have.
    #[must_use]
    pub const fn valid(&self) -> Option<&BooleanBuffer> {
        self.valid.as_ref()
    }

    /// The elements of rows `start..end` of this part, verified.
    ///
    /// # Errors
    /// `Corrupted` when a block of the file is damaged.
    pub fn slice(&self, start: usize, end: usize, dimensions: usize) -> Result<&[f32]> {
        let (from, to) = (start * dimensions, end * dimensions);
        if let Some(guard) = &self.guard {
            guard.verify(from * 4, to * 4)?;
        }
        Ok(&self.values[from..to])
    }
}

/// A column of vectors, all of the same dimensions, in parts that cover ordinals 0.. without gaps.
#[derive(Clone, Debug)]
pub struct VectorColumn {
    dimensions: usize,
    parts: Vec<VectorPart>,
}

impl VectorColumn {
    /// A column from its parts, ascending and without gaps.
    #[must_use]
    pub const fn new(dimensions: usize, parts: Vec<VectorPart>) -> Self {
        Self { dimensions, parts }
    }

    /// Elements per vector.
    #[must_use]
    pub const fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &[VectorPart] {
        &self.parts
    }

    /// Rows of all parts.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.parts.last().map_or(0, |part| part.first + part.rows)
    }

    /// Whether the row has no vector.
    #[must_use]
    pub fn is_null(&self, ordinal: usize) -> bool {
        let part = self.parts.partition_point(|part| part.first <= ordinal).saturating_sub(1);
        self.parts
            .get(part)
            .is_some_and(|part| part.valid.as_ref().is_some_and(|valid| !valid.value(ordinal - part.first)))
    }
}
