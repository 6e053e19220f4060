//! Every way to read one of the tables of `rows` at an instant, compared with what must be visible.
//!
//! Invariant: a difference is an error that says which way of reading shows it; nothing here panics over rows.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::UInt64Type;
use proto::{DistanceMetric, Oid, Timestamp};
use segments::index::SearchParams;
use segments::search::search;
use segments::{IndexUse, ScanColumn, TableSnapshot};

use crate::rows;

/// Key number to version.
pub(crate) type Rows = BTreeMap<u32, u32>;

/// Index search and filtered search look at everything, so that the graph is as exact as the twin.
const EF_SEARCH: usize = 1000;

/// A row as a scan shows it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) number: u32,
    /// Of all its columns.
    pub(crate) fingerprint: u64,
    /// When it was written.
    pub(crate) ts: Timestamp,
}

/// How near the answers of an index must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nearness {
    /// The nearest, which a search that looks at everything finds in small segments of different vectors.
    Exact,
    /// As many as there are, and all of them rows that may be found.
    Approximate,
}

/// A scan, a count, key look-ups of some numbers, index searches and filtered searches.
pub(crate) fn check(
    snapshot: &TableSnapshot,
    table: usize,
    expected: &Rows,
    numbers: impl IntoIterator<Item = u32>,
    (index, nearness): (Oid, Nearness),
) -> Result<(), String> {
    compare(snapshot, table, expected)?;
    look_up(snapshot, table, expected, numbers)?;
    for (every, k) in [(1, 3), (1, 10_000), (3, 5)] {
        nearest(snapshot, table, expected, (index, nearness), (every, k))?;
    }
    Ok(())
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Every visible row.
pub(crate) fn scan(snapshot: &TableSnapshot, table: usize) -> Result<Vec<Seen>, String> {
    let columns = (0..snapshot.table.columns.len()).map(ScanColumn::Column);
    let columns: Vec<ScanColumn> = columns.chain([ScanColumn::Ts]).collect();
    let mut seen = Vec::new();
    for view in &snapshot.segments {
        let batch = view.read_range(&columns, 0, view.rows()).map_err(words)?;
        if batch.num_rows() != view.visible().len() || view.visible().count_set_bits() != view.visible_count()
        {
            return Err(format!("segment {} miscounts its rows", view.id()));
        }
        let instants = batch.column(columns.len() - 1).as_primitive::<UInt64Type>();
        for ordinal in view.visible().set_indices() {
            let (number, fingerprint) = rows::identify(table, &batch, ordinal);
            seen.push(Seen { number, fingerprint, ts: Timestamp(instants.value(ordinal)) });
        }
    }
    if snapshot.visible_rows() != seen.len() as u64 {
        return Err(format!("count is {}, a scan shows {} rows", snapshot.visible_rows(), seen.len()));
    }
    Ok(seen)
}

fn compare(snapshot: &TableSnapshot, table: usize, expected: &Rows) -> Result<(), String> {
    let fingerprint = |(&number, &version): (&u32, &u32)| (number, rows::fingerprint(table, number, version));
    let mut missing: BTreeMap<u32, u64> = expected.iter().map(fingerprint).collect();
    let mut extra = scan(snapshot, table)?;
    // Taken away once each: what is there twice stays.
    extra.retain(|row| missing.remove(&row.number) != Some(row.fingerprint));
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    let missing: Vec<u32> = missing.into_keys().take(3).collect();
    let text = |row: &Seen| expected.get(&row.number).map(|version| rows::text(table, row.number, *version));
    let extra: Vec<_> = extra.iter().take(3).map(|row| (row, text(row))).collect();
    Err(format!("scan: missing {missing:?}, unexpected, changed or twice {extra:?}"))
}

fn look_up(
    snapshot: &TableSnapshot,
    table: usize,
    expected: &Rows,
    numbers: impl IntoIterator<Item = u32>,
) -> Result<(), String> {
    let pairs: Vec<(u32, u32)> = numbers.into_iter().map(|number| (number, 0)).collect();
    let meta = &snapshot.table;
    let keys =
        proto::key::encode_keys(&rows::batch(meta, table, &pairs), &meta.key_positions()).map_err(words)?;
    let found = snapshot.find_keys(&keys).map_err(words)?;
    for ((number, _), row) in pairs.iter().zip(found) {
        if row.is_some() != expected.contains_key(number) {
            return Err(format!("look-up of key {number} gives {row:?}"));
        }
    }
    Ok(())
}

/// The nearest of the rows whose number is divisible by `every`, through the index where a segment has it.
fn nearest(
    snapshot: &TableSnapshot,
    table: usize,
    expected: &Rows,
    (index, nearness): (Oid, Nearness),
    (every, k): (u32, usize),
) -> Result<(), String> {
    let query: Vec<f32> =
        [0.5, -1.0, 2.0, 0.25, 1.0].into_iter().cycle().take(rows::DIMENSIONS[table]).collect();
    let allowed = IndexUse {
        oid: index,
        params: SearchParams { ef_search: EF_SEARCH, ..SearchParams::default() },
        forced: true,
    };
    let metric = DistanceMetric::L2;
    let mut found: Vec<f64> = Vec::new();
    for view in &snapshot.segments {
        let columns = [ScanColumn::Column(0), ScanColumn::Column(1)];
        let all = view.read_range(&columns, 0, view.rows()).map_err(words)?;
        let filter: BooleanBuffer =
            rows::numbers(table, &all).into_iter().map(|number| number % every == 0).collect();
        let admitted = view.visible() & &filter;
        let column = rows::VECTOR_COLUMN[table];
        let hits = search(view, column, metric, &query, k, &admitted, Some(&allowed)).map_err(words)?;
        found.extend(hits.hits.iter().filter_map(|hit| hit.distance));
    }
    found.sort_by(f64::total_cmp);
    found.truncate(k);
    let admitted = expected.iter().filter(|(number, _)| **number % every == 0);
    let vectors = admitted.filter_map(|(number, version)| rows::vector(table, *number, *version));
    let mut wanted: Vec<f64> = vectors.map(|vector| rows::distance(metric, &vector, &query)).collect();
    wanted.sort_by(f64::total_cmp);
    let close = |left: f64, right: f64| (left - right).abs() <= 1e-5 * (1.0 + left.abs());
    if nearness == Nearness::Approximate {
        let mut left = wanted.iter();
        let are_there = found.iter().all(|one| left.any(|wanted| close(*one, *wanted)));
        if are_there && found.len() == wanted.len().min(k) {
            return Ok(());
        }
    }
    wanted.truncate(k);
    if found.len() == wanted.len() && found.iter().zip(&wanted).all(|(one, other)| close(*one, *other)) {
        return Ok(());
    }
    Err(format!("{k} nearest of every {every}: {found:?}, not {wanted:?}"))
}
