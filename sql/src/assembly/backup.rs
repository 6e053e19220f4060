//! `elanus backup` and `elanus restore`: all databases to a folder or bucket, and back into an empty place.
//!
//! The backup is made by a node that is started for it and stopped again, so that what only the log has is in it. A restore
//! leaves a place on which `elanus serve` starts.
//!
//! Invariants: figures go to standard output, the progress bar to standard error and only to a terminal.

use std::io::Write as _;
use std::sync::Arc;

use cluster::backup::Report;
use cluster::oracle::WindowOracle;
use cluster::rebuild::Target;
use cluster::{Node, NodeParts};

use super::backends::{self, Backends, Doors};
use super::bar::Bar;
use super::rebuild::{clear, open_target, print};
use super::{StartError, directory, runtime};
use crate::cli::{Backup, Location, Restore};

const BAR: &str = "{bytes} of {total_bytes} {wide_bar} {eta}";

/// Runs `elanus backup`.
///
/// # Errors
/// When a server uses the place, there is no data, a store fails or something is damaged; in words for the user.
pub fn backup(options: &Backup) -> Result<(), StartError> {
    let report = runtime()?.block_on(back_up(options))?;
    print_backup(&report).map_err(|source| StartError::Io { what: "print the report".to_owned(), source })
}

async fn back_up(options: &Backup) -> Result<Report, StartError> {
    let places = &options.places;
    if places.meta == Location::Local && !places.data_dir.join("meta.redb").is_file() {
        return Err(StartError::NoData { path: places.data_dir.clone() });
    }
    let to = backends::open_place(&options.to).map_err(StartError::Place)?;
    let _lock = directory::lock(&places.data_dir)?;
    let clock: Arc<dyn proto::time::Clock> = Arc::new(cluster::clock::SystemClock::new());
    let dice: Arc<dyn proto::time::Dice> = Arc::new(cluster::clock::SystemDice);
    let files = Arc::new(segments::file::SystemDoor);
    let doors = Doors { files, clock: Arc::clone(&clock), dice: Arc::clone(&dice) };
    let Backends { meta, log, store, lease, tasks } = backends::open(places, &doors).await?;
    let oracle = Arc::new(WindowOracle::open(Arc::clone(&meta), Arc::clone(&clock)).await?);
    // Nothing is merged or let go of meanwhile: the server has a retention of its own.
    let settings =
        cluster::Settings { compacts: false, retention_millis: u64::MAX / 2, ..cluster::Settings::default() };
    let node = Node::start(NodeParts { meta, log, store, oracle, clock, dice, lease, settings }).await?;
    let bar = Bar::new(BAR)?;
    let report = node.backup(&to, &|done, total| bar.show(done, total)).await;
    bar.finish();
    let stopped = node.stop().await;
    tasks.shutdown().await;
    // Why there is no backup matters more than how the node ended.
    let report = report?;
    stopped?;
    Ok(report)
}

fn print_backup(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let Report { n, at, tables, objects, bytes, copied_objects, copied_bytes } = report;
    writeln!(
        out,
        "backup {n} as of {}: {tables} tables, {objects} objects of {bytes} bytes, {copied_objects} of {copied_bytes} \
         bytes were new",
        at.0
    )?;
    out.flush()
}

/// Runs `elanus restore`.
///
/// # Errors
/// When the place is not empty, there is no such backup, a store fails or something is damaged; in words for the user.
pub fn restore(options: &Restore) -> Result<(), StartError> {
    let report = runtime()?.block_on(bring_back(options))?;
    print(&report).map_err(|source| StartError::Io { what: "print the report".to_owned(), source })
}

async fn bring_back(options: &Restore) -> Result<cluster::rebuild::Report, StartError> {
    let from = backends::open_place_to_read(&options.from)?;
    let _lock = directory::lock(&options.places.data_dir)?;
    clear(&options.places, false)?;
    let (target, tasks): (Target, _) = open_target(&options.places).await?;
    let bar = Bar::new(BAR)?;
    let show = |done, total| bar.show(done, total);
    let report = cluster::backup::restore(&from, &target, options.to_timestamp, &show).await;
    bar.finish();
    tasks.shutdown().await;
    Ok(report?)
}
