//! Sealed segments: rows served from their stored objects.
//!
//! Opening maps (or reads) every object, checks envelopes, and decodes commit timestamps and row ids. Vectors stay
//! where they are and reach the exact scan without a copy; scalar columns decode once, at first use, into
//! Arrow arrays that stay.
//!
//! What it is not: no deletes (`DeleteSet` is kept beside it), no cache eviction yet.
//!
//! Invariants: after `open` nothing awaits, because the bytes of every object are at hand; columns that the table has
//! dropped since are open too, for those who read it as it was.

use std::sync::{Arc, OnceLock, Weak};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{Float32Type, Schema, SchemaRef};
use object_store::ObjectStore;
use parking_lot::Mutex;
use proto::catalog::{IndexMeta, TableMeta};
use proto::{Oid, RowId, SegmentId, Timestamp};

use crate::bitmap;
use crate::deletes::DeleteSet;
use crate::error::{Error, Result};
use crate::format::key_file::KeyFile;
use crate::format::manifest::{ObjectEntry, ObjectKind, SegmentFiles};
use crate::format::scalars::Scalars;
use crate::format::vector_file::VectorFile;
use crate::format::{complete_since, deletes_object};
use crate::growing::Source;
use crate::index::{SegmentIndex, VectorColumn, VectorPart, build};
use crate::keys::{KeyRuns, key_hashes, placed};
use crate::store::{ObjectBytes, read_object};
use crate::view::{ScalarBound, SegmentForm, SegmentState};

#[derive(Debug)]
enum SealedColumn {
    Vectors(VectorFile),
    /// A column of the scalars object; the array once decoded.
    Scalar {
        position: usize,
        array: OnceLock<ArrayRef>,
    },
    /// Added to the table after the segment was written: the column's missing value in every row, once made.
    Absent(OnceLock<ArrayRef>),
    /// All rows ended when the table was written anew: NULLs stand in for them.
    Ended,
    /// Its file cannot be opened: whoever reads the column is told why.
    Unopened(Error),
}

/// How the rows of a key are found.
#[derive(Clone, Debug)]
enum SealedKey {
    File(Arc<KeyFile>),
    /// The key came after the segment was written: its hashes are made from the columns at first use.
    Made(Arc<OnceLock<KeyRuns>>),
    /// All rows ended when the table was written anew, and nobody looks for them.
    Ended,
    /// Its file cannot be opened: whoever looks for a row by the key is told why.
    Unopened(Arc<Error>),
}

/// What becomes of a segment whose vector or key file is missing, damaged or of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unopened {
    Refused,
    Carried,
}

/// How often a file is asked for before it is carried as one that cannot be opened: a store that has answered wrongly once
/// must not be believed until the next start.
const TRIES: usize = 5;

impl Unopened {
    /// Opens a file, as often as it takes to believe the outcome.
    async fn open<T>(
        self,
        store: &dyn ObjectStore,
        entry: &ObjectEntry,
        open: impl Fn(ObjectBytes) -> Result<T>,
    ) -> Result<T> {
        let mut tries = if self == Self::Carried { TRIES } else { 1 };
        loop {
            tries -= 1;
            match fetch(store, entry).await.and_then(&open) {
                Err(error) if tries > 0 && error.as_damage().is_some() => {}
                outcome => return outcome,
            }
        }
    }

    /// What to carry, or the failure.
    fn settle<T>(self, result: Result<T>, carry: impl FnOnce(Error) -> T) -> Result<T> {
        match result {
            Err(error) if self == Self::Carried && error.as_damage().is_some() => Ok(carry(error)),
            other => other,
        }
    }
}

/// The error that an unopened file left.
fn unopened(error: &Error) -> Error {
    error.as_damage().unwrap_or_else(|| Error::corrupted("a segment's file", error.to_string()))
}

