//! The protobuf form of log records and the Arrow IPC form of row batches.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use prost::Message;

use super::{LogRecord, Placement, RECORD_FORMAT, RecordBody, RowDelete, RowRef, StagedRows, TableChange};
use crate::error::{Classify, ErrorKind};
use crate::id::{ChannelId, Epoch, RowId, SegmentId, SequenceId, TableId, TxnId};
use crate::time::Timestamp;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("log record: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("rows of a log record: {0}")]
    Arrow(#[from] ArrowError),
    #[error("log record has format {0}, this build reads up to {RECORD_FORMAT}")]
    Format(u32),
    #[error("log record has no body this build knows")]
    UnknownBody,
}

impl Classify for RecordError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::DataCorrupted
    }
}

#[derive(Clone, PartialEq, Message)]
struct DeletesForm {
    #[prost(uint64, repeated, tag = "1")]
    segments: Vec<u64>,
    #[prost(uint32, repeated, tag = "2")]
    ordinals: Vec<u32>,
    #[prost(uint64, repeated, tag = "3")]
    rows: Vec<u64>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    keys: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct ChangeForm {
    #[prost(uint64, tag = "1")]
    table: u64,
    #[prost(uint64, tag = "2")]
    schema_version: u64,
    #[prost(bool, tag = "3")]
    truncate: bool,
    #[prost(message, optional, tag = "4")]
    deletes: Option<DeletesForm>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    inserts: Vec<Bytes>,
    #[prost(message, repeated, tag = "6")]
    staged: Vec<StagedForm>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct StagedForm {
    #[prost(uint64, tag = "1")]
    segment: u64,
    #[prost(uint64, tag = "2")]
    rows: u64,
    #[prost(bytes = "bytes", tag = "3")]
    files: Bytes,
    #[prost(uint32, repeated, tag = "4")]
    ended: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PlacementForm {
    #[prost(uint64, tag = "1")]
    table: u64,
    #[prost(uint64, tag = "2")]
    segment: u64,
    #[prost(uint64, tag = "3")]
    first_row: u64,
    #[prost(uint64, tag = "4")]
    rows: u64,
}

#[derive(Clone, PartialEq, Message)]
struct EpochStartForm {
    #[prost(fixed64, tag = "1")]
    incarnation: u64,
}

#[derive(Clone, PartialEq, Message)]
struct CommitForm {
    #[prost(fixed64, tag = "1")]
    txn: u64,
    #[prost(uint32, tag = "2")]
    parts: u32,
    #[prost(message, repeated, tag = "3")]
    placements: Vec<PlacementForm>,
    #[prost(message, repeated, tag = "4")]
    changes: Vec<ChangeForm>,
}

#[derive(Clone, PartialEq, Message)]
struct PayloadForm {
    #[prost(fixed64, tag = "1")]
    txn: u64,
    #[prost(uint32, tag = "2")]
    part: u32,
    #[prost(message, repeated, tag = "3")]
    changes: Vec<ChangeForm>,
}

#[derive(Clone, PartialEq, Message)]
struct AbortForm {
    #[prost(fixed64, tag = "1")]
    txn: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SealForm {
    #[prost(uint64, tag = "1")]
    table: u64,
    #[prost(uint64, tag = "2")]
    segment: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SequenceMarkForm {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(sint64, tag = "2")]
    next: i64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum BodyForm {
    #[prost(message, tag = "10")]
    EpochStart(EpochStartForm),
    #[prost(message, tag = "11")]
    Commit(CommitForm),
    #[prost(message, tag = "12")]
    Payload(PayloadForm),
    #[prost(message, tag = "13")]
    Abort(AbortForm),
    #[prost(message, tag = "14")]
    Seal(SealForm),
    #[prost(message, tag = "15")]
    SequenceMark(SequenceMarkForm),
}

#[derive(Clone, PartialEq, Message)]
struct LogRecordForm {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint64, tag = "2")]
    channel: u64,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(fixed64, tag = "4")]
    ts: u64,
    #[prost(oneof = "BodyForm", tags = "10, 11, 12, 13, 14, 15")]
    body: Option<BodyForm>,
}

/// The Arrow IPC stream of one batch.
///
/// # Errors
/// When Arrow cannot write the batch.
pub fn encode_batch(batch: &RecordBatch) -> Result<Bytes, ArrowError> {
    let mut bytes = Vec::with_capacity(batch.get_array_memory_size() + 1024);
    let schema = bare_schema(batch.schema_ref());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    // Not `with_schema`: it refuses to drop metadata.
    let bare = RecordBatch::try_new_with_options(Arc::clone(&schema), batch.columns().to_vec(), &options)?;
    let mut writer = StreamWriter::try_new(&mut bytes, &schema)?;
    writer.write(&bare)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes.into())
}

/// The schema without metadata: the reader knows its table, the log need not repeat it in every record.
fn bare_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_metadata([].into()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Bytes of rows that a batch shows, whatever larger buffers they lie in.
#[must_use]
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

/// Reads one batch back.
///
/// # Errors
/// When the bytes are not an Arrow IPC stream of exactly one batch.
pub fn decode_batch(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    reader.next().unwrap_or_else(|| Err(ArrowError::IpcError("empty stream".into())))
}

/// The stored form of a record.
///
/// # Errors
/// When Arrow cannot write a batch.
pub fn encode_record(record: &LogRecord) -> Result<Bytes, RecordError> {
    let body = match &record.body {
        RecordBody::EpochStart { incarnation } => {
            BodyForm::EpochStart(EpochStartForm { incarnation: *incarnation })
        }
        RecordBody::Commit { txn, parts, placements, changes } => BodyForm::Commit(CommitForm {
            txn: txn.0,
            parts: *parts,
            placements: placements.iter().map(placement_form).collect(),
            changes: changes.iter().map(change_form).collect::<Result<_, _>>()?,
        }),
        RecordBody::Payload { txn, part, changes } => BodyForm::Payload(PayloadForm {
            txn: txn.0,
            part: *part,
            changes: changes.iter().map(change_form).collect::<Result<_, _>>()?,
        }),
        RecordBody::Abort { txn } => BodyForm::Abort(AbortForm { txn: txn.0 }),
        RecordBody::Seal { table, segment } => {
            BodyForm::Seal(SealForm { table: table.0, segment: segment.0 })
        }
        RecordBody::SequenceMark { sequence, next } => {
            BodyForm::SequenceMark(SequenceMarkForm { sequence: sequence.0, next: *next })
        }
    };
    let form = LogRecordForm {
        format: RECORD_FORMAT,
        channel: record.channel.0,
        epoch: record.epoch.0,
        ts: record.ts.0,
        body: Some(body),
    };
    Ok(form.encode_to_vec().into())
}

const fn placement_form(placement: &Placement) -> PlacementForm {
    PlacementForm {
        table: placement.table.0,
        segment: placement.segment.0,
        first_row: placement.first_row.0,
        rows: placement.rows,
    }
}

fn change_form(change: &TableChange) -> Result<ChangeForm, ArrowError> {
    let deletes = (!change.deletes.is_empty()).then(|| DeletesForm {
        segments: change.deletes.iter().map(|delete| delete.target.segment.0).collect(),
        ordinals: change.deletes.iter().map(|delete| delete.target.ordinal).collect(),
        rows: change.deletes.iter().map(|delete| delete.target.row.0).collect(),
        keys: change.deletes.iter().map(|delete| delete.key.clone()).collect(),
    });
    Ok(ChangeForm {
        table: change.table.0,
        schema_version: change.schema_version,
        truncate: change.truncate,
        deletes,
        inserts: change.inserts.iter().map(encode_batch).collect::<Result<_, _>>()?,
        staged: change.staged.iter().map(staged_form).collect(),
    })
}

fn staged_form(staged: &StagedRows) -> StagedForm {
    StagedForm {
        segment: staged.segment.0,
        rows: staged.rows,
        files: staged.files.clone(),
        ended: staged.ended.clone(),
    }
}

fn staged_of_form(form: StagedForm) -> StagedRows {
    let StagedForm { segment, rows, files, ended } = form;
    StagedRows { segment: SegmentId(segment), rows, files, ended }
}

/// Reads a record back.
///
/// # Errors
/// When the bytes are not a record of a format this build knows.
pub fn decode_record(bytes: Bytes) -> Result<LogRecord, RecordError> {
    let form = LogRecordForm::decode(bytes)?;
    if form.format != RECORD_FORMAT {
        return Err(RecordError::Format(form.format));
    }
    let body = match form.body.ok_or(RecordError::UnknownBody)? {
        BodyForm::EpochStart(form) => RecordBody::EpochStart { incarnation: form.incarnation },
        BodyForm::Commit(form) => RecordBody::Commit {
            txn: TxnId(form.txn),
            parts: form.parts,
            placements: form.placements.iter().map(placement_of_form).collect(),
            changes: form.changes.into_iter().map(change_of_form).collect::<Result<_, _>>()?,
        },
        BodyForm::Payload(form) => RecordBody::Payload {
            txn: TxnId(form.txn),
            part: form.part,
            changes: form.changes.into_iter().map(change_of_form).collect::<Result<_, _>>()?,
        },
        BodyForm::Abort(form) => RecordBody::Abort { txn: TxnId(form.txn) },
        BodyForm::Seal(form) => {
            RecordBody::Seal { table: TableId(form.table), segment: SegmentId(form.segment) }
        }
        BodyForm::SequenceMark(form) => {
            RecordBody::SequenceMark { sequence: SequenceId(form.sequence), next: form.next }
        }
    };
    Ok(LogRecord { channel: ChannelId(form.channel), epoch: Epoch(form.epoch), ts: Timestamp(form.ts), body })
}

const fn placement_of_form(form: &PlacementForm) -> Placement {
    Placement {
        table: TableId(form.table),
        segment: SegmentId(form.segment),
        first_row: RowId(form.first_row),
        rows: form.rows,
    }
}

fn change_of_form(form: ChangeForm) -> Result<TableChange, RecordError> {
    let deletes = form.deletes.unwrap_or_default();
    let targets = deletes.segments.iter().zip(&deletes.ordinals).zip(&deletes.rows);
    Ok(TableChange {
        table: TableId(form.table),
        schema_version: form.schema_version,
        truncate: form.truncate,
        deletes: targets
            .zip(deletes.keys)
            .map(|(((&segment, &ordinal), &row), key)| RowDelete {
                target: RowRef { segment: SegmentId(segment), ordinal, row: RowId(row) },
                key,
            })
            .collect(),
        staged: form.staged.into_iter().map(staged_of_form).collect(),
        inserts: form.inserts.iter().map(|bytes| decode_batch(bytes)).collect::<Result<_, _>>()?,
    })
}
