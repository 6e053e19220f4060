//! Growing segments: immutable chunks of rows behind `Arc`, merged geometrically, with key runs beside them.
//!
//! What it is not: not durable (the log is), not aware of deletes (`DeleteSet` is kept beside it).
//!
//! Invariants: a `GrowingRows` value never changes for those who hold a clone; ordinals are given out in
//! append order and never move; timestamps and row ids ascend with the ordinal; chunks merge while
//! neighbours are of similar size and the result has at most `CHUNK_ROWS` rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{concat_batches, interleave, take};
use arrow::datatypes::SchemaRef;
use parking_lot::{RwLock, RwLockUpgradableReadGuard};
use proto::catalog::{KeyMeta, TableMeta};
use proto::{Oid, RowId, SegmentId, Timestamp};

use crate::error::{Error, Result};
use crate::index::{VectorColumn, VectorPart};
use crate::keys::{KeyRuns, key_hashes, placed};
use crate::layout;

/// Merging stops at this many rows.
pub const CHUNK_ROWS: usize = 8192;

/// Rows appended together or merged later.
#[derive(Clone, Debug)]
struct Chunk {
    batch: RecordBatch,
    ts: UInt64Array,
    rows: UInt64Array,
}

impl Chunk {
    fn len(&self) -> usize {
        self.ts.len()
    }
}

/// The rows of a growing segment at one moment.
#[derive(Clone, Debug)]
pub struct GrowingRows {
    id: SegmentId,
    table: Arc<TableMeta>,
    schema: SchemaRef,
    chunks: Arc<Vec<Arc<Chunk>>>,
    /// First ordinal of each chunk.
    starts: Arc<Vec<u32>>,
    rows: usize,
    min_ts: Timestamp,
    max_ts: Timestamp,
    bytes: usize,
    /// The runs of every key of the table, by the OID of its index.
    keys: Arc<BTreeMap<Oid, KeyRuns>>,
}

impl GrowingRows {
    /// A segment without rows.
    #[must_use]
    pub fn new(id: SegmentId, table: Arc<TableMeta>) -> Self {
        Self {
            id,
            schema: table.stored_schema(),
            keys: Arc::new(table.keys().map(|key| (key.index_oid, KeyRuns::default())).collect()),
            table,
            chunks: Arc::default(),
            starts: Arc::default(),
            rows: 0,
            min_ts: Timestamp::MAX,
            max_ts: Timestamp::ZERO,
            bytes: 0,
        }
    }

    /// Adds rows committed at `ts` with row ids from `first_row`; clones made before do not see them.
    ///
    /// # Errors
    /// `RowShape` when the batch does not have the table's columns, `SegmentFull` behind 2^32 - 1 rows.
    pub fn append(&mut self, batch: &RecordBatch, ts: Timestamp, first_row: RowId) -> Result<()> {
        self.add(batch, ts, first_row, true)
    }

    /// Adds rows that were written at an older schema version of the table.
    ///
    /// # Errors
    /// As `append`, for the columns of that version.
    pub fn append_at(
        &mut self,
        schema_version: u64,
        batch: &RecordBatch,
        ts: Timestamp,
        first_row: RowId,
    ) -> Result<()> {
        if schema_version == self.table.schema_version {
            return self.append(batch, ts, first_row);
        }
        let rows = layout::forward(&self.table, schema_version, batch)?;
        self.add(&rows, ts, first_row, schema_version >= self.table.rewritten)
    }

