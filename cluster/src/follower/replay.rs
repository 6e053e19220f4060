//! Recovery: from the checkpoint to the end of the log, with what old owners managed to append behind a newer
//! epoch's first record left out.
//!
//! The same filter serves every reader of a channel, whatever its broker can refuse.

use std::sync::Arc;

use proto::catalog::CatalogSnapshot;
use proto::record::{LogRecord, RecordBody, decode_record};
use proto::{ChannelId, Epoch, Offset};

use super::state::ChannelState;
use crate::error::{Error, Result};
use crate::log::{LogBroker, LogEntry};
use crate::settings::Settings;
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
        let (catalog, settings) = (Arc::clone(catalog), Arc::clone(settings));
        (state, filter) = blocking(move || apply_all(state, filter, entries, &catalog, &settings)).await??;
    }
    Ok(state)
}

fn apply_all(
    mut state: ChannelState,
    mut filter: EpochFilter,
    entries: Vec<LogEntry>,
    catalog: &CatalogSnapshot,
    settings: &Settings,
) -> Result<(ChannelState, EpochFilter)> {
    for entry in entries {
        let damaged = |error| {
            Error::corrupted(format!("log channel {}, offset {}", filter.channel, entry.offset), error)
        };
        let record = decode_record(entry.record).map_err(damaged)?;
        // Numbers that the broker keeps for itself are passed over.
        state.next = state.next.max(entry.offset);
        if filter.admits(&record)? {
            state.apply(entry.offset, &record, catalog, settings)?;
        } else {
            state.next = entry.offset.next();
        }
    }
    Ok((state, filter))
}

#[cfg(test)]
mod tests;
