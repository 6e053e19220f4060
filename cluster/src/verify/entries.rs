//! The entries of a meta store: that each can be read, and that they fit the manifests and the log.
//!
//! What it is not: the catalog is read before it comes to this; keys of other parts (a password, the lease) are passed over.

use bytes::Bytes;
use prost::Message as _;
use segments::format::manifest::Manifest;

use super::Report;
use super::objects::Table;
use crate::catalog::{SEGMENTS, UNFINISHED, epoch_key, mentioned_tables, read_number};
use crate::channel::{Checkpoint, Decision};
use crate::error::{Error, Result};
use crate::flusher::pointer_of;
use crate::horizon::NamedSnapshot;
use crate::meta::MetaStore;

/// Reads every entry.
pub(super) async fn verify_forms(meta: &dyn MetaStore, report: &mut Report) -> Result<()> {
    for entry in meta.list("").await?.entries {
        report.settle(&entry.key, verify_form(&entry.key, entry.value))?;
    }
    Ok(())
}

fn verify_form(key: &str, value: Bytes) -> Result<()> {
    let damaged = |error: prost::DecodeError| Error::corrupted(key, error);
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["rebuild", _] => {
            Err(Error::corrupted(UNFINISHED, "a rebuild was interrupted: it must be done again"))
        }
        ["counter" | "horizon" | "oracle", _] | ["channel", _, "epoch"] | ["history", "since"] => {
            read_number(key, &value).map(drop)
        }
        ["channel", _, "checkpoint"] => Checkpoint::decode(value).map(drop).map_err(damaged),
        ["channel", _, "decision", _] => Decision::decode(proto::TxnId(0), &value)
            .map(drop)
            .ok_or_else(|| Error::corrupted(key, "not 4 or 12 bytes")),
        ["history", "step", _] => mentioned_tables(&[(key.to_owned(), value)].into()).map(drop),
        ["snapshot", ..] => NamedSnapshot::decode(value).map(drop).map_err(damaged),
        ["storage", ..] => pointer_of(key, &value).map(drop),
        _ => Ok(()),
    }
}

/// Compares what the meta store says with the manifests that its pointers name: none may be ahead of the counters and
/// epochs that they were made by. (Offsets of a manifest may be those of a log before a rebuild.)
pub(super) async fn verify_pointers(
    meta: &dyn MetaStore,
    tables: &[Table],
    report: &mut Report,
) -> Result<()> {
    let segments = number(meta, SEGMENTS).await;
    let segments = report.settle(SEGMENTS, segments)?.flatten();
    for (table, files) in tables {
        let name = Manifest::key(table.database, table.id, files.id).to_string();
        let highest = files.segments.keys().last().map(|segment| segment.0);
        if let (Some(highest), Some(next)) = (highest, segments.or(Some(0)))
            && highest >= next
        {
            report.damaged(SEGMENTS, format!("it is at {next}, {name} has segment {highest}"));
        }
        let epoch = number(meta, &epoch_key(table.channel)).await;
        if let Some(epoch) = report.settle(&name, epoch)?.flatten()
            && files.id.epoch.0 > epoch
        {
            let reason = format!("it is at {epoch}, {name} was written in epoch {}", files.id.epoch);
            report.damaged(epoch_key(table.channel), reason);
        }
    }
    Ok(())
}

async fn number(meta: &dyn MetaStore, key: &str) -> Result<Option<u64>> {
    meta.get(key).await?.map(|entry| read_number(key, &entry.value)).transpose()
}
