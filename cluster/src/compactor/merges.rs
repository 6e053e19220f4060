//! What is known of merges: the one that runs, with its progress, and how the last ones ended. It lives as long as the
//! process.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use proto::time::Clock;
use proto::{Classify as _, ErrorKind, SegmentId, TableId};

use super::plan::CompactionGoal;
use crate::error::Error;

/// Merges that are remembered.
const REMEMBERED: usize = 1000;

/// How a merge stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompactionState {
    Running,
    Finished,
    Failed {
        kind: ErrorKind,
        /// In the words of the error.
        reason: String,
    },
}

/// What a merge is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompactionPhase {
    #[default]
    Merging,
    Indexing,
    Replacing,
}

/// One merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Counts the merges of a channel.
    pub id: u64,
    pub table: TableId,
    pub goal: CompactionGoal,
    pub state: CompactionState,
    pub phase: CompactionPhase,
    pub inputs: Vec<SegmentId>,
    /// None when no row was left, or not yet known.
    pub output: Option<SegmentId>,
    pub input_rows: u64,
    pub output_rows: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
    /// Of the phase: values copied, or rows put into an index.
    pub done: u64,
    pub total: u64,
    /// Milliseconds since 1970.
    pub started_millis: u64,
    /// Milliseconds since 1970, once it has ended.
    pub ended_millis: Option<u64>,
}

/// See the file header.
#[derive(Debug)]
pub(super) struct Merges {
    clock: Arc<dyn Clock>,
    known: Mutex<VecDeque<Compaction>>,
}

impl Merges {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    pub(super) fn all(&self) -> Vec<Compaction> {
        self.known.lock().iter().cloned().collect()
    }

    pub(super) fn begin(
        &self,
        (table, goal): (TableId, CompactionGoal),
        inputs: Vec<SegmentId>,
        (input_rows, input_bytes): (u64, u64),
    ) {
        let mut known = self.known.lock();
        let id = known.back().map_or(1, |last| last.id + 1);
        known.push_back(Compaction {
            id,
            table,
            goal,
            state: CompactionState::Running,
            phase: CompactionPhase::Merging,
            inputs,
            output: None,
            input_rows,
            output_rows: 0,
            input_bytes,
            output_bytes: 0,
            done: 0,
            total: 0,
            started_millis: self.clock.now_millis(),
            ended_millis: None,
        });
        if known.len() > REMEMBERED {
            known.pop_front();
        }
    }

    /// Changes what is known of the one that runs, which is the last.
    pub(super) fn update(&self, change: impl FnOnce(&mut Compaction)) {
        if let Some(last) = self.known.lock().back_mut() {
            change(last);
        }
    }

    pub(super) fn phase(&self, phase: CompactionPhase) {
        self.update(|merge| (merge.phase, merge.done, merge.total) = (phase, 0, 0));
    }

    pub(super) fn progress(&self, done: usize, total: usize) {
        self.update(|merge| (merge.done, merge.total) = (done as u64, total as u64));
    }

    pub(super) fn end(&self, error: Option<&Error>) {
        let now = self.clock.now_millis();
        self.update(|merge| {
            merge.ended_millis = Some(now);
            merge.state = match error {
                None => CompactionState::Finished,
                Some(error) => CompactionState::Failed { kind: error.kind(), reason: error.to_string() },
            };
        });
    }
}
