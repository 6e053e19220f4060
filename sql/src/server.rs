//! The listener: accepts connections, holds the conversation before a session, runs sessions, drains.
//!
//! Invariants: a connection that has not authenticated costs a few kilobytes and at most the startup timeout;
//! a broken or malicious client ends its own connection and nothing else.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use cluster::tasks::{Stop, TaskSet};
use futures::FutureExt;
use proto::time::Dice;
use proto::{ErrorKind, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::authentication::{Verifier, authenticate};
use crate::error::ErrorSeverity;
use crate::execute::SUPERUSER;
use crate::session::cancel::Registration;
use crate::session::{Backend, CancelRegistry, ConnectRequest, Executor, Session, SessionLimits};
use crate::wire::frame::{Gate, GateError};
use crate::wire::reply::Replies;
use crate::wire::startup::{Opening, Startup, open};

/// How the listener behaves.
#[derive(Clone, Copy, Debug)]
pub struct ServerSettings {
    /// Sessions at one time.
    pub max_connections: usize,
    /// From the connection's acceptance to its session.
    pub startup_timeout: Duration,
    /// How long running statements may go on while the server drains.
    pub drain_timeout: Duration,
    pub limits: SessionLimits,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_connections: 1000,
            startup_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            limits: SessionLimits::default(),
        }
    }
}

/// A running listener and its sessions.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    settings: ServerSettings,
    registry: Arc<CancelRegistry>,
    listener: TaskSet,
    sessions: Arc<TaskSet>,
}

/// Starts to accept connections; with a verifier every client proves that it knows the password.
///
/// # Errors
/// The address cannot be listened on.
pub async fn start<B: Backend>(
    listen: SocketAddr,
    backend: B,
    registry: Arc<CancelRegistry>,
    dice: Arc<dyn Dice>,
    verifier: Option<Arc<Verifier>>,
    settings: ServerSettings,
) -> io::Result<Server> {
    let socket = TcpListener::bind(listen).await?;
    let address = socket.local_addr()?;
    let sessions = Arc::new(TaskSet::new());
    let front = Arc::new(Front { backend, registry: Arc::clone(&registry), dice, verifier, settings });
    let listener = TaskSet::new();
    let accepted = Arc::clone(&sessions);
    listener.spawn("postgresql listener", |stop| accept(socket, front, accepted, stop));
    Ok(Server { address, settings, registry, listener, sessions })
}

impl Server {
    /// Where the server listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, ends idle sessions, gives running statements their time, then cancels them.
    pub async fn drain(&self) {
        self.listener.shutdown().await;
        self.registry.drain();
        if tokio::time::timeout(self.settings.drain_timeout, self.sessions.shutdown()).await.is_err() {
            tracing::warn!("statements are cancelled: the time to drain is over");
            self.registry.shut_down();
            // What does not even stop then ends with the process.
            let _ = tokio::time::timeout(Duration::from_secs(5), self.sessions.shutdown()).await;
        }
    }
}

/// What every connection needs.
struct Front<B> {
    backend: B,
    registry: Arc<CancelRegistry>,
    dice: Arc<dyn Dice>,
    /// Of the user's password; without one only this machine may connect.
    verifier: Option<Arc<Verifier>>,
    settings: ServerSettings,
}

async fn accept<B: Backend>(socket: TcpListener, front: Arc<Front<B>>, sessions: Arc<TaskSet>, stop: Stop) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stop.requested() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Connections that are not sessions yet may be as many again; more are closed unheard.
                if sessions.len() >= front.settings.max_connections * 2 + 16 {
                    continue;
                }
                let front = Arc::clone(&front);
                sessions.spawn("session", |_| front.serve_stream(stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl<B: Backend> Front<B> {
    async fn serve_stream(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // Without it small replies wait for the client's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        let (reader, writer) = stream.into_split();
        metrics::gauge!("elanus_connections").increment(1.0);
        let served = AssertUnwindSafe(self.serve(reader, writer, peer)).catch_unwind().await;
        metrics::gauge!("elanus_connections").decrement(1.0);
        if served.is_err() {
            tracing::error!(%peer, "a session panicked outside its statements");
        }
    }

    async fn serve<R, W>(&self, reader: R, writer: W, peer: SocketAddr)
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        let mut gate = Gate::new(reader);
        let mut replies = Replies::new(writer);
        let greeting = self.greet(&mut gate, &mut replies, peer);
        match tokio::time::timeout(self.settings.startup_timeout, greeting).await {
            Ok(Ok(Some((executor, registration)))) => {
                gate.open_up();
                let flag = registration.flag().clone();
                Session::new(executor, gate, replies, flag, self.settings.limits).run().await;
            }
            Ok(Err(GateError::Refused(error))) => {
                replies.error(ErrorSeverity::Fatal, &error);
                // The client may not wait for the reason.
                let _ = replies.flush().await;
                replies.shut_down().await;
            }
            Ok(Ok(None) | Err(GateError::Closed | GateError::Broken(_))) | Err(_) => {}
        }
    }

    /// Up to the session; `None` when the connection was a cancel request.
    async fn greet<R, W>(
        &self,
        gate: &mut Gate<R>,
        replies: &mut Replies<W>,
        peer: SocketAddr,
    ) -> Result<Option<(B::Executor, Registration)>, GateError>
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        let startup = match open(gate, replies).await? {
            Opening::Cancel(key) => {
                self.registry.cancel(key);
                return Ok(None);
            }
            Opening::Session(startup) => startup,
        };
        self.admit(peer).map_err(GateError::Refused)?;
        if let Some(verifier) = &self.verifier {
            let known = startup.user == SUPERUSER;
            authenticate(gate, replies, verifier, &startup.user, known).await?;
        }
        let registration = self.registry.register(self.dice.as_ref());
        let key = registration.key();
        let mut executor = self.connect(startup, peer, &registration).await.map_err(GateError::Refused)?;
        replies.authentication_ok();
        for (name, value) in executor.settings_mut().take_reported() {
            replies.parameter_status(&name, &value);
        }
        replies.backend_key(key.pid, key.secret);
        Ok(Some((executor, registration)))
    }

    /// Whether the client may have a session at all.
    fn admit(&self, peer: SocketAddr) -> Result<(), SqlError> {
        if self.verifier.is_none() && !peer.ip().to_canonical().is_loopback() {
            return Err(SqlError::new(
                ErrorKind::InvalidAuthorizationSpecification,
                format!("connection from host \"{}\" refused: no password is set", peer.ip()),
            )
            .with_hint("Without a password, connections are accepted from the loopback interface only."));
        }
        if self.registry.len() >= self.settings.max_connections {
            return Err(SqlError::new(ErrorKind::TooManyConnections, "sorry, too many clients already"));
        }
        Ok(())
    }

    async fn connect(
        &self,
        startup: Startup,
        peer: SocketAddr,
        registration: &Registration,
    ) -> Result<B::Executor, SqlError> {
        let request = ConnectRequest {
            user: startup.user,
            database: startup.database,
            settings: startup.settings,
            peer: Some(peer),
            backend_pid: registration.key().pid,
            cancel: registration.flag().clone(),
        };
        AssertUnwindSafe(self.backend.connect(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(SqlError::new(ErrorKind::Internal, "the session could not be opened")))
    }
}

#[cfg(test)]
mod tests;
