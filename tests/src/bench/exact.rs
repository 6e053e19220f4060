//! Exact answers to all queries, growing, sealed and after a restart, with the time a query takes.

use std::time::Duration;

use super::{Bench, show, timed};
use crate::passages::{ask, judge, judge_join, prepare};
use crate::server::Server;
use crate::wire::{Connection, Failure};

/// Queries the oracle is timed with; its sequential scan reads every row.
const ORACLE_QUERIES: usize = 50;

fn all(bench: &Bench, connection: &mut Connection, state: &str) -> Result<(), Failure> {
    let count = bench.queries.len();
    let (time, judgement) = timed(|| judge(connection, &bench.passages, &bench.queries, count));
    let judgement = judgement?;
    if let Some(wrong) = judgement.wrong.first() {
        let all = judgement.wrong.len();
        return Err(Failure::Protocol(format!(
            "answer {state}: {wrong}; {all} of {} are wrong",
            judgement.asked
        )));
    }
    judge_join(connection, &bench.passages, &bench.queries, 50)?;
    let value = format!("all right, {} a statement", show(time / judgement.asked as u32));
    bench.figure(&format!("{} statements, {state}", judgement.asked), &value);
    Ok(())
}

fn time_top_ten(bench: &Bench, connection: &mut Connection, queries: usize) -> Result<Duration, Failure> {
    prepare(connection, "ten", "SELECT id FROM passages ORDER BY embedding <=> $1 LIMIT 10")?;
    let (time, answers) = timed(|| {
        (0..queries)
            .map(|query| ask(connection, "ten", bench.queries.embedding(query)))
            .collect::<Result<Vec<_>, _>>()
    });
    answers?;
    Ok(time / queries as u32)
}

pub(super) fn run(bench: &mut Bench, server: Server) -> Result<Server, Failure> {
    let mut connection = server.connect();
    all(bench, &mut connection, "growing")?;
    let (checkpoint, result) = timed(|| connection.run("CHECKPOINT"));
    result?;
    bench.figure("CHECKPOINT of the passages", &show(checkpoint));
    all(bench, &mut connection, "sealed")?;
    let queries = ORACLE_QUERIES.min(bench.queries.len());
    let own = time_top_ten(bench, &mut connection, queries)?;
    let mut oracle = Connection::open(&bench.oracle.with_database("elanus_bench"))?;
    oracle.run("DROP TABLE IF EXISTS passages")?;
    crate::passages::load(&mut oracle, &bench.passages)?;
    oracle.run("VACUUM ANALYZE passages")?;
    let theirs = time_top_ten(bench, &mut oracle, queries)?;
    let ratio = own.as_secs_f64() / theirs.as_secs_f64();
    bench.figure(
        "exact top 10 of all passages",
        &format!("{} beside {}: {ratio:.2} ×", show(own), show(theirs)),
    );
    let server = server.restart().map_err(Failure::Protocol)?;
    let ready = server.ready_after;
    bench.goal(
        "ready with the passages, after kill -9",
        &show(ready),
        "< 2 s",
        ready < Duration::from_secs(2),
    );
    all(bench, &mut server.connect(), "after a restart")?;
    Ok(server)
}
