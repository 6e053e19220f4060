//! Growing segments: immutable chunks of rows behind `Arc`, merged geometrically, with key runs beside them.
//!
//! What it is not: not durable (the log is), not aware of deletes (`DeleteSet` is kept beside it).
//!
//! Invariants: a `GrowingRows` value never changes for those who hold a clone; ordinals are given out in
//! append order and never move; timestamps and row ids ascend with the ordinal; chunks merge while
//! neighbours are of one schema version and of similar size and the result has at most `CHUNK_ROWS` rows; rows
//! keep all columns they were written with, dropped ones too, until they are stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{Field, Schema, SchemaRef};
use parking_lot::{RwLock, RwLockUpgradableReadGuard};
use proto::catalog::{KeyMeta, TableMeta};
use proto::{Oid, RowId, SegmentId, Timestamp};

use crate::error::{Error, Result};
use crate::index::VectorColumn;
use crate::keys::{KeyRuns, key_hashes, placed};

mod chunk;
pub(crate) use chunk::Source;
use chunk::{Chunk, Values};

/// Merging stops at this many rows.
pub const CHUNK_ROWS: usize = 8192;

/// The rows of a growing segment at one moment.
#[derive(Clone, Debug)]
pub struct GrowingRows {
    id: SegmentId,
    /// What the rows are read as.
    table: Arc<TableMeta>,
    schema: SchemaRef,
    /// The ids of the table's columns.
    ids: Arc<[u32]>,
    /// The newest schema version that a row was written at; 0 without rows.
    version: u64,
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
            ids: ids_of(&table),
            version: 0,
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

    /// The same rows as a segment of another number.
    #[must_use]
    pub fn renamed(&self, id: SegmentId) -> Self {
        Self { id, ..self.clone() }
    }

    /// Adds rows committed at `ts` with row ids from `first_row`; clones made before do not see them.
    ///
    /// # Errors
    /// `RowShape` when the batch does not have the table's columns, `SegmentFull` behind 2^32 - 1 rows.
    pub fn append(&mut self, batch: &RecordBatch, ts: Timestamp, first_row: RowId) -> Result<()> {
        let (ids, schema) = (Arc::clone(&self.ids), Arc::clone(&self.schema));
        self.add(self.table.schema_version, (ids, schema), batch, (ts, first_row))
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
        let ids: Arc<[u32]> = self.table.column_ids_at(schema_version).into();
        let schema = batch.schema();
        if ids.len() != schema.fields().len() {
            let reason = format!("{} columns instead of {}", schema.fields().len(), ids.len());
            return Err(self.shape(reason));
        }
        let known = |id: u32| self.table.columns.iter().find(|column| column.id == id);
        for (id, field) in ids.iter().zip(schema.fields()).filter(|_| schema_version >= self.table.rewritten)
        {
            if known(*id).is_some_and(|column| column.ty.data_type() != *field.data_type()) {
                return Err(self.shape(format!("column {id} of type {}", field.data_type())));
            }
        }
        let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
        self.add(schema_version, (ids, schema), batch, (ts, first_row))
    }

    fn shape(&self, reason: String) -> Error {
        Error::RowShape { table: self.table.name.clone(), reason }
    }

    /// The same rows as another version of the table, later or earlier.
    ///
    /// # Errors
    /// When the rows of a key that the table had not before cannot be read.
    pub fn with_table(&self, table: Arc<TableMeta>) -> Result<Self> {
        let is_kept = self.table.rewritten == table.rewritten;
        let mut rows = Self {
            schema: table.stored_schema(),
            ids: ids_of(&table),
            table,
            keys: Arc::default(),
            ..self.clone()
        };
        let mut keys = BTreeMap::new();
        for key in rows.table.keys() {
            let runs = match self.keys.get(&key.index_oid).filter(|_| is_kept) {
                Some(known) => known.clone(),
                None => rows.runs_of(key)?,
            };
            keys.insert(key.index_oid, runs);
        }
        rows.keys = Arc::new(keys);
        Ok(rows)
    }

    fn add(
        &mut self,
        version: u64,
        (ids, schema): (Arc<[u32]>, SchemaRef),
        batch: &RecordBatch,
        (ts, first_row): (Timestamp, RowId),
    ) -> Result<()> {
        let count = batch.num_rows();
        if count == 0 {
            return Ok(());
        }
        let first = u32::try_from(self.rows).map_err(|_| Error::SegmentFull(self.id))?;
        if u32::try_from(self.rows + count).is_err() {
            return Err(Error::SegmentFull(self.id));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &options)
            .map_err(|error| self.shape(error.to_string()))?;
        let chunk = Chunk {
            version,
            ids,
            batch,
            ts: UInt64Array::from_value(ts.0, count),
            rows: (first_row.0..first_row.0 + count as u64).collect::<Vec<_>>().into(),
        };
        let mut hashes = Vec::new();
        for key in self.table.keys() {
            hashes.push((key.index_oid, self.hashes(key, &chunk)?));
        }
        for (key, hashes) in hashes {
            let runs = Arc::make_mut(&mut self.keys).entry(key).or_default();
            runs.append(hashes.into_iter().zip(first..).filter_map(placed));
        }
        self.push_chunk(chunk, first)?;
        self.rows += count;
        self.version = self.version.max(version);
        self.min_ts = self.min_ts.min(ts);
        self.max_ts = self.max_ts.max(ts);
        Ok(())
    }

