//! The protobuf messages of a manifest and the entries other code works with.
//!
//! Invariant: field numbers are never reused; an object kind this version does not know is an error, because
//! a segment without one of its objects would answer wrongly.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use prost::Message;
use proto::catalog::{KeyMeta, TableMeta, encode_table};
use proto::{Epoch, Offset, RowId, SegmentId, Timestamp};

use super::{Manifest, ManifestId};
use crate::view::ScalarBound;

/// What an object of a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// Parquet: scalar columns, `_ts`, `_row`.
    Scalars,
    /// The vectors of one column, by column id.
    Vectors(u32),
    /// The primary key.
    Keys,
    Deletes,
    /// A vector index, by the index's OID.
    Index(u32),
    /// Another unique key, by the OID of its index.
    UniqueKeys(u32),
}

impl ObjectKind {
    /// The kind of a key's file.
    #[must_use]
    pub const fn of_key(key: KeyMeta<'_>) -> Self {
        if key.is_primary { Self::Keys } else { Self::UniqueKeys(key.index_oid.0) }
    }

    /// The last part of the object's key.
    #[must_use]
    pub fn suffix(self) -> String {
        match self {
            Self::Scalars => "scalars".to_owned(),
            Self::Vectors(column) => format!("vectors{column}"),
            Self::Keys => "keys".to_owned(),
            Self::Deletes => "deletes".to_owned(),
            Self::Index(oid) => format!("index{oid}"),
            Self::UniqueKeys(oid) => format!("unique{oid}"),
        }
    }
}

/// One object of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry {
    pub kind: ObjectKind,
    pub key: Path,
    /// Bytes.
    pub length: u64,
    /// CRC32C of the whole object.
    pub checksum: u32,
}

/// A sealed segment as a manifest names it.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentFiles {
    pub segment: SegmentId,
    pub rows: u64,
    /// Schema version the rows were written under.
    pub schema_version: u64,
    pub min_ts: Timestamp,
    pub max_ts: Timestamp,
    pub min_row: RowId,
    pub max_row: RowId,
    pub objects: Vec<ObjectEntry>,
    /// Bounds of scalar columns without NaN, by column id.
    pub bounds: Vec<(u32, ScalarBound, ScalarBound)>,
    /// When all rows began and the id of the first, where the rows were in files before a commit said so. What the
    /// scalars object says of the two then counts for nothing.
    pub began: Option<(Timestamp, RowId)>,
}

impl SegmentFiles {
    /// The entry of a kind.
    #[must_use]
    pub fn object(&self, kind: ObjectKind) -> Option<&ObjectEntry> {
        self.objects.iter().find(|entry| entry.kind == kind)
    }

    /// This segment with another deletes object.
    #[must_use]
    pub fn with_deletes(mut self, entry: ObjectEntry) -> Self {
        self.objects.retain(|object| object.kind != ObjectKind::Deletes);
        self.objects.push(entry);
        self
    }

    /// This segment as of a commit: all rows begin at `ts`, with ids from `first`.
    #[must_use]
    pub fn beginning(mut self, ts: Timestamp, first: RowId) -> Self {
        let last = RowId(first.0 + self.rows.saturating_sub(1));
        (self.min_ts, self.max_ts, self.min_row, self.max_row) = (ts, ts, first, last);
        self.began = Some((ts, first));
        self
    }

    /// The entry by itself, as log records name staged rows.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        segment_form(self).encode_to_vec().into()
    }

    /// Reads an entry back.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: Bytes) -> Result<Self, String> {
        segment_of_form(SegmentForm::decode(bytes).map_err(|error| error.to_string())?)
    }
}

#[derive(Clone, PartialEq, Message)]
struct ObjectForm {
    /// 1 scalars, 2 vectors, 3 keys, 4 deletes, 5 index, 6 unique keys.
    #[prost(uint32, tag = "1")]
    kind: u32,
    /// Column id of vectors, OID of an index or of a key's index.
    #[prost(uint32, tag = "2")]
    column: u32,
    #[prost(string, tag = "3")]
    key: String,
    #[prost(uint64, tag = "4")]
    length: u64,
    #[prost(fixed32, tag = "5")]
    checksum: u32,
}

