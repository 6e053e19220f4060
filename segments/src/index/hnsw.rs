//! Search in an HNSW graph over rows that stay in the vector file.
//!
//! The walk is the usual one: greedy from the entry down to the lowest layer, there a best-first walk that keeps the
//! `ef` nearest rows it has met. A row outside the bitmap leads on to its neighbours and is never kept, so a filter
//! makes the walk longer, not the answer wrong. Distances are the exact ones of the kernels, so nothing is to be
//! scored again.
//!
//! Invariant: no row is named twice, none outside the bitmap.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use arrow::buffer::BooleanBuffer;
use proto::DistanceMetric;

use super::{Candidate, Found, SearchParams, VectorColumn, VectorIndex, check_dimensions};
use crate::distance::{Scanner, prefetch};
use crate::error::Result;
use crate::format::graph_file::GraphFile;

/// Share of a node's neighbours that a walk has not met before, as measured on real embeddings.
const NEW_NEIGHBOURS: f64 = 0.55;

/// A step to a row that nobody could foresee waits for memory: 0.27 µs per distance beside 0.06 µs in a scan, measured
/// on 50 000 vectors of 384 dimensions.
const DISTANCE_COST: f64 = 4.5;

/// A graph and the vectors it links.
#[derive(Clone, Debug)]
pub(crate) struct HnswIndex {
    graph: GraphFile,
    vectors: VectorColumn,
    metric: DistanceMetric,
}

impl HnswIndex {
    pub(crate) const fn new(graph: GraphFile, vectors: VectorColumn, metric: DistanceMetric) -> Self {
        Self { graph, vectors, metric }
    }
}

impl VectorIndex for HnswIndex {
    fn metric(&self) -> DistanceMetric {
        self.metric
    }

    fn rows(&self) -> usize {
        self.graph.nodes()
    }

    fn bytes(&self) -> usize {
        self.graph.bytes()
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn expected_distances(&self, k: usize, params: &SearchParams, admitted: usize) -> f64 {
        let nodes = self.graph.nodes().max(1) as f64;
        let selectivity = (admitted as f64 / nodes).clamp(1.0 / nodes, 1.0);
        let steps = params.ef_search.max(k) as f64 / selectivity;
        (steps * 2.0 * self.graph.m() as f64 * NEW_NEIGHBOURS).min(nodes)
    }

    fn distance_cost(&self) -> f64 {
        DISTANCE_COST
    }

    fn search(&self, query: &[f32], k: usize, params: &SearchParams, admit: &BooleanBuffer) -> Result<Found> {
        check_dimensions(&self.vectors, query)?;
        if k == 0 || self.graph.nodes() == 0 {
            return Ok(Found::default());
        }
        let mut walk = Walk {
            index: self,
            scanner: Scanner::new(self.metric, query),
            visited: vec![0; self.graph.nodes().div_ceil(64)],
            distances: 0,
            fresh: Vec::with_capacity(2 * self.graph.m()),
        };
        let entry = walk.descend()?;
        walk.lowest_layer(entry, params.ef_search.max(k), params.most_distances, admit)
    }
}

/// A node at its distance; the order is that of the distance.
#[derive(Clone, Copy, Debug)]
struct Near {
    distance: f64,
    node: u32,
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.node.cmp(&other.node))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Near {}

struct Walk<'a> {
    index: &'a HnswIndex,
    scanner: Scanner<'a>,
    /// A bit per node.
    visited: Vec<u64>,
    distances: usize,
    /// Neighbours of the present node that were not met before.
    fresh: Vec<u32>,
}

impl Walk<'_> {
    fn vector(&self, node: u32) -> Result<&[f32]> {
        let ordinal = self.index.graph.ordinal(node)?;
        self.index.vectors.row(ordinal as usize)
    }

    fn distance(&mut self, node: u32) -> Result<f64> {
        let mut distance = [0.0];
        self.scanner.block(self.vector(node)?, &mut distance);
        self.distances += 1;
        Ok(distance[0])
    }

    fn check(&self, node: u32) -> Result<()> {
        if (node as usize) < self.index.graph.nodes() {
            return Ok(());
        }
        Err(self.index.graph.corrupted("it links to a node that does not exist"))
    }

    /// Marks a node; true when it was not marked before.
    fn mark(&mut self, node: u32) -> bool {
        let (word, bit) = (&mut self.visited[node as usize / 64], 1_u64 << (node % 64));
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// The nearest node of the layers above the lowest.
    fn descend(&mut self) -> Result<Near> {
        let graph = &self.index.graph;
        let (entry, top_layer) = graph.entry();
        let mut nearest = Near { distance: self.distance(entry)?, node: entry };
        for layer in (1..=top_layer).rev() {
            loop {
                let before = nearest.node;
                for &neighbour in graph.upper(before, layer)? {
                    self.check(neighbour)?;
                    let distance = self.distance(neighbour)?;
                    if distance < nearest.distance {
                        nearest = Near { distance, node: neighbour };
                    }
                }
                if nearest.node == before {
                    break;
                }
            }
        }
        Ok(nearest)
    }

    fn lowest_layer(
        mut self,
        entry: Near,
        ef: usize,
        most_distances: usize,
        admit: &BooleanBuffer,
    ) -> Result<Found> {
        let graph = &self.index.graph;
        let mut open = BinaryHeap::from([Reverse(entry)]);
        let mut kept: BinaryHeap<Near> = BinaryHeap::with_capacity(ef.min(4096) + 1);
        self.mark(entry.node);
        if admit.value(graph.ordinal(entry.node)? as usize) {
            kept.push(entry);
        }
        while let Some(Reverse(near)) = open.pop() {
            let full = kept.len() >= ef;
            if full && kept.peek().is_some_and(|worst| near.distance > worst.distance) {
                break;
            }
            if self.distances > most_distances {
                return Ok(Found { distances: self.distances, gave_up: true, ..Found::default() });
            }
            self.meet_neighbours(near.node)?;
            for at in 0..self.fresh.len() {
                let node = self.fresh[at];
                if let Some(&next) = self.fresh.get(at + 1) {
                    prefetch(self.vector(next)?);
                }
                let found = Near { distance: self.distance(node)?, node };
                let full = kept.len() >= ef;
                if full && kept.peek().is_some_and(|worst| found.distance >= worst.distance) {
                    continue;
                }
                open.push(Reverse(found));
                if admit.value(graph.ordinal(node)? as usize) {
                    kept.push(found);
                    if kept.len() > ef {
                        kept.pop();
                    }
                }
            }
        }
        let mut candidates = Vec::with_capacity(kept.len());
        for near in kept.into_sorted_vec() {
            candidates.push(Candidate { ordinal: graph.ordinal(near.node)?, distance: near.distance });
        }
        Ok(Found { candidates, distances: self.distances, gave_up: false })
    }

    /// Puts the neighbours of a node that were not met before into `fresh`.
    fn meet_neighbours(&mut self, node: u32) -> Result<()> {
        let neighbours = self.index.graph.lowest(node)?;
        self.fresh.clear();
        for &neighbour in neighbours {
            self.check(neighbour)?;
            if self.mark(neighbour) {
                self.fresh.push(neighbour);
            }
        }
        if let Some(&first) = self.fresh.first() {
            prefetch(self.vector(first)?);
        }
        Ok(())
    }
}
