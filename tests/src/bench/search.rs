//! Nearest neighbours and key lookups through the wire, prepared and binary, beside pgvector in the same run:
//! exact, then with an HNSW index on both sides, with the recall of every recorded question.
//!
//! Right: fewer rows than qualify are an error of the run on our side, never a figure.

use std::time::Duration;

use super::idle::resident_megabytes;
use super::load_generator::{Bounds, Figures, Work, once, open, run as generate};
use super::{Bench, show, timed};
use crate::data::vectors::{Case, NEAREST, VectorSet};
use crate::passages::binary_vector;
use crate::server::{Options, Server};
use crate::wire::{Address, Connection, Failure};

/// How long one figure is measured.
const MEASURED: Duration = Duration::from_secs(2);
/// `hnsw.ef_search` of the figures with an index.
const EXPLORED: [usize; 3] = [40, 100, 200];
/// Questions that recall is counted over with a filter; without one all of them are asked.
const FILTERED_QUESTIONS: usize = 300;

/// Both servers with the set loaded.
struct Sides {
    own: Address,
    oracle: Address,
}

pub(super) fn statement(set: &VectorSet, case: &Case) -> String {
    let condition =
        if case.condition.is_empty() { String::new() } else { format!("WHERE {} ", case.condition) };
    let operator = set.nearness.operator();
    format!("SELECT id FROM {} {condition}ORDER BY embedding {operator} $1 LIMIT {NEAREST}", set.name)
}

/// The same work on both sides, as a ratio of queries per second.
fn beside(
    bench: &Bench,
    sides: &Sides,
    what: &str,
    work: &Work<'_>,
    connections: usize,
) -> Result<(), Failure> {
    let bounds = Bounds { connections, time: MEASURED, warm_up: 5 };
    let (theirs, own) = (generate(&sides.oracle, work, bounds)?, generate(&sides.own, work, bounds)?);
    let plural = if connections == 1 { "connection" } else { "connections" };
    print_beside(bench, &format!("{what}, {connections} {plural}"), &own, &theirs);
    Ok(())
}

fn print_beside(bench: &Bench, what: &str, own: &Figures, theirs: &Figures) {
    let ratio = own.queries_per_second / theirs.queries_per_second;
    bench.figure(what, &format!("{} beside {}: {ratio:.2} ×", own.show(), theirs.show()));
}

pub(super) fn load(connection: &mut Connection, set: &VectorSet) -> Result<(), Failure> {
    connection.run("CREATE EXTENSION IF NOT EXISTS vector")?;
    connection.run(&format!("DROP TABLE IF EXISTS {}", set.name))?;
    connection.run(&set.create)?;
    let reply =
        connection.copy_in(&format!("COPY {} FROM STDIN (FORMAT binary)", set.name), &set.rows_binary)?;
    reply.error.map_or(Ok(()), |error| Err(Failure::Server(error)))
}

/// Exact search: no index, on sealed segments.
fn exact(bench: &Bench, sides: &Sides, set: &VectorSet, queries: &[Vec<u8>]) -> Result<(), Failure> {
    for case in &set.cases {
        let sql = statement(set, case);
        let work = Work { sql: &sql, settings: &[], parameters: queries };
        for connections in [1, 2] {
            beside(bench, sides, &format!("{} exact, {}", set.name, case.name), &work, connections)?;
        }
    }
    let keys: Vec<Vec<u8>> =
        (0..1_000_i64).map(|n| (n * 7_919 % set.len() as i64 + 1).to_be_bytes().to_vec()).collect();
    let sql = format!("SELECT id FROM {} WHERE id = $1", set.name);
    let work = Work { sql: &sql, settings: &[], parameters: &keys };
    for connections in [1, 2] {
        beside(bench, sides, &format!("{} by key", set.name), &work, connections)?;
    }
    Ok(())
}

/// Asks every question once; the share of right rows, and the answers with too few rows.
fn recall(
    address: &Address,
    set: &VectorSet,
    case: &Case,
    work: &Work<'_>,
) -> Result<(f64, usize, Figures), Failure> {
    let mut connection = open(address, work)?;
    let (mut right, mut wanted, mut short) = (0, 0, 0);
    let mut times = Vec::with_capacity(work.parameters.len());
    for (query, parameter) in work.parameters.iter().enumerate() {
        let (time, found) = timed(|| once(&mut connection, parameter));
        let found = found?;
        times.push(time);
        right += set.right(query, case, &found).min(case.truth[query].1);
        wanted += case.truth[query].1;
        short += usize::from(found.len() < case.truth[query].1);
    }
    let wall = times.iter().sum();
    Ok((right as f64 / wanted.max(1) as f64, short, Figures::of(times, wall)))
}

