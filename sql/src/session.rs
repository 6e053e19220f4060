//! Sessions: the protocol loop of one connection, and its boundary to the executor.
//!
//! What it is not: it knows no SQL beyond what the executor tells it, and holds no rows beyond one batch.
//!
//! Invariants: every message gets its replies in order; after an error in the extended protocol everything up
//! to Sync is skipped; portals end with their transaction; the reply to Sync and Query is sent before the
//! next message is read.

use std::sync::Arc;

use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Parse};
use proto::{ColumnType, ErrorKind, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::encode::EncodeContext;
use crate::error::{ErrorSeverity, sqlstate};
use crate::wire::frame::{DEFAULT_LIMIT, Gate, GateError};
use crate::wire::messages::Message;
use crate::wire::reply::Replies;

pub mod backend;
pub mod cancel;
mod copying;
mod delivery;
mod extended;
mod portal;
mod simple;
mod statements;
mod watch;

pub use backend::{
    Backend, ConnectRequest, CopyIn, CopyOut, Description, Executor, Notice, Outcome, Parameter, Prepared,
    ResultColumn, RowStream, RowsTag, SessionRequest, Severity, TransactionStatus,
};
pub use cancel::{CancelFlag, CancelKey, CancelReason, CancelRegistry};

use portal::Portals;
use statements::Statements;
use watch::Watch;

/// The bounds of one session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Bytes of one statement text.
    pub statement_bytes: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { message_bytes: DEFAULT_LIMIT, statement_bytes: 64 << 20 }
    }
}

/// Why a request did not end well.
#[derive(Debug)]
enum Failure {
    /// The statement failed; the session goes on.
    Statement(SqlError),
    /// The connection is lost or must be closed.
    Connection(GateError),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Statement(error)
    }
}

impl From<GateError> for Failure {
    fn from(error: GateError) -> Self {
        Self::Connection(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Connection(GateError::Broken(error))
    }
}

/// One client's session.
pub struct Session<E: Executor, R, W> {
    executor: E,
    gate: Gate<R>,
    replies: Replies<W>,
    watch: Watch,
    statements: Statements<E::Prepared>,
    portals: Portals<E::Prepared>,
    limits: SessionLimits,
    /// An error of the extended protocol was told; messages are dropped until Sync.
    skip_to_sync: bool,
    /// An implicit transaction was opened and not ended yet.
    implicit: bool,
}

impl<E, R, W> std::fmt::Debug for Session<E, R, W>
where
    E: Executor,
{
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("skip_to_sync", &self.skip_to_sync)
            .field("implicit", &self.implicit)
            .finish_non_exhaustive()
    }
}

