//! The contract of `log.rs` as tests; every implementation runs all of it.
//!
//! `Bench::open` called again is the broker after a crash of the process.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use proto::{ChannelId, Epoch, Offset};

use super::{Durability, LogBroker};
use crate::error::{Error, Result};

/// Opens and reopens one storage.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The broker; called again it is the broker after a crash.
    async fn open(&self) -> Result<Arc<dyn LogBroker>>;
}

const CHANNEL: ChannelId = ChannelId(7);
const ALL: usize = usize::MAX;

/// Runs every line of the contract, each on a fresh storage.
///
/// # Errors
/// When the broker fails where the contract wants an answer; a broken promise panics.
pub async fn run<B: Bench>(fresh: impl Fn() -> B) -> Result<()> {
    offsets_grow_without_gaps(&fresh()).await?;
    deferred_records_appear_with_the_next_sync(&fresh()).await?;
    reads_are_suffixes_of_whole_appends(&fresh()).await?;
    waits_end_with_the_next_record(&fresh()).await?;
    old_epochs_are_refused(&fresh()).await?;
    concurrent_appends_all_have_a_place(&fresh()).await?;
    trimmed_records_are_an_error(&fresh()).await?;
    acknowledged_records_survive(&fresh()).await?;
    channels_are_apart(&fresh()).await
}

async fn opened(bench: &impl Bench) -> Result<Arc<dyn LogBroker>> {
    let log = bench.open().await?;
    log.open(CHANNEL, 99).await?;
    Ok(log)
}

async fn append(log: &Arc<dyn LogBroker>, epoch: u64, records: &[&str]) -> Result<Offset> {
    append_as(log, epoch, records, Durability::Synced).await
}

async fn append_as(
    log: &Arc<dyn LogBroker>,
    epoch: u64,
    records: &[&str],
    durability: Durability,
) -> Result<Offset> {
    let records = records.iter().map(|record| Bytes::copy_from_slice(record.as_bytes())).collect();
    log.append(CHANNEL, Epoch(epoch), records, durability).await
}

/// Where the next append begins.
async fn end(log: &Arc<dyn LogBroker>) -> Result<u64> {
    Ok(log.bounds(CHANNEL).await?.end.0)
}

async fn read(log: &Arc<dyn LogBroker>, from: u64, max_bytes: usize) -> Result<Vec<(u64, String)>> {
    let entries = log.read(CHANNEL, Offset(from), max_bytes).await?;
    Ok(entries
        .into_iter()
        .map(|entry| {
            (entry.offset.0, String::from_utf8(entry.record.into()).expect("the suite's records are text"))
        })
        .collect())
}

fn numbered(from: u64, records: &[&str]) -> Vec<(u64, String)> {
    (from..).zip(records.iter().map(|record| (*record).to_owned())).collect()
}

async fn offsets_grow_without_gaps(bench: &impl Bench) -> Result<()> {
    let log = opened(bench).await?;
    let start = end(&log).await?;
    assert_eq!(append(&log, 1, &["a"]).await?, Offset(start));
    assert_eq!(append(&log, 1, &["b", "c", ""]).await?, Offset(start + 1));
    assert_eq!(append(&log, 1, &[]).await?, Offset(start + 4));
    assert_eq!(append(&log, 1, &["d"]).await?, Offset(start + 4));
    assert_eq!(read(&log, 0, ALL).await?, numbered(start, &["a", "b", "c", "", "d"]));
    assert_eq!(end(&log).await?, start + 5);
    Ok(())
}

async fn deferred_records_appear_with_the_next_sync(bench: &impl Bench) -> Result<()> {
    let log = opened(bench).await?;
    let start = end(&log).await?;
    append(&log, 1, &["a"]).await?;
    assert_eq!(append_as(&log, 1, &["b", "c"], Durability::Deferred).await?, Offset(start + 1));
    let early = read(&log, 0, ALL).await?;
    assert!(early == numbered(start, &["a"]) || early == numbered(start, &["a", "b", "c"]), "{early:?}");
    assert_eq!(append(&log, 1, &["d"]).await?, Offset(start + 3));
    assert_eq!(read(&log, 0, ALL).await?, numbered(start, &["a", "b", "c", "d"]));
    Ok(())
}

async fn reads_are_suffixes_of_whole_appends(bench: &impl Bench) -> Result<()> {
    let log = opened(bench).await?;
    let start = end(&log).await?;
    append(&log, 1, &["a", "b"]).await?;
    append(&log, 1, &["c", "d"]).await?;
    append(&log, 1, &["e"]).await?;
    for from in 0..=5 {
        let all = numbered(start, &["a", "b", "c", "d", "e"]);
        assert_eq!(read(&log, start + from, ALL).await?, all[from as usize..], "from {from}");
    }
    assert_eq!(
        read(&log, start, 0).await?,
        numbered(start, &["a", "b"]),
        "one append at least, and a whole one"
    );
    assert_eq!(read(&log, start + 2, 0).await?, numbered(start + 2, &["c", "d"]));
    assert_eq!(read(&log, start + 3, 0).await?, numbered(start + 3, &["d"]));
    assert_eq!(read(&log, start + 4, 0).await?, numbered(start + 4, &["e"]));
    Ok(())
}

