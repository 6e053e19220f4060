//! From rows to the bytes of a sealed segment's objects. A pure function: nothing is stored here.
//!
//! Object keys are `<database>/<table>/<partition>/<segment>/<epoch>-<n>-<kind>`; `n` counts attempts within the
//! epoch, so that a retry never meets an earlier attempt's objects.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Schema,
    SchemaRef, TimestampMicrosecondType,
};
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use proto::catalog::{IndexMeta, KeyMeta, TableMeta};
use proto::{Epoch, RowId, SegmentId, Timestamp};

use crate::deletes::DeleteSet;
use crate::error::Result;
use crate::format::manifest::{ObjectEntry, ObjectKind, SegmentFiles};
use crate::format::{deletes_object, key_file, scalars, vector_file};
use crate::growing::{GrowingRows, Source};
use crate::index::build::{self, LeftOut, Report};
use crate::keys::KeyRuns;
use crate::sealed::SealedSegment;
use crate::store::put_new;
use crate::view::ScalarBound;

/// Texts longer than this are not kept as bounds.
const LONGEST_BOUND: usize = 64;

/// The bytes of one object and what the manifest says about it.
#[derive(Clone, Debug)]
pub struct NewObject {
    pub entry: ObjectEntry,
    pub bytes: Bytes,
}

impl NewObject {
    fn new(
        table: &TableMeta,
        segment: SegmentId,
        epoch: Epoch,
        n: u64,
        kind: ObjectKind,
        bytes: Bytes,
    ) -> Self {
        let key = object_key(table, segment, epoch, n, kind);
        let (length, checksum) = (bytes.len() as u64, crc32c::crc32c(&bytes));
        Self { entry: ObjectEntry { kind, key, length, checksum }, bytes }
    }
}

/// The key of a segment's object. Tables have one partition, number 0, until they can be partitioned.
#[must_use]
pub fn object_key(table: &TableMeta, segment: SegmentId, epoch: Epoch, n: u64, kind: ObjectKind) -> Path {
    Path::from(format!("{}/{}/0/{segment}/{epoch}-{n}-{}", table.database, table.id, kind.suffix()))
}

/// Rows in the order of their ordinals, as objects are made from them.
pub(crate) trait StoredRows {
    fn id(&self) -> SegmentId;
    /// The table as the rows are written.
    fn table(&self) -> &Arc<TableMeta>;
    fn schema(&self) -> &SchemaRef;
    fn rows(&self) -> usize;
    /// One source, piece by piece; every source has the same pieces.
    fn pieces(&self, source: Source) -> Result<Vec<ArrayRef>>;
    /// (hash of a key, ordinal) of the rows that are in it, ascending.
    fn key_pairs(&self, key: KeyMeta<'_>) -> Result<Vec<(u64, u32)>>;
    fn identity(&self, ordinal: u32) -> (Timestamp, RowId);
}

impl StoredRows for GrowingRows {
    fn id(&self) -> SegmentId {
        Self::id(self)
    }

    fn table(&self) -> &Arc<TableMeta> {
        Self::table(self)
    }

    fn schema(&self) -> &SchemaRef {
        Self::schema(self)
    }

    fn rows(&self) -> usize {
        Self::rows(self)
    }

    fn pieces(&self, source: Source) -> Result<Vec<ArrayRef>> {
        Self::pieces(self, source)
    }

    fn key_pairs(&self, key: KeyMeta<'_>) -> Result<Vec<(u64, u32)>> {
        Ok(self.keys(key.index_oid).map_or_else(Vec::new, KeyRuns::sorted))
    }

