//! One segment at one instant: its rows, whatever form they are in, and which of them are visible.
//!
//! A row is visible when its commit ts is at or before the read ts, no delete at or before the read ts ends it,
//! and the reading transaction has not deleted it itself.
//!
//! What it is not: no I/O. The form is resident or mapped; columns of sealed segments decode at first use.
//!
//! Invariant: a view never changes; `visible()` has one bit per row version of the form.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use proto::catalog::{KeyMeta, TableMeta};
use proto::record::RowRef;
use proto::{Oid, RowId, SegmentId, Timestamp};

use crate::bitmap;
use crate::deletes::DeleteSet;
use crate::error::{Error, Result};
use crate::growing::{GrowingRows, Source};
use crate::index::{SegmentIndex, VectorColumn};
use crate::sealed::SealedSegment;

/// A column of a scan: one of the table's, or one of the hidden columns that identify a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanColumn {
    /// Position in `TableMeta.columns`.
    Column(usize),
    /// `_segment`, UInt64.
    Segment,
    /// `_ordinal`, UInt32.
    Ordinal,
    /// `_row`, UInt64.
    Row,
    /// `_ts`, UInt64.
    Ts,
}

impl ScanColumn {
    /// The Arrow field of the column in a table of this schema.
    #[must_use]
    pub fn field(self, schema: &Schema) -> Option<FieldRef> {
        let hidden = |name, data_type| Some(Arc::new(Field::new(name, data_type, false)));
        match self {
            Self::Column(column) => schema.fields().get(column).cloned(),
            Self::Segment => hidden("_segment", DataType::UInt64),
            Self::Ordinal => hidden("_ordinal", DataType::UInt32),
            Self::Row => hidden("_row", DataType::UInt64),
            Self::Ts => hidden("_ts", DataType::UInt64),
        }
    }
}

/// A bound on the values of a column in one segment.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarBound {
    /// int2, int4, int8, and date and timestamps in their Arrow units.
    Int(i64),
    Float(f64),
    Text(String),
}

impl ScalarBound {
    /// Whether this bound is below another of the same kind; false for different kinds.
    #[must_use]
    pub fn less_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => left < right,
            (Self::Float(left), Self::Float(right)) => left < right,
            (Self::Text(left), Self::Text(right)) => left < right,
            _ => false,
        }
    }
}

/// The rows of a segment in the form they are in.
#[derive(Clone, Debug)]
pub enum SegmentForm {
    /// Still taking rows, or frozen and not yet written: chunks in memory.
    Growing(GrowingRows),
    /// Stored: mapped vectors, columns that decode at first use.
    Sealed(Arc<SealedSegment>),
}

