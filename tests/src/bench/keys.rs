//! The key index at a million rows: what it costs in memory and in loading, statements by key, exact counts; and what a
//! million updates of a scalar cost where a vector stands beside it: bytes of log, and processor time until every row is
//! indexed again.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::idle::{processor_seconds, resident_megabytes};
use super::load_generator::{Bounds, Figures, Work, run as generate};
use super::{Bench, show, timed};
use crate::data::binary_copy::{numbers_binary, vectors_binary};
use crate::server::{Options, Server};
use crate::wire::{Address, Connection, Failure};

const ROWS: usize = 1_000_000;
const UPDATED_ROWS: usize = 100_000;
const ROUNDS: usize = ROWS / UPDATED_ROWS;
const DIMENSIONS: usize = 32;
const BOUNDS: Bounds = Bounds { connections: 1, time: Duration::from_secs(3), warm_up: 50 };
/// What a statement by key may take at a million rows.
const GOAL: Duration = Duration::from_millis(1);
const WATCH_PAUSE: Duration = Duration::from_millis(50);

/// The statements by key; each gives the key of its row.
const STATEMENTS: [(&str, &str); 3] = [
    ("lookup", "SELECT id FROM keyed WHERE id = $1"),
    ("UPDATE", "UPDATE keyed SET n = n + 1 WHERE id = $1 RETURNING id"),
    ("DELETE", "DELETE FROM keyed WHERE id = $1 RETURNING id"),
];

fn load(connection: &mut Connection, create: &str, table: &str, data: &[u8]) -> Result<Duration, Failure> {
    connection.run(create)?;
    let (time, reply) =
        timed(|| connection.copy_in(&format!("COPY {table} FROM STDIN (FORMAT binary)"), data));
    reply?.error.map_or(Ok(time), |error| Err(Failure::Server(error)))
}

/// Loads the same rows with and without a key; gives the server that has them with one.
fn loading(bench: &mut Bench) -> Result<Server, Failure> {
    let data = numbers_binary(ROWS);
    let measure = |create: &str| {
        let server = Server::start_with(Options::default());
        let mut connection = server.connect();
        let time = load(&mut connection, create, "keyed", &data)?;
        connection.run("CHECKPOINT")?;
        connection.value("SELECT count(*) FROM keyed WHERE n >= 0")?;
        let files = folder_bytes(&server.data_dir().join("objects"));
        Ok::<_, Failure>((server, time, files))
    };
    let (plain, plain_time, plain_files) = measure("CREATE TABLE keyed (id int8 NOT NULL, n int4)")?;
    let (server, time, files) = measure("CREATE TABLE keyed (id int8 PRIMARY KEY, n int4)")?;
    let lookup = Work { sql: STATEMENTS[0].1, settings: &[], parameters: &spread_keys(0) };
    generate(server.address(), &lookup, BOUNDS)?;
    let resident = |server: &Server| resident_megabytes(server.process_id());
    let per_row = (resident(&server) - resident(&plain)) * f64::from(1 << 20) / ROWS as f64;
    bench.figure("key index, resident memory per row", &format!("{per_row:.1} bytes"));
    let stored = (files as f64 - plain_files as f64) / ROWS as f64;
    bench.figure("key index, stored bytes per row", &format!("{stored:.1} bytes"));
    let rate = |time: Duration| ROWS as f64 / time.as_secs_f64();
    let value = format!(
        "{:.0} rows/s beside {:.0}: {:.2} ×",
        rate(time),
        rate(plain_time),
        rate(time) / rate(plain_time)
    );
    bench.figure(&format!("COPY of {ROWS} rows, with a key beside without"), &value);
    let mut oracle = bench.oracle_session()?;
    let theirs = load(&mut oracle, "CREATE TABLE keyed (id int8 PRIMARY KEY, n int4)", "keyed", &data)?;
    let value =
        format!("{:.0} rows/s beside {:.0}: {:.2} ×", rate(time), rate(theirs), rate(time) / rate(theirs));
    bench.figure(&format!("COPY of {ROWS} rows with a key, beside PostgreSQL"), &value);
    Ok(server)
}

/// Keys in an order that jumps, other ones for each kind of statement.
fn spread_keys(kind: usize) -> Vec<Vec<u8>> {
    let key = |n: usize| ((n * 7_919 + kind * 331) % ROWS) as i64;
    (0..20_000).map(|n| key(n).to_be_bytes().to_vec()).collect()
}