    /// The same rows under a later version of the table.
    ///
    /// # Errors
    /// When a missing value cannot be read.
    pub fn with_table(&self, table: Arc<TableMeta>) -> Result<Self> {
        let schema = table.stored_schema();
        let from: Vec<u32> = self.table.columns.iter().map(|column| column.id).collect();
        let mut chunks = Vec::with_capacity(self.chunks.len());
        for chunk in self.chunks.iter() {
            let arrays = layout::columns(
                &table,
                self.table.schema_version,
                &from,
                chunk.batch.columns(),
                chunk.len(),
            )?;
            let options = RecordBatchOptions::new().with_row_count(Some(chunk.len()));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)?;
            chunks.push(Arc::new(Chunk { batch, ts: chunk.ts.clone(), rows: chunk.rows.clone() }));
        }
        // No key finds rows that have ended when the table was written anew.
        let ended = self.table.schema_version < table.rewritten;
        let mut keys = BTreeMap::new();
        for key in table.keys() {
            let runs = match self.keys.get(&key.index_oid) {
                _ if ended => KeyRuns::default(),
                Some(known) => known.clone(),
                None => runs_of(key, &table.positions(key.columns), &chunks, &self.starts)?,
            };
            keys.insert(key.index_oid, runs);
        }
        Ok(Self {
            schema,
            table,
            bytes: chunks.iter().map(|chunk| chunk_bytes(chunk)).sum(),
            chunks: Arc::new(chunks),
            keys: Arc::new(keys),
            ..self.clone()
        })
    }

    fn add(&mut self, batch: &RecordBatch, ts: Timestamp, first_row: RowId, keyed: bool) -> Result<()> {
        let count = batch.num_rows();
        if count == 0 {
            return Ok(());
        }
        let first = u32::try_from(self.rows).map_err(|_| Error::SegmentFull(self.id))?;
        if u32::try_from(self.rows + count).is_err() {
            return Err(Error::SegmentFull(self.id));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            batch.columns().to_vec(),
            &options,
        )
        .map_err(|error| Error::RowShape { table: self.table.name.clone(), reason: error.to_string() })?;
        let mut hashes = Vec::new();
        for key in self.table.keys().filter(|_| keyed) {
            let positions = self.table.positions(key.columns);
            hashes.push((key.index_oid, key_hashes(key, &batch, &positions)?));
        }
        for (key, hashes) in hashes {
            let runs = Arc::make_mut(&mut self.keys).entry(key).or_default();
            runs.append(hashes.into_iter().zip(first..).filter_map(placed));
        }
        let chunk = Chunk {
            batch,
            ts: UInt64Array::from_value(ts.0, count),
            rows: (first_row.0..first_row.0 + count as u64).collect::<Vec<_>>().into(),
        };
        self.push_chunk(chunk, first)?;
        self.rows += count;
        self.min_ts = self.min_ts.min(ts);
        self.max_ts = self.max_ts.max(ts);
        Ok(())
    }

    /// Adds a chunk, merged with as many of its neighbours as are of similar size, in one copy.
    fn push_chunk(&mut self, chunk: Chunk, first: u32) -> Result<()> {
        let chunks = Arc::make_mut(&mut self.chunks);
        let starts = Arc::make_mut(&mut self.starts);
        let mut sum = chunk.len();
        let mut keep = chunks.len();
        while keep > 0 {
            let previous = chunks[keep - 1].len();
            if previous > sum * 2 || previous + sum > CHUNK_ROWS {
                break;
            }
            sum += previous;
            keep -= 1;
        }
        if keep == chunks.len() {
            self.bytes += chunk_bytes(&chunk);
            starts.push(first);
            chunks.push(Arc::new(chunk));
            return Ok(());
        }
        let tail: Vec<&Chunk> = chunks[keep..].iter().map(Arc::as_ref).chain([&chunk]).collect();
        let ts: Vec<u64> = tail.iter().flat_map(|chunk| chunk.ts.values().iter().copied()).collect();
        let rows: Vec<u64> = tail.iter().flat_map(|chunk| chunk.rows.values().iter().copied()).collect();
        let batch = concat_batches(&self.schema, tail.iter().map(|chunk| &chunk.batch))?;
        let merged = Chunk { batch, ts: ts.into(), rows: rows.into() };
        let freed: usize = chunks[keep..].iter().map(|chunk| chunk_bytes(chunk)).sum();
        self.bytes = self.bytes - freed + chunk_bytes(&merged);
        chunks.truncate(keep);
        chunks.push(Arc::new(merged));
        starts.truncate(keep + 1);
        Ok(())
    }

    /// The segment's identity.
    #[must_use]
    pub const fn id(&self) -> SegmentId {
        self.id
    }

    /// The table as the rows were written.
    #[must_use]
    pub const fn table(&self) -> &Arc<TableMeta> {
        &self.table
    }

    /// The Arrow schema of the table's columns.
    #[must_use]
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of row versions.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Timestamp of the first row; `Timestamp::MAX` when empty.
    #[must_use]
    pub const fn min_ts(&self) -> Timestamp {
        self.min_ts
    }

    /// Timestamp of the last row; zero when empty.
    #[must_use]
    pub const fn max_ts(&self) -> Timestamp {
        self.max_ts
    }

    /// Bytes held by columns and key runs.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.keys.values().map(KeyRuns::memory_bytes).sum::<usize>()
    }

    /// The hashes of a key, by the OID of its index; `None` when the table does not have the key.
    #[must_use]
    pub fn keys(&self, index: Oid) -> Option<&KeyRuns> {
        self.keys.get(&index)
    }

    /// Number of rows with `ts` or less; they are the first ones.
    #[must_use]
    pub fn rows_until(&self, ts: Timestamp) -> usize {
        if self.max_ts <= ts {
            return self.rows;
        }
        let whole =
            self.chunks.partition_point(|chunk| chunk.ts.values().last().is_some_and(|last| *last <= ts.0));
        self.chunks.get(whole).map_or(self.rows, |chunk| {
            self.starts[whole] as usize + chunk.ts.values().partition_point(|row_ts| *row_ts <= ts.0)
        })
    }

    /// Commit timestamp and row id of a row; the ordinal must be below `rows()`.
    #[must_use]
    pub fn identity(&self, ordinal: u32) -> (Timestamp, RowId) {
        let (chunk, at) = self.locate(ordinal);
        let chunk = &self.chunks[chunk];
        (Timestamp(chunk.ts.value(at)), RowId(chunk.rows.value(at)))
    }

    /// The ordinal of a row by its id.
    #[must_use]
    pub fn ordinal_of(&self, row: RowId) -> Option<u32> {
        let begun = |chunk: &Arc<Chunk>| chunk.rows.values().first().is_some_and(|first| *first <= row.0);
        let chunk = self.chunks.partition_point(begun).checked_sub(1)?;
        let at = self.chunks[chunk].rows.values().binary_search(&row.0).ok()?;
        Some(self.starts[chunk] + at as u32)
    }

    fn locate(&self, ordinal: u32) -> (usize, usize) {
        let chunk = self.starts.partition_point(|start| *start <= ordinal).saturating_sub(1);
        (chunk, (ordinal - self.starts[chunk]) as usize)
    }

    /// Lengths of the pieces that `range` hands out without copying.
    #[must_use]
    pub fn piece_lengths(&self) -> Vec<usize> {
        self.chunks.iter().map(|chunk| chunk.len()).collect()
    }

    /// One source, chunk by chunk.
    pub(crate) fn pieces(&self, source: Source) -> Vec<ArrayRef> {
        self.chunks.iter().map(|chunk| chunk.array(source)).collect()
    }

    /// Rows `start..start + len` of one source; a range inside one chunk is not copied.
    pub(crate) fn range(&self, source: Source, start: usize, len: usize) -> Result<ArrayRef> {
        let (mut chunk, mut at) = if len == 0 { (0, 0) } else { self.locate(start as u32) };
        let mut pieces: Vec<ArrayRef> = Vec::new();
        let mut left = len;
        while left > 0 {
            let piece = left.min(self.chunks[chunk].len() - at);
            pieces.push(self.chunks[chunk].array(source).slice(at, piece));
            left -= piece;
            chunk += 1;
            at = 0;
        }
        match pieces.as_slice() {
            [] => Ok(self.empty(source)),
            [one] => Ok(Arc::clone(one)),
            many => {
                let many: Vec<&dyn Array> = many.iter().map(AsRef::as_ref).collect();
                Ok(arrow::compute::concat(&many)?)
            }
        }
    }

    /// The rows at `ordinals` of several sources, in that order.
    pub(crate) fn rows_at(&self, sources: &[Source], ordinals: &[u32]) -> Result<Vec<ArrayRef>> {
        if ordinals.is_empty() {
            return Ok(sources.iter().map(|&source| self.empty(source)).collect());
        }
        let places: Vec<(usize, usize)> = ordinals.iter().map(|&ordinal| self.locate(ordinal)).collect();
        let first = places[0].0;
        if places.iter().all(|place| place.0 == first) {
            let indices: UInt32Array = places.iter().map(|place| place.1 as u32).collect::<Vec<_>>().into();
            let chunk = &self.chunks[first];
            return sources
                .iter()
                .map(|&source| Ok(take(chunk.array(source).as_ref(), &indices, None)?))
                .collect();
        }
        let gather = |&source: &Source| {
            let arrays: Vec<ArrayRef> = self.chunks.iter().map(|chunk| chunk.array(source)).collect();
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            Ok(interleave(&arrays, &places)?)
        };
        sources.iter().map(gather).collect()
    }

    /// The vectors of a `vector(n)` column.
    pub(crate) fn vectors(&self, column: usize) -> Option<VectorColumn> {
        let dimensions = self.table.columns.get(column)?.ty.dimensions()?;
        let mut parts = Vec::with_capacity(self.chunks.len());
        for (chunk, &start) in self.chunks.iter().zip(self.starts.iter()) {
            let list = chunk.batch.column(column).as_fixed_size_list();
            let values = list.values().as_primitive_opt::<arrow::datatypes::Float32Type>()?;
            parts.push(VectorPart::resident(
                start as usize,
                list.len(),
                values.values().clone(),
                list.nulls().map(|nulls| nulls.inner().clone()),
            ));
        }
        Some(VectorColumn::new(dimensions, parts))
    }

    fn empty(&self, source: Source) -> ArrayRef {
        match source {
            Source::Column(column) => arrow::array::new_empty_array(self.schema.field(column).data_type()),
            Source::Ts | Source::Row => Arc::new(UInt64Array::from(Vec::<u64>::new())),
        }
    }
}

