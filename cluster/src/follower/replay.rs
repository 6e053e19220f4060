//! Recovery: from the checkpoint to the end of the log, with what old owners managed to append behind a newer
//! epoch's first record left out.
//!
//! The same filter serves every reader of a channel, whatever its broker can refuse.

use std::collections::VecDeque;
use std::sync::Arc;

use proto::catalog::CatalogSnapshot;
use proto::record::{LogRecord, RecordBody, TableChange, decode_record};
use proto::{ChannelId, Epoch, Offset};

use super::state::ChannelState;
use crate::error::{Error, Result};
use crate::log::{LogBroker, LogEntry};
use crate::settings::Settings;
use crate::staging::{Opener, unopened};
use crate::tasks::blocking;

/// Bytes of log decoded at once.
const BATCH_BYTES: usize = 8 << 20;

/// Decides which records exist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochFilter {
    channel: ChannelId,
    incarnation: u64,
    epoch: Epoch,
}

impl EpochFilter {
    /// A filter that knows the epoch and incarnation of the checkpoint.
    pub(crate) const fn new(channel: ChannelId, incarnation: u64, epoch: Epoch) -> Self {
        Self { channel, incarnation, epoch }
    }

    /// Whether the record exists: false for one of an epoch that was replaced before it.
    pub(crate) fn admits(&mut self, record: &LogRecord) -> Result<bool> {
        if record.channel != self.channel {
            let reason = format!("it holds a record of channel {}", record.channel);
            return Err(Error::corrupted(format!("log channel {}", self.channel), reason));
        }
        if let RecordBody::EpochStart { incarnation } = record.body {
            if incarnation != self.incarnation {
                let reason = format!("incarnation {incarnation:016x}, not {:016x}", self.incarnation);
                return Err(Error::corrupted(format!("log channel {}", self.channel), reason));
            }
            self.epoch = self.epoch.max(record.epoch);
        }
        Ok(record.epoch >= self.epoch)
    }
}

/// Applies everything from `state.next` to `end`.
pub(crate) async fn replay(
    log: &dyn LogBroker,
    opener: Opener<'_>,
    mut state: ChannelState,
    mut filter: EpochFilter,
    end: Offset,
    catalog: &Arc<CatalogSnapshot>,
    settings: &Arc<Settings>,
) -> Result<ChannelState> {
    while state.next < end {
        let entries = log.read(filter.channel, state.next, BATCH_BYTES).await?;
        if entries.is_empty() {
            // What is left belongs to the broker.
            state.next = end;
            break;
        }
        let mut entries = VecDeque::from(entries);
        while !entries.is_empty() {
            let (known, limits) = (Arc::clone(catalog), Arc::clone(settings));
            let applied = blocking(move || apply_some(state, filter, entries, &known, &limits)).await??;
            (state, filter, entries) = (applied.state, applied.filter, applied.rest);
            if let Some(waiting) = applied.waiting {
                let all: Vec<&[TableChange]> = waiting.iter().map(|part| part.as_slice()).collect();
                opener.open_all(&mut state, catalog, &all).await?;
            }
        }
    }
    Ok(state)
}

/// How far entries were applied.
struct Applied {
    state: ChannelState,
    filter: EpochFilter,
    rest: VecDeque<LogEntry>,
    /// The changes of the transaction that the rest begins with, whose staged segments must be opened first.
    waiting: Option<Vec<Arc<Vec<TableChange>>>>,
}

/// Applies entries until one needs staged segments that are not opened.
fn apply_some(
    mut state: ChannelState,
    mut filter: EpochFilter,
    mut rest: VecDeque<LogEntry>,
    catalog: &CatalogSnapshot,
    settings: &Settings,
) -> Result<Applied> {
    while let Some(entry) = rest.pop_front() {
        let damaged = |error| {
            Error::corrupted(format!("log channel {}, offset {}", filter.channel, entry.offset), error)
        };
        let record = decode_record(entry.record.clone()).map_err(damaged)?;
        // Numbers that the broker keeps for itself are passed over.
        state.next = state.next.max(entry.offset);
        if filter.admits(&record)? {
            let waiting = waiting_for(&state, &record, catalog);
            if waiting.is_some() {
                rest.push_front(entry);
                return Ok(Applied { state, filter, rest, waiting });
            }
            state.apply(entry.offset, &record, catalog, settings)?;
        } else {
            state.next = entry.offset.next();
        }
    }
    Ok(Applied { state, filter, rest, waiting: None })
}

/// The changes that a Commit decides, when it cannot be applied before their staged segments are opened.
fn waiting_for(
    state: &ChannelState,
    record: &LogRecord,
    catalog: &CatalogSnapshot,
) -> Option<Vec<Arc<Vec<TableChange>>>> {
    let RecordBody::Commit { txn, changes, .. } = &record.body else { return None };
    let is_waiting = |change: &TableChange| {
        catalog.tables.contains_key(&change.table) && !unopened(state, change).is_empty()
    };
    let parts = || state.open.get(txn).into_iter().flat_map(|open| open.parts.values());
    let waits = changes.iter().any(is_waiting) || parts().any(|part| part.iter().any(is_waiting));
    waits.then(|| parts().cloned().chain([Arc::new(changes.clone())]).collect())
}

#[cfg(test)]
mod tests;
