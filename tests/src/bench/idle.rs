//! A server with 20 tables and nothing to do: processor time and memory.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::Bench;
use crate::server::{Options, Server};
use crate::wire::Failure;

/// How long the server is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// Clock ticks per second in `/proc`, the same on every Linux we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor seconds used so far by a process.
pub(super) fn processor_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the command's name in brackets: state is field 3, user and system time are fields 14 and 15.
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    fields.iter().sum::<f64>() / TICKS_PER_SECOND
}

/// Resident memory of a process in MB.
pub(super) fn resident_megabytes(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

pub(super) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let server = Server::start_with(Options::default());
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector")?;
    for table in 0..20 {
        connection.run(&format!("CREATE TABLE t{table} (id bigserial PRIMARY KEY, x text, v vector(16))"))?;
        connection
            .run(&format!("INSERT INTO t{table} (x) SELECT 'row ' || g FROM generate_series(1, 100) g"))?;
    }
    let process = server.process_id();
    let before = processor_seconds(process);
    // Nothing is ever sent: this waits for the time to pass.
    let (_keep, nothing) = channel::<()>();
    let _ = nothing.recv_timeout(WATCHED);
    let share = (processor_seconds(process) - before) / WATCHED.as_secs_f64() * 100.0;
    bench.goal("idle with 20 tables, processor", &format!("{share:.2} %"), "< 1 %", share < 1.0);
    let memory = resident_megabytes(process);
    bench.goal(
        "idle with 20 tables, resident memory",
        &format!("{memory:.0} MB"),
        "< 150 MB",
        memory < 150.0,
    );
    Ok(())
}