fn by_key(bench: &mut Bench, server: &Server) -> Result<(), Failure> {
    let oracle = bench.oracle.with_database("elanus_bench");
    let at = |address: &Address, sql: &str, parameters: &[Vec<u8>]| -> Result<Figures, Failure> {
        generate(address, &Work { sql, settings: &[], parameters }, BOUNDS)
    };
    for (kind, (name, sql)) in STATEMENTS.into_iter().enumerate() {
        let parameters = spread_keys(kind);
        let (theirs, own) = (at(&oracle, sql, &parameters)?, at(server.address(), sql, &parameters)?);
        let value = format!("{} beside {}", own.show(), theirs.show());
        bench.goal(&format!("{name} by key, {ROWS} rows"), &value, "p50 < 1 ms", own.median < GOAL);
    }
    let mut connection = server.connect();
    let deleted = connection.value(&format!("SELECT {ROWS} - count(id) FROM keyed"))?;
    let (time, count) = timed(|| connection.value("SELECT count(*) FROM keyed"));
    let (count, ids) = (count?, connection.value("SELECT count(DISTINCT id) FROM keyed")?);
    if count != ids {
        return Err(Failure::Protocol(format!("count(*) is {count}, and there are {ids} keys")));
    }
    bench.figure(&format!("exact count(*) behind {deleted} deletes"), &show(time));
    Ok(())
}

fn updates(bench: &mut Bench) -> Result<(), Failure> {
    let server = Server::start_with(Options::default());
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector")?;
    let create =
        format!("CREATE TABLE items (id int8 PRIMARY KEY, v vector({DIMENSIONS}), n int4 DEFAULT 0)");
    connection.run(&create)?;
    let reply = connection.copy_in(
        "COPY items (id, v) FROM STDIN (FORMAT binary)",
        &vectors_binary(UPDATED_ROWS, DIMENSIONS),
    )?;
    reply.error.map_or(Ok(()), |error| Err(Failure::Server(error)))?;
    connection.run("CREATE INDEX ON items USING hnsw (v vector_l2_ops)")?;
    let log = server.data_dir().join("log");
    let begun = processor_seconds(server.process_id());
    let mut logged = 0;
    let mut took = Duration::ZERO;
    for _ in 0..ROUNDS {
        let before = folder_bytes(&log);
        let (time, result) = timed(|| connection.run("UPDATE items SET n = n + 1"));
        result?;
        took += time;
        // The log may have been trimmed meanwhile; such a round counts as the one before it did.
        logged += folder_bytes(&log).checked_sub(before).unwrap_or(logged);
    }
    let done = connection.value("SELECT sum(n) FROM items")?;
    if done != ROWS.to_string() {
        return Err(Failure::Protocol(format!("{done} updates of {ROWS}")));
    }
    let rate = ROWS as f64 / took.as_secs_f64();
    let per_update = logged as f64 / ROWS as f64;
    let value = format!(
        "{rate:.0} updates/s, {per_update:.1} bytes of log each (a row's vector has {})",
        DIMENSIONS * 4
    );
    bench.figure(&format!("{ROWS} updates of a scalar beside a vector"), &value);
    let before = processor_seconds(server.process_id());
    let (wall, indexed) = timed(|| reindex(&mut connection));
    indexed?;
    let processor = processor_seconds(server.process_id()) - before;
    let value = format!(
        "{processor:.1} s of processor, {} of time, behind {:.1} s of processor for updates, merges and builds beside them",
        show(wall),
        before - begun
    );
    bench.figure("until all rows are indexed again", &value);
    Ok(())
}

/// Seals what grows, and waits until every row that is there is indexed.
fn reindex(connection: &mut Connection) -> Result<(), Failure> {
    connection.run("CALL elanus.flush('items')")?;
    let (_keep, nothing) = channel::<()>();
    loop {
        let left =
            "SELECT sum(pending_rows + growing_rows) FROM elanus.index_status WHERE table_name = 'items'";
        if connection.value(left)? == "0" {
            return Ok(());
        }
        // Builds are watched from outside, so that watching costs next to nothing.
        let _ = nothing.recv_timeout(WATCH_PAUSE);
    }
}

/// Bytes of all files below a folder.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

pub(super) fn run(bench: &mut Bench) -> Result<(), Failure> {
    println!("\nkeys: {ROWS} rows");
    let server = loading(bench)?;
    by_key(bench, &server)?;
    drop(server);
    updates(bench)
}