/// An open sealed segment. A clone shares everything but the list of indexes.
#[derive(Clone, Debug)]
pub struct SealedSegment {
    files: SegmentFiles,
    table: Arc<TableMeta>,
    schema: SchemaRef,
    rows: usize,
    ts: UInt64Array,
    row_ids: UInt64Array,
    scalars: Arc<Scalars>,
    /// All columns that the files have, by id.
    held: Arc<Vec<(u32, Arc<SealedColumn>)>>,
    /// Those of the table.
    columns: Vec<Arc<SealedColumn>>,
    keys: Vec<(Oid, SealedKey)>,
    indexes: Vec<Arc<SegmentIndex>>,
    /// Held while a column decodes, so that two readers do not decode it twice.
    decoding: Arc<Mutex<()>>,
}

/// Says whether a segment is still held; holds nothing itself.
#[derive(Clone, Debug)]
pub struct SegmentHold(Weak<Scalars>);

impl SegmentHold {
    /// Whether a reader still has the segment.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl SealedSegment {
    /// Opens a segment's objects as columns of `table`, which may be newer or older than the segment.
    ///
    /// # Errors
    /// `Missing` or `Corrupted` naming the object.
    pub async fn open(
        store: &dyn ObjectStore,
        table: Arc<TableMeta>,
        files: SegmentFiles,
    ) -> Result<Arc<Self>> {
        Self::open_files(store, table, files, Unopened::Refused).await
    }

    async fn open_files(
        store: &dyn ObjectStore,
        table: Arc<TableMeta>,
        files: SegmentFiles,
        unopened: Unopened,
    ) -> Result<Arc<Self>> {
        let segment = files.segment;
        let rows = u32::try_from(files.rows).map_err(|_| Error::SegmentFull(segment))? as usize;
        let entry = required(&files, ObjectKind::Scalars)?;
        let scalars = Scalars::open(fetch(store, entry).await?, entry.checksum, segment, rows)?;
        let (ts, row_ids) = identities(&scalars, &files)?;
        let ended = files.schema_version < table.rewritten;
        let mut held: Vec<(u32, Arc<SealedColumn>)> = Vec::new();
        for (position, id) in scalars.column_ids().iter().enumerate() {
            held.push((*id, Arc::new(SealedColumn::Scalar { position, array: OnceLock::new() })));
        }
        for entry in &files.objects {
            let ObjectKind::Vectors(id) = entry.kind else { continue };
            let column = table.columns.iter().find(|column| column.id == id && !ended);
            let expected = column.and_then(|column| column.ty.dimensions());
            let open = |bytes| VectorFile::open(bytes, segment, rows, expected);
            let file = unopened.open(store, entry, open).await;
            let column = unopened.settle(file.map(SealedColumn::Vectors), SealedColumn::Unopened)?;
            held.push((id, Arc::new(column)));
        }
        let columns = columns_of(&held, &table, ended);
        let mut keys = Vec::new();
        for key in table.keys() {
            let kind = ObjectKind::of_key(key);
            let found = match files.object(kind) {
                _ if ended => SealedKey::Ended,
                None if !key.is_primary => SealedKey::Made(Arc::default()),
                _ => {
                    let open = |bytes| KeyFile::open(bytes, segment, rows);
                    let file = unopened.open(store, required(&files, kind)?, open).await;
                    let file = file.map(|file| SealedKey::File(Arc::new(file)));
                    unopened.settle(file, |error| SealedKey::Unopened(Arc::new(error)))?
                }
            };
            keys.push((key.index_oid, found));
        }
        let (schema, scalars, decoding) = (table.stored_schema(), Arc::new(scalars), Arc::default());
        let (indexes, held) = (Vec::new(), Arc::new(held));
        let mut segment =
            Self { files, table, schema, rows, ts, row_ids, scalars, held, columns, keys, indexes, decoding };
        for entry in &segment.files.objects {
            if let ObjectKind::Index(oid) = entry.kind
                && let Some(meta) = segment.table.index(Oid(oid))
            {
                let index = segment.open_index(store, meta, entry).await;
                segment.indexes.push(Arc::new(index));
            }
        }
        Ok(Arc::new(segment))
    }

