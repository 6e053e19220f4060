//! `elanus rebuild-meta`: makes a meta store and an empty log from the object store, when they are lost.
//!
//! What it is not: it deletes nothing. A meta store or log that is still in the data directory makes it refuse; with
//! `--force` they are renamed. Those of services must be given an unused prefix.
//!
//! Invariants: what was reached goes to standard output, one line per database, the progress bar to standard error and only to
//! a terminal.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use cluster::clock::{SystemClock, SystemDice};
use cluster::rebuild::{Report, Target};
use proto::Timestamp;
use proto::time::Clock;
use segments::file::{FileDoor as _, SystemDoor};

use super::backends::{self, Backends, Doors};
use super::bar::Bar;
use super::{StartError, directory, runtime};
use crate::cli::{Location, RebuildMeta, StorageOptions};

const BAR: &str = "{pos} of {len} tables {wide_bar} {eta}";

/// Runs the command.
///
/// # Errors
/// When there is something to overwrite, nothing to rebuild from, or damage; in words for the user.
pub fn rebuild_meta(options: &RebuildMeta) -> Result<(), StartError> {
    let report = runtime()?.block_on(rebuild(options))?;
    print(&report).map_err(|source| StartError::Io { what: "print the report".to_owned(), source })
}

async fn rebuild(options: &RebuildMeta) -> Result<Report, StartError> {
    let places = &options.places;
    if places.store == Location::Local && !places.data_dir.join("objects").is_dir() {
        return Err(StartError::NoData { path: places.data_dir.clone() });
    }
    let _lock = directory::lock(&places.data_dir)?;
    clear(places, options.force)?;
    let (target, tasks) = open_target(places).await?;
    let bar = Bar::new(BAR)?;
    let report = cluster::rebuild::rebuild(&target, &|done, total| bar.show(done, total)).await;
    bar.finish();
    tasks.shutdown().await;
    Ok(report?)
}

/// The back ends to be filled, and what keeps the lease on them.
pub(super) async fn open_target(
    places: &StorageOptions,
) -> Result<(Target, cluster::tasks::TaskSet), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let doors = Doors { files: Arc::new(SystemDoor), clock: Arc::clone(&clock), dice: Arc::new(SystemDice) };
    let Backends { meta, log, store, tasks, .. } = backends::open(places, &doors).await?;
    Ok((Target { meta, log, store, clock, dice: doors.dice }, tasks))
}

/// Makes room in the data directory, or says what is in the way.
pub(super) fn clear(places: &StorageOptions, force: bool) -> Result<(), StartError> {
    let mut in_the_way = Vec::new();
    if places.meta == Location::Local {
        in_the_way.push(places.data_dir.join("meta.redb"));
    }
    if places.log == Location::Local {
        in_the_way.push(places.data_dir.join("log"));
    }
    in_the_way.retain(|path| path.exists());
    if let Some(path) = in_the_way.first().filter(|_| !force) {
        return Err(StartError::InTheWay { path: path.clone() });
    }
    in_the_way.iter().try_for_each(|path| set_aside(path))
}

/// Renames to the first free name behind `.old-`.
fn set_aside(path: &Path) -> Result<(), StartError> {
    let name = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".old-{n}"));
        std::path::PathBuf::from(name)
    };
    let free = (1..).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(0));
    let door = SystemDoor;
    door.rename(path, &free)?;
    Ok(door.sync_dir(path.parent().unwrap_or(path))?)
}

/// What was reached.
pub(super) fn print(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for database in &report.databases {
        let (name, tables) = (&database.name, database.tables);
        if database.as_of == Timestamp::ZERO {
            writeln!(out, "database \"{name}\": nothing of it was ever in files")?;
        } else {
            let at = instant(database.as_of);
            writeln!(out, "database \"{name}\": {tables} tables as of {at} ({})", database.as_of.0)?;
        }
    }
    let (segments, rows) = (report.segments, report.cut_rows);
    writeln!(out, "rebuilt with {segments} segments; {rows} row versions were later and were taken out")?;
    if report.ignored_objects > 0 {
        writeln!(out, "{} objects belong to nothing; the server deletes them", report.ignored_objects)?;
    }
    writeln!(
        out,
        "What was committed later is lost, and the password: start with --password-file to set it."
    )?;
    out.flush()
}

/// In UTC.
fn instant(ts: Timestamp) -> String {
    let utc = chrono::DateTime::from_timestamp_millis(ts.millis() as i64);
    utc.map_or_else(|| ts.to_string(), |utc| utc.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string())
}
