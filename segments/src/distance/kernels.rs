//! The loops behind `distance`: one body per metric, compiled for three instruction levels.
//!
//! Invariant: no level changes the result. The body uses plain multiplications and additions in a fixed order,
//! the compiler may not fuse or reorder them, so wider registers only do the same lanes at once.
#![allow(unsafe_code, reason = "calls of functions compiled for a CPU level that was detected")]

use proto::DistanceMetric;

/// Independent sums; 32 floats are two AVX-512 or four AVX2 registers, enough to hide the latency of an addition.
const LANES: usize = 32;

/// What the CPU can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best level of this CPU.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f") {
                return Self::Avx512;
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Baseline
    }

    /// The level's usual name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
        }
    }

    /// Every level this CPU has.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut levels = vec![Self::Baseline];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") {
                levels.push(Self::Avx2);
            }
            if std::arch::is_x86_feature_detected!("avx512f") {
                levels.push(Self::Avx512);
            }
        }
        levels
    }
}

/// Distances from `query` to the first `out.len()` rows of `rows`; `norm` is |query|² for cosine.
pub(crate) fn block(
    level: Level,
    metric: DistanceMetric,
    query: &[f32],
    norm: f64,
    rows: &[f32],
    out: &mut [f64],
) {
    match level {
        Level::Baseline => body(metric, query, norm, rows, out),
        // SAFETY: this level exists only when the CPU was seen to have AVX2.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { block_avx2(metric, query, norm, rows, out) },
        // SAFETY: this level exists only when the CPU was seen to have AVX-512F.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { block_avx512(metric, query, norm, rows, out) },
    }
}

/// Cache lines fetched ahead; the hardware follows a stream once it has begun.
const PREFETCHED_LINES: usize = 8;

/// Asks for the first cache lines of a vector.
#[inline(always)]
pub(crate) fn prefetch(vector: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in vector.chunks(16).take(PREFETCHED_LINES) {
        // SAFETY: a prefetch reads nothing and cannot fault; the address is that of an element.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = vector;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn block_avx2(metric: DistanceMetric, query: &[f32], norm: f64, rows: &[f32], out: &mut [f64]) {
    body(metric, query, norm, rows, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn block_avx512(metric: DistanceMetric, query: &[f32], norm: f64, rows: &[f32], out: &mut [f64]) {
    body(metric, query, norm, rows, out);
}

#[inline(always)]
fn body(metric: DistanceMetric, query: &[f32], norm: f64, rows: &[f32], out: &mut [f64]) {
    let dimensions = query.len();
    if dimensions == 0 {
        return;
    }
    match metric {
        DistanceMetric::L2 => {
            for (row, out) in rows.chunks_exact(dimensions).zip(out) {
                *out = sum::<Squares>(query, row).sqrt();
            }
        }
        DistanceMetric::InnerProduct => {
            for (row, out) in rows.chunks_exact(dimensions).zip(out) {
                *out = -sum::<Products>(query, row);
            }
        }
        DistanceMetric::L1 => {
            for (row, out) in rows.chunks_exact(dimensions).zip(out) {
                *out = sum::<Differences>(query, row);
            }
        }
        DistanceMetric::Cosine => {
            for (row, out) in rows.chunks_exact(dimensions).zip(out) {
                let (dot, row_norm) = dot_and_norm(query, row);
                let similarity = dot / (norm * row_norm).sqrt();
                // 0/0 is a negative NaN on x86, which would sort before the numbers.
                *out = if similarity.is_nan() { f64::NAN } else { 1.0 - similarity.clamp(-1.0, 1.0) };
            }
        }
    }
}

/// What is summed per element.
trait Term {
    fn term(query: f32, row: f32) -> f32;
}

struct Squares;
struct Products;
struct Differences;

impl Term for Squares {
    #[inline(always)]
    fn term(query: f32, row: f32) -> f32 {
        let difference = query - row;
        difference * difference
    }
}

impl Term for Products {
    #[inline(always)]
    fn term(query: f32, row: f32) -> f32 {
        query * row
    }
}

impl Term for Differences {
    #[inline(always)]
    fn term(query: f32, row: f32) -> f32 {
        (query - row).abs()
    }
}

#[inline(always)]
fn sum<T: Term>(query: &[f32], row: &[f32]) -> f64 {
    let (query_blocks, query_tail) = query.as_chunks::<LANES>();
    let (row_blocks, row_tail) = row.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (query, row) in query_blocks.iter().zip(row_blocks) {
        for lane in 0..LANES {
            lanes[lane] += T::term(query[lane], row[lane]);
        }
    }
    if !query_tail.is_empty() {
        let (query, row) = (padded(query_tail), padded(row_tail));
        for lane in 0..LANES {
            lanes[lane] += T::term(query[lane], row[lane]);
        }
    }
    reduce(&lanes)
}

#[inline(always)]
fn dot_and_norm(query: &[f32], row: &[f32]) -> (f64, f64) {
    let (query_blocks, query_tail) = query.as_chunks::<LANES>();
    let (row_blocks, row_tail) = row.as_chunks::<LANES>();
    let mut dot = [0.0_f32; LANES];
    let mut norm = [0.0_f32; LANES];
    for (query, row) in query_blocks.iter().zip(row_blocks) {
        for lane in 0..LANES {
            dot[lane] += query[lane] * row[lane];
            norm[lane] += row[lane] * row[lane];
        }
    }
    if !query_tail.is_empty() {
        let (query, row) = (padded(query_tail), padded(row_tail));
        for lane in 0..LANES {
            dot[lane] += query[lane] * row[lane];
            norm[lane] += row[lane] * row[lane];
        }
    }
    (reduce(&dot), reduce(&norm))
}

/// The rest of a vector, filled up with zeros, which add nothing in any metric.
#[inline(always)]
fn padded(tail: &[f32]) -> [f32; LANES] {
    let mut block = [0.0; LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

/// The lanes summed as float8: halves onto each other until one is left.
#[inline(always)]
fn reduce(lanes: &[f32; LANES]) -> f64 {
    let mut sums = [0.0_f64; LANES / 2];
    for lane in 0..LANES / 2 {
        sums[lane] = f64::from(lanes[lane]) + f64::from(lanes[lane + LANES / 2]);
    }
    for lane in 0..8 {
        sums[lane] += sums[lane + 8];
    }
    for lane in 0..4 {
        sums[lane] += sums[lane + 4];
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3])
}
