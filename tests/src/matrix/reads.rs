//! Every way to read a table at an instant, compared with what must be visible.

use std::collections::BTreeMap;

use arrow::buffer::BooleanBuffer;
use proto::{DistanceMetric, Oid};
use segments::index::SearchParams;
use segments::search::search;
use segments::{IndexUse, ScanColumn, TableSnapshot};

use crate::rows;

/// Key number to version.
pub(super) type Rows = BTreeMap<u32, u32>;

/// Index search and filtered search look at everything, so that the graph is as exact as the twin.
const EF_SEARCH: usize = 1000;

/// A scan, a count, key look-ups, index searches and filtered searches.
pub(super) fn check(snapshot: &TableSnapshot, expected: &Rows, known: u32, index: Oid) -> Result<(), String> {
    scan(snapshot, expected)?;
    if snapshot.visible_rows() != expected.len() as u64 {
        return Err(format!("count is {}, not {}", snapshot.visible_rows(), expected.len()));
    }
    look_up(snapshot, expected, known)?;
    for (every, k) in [(1, 3), (1, 10_000), (3, 5)] {
        nearest(snapshot, expected, index, every, k)?;
    }
    Ok(())
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn scan(snapshot: &TableSnapshot, expected: &Rows) -> Result<(), String> {
    let columns: Vec<ScanColumn> = (0..snapshot.table.columns.len()).map(ScanColumn::Column).collect();
    let mut found: BTreeMap<u32, String> = BTreeMap::new();
    for view in &snapshot.segments {
        let all = rows::read(0, &view.read_range(&columns, 0, view.rows()).map_err(words)?);
        for ordinal in view.visible().set_indices() {
            let (number, text) = all[ordinal].clone();
            if found.insert(number, text).is_some() {
                return Err(format!("scan: key {number} is there twice"));
            }
        }
    }
    let expected: BTreeMap<u32, String> =
        expected.iter().map(|(&number, &version)| (number, rows::text(0, number, version))).collect();
    let lost: Vec<_> = expected.iter().filter(|(key, text)| found.get(key) != Some(text)).take(3).collect();
    let extra: Vec<_> = found.iter().filter(|(key, text)| expected.get(key) != Some(text)).take(3).collect();
    if lost.is_empty() && extra.is_empty() {
        return Ok(());
    }
    Err(format!("scan: missing {lost:?}, unexpected {extra:?}"))
}

fn look_up(snapshot: &TableSnapshot, expected: &Rows, known: u32) -> Result<(), String> {
    let pairs: Vec<(u32, u32)> = (1..=known + 1).map(|number| (number, 0)).collect();
    let meta = &snapshot.table;
    let keys =
        proto::key::encode_keys(&rows::batch(meta, 0, &pairs), &meta.key_positions()).map_err(words)?;
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
    expected: &Rows,
    index: Oid,
    every: u32,
    k: usize,
) -> Result<(), String> {
    let query = [0.5, -1.0, 2.0, 0.25, 1.0];
    let allowed = IndexUse {
        oid: index,
        params: SearchParams { ef_search: EF_SEARCH, ..SearchParams::default() },
        forced: true,
    };
    let metric = DistanceMetric::L2;
    let mut found: Vec<f64> = Vec::new();
    for view in &snapshot.segments {
        let numbers = view.read_range(&[ScanColumn::Column(0)], 0, view.rows()).map_err(words)?;
        let numbers = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(numbers.column(0));
        let filter: BooleanBuffer =
            numbers.values().iter().map(|number| number % i64::from(every) == 0).collect();
        let admitted = view.visible() & &filter;
        let column = rows::VECTOR_COLUMN[0];
        let hits = search(view, column, metric, &query, k, &admitted, Some(&allowed)).map_err(words)?;
        found.extend(hits.hits.iter().filter_map(|hit| hit.distance));
    }
    found.sort_by(f64::total_cmp);
    found.truncate(k);
    let admitted = expected.iter().filter(|(number, _)| **number % every == 0);
    let vectors = admitted.filter_map(|(number, version)| rows::vector(0, *number, *version));
    let mut wanted: Vec<f64> = vectors.map(|vector| rows::distance(metric, &vector, &query)).collect();
    wanted.sort_by(f64::total_cmp);
    wanted.truncate(k);
    let close = |(left, right): (&f64, &f64)| (left - right).abs() <= 1e-5 * (1.0 + left.abs());
    if found.len() == wanted.len() && found.iter().zip(&wanted).all(close) {
        return Ok(());
    }
    Err(format!("{k} nearest of every {every}: {found:?}, not {wanted:?}"))
}
