//! Loading: prepared bytes sent by COPY, durable when answered, beside the oracle's COPY into the same table.

use std::time::Duration;

use super::{Bench, show, timed};
use crate::data::binary_copy::{CREATE_PASSAGES, passages_binary, passages_csv, vectors_binary};
use crate::server::{Options, Server};
use crate::wire::{Connection, Failure};

/// COPY of prepared bytes, from the first byte to the answer.
fn copy(connection: &mut Connection, sql: &str, data: &[u8]) -> Result<Duration, Failure> {
    let (time, reply) = timed(|| connection.copy_in(sql, data));
    reply?.error.map_or(Ok(time), |error| Err(Failure::Server(error)))
}

fn rate(rows: usize, time: Duration) -> f64 {
    rows as f64 / time.as_secs_f64()
}

fn beside(bench: &mut Bench, what: &str, rows: usize, own: Duration, theirs: Duration) {
    let ratio = rate(rows, own) / rate(rows, theirs);
    let value = format!("{:.0} rows/s beside {:.0}: {ratio:.2} ×", rate(rows, own), rate(rows, theirs));
    bench.goal(what, &value, "≥ 0.3 ×", ratio >= 0.3);
}

pub(super) fn run(bench: &mut Bench, server: &Server) -> Result<(), Failure> {
    let mut oracle = bench.oracle_session()?;
    let mut ours = server.connect();
    ours.run("CREATE EXTENSION IF NOT EXISTS vector")?;
    let rows = bench.passages.len();
    for (format, data) in
        [("csv", passages_csv(&bench.passages)), ("binary", passages_binary(&bench.passages))]
    {
        let sql = format!("COPY passages FROM STDIN (FORMAT {format})");
        for connection in [&mut oracle, &mut ours] {
            connection.run("DROP TABLE IF EXISTS passages")?;
            connection.run(CREATE_PASSAGES)?;
        }
        let theirs = copy(&mut oracle, &sql, &data)?;
        let own = copy(&mut ours, &sql, &data)?;
        let what = format!("COPY {format}, {rows} × 384 with text, {} MB", data.len() >> 20);
        beside(bench, &what, rows, own, theirs);
        let count = ours.value("SELECT count(*) FROM passages")?;
        if count != rows.to_string() {
            return Err(Failure::Protocol(format!("{count} rows after COPY {format} of {rows}")));
        }
    }
    hundred_thousand(bench)
}

fn hundred_thousand(bench: &mut Bench) -> Result<(), Failure> {
    let (rows, dimensions) = (100_000, 256);
    let data = vectors_binary(rows, dimensions);
    let server = Server::start_with(Options::default());
    let mut oracle = bench.oracle_session()?;
    let mut ours = server.connect();
    ours.run("CREATE EXTENSION IF NOT EXISTS vector")?;
    let create = format!("CREATE TABLE vectors (id int8 PRIMARY KEY, v vector({dimensions}))");
    oracle.run(&create)?;
    ours.run(&create)?;
    let sql = "COPY vectors FROM STDIN (FORMAT binary)";
    let theirs = copy(&mut oracle, sql, &data)?;
    let own = copy(&mut ours, sql, &data)?;
    beside(bench, &format!("COPY binary, {rows} × {dimensions}"), rows, own, theirs);
    bench.goal(&format!("{rows} × {dimensions} durable"), &show(own), "≤ 4 s", own <= Duration::from_secs(4));
    let (checkpoint, result) = timed(|| ours.run("CHECKPOINT"));
    result?;
    bench.figure("CHECKPOINT of them", &show(checkpoint));
    Ok(())
}
