//! Where the house is put together: the only place that names a back end.
//!
//! `serve` locks the data directory, opens meta store, log and object store (`backends`), starts the node, the sessions and
//! the HTTP listener, prints the ready line, and takes everything down in the reverse order on SIGTERM.
//!
//! What it is not: no behaviour of its own; each part has its contract elsewhere.
//!
//! Invariants: the ready line is printed after recovery, when connections are accepted; a data directory
//! belongs to one process at a time.

use std::io::Write as _;
use std::sync::Arc;

use cluster::clock::{SystemClock, SystemDice};
use cluster::lease::Lease;
use cluster::oracle::WindowOracle;
use cluster::{Node, NodeParts};
use exec::{Engine, EngineSettings};
use proto::time::{Clock, Dice};
use segments::file::{FileDoor, SystemDoor};
use tokio::signal::unix::{SignalKind, signal};

use crate::authentication::Verifier;
use crate::cli::Serve;
use crate::copy::place::Places;
use crate::execute::{NodeBackend, Shared};
use crate::server::ServerSettings;

mod backends;
mod backup;
mod bar;
mod directory;
mod error;
mod memory;
mod password;
mod rebuild;
mod sample;
mod verify;

pub use backup::{backup, restore};
pub use error::StartError;
pub use rebuild::rebuild_meta;
pub use verify::verify;

use backends::{Backends, Doors, S3Buckets};

/// Threads of the asynchronous runtime besides DataFusion's work on them: one per core.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// Stack of the runtime's threads: planning recurses over expressions.
const THREAD_STACK_BYTES: usize = 8 << 20;

/// How long threads of the runtime may go on after everything was stopped.
const STUCK_THREAD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs the server until SIGTERM or SIGINT.
///
/// # Errors
/// In words for the user: an option of a later version, a data directory in use, a port taken, damaged files.
pub fn serve(options: &Serve) -> Result<(), StartError> {
    if let Some(refusal) = options.unsupported() {
        return Err(StartError::Unsupported(refusal));
    }
    let missing = segments::faiss::missing_instructions();
    if !missing.is_empty() {
        let what = missing.join(", ");
        return Err(StartError::Unsupported(format!("this build needs a CPU with {what}")));
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("ELANUS_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    let runtime = runtime()?;
    let result = runtime.block_on(run(options));
    // A thread that computes and never yields must not keep a drained process alive.
    runtime.shutdown_timeout(STUCK_THREAD_PATIENCE);
    result
}

fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .thread_stack_size(THREAD_STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|source| StartError::Io { what: "start the runtime".to_owned(), source })
}

async fn run(options: &Serve) -> Result<(), StartError> {
    let _lock = directory::lock(&options.places.data_dir)?;
    let memory_limit = options.memory_limit.unwrap_or_else(memory::default_limit);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let dice: Arc<dyn Dice> = Arc::new(SystemDice);
    let door: Arc<dyn FileDoor> = Arc::new(SystemDoor);
    let doors = Doors { files: door, clock: Arc::clone(&clock), dice: Arc::clone(&dice) };
    let Backends { meta, log, store, lease, tasks } = backends::open(&options.places, &doors).await?;
    let verifier = password::load(options.password_file.as_deref(), &meta, dice.as_ref()).await?;
    let oracle = Arc::new(WindowOracle::open(Arc::clone(&meta), Arc::clone(&clock)).await?);
    let node = Node::start(NodeParts {
        meta,
        log,
        store,
        oracle,
        clock: Arc::clone(&clock),
        dice: Arc::clone(&dice),
        lease: lease.clone(),
        settings: cluster::Settings {
            retention_millis: options.retention,
            release_memory: exec::memory::release_free_pages,
            ..cluster::Settings::default()
        },
    })
    .await?;
    let engine = Engine::new(
        EngineSettings {
            memory_limit_bytes: Some(memory_limit as usize),
            target_partitions: worker_threads(),
        },
        planner::rules(),
    )?;
    let shared = Arc::new(Shared {
        node: Arc::clone(&node),
        engine,
        clock,
        dice,
        sessions: Arc::default(),
        connections: Arc::default(),
        places: Places { directory: options.places.data_dir.clone(), buckets: Arc::new(S3Buckets) },
        copies: Arc::default(),
        open_store: backends::open_place,
    });
    if options.sample {
        sample::load(&shared).await?;
    }
    let served = serve_until_signal(options, shared, verifier, &lease).await;
    node.stop().await?;
    tasks.shutdown().await;
    tracing::info!("stopped");
    served
}

async fn serve_until_signal(
    options: &Serve,
    shared: Arc<Shared>,
    verifier: Option<Arc<Verifier>>,
    lease: &Lease,
) -> Result<(), StartError> {
    let failed = |source| StartError::Io { what: "wait for signals".to_owned(), source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let listens = |what: &'static str, address| {
        move |source| StartError::Io { what: format!("listen for {what} on {address}"), source }
    };
    let http = crate::http::start(options.http).await.map_err(listens("HTTP", options.http))?;
    let server = crate::server::start(
        options.listen,
        NodeBackend::new(Arc::clone(&shared)),
        Arc::clone(&shared.sessions),
        Arc::clone(&shared.dice),
        verifier,
        ServerSettings::default(),
    )
    .await
    .map_err(listens("PostgreSQL clients", options.listen))?;
    http.set_ready(true);
    announce(server.address())?;
    let ended = tokio::select! {
        _ = terminate.recv() => {
            tracing::info!("SIGTERM: draining");
            Ok(())
        }
        _ = interrupt.recv() => {
            tracing::info!("SIGINT: draining");
            Ok(())
        }
        () = lease.lost() => Err(StartError::LeaseLost),
    };
    http.set_ready(false);
    server.drain().await;
    http.stop().await;
    ended
}

/// The line that tools wait for.
fn announce(address: std::net::SocketAddr) -> Result<(), StartError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready: postgresql://elanus@{address}/elanus")
        .and_then(|()| out.flush())
        .map_err(|source| StartError::Io { what: "print the ready line".to_owned(), source })
}

/// `elanus version`.
pub fn print_version(libraries: bool) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "elanus {}", env!("CARGO_PKG_VERSION"));
    if libraries {
        let _ = writeln!(out, "datafusion {}", datafusion::DATAFUSION_VERSION);
        let _ = writeln!(out, "arrow {}", arrow::ARROW_VERSION);
        let _ = writeln!(out, "faiss {}", segments::faiss::library());
        let _ = writeln!(out, "distance kernels {}", segments::distance::instruction_level());
    }
}

/// Commands of later versions.
///
/// # Errors
/// Always.
pub fn not_available(command: &str) -> Result<(), StartError> {
    Err(StartError::Unsupported(format!("elanus {command} is not available in this version")))
}
