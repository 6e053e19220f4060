//! Compares the tables with the ledgers after a restart.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use super::ledger::{Effect, Key, Ledger, Row, TABLES, vector_text};
use crate::wire::Connection;

/// Settles what was in doubt and gives everything that is not as it must be.
pub(super) fn verify(
    connection: &mut Connection,
    ledgers: &mut [Ledger],
    report: &mut Report,
) -> Vec<String> {
    let mut violations = Vec::new();
    let actual = read(connection, &mut violations);
    violations.extend(judge(&actual, ledgers, report));
    let expected = expected(ledgers);
    violations.extend(look_up(connection, &expected));
    violations.extend(search_indexes(connection, &expected));
    let indexed = connection.value("SELECT coalesce(sum(indexed_rows), 0) FROM elanus.index_status");
    let indexed = indexed.unwrap_or_else(|failure| panic!("index_status: {failure}"));
    report.most_indexed_rows = report.most_indexed_rows.max(indexed.parse().expect("a number"));
    violations.truncate(20);
    violations
}

/// Every row that a ledger vouches for.
fn expected(ledgers: &[Ledger]) -> BTreeMap<Key, &Row> {
    ledgers.iter().flat_map(|ledger| ledger.rows.iter().map(|(key, row)| (*key, row))).collect()
}

/// The rows found against the ledgers.
fn judge(actual: &BTreeMap<Key, Row>, ledgers: &mut [Ledger], report: &mut Report) -> Vec<String> {
    let mut violations = Vec::new();
    for ledger in ledgers.iter_mut() {
        if let Some(effect) = ledger.doubt.take().filter(|effect| !effect.is_empty()) {
            report.in_doubt += 1;
            match settle(ledger, &effect, actual) {
                Ok(true) => {
                    report.happened += 1;
                    ledger.apply(effect);
                }
                Ok(false) => {}
                Err(half) => violations.push(half),
            }
        }
    }
    let expected = expected(ledgers);
    report.rows = actual.len();
    for (key, row) in &expected {
        match actual.get(key) {
            None => violations.push(format!("lost: {key:?} {row:?}")),
            Some(found) if found != *row => {
                violations.push(format!("lost: {key:?} is {found:?}, not {row:?}"))
            }
            Some(_) => {}
        }
    }
    let extra = actual.iter().filter(|(key, _)| !expected.contains_key(*key));
    violations.extend(extra.map(|(key, row)| format!("resurrected or never committed: {key:?} {row:?}")));
    violations
}

/// Whether the operation in doubt happened; an error when only a part of it did.
fn settle(ledger: &Ledger, effect: &Effect, actual: &BTreeMap<Key, Row>) -> Result<bool, String> {
    let matches =
        |state: &dyn Fn(&Key) -> Option<Row>| effect.keys().all(|key| actual.get(key).cloned() == state(key));
    let after = matches(&|key| effect[key].clone());
    let before = matches(&|key| ledger.rows.get(key).cloned());
    if after || before {
        return Ok(after);
    }
    let done = effect.iter().filter(|(key, row)| actual.get(key) == row.as_ref()).count();
    Err(format!("half an operation of client {}: {done} of {} keys", ledger.client, effect.len()))
}

fn read(connection: &mut Connection, violations: &mut Vec<String>) -> BTreeMap<Key, Row> {
    let mut actual = BTreeMap::new();
    for (table, name) in TABLES.iter().enumerate() {
        let sql = format!("SELECT id, version, tag, v FROM {name}");
        let result = connection.run(&sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
        for row in result.rows {
            let text = |position: usize| row[position].clone().unwrap_or_default();
            let (id, version): (i64, i32) =
                (text(0).parse().expect("an id"), text(1).parse().expect("a version"));
            if text(3) != vector_text(id, version) {
                violations.push(format!("mixed row: {name} {id} version {version} has vector {}", text(3)));
            }
            if actual.insert((table, id), Row { version, tag: text(2) }).is_some() {
                violations.push(format!("duplicate: {name} {id}"));
            }
        }
        let count = connection.value(&format!("SELECT count(*) FROM {name}")).expect("count");
        let held = actual.keys().filter(|key| key.0 == table).count();
        if count != held.to_string() {
            violations.push(format!("{name}: count(*) is {count}, the rows are {held}"));
        }
    }
    actual
}

/// The same rows through other doors: by key, and as nearest neighbours.
fn look_up(connection: &mut Connection, expected: &BTreeMap<Key, &Row>) -> Vec<String> {
    let mut violations = Vec::new();
    let step = (expected.len() / 20).max(1);
    for (key, row) in expected.iter().step_by(step) {
        let sql = format!("SELECT tag FROM {} WHERE id = {}", TABLES[key.0], key.1);
        let tag = connection.value(&sql).unwrap_or_else(|failure| failure.to_string());
        if tag != row.tag {
            violations.push(format!("{sql}: {tag}, not {}", row.tag));
        }
    }
    for (table, name) in TABLES.iter().enumerate() {
        let held: BTreeSet<i64> = expected.keys().filter(|key| key.0 == table).map(|key| key.1).collect();
        let sql = format!("SELECT id FROM {name} ORDER BY v <-> '[1,1,1,1]' LIMIT {}", held.len() + 10);
        let found = connection.run(&sql).unwrap_or_else(|failure| panic!("{sql}: {failure}")).first_column();
        let found_ids: BTreeSet<i64> = found.iter().filter_map(|id| id.parse().ok()).collect();
        if found.len() != held.len() || found_ids != held {
            violations.push(format!("{name}: {} nearest neighbours of {} rows", found.len(), held.len()));
        }
    }
    violations
}

/// Rows asked for in one search of an index.
const NEAREST: usize = 5;

/// What the indexes find, where they must be used: never fewer rows than there are, and only rows that a ledger has,
/// as it has them.
fn search_indexes(connection: &mut Connection, expected: &BTreeMap<Key, &Row>) -> Vec<String> {
    let mut violations = Vec::new();
    connection.run("SET enable_seqscan = off").expect("set");
    for (table, name) in TABLES.iter().enumerate() {
        let held = expected.keys().filter(|key| key.0 == table).count();
        for query in ["[1,1,1,1]", "[500,3,400,1]", "[1000,1,900,1]"] {
            let sql = format!("SELECT id, v FROM {name} ORDER BY v <-> '{query}' LIMIT {NEAREST}");
            let found = connection.run(&sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
            if found.rows.len() != held.min(NEAREST) {
                violations.push(format!("{name}: an index gave {} of {held} rows", found.rows.len()));
            }
            for row in found.rows {
                let text = |position: usize| row[position].clone().unwrap_or_default();
                let id: i64 = text(0).parse().expect("an id");
                let known = expected.get(&(table, id)).map(|row| vector_text(id, row.version));
                if known.as_ref() != Some(&text(1)) {
                    violations.push(format!("{name}: an index gave {id} {}, known as {known:?}", text(1)));
                }
            }
        }
    }
    connection.run("RESET enable_seqscan").expect("reset");
    violations
}

#[cfg(test)]
mod tests;