async fn waits_end_with_the_next_record(bench: &impl Bench) -> Result<()> {
    let log = opened(bench).await?;
    let start = end(&log).await?;
    assert!(log.wait(CHANNEL, Offset(start)).now_or_never().is_none());
    append(&log, 1, &["a"]).await?;
    log.wait(CHANNEL, Offset(start)).await?;
    let mut wait = std::pin::pin!(log.wait(CHANNEL, Offset(start + 1)));
    assert!(wait.as_mut().now_or_never().is_none());
    append_as(&log, 1, &["b"], Durability::Deferred).await?;
    let (waited, appended) = futures::join!(log.wait(CHANNEL, Offset(start + 1)), append(&log, 1, &["c"]));
    waited?;
    appended?;
    Ok(())
}

async fn old_epochs_are_refused(bench: &impl Bench) -> Result<()> {
    let log = opened(bench).await?;
    append(&log, 3, &["a"]).await?;
    assert!(matches!(append(&log, 2, &["x"]).await, Err(Error::Fenced { current: Epoch(3), .. })));
    log.fence(CHANNEL, Epoch(5)).await?;
    assert!(matches!(append(&log, 3, &["x"]).await, Err(Error::Fenced { current: Epoch(5), .. })));
    assert!(matches!(log.fence(CHANNEL, Epoch(4)).await, Err(Error::Fenced { .. })));
    append(&log, 5, &["b"]).await?;
    append(&log, 6, &["c"]).await?;
    assert!(matches!(append_as(&log, 5, &["x"], Durability::Deferred).await, Err(Error::Fenced { .. })));
    let texts: Vec<String> = read(&log, 0, ALL).await?.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["a", "b", "c"]);
    drop(log);
    let log = opened(bench).await?;
    assert_eq!(log.bounds(CHANNEL).await?.epoch, Epoch(6));
    assert!(matches!(append(&log, 5, &["x"]).await, Err(Error::Fenced { .. })));
    let epochs: Vec<u64> =
        log.read(CHANNEL, Offset(0), ALL).await?.iter().map(|entry| entry.epoch.0).collect();
    assert_eq!(epochs, [3, 5, 6]);
    Ok(())
}

async fn concurrent_appends_all_have_a_place(bench: &impl Bench) -> Result<()> {
    let log = opened(bench).await?;
    let names: Vec<String> = (0..100).map(|number| format!("record {number}")).collect();
    let records: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
    let offsets = futures::future::try_join_all(records.iter().map(|record| append(&log, 1, record))).await?;
    let entries = read(&log, 0, ALL).await?;
    assert_eq!(entries.len(), 100);
    for placed in offsets.into_iter().map(|offset| offset.0).zip(names) {
        assert!(entries.contains(&placed), "{placed:?}");
    }
    Ok(())
}

async fn trimmed_records_are_an_error(bench: &impl Bench) -> Result<()> {
    let log = opened(bench).await?;
    let start = end(&log).await?;
    let large = "x".repeat(1000);
    for _ in 0..20 {
        append(&log, 4, &[&large, "y"]).await?;
    }
    log.trim(CHANNEL, Offset(start + 25)).await?;
    let bounds = log.bounds(CHANNEL).await?;
    assert!(bounds.first > Offset(start), "something goes");
    assert!(bounds.first <= Offset(start + 25), "nothing from the given offset on goes");
    assert!(matches!(read(&log, bounds.first.0 - 1, ALL).await, Err(Error::Trimmed { .. })));
    assert_eq!(read(&log, start + 25, ALL).await?.len(), 15);
    log.trim(CHANNEL, Offset(start + 10)).await?;
    assert_eq!(log.bounds(CHANNEL).await?, bounds, "trimming less changes nothing");
    log.trim(CHANNEL, Offset(start + 40)).await?;
    let bounds = log.bounds(CHANNEL).await?;
    assert_eq!(bounds.end, Offset(start + 40));
    drop(log);
    let log = opened(bench).await?;
    assert_eq!(log.bounds(CHANNEL).await?, bounds);
    assert_eq!(append(&log, 4, &["z"]).await?, Offset(start + 40));
    assert_eq!(read(&log, start + 40, ALL).await?, numbered(start + 40, &["z"]));
    Ok(())
}

async fn acknowledged_records_survive(bench: &impl Bench) -> Result<()> {
    let mut expected = Vec::new();
    for round in 0..5 {
        let log = opened(bench).await?;
        let bounds = log.open(CHANNEL, 1000 + round).await?;
        assert_eq!(bounds.incarnation, 99, "drawn once");
        let behind = expected.last().map_or(bounds.end.0, |(offset, _)| offset + 1);
        assert_eq!(bounds.end.0, behind);
        assert_eq!(read(&log, 0, ALL).await?, expected);
        let records = [format!("{round} first"), "long ".repeat(300), String::new()];
        let first = append(&log, 1, &records.each_ref().map(String::as_str)).await?;
        expected.extend((first.0..).zip(records));
    }
    Ok(())
}

async fn channels_are_apart(bench: &impl Bench) -> Result<()> {
    let log = bench.open().await?;
    assert!(!log.exists(CHANNEL).await?, "nobody has opened it");
    let log = opened(bench).await?;
    let other = ChannelId(8);
    assert!(log.exists(CHANNEL).await? && !log.exists(other).await?);
    assert!(matches!(log.bounds(other).await, Err(Error::Unavailable { .. })), "not opened yet");
    let start = log.open(other, 5).await?.end;
    let first = append(&log, 9, &["a"]).await?;
    log.append(other, Epoch(1), vec!["b".into()], Durability::Synced).await?;
    assert_eq!(read(&log, 0, ALL).await?, numbered(first.0, &["a"]));
    assert_eq!(log.bounds(other).await?.incarnation, 5);
    assert_eq!(log.bounds(other).await?.end, start.next());
    Ok(())
}
