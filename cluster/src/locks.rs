//! Locks of a database: rows, keys, tables and advisory locks, in one table beside the owner of the home channel.
//!
//! A transaction that wants to change a row takes its lock when the statement runs and keeps it until it ends, so
//! that what it has seen holds at its commit. Readers take none. The lock table decides nothing about rows: the
//! channel's owner checks every commit, and a lock that was lost costs a refused commit, not a wrong one.
//!
//! What it is not: a task. Nothing runs when nothing happens; each call is one look at the state, and a wait is a
//! place in a queue that the caller gives up when its clock, its client or a deadlock says so.
//!
//! Invariant: an owner that is dropped holds nothing.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use proto::{DatabaseId, TableId};
use tokio::sync::oneshot;

use crate::error::Error;

mod mode;
mod table;

pub use mode::{LockMode, LockModes, LockTarget};
pub use table::LockInfo;
use table::{Edge, LockTable, OwnerId, Requested, WaitId};

/// Row locks one transaction takes; beyond them conflicts are found at its commit only. It bounds memory.
const MOST_LOCKS: usize = 1 << 18;

/// The lock table of one database.
#[derive(Debug)]
pub struct Locks {
    database: DatabaseId,
    table: Mutex<LockTable>,
    /// A copy of the table's own count, for readers that only want to know whether to look.
    exclusive_tables: AtomicUsize,
}

impl Locks {
    /// A database without locks.
    pub(crate) fn new(database: DatabaseId) -> Self {
        Self { database, table: Mutex::default(), exclusive_tables: AtomicUsize::new(0) }
    }

    fn with<T>(&self, call: impl FnOnce(&mut LockTable) -> T) -> T {
        let mut table = self.table.lock();
        let outcome = call(&mut table);
        self.exclusive_tables.store(table.exclusive_tables, Ordering::Release);
        outcome
    }

    /// A transaction of a process.
    #[must_use]
    pub fn transaction(self: &Arc<Self>, process: i32) -> LockOwner {
        LockOwner { locks: Arc::clone(self), process, is_transaction: true, id: OnceLock::new() }
    }

    /// The session of a process.
    #[must_use]
    pub fn session(self: &Arc<Self>, process: i32) -> LockOwner {
        LockOwner { locks: Arc::clone(self), process, is_transaction: false, id: OnceLock::new() }
    }

    /// Whether somebody has or waits for ACCESS EXCLUSIVE of any table, so that readers must look.
    #[must_use]
    pub fn bar_readers(&self) -> bool {
        self.exclusive_tables.load(Ordering::Acquire) > 0
    }

    /// Everything that is held or waited for.
    #[must_use]
    pub fn list(&self) -> Vec<LockInfo> {
        self.table.lock().list()
    }
}

/// A holder of locks: a transaction, or a session for its advisory locks.
#[derive(Debug)]
pub struct LockOwner {
    locks: Arc<Locks>,
    process: i32,
    is_transaction: bool,
    /// Its place in the table, from its first request on.
    id: OnceLock<OwnerId>,
}

impl LockOwner {
    /// Takes the first lock of `wanted` that must be waited for, and all before it; `None` when there is no such and
    /// all are taken. The caller waits and calls again with the rest, or drops the wait.
    pub fn take<'a>(&'a self, wanted: &mut &[(LockTarget, LockModes)]) -> Option<Waiting<'a>> {
        self.locks.with(|table| {
            let id = self.enter(table);
            while let Some((&(target, modes), rest)) = wanted.split_first() {
                *wanted = rest;
                if target.is_row() && table.taken(id) >= MOST_LOCKS {
                    continue;
                }
                if let Requested::Waits(wait, granted) = table.request(id, target, modes) {
                    return Some(Waiting { owner: self, target, wait, granted });
                }
            }
            None
        })
    }

    /// Takes a lock unless that would wait.
    #[must_use]
    pub fn try_take(&self, target: LockTarget, modes: LockModes) -> bool {
        self.locks.with(|table| {
            let id = self.enter(table);
            table.try_request(id, target, modes)
        })
    }

    /// A session's lock is counted once more: it is given back when it was released as often as it was taken.
    pub fn count(&self, target: LockTarget, mode: LockMode) {
        self.locks.with(|table| {
            let id = self.enter(table);
            table.count(id, target, mode);
        });
    }

    /// Gives a session's lock back once; false when it does not have it.
    #[must_use]
    pub fn release(&self, target: LockTarget, mode: LockMode) -> bool {
        self.id.get().is_some_and(|id| self.locks.with(|table| table.discount(*id, target, mode)))
    }

    /// Gives everything back.
    pub fn release_all(&self) {
        self.release_since(0);
    }

    /// A place in what it has taken, for `release_since`.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.id.get().map_or(0, |id| self.locks.table.lock().taken(*id))
    }

    /// Gives back what it took behind a mark.
    pub fn release_since(&self, mark: usize) {
        if let Some(id) = self.id.get() {
            self.locks.with(|table| table.release_since(*id, mark));
        }
    }

    fn enter(&self, table: &mut LockTable) -> OwnerId {
        *self.id.get_or_init(|| table.enter(self.process, self.is_transaction))
    }
}

impl Drop for LockOwner {
    fn drop(&mut self) {
        if let Some(id) = self.id.get() {
            self.locks.with(|table| table.leave(*id));
        }
    }
}

/// A place in the queue of a lock; ready when the lock is granted. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Waiting<'a> {
    owner: &'a LockOwner,
    target: LockTarget,
    wait: WaitId,
    granted: oneshot::Receiver<()>,
}

impl Waiting<'_> {
    /// What is waited for.
    #[must_use]
    pub const fn target(&self) -> LockTarget {
        self.target
    }

    /// Whether everybody in a circle waits for the next one, this wait among them.
    ///
    /// # Errors
    /// `Deadlock` (40P01) when it does.
    pub fn check_deadlock(&self, process: i32) -> Result<(), Error> {
        let locks = &self.owner.locks;
        match locks.with(|table| table.deadlock(process)) {
            Some(circle) => Err(Error::Deadlock { detail: detail(&circle, locks.database) }),
            None => Ok(()),
        }
    }
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // The sender lives as long as the queue's entry; without one there is nothing to wait for.
        Pin::new(&mut self.granted).poll(context).map(|_| ())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.owner.locks.with(|table| table.give_up(self.target, self.wait));
    }
}

/// PostgreSQL's DETAIL of a deadlock.
fn detail(circle: &[Edge], database: DatabaseId) -> String {
    let mut text = String::new();
    for edge in circle {
        let (mode, what) = described(edge, database);
        let (process, blocker) = (edge.process, edge.blocker);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Process {process} waits for {mode} on {what}; blocked by process {blocker}.");
    }
    text.trim_end().to_owned()
}

fn described(edge: &Edge, database: DatabaseId) -> (&'static str, String) {
    match edge.target {
        LockTarget::Table(TableId(table)) => {
            (edge.mode.name(), format!("relation {table} of database {database}"))
        }
        LockTarget::Key { .. } | LockTarget::Row { .. } => {
            (LockMode::Share.name(), format!("transaction {}", edge.blocking_transaction.unwrap_or(0)))
        }
        LockTarget::Advisory { database, high, low, pair } => {
            let kind = if pair { 2 } else { 1 };
            (edge.mode.name(), format!("advisory lock [{database},{high},{low},{kind}]"))
        }
    }
}
