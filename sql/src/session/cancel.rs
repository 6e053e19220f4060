//! Cancelling: the flag a running statement watches, and the registry that CancelRequest looks keys up in.
//!
//! Invariants: a flag is armed for one statement at a time and cleared before the next, so that a late
//! cancel request never hits a statement it was not meant for beyond the one that runs; secrets are compared
//! in full and never printed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use proto::time::Dice;
use proto::{ErrorKind, SqlError};
use tokio::sync::Notify;

/// Why a statement must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// CancelRequest or `pg_cancel_backend`.
    User,
    /// `statement_timeout`.
    StatementTimeout,
    /// The client's connection is gone.
    Disconnected,
    /// The server shuts down.
    Shutdown,
}

impl CancelReason {
    const fn code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::StatementTimeout => 2,
            Self::Disconnected => 3,
            Self::Shutdown => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::User),
            2 => Some(Self::StatementTimeout),
            3 => Some(Self::Disconnected),
            4 => Some(Self::Shutdown),
            _ => None,
        }
    }

    /// PostgreSQL's error for this reason.
    #[must_use]
    pub fn error(self) -> SqlError {
        let (kind, message) = match self {
            Self::User => (ErrorKind::QueryCanceled, "canceling statement due to user request"),
            Self::StatementTimeout => {
                (ErrorKind::QueryCanceled, "canceling statement due to statement timeout")
            }
            Self::Disconnected => (ErrorKind::ConnectionFailure, "connection to client lost"),
            Self::Shutdown => {
                (ErrorKind::AdminShutdown, "terminating connection due to administrator command")
            }
        };
        SqlError::new(kind, message)
    }
}

/// One session's cancel flag; clones share it.
#[derive(Clone, Default)]
pub struct CancelFlag {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: AtomicU8,
    /// The session shall end when it is idle.
    draining: AtomicBool,
    changed: Notify,
    /// What operators of the running statement watch between batches.
    execution: exec::CancelFlag,
}

impl fmt::Debug for CancelFlag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("CancelFlag").field(&self.reason()).finish()
    }
}

impl CancelFlag {
    /// Asks the current statement to stop. A lost connection or a shutdown is not downgraded to a cancel.
    pub fn cancel(&self, reason: CancelReason) {
        self.inner.state.fetch_max(reason.code(), Ordering::AcqRel);
        self.inner.execution.cancel();
        self.inner.changed.notify_waiters();
    }

    /// Forgets a cancel of the statement before; called when a statement begins. Disconnection and shutdown
    /// stay.
    pub fn clear_statement(&self) {
        for reason in [CancelReason::User, CancelReason::StatementTimeout] {
            let _ = self.inner.state.compare_exchange(reason.code(), 0, Ordering::AcqRel, Ordering::Acquire);
        }
        if self.reason().is_none() {
            self.inner.execution.reset();
        }
    }

    /// The flag in the form that operators watch.
    #[must_use]
    pub fn execution(&self) -> &exec::CancelFlag {
        &self.inner.execution
    }

    /// Why the statement must stop, if it must.
    #[must_use]
    pub fn reason(&self) -> Option<CancelReason> {
        CancelReason::from_code(self.inner.state.load(Ordering::Acquire))
    }

    /// Whether the statement must stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// # Errors
    /// 57014 (or 57P01, 08006) when the statement must stop.
    pub fn check(&self) -> Result<(), SqlError> {
        self.reason().map_or(Ok(()), |reason| Err(reason.error()))
    }

    /// Resolves when the statement must stop.
    pub async fn cancelled(&self) -> CancelReason {
        self.until(|| self.reason()).await
    }

    /// Resolves when the server shuts down and no longer waits for statements.
    pub async fn shut_down(&self) {
        self.until(|| self.reason().filter(|&reason| reason == CancelReason::Shutdown)).await;
    }

    /// Resolves when an idle session shall end.
    pub async fn drained(&self) {
        let shutdown = || self.reason() == Some(CancelReason::Shutdown);
        self.until(|| (self.inner.draining.load(Ordering::Acquire) || shutdown()).then_some(())).await;
    }

    async fn until<T>(&self, found: impl Fn() -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.inner.changed.notified());
            // Registered before the look at the state, so that no change is missed between the two.
            changed.as_mut().enable();
            if let Some(found) = found() {
                return found;
            }
            changed.await;
        }
    }

    fn drain(&self) {
        self.inner.draining.store(true, Ordering::Release);
        self.inner.changed.notify_waiters();
    }
}

/// What CancelRequest must name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CancelKey {
    pub pid: i32,
    pub secret: i32,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CancelKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// The live sessions of a process by backend pid.
#[derive(Debug, Default)]
pub struct CancelRegistry {
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    next_pid: i32,
    draining: bool,
    flags: HashMap<i32, (CancelKey, CancelFlag)>,
}

impl CancelRegistry {
    /// Gives a new session its pid, secret and flag.
    pub fn register(self: &Arc<Self>, dice: &dyn Dice) -> Registration {
        let secret = dice.next_u64() as i32;
        let flag = CancelFlag::default();
        let mut sessions = self.sessions.lock();
        loop {
            sessions.next_pid = sessions.next_pid.checked_add(1).unwrap_or(1);
            let pid = sessions.next_pid;
            if !sessions.flags.contains_key(&pid) {
                let key = CancelKey { pid, secret };
                if sessions.draining {
                    flag.drain();
                }
                sessions.flags.insert(pid, (key, flag.clone()));
                return Registration { registry: Arc::clone(self), key, flag };
            }
        }
    }

    /// Carries out a CancelRequest; a wrong key does nothing, as in PostgreSQL.
    pub fn cancel(&self, key: CancelKey) {
        if let Some((known, flag)) = self.sessions.lock().flags.get(&key.pid)
            && *known == key
        {
            flag.cancel(CancelReason::User);
        }
    }

    /// Stops a session's statement by pid alone (`pg_cancel_backend`); false when there is no such session.
    pub fn cancel_pid(&self, pid: i32) -> bool {
        self.sessions.lock().flags.get(&pid).is_some_and(|(_, flag)| {
            flag.cancel(CancelReason::User);
            true
        })
    }

    /// Ends every session once it is idle, and those that come later at once.
    pub fn drain(&self) {
        let mut sessions = self.sessions.lock();
        sessions.draining = true;
        for (_, flag) in sessions.flags.values() {
            flag.drain();
        }
    }

    /// Stops everything: the server shuts down.
    pub fn shut_down(&self) {
        for (_, flag) in self.sessions.lock().flags.values() {
            flag.cancel(CancelReason::Shutdown);
        }
    }

    /// Sessions that are registered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.lock().flags.len()
    }

    /// Whether no session is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A session's place in the registry; leaving scope gives it up.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<CancelRegistry>,
    key: CancelKey,
    flag: CancelFlag,
}

impl Registration {
    #[must_use]
    pub const fn key(&self) -> CancelKey {
        self.key
    }

    #[must_use]
    pub const fn flag(&self) -> &CancelFlag {
        &self.flag
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.sessions.lock().flags.remove(&self.key.pid);
    }
}
