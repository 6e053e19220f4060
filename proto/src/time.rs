//! Hybrid timestamps and the doors to time and randomness.
//!
//! A `Timestamp` is 64 bits: milliseconds since 1970 << 18 | counter. One oracle hands them out, so that two
//! transactions never share one. The traits here are the only way to the clock and to dice; production
//! code never reads them directly, which is what makes a seeded simulation possible.
//!
//! Invariant: timestamps of one cluster only grow, whatever the wall clock does.

use std::fmt;

/// Bits of the counter below the milliseconds.
pub const COUNTER_BITS: u32 = 18;

/// A commit, read or guarantee instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Before everything.
    pub const ZERO: Self = Self(0);
    /// After everything: rows that were never deleted end here.
    pub const MAX: Self = Self(u64::MAX);

    /// The first timestamp of a millisecond.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis << COUNTER_BITS)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The counter inside the millisecond.
    #[must_use]
    pub const fn counter(self) -> u64 {
        self.0 & ((1 << COUNTER_BITS) - 1)
    }

    /// The next timestamp; carries into the milliseconds when the counter is full.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.millis(), self.counter())
    }
}

/// What a read shows and what it insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPoint {
    /// The instant shown: rows committed at or before it, and not deleted at or before it.
    pub read_ts: Timestamp,
    /// The reader waits until everything at or before this is applied.
    pub guarantee_ts: Timestamp,
}

impl ReadPoint {
    /// A read that shows and insists on the same instant.
    #[must_use]
    pub const fn at(ts: Timestamp) -> Self {
        Self { read_ts: ts, guarantee_ts: ts }
    }
}

/// The door to time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall clock, milliseconds since 1970.
    fn now_millis(&self) -> u64;
    /// A clock that never goes back, microseconds since an arbitrary start.
    fn monotonic_micros(&self) -> u64;
}

/// The door to randomness: every draw of production code comes from here, so that a seed replays a run.
pub trait Dice: Send + Sync + fmt::Debug {
    /// A uniformly drawn number.
    fn next_u64(&self) -> u64;
}
