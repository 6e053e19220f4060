//! The flat index: no structure, an exact scan of all admitted rows at memory speed.
//!
//! The scan takes 64 rows at a time, one word of the bitmap: a full word goes through the block kernel, a sparse
//! one row by row, an empty one is never touched. A bounded heap with a threshold keeps nearly all rows away
//! from it.
//!
//! Invariant: the order is (distance ascending, NaN last, commit ts, row id), whatever the order of rows.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use arrow::buffer::BooleanBuffer;
use proto::{DistanceMetric, ErrorKind, RowId, SqlError, Timestamp};

use super::{Candidate, Found, SearchParams, VectorColumn, VectorIndex, VectorPart, check_dimensions};
use crate::bitmap::{WORD, each_bit};
use crate::distance::Scanner;
use crate::error::Result;
use crate::view::SegmentForm;

/// Words with at least this many admitted rows are computed whole: sequential reads beat skipping.
const DENSE_WORD: u32 = 20;

/// An exact scan of one column.
#[derive(Clone, Debug)]
pub struct FlatIndex {
    segment: SegmentForm,
    vectors: VectorColumn,
    metric: DistanceMetric,
}

impl FlatIndex {
    /// The scan of a column of a segment.
    ///
    /// # Errors
    /// 0A000 when the column is not `vector(n)`.
    pub fn new(segment: SegmentForm, column: usize, metric: DistanceMetric) -> Result<Self> {
        let vectors = segment.vectors(column)?.ok_or_else(|| {
            SqlError::new(
                ErrorKind::FeatureNotSupported,
                "vector search needs a column with fixed dimensions",
            )
        })?;
        Ok(Self { segment, vectors, metric })
    }

    /// The column scanned.
    #[must_use]
    pub const fn vectors(&self) -> &VectorColumn {
        &self.vectors
    }
}

impl VectorIndex for FlatIndex {
    fn metric(&self) -> DistanceMetric {
        self.metric
    }

    fn rows(&self) -> usize {
        self.vectors.rows()
    }

    fn bytes(&self) -> usize {
        0
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn expected_distances(&self, _k: usize, _params: &SearchParams, admitted: usize) -> f64 {
        admitted as f64
    }

    fn distance_cost(&self) -> f64 {
        1.0
    }

    fn search(
        &self,
        query: &[f32],
        k: usize,
        _params: &SearchParams,
        admit: &BooleanBuffer,
    ) -> Result<Found> {
        check_dimensions(&self.vectors, query)?;
        if k == 0 {
            return Ok(Found::default());
        }
        let dimensions = self.vectors.dimensions();
        let mut scan = Scan {
            scanner: Scanner::new(self.metric, query),
            nearest: Nearest::new(k, &self.segment),
            distances: [0.0; WORD],
        };
        for part in self.vectors.parts() {
            scan.part(part, dimensions, &admit.slice(part.first(), part.rows()))?;
        }
        let distances = admit.count_set_bits();
        Ok(Found { candidates: scan.nearest.into_candidates(), distances, gave_up: false })
    }
}

struct Scan<'a> {
    scanner: Scanner<'a>,
    nearest: Nearest<'a>,
    distances: [f64; WORD],
}

impl Scan<'_> {
    fn part(&mut self, part: &VectorPart, dimensions: usize, admit: &BooleanBuffer) -> Result<()> {
        let valid = part.valid().map(BooleanBuffer::bit_chunks);
        let mut valid = valid.as_ref().map(|chunks| chunks.iter_padded());
        for (position, word) in admit.bit_chunks().iter_padded().enumerate() {
            let valid = valid.as_mut().map_or(u64::MAX, |words| words.next().unwrap_or(0));
            let word = word & valid;
            if word != 0 {
                self.word(part, dimensions, position * WORD, word)?;
            }
        }
        Ok(())
    }

    fn word(&mut self, part: &VectorPart, dimensions: usize, start: usize, word: u64) -> Result<()> {
        let first = part.first() + start;
        if word.count_ones() >= DENSE_WORD {
            let end = part.rows().min(start + WORD);
            let distances = &mut self.distances[..end - start];
            self.scanner.block(part.slice(start, end, dimensions)?, distances);
            let (threshold, nearest) = (self.nearest.threshold, &mut self.nearest);
            // A comparison that is also true for NaN, without a branch per row.
            let mut near = 0_u64;
            for (bit, distance) in distances.iter().enumerate() {
                near |= u64::from(*distance <= threshold || distance.is_nan()) << bit;
            }
            each_bit(near & word, |bit| nearest.offer(distances[bit], (first + bit) as u32));
            return Ok(());
        }
        let mut rest = word;
        while rest != 0 {
            let bit = rest.trailing_zeros() as usize;
            let mut distance = [0.0];
            self.scanner.block(part.slice(start + bit, start + bit + 1, dimensions)?, &mut distance);
            self.nearest.offer(distance[0], (first + bit) as u32);
            rest &= rest - 1;
        }
        Ok(())
    }
}

/// A kept row; the order is that of the result, so the heap's top is the worst.
#[derive(Clone, Copy, Debug)]
struct Kept {
    distance: f64,
    ts: Timestamp,
    row: RowId,
    ordinal: u32,
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_distances(self.distance, other.distance)
            .then(self.ts.cmp(&other.ts))
            .then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kept {}

/// Numbers ascending, all NaN equal and last, as PostgreSQL orders float8.
pub(crate) fn compare_distances(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

/// A candidate in the order of its distance, then of its row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByDistance(pub(crate) Candidate);

impl Ord for ByDistance {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_distances(self.0.distance, other.0.distance).then(self.0.ordinal.cmp(&other.0.ordinal))
    }
}

impl PartialOrd for ByDistance {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByDistance {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByDistance {}

/// The `k` nearest rows seen so far.
struct Nearest<'a> {
    k: usize,
    segment: &'a SegmentForm,
    heap: BinaryHeap<Kept>,
    /// Distances above it cannot enter; infinite until `k` numbers are kept.
    threshold: f64,
}

impl<'a> Nearest<'a> {
    fn new(k: usize, segment: &'a SegmentForm) -> Self {
        Self { k, segment, heap: BinaryHeap::with_capacity(k.min(4096)), threshold: f64::INFINITY }
    }

    fn offer(&mut self, distance: f64, ordinal: u32) {
        let full = self.heap.len() == self.k;
        if full && self.heap.peek().is_some_and(|worst| compare_distances(distance, worst.distance).is_gt()) {
            return;
        }
        let (ts, row) = self.segment.identity(ordinal);
        let kept = Kept { distance, ts, row, ordinal };
        if full {
            if let Some(mut worst) = self.heap.peek_mut()
                && kept < *worst
            {
                *worst = kept;
            }
        } else {
            self.heap.push(kept);
        }
        if self.heap.len() == self.k
            && let Some(worst) = self.heap.peek()
            && !worst.distance.is_nan()
        {
            self.threshold = worst.distance;
        }
    }

    fn into_candidates(self) -> Vec<Candidate> {
        let kept = self.heap.into_sorted_vec();
        kept.into_iter().map(|kept| Candidate { ordinal: kept.ordinal, distance: kept.distance }).collect()
    }
}
