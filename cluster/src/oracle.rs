//! The seam to time: one oracle hands out all timestamps of a cluster.
//!
//! Contract (each line is a test in `oracle/suite.rs`):
//! 1. `next(n)` gives the first of n consecutive timestamps, greater than every timestamp given before, over
//!    all restarts and whatever the wall clock does. 2. Timestamps follow the wall clock when it runs evenly;
//!    after a forward jump they advance no faster than `SLEW` times monotonic time until they have caught up.
//! 3. `now()` is at least everything given so far and below everything given later; it writes nothing.
//! 4. The mark is written only by `next`, and at most once per window. 5. Of two oracles on one meta store the
//!    older fails as soon as it needs a new window; no timestamp is given twice.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::Timestamp;
use proto::time::Clock;

use crate::error::{Error, Result};
use crate::meta::{Guard, MetaStore, Outcome, Write};

#[cfg(any(test, feature = "suites"))]
pub mod suite;

/// Where the high-water mark is kept: 8 bytes little-endian, above every timestamp given.
pub const MARK_KEY: &str = "oracle/mark";
/// How far the mark runs ahead of the wall clock, milliseconds.
pub const WINDOW_MILLIS: u64 = 5_000;
/// How far the mark moves when timestamps are ahead of the wall clock already, milliseconds.
const CROWDED_WINDOW_MILLIS: u64 = 500;
/// Percent of monotonic time that the oracle's time may advance by.
const SLEW_PERCENT: u64 = 110;

/// Hands out timestamps.
#[async_trait]
pub trait TimestampOracle: Send + Sync + std::fmt::Debug {
    /// The first of `count` consecutive fresh timestamps.
    async fn next(&self, count: u32) -> Result<Timestamp>;
    /// At least every timestamp given, below every timestamp to come.
    fn now(&self) -> Timestamp;
    /// The oracle's own wall time, milliseconds since 1970: it moves while nothing is given, and a jump of the clock
    /// does not move it. What relative times are counted from.
    fn wall_millis(&self) -> u64;
}

#[derive(Debug)]
struct State {
    /// The greatest timestamp given or shown.
    last: Timestamp,
    /// Timestamps below this may be given without a write.
    mark: Timestamp,
    /// The stored form of the mark; None before the first write.
    stored: Option<Bytes>,
    /// A mark whose write had an unknown outcome.
    in_doubt: Option<Timestamp>,
    /// The oracle's own wall time, microseconds, and the monotonic instant it belongs to.
    wall_micros: u64,
    seen_micros: u64,
}

/// An oracle whose high-water mark lies in the meta store.
#[derive(Debug)]
pub struct WindowOracle {
    meta: Arc<dyn MetaStore>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held while the mark is written.
    extending: tokio::sync::Mutex<()>,
}

impl WindowOracle {
    /// Starts above the mark of the oracle before it.
    ///
    /// # Errors
    /// When the meta store fails or the mark is damaged.
    pub async fn open(meta: Arc<dyn MetaStore>, clock: Arc<dyn Clock>) -> Result<Self> {
        let stored = meta.get(MARK_KEY).await?.map(|entry| entry.value);
        let mark = match &stored {
            None => Timestamp::ZERO,
            Some(bytes) => {
                let bytes = bytes.as_ref().try_into();
                Timestamp(u64::from_le_bytes(bytes.map_err(|_| Error::corrupted(MARK_KEY, "not 8 bytes"))?))
            }
        };
        let wall_micros = clock.now_millis().max(mark.millis()) * 1000;
        let state = State {
            last: mark,
            mark,
            stored,
            in_doubt: None,
            wall_micros,
            seen_micros: clock.monotonic_micros(),
        };
        Ok(Self { meta, clock, state: Mutex::new(state), extending: tokio::sync::Mutex::new(()) })
    }

