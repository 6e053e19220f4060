//! A transaction's buffered writes to one table: private segments and the base rows it deletes.
//!
//! The last private segment grows in memory. Those before it are staged: in files already, so that a transaction
//! may be larger than memory; the commit only gives them their instant. Who writes the files is the caller.
//!
//! Clones are cheap (chunks, pages and runs are shared), so a statement is undone by restoring the clone made
//! before it. `into_change` gives the net effect in the order a commit applies it.
//!
//! What it is not: no conflict check; the owner does that at commit.
//!
//! Invariants: private rows carry segment ids that no stored segment has (`is_private`) and the greatest timestamp, so
//! they are visible to their own transaction only and sort behind committed rows; a deleted private row leaves no trace;
//! a private row keeps its segment id and ordinal when its segment is staged.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use bytes::Bytes;
use proto::catalog::TableMeta;
use proto::record::{RowDelete, RowRef, StagedRows, TableChange};
use proto::{RowId, SegmentId, Timestamp};

use crate::append_list::AppendList;
use crate::deletes::DeleteSet;
use crate::error::{Error, Result};
use crate::growing::GrowingRows;
use crate::sealed::SealedSegment;
use crate::view::{ScanColumn, SegmentForm, SegmentView};

/// Numbers of private segments, counted down from the greatest.
const MOST_PRIVATE_SEGMENTS: u64 = 1 << 32;

/// Whether a segment is one that only its transaction knows.
#[must_use]
pub const fn is_private(segment: SegmentId) -> bool {
    segment.0 > u64::MAX - MOST_PRIVATE_SEGMENTS
}

/// The number of a transaction's n-th private segment of a table.
const fn private_segment(n: usize) -> SegmentId {
    SegmentId(u64::MAX - n as u64)
}

/// Bytes a buffered delete is counted with, beside its key.
const DELETE_BYTES: usize = 96;

/// A private segment in files.
#[derive(Clone, Debug)]
struct Staged {
    /// As it was written.
    stored: Arc<SealedSegment>,
    /// As the transaction sees it.
    shown: Arc<SealedSegment>,
    deletes: DeleteSet,
}

/// Buffered writes to one table.
#[derive(Clone, Debug)]
pub struct TableOverlay {
    truncated: bool,
    staged: Vec<Staged>,
    rows: GrowingRows,
    /// Deletes of `rows`.
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
            staged: Vec::new(),
            rows: GrowingRows::new(private_segment(0), table),
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
    /// When the rows of a key that the table had not before cannot be read.
    pub fn with_table(&self, table: &Arc<TableMeta>) -> Result<Self> {
        let newer = |staged: &Staged| Staged {
            stored: staged.stored.with_table(Arc::clone(table)),
            shown: staged.shown.with_table(Arc::clone(table)),
            deletes: staged.deletes.clone(),
        };
        let staged = self.staged.iter().map(newer).collect();
        Ok(Self { rows: self.rows.with_table(Arc::clone(table))?, staged, ..self.clone() })
    }

    /// Buffers rows in the table's column order.
    ///
    /// # Errors
    /// `RowShape` when the batch does not have the table's columns.
    pub fn insert(&mut self, batch: &RecordBatch) -> Result<()> {
        let first = RowId((self.staged_rows() + self.rows.rows()) as u64);
        self.rows.append(batch, Timestamp::MAX, first)
    }

    /// Private rows in memory, to be put in files.
    #[must_use]
    pub const fn growing(&self) -> &GrowingRows {
        &self.rows
    }

    /// The rows of `growing` are in files now.
    pub fn stage(&mut self, stored: Arc<SealedSegment>) {
        let first = RowId(self.staged_rows() as u64);
        let shown = stored.beginning(self.rows.id(), Timestamp::MAX, first);
        let deletes = std::mem::take(&mut self.private_deletes);
        self.staged.push(Staged { stored, shown, deletes });
        let next = private_segment(self.staged.len());
        self.rows = GrowingRows::new(next, Arc::clone(self.rows.table()));
    }

    fn staged_rows(&self) -> usize {
        self.staged.iter().map(|staged| staged.stored.rows()).sum()
    }

    /// The deletes of a private segment.
    fn deletes_of(&self, segment: SegmentId) -> &DeleteSet {
        let staged = self.staged.iter().find(|staged| staged.shown.id() == segment);
        staged.map_or(&self.private_deletes, |staged| &staged.deletes)
    }

    /// Buffers the end of a row, of the base or private. Deleting a row twice is once.
    pub fn delete(&mut self, target: RowRef, key: Bytes) {
        if is_private(target.segment) {
            let staged = self.staged.iter_mut().find(|staged| staged.shown.id() == target.segment);
            let deletes = staged.map_or(&mut self.private_deletes, |staged| &mut staged.deletes);
            deletes.insert(target.ordinal, target.row, Timestamp::ZERO);
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
            private if is_private(private) => Some(self.deletes_of(private)),
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
        let staged = self.staged.iter().map(|staged| staged.stored.rows() - staged.deletes.len());
        staged.sum::<usize>() + self.rows.rows() - self.private_deletes.len()
    }

    /// Base rows deleted.
    #[must_use]
    pub fn deleted_rows(&self) -> usize {
        self.deletes.len()
    }

    /// Bytes held in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let staged = self.staged.iter().map(|staged| staged.deletes.len());
        let deletes = self.deletes.len() + self.private_deletes.len() + staged.sum::<usize>();
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

    /// The private segments that have rows, in the order of their rows.
    pub(crate) fn views(&self) -> Vec<SegmentView> {
        let staged = self.staged.iter().map(|staged| {
            let form = SegmentForm::Sealed(Arc::clone(&staged.shown));
            SegmentView::new(form, staged.deletes.clone(), Timestamp::MAX)
        });
        staged.chain(self.growing_view()).collect()
    }

    fn growing_view(&self) -> Option<SegmentView> {
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
        let live = self.staged.iter().filter(|staged| staged.deletes.len() < staged.stored.rows());
        change.staged = live.map(Staged::rows).collect();
        let columns: Vec<ScanColumn> = (0..table.columns.len()).map(ScanColumn::Column).collect();
        let Some(view) = self.growing_view() else { return Ok(change) };
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

impl Staged {
    fn rows(&self) -> StagedRows {
        StagedRows {
            segment: self.stored.id(),
            rows: self.stored.rows() as u64,
            files: self.stored.files().encode(),
            ended: self.deletes.entries().map(|entry| entry.ordinal).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
