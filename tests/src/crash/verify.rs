//! Compares the tables with the ledgers after a restart.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{Effect, Key, Ledger, REFERRING, Row, TABLES, vector_text};
use super::{Report, crowd};
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
    violations.extend(keys_and_references(&actual));
    violations.extend(crowd::verify(connection));
    let expected = expected(ledgers);
    violations.extend(look_up(connection, &expected));
    for (name, rows) in
        TABLES.iter().zip([0, 1].map(|table| expected.keys().filter(move |key| key.0 == table)))
    {
        violations.extend(unique_index(connection, name, rows.count()));
    }
    for name in ["hubs", "spokes"] {
        let count = format!("SELECT count(code) FROM {name}");
        let count = connection.value(&count).unwrap_or_else(|failure| panic!("{count}: {failure}"));
        violations.extend(unique_index(connection, name, count.parse().expect("a number")));
    }
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

/// Values of the unique key that are there twice, and rows that refer to nothing.
fn keys_and_references(actual: &BTreeMap<Key, Row>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut codes: BTreeMap<(usize, i64), i64> = BTreeMap::new();
    for (key, row) in actual {
        if let Some(other) = codes.insert((key.0, row.code), key.1) {
            violations.push(format!("duplicate: {key:?} and {other} have code {}", row.code));
        }
        if let Some(parent) = row.parent.filter(|parent| !actual.contains_key(&(0, *parent))) {
            violations.push(format!("orphan: {key:?} refers to {parent}"));
        }
    }
    violations
}

/// Whether the unique key's index finds as many rows as a scan: each row is inserted once more under another id, which
/// its code must keep out.
fn unique_index(connection: &mut Connection, name: &str, rows: usize) -> Vec<String> {
    let columns = match name {
        "left_rows" => "code, version, tag, v",
        "right_rows" => "code, parent, version, tag, v",
        "hubs" => "code",
        _ => "code, hub, also",
    };
    let sql = format!(
        "INSERT INTO {name} SELECT -1 - id, {columns} FROM {name} WHERE code IS NOT NULL ON CONFLICT (code) DO NOTHING"
    );
    let inserted = connection.run(&sql).unwrap_or_else(|failure| panic!("{sql}: {failure}")).tag;
    if inserted.as_deref() == Some("INSERT 0 0") {
        return Vec::new();
    }
    vec![format!("{name}: of {rows} codes the index does not find some: {inserted:?}")]
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
        let parent = if table == REFERRING { "parent" } else { "NULL" };
        let sql = format!("SELECT id, version, tag, v, code, {parent} FROM {name}");
        let result = connection.run(&sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
        for row in result.rows {
            let text = |position: usize| row[position].clone().unwrap_or_default();
            let (id, version): (i64, i32) =
                (text(0).parse().expect("an id"), text(1).parse().expect("a version"));
            if text(3) != vector_text(id, version) {
                violations.push(format!("mixed row: {name} {id} version {version} has vector {}", text(3)));
            }
            let code = text(4).parse().expect("a code");
            let parent = row[5].as_ref().map(|parent| parent.parse().expect("an id"));
            if actual.insert((table, id), Row { version, tag: text(2), code, parent }).is_some() {
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

/// The same rows through other doors: by either key, and as nearest neighbours.
fn look_up(connection: &mut Connection, expected: &BTreeMap<Key, &Row>) -> Vec<String> {
    let mut violations = Vec::new();
    let step = (expected.len() / 20).max(1);
    for (key, row) in expected.iter().step_by(step) {
        for (column, value) in [("id", key.1), ("code", row.code)] {
            let sql = format!("SELECT tag FROM {} WHERE {column} = {value}", TABLES[key.0]);
            let tag = connection.value(&sql).unwrap_or_else(|failure| failure.to_string());
            if tag != row.tag {
                violations.push(format!("{sql}: {tag}, not {}", row.tag));
            }
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