impl SegmentForm {
    /// The segment's identity.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        match self {
            Self::Growing(rows) => rows.id(),
            Self::Sealed(segment) => segment.id(),
        }
    }

    /// Row versions held.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Growing(rows) => rows.rows(),
            Self::Sealed(segment) => segment.rows(),
        }
    }

    /// Whether the rows are stored in files.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        match self {
            Self::Growing(_) => false,
            Self::Sealed(_) => true,
        }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<TableMeta> {
        match self {
            Self::Growing(rows) => rows.table(),
            Self::Sealed(segment) => segment.table(),
        }
    }

    /// The same rows as another version of the table, later or earlier.
    ///
    /// # Errors
    /// When the rows of a key that the table had not before cannot be read.
    pub fn with_table(&self, table: &Arc<TableMeta>) -> Result<Self> {
        Ok(match self {
            Self::Growing(rows) => Self::Growing(rows.with_table(Arc::clone(table))?),
            Self::Sealed(segment) => Self::Sealed(segment.with_table(Arc::clone(table))),
        })
    }

    /// Arrow schema of the table's columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Self::Growing(rows) => rows.schema(),
            Self::Sealed(segment) => segment.schema(),
        }
    }

    /// The lowest commit ts of a row; `Timestamp::MAX` without rows.
    #[must_use]
    pub fn min_ts(&self) -> Timestamp {
        match self {
            Self::Growing(rows) => rows.min_ts(),
            Self::Sealed(segment) => segment.files().min_ts,
        }
    }

    /// The highest commit ts of a row.
    #[must_use]
    pub fn max_ts(&self) -> Timestamp {
        match self {
            Self::Growing(rows) => rows.max_ts(),
            Self::Sealed(segment) => segment.max_ts(),
        }
    }

    /// Bytes of memory held: rows and key runs, or what was decoded from stored objects; not mapped pages.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Growing(rows) => rows.memory_bytes(),
            Self::Sealed(segment) => segment.memory_bytes(),
        }
    }

    /// Commit ts and row id of a row; the ordinal must be below `rows()`.
    #[must_use]
    pub fn identity(&self, ordinal: u32) -> (Timestamp, RowId) {
        match self {
            Self::Growing(rows) => rows.identity(ordinal),
            Self::Sealed(segment) => segment.identity(ordinal),
        }
    }

    /// The ordinal of a row by its id, which stays the same when rows move to another segment.
    #[must_use]
    pub fn ordinal_of(&self, row: RowId) -> Option<u32> {
        match self {
            Self::Growing(rows) => rows.ordinal_of(row),
            Self::Sealed(segment) => segment.ordinal_of(row),
        }
    }

    /// A vector index of the segment; growing rows have none.
    #[must_use]
    pub fn index(&self, oid: Oid) -> Option<&Arc<SegmentIndex>> {
        match self {
            Self::Growing(_) => None,
            Self::Sealed(segment) => segment.index(oid),
        }
    }

    /// The vectors of a column; `None` when it is not `vector(n)`.
    ///
    /// # Errors
    /// `Corrupted` when the column's file is damaged.
    pub fn vectors(&self, column: usize) -> Result<Option<VectorColumn>> {
        match self {
            Self::Growing(rows) => rows.vectors(column),
            Self::Sealed(segment) => segment.vectors(column),
        }
    }

    /// Appends ordinals of rows whose key, one of the table's by the OID of its index, may have this hash.
    ///
    /// # Errors
    /// `Corrupted` when the key file, or the column that stands in for it, is damaged.
    pub fn key_candidates(&self, key: Oid, hash: u64, ordinals: &mut Vec<u32>) -> Result<()> {
        match self {
            Self::Growing(rows) => {
                if let Some(runs) = rows.keys(key) {
                    runs.candidates(hash, ordinals);
                }
                Ok(())
            }
            Self::Sealed(segment) => segment.key_candidates(key, hash, ordinals),
        }
    }

    /// Makes columns resident.
    ///
    /// # Errors
    /// When stored bytes cannot be read or are damaged.
    #[allow(clippy::unused_async, reason = "the one place that may wait for an object store")]
    pub async fn load(&self, columns: &[usize]) -> Result<()> {
        match self {
            Self::Growing(_) => Ok(()),
            Self::Sealed(segment) => columns.iter().try_for_each(|column| segment.decode(*column)),
        }
    }

    /// Ranges of at most `max_rows` rows that `read_range` hands out with the least copying.
    #[must_use]
    pub fn natural_ranges(&self, max_rows: usize) -> Vec<std::ops::Range<usize>> {
        let lengths = match self {
            Self::Growing(rows) => rows.piece_lengths(),
            Self::Sealed(segment) => vec![segment.rows()],
        };
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        let mut start = 0;
        for length in lengths {
            let end = start + length;
            // Small neighbours are cheaper to copy together than to hand out one by one.
            if let Some(last) = ranges.last_mut()
                && end - last.start <= max_rows
            {
                last.end = end;
                start = end;
                continue;
            }
            while start < end {
                let next = end.min(start + max_rows.max(1));
                ranges.push(start..next);
                start = next;
            }
        }
        ranges
    }

    fn range(&self, source: Source, start: usize, len: usize) -> Result<ArrayRef> {
        match self {
            Self::Growing(rows) => rows.range(source, start, len),
            Self::Sealed(segment) => segment.range(source, start, len),
        }
    }

    fn rows_at(&self, sources: &[Source], ordinals: &[u32]) -> Result<Vec<ArrayRef>> {
        match self {
            Self::Growing(rows) => rows.rows_at(sources, ordinals),
            Self::Sealed(segment) => segment.rows_at(sources, ordinals),
        }
    }

    /// Number of rows with `ts` or less; they are the first ones.
    fn rows_until(&self, ts: Timestamp) -> usize {
        match self {
            Self::Growing(rows) => rows.rows_until(ts),
            Self::Sealed(segment) => segment.rows_until(ts),
        }
    }

    /// The rows with a commit ts at or before `read_ts`, as words; `None` when all are.
    fn begun(&self, read_ts: Timestamp) -> Option<Vec<u64>> {
        if self.max_ts() <= read_ts {
            return None;
        }
        match self {
            Self::Growing(rows) => {
                let begun = rows.rows_until(read_ts);
                let mut words = bitmap::all_set(begun);
                words.resize(bitmap::word_count(rows.rows()), 0);
                Some(words)
            }
            Self::Sealed(segment) => Some(segment.begun(read_ts)),
        }
    }
}

/// A segment as its server holds it: rows and deletes, at no particular instant.
#[derive(Clone, Debug)]
pub struct SegmentState {
    pub form: SegmentForm,
    pub deletes: DeleteSet,
}