    /// An index from its file. One that cannot be opened is carried with the reason: the segment answers without it.
    async fn open_index(
        &self,
        store: &dyn ObjectStore,
        meta: &IndexMeta,
        entry: &ObjectEntry,
    ) -> SegmentIndex {
        let opened = match fetch(store, entry).await {
            Ok(bytes) => {
                self.index_column(meta).and_then(|column| build::open(meta, bytes, self.id(), column))
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok((index, complete_since)) => SegmentIndex::ready(meta.oid, index, complete_since),
            Err(error) => SegmentIndex::failed(meta.oid, error.to_string()),
        }
    }

    /// The vectors that an index of the table is about, also when their rows ended when the table was written anew.
    ///
    /// # Errors
    /// When the column is gone or has no fixed dimensions; a defect of ours.
    pub fn index_column(&self, meta: &IndexMeta) -> Result<VectorColumn> {
        let held = self.held.iter().find(|(id, _)| *id == meta.column);
        if let Some(SealedColumn::Vectors(file)) = held.map(|(_, column)| column.as_ref()) {
            return Ok(file.column());
        }
        let position = self.table.columns.iter().position(|column| column.id == meta.column);
        let column = position.map(|position| self.vectors(position)).transpose()?.flatten();
        column.ok_or_else(|| Error::OutOfRange {
            segment: self.id(),
            what: format!("vectors for index \"{}\"", meta.name),
        })
    }

    /// This segment with an index more, or with another file for one it has.
    pub async fn with_index(
        &self,
        store: &dyn ObjectStore,
        meta: &IndexMeta,
        entry: &ObjectEntry,
    ) -> Arc<Self> {
        let mut segment = self.without_index(meta.oid);
        segment.files.objects.push(entry.clone());
        segment.indexes.push(Arc::new(self.open_index(store, meta, entry).await));
        Arc::new(segment)
    }

    /// This segment without an index.
    #[must_use]
    pub fn without_index(&self, oid: Oid) -> Self {
        let mut segment = self.clone();
        segment.files.objects.retain(|object| object.kind != ObjectKind::Index(oid.0));
        segment.indexes.retain(|index| index.oid() != oid);
        segment
    }

    /// The indexes, in no particular order.
    #[must_use]
    pub fn indexes(&self) -> &[Arc<SegmentIndex>] {
        &self.indexes
    }

    /// An index by its OID.
    #[must_use]
    pub fn index(&self, oid: Oid) -> Option<&Arc<SegmentIndex>> {
        self.indexes.iter().find(|index| index.oid() == oid)
    }

    /// The same segment read as a later version of the table; nothing is opened anew.
    #[must_use]
    pub fn with_table(&self, table: Arc<TableMeta>) -> Arc<Self> {
        let ended = self.files.schema_version < table.rewritten;
        let mut segment = self.clone();
        segment.schema = table.stored_schema();
        segment.columns = columns_of(&self.held, &table, ended);
        let known_key = |oid: Oid| self.keys.iter().find(|(known, _)| *known == oid);
        segment.keys = table
            .keys()
            .map(|key| match known_key(key.index_oid) {
                _ if ended => (key.index_oid, SealedKey::Ended),
                Some((oid, known)) if !matches!(known, SealedKey::Ended) => (*oid, known.clone()),
                _ => (key.index_oid, SealedKey::Made(Arc::default())),
            })
            .collect();
        segment.indexes.retain(|index| table.index(index.oid()).is_some());
        segment.table = table;
        Arc::new(segment)
    }

    /// The same rows as of a commit: all begin at `ts`, with ids from `first`, in a segment called `id`.
    #[must_use]
    pub fn beginning(&self, id: SegmentId, ts: Timestamp, first: RowId) -> Arc<Self> {
        let mut segment = self.clone();
        segment.files = segment.files.beginning(ts, first);
        segment.files.segment = id;
        (segment.ts, segment.row_ids) = began_together(self.rows, ts, first);
        Arc::new(segment)
    }

    /// Opens a segment and the deletes its files know.
    ///
    /// # Errors
    /// As `open`.
    pub async fn open_state(
        store: &dyn ObjectStore,
        table: Arc<TableMeta>,
        files: SegmentFiles,
    ) -> Result<SegmentState> {
        let deletes = read_deletes(store, &files).await?;
        let form = SegmentForm::Sealed(Self::open(store, table, files).await?);
        Ok(SegmentState { form, deletes })
    }

    /// As `open_state`, of a segment that is served as far as it can be: a vector or key file that is missing, damaged or
    /// of a later version makes what is read from it an error that names it, and nothing else.
    ///
    /// # Errors
    /// As `open`, of the scalars and the deletes, without which nobody knows which rows there are.
    pub async fn open_state_to_serve(
        store: &dyn ObjectStore,
        table: Arc<TableMeta>,
        files: SegmentFiles,
    ) -> Result<SegmentState> {
        let deletes = read_deletes(store, &files).await?;
        let opened = Self::open_files(store, table, files, Unopened::Carried).await?;
        Ok(SegmentState { form: SegmentForm::Sealed(opened), deletes })
    }

    /// The segment's identity.
    #[must_use]
    pub const fn id(&self) -> SegmentId {
        self.files.segment
    }

    /// The table the segment is read as.
    #[must_use]
    pub const fn table(&self) -> &Arc<TableMeta> {
        &self.table
    }

    /// The Arrow schema of the table's columns.
    #[must_use]
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The objects behind the segment.
    #[must_use]
    pub const fn files(&self) -> &SegmentFiles {
        &self.files
    }

    /// Number of row versions.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Commit timestamp and row id of a row; the ordinal must be below `rows()`.
    #[must_use]
    pub fn identity(&self, ordinal: u32) -> (Timestamp, RowId) {
        (Timestamp(self.ts.value(ordinal as usize)), RowId(self.row_ids.value(ordinal as usize)))
    }

    /// The ordinal of a row by its id; row ids ascend with the ordinal.
    #[must_use]
    pub fn ordinal_of(&self, row: RowId) -> Option<u32> {
        self.row_ids.values().binary_search(&row.0).ok().map(|ordinal| ordinal as u32)
    }

    /// What stays alive as long as anybody holds the segment in any form.
    #[must_use]
    pub fn hold(&self) -> SegmentHold {
        SegmentHold(Arc::downgrade(&self.scalars))
    }

    /// Bytes of the objects that hold the rows, indexes and deletes not counted.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        let rows = |entry: &&ObjectEntry| !matches!(entry.kind, ObjectKind::Deletes | ObjectKind::Index(_));
        self.files.objects.iter().filter(rows).map(|entry| entry.length).sum()
    }