/// The runs of a key that the table got after the rows.
fn runs_of(key: KeyMeta<'_>, positions: &[usize], chunks: &[Arc<Chunk>], starts: &[u32]) -> Result<KeyRuns> {
    let mut runs = KeyRuns::default();
    for (chunk, &start) in chunks.iter().zip(starts) {
        let hashes = key_hashes(key, &chunk.batch, positions)?;
        runs.append(hashes.into_iter().zip(start..).filter_map(placed));
    }
    Ok(runs)
}

/// What a segment stores per row: a table column or one of the two hidden ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Column(usize),
    Ts,
    Row,
}

impl Chunk {
    fn array(&self, source: Source) -> ArrayRef {
        match source {
            Source::Column(column) => Arc::clone(self.batch.column(column)),
            Source::Ts => Arc::new(self.ts.clone()),
            Source::Row => Arc::new(self.rows.clone()),
        }
    }
}

fn chunk_bytes(chunk: &Chunk) -> usize {
    // Slices of a larger batch count only what they show; the rest is freed with its other owners.
    let columns = chunk.batch.columns().iter();
    let shown: usize = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
    shown + chunk.len() * 16
}

/// A growing segment: one writer appends, any number of readers take `rows()`.
#[derive(Debug)]
pub struct GrowingSegment {
    rows: RwLock<GrowingRows>,
}

impl GrowingSegment {
    /// A segment without rows.
    #[must_use]
    pub fn new(id: SegmentId, table: Arc<TableMeta>) -> Self {
        Self { rows: RwLock::new(GrowingRows::new(id, table)) }
    }

    /// Adds rows committed at `ts` with row ids from `first_row`.
    ///
    /// # Errors
    /// As `GrowingRows::append`; then nothing was added.
    pub fn append(&self, batch: &RecordBatch, ts: Timestamp, first_row: RowId) -> Result<()> {
        let current = self.rows.upgradable_read();
        let mut next = current.clone();
        next.append(batch, ts, first_row)?;
        *RwLockUpgradableReadGuard::upgrade(current) = next;
        Ok(())
    }

    /// The rows at this moment; never changes afterwards. After a Seal this is the frozen form.
    #[must_use]
    pub fn rows(&self) -> GrowingRows {
        self.rows.read().clone()
    }
}

#[cfg(test)]
mod tests;
