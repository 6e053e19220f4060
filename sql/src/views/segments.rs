//! Segments as this node serves them.

use proto::{ChannelId, SegmentId, TableId};

use crate::pg_catalog::{Computed, Facts, Row, row};

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    pub id: SegmentId,
    pub table: TableId,
    pub channel: ChannelId,
    /// `growing`, `frozen` (sealed, not in files yet) or `sealed`.
    pub state: &'static str,
    /// Row versions held, deleted ones included.
    pub rows: u64,
    pub deleted_rows: u64,
    /// Bytes of the files with its rows; of memory while it has none.
    pub bytes: u64,
    /// The part of them that deleted rows take.
    pub dead_bytes: u64,
    /// Bytes of memory of rows that are not in files.
    pub memory_bytes: u64,
}

/// `elanus.segments`.
pub(crate) const SEGMENTS: Computed = Computed {
    schema: "elanus",
    name: "segments",
    columns: &[
        "segment_id",
        "database_name",
        "table_schema",
        "table_name",
        "channel_id",
        "state",
        "rows",
        "deleted_rows",
        "memory_bytes",
        "bytes",
        "dead_bytes",
    ],
    rows,
};

/// Numbers past the SQL type's range show as its greatest.
pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn rows(facts: &Facts) -> Vec<Row> {
    facts
        .segments
        .rows()
        .into_iter()
        .map(|segment| {
            let table = facts.catalog.tables.get(&segment.table);
            let database = table.and_then(|table| facts.catalog.databases.get(&table.database));
            row![
                bigint(segment.id.0),
                database.map(|database| &database.name),
                table.map(|table| &table.namespace),
                table.map(|table| &table.name),
                bigint(segment.channel.0),
                segment.state,
                bigint(segment.rows),
                bigint(segment.deleted_rows),
                bigint(segment.memory_bytes),
                bigint(segment.bytes),
                bigint(segment.dead_bytes),
            ]
        })
        .collect()
}
