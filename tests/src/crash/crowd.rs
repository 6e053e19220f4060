//! Two small tables that all clients change at once, so that they want the same unique values, and refer to rows that
//! others are deleting. No ledger knows what is in them; what must hold is that no value is there twice and that
//! every row refers to one that is there.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::client::Client;
use crate::wire::Connection;

/// Ids and codes of hubs are drawn from this many.
const HUBS: i32 = 12;
/// Codes of spokes are drawn from this many.
const CODES: i32 = 60;
/// What may become of a statement here: the value is taken, a row is referred to or is not there, or two statements
/// wait for each other.
pub(super) const REFUSALS: [&str; 4] = ["23505", "23503", "40P01", "40001"];

/// Any change of the two tables.
pub(super) fn statement(client: &mut Client<'_>) -> String {
    let id = client.ledger.fresh_id();
    let dice = &mut client.dice;
    let (hub, other) = (dice.random_range(0..HUBS), dice.random_range(0..HUBS));
    let (hub_code, code) = (100 + dice.random_range(0..HUBS), dice.random_range(0..CODES));
    let also = if dice.random() { hub_code.to_string() } else { "NULL".to_owned() };
    match dice.random_range(0..12) {
        0 => format!("INSERT INTO hubs VALUES ({hub}, {hub_code})"),
        1 => format!(
            "INSERT INTO hubs VALUES ({hub}, {hub_code}), ({other}, {hub_code}) ON CONFLICT DO NOTHING"
        ),
        2 => format!(
            "INSERT INTO hubs VALUES ({hub}, {hub_code}) ON CONFLICT (id) DO UPDATE SET code = excluded.code"
        ),
        3 | 4 => format!("DELETE FROM hubs WHERE id = {hub}"),
        5 => format!("UPDATE hubs SET id = {other} WHERE id = {hub}"),
        6 => format!("UPDATE spokes SET hub = {hub}, also = {also} WHERE code = {code}"),
        7 => format!("DELETE FROM spokes WHERE code = {code}"),
        8 => format!(
            "INSERT INTO spokes VALUES ({id}, {code}, {hub}, {also}) \
             ON CONFLICT (code) DO UPDATE SET hub = excluded.hub, also = excluded.also"
        ),
        _ => format!("INSERT INTO spokes VALUES ({id}, {code}, {hub}, {also})"),
    }
}

/// Everything in the two tables that is not as it must be.
pub(super) fn verify(connection: &mut Connection) -> Vec<String> {
    let mut violations = Vec::new();
    let hubs = read(connection, "SELECT id, code FROM hubs", &mut violations);
    let spokes = read(connection, "SELECT id, code, hub, also FROM spokes", &mut violations);
    let codes: BTreeSet<i64> = hubs.values().filter_map(|row| row[1]).collect();
    for row in spokes.values() {
        if !row[2].is_some_and(|hub| hubs.contains_key(&hub))
            || row[3].is_some_and(|also| !codes.contains(&also))
        {
            violations.push(format!("orphan: {row:?} of spokes, hubs have {hubs:?}"));
        }
    }
    violations
}

/// The rows by their ids, with every value that is there twice.
fn read(
    connection: &mut Connection,
    sql: &str,
    violations: &mut Vec<String>,
) -> BTreeMap<i64, Vec<Option<i64>>> {
    let result = connection.run(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
    let (mut rows, mut codes) = (BTreeMap::new(), BTreeSet::new());
    for row in result.rows {
        let number = |value: Option<String>| value.map(|text| text.parse::<i64>().expect("a number"));
        let row: Vec<Option<i64>> = row.into_iter().map(number).collect();
        if row[1].is_some_and(|code| !codes.insert(code)) {
            violations.push(format!("{sql}: the code of {row:?} is there twice"));
        }
        if let Some(before) = rows.insert(row[0].unwrap_or_default(), row) {
            violations.push(format!("{sql}: the id of {before:?} is there twice"));
        }
    }
    rows
}
