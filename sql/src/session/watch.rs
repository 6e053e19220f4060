//! Watching a running statement: its timeout, its client, its panics.
//!
//! Invariants: a future of the executor is never dropped half-way (a commit may be under way), it is asked to
//! stop through the cancel flag; a panic becomes XX000 of that statement.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use proto::{ErrorKind, SqlError};
use tokio::io::AsyncRead;
use tokio::time::Sleep;

use super::backend::RowStream;
use super::cancel::{CancelFlag, CancelReason};
use crate::wire::frame::Gate;

/// The watch over one session's statements.
#[derive(Debug)]
pub(super) struct Watch {
    cancel: CancelFlag,
    timeout: Option<Pin<Box<Sleep>>>,
    client_gone: bool,
}

impl Watch {
    pub(super) const fn new(cancel: CancelFlag) -> Self {
        Self { cancel, timeout: None, client_gone: false }
    }

    /// A statement begins.
    pub(super) fn start(&mut self, timeout: Option<Duration>) {
        self.cancel.clear_statement();
        self.timeout = timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout)));
    }

    /// The statement has ended.
    pub(super) fn stop(&mut self) {
        self.timeout = None;
    }

    pub(super) const fn cancel(&self) -> &CancelFlag {
        &self.cancel
    }

    /// Runs a future of the executor to its end.
    pub(super) async fn run<R, T>(
        &mut self,
        gate: &mut Gate<R>,
        future: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<T, SqlError>
    where
        R: AsyncRead + Unpin,
    {
        let mut future = std::pin::pin!(AssertUnwindSafe(future).catch_unwind());
        loop {
            tokio::select! {
                biased;
                result = &mut future => return self.judged(result),
                () = gate.watch(), if !self.client_gone => self.client_left(),
                () = expired(&mut self.timeout) => self.cancel.cancel(CancelReason::StatementTimeout),
            }
        }
    }

    /// The next batch of a stream; a cancel does not wait for it, because a stream may be dropped at any time.
    pub(super) async fn next_batch<R>(
        &mut self,
        gate: &mut Gate<R>,
        rows: &mut RowStream,
    ) -> Result<Option<arrow::record_batch::RecordBatch>, SqlError>
    where
        R: AsyncRead + Unpin,
    {
        self.cancel.check()?;
        let cancel = self.cancel.clone();
        let mut next = std::pin::pin!(AssertUnwindSafe(rows.next()).catch_unwind());
        loop {
            tokio::select! {
                biased;
                result = &mut next => return self.judged(result.map(Option::transpose)),
                reason = cancel.cancelled() => return Err(reason.error()),
                () = gate.watch(), if !self.client_gone => self.client_left(),
                () = expired(&mut self.timeout) => self.cancel.cancel(CancelReason::StatementTimeout),
            }
        }
    }

    fn client_left(&mut self) {
        self.client_gone = true;
        self.cancel.cancel(CancelReason::Disconnected);
    }

    /// Turns a panic into an error, and an executor's plain cancel error into the one of the true reason.
    fn judged<T>(&self, result: Result<Result<T, SqlError>, Box<dyn Any + Send>>) -> Result<T, SqlError> {
        let result = result.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        result.map_err(|error| match self.cancel.reason() {
            Some(reason) if error.kind == ErrorKind::QueryCanceled => reason.error(),
            _ => error,
        })
    }
}

/// Resolves once when the timeout is over; never without one.
pub(super) async fn expired(timeout: &mut Option<Pin<Box<Sleep>>>) {
    match timeout {
        Some(sleep) => {
            sleep.as_mut().await;
            *timeout = None;
        }
        None => std::future::pending().await,
    }
}

/// Runs a call that must not take the session down with it.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, SqlError>) -> Result<T, SqlError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

/// The statement's error for a panic.
fn panicked(panic: &(dyn Any + Send)) -> SqlError {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = %said, "a statement panicked");
    SqlError::new(ErrorKind::Internal, format!("internal error: {said}"))
}
