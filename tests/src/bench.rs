//! Figures beside PostgreSQL's, in one run: loading, latency, exact answers, start, idle, scan.
//!
//! Every figure that has a goal prints the goal and whether it is met. What it is not: a test; a goal that is
//! missed is printed, while a wrong answer ends the run with a failure.

use std::time::{Duration, Instant};

use crate::data::{self, Passages, Queries};
use crate::server::{Options, Server};
use crate::wire::{Address, Connection, Failure};

mod exact;
mod idle;
mod latency;
mod load;
mod scan;

/// What every part gets.
#[derive(Debug)]
pub struct Bench {
    pub passages: Passages,
    pub queries: Queries,
    /// PostgreSQL with pgvector.
    pub oracle: Address,
    pub misses: Vec<String>,
}

impl Bench {
    /// A figure without a goal.
    pub(crate) fn figure(&self, what: &str, value: &str) {
        println!("{what:<58} {value}");
    }

    /// A figure and whether it reaches its goal.
    pub(crate) fn goal(&mut self, what: &str, value: &str, goal: &str, met: bool) {
        println!("{what:<58} {value}   goal {goal}: {}", if met { "met" } else { "MISSED" });
        if !met {
            self.misses.push(format!("{what}: {value}, goal {goal}"));
        }
    }

    /// A session with the oracle, in a database of its own that is empty except for the extension.
    pub(crate) fn oracle_session(&self) -> Result<Connection, Failure> {
        let mut admin = Connection::open(&self.oracle)?;
        admin.run("DROP DATABASE IF EXISTS elanus_bench WITH (FORCE)")?;
        admin.run("CREATE DATABASE elanus_bench")?;
        let mut session = Connection::open(&self.oracle.with_database("elanus_bench"))?;
        session.run("CREATE EXTENSION vector")?;
        Ok(session)
    }
}

/// How long something took, and what it gave.
pub(crate) fn timed<T>(action: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = action();
    (start.elapsed(), value)
}

/// Milliseconds or seconds, three digits.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 1e-3 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{:.1} µs", seconds * 1e6)
    }
}

/// Runs everything; gives what was wrong or missed.
///
/// # Errors
/// When a server refuses something or an answer is wrong.
pub fn run(oracle: Address) -> Result<Vec<String>, Failure> {
    let (passages, queries) = data::load(20_000, 200);
    println!("{} passages of {} dimensions, {} queries\n", passages.len(), data::DIMENSIONS, queries.len());
    let mut bench = Bench { passages, queries, oracle, misses: Vec::new() };
    let server = Server::start_with(Options::default());
    let ready = server.ready_after;
    bench.goal("ready on an empty directory", &show(ready), "< 1 s", ready < Duration::from_secs(1));
    latency::run(&mut bench, &server)?;
    load::run(&mut bench, &server)?;
    let server = exact::run(&mut bench, server)?;
    drop(server);
    idle::run(&mut bench)?;
    scan::run(&mut bench);
    Ok(bench.misses)
}
