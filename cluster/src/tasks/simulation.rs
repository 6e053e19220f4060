//! One thread, a clock that jumps, no system: the world of seeded simulations (feature `suites`).
//!
//! A simulation runs on a tokio runtime of one thread without drivers. Blocking work runs in its caller's turn behind one
//! yield; a sleep is a place in a queue of times. When nothing can run, the clock jumps to the first of them, so that a
//! simulated hour takes as long as what happens in it. Everything that is left to chance comes from seeded dice, so
//! a seed replays a run.
//!
//! What it is not: another executor. The tasks, wakers and channels are tokio's.
//!
//! Invariant: time moves only while no task can run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use proto::time::Clock;

use crate::clock::SimClock;

/// So often may nothing be runnable and nobody wait for the time in a row: then nothing will happen any more.
const IDLE_TURNS: u32 = 64;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Simulation>>> = const { RefCell::new(None) };
}

/// The simulation of this thread.
pub(super) fn current() -> Option<Arc<Simulation>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Starts what has a thread of its own elsewhere.
#[allow(clippy::disallowed_methods, reason = "the door itself")]
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
    tokio::spawn(work).abort_handle()
}

/// Whether this thread is a simulation's.
pub(crate) fn is_on() -> bool {
    current().is_some()
}

/// See the file header.
#[derive(Debug)]
pub struct Simulation {
    clock: Arc<SimClock>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next_id: u64,
    /// By the time they wait for (microseconds) and the order in which they came.
    sleepers: BTreeMap<(u64, u64), Waker>,
    idle_turns: u32,
    /// Whoever runs the simulation.
    runner: Option<Waker>,
}

/// Takes the simulation off its thread.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

impl Simulation {
    /// A simulation on a clock that nobody else moves.
    #[must_use]
    pub fn new(clock: Arc<SimClock>) -> Arc<Self> {
        Arc::new(Self { clock, queue: Mutex::default() })
    }

    /// Runs a future and the tasks it spawns to its end. `None` when nothing can run any more and it has not ended.
    ///
    /// # Panics
    /// When the thread runs a simulation already, or the runtime cannot be made.
    #[allow(clippy::expect_used, reason = "test support")]
    pub fn run<T>(self: &Arc<Self>, future: impl Future<Output = T>) -> Option<T> {
        assert!(current().is_none(), "one simulation at a time");
        let jumping = Arc::clone(self);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || jumping.jump())
            .build()
            .expect("a runtime without drivers");
        self.queue.lock().idle_turns = 0;
        CURRENT.set(Some(Arc::clone(self)));
        let _leave = Leave;
        runtime.block_on(async {
            let mut future = pin!(future);
            std::future::poll_fn(|context| {
                if let Poll::Ready(value) = future.as_mut().poll(context) {
                    return Poll::Ready(Some(value));
                }
                let mut queue = self.queue.lock();
                queue.runner = Some(context.waker().clone());
                if queue.idle_turns > IDLE_TURNS { Poll::Ready(None) } else { Poll::Pending }
            })
            .await
        })
    }

    /// Nothing can run: the clock jumps to the first time that somebody waits for.
    fn jump(&self) {
        let woken = {
            let mut queue = self.queue.lock();
            if let Some(((due, _), waker)) = queue.sleepers.pop_first() {
                queue.idle_turns = 0;
                let now = self.clock.monotonic_micros();
                self.clock.advance(due.saturating_sub(now).div_ceil(1000));
                Some(waker)
            } else {
                queue.idle_turns += 1;
                queue.runner.clone()
            }
        };
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    /// Waits for a time, rounded up to milliseconds.
    pub(super) fn sleep(self: &Arc<Self>, time: Duration) -> Sleep {
        let millis = u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX / 2000);
        let due = self.clock.monotonic_micros().saturating_add(millis.saturating_mul(1000));
        Sleep { simulation: Arc::clone(self), due, id: None }
    }
}

/// A place in the queue of times; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Sleep {
    simulation: Arc<Simulation>,
    due: u64,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.simulation.clock.monotonic_micros() >= self.due {
            return Poll::Ready(());
        }
        let simulation = Arc::clone(&self.simulation);
        let mut queue = simulation.queue.lock();
        let id = *self.id.get_or_insert_with(|| {
            queue.next_id += 1;
            queue.next_id
        });
        queue.sleepers.insert((self.due, id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.simulation.queue.lock().sleepers.remove(&(self.due, id));
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tasks of the simulated runtime")]
mod tests {
    use super::*;
    use crate::tasks::{blocking, sleep};

    #[test]
    fn an_hour_passes_at_once_and_in_order() {
        let clock = Arc::new(SimClock::new(1_000));
        let order = Arc::new(Mutex::new(Vec::new()));
        let ended = Simulation::new(Arc::clone(&clock)).run(async {
            let seconds = |seconds, name| {
                let (order, clock) = (Arc::clone(&order), Arc::clone(&clock));
                tokio::spawn(async move {
                    sleep(Some(Duration::from_secs(seconds))).await;
                    let millis = clock.now_millis();
                    blocking(move || order.lock().push((name, millis))).await
                })
            };
            let (late, early) = (seconds(3600, "late"), seconds(1, "early"));
            late.await.expect("it ended").expect("work");
            early.await.expect("it ended").expect("work");
        });
        assert_eq!(ended, Some(()));
        assert_eq!(*order.lock(), [("early", 2_000), ("late", 3_601_000)]);
    }

    #[test]
    fn what_can_never_end_is_seen() {
        let simulation = Simulation::new(Arc::new(SimClock::new(0)));
        assert_eq!(simulation.run(std::future::pending::<()>()), None);
        assert_eq!(simulation.run(sleep(Some(Duration::from_millis(5)))), Some(()));
    }
}
