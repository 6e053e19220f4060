//! The back ends by the names of the command line: local files, or etcd, Kafka and S3 in any combination.
//!
//! Services that do not answer yet are waited for, so that start order does not matter; what is waited for is said
//! once per reason. On a shared meta store the process holds a lease before it touches anything else.
//!
//! What it is not: it knows no credentials; those of S3 come from the usual `AWS_…` variables.

use std::sync::Arc;
use std::time::Duration;

use cluster::lease::{Keeper, Lease};
use cluster::log::{FileLog, KafkaLog, LogBroker};
use cluster::meta::{EtcdMeta, MetaStore, RedbMeta};
use cluster::tasks::{TaskSet, sleep};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, RetryConfig};
use proto::time::{Clock, Dice};
use proto::{ErrorKind, SqlError};
use segments::file::{FileDoor, SystemDoor};
use segments::{CachedStore, LocalStore};

use super::{StartError, directory};
use crate::cli::{Location, StorageOptions};
use crate::copy::place::Buckets;

/// How long a service may be unreachable at the start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// How long somebody else's lease is waited for: a dead server's has run out by then.
const LEASE_PATIENCE: Duration = Duration::from_millis(cluster::lease::TTL_MILLIS + 4_000);
/// How long one request to the object store is tried again.
const STORE_RETRIES: Duration = Duration::from_secs(20);

/// What was opened.
pub(super) struct Backends {
    pub(super) meta: Arc<dyn MetaStore>,
    pub(super) log: Arc<dyn LogBroker>,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) lease: Lease,
    /// Keeps the lease while it runs.
    pub(super) tasks: TaskSet,
}

/// The parts of the assembly that back ends are made with.
pub(super) struct Doors {
    pub(super) files: Arc<dyn FileDoor>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dice: Arc<dyn Dice>,
}

/// Opens the back ends that the options name.
///
/// # Errors
/// A service that does not answer in time; a file that cannot be opened; settings of S3 that are no settings.
pub(super) async fn open(options: &StorageOptions, doors: &Doors) -> Result<Backends, StartError> {
    let meta = open_meta(options, doors).await?;
    let (tasks, lease) = match &options.meta {
        Location::Local => (TaskSet::new(), Lease::of_directory()),
        Location::Service { .. } => {
            let identity = directory::identity(&options.data_dir, doors.dice.as_ref())?;
            keep(Keeper::acquire(Arc::clone(&meta), Arc::clone(&doors.clock), &identity).await?)
        }
    };
    let log = open_log(options, doors).await?;
    let store: Arc<dyn ObjectStore> = match &options.store {
        Location::Local => {
            Arc::new(LocalStore::open(Arc::clone(&doors.files), options.data_dir.join("objects"))?)
        }
        Location::Service { hosts, path } => {
            let remote = reach_bucket(&hosts.join(","), path, &doors.clock).await?;
            let copies = LocalStore::open(Arc::clone(&doors.files), options.data_dir.join("cache"))?;
            Arc::new(CachedStore::new(remote, copies))
        }
    };
    Ok(Backends { meta, log, store, lease, tasks })
}

/// Opens the back ends for looking only: nothing is created, and objects of S3 are read where they are, not from copies.
/// On a shared meta store the lease is held meanwhile, so that no server starts; one that serves is not waited for
/// longer than a dead one's lease may last.
///
/// # Errors
/// As `open`; `Served` when a server holds the lease.
pub(super) async fn open_to_read(options: &StorageOptions, doors: &Doors) -> Result<Backends, StartError> {
    let meta = open_meta(options, doors).await?;
    let (tasks, lease) = match &options.meta {
        Location::Local => (TaskSet::new(), Lease::of_directory()),
        Location::Service { .. } => {
            let identity = format!("verify-{:016x}", doors.dice.next_u64());
            let acquired = Keeper::acquire(Arc::clone(&meta), Arc::clone(&doors.clock), &identity);
            let acquired = tokio::time::timeout(LEASE_PATIENCE, acquired).await;
            keep(acquired.map_err(|_| StartError::Served)??)
        }
    };
    let log = open_log(options, doors).await?;
    let store: Arc<dyn ObjectStore> = match &options.store {
        Location::Local => {
            Arc::new(LocalStore::open_to_read(Arc::clone(&doors.files), options.data_dir.join("objects")))
        }
        Location::Service { hosts, path } => reach_bucket(&hosts.join(","), path, &doors.clock).await?,
    };
    Ok(Backends { meta, log, store, lease, tasks })
}

fn keep(keeper: Keeper) -> (TaskSet, Lease) {
    let (tasks, lease) = (TaskSet::new(), keeper.lease());
    tasks.spawn("lease", |stop| keeper.run(stop));
    (tasks, lease)
}