    /// Bytes of memory held: identities and decoded columns, not mapped pages.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let absent = self.columns.iter().filter(|column| matches!(column.as_ref(), SealedColumn::Absent(_)));
        let held = self.held.iter().map(|(_, column)| column);
        let decoded = held.chain(absent).filter_map(|column| match column.as_ref() {
            SealedColumn::Scalar { array, .. } | SealedColumn::Absent(array) => {
                array.get().map(|array| array.get_buffer_memory_size())
            }
            SealedColumn::Vectors(_) | SealedColumn::Ended | SealedColumn::Unopened(_) => None,
        });
        let keys = self.keys.iter().filter_map(|(_, key)| match key {
            SealedKey::Made(runs) => runs.get().map(KeyRuns::memory_bytes),
            SealedKey::File(_) | SealedKey::Ended | SealedKey::Unopened(_) => None,
        });
        self.rows * 16 + decoded.sum::<usize>() + keys.sum::<usize>()
    }

    /// Bounds of a column over all row versions.
    #[must_use]
    pub fn column_bounds(&self, column: usize) -> Option<(ScalarBound, ScalarBound)> {
        if matches!(self.columns.get(column)?.as_ref(), SealedColumn::Ended) {
            return None;
        }
        let id = self.table.columns.get(column)?.id;
        let (_, low, high) = self.files.bounds.iter().find(|bounds| bounds.0 == id)?;
        Some((low.clone(), high.clone()))
    }

    /// Decodes a scalar column now rather than at first use.
    ///
    /// # Errors
    /// `Corrupted` when it cannot be decoded.
    pub fn decode(&self, column: usize) -> Result<()> {
        if let Some(SealedColumn::Scalar { .. }) = self.columns.get(column).map(Arc::as_ref) {
            self.scalar(column)?;
        }
        Ok(())
    }

    pub(crate) fn key_candidates(&self, key: Oid, hash: u64, ordinals: &mut Vec<u32>) -> Result<()> {
        match self.keys.iter().find(|(known, _)| *known == key) {
            Some((_, SealedKey::File(file))) => file.candidates(hash, ordinals),
            Some((_, SealedKey::Made(runs))) => {
                self.made_key(key, runs)?.candidates(hash, ordinals);
                Ok(())
            }
            Some((_, SealedKey::Unopened(error))) => Err(unopened(error)),
            Some((_, SealedKey::Ended)) | None => Ok(()),
        }
    }

    /// The hashes of a key that has no file.
    fn made_key<'a>(&self, key: Oid, runs: &'a OnceLock<KeyRuns>) -> Result<&'a KeyRuns> {
        if let Some(runs) = runs.get() {
            return Ok(runs);
        }
        let mut made = KeyRuns::default();
        if let Some(key) = self.table.key(key) {
            let positions = self.table.positions(key.columns);
            let fields: Vec<_> = positions.iter().map(|at| self.schema.field(*at).clone()).collect();
            let columns = positions.iter().map(|at| self.range(Source::Column(*at), 0, self.rows));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
            let hashes = key_hashes(key, &batch, &(0..positions.len()).collect::<Vec<_>>())?;
            made.append(hashes.into_iter().zip(0..).filter_map(placed));
        }
        Ok(runs.get_or_init(|| made))
    }

    pub(crate) fn vectors(&self, column: usize) -> Result<Option<VectorColumn>> {
        match self.columns.get(column).map(Arc::as_ref) {
            Some(SealedColumn::Vectors(file)) => Ok(Some(file.column())),
            Some(SealedColumn::Unopened(error)) => Err(unopened(error)),
            Some(SealedColumn::Absent(_) | SealedColumn::Ended) => self.absent_vectors(column),
            Some(SealedColumn::Scalar { .. }) | None => Ok(None),
        }
    }

    fn absent_vectors(&self, column: usize) -> Result<Option<VectorColumn>> {
        let Some(dimensions) = self.table.columns[column].ty.dimensions() else { return Ok(None) };
        let ended = matches!(self.columns[column].as_ref(), SealedColumn::Ended);
        let part = match self.table.columns[column].missing.as_ref().filter(|_| !ended) {
            // Zero-sized rows cannot be sliced; an all-NULL column is empty parts of NULL rows.
            None => {
                let none = bitmap::from_words(vec![0; bitmap::word_count(self.rows)], self.rows);
                VectorPart::resident(0, self.rows, Vec::new().into(), Some(none))
            }
            Some(_) => {
                let vectors = self.absent(column)?;
                let values = vectors
                    .as_fixed_size_list_opt()
                    .and_then(|list| list.values().as_primitive_opt::<Float32Type>())
                    .ok_or_else(|| self.no_column(column))?;
                VectorPart::resident(0, self.rows, values.values().clone(), None)
            }
        };
        Ok(Some(VectorColumn::new(dimensions, vec![part])))
    }

    /// The missing value of a column in every row.
    fn absent(&self, column: usize) -> Result<ArrayRef> {
        let SealedColumn::Absent(array) = self.columns[column].as_ref() else {
            return Err(self.no_column(column));
        };
        if let Some(array) = array.get() {
            return Ok(Arc::clone(array));
        }
        let made = self.table.columns[column].missing_values(self.rows)?;
        Ok(Arc::clone(array.get_or_init(|| made)))
    }

    fn no_column(&self, column: usize) -> Error {
        Error::OutOfRange { segment: self.id(), what: format!("column {column}") }
    }

    pub(crate) fn max_ts(&self) -> Timestamp {
        self.files.max_ts
    }

    /// Number of rows with `ts` or less; they are the first ones.
    pub(crate) fn rows_until(&self, ts: Timestamp) -> usize {
        self.ts.values().partition_point(|row_ts| *row_ts <= ts.0)
    }

    /// The rows with a commit ts at or before `read_ts`, as words.
    pub(crate) fn begun(&self, read_ts: Timestamp) -> Vec<u64> {
        let mut words = vec![0_u64; bitmap::word_count(self.rows)];
        if self.files.min_ts <= read_ts {
            for (word, ts) in words.iter_mut().zip(self.ts.values().chunks(bitmap::WORD)) {
                for (bit, ts) in ts.iter().enumerate() {
                    *word |= u64::from(*ts <= read_ts.0) << bit;
                }
            }
        }
        words
    }

    pub(crate) fn range(&self, source: Source, start: usize, len: usize) -> Result<ArrayRef> {
        let column = match source {
            Source::Ts => return Ok(Arc::new(self.ts.slice(start, len))),
            Source::Row => return Ok(Arc::new(self.row_ids.slice(start, len))),
            Source::Column(column) => column,
        };
        let data_type = self.schema.field(column).data_type();
        match self.columns[column].as_ref() {
            SealedColumn::Vectors(file) => file.array(data_type, start, len),
            SealedColumn::Scalar { .. } => Ok(self.scalar(column)?.slice(start, len)),
            SealedColumn::Ended => Ok(new_null_array(data_type, len)),
            SealedColumn::Absent(_) if self.table.columns[column].missing.is_none() => {
                Ok(new_null_array(data_type, len))
            }
            SealedColumn::Absent(_) => Ok(self.absent(column)?.slice(start, len)),
            SealedColumn::Unopened(error) => Err(unopened(error)),
        }
    }

    pub(crate) fn rows_at(&self, sources: &[Source], ordinals: &[u32]) -> Result<Vec<ArrayRef>> {
        let indices = UInt32Array::from(ordinals.to_vec());
        let gather = |source: &Source| {
            let column = match source {
                Source::Ts => return Ok(take(&self.ts, &indices, None)?),
                Source::Row => return Ok(take(&self.row_ids, &indices, None)?),
                Source::Column(column) => *column,
            };
            let data_type = self.schema.field(column).data_type();
            match self.columns[column].as_ref() {
                SealedColumn::Vectors(file) => file.rows_at(data_type, ordinals),
                SealedColumn::Scalar { .. } => Ok(take(self.scalar(column)?.as_ref(), &indices, None)?),
                SealedColumn::Absent(_) => Ok(self.table.columns[column].missing_values(ordinals.len())?),
                SealedColumn::Ended => Ok(new_null_array(data_type, ordinals.len())),
                SealedColumn::Unopened(error) => Err(unopened(error)),
            }
        };
        sources.iter().map(gather).collect()
    }

    fn scalar(&self, column: usize) -> Result<&ArrayRef> {
        let SealedColumn::Scalar { position, array } = self.columns[column].as_ref() else {
            return Err(self.no_column(column));
        };
        if let Some(array) = array.get() {
            return Ok(array);
        }
        let guard = self.decoding.lock();
        if array.get().is_none() {
            let decoded = self.scalars.decode(*position)?;
            if decoded.data_type() != self.schema.field(column).data_type() {
                let entry = required(&self.files, ObjectKind::Scalars)?;
                let reason = format!("column {column} has type {}", decoded.data_type());
                return Err(Error::corrupted(entry.key.as_ref(), reason));
            }
            // The lock is held, so the cell is still empty.
            let _ = array.set(decoded);
        }
        drop(guard);
        array.get().ok_or_else(|| self.no_column(column))
    }
}