impl SegmentState {
    /// The segment as a reader at `read_ts` sees it.
    #[must_use]
    pub fn at(&self, read_ts: Timestamp) -> SegmentView {
        SegmentView::new(self.form.clone(), self.deletes.clone(), read_ts)
    }
}

/// One segment at one read timestamp.
#[derive(Debug)]
pub struct SegmentView {
    form: SegmentForm,
    deletes: DeleteSet,
    /// Rows the reading transaction has deleted itself.
    hidden: Option<DeleteSet>,
    read_ts: Timestamp,
    visible: OnceLock<BooleanBuffer>,
    count: OnceLock<usize>,
}

impl SegmentView {
    /// A segment's rows and deletes seen at `read_ts`.
    #[must_use]
    pub fn new(form: SegmentForm, deletes: DeleteSet, read_ts: Timestamp) -> Self {
        Self { form, deletes, hidden: None, read_ts, visible: OnceLock::new(), count: OnceLock::new() }
    }

    /// The same view without the rows in `hidden`, at any of its timestamps.
    #[must_use]
    pub fn hiding(&self, hidden: DeleteSet) -> Self {
        let mut view = Self::new(self.form.clone(), self.deletes.clone(), self.read_ts);
        view.hidden = (!hidden.is_empty()).then_some(hidden);
        view
    }

    /// The same view of another version of the table.
    ///
    /// # Errors
    /// When the rows of a key that the table had not before cannot be read.
    pub fn with_table(&self, table: &Arc<TableMeta>) -> Result<Self> {
        let mut view = Self::new(self.form.with_table(table)?, self.deletes.clone(), self.read_ts);
        view.hidden.clone_from(&self.hidden);
        Ok(view)
    }

    /// The instant that is read.
    #[must_use]
    pub const fn read_ts(&self) -> Timestamp {
        self.read_ts
    }

    /// The rows behind the view.
    #[must_use]
    pub const fn form(&self) -> &SegmentForm {
        &self.form
    }

