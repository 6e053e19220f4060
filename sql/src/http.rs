//! The HTTP listener for operators: `/livez`, `/readyz`, `/metrics`.
//!
//! Live: the process answers. Ready: it accepts connections, and is not draining.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use cluster::tasks::TaskSet;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

/// The running HTTP listener.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    health: Arc<Health>,
    tasks: TaskSet,
}

#[derive(Debug)]
struct Health {
    ready: AtomicBool,
    metrics: PrometheusHandle,
}

/// Starts the listener; it says it is not ready until it is told so.
///
/// # Errors
/// The address cannot be listened on.
pub async fn start(listen: SocketAddr) -> io::Result<HttpServer> {
    let socket = TcpListener::bind(listen).await?;
    let address = socket.local_addr()?;
    let health = Arc::new(Health { ready: AtomicBool::new(false), metrics: recorder() });
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(Arc::clone(&health));
    let tasks = TaskSet::new();
    tasks.spawn("http listener", |stop| async move {
        let server = axum::serve(socket, routes);
        tokio::select! {
            served = async { server.await } => {
                if let Err(error) = served {
                    tracing::error!(%error, "the http listener ended");
                }
            }
            () = stop.requested() => {}
        }
    });
    Ok(HttpServer { address, health, tasks })
}

/// The process's recorder of metrics; a second one in the same process (tests) records nothing.
fn recorder() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::debug!("metrics are recorded elsewhere in this process");
    }
    handle
}

impl HttpServer {
    /// Where the listener listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says whether the process takes new clients.
    pub fn set_ready(&self, ready: bool) {
        self.health.ready.store(ready, Ordering::Release);
    }

    /// Stops listening.
    pub async fn stop(&self) {
        self.tasks.shutdown().await;
    }
}

async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn render(State(health): State<Arc<Health>>) -> impl IntoResponse {
    metrics::gauge!("elanus_allocated_bytes").set(exec::memory::allocated_bytes() as f64);
    health.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics.render())
}

#[cfg(test)]
mod tests;