/// The columns of a table among those that the files have. `ended`: the rows ended when the table was written anew.
fn columns_of(held: &[(u32, Arc<SealedColumn>)], table: &TableMeta, ended: bool) -> Vec<Arc<SealedColumn>> {
    let columns = table.columns.iter().map(|column| {
        let held = held.iter().find(|(id, _)| *id == column.id);
        match (held, column.ty.dimensions()) {
            _ if ended => Arc::new(SealedColumn::Ended),
            (None, _) => Arc::new(SealedColumn::Absent(OnceLock::new())),
            (Some((_, held)), dimensions) => match held.as_ref() {
                SealedColumn::Vectors(file) if dimensions == Some(file.dimensions()) => Arc::clone(held),
                SealedColumn::Scalar { .. } if dimensions.is_none() => Arc::clone(held),
                SealedColumn::Unopened(_) if dimensions.is_some() => Arc::clone(held),
                // Rows written anew later, for a type that the table does not have yet.
                _ => Arc::new(SealedColumn::Ended),
            },
        }
    });
    columns.collect()
}

fn required(files: &SegmentFiles, kind: ObjectKind) -> Result<&ObjectEntry> {
    files
        .object(kind)
        .ok_or_else(|| Error::Missing { object: format!("{}/{}", files.segment, kind.suffix()) })
}

