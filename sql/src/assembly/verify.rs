//! `elanus verify`: walks a place that no server uses, local or on services, or a place with backups, and prints what is
//! damaged.
//!
//! What it is not: a repair. It does not look at a place while a server changes it: the lock on the data directory and the
//! lease of a shared meta store keep one out as long as the command runs, and it refuses when one is there.
//!
//! Invariants: the figures and a line for each damaged object go to standard output, the progress bar to standard error and only
//! to a terminal; the command fails when anything is damaged.

use std::io::Write as _;
use std::sync::Arc;

use cluster::clock::{SystemClock, SystemDice};
use cluster::verify::{Report, Stores, verify_backups};
use segments::file::SystemDoor;

use super::backends::{self, Backends, Doors};
use super::bar::Bar;
use super::{StartError, directory, runtime};
use crate::cli::{Location, StorageOptions, Verify};

const BAR: &str = "{bytes} of {total_bytes} {wide_bar} {eta}";

/// Runs the command.
///
/// # Errors
/// `Damaged` when something is not what was written; otherwise why nothing could be looked at.
pub fn verify(options: &Verify) -> Result<(), StartError> {
    let report = runtime()?.block_on(async {
        match &options.backup {
            Some(place) => walk_backups(place).await,
            None => walk(&options.places).await,
        }
    })?;
    print(&report).map_err(|source| StartError::Io { what: "print the report".to_owned(), source })?;
    match report.damage.len() {
        0 => Ok(()),
        damaged => Err(StartError::Damaged(damaged)),
    }
}

async fn walk(places: &StorageOptions) -> Result<Report, StartError> {
    let _lock = lock(places)?;
    let doors = Doors {
        files: Arc::new(SystemDoor),
        clock: Arc::new(SystemClock::new()),
        dice: Arc::new(SystemDice),
    };
    let Backends { meta, log, store, lease, tasks } = backends::open_to_read(places, &doors).await?;
    let stores = Stores { meta, log, store };
    let bar = Bar::new(BAR)?;
    let report = cluster::verify::verify(&stores, &|done, total| bar.show(done, total)).await;
    bar.finish();
    let held = lease.is_held();
    tasks.shutdown().await;
    // What another server has changed meanwhile may look like damage.
    if held { Ok(report?) } else { Err(StartError::LeaseLost) }
}

/// The lock on the data directory, where anything is kept in it.
fn lock(places: &StorageOptions) -> Result<Option<std::fs::File>, StartError> {
    let local = [&places.meta, &places.log, &places.store].map(|place| *place == Location::Local);
    let [meta, ..] = local;
    if !local.contains(&true) {
        return Ok(None);
    }
    if !places.data_dir.is_dir() || (meta && !places.data_dir.join("meta.redb").is_file()) {
        return Err(StartError::NoData { path: places.data_dir.clone() });
    }
    directory::lock(&places.data_dir).map(Some)
}

async fn walk_backups(place: &str) -> Result<Report, StartError> {
    let store = backends::open_place_to_read(place)?;
    let bar = Bar::new(BAR)?;
    let report = verify_backups(store.as_ref(), &|done, total| bar.show(done, total)).await;
    bar.finish();
    Ok(report?)
}

fn print(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for damage in &report.damage {
        writeln!(out, "damaged: {}: {}", damage.object, damage.reason)?;
    }
    let Report { backups, tables, segments, objects, object_bytes, log_records, .. } = report;
    let content = format!("{tables} tables, {segments} segments, {objects} objects of {object_bytes} bytes");
    match backups {
        0 => writeln!(out, "verified {content}, {log_records} log records")?,
        backups => writeln!(out, "verified {backups} backups, {content}")?,
    }
    if report.dropped_tables > 0 {
        writeln!(out, "with {} dropped tables that are kept for a while", report.dropped_tables)?;
    }
    if report.unnamed_objects > 0 {
        let (objects, bytes) = (report.unnamed_objects, report.unnamed_bytes);
        let later = if *backups > 0 { "the next backup uses them" } else { "a running server deletes them" };
        writeln!(out, "{objects} objects of {bytes} bytes belong to nothing; {later}")?;
    }
    out.flush()
}
