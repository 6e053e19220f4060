//! Figures beside PostgreSQL's, in one run: loading, latency, exact answers, start, idle, scan.
//!
//! `BENCH` picks parts by name, separated by commas (`PARTS`; all but the slow ones when it is not set). Every
//! figure that has a goal prints the goal and whether it is met. What it is not: a test; a goal that is missed is
//! printed, while a wrong answer ends the run with a failure.

use std::time::{Duration, Instant};

use crate::data::{self, Passages, Queries, vectors};
use crate::server::{Options, Server};
use crate::wire::{Address, Connection, Failure};

mod exact;
mod faiss;
mod idle;
mod keys;
mod latency;
mod load;
mod load_generator;
mod scan;
mod search;

/// The parts, and whether a run without `BENCH` has them: keys, mnist and sift need minutes each.
pub const PARTS: [(&str, bool); 10] = [
    ("latency", true),
    ("load", true),
    ("exact", true),
    ("idle", true),
    ("scan", true),
    ("passages", true),
    ("faiss", true),
    ("keys", false),
    ("mnist", false),
    ("sift", false),
];

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

/// The parts that `BENCH` asks for.
fn chosen() -> Result<Vec<&'static str>, Failure> {
    let wanted = std::env::var("BENCH").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = wanted.iter().find(|name| PARTS.iter().all(|(part, _)| part != *name)) {
        let known: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
        return Err(Failure::Protocol(format!("BENCH has no part {unknown}, only {}", known.join(", "))));
    }
    let takes = |(part, by_default): &(&'static str, bool)| {
        if wanted.is_empty() { *by_default } else { wanted.contains(part) }
    };
    Ok(PARTS.iter().filter(|part| takes(part)).map(|(part, _)| *part).collect())
}

/// Runs the chosen parts; gives what was wrong or missed.
///
/// # Errors
/// When a server refuses something or an answer is wrong.
pub fn run(oracle: Address) -> Result<Vec<String>, Failure> {
    let chosen = chosen()?;
    let (passages, queries) = data::load(20_000, 200);
    println!("{} passages of {} dimensions, {} queries\n", passages.len(), data::DIMENSIONS, queries.len());
    let mut bench = Bench { passages, queries, oracle, misses: Vec::new() };
    let has = |part: &str| chosen.contains(&part);
    if has("latency") || has("load") || has("exact") {
        one_server(&mut bench, &has)?;
    }
    if has("idle") {
        idle::run(&mut bench)?;
    }
    if has("scan") {
        scan::run(&mut bench);
    }
    if has("passages") {
        let set = vectors::of_passages(&bench.passages, &bench.queries);
        search::run(&mut bench, &set)?;
    }
    if has("faiss") {
        let set = vectors::of_passages(&bench.passages, &bench.queries);
        faiss::run(&mut bench, &set)?;
    }
    if has("keys") {
        keys::run(&mut bench)?;
    }
    for name in ["mnist", "sift"].into_iter().filter(|name| has(name)) {
        match data::folder().and_then(|folder| vectors::of_file(&folder, name)) {
            Some(set) => search::run(&mut bench, &set)?,
            None => println!("{name}: skipped, DATA has no {name}.parquet"),
        }
    }
    Ok(bench.misses)
}

/// The parts that share a server: its start, latency, loading, exact answers.
fn one_server(bench: &mut Bench, has: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
    let server = Server::start_with(Options::default());
    let ready = server.ready_after;
    bench.goal("ready on an empty directory", &show(ready), "< 1 s", ready < Duration::from_secs(1));
    if has("latency") {
        latency::run(bench, &server)?;
    }
    if has("load") || has("exact") {
        load::run(bench, &server)?;
    }
    if has("exact") {
        exact::run(bench, server)?;
    }
    Ok(())
}