    /// Gives timestamps from the current window, or says up to where the window must reach.
    fn give(&self, state: &mut State, count: u32) -> Result<Timestamp, Timestamp> {
        let millis = advance(state, self.clock.as_ref());
        let first = state.last.next().max(Timestamp::from_millis(millis));
        let end = Timestamp(first.0 + u64::from(count));
        if end > state.mark {
            let wall = Timestamp::from_millis(millis + WINDOW_MILLIS);
            return Err(wall.max(Timestamp::from_millis(end.millis() + CROWDED_WINDOW_MILLIS)));
        }
        state.last = Timestamp(end.0 - 1);
        Ok(first)
    }

    /// Writes a higher mark; the guard finds out whether another oracle has taken over.
    async fn extend(&self, mark: Timestamp) -> Result<()> {
        let stored = self.state.lock().stored.clone();
        let key = MARK_KEY.to_owned();
        let guard = match stored {
            None => Guard::Absent { key: key.clone() },
            Some(value) => Guard::Equals { key: key.clone(), value },
        };
        let value = Bytes::copy_from_slice(&mark.0.to_le_bytes());
        let outcome = self.meta.commit(vec![guard], vec![Write::put(key, value)]).await;
        match outcome {
            Ok(Outcome::Committed(_)) => {
                self.adopt(mark);
                Ok(())
            }
            Ok(Outcome::Refused { .. }) => self.resolve().await,
            Err(Error::Unknown { reason }) => {
                self.state.lock().in_doubt = Some(mark);
                // No timestamp was given: nothing of the caller's is in doubt.
                Err(unavailable(reason))
            }
            Err(error) => Err(error),
        }
    }

    /// The mark is not the one that was known: it is one that was in doubt, or another oracle's.
    async fn resolve(&self) -> Result<()> {
        let in_doubt = self.state.lock().in_doubt;
        let stored = self.meta.get(MARK_KEY).await?.map(|entry| entry.value);
        match in_doubt {
            Some(mark) if stored.as_deref() == Some(&mark.0.to_le_bytes()) => {
                self.adopt(mark);
                Ok(())
            }
            _ => Err(unavailable("another oracle has taken over".into())),
        }
    }

    /// Goes by a mark that is written.
    fn adopt(&self, mark: Timestamp) {
        let mut state = self.state.lock();
        state.mark = mark;
        state.stored = Some(Bytes::copy_from_slice(&mark.0.to_le_bytes()));
        state.in_doubt = None;
    }
}

fn unavailable(reason: String) -> Error {
    Error::Unavailable { what: "the timestamp oracle".into(), reason }
}

/// Moves the oracle's wall time towards the clock's, never back and never faster than the slew; milliseconds.
fn advance(state: &mut State, clock: &dyn Clock) -> u64 {
    let monotonic = clock.monotonic_micros().max(state.seen_micros);
    let allowed = (monotonic - state.seen_micros) * SLEW_PERCENT / 100;
    let target = clock.now_millis() * 1000;
    state.wall_micros = target.clamp(state.wall_micros, state.wall_micros + allowed);
    state.seen_micros = monotonic;
    state.wall_micros / 1000
}

#[async_trait]
impl TimestampOracle for WindowOracle {
    async fn next(&self, count: u32) -> Result<Timestamp> {
        if let Ok(first) = self.give(&mut self.state.lock(), count) {
            return Ok(first);
        }
        let _extending = self.extending.lock().await;
        loop {
            let given = self.give(&mut self.state.lock(), count);
            match given {
                Ok(first) => return Ok(first),
                Err(mark) => self.extend(mark).await?,
            }
        }
    }

    fn now(&self) -> Timestamp {
        let mut state = self.state.lock();
        let millis = advance(&mut state, self.clock.as_ref());
        // Only inside the written window: a restart starts at the mark and must stay above what was shown.
        let shown = Timestamp::from_millis(millis).min(Timestamp(state.mark.0.saturating_sub(1)));
        state.last = state.last.max(shown);
        state.last
    }

    fn wall_millis(&self) -> u64 {
        advance(&mut self.state.lock(), self.clock.as_ref())
    }
}

#[cfg(test)]
mod tests;
