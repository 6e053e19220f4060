//! Channels: the logs that carry rows and commits, with what is served of each.

use super::segments::bigint;
use crate::pg_catalog::{Computed, Facts, Row, row};

/// `elanus.channels`.
pub(crate) const CHANNELS: Computed = Computed {
    schema: "elanus",
    name: "channels",
    columns: &["channel_id", "database_name", "segments", "rows", "memory_bytes"],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    let segments = facts.segments.rows();
    facts
        .catalog
        .databases
        .values()
        .map(|database| {
            let channel = database.home_channel;
            let served = || segments.iter().filter(|segment| segment.channel == channel);
            row![
                bigint(channel.0),
                &database.name,
                i64::try_from(served().count()).unwrap_or(i64::MAX),
                bigint(served().map(|segment| segment.rows).sum()),
                bigint(served().map(|segment| segment.memory_bytes).sum()),
            ]
        })
        .collect()
}
