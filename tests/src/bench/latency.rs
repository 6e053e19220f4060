//! `SELECT 1`: what a round trip costs when there is nothing to do.

use std::time::Duration;

use super::{Bench, show, timed};
use crate::server::Server;
use crate::wire::{Bind, Connection, Failure};

const ROUNDS: usize = 5_000;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn simple(connection: &mut Connection) -> Result<Duration, Failure> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (time, result) = timed(|| connection.run("SELECT 1"));
        result?;
        times.push(time);
    }
    Ok(median(times))
}

fn prepared(connection: &mut Connection) -> Result<Duration, Failure> {
    connection.queue_parse("one", "SELECT 1", &[]);
    connection.queue_sync();
    connection.drain()?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (time, errors) = timed(|| {
            connection.queue_bind(&Bind { statement: "one", result_formats: vec![1], ..Bind::default() });
            connection.queue_execute("", 0);
            connection.queue_sync();
            connection.drain()
        });
        if let Some(error) = errors?.pop() {
            return Err(Failure::Server(error));
        }
        times.push(time);
    }
    Ok(median(times))
}

pub(super) fn run(bench: &mut Bench, server: &Server) -> Result<(), Failure> {
    let mut oracle = bench.oracle_session()?;
    let mut ours = server.connect();
    for (name, measure) in [("simple", simple as fn(&mut Connection) -> _), ("prepared", prepared)] {
        let (theirs, own) = (measure(&mut oracle)?, measure(&mut ours)?);
        let ratio = own.as_secs_f64() / theirs.as_secs_f64();
        let value = format!("{} beside {}: {ratio:.2} ×", show(own), show(theirs));
        bench.goal(&format!("SELECT 1, {name}, median of {ROUNDS}"), &value, "≤ 5 ×", ratio <= 5.0);
    }
    Ok(())
}
