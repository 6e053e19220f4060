//! What happened in a run, in order: a hash of all of it, and its last lines for whoever looks for a failure.
//!
//! Invariant: nothing goes in that differs from run to run, so that two runs of a seed have the same hash.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use cluster::clock::SimClock;
use proto::time::Clock;

/// Lines kept for a failure.
const TAIL: usize = 60;

/// See the file header.
#[derive(Debug)]
pub(super) struct Trace {
    clock: Arc<SimClock>,
    began_millis: u64,
    is_printed: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hasher: DefaultHasher,
    events: u64,
    tail: VecDeque<String>,
}

impl Trace {
    pub(super) fn new(clock: Arc<SimClock>) -> Self {
        let is_printed = std::env::var_os("TRACE").is_some();
        Self { began_millis: clock.now_millis(), clock, is_printed, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Adds a line.
    pub(super) fn add(&self, who: &str, what: impl AsRef<str>) {
        let line = format!("{:>8} ms {who}: {}", self.millis(), what.as_ref());
        if self.is_printed {
            println!("{line}");
        }
        let mut state = self.state();
        state.hasher.write(line.as_bytes());
        state.events += 1;
        if state.tail.len() == TAIL {
            state.tail.pop_front();
        }
        state.tail.push_back(line);
    }

    /// Simulated milliseconds since the beginning.
    pub(super) fn millis(&self) -> u64 {
        self.clock.now_millis() - self.began_millis
    }

    pub(super) fn hash(&self) -> u64 {
        self.state().hasher.finish()
    }

    pub(super) fn events(&self) -> u64 {
        self.state().events
    }

    pub(super) fn tail(&self) -> String {
        Vec::from(self.state().tail.clone()).join("\n  ")
    }
}
