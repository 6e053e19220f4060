//! Distances between vectors: one accumulation order per metric, the same bits on every machine.
//!
//! Every metric accumulates in 32 lanes of float4 (element i goes to lane i mod 32, multiply and add
//! rounded separately, never fused), and the lanes are summed as float8 in a fixed tree at the end. The body
//! is written once and compiled for the baseline, AVX2 and AVX-512; one look at the CPU picks a copy.
//!
//! Results: L2 = sqrt of the sum of squares; inner product negated; cosine = 1 - clamp(dot / sqrt(|a|² |b|²)),
//! NaN when a vector is zero; L1 = sum of absolute differences.

use std::sync::OnceLock;

use proto::DistanceMetric;

mod kernels;
use kernels::Level;

fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(Level::detect)
}

/// The instruction level the kernels run at on this machine, for `elanus version --libraries`.
#[must_use]
pub fn instruction_level() -> &'static str {
    level().name()
}

/// The distance between two vectors of the same length (the shorter length counts otherwise).
#[must_use]
pub fn distance(metric: DistanceMetric, a: &[f32], b: &[f32]) -> f64 {
    let length = a.len().min(b.len());
    let mut out = [0.0];
    Scanner::new(metric, &a[..length]).block(&b[..length], &mut out);
    out[0]
}

/// The distances from `query` to the rows of `rows`, which follow each other at a stride of `query.len()`;
/// appended to `out`.
pub fn distances(metric: DistanceMetric, query: &[f32], rows: &[f32], out: &mut Vec<f64>) {
    if query.is_empty() {
        return;
    }
    let start = out.len();
    out.resize(start + rows.len() / query.len(), 0.0);
    Scanner::new(metric, query).block(rows, &mut out[start..]);
}

/// A query prepared for many rows: its own norm is computed once.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    metric: DistanceMetric,
    query: &'a [f32],
    /// |query|², used by cosine.
    norm: f64,
    level: Level,
}

impl<'a> Scanner<'a> {
    /// Prepares a query.
    #[must_use]
    pub fn new(metric: DistanceMetric, query: &'a [f32]) -> Self {
        Self::at_level(metric, query, level())
    }

    fn at_level(metric: DistanceMetric, query: &'a [f32], level: Level) -> Self {
        let mut scanner = Self { metric, query, norm: 0.0, level };
        if metric == DistanceMetric::Cosine {
            let mut dot = [0.0];
            let plain = Self { metric: DistanceMetric::InnerProduct, ..scanner };
            plain.block(query, &mut dot);
            scanner.norm = -dot[0];
        }
        scanner
    }

    /// The distances to the first `out.len()` rows of `rows`.
    pub fn block(&self, rows: &[f32], out: &mut [f64]) {
        kernels::block(self.level, self.metric, self.query, self.norm, rows, out);
    }
}

/// Asks the CPU to fetch a vector that is about to be compared.
#[inline]
pub(crate) fn prefetch(vector: &[f32]) {
    kernels::prefetch(vector);
}

#[cfg(test)]
mod tests;
