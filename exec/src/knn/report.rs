//! Which index a search may use, why it does not use one, and what EXPLAIN ANALYZE says of each segment.

use std::sync::Arc;

use parking_lot::Mutex;
use proto::catalog::{IndexMeta, IndexMethod, TableMeta};
use proto::{DistanceMetric, SegmentId};
use segments::{IndexUse, SearchMethod, SearchParams};

use crate::statement::SearchSettings;

/// How one segment was searched.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentReport {
    pub(super) segment: SegmentId,
    pub(super) sealed: bool,
    pub(super) method: SearchMethod,
    /// Rows that are visible and pass the filter.
    pub(super) admitted: usize,
    pub(super) rows: usize,
    /// Distances computed.
    pub(super) distances: usize,
    pub(super) micros: u64,
}

/// Reports of a run, shared with the plan node that EXPLAIN prints.
pub(super) type Reports = Arc<Mutex<Vec<SegmentReport>>>;

impl SegmentReport {
    /// A line of EXPLAIN ANALYZE.
    pub(super) fn line(&self) -> String {
        let form = if self.sealed { "sealed" } else { "growing" };
        let method = match self.method {
            SearchMethod::Exact => "exact",
            SearchMethod::Index => "index",
            SearchMethod::IndexThenExact => "index, then exact",
        };
        format!(
            "Segment {} ({form}): {method}  Admitted: {} of {}  Distances: {}  Time: {:.3} ms",
            self.segment,
            self.admitted,
            self.rows,
            self.distances,
            self.micros as f64 / 1000.0
        )
    }
}

/// The index for a search on a column by a metric: graphs before lists, then the oldest.
pub(super) fn index_for(table: &TableMeta, vector: usize, metric: DistanceMetric) -> Option<&IndexMeta> {
    let column = table.columns.get(vector)?.id;
    let fits = |index: &&IndexMeta| index.column == column && index.metric == metric;
    let graph = |index: &&IndexMeta| matches!(index.method, IndexMethod::Hnsw { .. });
    table.indexes.iter().filter(fits).find(graph).or_else(|| table.indexes.iter().find(fits))
}

/// Why no index is used; none when one is.
pub(super) fn unused_reason(
    table: &TableMeta,
    vector: usize,
    metric: DistanceMetric,
    settings: &SearchSettings,
) -> Option<String> {
    match index_for(table, vector, metric) {
        None => {
            let column = table.columns.get(vector).map_or("?", |column| column.name.as_str());
            Some(format!("no index on {column} with {}", metric.operator_class()))
        }
        Some(index) if !settings.use_indexes => {
            Some(format!("index {} is not used: enable_indexscan is off", index.name))
        }
        Some(_) => None,
    }
}

/// An index with the session's settings.
pub(super) fn index_use(index: &IndexMeta, settings: &SearchSettings) -> Option<IndexUse> {
    settings.use_indexes.then_some(IndexUse {
        oid: index.oid,
        params: SearchParams {
            ef_search: settings.ef_search,
            probes: settings.probes,
            most_distances: usize::MAX,
        },
        forced: !settings.scan_rows,
    })
}
