//! Indexes as a node's callers see them: waiting for one to be built, and how far each is.

use std::sync::Arc;

use proto::catalog::{IndexMeta, TableMeta};
use proto::{Oid, SegmentId, TableId};

use super::{Node, Runtime};
use crate::error::{Error, Result};
use crate::follower::{Stage, TableState};
use crate::indexer::{IndexBuild, is_indexed};

/// How far an index is, over the rows that are not deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexStatus {
    pub table: TableId,
    pub index: Oid,
    /// Rows in segments that the index covers.
    pub indexed_rows: u64,
    /// Rows in sealed segments that it does not cover yet. Segments whose rows have all ended need no index.
    pub pending_rows: u64,
    /// Rows in segments that still grow; they are indexed when they are sealed.
    pub growing_rows: u64,
    pub indexed_segments: u64,
    pub pending_segments: u64,
    /// Bytes of index files, vectors not counted.
    pub bytes: u64,
    /// Why a segment has no index that works.
    pub error: Option<String>,
}

impl Node {
    /// Puts the rows a table has now into files, and returns when an index covers them all. Writers go on meanwhile.
    ///
    /// # Errors
    /// Why the build failed; when the index or its table is gone; when the node stops.
    pub async fn build_index(&self, table: TableId, oid: Oid) -> Result<()> {
        let catalog = self.catalog();
        let meta = catalog.tables.get(&table).ok_or_else(|| gone(oid))?;
        let runtime = self.channels.read().get(&meta.channel).cloned().ok_or(Error::Stopped)?;
        runtime.flusher.flush_table(table).await?;
        let state = runtime.owner.published.state();
        let segments = state.tables.get(&table).map_or(&[][..], |rows| &rows.segments);
        let sealed = segments.iter().filter(|segment| segment.stage != Stage::Growing);
        let waited_for: Vec<SegmentId> = sealed.map(|segment| segment.state.form.id()).collect();
        let mut ends = runtime.builds.ends();
        runtime.indexer.notify_one();
        loop {
            ends.mark_unchanged();
            if self.is_built(&runtime, table, oid, &waited_for)? {
                return Ok(());
            }
            ends.changed().await.map_err(|_| Error::Stopped)?;
        }
    }

    fn is_built(
        &self,
        runtime: &Runtime,
        table: TableId,
        oid: Oid,
        waited_for: &[SegmentId],
    ) -> Result<bool> {
        let state = runtime.owner.published.state();
        if self.catalog().tables.get(&table).is_none_or(|table| table.index(oid).is_none()) {
            return Err(gone(oid));
        }
        let missing: Vec<SegmentId> =
            waited_for.iter().copied().filter(|segment| !is_indexed(&state, table, *segment, oid)).collect();
        match missing.iter().find_map(|segment| runtime.builds.failure(oid, *segment)) {
            Some(failure) => Err(failure.into()),
            None => Ok(missing.is_empty()),
        }
    }

    /// How far every index is.
    #[must_use]
    pub fn index_status(&self) -> Vec<IndexStatus> {
        let catalog = self.catalog();
        let mut all = Vec::new();
        for table in catalog.tables.values().filter(|table| !table.indexes.is_empty()) {
            let runtime = self.channels.read().get(&table.channel).cloned();
            let Some(runtime) = runtime else { continue };
            let state = runtime.owner.published.state();
            let rows = state.tables.get(&table.id);
            all.extend(table.indexes.iter().map(|index| status(&runtime, table, index, rows)));
        }
        all
    }

    /// The builds that run and the last that ended.
    #[must_use]
    pub fn index_builds(&self) -> Vec<IndexBuild> {
        let channels = self.channels.read();
        channels.values().flat_map(|runtime| runtime.builds.all()).collect()
    }
}

fn status(
    runtime: &Runtime,
    table: &TableMeta,
    index: &IndexMeta,
    rows: Option<&Arc<TableState>>,
) -> IndexStatus {
    let mut status = IndexStatus { table: table.id, index: index.oid, ..IndexStatus::default() };
    for segment in rows.into_iter().flat_map(|rows| &rows.segments) {
        let form = &segment.state.form;
        let live = segment.state.deletes.all_undeleted(form.rows()).count_set_bits() as u64;
        let attached = form.index(index.oid);
        if let Some(usable) = attached.and_then(|attached| attached.usable()) {
            status.indexed_rows += live;
            status.indexed_segments += 1;
            status.bytes += usable.bytes() as u64;
        } else if segment.stage == Stage::Growing {
            status.growing_rows += live;
        } else if live > 0 || !form.is_sealed() {
            status.pending_rows += live;
            status.pending_segments += 1;
            let failed = runtime.builds.failure(index.oid, form.id()).map(|failure| failure.message);
            let damaged = attached.and_then(|attached| attached.failure()).map(str::to_owned);
            status.error = status.error.take().or(failed).or(damaged);
        }
    }
    status
}

fn gone(oid: Oid) -> Error {
    Error::UndefinedObject { what: format!("index with OID {oid}") }
}
