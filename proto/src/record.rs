//! Log records: deterministic row operations with their timestamp, never SQL text, never one record per row.
//!
//! A transaction is one `Commit` record that carries its rows itself when it is small, or `Payload` records
//! followed by a `Commit` that names how many there were. Rows get their place (segment, first row id) only in
//! the Commit, so that a payload appended before a Seal still lands in the segment that is growing at the
//! decision. Rows travel as one Arrow IPC stream per batch, deletes as (segment, ordinal, row id, key). Rows of a large
//! transaction are in files before its decision, and the records only name these.
//!
//! Stored form: protobuf `LogRecordForm`; field numbers are never reused. Every record names its format, channel,
//! epoch and timestamp; every table change names the schema version it was made under.
//!
//! Invariants: records of a channel have ascending timestamps (Payload and Abort carry 0: they decide
//! nothing); a Payload without its Commit never becomes visible.

use arrow::array::RecordBatch;
use bytes::Bytes;

use crate::id::{ChannelId, Epoch, RowId, SegmentId, SequenceId, TableId, TxnId};
use crate::time::Timestamp;

mod wire;
pub use wire::{RecordError, batch_bytes, decode_batch, decode_record, encode_batch, encode_record};

/// Format version written into every record.
pub const RECORD_FORMAT: u32 = 1;

/// Where a row version lives: a segment and a position in it, plus the identity that survives compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowRef {
    pub segment: SegmentId,
    /// Position of the row in its segment, from 0.
    pub ordinal: u32,
    pub row: RowId,
}

/// A row version that ends: its place and its key bytes (empty for tables without a key).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDelete {
    pub target: RowRef,
    pub key: Bytes,
}

/// Rows that a transaction has put in files before its commit: a whole segment, which the commit gives its instant and
/// its row ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedRows {
    pub segment: SegmentId,
    /// Row versions in the files.
    pub rows: u64,
    /// What the files are, in the form of a manifest's entry.
    pub files: Bytes,
    /// Rows that the transaction has ended itself: ordinals, ascending.
    pub ended: Vec<u32>,
}

/// What one transaction does to one table: net effect, in the order truncate, deletes, inserts.
#[derive(Clone, Debug, PartialEq)]
pub struct TableChange {
    pub table: TableId,
    pub schema_version: u64,
    /// All rows of the table end at the commit, before the inserts.
    pub truncate: bool,
    pub deletes: Vec<RowDelete>,
    /// Inserted rows that are in files already; they come before the others.
    pub staged: Vec<StagedRows>,
    /// Rows in the table's column order (`TableMeta::arrow_schema`).
    pub inserts: Vec<RecordBatch>,
}

impl TableChange {
    /// A change that does nothing yet.
    #[must_use]
    pub const fn new(table: TableId, schema_version: u64) -> Self {
        Self {
            table,
            schema_version,
            truncate: false,
            deletes: Vec::new(),
            staged: Vec::new(),
            inserts: Vec::new(),
        }
    }

    /// Number of rows inserted that are not in files.
    #[must_use]
    pub fn inserted_rows(&self) -> usize {
        self.inserts.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Where inserted rows of one table go: a staged segment, or the rows of all parts in order that are not in files, to
/// ascending ordinals and row ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub table: TableId,
    pub segment: SegmentId,
    pub first_row: RowId,
    pub rows: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordBody {
    /// The first record of an epoch. The incarnation is drawn once per channel and repeated ever after.
    EpochStart { incarnation: u64 },
    /// The decision: changes (inline, after those of `parts` payloads of the same transaction) become visible.
    Commit { txn: TxnId, parts: u32, placements: Vec<Placement>, changes: Vec<TableChange> },
    /// Rows of a transaction that is not decided yet.
    Payload { txn: TxnId, part: u32, changes: Vec<TableChange> },
    /// The transaction will never be decided; its payloads may be forgotten.
    Abort { txn: TxnId },
    /// The growing segment takes no more rows; every follower freezes it at this position.
    Seal { table: TableId, segment: SegmentId },
    /// Values of a sequence below `next` may have been given out.
    SequenceMark { sequence: SequenceId, next: i64 },
}

/// A record of a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecord {
    pub channel: ChannelId,
    pub epoch: Epoch,
    /// Commit timestamp; zero where nothing is decided.
    pub ts: Timestamp,
    pub body: RecordBody,
}

#[cfg(test)]
mod tests;