#[derive(Clone, PartialEq, Message)]
struct BoundForm {
    #[prost(sint64, optional, tag = "1")]
    int: Option<i64>,
    #[prost(double, optional, tag = "2")]
    float: Option<f64>,
    #[prost(string, optional, tag = "3")]
    text: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct BoundsForm {
    #[prost(uint32, tag = "1")]
    column: u32,
    #[prost(message, optional, tag = "2")]
    low: Option<BoundForm>,
    #[prost(message, optional, tag = "3")]
    high: Option<BoundForm>,
}

#[derive(Clone, PartialEq, Message)]
struct SegmentForm {
    #[prost(uint64, tag = "1")]
    segment: u64,
    #[prost(uint64, tag = "2")]
    rows: u64,
    #[prost(uint64, tag = "3")]
    schema_version: u64,
    #[prost(uint64, tag = "4")]
    min_ts: u64,
    #[prost(uint64, tag = "5")]
    max_ts: u64,
    #[prost(uint64, tag = "6")]
    min_row: u64,
    #[prost(uint64, tag = "7")]
    max_row: u64,
    #[prost(message, repeated, tag = "8")]
    objects: Vec<ObjectForm>,
    #[prost(message, repeated, tag = "9")]
    bounds: Vec<BoundsForm>,
    #[prost(message, optional, tag = "10")]
    began: Option<BeganForm>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct BeganForm {
    #[prost(uint64, tag = "1")]
    ts: u64,
    #[prost(uint64, tag = "2")]
    first_row: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ManifestForm {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    n: u64,
    /// Absent in a full manifest.
    #[prost(uint64, optional, tag = "3")]
    parent_epoch: Option<u64>,
    #[prost(uint64, tag = "4")]
    parent_n: u64,
    /// The table's catalog form.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) table: Vec<u8>,
    #[prost(uint64, tag = "6")]
    through: u64,
    #[prost(message, repeated, tag = "7")]
    segments: Vec<SegmentForm>,
    #[prost(uint64, repeated, tag = "8")]
    removed: Vec<u64>,
    #[prost(uint64, tag = "9")]
    purged: u64,
    #[prost(message, repeated, tag = "10")]
    replaced: Vec<ReplacedForm>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct ReplacedForm {
    #[prost(uint64, tag = "1")]
    segment: u64,
    #[prost(uint64, tag = "2")]
    before: u64,
}

impl ManifestForm {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            epoch: manifest.id.epoch.0,
            n: manifest.id.n,
            parent_epoch: manifest.parent.map(|parent| parent.epoch.0),
            parent_n: manifest.parent.map_or(0, |parent| parent.n),
            table: encode_table(&manifest.table),
            through: manifest.through.0,
            segments: manifest.segments.iter().map(segment_form).collect(),
            removed: manifest.removed.iter().map(|segment| segment.0).collect(),
            purged: manifest.purged.0,
            replaced: manifest.replaced.iter().map(replaced_form).collect(),
        }
    }

    pub(super) fn into_manifest(self, table: Arc<TableMeta>) -> Result<Manifest, String> {
        let segments: Result<Vec<_>, String> = self.segments.into_iter().map(segment_of_form).collect();
        Ok(Manifest {
            id: ManifestId { epoch: Epoch(self.epoch), n: self.n },
            parent: self.parent_epoch.map(|epoch| ManifestId { epoch: Epoch(epoch), n: self.parent_n }),
            table,
            through: Offset(self.through),
            segments: segments?,
            removed: self.removed.into_iter().map(SegmentId).collect(),
            purged: Timestamp(self.purged),
            replaced: self
                .replaced
                .iter()
                .map(|form| (SegmentId(form.segment), Offset(form.before)))
                .collect(),
        })
    }
}

fn replaced_form((segment, before): &(SegmentId, Offset)) -> ReplacedForm {
    ReplacedForm { segment: segment.0, before: before.0 }
}

fn segment_form(files: &SegmentFiles) -> SegmentForm {
    SegmentForm {
        segment: files.segment.0,
        rows: files.rows,
        schema_version: files.schema_version,
        min_ts: files.min_ts.0,
        max_ts: files.max_ts.0,
        min_row: files.min_row.0,
        max_row: files.max_row.0,
        objects: files.objects.iter().map(object_form).collect(),
        bounds: files
            .bounds
            .iter()
            .map(|(column, low, high)| BoundsForm {
                column: *column,
                low: Some(bound_form(low)),
                high: Some(bound_form(high)),
            })
            .collect(),
        began: files.began.map(|(ts, first)| BeganForm { ts: ts.0, first_row: first.0 }),
    }
}

fn segment_of_form(form: SegmentForm) -> Result<SegmentFiles, String> {
    let objects: Result<Vec<_>, String> = form.objects.iter().map(object_of_form).collect();
    Ok(SegmentFiles {
        segment: SegmentId(form.segment),
        rows: form.rows,
        schema_version: form.schema_version,
        min_ts: Timestamp(form.min_ts),
        max_ts: Timestamp(form.max_ts),
        min_row: RowId(form.min_row),
        max_row: RowId(form.max_row),
        objects: objects?,
        bounds: form
            .bounds
            .into_iter()
            .filter_map(|bounds| {
                Some((bounds.column, bound_of_form(bounds.low)?, bound_of_form(bounds.high)?))
            })
            .collect(),
        began: form.began.map(|began| (Timestamp(began.ts), RowId(began.first_row))),
    })
}

fn object_form(entry: &ObjectEntry) -> ObjectForm {
    let (kind, column) = match entry.kind {
        ObjectKind::Scalars => (1, 0),
        ObjectKind::Vectors(column) => (2, column),
        ObjectKind::Keys => (3, 0),
        ObjectKind::Deletes => (4, 0),
        ObjectKind::Index(oid) => (5, oid),
        ObjectKind::UniqueKeys(oid) => (6, oid),
    };
    let (length, checksum) = (entry.length, entry.checksum);
    ObjectForm { kind, column, key: entry.key.to_string(), length, checksum }
}

fn object_of_form(form: &ObjectForm) -> Result<ObjectEntry, String> {
    let kind = match form.kind {
        1 => ObjectKind::Scalars,
        2 => ObjectKind::Vectors(form.column),
        3 => ObjectKind::Keys,
        4 => ObjectKind::Deletes,
        5 => ObjectKind::Index(form.column),
        6 => ObjectKind::UniqueKeys(form.column),
        other => return Err(format!("it names an object of unknown kind {other}")),
    };
    let key = Path::parse(&form.key).map_err(|error| error.to_string())?;
    Ok(ObjectEntry { kind, key, length: form.length, checksum: form.checksum })
}

fn bound_form(bound: &ScalarBound) -> BoundForm {
    let mut form = BoundForm::default();
    match bound {
        ScalarBound::Int(value) => form.int = Some(*value),
        ScalarBound::Float(value) => form.float = Some(*value),
        ScalarBound::Text(value) => form.text = Some(value.clone()),
    }
    form
}

fn bound_of_form(form: Option<BoundForm>) -> Option<ScalarBound> {
    let form = form?;
    let int = form.int.map(ScalarBound::Int);
    int.or_else(|| form.float.map(ScalarBound::Float)).or_else(|| form.text.map(ScalarBound::Text))
}
