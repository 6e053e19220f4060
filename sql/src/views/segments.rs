//! Segments as this node serves them.

use proto::{ChannelId, SegmentId, TableId};

use crate::pg_catalog::{Computed, Facts, Row, row};

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    pub id: SegmentId,
    pub table: TableId,
    pub channel: ChannelId,
    pub is_sealed: bool,
    /// Row versions held, deleted ones included.
    pub rows: u64,
    pub deleted_rows: u64,
    /// Bytes of the stored objects; for a growing segment, of its memory.
    pub bytes: u64,
    /// Commit timestamps of the oldest and the newest row.
    pub min_ts: u64,
    pub max_ts: u64,
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
        "size_bytes",
        "min_ts",
        "max_ts",
    ],
    rows,
};

/// Numbers past the SQL type's range show as its greatest.
fn bigint(number: u64) -> i64 {
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
                if segment.is_sealed { "sealed" } else { "growing" },
                bigint(segment.rows),
                bigint(segment.deleted_rows),
                bigint(segment.bytes),
                bigint(segment.min_ts),
                bigint(segment.max_ts),
            ]
        })
        .collect()
}
