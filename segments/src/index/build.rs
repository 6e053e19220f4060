//! From the rows of a sealed segment to the bytes of an index file, and back to an index that searches.
//!
//! What it is not: it stores nothing and decides nothing about when an index is built.
//!
//! Invariant: an index covers every row that has a distance to something under its metric: no NULL vectors, and under
//! cosine no vectors whose length is zero. Rows that have ended may be left out; then it says since when it is
//! complete. The rows it reads are verified before FAISS sees them.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use bytes::Bytes;
use proto::catalog::{IndexMeta, IndexMethod};
use proto::{DistanceMetric, SegmentId, Timestamp};

use super::hnsw::HnswIndex;
use super::ivf_flat::{IvfFlatIndex, centroid_metric};
use super::{VectorColumn, VectorIndex};
use crate::deletes::DeleteSet;
use crate::distance::distance;
use crate::error::{Error, Result};
use crate::faiss::{self, FaissError, GraphParameters, NodeRows};
use crate::format::graph_file::{self, GraphFile};
use crate::format::list_file::{self, ListFile};
use crate::store::ObjectBytes;

/// Vectors per list that k-means looks at, at most; FAISS draws no more either.
const SAMPLE_PER_LIST: usize = 256;
/// The part of a segment's rows that have ended from which an index is built without them.
const NOTABLE_PART: f64 = 0.1;
/// Vectors assigned to their lists between two reports.
const ASSIGNED_AT_ONCE: usize = 8192;

/// What a build is doing; the words are pgvector's in pg_stat_progress_create_index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildPhase {
    #[default]
    Initializing,
    Clustering,
    Assigning,
    Loading,
}

impl BuildPhase {
    /// PostgreSQL's text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Initializing => "building index: initializing",
            Self::Clustering => "building index: performing k-means",
            Self::Assigning => "building index: assigning tuples",
            Self::Loading => "building index: loading tuples",
        }
    }
}

/// Gets phase, rows done and rows in all; says whether to go on.
pub type Report<'a> = &'a mut dyn FnMut(BuildPhase, usize, usize) -> bool;

/// Rows that an index is built without: it answers for readers at or after the last of their ends.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// The rows that stay.
    live: BooleanBuffer,
    /// When the last of the others ended.
    last_end: Timestamp,
}

impl LeftOut {
    /// The rows of a segment that have ended, when they are a notable part of it: otherwise an index of all rows, which
    /// answers for every instant, costs little more.
    #[must_use]
    pub fn of(deletes: &DeleteSet, rows: usize) -> Option<Self> {
        let live = deletes.all_undeleted(rows);
        let ended = rows - live.count_set_bits();
        let last_end = deletes.last_end(Timestamp::MAX)?;
        (ended as f64 > NOTABLE_PART * rows as f64).then_some(Self { live, last_end })
    }
}

/// The bytes of an index file over `column`'s vectors in a segment of `rows` row versions.
///
/// # Errors
/// 57014 when `report` said to stop, `Corrupted` for damaged vectors, XX000 in FAISS' words.
pub fn build(
    meta: &IndexMeta,
    segment: SegmentId,
    rows: usize,
    column: &VectorColumn,
    left_out: Option<&LeftOut>,
    threads: usize,
    report: Report<'_>,
) -> Result<Bytes> {
    if !report(BuildPhase::Initializing, 0, rows) {
        return Err(of_faiss(FaissError::Canceled));
    }
    let values = column.contiguous()?;
    let mut ordinals = searchable(column, values, meta.metric);
    let complete_since = left_out.map_or(Timestamp::ZERO, |left_out| {
        ordinals.retain(|ordinal| left_out.live.value(*ordinal as usize));
        left_out.last_end
    });
    let dimensions = column.dimensions();
    let ordinals = (ordinals.len() < rows).then_some(ordinals.as_slice());
    let nodes = NodeRows { values, dimensions, ordinals };
    match meta.method {
        IndexMethod::Hnsw { m, ef_construction } => {
            let parameters = GraphParameters { metric: meta.metric, m, ef_construction, threads };
            let count = nodes.nodes();
            let graph =
                faiss::build_graph(nodes, parameters, &mut |done| report(BuildPhase::Loading, done, count))
                    .map_err(of_faiss)?;
            Ok(graph_file::encode(segment, rows, m as usize, &graph, ordinals, complete_since))
        }
        IndexMethod::IvfFlat { lists } => {
            let (centroids, lists) = group(nodes, lists as usize, meta.metric, threads, report)?;
            Ok(list_file::encode(segment, rows, dimensions, &centroids, &lists, complete_since))
        }
    }
}

