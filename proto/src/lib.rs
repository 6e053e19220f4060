//! The words of Elanus: identifiers, time, types, schemas, catalog values, log records, errors.
//!
//! What it is not: no I/O, no runtime, no clock of its own, no knowledge of SQL text. Every other crate
//! speaks in these types, so a change here is a change everywhere.
//!
//! Invariants: all types are plain values; every persisted form is a protobuf message whose field numbers
//! are never reused.

pub mod catalog;
pub mod error;
#[cfg(test)]
mod golden;
pub mod id;
pub mod json;
pub mod key;
pub mod metric;
pub mod numeric;
pub mod record;
pub mod time;
pub mod types;
pub mod vector;

pub use error::{Classify, ErrorKind, SqlError};
pub use id::{ChannelId, DatabaseId, Epoch, Offset, Oid, RowId, SegmentId, SequenceId, TableId, TxnId};
pub use metric::DistanceMetric;
pub use time::Timestamp;
pub use types::{ColumnType, TypeKind};
