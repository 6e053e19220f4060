//! Channels: the logs that carry rows and commits.

use proto::{ChannelId, DatabaseId};

use crate::pg_catalog::{Computed, Facts, Row, row};

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRow {
    pub id: ChannelId,
    pub database: DatabaseId,
    /// Generation of the owner.
    pub epoch: u64,
    /// The offset that the next record gets.
    pub next_offset: u64,
    /// The offset that recovery would start from.
    pub checkpoint_offset: u64,
    /// Everything at or before this timestamp is applied.
    pub service_ts: u64,
}

/// `elanus.channels`.
pub(crate) const CHANNELS: Computed = Computed {
    schema: "elanus",
    name: "channels",
    columns: &["channel_id", "database_name", "epoch", "next_offset", "checkpoint_offset", "service_ts"],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    let bigint = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    facts
        .channels
        .rows()
        .into_iter()
        .map(|channel| {
            row![
                bigint(channel.id.0),
                facts.catalog.databases.get(&channel.database).map(|database| &database.name),
                bigint(channel.epoch),
                bigint(channel.next_offset),
                bigint(channel.checkpoint_offset),
                bigint(channel.service_ts),
            ]
        })
        .collect()
}
