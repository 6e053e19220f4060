//! The two clocks and the two dice behind `proto::time`: the system's, and ones that a test turns by hand.
//!
//! Invariant: this file holds the only reads of the wall clock, the monotonic clock and the system's randomness.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use proto::time::{Clock, Dice};
use rand::{RngCore, SeedableRng, rngs::OsRng};
use rand_chacha::ChaCha8Rng;

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic side starts now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the door itself")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the door itself")]
    fn now_millis(&self) -> u64 {
        // A clock before 1970 reads as 1970; the oracle stays monotone from its mark.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
    }

    fn monotonic_micros(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// A clock that stands still until it is moved; wall and monotonic side can be moved apart.
#[derive(Debug)]
pub struct SimClock {
    millis: AtomicU64,
    micros: AtomicU64,
}

impl SimClock {
    /// A clock at a wall time (milliseconds since 1970).
    #[must_use]
    pub const fn new(millis: u64) -> Self {
        Self { millis: AtomicU64::new(millis), micros: AtomicU64::new(0) }
    }

    /// Lets time pass on both sides.
    pub fn advance(&self, millis: u64) {
        self.millis.fetch_add(millis, Ordering::SeqCst);
        self.micros.fetch_add(millis * 1000, Ordering::SeqCst);
    }

    /// Sets the wall clock, forwards or backwards, without time passing.
    pub fn set_wall(&self, millis: u64) {
        self.millis.store(millis, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now_millis(&self) -> u64 {
        self.millis.load(Ordering::SeqCst)
    }

    fn monotonic_micros(&self) -> u64 {
        self.micros.load(Ordering::SeqCst)
    }
}

/// The system's randomness.
#[derive(Debug, Default)]
pub struct SystemDice;

impl Dice for SystemDice {
    fn next_u64(&self) -> u64 {
        rand::TryRngCore::unwrap_err(OsRng).next_u64()
    }
}

/// Dice that a seed replays.
#[derive(Debug)]
pub struct SeededDice {
    rng: Mutex<ChaCha8Rng>,
}

impl SeededDice {
    /// Dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)) }
    }
}

impl Dice for SeededDice {
    fn next_u64(&self) -> u64 {
        self.rng.lock().next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_system_dice_do_not() {
        let draw = |dice: &dyn Dice| [dice.next_u64(), dice.next_u64(), dice.next_u64()];
        assert_eq!(draw(&SeededDice::new(7)), draw(&SeededDice::new(7)));
        assert_ne!(draw(&SeededDice::new(7)), draw(&SeededDice::new(8)));
        assert_ne!(draw(&SystemDice), draw(&SystemDice));
    }

    #[test]
    fn the_sides_of_a_simulated_clock_move_apart() {
        let clock = SimClock::new(1_000);
        clock.advance(5);
        clock.set_wall(10);
        assert_eq!((clock.now_millis(), clock.monotonic_micros()), (10, 5_000));
        let system = SystemClock::new();
        assert!(system.now_millis() > 1_600_000_000_000);
        assert!(system.monotonic_micros() <= system.monotonic_micros());
    }
}