/// Reads an object whole and compares it with what its manifest says of it.
///
/// # Errors
/// `Missing`, `Store`, or `Corrupted` when length or checksum differ.
pub async fn verify_object(store: &dyn ObjectStore, entry: &ObjectEntry) -> Result<()> {
    let bytes = fetch(store, entry).await?;
    let found = crc32c::crc32c(bytes.buffer().as_slice());
    if found == entry.checksum {
        return Ok(());
    }
    Err(bytes.corrupted(format!("its checksum is {found:08x} instead of {:08x}", entry.checksum)))
}

/// The instant since which a segment's index is complete.
///
/// # Errors
/// `Missing` or `Corrupted` naming the object.
pub async fn read_complete_since(
    store: &dyn ObjectStore,
    meta: &IndexMeta,
    entry: &ObjectEntry,
) -> Result<Timestamp> {
    complete_since::of_index(meta, fetch(store, entry).await?)
}

/// The deletes that a segment's files know.
///
/// # Errors
/// `Missing` or `Corrupted` naming the object.
pub async fn read_deletes(store: &dyn ObjectStore, files: &SegmentFiles) -> Result<DeleteSet> {
    match files.object(ObjectKind::Deletes) {
        None => Ok(DeleteSet::new()),
        Some(entry) => deletes_object::decode(fetch(store, entry).await?, files.segment, files.rows as usize),
    }
}

