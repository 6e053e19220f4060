//! The system relations of one statement, and whether it read any.
//!
//! A plan that reads a system relation holds the rows of its own moment, so it must not be kept; the planner
//! only asks for relations by name, and this is where the asking is noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster::{BuildState, IndexBuild, IndexStatus};
use datafusion::catalog::TableProvider;
use planner::SystemRelations;
use proto::catalog::CatalogSnapshot;

use super::SessionExecutor;
use crate::pg_catalog::{Facts, Relations, Source};
use crate::views::{IndexBuildRow, IndexStatusRow, SegmentRow};

/// Relations with a note of whether one was handed out.
pub(super) struct WatchedRelations {
    relations: Arc<dyn SystemRelations>,
    read: AtomicBool,
}

impl WatchedRelations {
    pub(super) fn was_read(&self) -> bool {
        self.read.load(Ordering::Relaxed)
    }
}

impl SystemRelations for WatchedRelations {
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<dyn TableProvider>> {
        let relation = self.relations.relation(schema, name);
        if relation.is_some() {
            self.read.store(true, Ordering::Relaxed);
        }
        relation
    }
}

impl SessionExecutor {
    /// The system relations as this session sees them now.
    pub(super) fn system_relations(&self, catalog: &Arc<CatalogSnapshot>) -> WatchedRelations {
        let mut facts = Facts::new(Arc::clone(catalog), self.database, &self.user);
        facts.search_path = self.search_path();
        let settings = self.settings.clone();
        facts.settings = Source::new(move || settings.rows());
        let node = Arc::clone(&self.shared.node);
        facts.segments = Source::new(move || {
            node.segment_infos()
                .into_iter()
                .map(|info| SegmentRow {
                    id: info.segment,
                    table: info.table,
                    channel: info.channel,
                    state: info.stage,
                    rows: info.rows,
                    deleted_rows: info.deleted,
                    memory_bytes: info.memory_bytes,
                })
                .collect()
        });
        let node = Arc::clone(&self.shared.node);
        facts.indexes = Source::new(move || node.index_status().into_iter().map(status_row).collect());
        let node = Arc::clone(&self.shared.node);
        facts.builds = Source::new(move || node.index_builds().into_iter().map(build_row).collect());
        WatchedRelations { relations: Arc::new(Relations::new(facts)), read: AtomicBool::new(false) }
    }
}

fn status_row(status: IndexStatus) -> IndexStatusRow {
    IndexStatusRow {
        table: status.table,
        index: status.index,
        indexed_rows: status.indexed_rows,
        pending_rows: status.pending_rows,
        growing_rows: status.growing_rows,
        indexed_segments: status.indexed_segments,
        pending_segments: status.pending_segments,
        bytes: status.bytes,
        error: status.error,
    }
}

fn build_row(build: IndexBuild) -> IndexBuildRow {
    let micros = |millis: u64| i64::try_from(millis.saturating_mul(1000)).unwrap_or(i64::MAX);
    let (state, error) = match build.state {
        BuildState::Running => ("running", None),
        BuildState::Finished => ("finished", None),
        BuildState::Failed { reason, .. } => ("failed", Some(reason)),
    };
    IndexBuildRow {
        table: build.table,
        index: build.index,
        segment: build.segment,
        state,
        phase: build.phase.text(),
        rows_done: build.rows_done,
        rows_total: build.rows_total,
        started_micros: micros(build.started_millis),
        ended_micros: build.ended_millis.map(micros),
        error,
    }
}
