//! What is known of index builds: those that run, with their progress, and how the last ones ended.
//!
//! What it is not: the truth about which segments have an index; that is in the segments. It lives as long as the
//! process.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use proto::time::Clock;
use proto::{Classify as _, ErrorKind, Oid, SegmentId, SqlError, TableId};
use segments::BuildPhase;
use tokio::sync::watch;

use crate::error::Error;

/// Ended builds that are remembered.
const REMEMBERED: usize = 1000;

/// How a build stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildState {
    Running,
    Finished,
    Failed {
        kind: ErrorKind,
        /// In the words of the error.
        reason: String,
    },
}

/// The build of one index over one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexBuild {
    pub table: TableId,
    pub index: Oid,
    pub segment: SegmentId,
    pub state: BuildState,
    pub phase: BuildPhase,
    pub rows_done: u64,
    pub rows_total: u64,
    /// Milliseconds since 1970.
    pub started_millis: u64,
    /// Milliseconds since 1970, once it has ended.
    pub ended_millis: Option<u64>,
}

/// See the file header.
#[derive(Debug)]
pub(crate) struct Builds {
    clock: Arc<dyn Clock>,
    known: Mutex<BTreeMap<(Oid, SegmentId), IndexBuild>>,
    /// Moves with every end of a build.
    ended: watch::Sender<u64>,
}

impl Builds {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default(), ended: watch::Sender::new(0) }
    }

    /// Resolves at every end of a build.
    pub(crate) fn ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// All of them, by index and segment.
    pub(crate) fn all(&self) -> Vec<IndexBuild> {
        self.known.lock().values().cloned().collect()
    }

    pub(super) fn begin(&self, table: TableId, index: Oid, segment: SegmentId, rows: usize) {
        let build = IndexBuild {
            table,
            index,
            segment,
            state: BuildState::Running,
            phase: BuildPhase::default(),
            rows_done: 0,
            rows_total: rows as u64,
            started_millis: self.clock.now_millis(),
            ended_millis: None,
        };
        self.known.lock().insert((index, segment), build);
    }

    pub(super) fn progress(
        &self,
        index: Oid,
        segment: SegmentId,
        phase: BuildPhase,
        done: usize,
        total: usize,
    ) {
        if let Some(build) = self.known.lock().get_mut(&(index, segment)) {
            build.phase = phase;
            build.rows_done = done as u64;
            build.rows_total = total as u64;
        }
    }

    pub(super) fn end(&self, index: Oid, segment: SegmentId, error: Option<Error>) {
        let now = self.clock.now_millis();
        {
            let mut known = self.known.lock();
            if let Some(build) = known.get_mut(&(index, segment)) {
                build.ended_millis = Some(now);
                build.state = match error {
                    None => BuildState::Finished,
                    Some(error) => BuildState::Failed { kind: error.kind(), reason: error.to_string() },
                };
            }
            if known.len() > REMEMBERED {
                let ended = known.values().filter(|build| build.state == BuildState::Finished);
                let oldest = ended.min_by_key(|build| build.ended_millis);
                let oldest = oldest.map(|build| (build.index, build.segment));
                oldest.and_then(|key| known.remove(&key));
            }
        }
        self.ended.send_modify(|ends| *ends += 1);
    }

    /// Forgets a build that was given up.
    pub(super) fn forget(&self, index: Oid, segment: SegmentId) {
        self.known.lock().remove(&(index, segment));
        self.ended.send_modify(|ends| *ends += 1);
    }

    /// Forgets the builds of indexes that are gone.
    pub(super) fn retain(&self, exists: impl Fn(Oid) -> bool) {
        self.known.lock().retain(|(index, _), _| exists(*index));
        self.ended.send_modify(|ends| *ends += 1);
    }

    /// Lets failed builds be tried again.
    pub(crate) fn forget_failures(&self) {
        self.known.lock().retain(|_, build| !matches!(build.state, BuildState::Failed { .. }));
    }

    pub(super) fn has_failed(&self, index: Oid, segment: SegmentId) -> bool {
        self.failure(index, segment).is_some()
    }

    /// Why the last build of an index over a segment failed.
    pub(crate) fn failure(&self, index: Oid, segment: SegmentId) -> Option<SqlError> {
        match &self.known.lock().get(&(index, segment))?.state {
            BuildState::Failed { kind, reason } => Some(SqlError::new(*kind, reason.clone())),
            _ => None,
        }
    }
}
