//! The only door to tasks and threads: every loop has a name, an owner, and a place in the order of shutdown.
//!
//! A `TaskSet` starts loops with a `Stop` they listen to, says when one ended although nobody asked it to, and
//! stops them in the reverse order of their start, each awaited before the next is asked. Dropping the set
//! aborts what still runs, which is what a killed process looks like to the back ends.
//!
//! What it is not: an actor framework; mailboxes and messages belong to the loops.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

#[cfg(any(test, feature = "suites"))]
pub mod simulation;

/// What a loop listens to; resolves once it shall end.
#[derive(Clone, Debug)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Waits until the loop shall end.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Whether the loop shall end.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }
}

struct Entry {
    id: u64,
    name: String,
    token: CancellationToken,
    abort: AbortHandle,
    handle: JoinHandle<()>,
}

#[derive(Default)]
struct Entries {
    next_id: u64,
    running: Vec<Entry>,
    closed: bool,
}

/// A group of loops with one order of shutdown.
pub struct TaskSet {
    entries: Arc<Mutex<Entries>>,
    failed: watch::Sender<Option<String>>,
}

impl std::fmt::Debug for TaskSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.entries.lock().running.iter().map(|entry| entry.name.clone()).collect();
        formatter.debug_struct("TaskSet").field("running", &names).finish()
    }
}

impl Default for TaskSet {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskSet {
    /// A set without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: Arc::default(), failed: watch::Sender::new(None) }
    }

    /// Starts a loop on the current runtime. After `shutdown` nothing is started any more.
    #[allow(clippy::disallowed_methods, reason = "the door itself")]
    pub fn spawn<F, Fut>(&self, name: impl Into<String>, run: F)
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let mut entries = self.entries.lock();
        if entries.closed {
            return;
        }
        let (id, name) = (entries.next_id, name.into());
        entries.next_id += 1;
        let token = CancellationToken::new();
        let leave = Leave {
            id,
            name: name.clone(),
            entries: Arc::clone(&self.entries),
            failed: self.failed.clone(),
            finished: false,
        };
        let work = run(Stop(token.clone()));
        let handle = tokio::spawn(async move {
            let mut leave = leave;
            work.await;
            leave.finished = true;
        });
        entries.running.push(Entry { id, name, token, abort: handle.abort_handle(), handle });
    }

    /// The name of the first task that panicked, once there is one.
    #[must_use]
    pub fn failures(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    /// How many loops run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.lock().running.len()
    }

    /// Whether no loop runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stops all loops, the last started first, and waits for each.
    pub async fn shutdown(&self) {
        self.entries.lock().closed = true;
        loop {
            let Some(entry) = self.entries.lock().running.pop() else { return };
            entry.token.cancel();
            if let Err(error) = entry.handle.await
                && error.is_panic()
            {
                tracing::error!(task = entry.name, "task panicked while it stopped");
            }
        }
    }
}

impl Drop for TaskSet {
    fn drop(&mut self) {
        for entry in self.entries.lock().running.drain(..) {
            entry.abort.abort();
        }
    }
}

/// Takes a finished task out of the set, whichever way it ended.
struct Leave {
    id: u64,
    name: String,
    entries: Arc<Mutex<Entries>>,
    failed: watch::Sender<Option<String>>,
    finished: bool,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.entries.lock().running.retain(|entry| entry.id != self.id);
        if !self.finished && std::thread::panicking() {
            tracing::error!(task = self.name, "task panicked");
            self.failed.send_replace(Some(self.name.clone()));
        }
    }
}

/// Runs blocking work (files, compression) off the I/O threads.
///
/// # Errors
/// When the work panicked or the runtime is going down.
#[allow(clippy::disallowed_methods, reason = "the door itself")]
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    #[cfg(any(test, feature = "suites"))]
    if simulation::current().is_some() {
        tokio::task::yield_now().await;
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        if error.is_panic() { Error::Internal("blocking work panicked".into()) } else { Error::Stopped }
    })
}

/// Runs a future that blocks inside (files behind an asynchronous seam) off the I/O threads.
///
/// # Errors
/// As `blocking`.
pub async fn blocking_async<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    #[cfg(any(test, feature = "suites"))]
    if simulation::current().is_some() {
        tokio::task::yield_now().await;
        return Ok(work.await);
    }
    let runtime = tokio::runtime::Handle::current();
    blocking(move || runtime.block_on(work)).await
}

/// Waits a while; for ever when there is nothing to wait for.
pub async fn sleep(time: Option<std::time::Duration>) {
    #[cfg(any(test, feature = "suites"))]
    if let Some((simulation, time)) = simulation::current().zip(time) {
        return simulation.sleep(time).await;
    }
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Starts a named thread for a loop that blocks in system calls; it must end when its mailbox closes.
///
/// # Errors
/// When the system has no more threads.
pub fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map_err(|source| Error::Io { action: format!("could not start thread \"{name}\""), source })
}

#[cfg(test)]
mod tests;
