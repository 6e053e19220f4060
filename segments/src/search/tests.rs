use proto::SegmentId;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::deletes::DeleteSet;
use crate::fixture::{DIMENSIONS, Row, VECTOR, batch, table};
use crate::growing::GrowingRows;
use crate::index::flat::compare_distances;

fn filled(count: usize, random: &mut ChaCha8Rng) -> (GrowingRows, Vec<Row>) {
    let mut rows = GrowingRows::new(SegmentId(1), table());
    let mut twin: Vec<Row> = Vec::new();
    while twin.len() < count {
        let size = random.random_range(1..200).min(count - twin.len());
        let new: Vec<Row> = (0..size).map(|at| Row::random((twin.len() + at) as i64, random)).collect();
        let ts = Timestamp(twin.len() as u64 + 1);
        rows.append(&batch(&new), ts, RowId(twin.len() as u64)).unwrap();
        twin.extend(new);
    }
    (rows, twin)
}

/// Numbers, NaN, NULL; ties by row.
fn naive(
    twin: &[Row],
    admit: &BooleanBuffer,
    metric: DistanceMetric,
    query: &[f32],
    k: usize,
) -> Vec<(u32, Option<f64>)> {
    let mut all: Vec<(u32, Option<f64>)> =
        admit.set_indices().map(|at| (at as u32, twin[at].distance(metric, query))).collect();
    all.sort_by(|(left_row, left), (right_row, right)| {
        let by_null = left.is_none().cmp(&right.is_none());
        by_null
            .then_with(|| compare_distances(left.unwrap_or(0.0), right.unwrap_or(0.0)))
            .then(left_row.cmp(right_row))
    });
    all.truncate(k);
    all
}

fn found(hits: &[Hit]) -> Vec<(u32, Option<u64>)> {
    hits.iter().map(|hit| (hit.ordinal, hit.distance.map(f64::to_bits))).collect()
}

#[test]
fn top_k_equals_a_full_sort_whatever_the_bitmap() {
    let mut random = ChaCha8Rng::seed_from_u64(31);
    let (rows, twin) = filled(3000, &mut random);
    let view = SegmentView::new(SegmentForm::Growing(rows), DeleteSet::new(), Timestamp::MAX);
    for round in 0..120 {
        let density = [0.0, 0.001, 0.02, 0.5, 0.9, 1.0][round % 6];
        let admit: BooleanBuffer = (0..twin.len()).map(|_| random.random_bool(density)).collect();
        let mut query: Vec<f32> = (0..DIMENSIONS).map(|_| random.random_range(-2..3) as f32).collect();
        if round % 17 == 0 {
            query.fill(0.0);
        }
        let k = [1, 3, 10, 100, 5000][random.random_range(0..5)];
        let metric = DistanceMetric::ALL[random.random_range(0..4)];
        let hits = top_k(&view, VECTOR, metric, &query, k, &admit).unwrap();
        let expected: Vec<(u32, Option<u64>)> = naive(&twin, &admit, metric, &query, k)
            .into_iter()
            .map(|(row, distance)| (row, distance.map(f64::to_bits)))
            .collect();
        assert_eq!(found(&hits), expected, "{metric:?} k {k} density {density}");
    }
}

#[test]
fn bad_requests_are_errors() {
    let mut random = ChaCha8Rng::seed_from_u64(32);
    let (rows, _) = filled(10, &mut random);
    let view = SegmentView::new(SegmentForm::Growing(rows), DeleteSet::new(), Timestamp::MAX);
    let admit = view.visible().clone();
    let error = top_k(&view, VECTOR, DistanceMetric::L2, &[1.0], 1, &admit).unwrap_err();
    assert_eq!(error.to_string(), "different vector dimensions 5 and 1");
    assert!(top_k(&view, 0, DistanceMetric::L2, &[1.0; 5], 1, &admit).is_err());
    assert!(top_k(&view, VECTOR, DistanceMetric::L2, &[1.0; 5], 1, &admit.slice(0, 9)).is_err());
    assert!(top_k(&view, VECTOR, DistanceMetric::L2, &[1.0; 5], 0, &admit).unwrap().is_empty());
}