    fn identity(&self, ordinal: u32) -> (Timestamp, RowId) {
        Self::identity(self, ordinal)
    }
}

/// The objects of a segment, and the entry for the manifest once they are stored. Deletes known so far become a
/// deletes object.
///
/// # Errors
/// When the columns cannot be encoded; a defect of ours.
pub fn write_segment(
    rows: &GrowingRows,
    deletes: &DeleteSet,
    epoch: Epoch,
    n: u64,
) -> Result<(SegmentFiles, Vec<NewObject>)> {
    let (mut files, mut objects) = write_rows(rows, epoch, n)?;
    if !deletes.is_empty() {
        let object = write_deletes(rows.table(), rows.id(), rows.rows(), deletes, epoch, n);
        files.objects.push(object.entry.clone());
        objects.push(object);
    }
    Ok((files, objects))
}

/// The objects that hold a segment's rows.
pub(crate) fn write_rows(
    rows: &dyn StoredRows,
    epoch: Epoch,
    n: u64,
) -> Result<(SegmentFiles, Vec<NewObject>)> {
    let (table, segment) = (rows.table(), rows.id());
    let object = |kind, bytes| NewObject::new(table, segment, epoch, n, kind, bytes);
    let mut objects = Vec::new();
    let mut scalar_positions = Vec::new();
    let mut bounds = Vec::new();
    for (position, column) in table.columns.iter().enumerate() {
        let pieces = rows.pieces(Source::Column(position))?;
        if let Some(dimensions) = column.ty.dimensions() {
            let bytes = vector_file::encode(segment, column.id, dimensions, &pieces);
            objects.push(object(ObjectKind::Vectors(column.id), bytes));
        } else {
            scalar_positions.push(position);
            bounds.extend(bounds_of(&pieces).map(|(low, high)| (column.id, low, high)));
        }
    }
    objects.push(object(ObjectKind::Scalars, write_scalars(rows, &scalar_positions)?));
    for key in table.keys() {
        let bytes = key_file::encode(segment, rows.rows(), &rows.key_pairs(key)?);
        objects.push(object(ObjectKind::of_key(key), bytes));
    }
    let [first, last] = match rows.rows() as u32 {
        0 => [(Timestamp::MAX, RowId(0)), (Timestamp::ZERO, RowId(0))],
        count => [rows.identity(0), rows.identity(count - 1)],
    };
    let files = SegmentFiles {
        segment,
        rows: rows.rows() as u64,
        schema_version: table.schema_version,
        min_ts: first.0,
        max_ts: last.0,
        min_row: first.1,
        max_row: last.1,
        objects: objects.iter().map(|object| object.entry.clone()).collect(),
        bounds,
        began: None,
    };
    Ok((files, objects))
}

/// A newer deletes object of a sealed segment with `rows` row versions.
#[must_use]
pub fn write_deletes(
    table: &TableMeta,
    segment: SegmentId,
    rows: usize,
    deletes: &DeleteSet,
    epoch: Epoch,
    n: u64,
) -> NewObject {
    let bytes = deletes_object::encode(segment, rows, deletes);
    NewObject::new(table, segment, epoch, n, ObjectKind::Deletes, bytes)
}

/// An index file over the stored vectors of a segment, without the rows that have ended when they are many.
///
/// # Errors
/// As `index::build::build`.
pub fn write_index(
    segment: &SealedSegment,
    deletes: &DeleteSet,
    meta: &IndexMeta,
    (epoch, n): (Epoch, u64),
    threads: usize,
    report: Report<'_>,
) -> Result<NewObject> {
    let column = segment.index_column(meta)?;
    let (rows, left_out) = (segment.rows(), LeftOut::of(deletes, segment.rows()));
    let bytes = build::build(meta, segment.id(), rows, &column, left_out.as_ref(), threads, report)?;
    let kind = ObjectKind::Index(meta.oid.0);
    Ok(NewObject::new(segment.table(), segment.id(), epoch, n, kind, bytes))
}

/// Stores objects; durable when it returns. Repeating it after a failure is safe.
///
/// # Errors
/// `Store` naming the object that failed.
pub async fn store_objects(store: &dyn ObjectStore, objects: &[NewObject]) -> Result<()> {
    for object in objects {
        put_new(store, &object.entry.key, object.bytes.clone()).await?;
    }
    Ok(())
}

fn write_scalars(rows: &dyn StoredRows, positions: &[usize]) -> Result<Bytes> {
    let table = rows.table();
    let ids: Vec<u32> = positions.iter().map(|position| table.columns[*position].id).collect();
    let mut fields: Vec<FieldRef> = Vec::with_capacity(positions.len() + 2);
    for position in positions {
        let field = rows.schema().field(*position).clone();
        // A user column may be called like a hidden one, or like one that was dropped and is kept; in the file the
        // name only informs.
        let is_taken = |known: &FieldRef| known.name() == field.name();
        let clashes =
            field.name() == scalars::TS || field.name() == scalars::ROW || fields.iter().any(is_taken);
        let name = if clashes { format!("{}#{}", field.name(), position) } else { field.name().clone() };
        fields.push(Arc::new(field.with_name(name)));
    }
    for hidden in [scalars::TS, scalars::ROW] {
        fields.push(Arc::new(Field::new(hidden, DataType::UInt64, false)));
    }
    let schema = Arc::new(Schema::new(fields));
    let sources: Vec<Source> =
        positions.iter().map(|position| Source::Column(*position)).chain([Source::Ts, Source::Row]).collect();
    let columns: Vec<Vec<ArrayRef>> =
        sources.iter().map(|source| rows.pieces(*source)).collect::<Result<_>>()?;
    let pieces = columns.first().map_or(0, Vec::len);
    let mut batches = Vec::with_capacity(pieces);
    for piece in 0..pieces {
        let arrays = columns.iter().map(|column| ArrayRef::clone(&column[piece])).collect();
        batches.push(RecordBatch::try_new(Arc::clone(&schema), arrays)?);
    }
    scalars::encode(rows.id(), &ids, &schema, &batches)
}

/// Bounds over all pieces; none when all values are NULL, a float is NaN, or a text is long.
fn bounds_of(pieces: &[ArrayRef]) -> Option<(ScalarBound, ScalarBound)> {
    let mut whole: Option<(ScalarBound, ScalarBound)> = None;
    for piece in pieces.iter().filter(|piece| piece.null_count() < piece.len()) {
        let (low, high) = piece_bounds(piece)?;
        whole = Some(match whole {
            None => (low, high),
            Some((known_low, known_high)) => (lower(known_low, low), higher(known_high, high)),
        });
    }
    whole
}

fn lower(left: ScalarBound, right: ScalarBound) -> ScalarBound {
    if right.less_than(&left) { right } else { left }
}

fn higher(left: ScalarBound, right: ScalarBound) -> ScalarBound {
    if left.less_than(&right) { right } else { left }
}

fn piece_bounds(array: &ArrayRef) -> Option<(ScalarBound, ScalarBound)> {
    macro_rules! ints {
        ($ty:ty) => {{
            let values = array.as_primitive_opt::<$ty>()?;
            let bound = |value| ScalarBound::Int(i64::from(value));
            Some((bound(min(values)?), bound(max(values)?)))
        }};
    }
    macro_rules! floats {
        ($ty:ty) => {{
            let values = array.as_primitive_opt::<$ty>()?;
            let (low, high) = (f64::from(min(values)?), f64::from(max(values)?));
            // Arrow orders NaN last, or first with the sign bit set, so a NaN would be one of the two.
            (!low.is_nan() && !high.is_nan()).then_some((ScalarBound::Float(low), ScalarBound::Float(high)))
        }};
    }
    match array.data_type() {
        DataType::Int16 => ints!(Int16Type),
        DataType::Int32 => ints!(Int32Type),
        DataType::Int64 => ints!(Int64Type),
        DataType::Date32 => ints!(Date32Type),
        DataType::Timestamp(_, _) => ints!(TimestampMicrosecondType),
        DataType::Float32 => floats!(Float32Type),
        DataType::Float64 => floats!(Float64Type),
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            let (low, high) = (min_string(values)?, max_string(values)?);
            let short = low.len() <= LONGEST_BOUND && high.len() <= LONGEST_BOUND;
            short.then(|| (ScalarBound::Text(low.to_owned()), ScalarBound::Text(high.to_owned())))
        }
        _ => None,
    }
}
