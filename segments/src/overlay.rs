//! A transaction's buffered writes to one table: a private growing segment and the base rows it deletes.
//!
//! Clones are cheap (chunks, pages and runs are shared), so a statement is undone by restoring the clone made
//! before it. `into_change` gives the net effect in the order a commit applies it.
//!
//! What it is not: no conflict check; the owner does that at commit.
//!
//! Invariants: private rows carry the segment id `PRIVATE_SEGMENT` and the greatest timestamp, so they are
//! visible to their own transaction only and sort behind committed rows; a deleted private row leaves no trace.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use bytes::Bytes;
use proto::catalog::TableMeta;
use proto::record::{RowDelete, RowRef, TableChange};
use proto::{RowId, SegmentId, Timestamp};

use crate::append_list::AppendList;
use crate::deletes::DeleteSet;
use crate::error::{Error, Result};
use crate::growing::GrowingRows;
use crate::view::{ScanColumn, SegmentForm, SegmentView};

/// The segment id of rows that only their transaction knows.
pub const PRIVATE_SEGMENT: SegmentId = SegmentId(u64::MAX);

/// Bytes a buffered delete is counted with, beside its key.
const DELETE_BYTES: usize = 96;

/// Buffered writes to one table.
#[derive(Clone, Debug)]
pub struct TableOverlay {
    truncated: bool,
    rows: GrowingRows,
    private_deletes: DeleteSet,
    hidden: BTreeMap<SegmentId, DeleteSet>,
    deletes: AppendList<RowDelete>,
    key_bytes: usize,
}

impl TableOverlay {
    /// No writes yet.
    #[must_use]
    pub fn new(table: Arc<TableMeta>) -> Self {
        Self {
            truncated: false,
            rows: GrowingRows::new(PRIVATE_SEGMENT, table),
            private_deletes: DeleteSet::new(),
            hidden: BTreeMap::new(),
            deletes: AppendList::default(),
            key_bytes: 0,
        }
    }

    /// The table written to.
    #[must_use]
    pub const fn table(&self) -> &Arc<TableMeta> {
        self.rows.table()
    }

    /// The same writes under a later version of the table.
    ///
    /// # Errors
    /// When a missing value cannot be read.
    pub fn with_table(&self, table: &Arc<TableMeta>) -> Result<Self> {
        Ok(Self { rows: self.rows.with_table(Arc::clone(table))?, ..self.clone() })
    }

    /// Buffers rows in the table's column order.
    ///
    /// # Errors
    /// `RowShape` when the batch does not have the table's columns.
    pub fn insert(&mut self, batch: &RecordBatch) -> Result<()> {
        let first = RowId(self.rows.rows() as u64);
        self.rows.append(batch, Timestamp::MAX, first)
    }

    /// Buffers the end of a row, of the base or private. Deleting a row twice is once.
    pub fn delete(&mut self, target: RowRef, key: Bytes) {
        if target.segment == PRIVATE_SEGMENT {
            self.private_deletes.insert(target.ordinal, target.row, Timestamp::ZERO);
            return;
        }
        if self.truncated {
            return;
        }
        let hidden = self.hidden.entry(target.segment).or_default();
        if hidden.delete_ts(target.ordinal).is_some() {
            return;
        }
        hidden.insert(target.ordinal, target.row, Timestamp::ZERO);
        self.key_bytes += key.len();
        self.deletes.push(RowDelete { target, key });
    }

    /// Whether a row of the base, or a private one, was ended here.
    #[must_use]
    pub fn has_deleted(&self, target: &RowRef) -> bool {
        let deletes = match target.segment {
            PRIVATE_SEGMENT => Some(&self.private_deletes),
            segment => self.hidden.get(&segment),
        };
        deletes.is_some_and(|deletes| deletes.delete_ts(target.ordinal).is_some())
    }

    /// Ends all rows: the base's, and the private ones so far.
    pub fn truncate(&mut self) {
        *self = Self::new(Arc::clone(self.rows.table()));
        self.truncated = true;
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.truncated && self.deletes.is_empty() && self.live_rows() == 0
    }

    /// Whether the base is hidden altogether.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Private rows that are not deleted.
    #[must_use]
    pub fn live_rows(&self) -> usize {
        self.rows.rows() - self.private_deletes.len()
    }

    /// Base rows deleted.
    #[must_use]
    pub fn deleted_rows(&self) -> usize {
        self.deletes.len()
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let deletes = self.deletes.len() + self.private_deletes.len();
        self.rows.memory_bytes() + deletes * DELETE_BYTES + self.key_bytes
    }

    /// The base rows of a segment this transaction has deleted.
    pub(crate) fn hidden(&self, segment: SegmentId) -> Option<&DeleteSet> {
        self.hidden.get(&segment)
    }

    /// The base rows deleted in segments that `is_present` does not know.
    pub(crate) fn hidden_outside(&self, is_present: impl Fn(SegmentId) -> bool) -> Vec<RowId> {
        let absent = self.hidden.iter().filter(|(segment, _)| !is_present(**segment));
        absent.flat_map(|(_, rows)| rows.entries().map(|entry| entry.row)).collect()
    }

    /// The private rows as a segment; `None` when there are none.
    pub(crate) fn view(&self) -> Option<SegmentView> {
        let form = SegmentForm::Growing(self.rows.clone());
        (self.rows.rows() > 0).then(|| SegmentView::new(form, self.private_deletes.clone(), Timestamp::MAX))
    }

    /// The net effect: truncate, deletes of base rows, rows that are still there.
    ///
    /// # Errors
    /// When rows cannot be gathered; a defect of ours.
    pub fn into_change(self) -> Result<TableChange> {
        let table = self.table();
        let mut change = TableChange::new(table.id, table.schema_version);
        change.truncate = self.truncated;
        change.deletes = self.deletes.iter().cloned().collect();
        let columns: Vec<ScanColumn> = (0..table.columns.len()).map(ScanColumn::Column).collect();
        let Some(view) = self.view() else { return Ok(change) };
        for range in view.form().natural_ranges(crate::growing::CHUNK_ROWS) {
            let batch = view.read_range(&columns, range.start, range.len())?;
            let live = view.visible().slice(range.start, range.len());
            let batch = match live.count_set_bits() {
                0 => continue,
                all if all == range.len() => batch,
                _ => filter_record_batch(&batch, &BooleanArray::new(live, None)).map_err(Error::Arrow)?,
            };
            change.inserts.push(batch);
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests;
