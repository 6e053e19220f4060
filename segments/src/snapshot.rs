//! A table at one instant: its segments' views. What a statement reads, and nothing else.
//!
//! Invariant: a snapshot is immutable and complete; `load` is the last await, everything after it computes.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use proto::catalog::{KeyMeta, Reference, TableMeta};
use proto::record::RowRef;
use proto::time::ReadPoint;
use proto::{RowId, TableId, Timestamp};

use crate::error::Result;
use crate::growing::CHUNK_ROWS;
use crate::keys::hash_key;
use crate::overlay::{TableOverlay, is_private};
use crate::view::{ScanColumn, SegmentView};

/// A table at `read_ts`.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    pub table: Arc<TableMeta>,
    pub read_ts: Timestamp,
    pub segments: Vec<Arc<SegmentView>>,
}

impl TableSnapshot {
    /// The same instant of a later version of the table.
    ///
    /// # Errors
    /// When a missing value cannot be read.
    pub fn with_table(&self, table: &Arc<TableMeta>) -> Result<Self> {
        let mut segments = Vec::with_capacity(self.segments.len());
        for view in &self.segments {
            segments.push(Arc::new(view.with_table(table)?));
        }
        Ok(Self { table: Arc::clone(table), read_ts: self.read_ts, segments })
    }

    /// Where a row is now: the position of its segment and its ordinal there. A merge of segments moves rows but
    /// keeps their ids, so a reference made before it is still good. `None` when the row is nowhere.
    #[must_use]
    pub fn locate(&self, target: &RowRef) -> Option<(usize, u32)> {
        if let Some(named) = self.segments.iter().position(|view| view.id() == target.segment) {
            return ((target.ordinal as usize) < self.segments[named].rows())
                .then_some((named, target.ordinal));
        }
        let mut base = self.segments.iter().enumerate().filter(|(_, view)| !is_private(view.id()));
        base.find_map(|(position, view)| Some((position, view.form().ordinal_of(target.row)?)))
    }

    /// Whether a row is visible, wherever it is now.
    #[must_use]
    pub fn is_visible(&self, target: &RowRef) -> bool {
        self.locate(target).is_some_and(|(segment, ordinal)| self.segments[segment].is_visible(ordinal))
    }

    /// The table as a transaction with these buffered writes sees it.
    #[must_use]
    pub fn with_overlay(&self, overlay: &TableOverlay) -> Self {
        let mut segments = Vec::with_capacity(self.segments.len() + 1);
        if !overlay.is_truncated() {
            // Rows deleted where they were before their segments were merged.
            let moved: Vec<RowId> =
                overlay.hidden_outside(|segment| self.segments.iter().any(|view| view.id() == segment));
            for view in &self.segments {
                let mut hidden = overlay.hidden(view.id()).cloned();
                for row in &moved {
                    if let Some(ordinal) = view.form().ordinal_of(*row) {
                        hidden.get_or_insert_default().insert(ordinal, *row, Timestamp::ZERO);
                    }
                }
                segments.push(match hidden {
                    Some(hidden) => Arc::new(view.hiding(hidden)),
                    None => Arc::clone(view),
                });
            }
        }
        segments.extend(overlay.views().into_iter().map(Arc::new));
        Self { table: Arc::clone(&self.table), read_ts: self.read_ts, segments }
    }

    /// The visible row of each primary key (`proto::key` bytes), `None` where there is none.
    ///
    /// # Errors
    /// `Corrupted` for damaged bytes.
    pub fn find_keys(&self, keys: &[Box<[u8]>]) -> Result<Vec<Option<RowRef>>> {
        let Some(key) = &self.table.primary_key else { return Ok(vec![None; keys.len()]) };
        let values: Vec<Option<&[u8]>> = keys.iter().map(|key| Some(key.as_ref())).collect();
        self.find(key.as_key(), &values)
    }

    /// The visible row of each value of a unique key (`proto::key` bytes); `None` where there is none, and for the
    /// value of a row that is in no key.
    ///
    /// # Errors
    /// `Corrupted` for damaged bytes.
    pub fn find(&self, key: KeyMeta<'_>, values: &[Option<&[u8]>]) -> Result<Vec<Option<RowRef>>> {
        let hashes: Vec<Option<u64>> = values.iter().map(|value| value.map(hash_key)).collect();
        let mut found = vec![None; values.len()];
        // The newest segment first: recent keys are asked for most.
        for view in self.segments.iter().rev() {
            view.find_keys(key, values, &hashes, &mut found)?;
        }
        Ok(found)
    }

    /// The visible rows begun after `since` that refer to one of the keys `wanted`, with the key each refers to; no more
    /// than `most` of them.
    ///
    /// # Errors
    /// `Corrupted` for damaged bytes.
    pub fn referring(
        &self,
        reference: Reference<'_>,
        wanted: &HashSet<Box<[u8]>>,
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<(RowRef, Box<[u8]>)>> {
        let columns: Vec<ScanColumn> = reference.positions().into_iter().map(ScanColumn::Column).collect();
        let places: Vec<usize> = (0..columns.len()).collect();
        let mut found = Vec::new();
        for view in &self.segments {
            for ordinals in view.visible_since(since).chunks(CHUNK_ROWS) {
                let rows = view.read_rows(&columns, ordinals)?;
                let keys = reference.encode(&rows, &places)?.into_iter().zip(ordinals);
                for (key, &ordinal) in keys.filter_map(|(key, ordinal)| Some((key?, ordinal))) {
                    if found.len() == most {
                        return Ok(found);
                    }
                    if wanted.contains(&key) {
                        let row = view.form().identity(ordinal).1;
                        found.push((RowRef { segment: view.id(), ordinal, row }, key));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Number of visible rows.
    #[must_use]
    pub fn visible_rows(&self) -> u64 {
        self.segments.iter().map(|view| view.visible_count() as u64).sum()
    }

    /// Makes columns of all segments resident, so that reading them does not decode any more.
    ///
    /// # Errors
    /// When stored bytes cannot be read or are damaged.
    pub async fn load(&self, columns: &[usize]) -> Result<()> {
        for view in &self.segments {
            view.form().load(columns).await?;
        }
        Ok(())
    }
}

/// Where snapshots come from: the node that serves the table.
#[async_trait]
pub trait SnapshotSource: Send + Sync + Debug {
    /// The table at the point, once everything up to its guarantee is applied.
    ///
    /// # Errors
    /// 42P01 when the table does not exist, 72000 when the instant is gone, or what reading segments may end in.
    async fn snapshot(&self, table: TableId, point: ReadPoint) -> Result<Arc<TableSnapshot>>;
}
