//! Objects that nothing names any more and that wait for their end, and what was reclaimed so far.
//!
//! What it is not: durable. A crash forgets the list; the scan at the next start finds the objects again.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::path::Path;
use parking_lot::Mutex;
use proto::TableId;
use segments::SegmentHold;
use tokio::sync::Notify;

/// An object that may go once its time has come and no reader has it.
#[derive(Clone, Debug)]
pub(crate) struct Retired {
    pub(crate) table: TableId,
    pub(crate) bytes: u64,
    /// It is kept until then, milliseconds since 1970.
    pub(crate) due_millis: u64,
    /// The segment it belonged to.
    pub(crate) hold: Option<SegmentHold>,
}

impl Retired {
    /// Whether the object may be deleted.
    fn is_due(&self, now_millis: u64) -> bool {
        now_millis >= self.due_millis && self.hold.as_ref().is_none_or(|hold| !hold.is_held())
    }
}

/// What collection has done for a table, and what it has yet to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GarbageInfo {
    pub pending_objects: u64,
    pub pending_bytes: u64,
    /// Since the node was started.
    pub reclaimed_objects: u64,
    pub reclaimed_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Path, Retired>,
    reclaimed: BTreeMap<TableId, (u64, u64)>,
    scan: bool,
    /// Those who copy objects: meanwhile none is deleted.
    holds: usize,
}

/// Keeps every object from being deleted until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Garbage>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.state.lock().holds -= 1;
        self.0.look.notify_one();
    }
}

/// See the file header.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    state: Mutex<State>,
    pub(super) look: Notify,
}

impl Garbage {
    /// Objects that a new manifest does not name any more, or that no manifest names.
    pub(crate) fn retire(&self, objects: impl IntoIterator<Item = (Path, Retired)>) {
        let mut state = self.state.lock();
        let before = state.waiting.len();
        for (key, retired) in objects {
            state.waiting.entry(key).or_insert(retired);
        }
        if state.waiting.len() > before {
            self.look.notify_one();
        }
    }

    /// Holds all deletions back.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.state.lock().holds += 1;
        Hold(Arc::clone(self))
    }

    /// Asks for a look at everything in the store: after a drop, or when a writer failed.
    pub(crate) fn scan(&self) {
        self.state.lock().scan = true;
        self.look.notify_one();
    }

    /// The same after a failure, which would fail again at once.
    pub(super) fn scan_later(&self) {
        self.state.lock().scan = true;
    }

    pub(super) fn take_scan(&self) -> bool {
        std::mem::take(&mut self.state.lock().scan)
    }

    /// The objects whose time has come.
    pub(super) fn due(&self, now_millis: u64) -> Vec<(Path, TableId)> {
        let state = self.state.lock();
        if state.holds > 0 {
            return Vec::new();
        }
        let due = state.waiting.iter().filter(|(_, retired)| retired.is_due(now_millis));
        due.map(|(key, retired)| (key.clone(), retired.table)).collect()
    }

    /// When the next object may be due; `None` when nothing waits.
    pub(super) fn next_due_millis(&self) -> Option<u64> {
        let state = self.state.lock();
        state.waiting.values().map(|retired| retired.due_millis).min()
    }

    /// An object is gone from the store.
    pub(super) fn deleted(&self, key: &Path) {
        let mut state = self.state.lock();
        if let Some(retired) = state.waiting.remove(key) {
            let (objects, bytes) = state.reclaimed.entry(retired.table).or_default();
            *objects += 1;
            *bytes += retired.bytes;
        }
    }

    /// Whether objects of a table wait.
    pub(super) fn has_waiting(&self, table: TableId) -> bool {
        self.state.lock().waiting.values().any(|retired| retired.table == table)
    }

    /// By table.
    pub(crate) fn infos(&self) -> BTreeMap<TableId, GarbageInfo> {
        let state = self.state.lock();
        let mut infos: BTreeMap<TableId, GarbageInfo> = BTreeMap::new();
        for retired in state.waiting.values() {
            let info = infos.entry(retired.table).or_default();
            info.pending_objects += 1;
            info.pending_bytes += retired.bytes;
        }
        for (table, (objects, bytes)) in &state.reclaimed {
            let info = infos.entry(*table).or_default();
            (info.reclaimed_objects, info.reclaimed_bytes) = (*objects, *bytes);
        }
        infos
    }
}