    /// The segment's identity.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.form.id()
    }

    /// Whether the rows are stored in files.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.form.is_sealed()
    }

    /// Row versions held, visible or not.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.form.rows()
    }

    /// The visible rows; computed at first use.
    #[must_use]
    pub fn visible(&self) -> &BooleanBuffer {
        self.visible.get_or_init(|| self.compute_visible())
    }

    /// The ordinals of visible rows that began after an instant, ascending.
    #[must_use]
    pub fn visible_since(&self, ts: Timestamp) -> Vec<u32> {
        if self.form.max_ts() <= ts {
            return Vec::new();
        }
        let before = self.form.rows_until(ts);
        let visible = self.visible().slice(before, self.rows() - before);
        visible.set_indices().map(|ordinal| (before + ordinal) as u32).collect()
    }

    /// Number of visible rows.
    #[must_use]
    pub fn visible_count(&self) -> usize {
        *self.count.get_or_init(|| self.visible().count_set_bits())
    }

    /// Whether one row is visible, without computing the bitmap.
    #[must_use]
    pub fn is_visible(&self, ordinal: u32) -> bool {
        (ordinal as usize) < self.rows()
            && self.form.identity(ordinal).0 <= self.read_ts
            && !self.deletes.is_deleted(ordinal, self.read_ts)
            && !self.hidden.as_ref().is_some_and(|hidden| hidden.is_deleted(ordinal, Timestamp::MAX))
    }

    fn compute_visible(&self) -> BooleanBuffer {
        let rows = self.rows();
        let begun = self.form.begun(self.read_ts);
        if begun.is_none() && self.hidden.is_none() && self.deletes.max_ts() <= self.read_ts {
            return self.deletes.all_undeleted(rows);
        }
        let mut words = begun.unwrap_or_else(|| bitmap::all_set(rows));
        self.deletes.hide(&mut words, rows, self.read_ts);
        if let Some(hidden) = &self.hidden {
            hidden.hide(&mut words, rows, Timestamp::MAX);
        }
        bitmap::from_words(words, rows)
    }

    /// Rows `start..start + len`, visible or not; the copy is avoided where the form allows it.
    ///
    /// # Errors
    /// `OutOfRange` for a range or column the segment does not have, `Corrupted` for damaged bytes.
    pub fn read_range(&self, columns: &[ScanColumn], start: usize, len: usize) -> Result<RecordBatch> {
        if start.checked_add(len).is_none_or(|end| end > self.rows()) {
            return Err(self.out_of_range(format!("rows {start} to {}", start.saturating_add(len))));
        }
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
        for column in columns {
            arrays.push(match source_of(*column) {
                Some(source) => self.form.range(self.check(source)?, start, len)?,
                None if *column == ScanColumn::Segment => self.segment_column(len),
                None => Arc::new(UInt32Array::from_iter_values(start as u32..(start + len) as u32)),
            });
        }
        self.batch(columns, arrays, len)
    }

    /// The rows at `ordinals`, in that order, visible or not.
    ///
    /// # Errors
    /// As `read_range`.
    pub fn read_rows(&self, columns: &[ScanColumn], ordinals: &[u32]) -> Result<RecordBatch> {
        if let Some(outside) = ordinals.iter().find(|ordinal| **ordinal as usize >= self.rows()) {
            return Err(self.out_of_range(format!("row {outside}")));
        }
        let mut sources = Vec::with_capacity(columns.len());
        for source in columns.iter().filter_map(|column| source_of(*column)) {
            sources.push(self.check(source)?);
        }
        let mut stored = self.form.rows_at(&sources, ordinals)?.into_iter();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
        for column in columns {
            let array = if source_of(*column).is_some() { stored.next() } else { None };
            arrays.push(match array {
                Some(array) => array,
                None if *column == ScanColumn::Segment => self.segment_column(ordinals.len()),
                None => Arc::new(UInt32Array::from(ordinals.to_vec())),
            });
        }
        self.batch(columns, arrays, ordinals.len())
    }

    /// Bounds of a column's values over all row versions (NULLs aside), when they are known.
    #[must_use]
    pub fn column_bounds(&self, column: usize) -> Option<(ScalarBound, ScalarBound)> {
        match &self.form {
            SegmentForm::Growing(_) => None,
            SegmentForm::Sealed(segment) => segment.column_bounds(column),
        }
    }

    /// Finds the visible row of each value of a key that `found` does not have yet. `hashes` are the values' hashes.
    ///
    /// # Errors
    /// `Corrupted` for damaged bytes.
    pub(crate) fn find_keys(
        &self,
        key: KeyMeta<'_>,
        values: &[Option<&[u8]>],
        hashes: &[Option<u64>],
        found: &mut [Option<RowRef>],
    ) -> Result<()> {
        let mut ordinals = Vec::new();
        let mut wanted = Vec::new();
        for (position, hash) in hashes.iter().enumerate() {
            let Some(hash) = hash.filter(|_| found[position].is_none()) else { continue };
            let before = ordinals.len();
            self.form.key_candidates(key.index_oid, hash, &mut ordinals)?;
            let mut at = before;
            while at < ordinals.len() {
                if self.is_visible(ordinals[at]) {
                    wanted.push(position);
                    at += 1;
                } else {
                    ordinals.swap_remove(at);
                }
            }
        }
        if ordinals.is_empty() {
            return Ok(());
        }
        let columns: Vec<ScanColumn> =
            self.form.table().positions(key.columns).into_iter().map(ScanColumn::Column).collect();
        let positions: Vec<usize> = (0..columns.len()).collect();
        let rows = self.read_rows(&columns, &ordinals)?;
        let stored = proto::key::encode_unique_keys(&rows, &positions, key.nulls_distinct)?;
        for ((stored, position), ordinal) in stored.iter().zip(wanted).zip(ordinals) {
            if stored.as_deref() == values[position] {
                let row = self.form.identity(ordinal).1;
                found[position] = Some(RowRef { segment: self.id(), ordinal, row });
            }
        }
        Ok(())
    }

    fn segment_column(&self, len: usize) -> ArrayRef {
        Arc::new(UInt64Array::from_value(self.id().0, len))
    }

    fn check(&self, source: Source) -> Result<Source> {
        match source {
            Source::Column(column) if column >= self.form.schema().fields().len() => {
                Err(self.out_of_range(format!("column {column}")))
            }
            source => Ok(source),
        }
    }

    fn batch(&self, columns: &[ScanColumn], arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let schema = self.form.schema();
        let mut fields = Vec::with_capacity(columns.len());
        for column in columns {
            let field = column.field(schema);
            fields.push(field.ok_or_else(|| self.out_of_range(format!("column {column:?}")))?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?)
    }

    fn out_of_range(&self, what: String) -> Error {
        Error::OutOfRange { segment: self.id(), what }
    }
}

/// Where a scan column is stored; `None` for the two that are computed.
const fn source_of(column: ScanColumn) -> Option<Source> {
    match column {
        ScanColumn::Column(column) => Some(Source::Column(column)),
        ScanColumn::Row => Some(Source::Row),
        ScanColumn::Ts => Some(Source::Ts),
        ScanColumn::Segment | ScanColumn::Ordinal => None,
    }
}

#[cfg(test)]
mod tests;
