//! Search in inverted lists over rows that stay in the vector file: the nearest `probes` lists are scanned exactly,
//! and further ones as long as fewer than `k` rows were found.
//!
//! Invariant: no row is named twice, none outside the bitmap.

use std::collections::BinaryHeap;

use arrow::buffer::BooleanBuffer;
use proto::DistanceMetric;

use super::{Candidate, Found, SearchParams, VectorColumn, VectorIndex, check_dimensions};
use crate::distance::Scanner;
use crate::error::Result;
use crate::format::list_file::ListFile;
use crate::index::flat::ByDistance;

/// The rows of a list lie apart, but they are known beforehand.
const DISTANCE_COST: f64 = 1.5;

/// Lists and the vectors they group.
#[derive(Clone, Debug)]
pub(crate) struct IvfFlatIndex {
    lists: ListFile,
    vectors: VectorColumn,
    metric: DistanceMetric,
}

impl IvfFlatIndex {
    pub(crate) const fn new(lists: ListFile, vectors: VectorColumn, metric: DistanceMetric) -> Self {
        Self { lists, vectors, metric }
    }

    /// The lists by the distance of their centroids, nearest first.
    fn order(&self, query: &[f32]) -> Vec<usize> {
        let mut distances = vec![0.0; self.lists.lists()];
        Scanner::new(centroid_metric(self.metric), query).block(self.lists.centroids(), &mut distances);
        let mut order: Vec<usize> = (0..distances.len()).collect();
        order.sort_by(|left, right| distances[*left].total_cmp(&distances[*right]));
        order
    }
}

/// How far a vector is from a centroid: by place under L2, by direction otherwise.
pub(crate) const fn centroid_metric(metric: DistanceMetric) -> DistanceMetric {
    match metric {
        DistanceMetric::L2 | DistanceMetric::L1 => DistanceMetric::L2,
        DistanceMetric::InnerProduct | DistanceMetric::Cosine => DistanceMetric::InnerProduct,
    }
}

impl VectorIndex for IvfFlatIndex {
    fn metric(&self) -> DistanceMetric {
        self.metric
    }

    fn rows(&self) -> usize {
        self.lists.listed()
    }

    fn bytes(&self) -> usize {
        self.lists.bytes()
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn expected_distances(&self, k: usize, params: &SearchParams, admitted: usize) -> f64 {
        let lists = self.lists.lists().max(1) as f64;
        let per_list = admitted as f64 / lists;
        let probes = (params.probes.max(1) as f64).max(k as f64 / per_list.max(1e-9)).min(lists);
        lists + probes * per_list
    }

    fn distance_cost(&self) -> f64 {
        DISTANCE_COST
    }

    fn search(&self, query: &[f32], k: usize, params: &SearchParams, admit: &BooleanBuffer) -> Result<Found> {
        check_dimensions(&self.vectors, query)?;
        if k == 0 || self.lists.listed() == 0 {
            return Ok(Found::default());
        }
        let scanner = Scanner::new(self.metric, query);
        let mut found = Found { distances: self.lists.lists(), ..Found::default() };
        let mut kept: BinaryHeap<ByDistance> = BinaryHeap::with_capacity(k.min(4096) + 1);
        for (visited, list) in self.order(query).into_iter().enumerate() {
            if visited >= params.probes.max(1) && kept.len() >= k {
                break;
            }
            if found.distances > params.most_distances {
                return Ok(Found { gave_up: true, ..found });
            }
            for &ordinal in self.lists.list(list)? {
                if ordinal as usize >= admit.len() || !admit.value(ordinal as usize) {
                    continue;
                }
                let mut distance = [0.0];
                scanner.block(self.vectors.row(ordinal as usize)?, &mut distance);
                found.distances += 1;
                let candidate = ByDistance(Candidate { ordinal, distance: distance[0] });
                if kept.len() < k {
                    kept.push(candidate);
                } else if let Some(mut worst) = kept.peek_mut()
                    && candidate < *worst
                {
                    *worst = candidate;
                }
            }
        }
        found.candidates = kept.into_sorted_vec().into_iter().map(|kept| kept.0).collect();
        Ok(found)
    }
}
