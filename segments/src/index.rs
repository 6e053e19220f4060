//! The vector index seam: what searches the vectors of one segment, and what builds such a thing.
//!
//! Nothing approximate is final: an index yields candidates with exact distances, `search::top_k` and the Sort above
//! it decide. An index whose `is_exact` is true yields exactly the nearest rows.
//!
//! What it is not: no visibility, no filter. Both arrive as one bitmap, and a row outside it is never named.

use std::fmt;
use std::sync::Arc;

use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use proto::{DistanceMetric, ErrorKind, SqlError};

use crate::error::{Error, Result};

mod attached;
pub mod build;
pub mod flat;
pub(crate) mod hnsw;
pub(crate) mod ivf_flat;
pub use attached::SegmentIndex;
pub use build::BuildPhase;
pub use flat::FlatIndex;

/// How hard an approximate index tries; an exact one ignores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchParams {
    /// Candidates kept during a graph walk (`hnsw.ef_search`).
    pub ef_search: usize,
    /// Lists visited (`ivfflat.probes`).
    pub probes: usize,
    /// Distances after which an index gives up, because a scan is cheaper by then.
    pub most_distances: usize,
}

impl Default for SearchParams {
    /// pgvector's defaults, without a limit.
    fn default() -> Self {
        Self { ef_search: 40, probes: 1, most_distances: usize::MAX }
    }
}

/// A row an index proposes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub ordinal: u32,
    /// Exact. NaN sorts behind all numbers.
    pub distance: f64,
}

/// What a search came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Nearest first.
    pub candidates: Vec<Candidate>,
    /// Distances that were computed, those to parts of the index included.
    pub distances: usize,
    /// The limit was reached; the candidates mean nothing.
    pub gave_up: bool,
}

/// Searches the vectors of one column of one segment.
pub trait VectorIndex: Send + Sync + fmt::Debug {
    /// The metric the index orders by.
    fn metric(&self) -> DistanceMetric;
    /// Row versions that a search can find.
    fn rows(&self) -> usize;
    /// Bytes of the index, vectors not counted.
    fn bytes(&self) -> usize;
    /// Whether candidates are exactly the nearest rows, ties by (ts, row).
    fn is_exact(&self) -> bool;
    /// About how many distances a search computes when `admitted` rows are set in the bitmap.
    fn expected_distances(&self, k: usize, params: &SearchParams, admitted: usize) -> f64;
    /// What one of its distances costs beside one in a scan that reads rows one after the other.
    fn distance_cost(&self) -> f64;
    /// Rows among those set in `admit` that have a vector, with their exact distances, nearest first: `k` of them, or
    /// more where the index met more. An exact index returns exactly `k` whenever that many qualify.
    ///
    /// # Errors
    /// Damaged bytes, or a query of other dimensions than the column's.
    fn search(&self, query: &[f32], k: usize, params: &SearchParams, admit: &BooleanBuffer) -> Result<Found>;
}

/// # Errors
/// 22000 in pgvector's words.
fn check_dimensions(vectors: &VectorColumn, query: &[f32]) -> Result<()> {
    let dimensions = vectors.dimensions();
    if query.len() == dimensions {
        return Ok(());
    }
    let message = format!("different vector dimensions {dimensions} and {}", query.len());
    Err(SqlError::new(ErrorKind::DataException, message).into())
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

    /// The vector of a row, verified; zeros for a NULL vector.
    ///
    /// # Errors
    /// `Corrupted` when its block is damaged or there is no such row.
    #[inline]
    pub fn row(&self, ordinal: usize) -> Result<&[f32]> {
        let part = match self.parts.as_slice() {
            [only] => Some(only),
            parts => parts[..parts.partition_point(|part| part.first <= ordinal)].last(),
        };
        match part {
            Some(part) if ordinal - part.first < part.rows => {
                part.slice(ordinal - part.first, ordinal - part.first + 1, self.dimensions)
            }
            _ => {
                Err(Error::corrupted("vector index", format!("it names row {ordinal}, which does not exist")))
            }
        }
    }

    /// All elements of a column in one part, verified; none when no row has a vector.
    ///
    /// # Errors
    /// `Corrupted` when a block is damaged, XX000 for a column in several parts.
    pub fn contiguous(&self) -> Result<&[f32]> {
        match self.parts.as_slice() {
            [] => Ok(&[]),
            [only] if only.values.is_empty() => Ok(&[]),
            [only] => only.slice(0, only.rows, self.dimensions),
            _ => Err(SqlError::new(ErrorKind::Internal, "vectors in several parts cannot be indexed").into()),
        }
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

#[cfg(test)]
mod tests;