async fn open_meta(options: &StorageOptions, doors: &Doors) -> Result<Arc<dyn MetaStore>, StartError> {
    match &options.meta {
        Location::Local => {
            let path = options.data_dir.join("meta.redb");
            let meta = RedbMeta::open(Arc::clone(&doors.files), path, Arc::clone(&doors.clock)).await?;
            Ok(Arc::new(meta))
        }
        Location::Service { hosts, path } => {
            let prefix = if path.is_empty() { "elanus" } else { path };
            let meta = EtcdMeta::connect(hosts, prefix).await?;
            wait_for(&doors.clock, async || meta.get("catalog/revision").await.map(drop)).await?;
            Ok(Arc::new(meta))
        }
    }
}

async fn open_log(options: &StorageOptions, doors: &Doors) -> Result<Arc<dyn LogBroker>, StartError> {
    match &options.log {
        Location::Local => Ok(FileLog::new(Arc::clone(&doors.files), options.data_dir.join("log"))),
        Location::Service { hosts, path } => {
            let prefix = if path.is_empty() { "elanus" } else { path };
            let log = KafkaLog::connect(&hosts.join(","), prefix)?;
            wait_for(&doors.clock, async || log.ping().await).await?;
            Ok(Arc::new(log))
        }
    }
}

/// The objects below a prefix of a bucket, once S3 answers.
async fn reach_bucket(
    bucket: &str,
    prefix: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn ObjectStore>, StartError> {
    let remote = open_bucket(bucket, prefix)?;
    let probe = Path::from("a key that nobody writes");
    wait_for(clock, async || match remote.head(&probe).await {
        Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(segments::Error::store("reach", "S3", error).into()),
    })
    .await?;
    Ok(remote)
}

/// The buckets of S3 that COPY may name, opened with the credentials of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct S3Buckets;

impl Buckets for S3Buckets {
    fn open(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, String> {
        open_bucket(bucket, "").map_err(|error| error.to_string())
    }
}

/// The objects of a folder, which is made when it is not there, or of `s3://bucket/prefix`.
///
/// # Errors
/// In words for the user.
pub(super) fn open_place(name: &str) -> Result<Arc<dyn ObjectStore>, SqlError> {
    place_of(name, || LocalStore::open(Arc::new(SystemDoor), name).map_err(|error| error.to_string()))
}

/// The same of a place that must be there, for looking only, whoever else uses it.
///
/// # Errors
/// In words for the user.
pub(super) fn open_place_to_read(name: &str) -> Result<Arc<dyn ObjectStore>, StartError> {
    let existing = || match std::path::Path::new(name).is_dir() {
        true => Ok(LocalStore::open_to_read(Arc::new(SystemDoor), name)),
        false => Err(format!("folder \"{name}\" does not exist")),
    };
    place_of(name, existing).map_err(StartError::Place)
}

fn place_of(
    name: &str,
    folder: impl FnOnce() -> Result<LocalStore, String>,
) -> Result<Arc<dyn ObjectStore>, SqlError> {
    let refused = |error: String| SqlError::new(ErrorKind::InvalidParameterValue, error);
    match name.strip_prefix("s3://") {
        Some(place) => {
            let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
            open_bucket(bucket, prefix.trim_matches('/')).map_err(|error| refused(error.to_string()))
        }
        None if name.is_empty() || name.contains("://") => {
            Err(refused(format!("\"{name}\" is neither a folder nor s3://bucket/prefix")))
        }
        None => Ok(Arc::new(folder().map_err(refused)?)),
    }
}

/// The objects below a prefix of a bucket.
fn open_bucket(bucket: &str, prefix: &str) -> Result<Arc<dyn ObjectStore>, StartError> {
    let retry = RetryConfig { retry_timeout: STORE_RETRIES, ..RetryConfig::default() };
    let bucket = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry)
        .build()
        .map_err(|error| segments::Error::store("open", bucket, error))?;
    if prefix.is_empty() {
        return Ok(Arc::new(bucket));
    }
    Ok(Arc::new(PrefixStore::new(bucket, prefix)))
}

/// Asks until the service answers or the patience ends with its last refusal.
async fn wait_for(
    clock: &Arc<dyn Clock>,
    ask: impl AsyncFn() -> Result<(), cluster::Error>,
) -> Result<(), StartError> {
    let deadline = clock.monotonic_micros() + PATIENCE.as_micros() as u64;
    let mut said = String::new();
    loop {
        let Err(error) = ask().await else { return Ok(()) };
        if clock.monotonic_micros() > deadline {
            return Err(error.into());
        }
        let reason = error.to_string();
        if reason != said {
            tracing::warn!("waiting: {reason}");
            said = reason;
        }
        sleep(Some(PAUSE)).await;
    }
}