/// Builds the index on both sides; false when ours cannot yet.
fn build(bench: &Bench, sides: &Sides, set: &VectorSet) -> Result<bool, Failure> {
    let sql = format!(
        "CREATE INDEX {0}_hnsw ON {0} USING hnsw (embedding {1})",
        set.name,
        set.nearness.operator_class()
    );
    let mut own = Connection::open(&sides.own)?;
    let (own_time, result) = timed(|| own.run(&sql));
    match result {
        Err(Failure::Server(error)) if error.code == "0A000" => {
            println!("{} with HNSW: skipped, CREATE INDEX is refused: {}", set.name, error.message);
            return Ok(false);
        }
        result => drop(result?),
    }
    let mut oracle = Connection::open(&sides.oracle)?;
    oracle.run("SET maintenance_work_mem = '1GB'")?;
    let (their_time, result) = timed(|| oracle.run(&sql));
    result?;
    let ratio = own_time.as_secs_f64() / their_time.as_secs_f64();
    let value = format!("{} beside {}: {ratio:.2} ×", show(own_time), show(their_time));
    bench.figure(&format!("{} HNSW, build of {} × {}", set.name, set.len(), set.dimensions), &value);
    Ok(true)
}

fn indexed(bench: &mut Bench, sides: &Sides, set: &VectorSet, queries: &[Vec<u8>]) -> Result<(), Failure> {
    if !build(bench, sides, set)? {
        return Ok(());
    }
    for explored in EXPLORED {
        let settings = [format!("SET hnsw.ef_search = {explored}")];
        for case in &set.cases {
            let sql = statement(set, case);
            let asked = if case.condition.is_empty() { queries.len() } else { FILTERED_QUESTIONS };
            let parameters = &queries[..asked.min(queries.len())];
            let work = Work { sql: &sql, settings: &settings, parameters };
            let (their_recall, their_short, theirs) = recall(&sides.oracle, set, case, &work)?;
            let (own_recall, own_short, own) = recall(&sides.own, set, case, &work)?;
            let what = format!("{} HNSW ef {explored}, {}", set.name, case.name);
            print_beside(bench, &what, &own, &theirs);
            let value =
                format!("{own_recall:.4} beside {their_recall:.4} ({their_short} answers too short there)");
            bench.figure(&format!("{what}, recall@{NEAREST}"), &value);
            if own_short > 0 {
                bench.goal(&format!("{what}, too few rows"), &own_short.to_string(), "0", false);
            }
        }
        let sql = statement(set, &set.cases[0]);
        let work = Work { sql: &sql, settings: &settings, parameters: queries };
        beside(bench, sides, &format!("{} HNSW ef {explored}, all", set.name), &work, 2)?;
    }
    Ok(())
}

/// Resident memory beyond an empty server's, beside the bytes of the vectors and of the graph.
fn memory(bench: &mut Bench, server: &Server, set: &VectorSet) -> Result<(), Failure> {
    let empty = resident_megabytes(Server::start_with(Options::default()).process_id());
    let resident = resident_megabytes(server.process_id()) - empty;
    let graph = server.connect().value("SELECT sum(index_bytes) FROM elanus.index_status")?;
    let graph: f64 = graph.parse().map_err(|_| Failure::Protocol(format!("index bytes: {graph}")))?;
    let needed = (graph + (set.len() * set.dimensions * size_of::<f32>()) as f64) / f64::from(1 << 20);
    let ratio = resident / needed;
    let value = format!("{resident:.0} MB beside {needed:.0} MB: {ratio:.2} ×");
    let what = format!("{} resident memory beside vectors and graph", set.name);
    if set.only_vectors {
        bench.goal(&what, &value, "<= 1.5 ×", ratio <= 1.5);
    } else {
        bench.figure(&what, &value);
    }
    Ok(())
}

/// Loads the set into both, and measures.
pub(super) fn run(bench: &mut Bench, set: &VectorSet) -> Result<(), Failure> {
    println!("\n{}: {} × {}, {} queries", set.name, set.len(), set.dimensions, set.query_count());
    let server = Server::start_with(Options::default());
    load(&mut bench.oracle_session()?, set)?;
    load(&mut server.connect(), set)?;
    let sides = Sides { own: server.address().clone(), oracle: bench.oracle.with_database("elanus_bench") };
    Connection::open(&sides.oracle)?.run(&format!("VACUUM ANALYZE {}", set.name))?;
    server.connect().run("CHECKPOINT")?;
    let queries: Vec<Vec<u8>> = (0..set.query_count()).map(|query| binary_vector(set.query(query))).collect();
    exact(bench, &sides, set, &queries)?;
    indexed(bench, &sides, set, &queries)?;
    memory(bench, &server, set)
}
