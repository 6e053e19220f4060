//! Questions to the passages over the wire, judged against the true neighbours.
//!
//! A returned row is right when its exact distance is not larger than the k-th true distance plus a rounding
//! tolerance; fewer than k rows, a row twice and a row that does not satisfy the filter are wrong.

use std::collections::BTreeSet;

use crate::data::binary_copy::{CREATE_PASSAGES, passages_binary};
use crate::data::{FILTERS, Passages, Queries, TOLERANCE};
use crate::wire::{Bind, Connection, Failure};

/// Creates the table and loads the passages by COPY BINARY.
///
/// # Errors
/// What the server refuses.
pub fn load(connection: &mut Connection, passages: &Passages) -> Result<(), Failure> {
    connection.run("CREATE EXTENSION IF NOT EXISTS vector")?;
    connection.run(CREATE_PASSAGES)?;
    let reply = connection.copy_in("COPY passages FROM STDIN (FORMAT binary)", &passages_binary(passages))?;
    reply.error.map_or(Ok(()), |error| Err(Failure::Server(error)))
}

/// A vector in the binary form of the wire.
#[must_use]
pub fn binary_vector(vector: &[f32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + vector.len() * 4);
    out.extend_from_slice(&(vector.len() as i16).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    vector.iter().for_each(|element| out.extend_from_slice(&element.to_be_bytes()));
    out
}

/// The ids that a prepared top-k statement gives for a query vector, sent in binary.
///
/// # Errors
/// What the server refuses.
pub fn ask(connection: &mut Connection, statement: &str, query: &[f32]) -> Result<Vec<i64>, Failure> {
    ids(connection, statement, &binary_vector(query))
}

/// The int8 of each row's first column that a prepared statement gives for its one parameter, both in binary.
///
/// # Errors
/// What the server refuses.
pub fn ids(connection: &mut Connection, statement: &str, parameter: &[u8]) -> Result<Vec<i64>, Failure> {
    connection.queue_bind(&Bind {
        statement,
        parameters: vec![(1, Some(parameter.to_vec()))],
        result_formats: vec![1],
        ..Bind::default()
    });
    connection.queue_execute("", 0);
    connection.queue_sync();
    connection.expect(b'2')?;
    let outcome = connection.receive_execute();
    connection.drain()?;
    let id = |row: Vec<Option<Vec<u8>>>| {
        let bytes = row.into_iter().next().flatten().and_then(|bytes| bytes.try_into().ok());
        bytes.map(i64::from_be_bytes).ok_or_else(|| Failure::Protocol("id that is not int8".to_owned()))
    };
    outcome?.rows.into_iter().map(id).collect()
}

/// Prepares a statement under a name.
///
/// # Errors
/// What the server refuses.
pub fn prepare(connection: &mut Connection, name: &str, sql: &str) -> Result<(), Failure> {
    connection.queue_close(b'S', name);
    connection.queue_parse(name, sql, &[]);
    connection.queue_sync();
    connection.drain()?.pop().map_or(Ok(()), |error| Err(Failure::Server(error)))
}

/// Right answers and what was wrong with the others.
#[derive(Debug, Default)]
pub struct Judgement {
    pub asked: usize,
    pub wrong: Vec<String>,
}

/// Asks every query, unfiltered (k = 100) and under each filter (k = 10).
///
/// # Errors
/// What the server refuses.
pub fn judge(
    connection: &mut Connection,
    passages: &Passages,
    queries: &Queries,
    limit: usize,
) -> Result<Judgement, Failure> {
    let mut judgement = Judgement::default();
    let order = "ORDER BY embedding <=> $1";
    prepare(connection, "all", &format!("SELECT id FROM passages {order} LIMIT 100"))?;
    for (number, (_, condition)) in FILTERS.iter().enumerate() {
        let sql = format!("SELECT id FROM passages WHERE {condition} {order} LIMIT 10");
        prepare(connection, &format!("filter{number}"), &sql)?;
    }
    for query in 0..queries.len().min(limit) {
        let vector = queries.embedding(query);
        let found = ask(connection, "all", vector)?;
        judgement.add(query, "unfiltered", wrong(passages, vector, &found, &queries.neighbors[query], None));
        for (filter, (name, _)) in FILTERS.iter().enumerate() {
            let found = ask(connection, &format!("filter{filter}"), vector)?;
            let truth = &queries.filtered[query][filter];
            judgement.add(query, name, wrong(passages, vector, &found, truth, Some(filter)));
        }
    }
    Ok(judgement)
}

impl Judgement {
    fn add(&mut self, query: usize, kind: &str, wrong: Option<String>) {
        self.asked += 1;
        self.wrong.extend(wrong.map(|what| format!("query {query}, {kind}: {what}")));
    }
}

/// What is wrong with an answer; `None` when nothing is.
fn wrong(
    passages: &Passages,
    query: &[f32],
    found: &[i64],
    truth: &[i64],
    filter: Option<usize>,
) -> Option<String> {
    if found.len() != truth.len() {
        return Some(format!("{} rows, not {}", found.len(), truth.len()));
    }
    if found.iter().collect::<BTreeSet<_>>().len() != found.len() {
        return Some("a row twice".to_owned());
    }
    let outside = |id: &&i64| filter.is_some_and(|filter| !passages.satisfies(passages.row_of(**id), filter));
    if let Some(id) = found.iter().find(outside) {
        return Some(format!("row {id} does not satisfy the filter"));
    }
    let farthest = truth.last().map_or(0.0, |id| passages.distance(passages.row_of(*id), query));
    let distances: Vec<f64> = found.iter().map(|id| passages.distance(passages.row_of(*id), query)).collect();
    if let Some(position) = distances.iter().position(|distance| *distance > farthest + TOLERANCE) {
        return Some(format!("row {} at {} is beyond {farthest}", found[position], distances[position]));
    }
    let unordered = distances.windows(2).any(|pair| pair[0] > pair[1] + TOLERANCE);
    unordered.then(|| "rows are not in order of distance".to_owned())
}

/// Joins the nearest rows to a second table and compares with the join done here.
///
/// # Errors
/// What the server refuses, or the first query whose join differs.
pub fn judge_join(
    connection: &mut Connection,
    passages: &Passages,
    queries: &Queries,
    limit: usize,
) -> Result<(), Failure> {
    connection.run("CREATE TABLE IF NOT EXISTS sources (source text PRIMARY KEY, label text)")?;
    connection.run("INSERT INTO sources SELECT source, upper(source) FROM passages GROUP BY source ON CONFLICT DO NOTHING")?;
    for query in 0..queries.len().min(limit) {
        let elements: Vec<String> = queries.embedding(query).iter().map(ToString::to_string).collect();
        let sql = format!(
            "SELECT k.id, s.label FROM (SELECT id, source, embedding <=> '[{0}]' AS d FROM passages \
             ORDER BY embedding <=> '[{0}]' LIMIT 10) k JOIN sources s ON s.source = k.source ORDER BY k.d, k.id",
            elements.join(",")
        );
        let result = connection.run(&sql)?;
        let fits = |row: &Vec<Option<String>>| {
            let id: i64 = row[0].as_deref().and_then(|id| id.parse().ok()).unwrap_or(0);
            row[1].as_deref() == Some(passages.sources[passages.row_of(id)].to_uppercase().as_str())
        };
        if result.rows.len() != 10 || !result.rows.iter().all(fits) {
            return Err(Failure::Protocol(format!("join of query {query}: {:?}", result.rows)));
        }
    }
    Ok(())
}