    /// The hashes of a key in the rows of a chunk; none in rows that ended when the table was written anew.
    fn hashes(&self, key: KeyMeta<'_>, chunk: &Chunk) -> Result<Vec<Option<u64>>> {
        if chunk.version < self.table.rewritten {
            return Ok(Vec::new());
        }
        let positions = self.table.positions(key.columns);
        let schema = Arc::new(self.schema.project(&positions)?);
        let columns =
            positions.iter().map(|at| chunk.range(&self.table, Source::Column(*at), 0, chunk.len()));
        let batch = RecordBatch::try_new(schema, columns.collect::<Result<_>>()?)?;
        key_hashes(key, &batch, &(0..positions.len()).collect::<Vec<_>>())
    }

    /// The runs of a key that the table got after the rows.
    fn runs_of(&self, key: KeyMeta<'_>) -> Result<KeyRuns> {
        let mut runs = KeyRuns::default();
        for (chunk, &start) in self.chunks.iter().zip(self.starts.iter()) {
            runs.append(self.hashes(key, chunk)?.into_iter().zip(start..).filter_map(placed));
        }
        Ok(runs)
    }

    /// Adds a chunk, merged with as many of its neighbours as are of similar size, in one copy.
    fn push_chunk(&mut self, chunk: Chunk, first: u32) -> Result<()> {
        let chunks = Arc::make_mut(&mut self.chunks);
        let starts = Arc::make_mut(&mut self.starts);
        let mut sum = chunk.len();
        let mut keep = chunks.len();
        while keep > 0 {
            let previous = chunks[keep - 1].len();
            let is_other = chunks[keep - 1].version != chunk.version;
            if is_other || previous > sum * 2 || previous + sum > CHUNK_ROWS {
                break;
            }
            sum += previous;
            keep -= 1;
        }
        if keep == chunks.len() {
            self.bytes += chunk.bytes();
            starts.push(first);
            chunks.push(Arc::new(chunk));
            return Ok(());
        }
        let tail: Vec<&Chunk> = chunks[keep..].iter().map(Arc::as_ref).chain([&chunk]).collect();
        let merged = Chunk::join(&tail)?;
        let freed: usize = chunks[keep..].iter().map(|chunk| chunk.bytes()).sum();
        self.bytes = self.bytes - freed + merged.bytes();
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

    /// The table the rows are read as.
    #[must_use]
    pub const fn table(&self) -> &Arc<TableMeta> {
        &self.table
    }

    /// The Arrow schema of the table's columns.
    #[must_use]
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The newest schema version that a row was written at; 0 without rows.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether all rows ended when the table was written anew.
    #[must_use]
    pub fn is_of_former(&self) -> bool {
        self.rows > 0 && self.version < self.table.rewritten
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
    pub(crate) fn pieces(&self, source: Source) -> Result<Vec<ArrayRef>> {
        self.chunks.iter().map(|chunk| chunk.range(&self.table, source, 0, chunk.len())).collect()
    }

    /// Rows `start..start + len` of one source; a range inside one chunk is not copied.
    pub(crate) fn range(&self, source: Source, start: usize, len: usize) -> Result<ArrayRef> {
        let (mut chunk, mut at) = if len == 0 { (0, 0) } else { self.locate(start as u32) };
        let mut pieces: Vec<ArrayRef> = Vec::new();
        let mut left = len;
        while left > 0 {
            let piece = left.min(self.chunks[chunk].len() - at);
            pieces.push(self.chunks[chunk].range(&self.table, source, at, piece)?);
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
            let gather = |&source: &Source| match self.chunks[first].values(&self.table, source)? {
                Values::Rows(array) => Ok(take(array.as_ref(), &indices, None)?),
                Values::Every(value) => Ok(take(&value, &UInt32Array::from_value(0, indices.len()), None)?),
            };
            return sources.iter().map(gather).collect();
        }
        let gather = |&source: &Source| {
            let mut arrays = Vec::with_capacity(self.chunks.len());
            let mut places = places.clone();
            for (position, chunk) in self.chunks.iter().enumerate() {
                arrays.push(match chunk.values(&self.table, source)? {
                    Values::Rows(array) => array,
                    Values::Every(value) => {
                        places.iter_mut().filter(|place| place.0 == position).for_each(|place| place.1 = 0);
                        value
                    }
                });
            }
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            Ok(interleave(&arrays, &places)?)
        };
        sources.iter().map(gather).collect()
    }

    /// The vectors of a `vector(n)` column.
    pub(crate) fn vectors(&self, column: usize) -> Result<Option<VectorColumn>> {
        let Some(dimensions) = self.table.columns.get(column).and_then(|column| column.ty.dimensions())
        else {
            return Ok(None);
        };
        let mut parts = Vec::with_capacity(self.chunks.len());
        for (chunk, &start) in self.chunks.iter().zip(self.starts.iter()) {
            let Some(part) = chunk.vectors(&self.table, column, start as usize)? else { return Ok(None) };
            parts.push(part);
        }
        Ok(Some(VectorColumn::new(dimensions, parts)))
    }

    fn empty(&self, source: Source) -> ArrayRef {
        match source {
            Source::Column(column) => arrow::array::new_empty_array(self.schema.field(column).data_type()),
            Source::Ts | Source::Row => Arc::new(UInt64Array::from(Vec::<u64>::new())),
        }
    }
}

fn ids_of(table: &TableMeta) -> Arc<[u32]> {
    table.columns.iter().map(|column| column.id).collect()
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