/// An index over `column`'s vectors from its file, and the instant since which it is complete.
///
/// # Errors
/// `Corrupted` when the file is damaged or of another segment.
pub(crate) fn open(
    meta: &IndexMeta,
    bytes: ObjectBytes,
    segment: SegmentId,
    column: VectorColumn,
) -> Result<(Arc<dyn VectorIndex>, Timestamp)> {
    let rows = column.rows();
    Ok(match meta.method {
        IndexMethod::Hnsw { .. } => {
            let graph = GraphFile::open(bytes, segment, rows)?;
            let complete_since = graph.complete_since();
            (Arc::new(HnswIndex::new(graph, column, meta.metric)), complete_since)
        }
        IndexMethod::IvfFlat { .. } => {
            let lists = ListFile::open(bytes, segment, rows, column.dimensions())?;
            let complete_since = lists.complete_since();
            (Arc::new(IvfFlatIndex::new(lists, column, meta.metric)), complete_since)
        }
    })
}

/// The rows an index can say something about, ascending.
fn searchable(column: &VectorColumn, values: &[f32], metric: DistanceMetric) -> Vec<u32> {
    let dimensions = column.dimensions();
    let rows = column.rows() as u32;
    if values.is_empty() {
        return Vec::new();
    }
    let searchable = |ordinal: &u32| {
        let row = *ordinal as usize;
        let vector = &values[row * dimensions..(row + 1) * dimensions];
        !column.is_null(row)
            && (metric != DistanceMetric::Cosine || !distance(metric, vector, vector).is_nan())
    };
    (0..rows).filter(searchable).collect()
}

/// Centroids, and the rows of each one's list.
fn group(
    nodes: NodeRows<'_>,
    lists: usize,
    metric: DistanceMetric,
    threads: usize,
    report: Report<'_>,
) -> Result<(Vec<f32>, Vec<Vec<u32>>)> {
    let (count, dimensions) = (nodes.nodes(), nodes.dimensions);
    let lists = lists.min(count);
    if lists == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let by_direction = centroid_metric(metric) == DistanceMetric::InnerProduct;
    let mut go_on = |phase, done| {
        if report(phase, done, count) { Ok(()) } else { Err(of_faiss(FaissError::Canceled)) }
    };
    go_on(BuildPhase::Clustering, 0)?;
    let step = (count / (lists * SAMPLE_PER_LIST)).max(1);
    let mut sample = Vec::with_capacity(count.div_ceil(step) * dimensions);
    for node in (0..count).step_by(step) {
        append(&mut sample, vector(&nodes, node), by_direction);
    }
    let centroids = faiss::centroids(&sample, dimensions, lists, by_direction, threads).map_err(of_faiss)?;
    drop(sample);
    let mut grouped: Vec<Vec<u32>> = vec![Vec::new(); lists];
    let mut chunk = Vec::with_capacity(ASSIGNED_AT_ONCE * dimensions);
    for first in (0..count).step_by(ASSIGNED_AT_ONCE) {
        go_on(BuildPhase::Assigning, first)?;
        chunk.clear();
        let end = count.min(first + ASSIGNED_AT_ONCE);
        for node in first..end {
            chunk.extend_from_slice(vector(&nodes, node));
        }
        let assigned =
            faiss::assign(&centroids, &chunk, dimensions, by_direction, threads).map_err(of_faiss)?;
        for (node, list) in (first..end).zip(assigned) {
            let ordinal = nodes.ordinals.map_or(node as u32, |ordinals| ordinals[node]);
            grouped[list as usize].push(ordinal);
        }
    }
    Ok((centroids, grouped))
}

fn vector<'a>(nodes: &NodeRows<'a>, node: usize) -> &'a [f32] {
    let row = nodes.ordinals.map_or(node, |ordinals| ordinals[node] as usize);
    &nodes.values[row * nodes.dimensions..(row + 1) * nodes.dimensions]
}

/// Appends a vector, at length 1 when only its direction counts.
fn append(sample: &mut Vec<f32>, vector: &[f32], by_direction: bool) {
    let length = vector.iter().map(|element| element * element).sum::<f32>().sqrt();
    let scale = if by_direction && length > 0.0 { 1.0 / length } else { 1.0 };
    sample.extend(vector.iter().map(|element| element * scale));
}

fn of_faiss(error: FaissError) -> Error {
    Error::IndexBuild(error)
}
