//! The exact scan in this process: one thread, one query, beside a streaming read of as much memory.

use std::hint::black_box;
use std::time::Duration;

use proto::DistanceMetric;
use segments::distance::distances;

use super::{Bench, timed};

const ROUNDS: usize = 15;
const ROWS: usize = 50_000;

fn best<T>(mut action: impl FnMut() -> T) -> Duration {
    (0..ROUNDS).map(|_| timed(|| black_box(action())).0).min().unwrap_or_default()
}

/// The sum of all words, eight running sums wide: as fast as one core reads.
fn stream(values: &[u64]) -> u64 {
    let mut sums = [0_u64; 32];
    for chunk in values.chunks_exact(32) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*value);
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

pub(super) fn run(bench: &mut Bench) {
    let dimensions = crate::data::DIMENSIONS;
    let rows: Vec<f32> = bench.passages.embeddings.iter().copied().cycle().take(ROWS * dimensions).collect();
    let query = bench.queries.embedding(0).to_vec();
    let words: Vec<u64> = (0..rows.len() as u64 / 2).collect();
    let bytes = (rows.len() * 4) as f64;
    let rate = |time: Duration| bytes / time.as_secs_f64() / 1e9;
    let read = rate(best(|| stream(black_box(&words))));
    let mut out = Vec::with_capacity(ROWS);
    for metric in [DistanceMetric::L2, DistanceMetric::InnerProduct, DistanceMetric::Cosine] {
        let time = best(|| {
            out.clear();
            distances(metric, &query, black_box(&rows), &mut out);
            out.len()
        });
        let ratio = rate(time) / read;
        let value = format!("{:.1} GB/s beside {read:.1}: {ratio:.2} ×", rate(time));
        bench.goal(
            &format!("exact scan, {ROWS} × {dimensions}, {metric:?}, one thread"),
            &value,
            "≥ 0.6 ×",
            ratio >= 0.6,
        );
    }
}
