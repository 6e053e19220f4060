//! `elanus verify`: walks a data directory that no server uses and prints what is damaged.
//!
//! What it is not: a repair.
//!
//! Invariants: the figures and a line for each damaged object go to standard output, the progress bar to standard error and only
//! to a terminal; the command fails when anything is damaged.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use cluster::clock::SystemClock;
use cluster::log::FileLog;
use cluster::meta::RedbMeta;
use cluster::verify::{Report, Stores};
use proto::time::Clock;
use segments::file::{FileDoor, SystemDoor};
use segments::store::LocalStore;

use super::bar::Bar;
use super::{StartError, directory, runtime};
use crate::cli::Verify;

const BAR: &str = "{bytes} of {total_bytes} {wide_bar} {eta}";

/// Runs the command.
///
/// # Errors
/// `Damaged` when something is not what was written; otherwise why nothing could be looked at.
pub fn verify(options: &Verify) -> Result<(), StartError> {
    let report = runtime()?.block_on(walk(&options.data_dir))?;
    print(&report).map_err(|source| StartError::Io { what: "print the report".to_owned(), source })?;
    match report.damage.len() {
        0 => Ok(()),
        damaged => Err(StartError::Damaged(damaged)),
    }
}

async fn walk(data_dir: &Path) -> Result<Report, StartError> {
    let file = data_dir.join("meta.redb");
    if !file.is_file() {
        return Err(StartError::NoData { path: data_dir.to_owned() });
    }
    let _lock = directory::lock(data_dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let door: Arc<dyn FileDoor> = Arc::new(SystemDoor);
    let stores = Stores {
        meta: Arc::new(RedbMeta::open(Arc::clone(&door), file, clock).await?),
        log: FileLog::new(Arc::clone(&door), data_dir.join("log")),
        store: Arc::new(LocalStore::open(door, data_dir.join("objects"))?),
    };
    let bar = Bar::new(BAR)?;
    let report = cluster::verify::verify(&stores, &|done, total| bar.show(done, total)).await;
    bar.finish();
    Ok(report?)
}

fn print(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for damage in &report.damage {
        writeln!(out, "damaged: {}: {}", damage.object, damage.reason)?;
    }
    writeln!(
        out,
        "verified {} tables, {} segments, {} objects of {} bytes, {} log records",
        report.tables, report.segments, report.objects, report.object_bytes, report.log_records
    )?;
    if report.dropped_tables > 0 {
        writeln!(out, "with {} dropped tables that are kept for a while", report.dropped_tables)?;
    }
    if report.unnamed_objects > 0 {
        let (objects, bytes) = (report.unnamed_objects, report.unnamed_bytes);
        writeln!(out, "{objects} objects of {bytes} bytes belong to nothing; a running server deletes them")?;
    }
    out.flush()
}
