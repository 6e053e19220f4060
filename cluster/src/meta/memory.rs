//! The meta store without a file: for tests and simulation. It outlives the nodes that share it.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use proto::time::Clock;
use tokio::sync::watch;

use super::state::MetaState;
use super::{Change, Entry, Guard, LeaseId, Listing, MetaStore, MetaWatch, Outcome, Revision, Write};
use crate::error::{Error, Result};

/// A state shared with the watches on it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<MetaState>,
    pub(super) changed: watch::Sender<Revision>,
    clock: Arc<dyn Clock>,
}

impl Shared {
    pub(super) fn new(state: MetaState, clock: Arc<dyn Clock>) -> Arc<Self> {
        let changed = watch::Sender::new(state.revision());
        Arc::new(Self { state: Mutex::new(state), changed, clock })
    }

    /// Looks at or changes the state after ending the leases that ran out; wakes watches when it moved.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut MetaState, u64) -> T) -> T {
        let now = self.clock.monotonic_micros();
        let (result, revision) = {
            let mut state = self.state.lock();
            state.expire(now);
            (act(&mut state, now), state.revision())
        };
        self.changed.send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
        result
    }

    pub(super) fn watch(self: &Arc<Self>, prefix: &str, from: Revision) -> Result<Box<dyn MetaWatch>> {
        self.with(|state, _| state.changes_from(prefix, from))?;
        let changed = self.changed.subscribe();
        Ok(Box::new(StateWatch { shared: Arc::clone(self), changed, prefix: prefix.into(), from }))
    }
}

#[derive(Debug)]
struct StateWatch {
    shared: Arc<Shared>,
    changed: watch::Receiver<Revision>,
    prefix: String,
    from: Revision,
}

#[async_trait]
impl MetaWatch for StateWatch {
    async fn next(&mut self) -> Result<Vec<Change>> {
        loop {
            self.changed.borrow_and_update();
            let found = self.shared.with(|state, _| state.changes_from(&self.prefix, self.from))?;
            if let Some((revision, changes)) = found {
                self.from = revision + 1;
                return Ok(changes);
            }
            self.changed.changed().await.map_err(|_| Error::Stopped)?;
        }
    }
}

/// See the file header.
#[derive(Debug)]
pub struct MemoryMeta {
    shared: Arc<Shared>,
}

impl MemoryMeta {
    /// An empty store whose leases run by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { shared: Shared::new(MetaState::default(), clock) }
    }
}

#[async_trait]
impl MetaStore for MemoryMeta {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.shared.with(|state, _| state.get(key)))
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        Ok(self.shared.with(|state, _| state.list(prefix)))
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Outcome> {
        self.shared.with(|state, _| {
            state.check_leases(&writes)?;
            Ok(state
                .refused_by(&guards)
                .map_or_else(|| Outcome::Committed(state.apply(writes)), |guard| Outcome::Refused { guard }))
        })
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn MetaWatch>> {
        self.shared.watch(prefix, from)
    }

    async fn grant(&self, ttl_millis: u64) -> Result<LeaseId> {
        Ok(self.shared.with(|state, now| state.grant(ttl_millis, now)))
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        self.shared.with(|state, now| state.renew(lease, now))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.shared.with(|state, _| state.revoke(lease))
    }
}
