//! Following a channel: records become tables at an instant.
//!
//! `ChannelState` (`state.rs`) is an immutable value: the owner (or a replay) works on a clone, applies records to
//! it (`apply.rs`) and publishes it whole. So readers take snapshots without blocking anyone, and a batch whose
//! append failed is undone by forgetting the clone.
//!
//! Invariants: records are applied in offset order, each once; what is published is durable; `applied` (the
//! channel's service_ts) never goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use proto::catalog::TableMeta;
use proto::time::ReadPoint;
use proto::{ChannelId, Timestamp};
use segments::TableSnapshot;
use tokio::sync::watch;

use crate::error::{Error, Result};

mod apply;
pub(crate) mod replay;
mod state;

pub(crate) use state::{ChannelState, Segment, Stage, TableState, Unsaved};

/// The newest state of a channel, shared by its owner with all readers.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) channel: ChannelId,
    state: ArcSwap<ChannelState>,
    applied: watch::Sender<Timestamp>,
    is_behind: AtomicBool,
}

impl Published {
    /// Shows a first state.
    pub(crate) fn new(channel: ChannelId, state: ChannelState) -> Arc<Self> {
        let applied = watch::Sender::new(state.last_ts);
        let is_behind = AtomicBool::new(false);
        Arc::new(Self { channel, state: ArcSwap::from_pointee(state), applied, is_behind })
    }

    /// Whether the catalog may show a change whose rows this state does not have yet: its Commit is decided and not
    /// in the log. Who reads now would see a part of a transaction, and waits for the owner instead.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::SeqCst)
    }

    /// Only the owner says so.
    pub(crate) fn set_behind(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::SeqCst);
    }

    /// The newest state.
    pub(crate) fn state(&self) -> Arc<ChannelState> {
        self.state.load_full()
    }

    /// Shows a newer state and wakes the readers that waited for it.
    pub(crate) fn publish(&self, state: ChannelState) {
        let last_ts = state.last_ts;
        self.state.store(Arc::new(state));
        self.applied.send_if_modified(|applied| {
            let moved = *applied < last_ts;
            *applied = last_ts.max(*applied);
            moved
        });
    }

    /// A table at a read point, once everything up to its guarantee is applied.
    pub(crate) async fn snapshot(
        &self,
        table: &Arc<TableMeta>,
        point: ReadPoint,
    ) -> Result<Arc<TableSnapshot>> {
        if *self.applied.borrow() < point.guarantee_ts {
            let mut applied = self.applied.subscribe();
            applied.wait_for(|applied| *applied >= point.guarantee_ts).await.map_err(|_| Error::Stopped)?;
        }
        let state = self.state.load();
        Ok(Arc::new(match state.tables.get(&table.id) {
            Some(known) => known.at(Arc::clone(table), point.read_ts)?,
            None => TableSnapshot { table: Arc::clone(table), read_ts: point.read_ts, segments: Vec::new() },
        }))
    }
}