impl<E, R, W> Session<E, R, W>
where
    E: Executor,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    /// A session whose client has been told of its authentication.
    pub fn new(
        executor: E,
        gate: Gate<R>,
        replies: Replies<W>,
        cancel: CancelFlag,
        limits: SessionLimits,
    ) -> Self {
        Self {
            executor,
            gate,
            replies,
            watch: Watch::new(cancel),
            statements: Statements::new(),
            portals: Portals::new(),
            limits,
            skip_to_sync: false,
            implicit: false,
        }
    }

    /// Serves the client until it leaves, breaks the protocol, or the server shuts down.
    pub async fn run(mut self) {
        if let Err(GateError::Refused(error)) = self.serve().await {
            tracing::debug!(%error, "session ended");
            self.replies.error(ErrorSeverity::Fatal, &error);
            // Nobody can be told when this fails: the connection is what is broken.
            let _ = self.replies.flush().await;
        }
        self.portals.clear();
        self.executor.close().await;
        self.replies.shut_down().await;
    }

    async fn serve(&mut self) -> Result<(), GateError> {
        self.ready().await?;
        loop {
            let frame = self.next_frame().await?;
            let tag = frame.tag;
            if self.skip_to_sync && !matches!(tag, b'S' | b'X') {
                continue;
            }
            match Message::decode(frame) {
                Ok(Message::Terminate) => return Ok(()),
                Ok(message) => self.handle(message).await?,
                Err(error) => self.undecodable(tag, error).await?,
            }
        }
    }

    /// The next frame; draining and the timeouts of idle sessions end the wait.
    async fn next_frame(&mut self) -> Result<crate::wire::frame::Frame, GateError> {
        let cancel = self.watch.cancel().clone();
        let (limit, kind, what) = self.idle_limit();
        let mut timeout = limit.map(|limit| Box::pin(tokio::time::sleep(limit)));
        tokio::select! {
            biased;
            frame = self.gate.frame(self.limits.message_bytes) => frame,
            () = cancel.drained() => Err(GateError::Refused(CancelReason::Shutdown.error())),
            () = watch::expired(&mut timeout) => Err(GateError::Refused(SqlError::new(
                kind,
                format!("terminating connection due to {what} timeout"),
            ))),
        }
    }

    /// How long the client may say nothing, and what it is told then. A pipeline that is not at its end is not idle.
    fn idle_limit(&self) -> (Option<std::time::Duration>, ErrorKind, &'static str) {
        let settings = self.executor.settings();
        let (name, kind, what) = match self.executor.transaction_status() {
            TransactionStatus::Idle => {
                ("idle_session_timeout", ErrorKind::IdleSessionTimeout, "idle-session")
            }
            _ => (
                "idle_in_transaction_session_timeout",
                ErrorKind::IdleInTransactionSessionTimeout,
                "idle-in-transaction",
            ),
        };
        (settings.timeout(name).filter(|_| !self.implicit && !self.skip_to_sync), kind, what)
    }

    async fn handle(&mut self, message: Message) -> Result<(), GateError> {
        match message {
            Message::Query(query) => self.simple(&query.query).await,
            Message::Sync => self.sync().await,
            Message::Flush => self.replies.flush().await.map_err(GateError::Broken),
            // A COPY that failed leaves its data in the stream.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) | Message::Terminate => Ok(()),
            Message::FunctionCall => {
                self.recover(SqlError::unsupported("the function call protocol").into()).await?;
                self.ready().await
            }
            Message::Password => Err(GateError::Refused(SqlError::new(
                ErrorKind::ProtocolViolation,
                "invalid frontend message type 112",
            ))),
            Message::Parse(message) => self.extended(Step::Parse(message)).await,
            Message::Bind(message) => self.extended(Step::Bind(message)).await,
            Message::Describe(message) => self.extended(Step::Describe(message)).await,
            Message::Execute(message) => self.extended(Step::Execute(message)).await,
            Message::Close(message) => self.extended(Step::Close(message)).await,
        }
    }

    /// A message whose body makes no sense: the frame is gone, so the session is still in step.
    async fn undecodable(&mut self, tag: u8, error: SqlError) -> Result<(), GateError> {
        self.recover(error.into()).await?;
        match tag {
            b'Q' | b'F' => self.ready().await,
            b'S' => self.sync().await,
            _ => {
                self.skip_to_sync = true;
                Ok(())
            }
        }
    }

    /// Tells the client of a failed statement and undoes what must be undone.
    async fn recover(&mut self, failure: Failure) -> Result<(), GateError> {
        let error = match failure {
            Failure::Statement(error) => error,
            Failure::Connection(error) => return Err(error),
        };
        self.watch.stop();
        self.portals.clear();
        self.executor.statement_failed(&error);
        self.send_notices();
        if self.watch.cancel().reason() == Some(CancelReason::Shutdown) {
            return Err(GateError::Refused(CancelReason::Shutdown.error()));
        }
        metrics::counter!("elanus_errors_total", "sqlstate" => sqlstate(error.kind)).increment(1);
        self.replies.error(ErrorSeverity::Error, &error);
        if self.implicit {
            self.implicit = false;
            if let Err(error) = self.watch.run(&mut self.gate, self.executor.end_implicit(false)).await {
                tracing::warn!(%error, "rolling an implicit transaction back failed");
            }
        }
        Ok(())
    }

    /// ReadyForQuery, after the reported settings that changed; sends everything.
    async fn ready(&mut self) -> Result<(), GateError> {
        self.watch.stop();
        let status = self.executor.transaction_status();
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        for (name, value) in self.executor.settings_mut().take_reported() {
            self.replies.parameter_status(&name, &value);
        }
        self.replies.ready(status);
        self.replies.flush().await.map_err(GateError::Broken)
    }

    async fn sync(&mut self) -> Result<(), GateError> {
        self.skip_to_sync = false;
        if let Err(error) = self.end_implicit().await {
            self.recover(error.into()).await?;
        }
        self.ready().await
    }

    async fn extended(&mut self, step: Step) -> Result<(), GateError> {
        let result = match step {
            Step::Parse(message) => self.parse(message).await,
            Step::Bind(message) => self.bind(message),
            Step::Describe(message) => self.describe(&message),
            Step::Execute(message) => self.execute_portal(message.name.as_deref(), message.max_rows).await,
            Step::Close(message) => self.close(&message),
        };
        if let Err(failure) = result {
            self.recover(failure).await?;
            self.skip_to_sync = true;
            // The error is sent at once: a client may wait for it before it sends Sync.
            self.replies.flush().await.map_err(GateError::Broken)?;
            return Ok(());
        }
        self.replies.flush_if_full().await.map_err(GateError::Broken)
    }

    async fn begin_implicit(&mut self) -> Result<(), SqlError> {
        self.implicit = true;
        self.watch.run(&mut self.gate, self.executor.begin_implicit()).await
    }

    /// Commits the implicit transaction if there is one.
    async fn end_implicit(&mut self) -> Result<(), SqlError> {
        if !std::mem::take(&mut self.implicit) {
            return Ok(());
        }
        self.watch.run(&mut self.gate, self.executor.end_implicit(true)).await
    }

    async fn prepare(
        &mut self,
        statement: &Arc<E::Statement>,
        types: &[Option<ColumnType>],
    ) -> Result<Arc<E::Prepared>, SqlError> {
        self.watch.run(&mut self.gate, self.executor.prepare(statement, types)).await
    }

    async fn execute(
        &mut self,
        prepared: &Arc<E::Prepared>,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome<E::Statement>, SqlError> {
        metrics::counter!("elanus_statements_total").increment(1);
        let before = self.executor.transaction_status();
        let outcome = self.watch.run(&mut self.gate, self.executor.execute(prepared, parameters)).await?;
        if before != TransactionStatus::Idle && self.executor.transaction_status() == TransactionStatus::Idle
        {
            self.portals.clear();
        }
        self.send_notices();
        Ok(outcome)
    }

    /// Sends the notices of what ran, from `client_min_messages` up.
    fn send_notices(&mut self) {
        let notices = self.executor.take_notices();
        if notices.is_empty() {
            return;
        }
        let lowest = match self.executor.settings().get("client_min_messages") {
            Some("error") => None,
            Some("warning") => Some(Severity::Warning),
            Some("notice") => Some(Severity::Notice),
            Some("log") => Some(Severity::Log),
            _ => Some(Severity::Debug),
        };
        for notice in notices {
            if notice.severity == Severity::Info || lowest.is_some_and(|lowest| notice.severity >= lowest) {
                self.replies.notice(&notice);
            }
        }
    }

    fn encode_context(&self) -> EncodeContext {
        EncodeContext::of(self.executor.settings())
    }

    fn check_length(&self, text: &str) -> Result<(), SqlError> {
        if text.len() > self.limits.statement_bytes {
            return Err(SqlError::new(
                ErrorKind::ProgramLimitExceeded,
                format!(
                    "statement text of {} bytes exceeds the limit of {} bytes",
                    text.len(),
                    self.limits.statement_bytes
                ),
            ));
        }
        Ok(())
    }
}

/// A message of the extended protocol after which an error skips to Sync.
enum Step {
    Parse(Parse),
    Bind(Bind),
    Describe(Describe),
    Execute(Execute),
    Close(Close),
}

#[cfg(test)]
pub(crate) mod tests;
