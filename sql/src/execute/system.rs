//! The system relations of one statement, and whether it read any.
//!
//! A plan that reads a system relation holds the rows of its own moment, so it must not be kept; the planner
//! only asks for relations by name, and this is where the asking is noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::catalog::TableProvider;
use planner::SystemRelations;
use proto::catalog::CatalogSnapshot;

use super::SessionExecutor;
use crate::pg_catalog::{Facts, Relations, Source};
use crate::views::SegmentRow;

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
        let locks = Arc::clone(&self.locks);
        facts.locks = Source::new(move || locks.list());
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
                    bytes: info.bytes,
                    dead_bytes: info.dead_bytes,
                    memory_bytes: info.memory_bytes,
                })
                .collect()
        });
        let node = Arc::clone(&self.shared.node);
        facts.indexes = Source::new(move || node.index_status());
        let node = Arc::clone(&self.shared.node);
        facts.builds = Source::new(move || node.index_builds());
        let node = Arc::clone(&self.shared.node);
        facts.compactions = Source::new(move || node.compactions());
        let copies = Arc::clone(&self.shared.copies);
        facts.copies = Source::new(move || copies.rows());
        let node = Arc::clone(&self.shared.node);
        facts.garbage = Source::new(move || node.garbage().into_iter().collect());
        let node = Arc::clone(&self.shared.node);
        facts.snapshots = Source::new(move || node.named_snapshots());
        WatchedRelations { relations: Arc::new(Relations::new(facts)), read: AtomicBool::new(false) }
    }
}