/// When each row of a segment began, and its id, by ordinal.
///
/// # Errors
/// `Missing` or `Corrupted` naming the object.
pub async fn read_identities(
    store: &dyn ObjectStore,
    files: &SegmentFiles,
) -> Result<Vec<(Timestamp, RowId)>> {
    let entry = required(files, ObjectKind::Scalars)?;
    let rows = u32::try_from(files.rows).map_err(|_| Error::SegmentFull(files.segment))? as usize;
    let scalars = Scalars::open(fetch(store, entry).await?, entry.checksum, files.segment, rows)?;
    let (ts, ids) = identities(&scalars, files)?;
    let pairs = ts.values().iter().zip(ids.values());
    Ok(pairs.map(|(ts, id)| (Timestamp(*ts), RowId(*id))).collect())
}

/// Commit timestamps and row ids by ordinal.
fn identities(scalars: &Scalars, files: &SegmentFiles) -> Result<(UInt64Array, UInt64Array)> {
    match files.began {
        Some((ts, first)) => Ok(began_together(files.rows as usize, ts, first)),
        None => scalars.identities().map(|(ts, ids)| (ts.into(), ids.into())),
    }
}

fn began_together(rows: usize, ts: Timestamp, first: RowId) -> (UInt64Array, UInt64Array) {
    (UInt64Array::from_value(ts.0, rows), (first.0..first.0 + rows as u64).collect::<Vec<_>>().into())
}

/// The bytes of an object, of the length its manifest names.
async fn fetch(store: &dyn ObjectStore, entry: &ObjectEntry) -> Result<ObjectBytes> {
    let bytes = read_object(store, &entry.key).await?;
    if bytes.buffer().len() as u64 != entry.length {
        let reason = format!("it has {} bytes instead of {}", bytes.buffer().len(), entry.length);
        return Err(bytes.corrupted(reason));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
