//! The naive twin: two maps and nothing else.

use proto::DistanceMetric;

use crate::rows::{self, Rows, distance};

/// What both tables hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Twin {
    pub(super) tables: [Rows; 2],
}

impl Twin {
    /// The distances of the `k` nearest rows, in order: numbers, NaN, then `None` for NULL vectors.
    pub(super) fn nearest(
        &self,
        table: usize,
        metric: DistanceMetric,
        query: &[f32],
        k: usize,
    ) -> Vec<Option<f64>> {
        let mut distances: Vec<Option<f64>> = self.tables[table]
            .iter()
            .map(|(&number, &version)| {
                rows::vector(table, number, version).map(|v| distance(metric, &v, query))
            })
            .collect();
        distances.sort_by(|left, right| order(*left, *right));
        distances.truncate(k);
        distances
    }
}

/// Numbers, then NaN, then NULL.
pub(super) fn order(left: Option<f64>, right: Option<f64>) -> std::cmp::Ordering {
    let rank = |value: Option<f64>| match value {
        Some(number) if !number.is_nan() => (0, number),
        Some(_) => (1, 0.0),
        None => (2, 0.0),
    };
    let (left, right) = (rank(left), rank(right));
    left.0.cmp(&right.0).then(left.1.total_cmp(&right.1))
}
