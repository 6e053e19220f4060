//! What becomes of an operation of a back end: how long it takes, whether it happens, what its caller is told, and
//! whether the process dies at it.
//!
//! Shared by all nodes of a run. A `Life` is one process: once it is over, nothing it asks for happens any more.
//!
//! Invariant: every choice comes from the run's dice, in the order in which the operations come.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::tasks::sleep;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

use super::trace::Trace;

/// What becomes of an operation that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    /// It does not happen, and the caller is told so.
    Refused,
    /// It does not happen, and the caller is not told.
    Lost,
    /// It happens, and the caller is not told.
    Unanswered,
    /// The caller is not told, and it happens some time later, if it still can.
    Late,
    /// It is taken for one that has happened before.
    Mistaken,
}

/// How bad a run is; chances are of a thousand operations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) refused: u32,
    pub(super) unknown: u32,
    /// Reads that fail, are cut short or do not find what is there.
    pub(super) reads: u32,
    /// Operations that take seconds.
    pub(super) stalled: u32,
    /// Longest time of the others, milliseconds.
    pub(super) latency_millis: u64,
}

impl Rates {
    /// Drawn for a run.
    pub(super) fn draw(dice: &mut StdRng) -> Self {
        let mut one = || [0, 0, 2, 10, 40][dice.random_range(0..5)];
        let (refused, unknown, reads, stalled) = (one(), one(), one(), one());
        Self { refused, unknown, reads, stalled, latency_millis: [0, 2, 10, 60][dice.random_range(0..4)] }
    }
}

/// One process.
#[derive(Debug, Default)]
pub(super) struct Life {
    is_over: AtomicBool,
    /// It relies on what the store lists, as S3 lets it; a node only collects by it.
    pub(super) rebuilds: bool,
}

impl Life {
    /// The process that rebuilds.
    pub(super) fn of_rebuild() -> Self {
        Self { rebuilds: true, ..Self::default() }
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Waits for ever when it is over: who is dead gets no answer.
    pub(super) async fn go_on(&self) {
        if self.is_over.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

/// See the file header.
#[derive(Debug)]
pub(super) struct Faults {
    rates: Rates,
    dice: Mutex<StdRng>,
    is_on: AtomicBool,
    /// Operations until the process dies; negative: it does not.
    fuse: AtomicI64,
    /// It is to die now.
    pub(super) killed: Notify,
    pub(super) trace: Arc<Trace>,
}

impl Faults {
    pub(super) fn new(rates: Rates, seed: u64, trace: Arc<Trace>) -> Self {
        Self {
            rates,
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            is_on: AtomicBool::new(true),
            fuse: AtomicI64::new(-1),
            killed: Notify::new(),
            trace,
        }
    }

    /// Nothing fails any more, or it may again.
    pub(super) fn switch(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::SeqCst);
    }

    /// The process dies at one of the next operations.
    pub(super) fn light(&self, operations: i64) {
        self.fuse.store(operations, Ordering::SeqCst);
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng, Rates) -> T) -> Option<T> {
        let is_on = self.is_on.load(Ordering::SeqCst);
        is_on.then(|| draw(&mut self.dice.lock().expect("no panic"), self.rates))
    }

    /// Before an operation: time passes, and it is decided what becomes of it.
    pub(super) async fn begin(&self, life: &Life) -> Fate {
        life.go_on().await;
        let drawn = self.draw(|dice, rates| (pause(dice, rates), fate(dice, rates)));
        let (millis, fate) = drawn.unwrap_or((0, Fate::Fine));
        self.pass(millis, life).await;
        fate
    }

    /// Behind an operation: the answer may take time, and the process may die before it arrives.
    pub(super) async fn end(&self, life: &Life) {
        let millis = self.draw(|dice, rates| if dice.random() { pause(dice, rates) } else { 0 });
        self.pass(millis.unwrap_or_default(), life).await;
    }

    /// Whether a read fails, after time has passed.
    pub(super) async fn read(&self, life: &Life) -> bool {
        life.go_on().await;
        let drawn = self.draw(|dice, rates| (pause(dice, rates), dice.random_range(0..1000) < rates.reads));
        let (millis, fails) = drawn.unwrap_or_default();
        self.pass(millis, life).await;
        fails
    }

    /// One of some possibilities.
    pub(super) fn pick(&self, possibilities: u32) -> u32 {
        self.dice.lock().expect("no panic").random_range(0..possibilities)
    }

    async fn pass(&self, millis: u64, life: &Life) {
        if millis > 0 {
            sleep(Some(Duration::from_millis(millis))).await;
        }
        if self.fuse.load(Ordering::SeqCst) >= 0 && self.fuse.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.killed.notify_one();
            life.end();
        }
        life.go_on().await;
    }
}

fn pause(dice: &mut StdRng, rates: Rates) -> u64 {
    if dice.random_range(0..1000) < rates.stalled {
        return dice.random_range(100..5_000);
    }
    if dice.random() { 0 } else { dice.random_range(0..=rates.latency_millis) }
}

fn fate(dice: &mut StdRng, rates: Rates) -> Fate {
    let drawn = dice.random_range(0..1000);
    if drawn < rates.refused {
        return if dice.random() { Fate::Refused } else { Fate::Mistaken };
    }
    if drawn < rates.refused + rates.unknown {
        return [Fate::Lost, Fate::Unanswered, Fate::Late][dice.random_range(0..3)];
    }
    Fate::Fine
}
