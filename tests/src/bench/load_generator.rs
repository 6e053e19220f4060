//! Prepared statements run over and over through the wire, by one or several connections: queries per second
//! and the times of single queries.
//!
//! Parameters and results are binary; the client is in this process and costs both sides the same.

use std::time::{Duration, Instant};

use crate::passages::ids;
use crate::wire::{Address, Connection, Failure};

/// What a run gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) queries_per_second: f64,
    pub(super) median: Duration,
    pub(super) slowest_hundredth: Duration,
}

/// One statement and the parameters it is run with, in turn.
pub(super) struct Work<'a> {
    pub(super) sql: &'a str,
    /// Run before in every session.
    pub(super) settings: &'a [String],
    pub(super) parameters: &'a [Vec<u8>],
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    pub(super) time: Duration,
    /// Runs before the clock starts, per connection.
    pub(super) warm_up: usize,
}

impl Figures {
    /// The figures of single times that took `wall` together.
    pub(super) fn of(mut times: Vec<Duration>, wall: Duration) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let position = (times.len() as f64 * share) as usize;
            times.get(position.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Self {
            queries_per_second: times.len() as f64 / wall.as_secs_f64(),
            median: at(0.5),
            slowest_hundredth: at(0.99),
        }
    }

    /// Queries per second, median and the slowest hundredth.
    pub(super) fn show(&self) -> String {
        format!(
            "{:.0}/s p50 {} p99 {}",
            self.queries_per_second,
            super::show(self.median),
            super::show(self.slowest_hundredth)
        )
    }
}

/// A session ready to run the work.
pub(super) fn open(address: &Address, work: &Work<'_>) -> Result<Connection, Failure> {
    let mut connection = Connection::open(address)?;
    for setting in work.settings {
        connection.run(setting)?;
    }
    connection.queue_parse("work", work.sql, &[]);
    connection.queue_sync();
    connection.drain()?.pop().map_or(Ok(connection), |error| Err(Failure::Server(error)))
}

/// Runs the statement once; gives the int8 of each row's first column.
pub(super) fn once(connection: &mut Connection, parameter: &[u8]) -> Result<Vec<i64>, Failure> {
    ids(connection, "work", parameter)
}

fn one_connection(
    address: &Address,
    work: &Work<'_>,
    bounds: Bounds,
    first: usize,
) -> Result<Vec<Duration>, Failure> {
    let mut connection = open(address, work)?;
    let mut turns = work.parameters.iter().cycle().skip(first);
    for parameter in turns.by_ref().take(bounds.warm_up) {
        once(&mut connection, parameter)?;
    }
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < bounds.time {
        let Some(parameter) = turns.next() else { break };
        let start = Instant::now();
        once(&mut connection, parameter)?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Runs the work by as many connections as asked for, at the same time.
pub(super) fn run(address: &Address, work: &Work<'_>, bounds: Bounds) -> Result<Figures, Failure> {
    let results: Vec<Result<Vec<Duration>, Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..bounds.connections)
            .map(|number| scope.spawn(move || one_connection(address, work, bounds, number * 101)))
            .collect();
        let lost = || Err(Failure::Protocol("a connection's thread panicked".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
    });
    let times: Vec<Duration> = results.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    Ok(Figures::of(times, bounds.time))
}
