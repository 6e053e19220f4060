//! Every way to read one of the tables of `rows` at an instant, compared with what must be visible.
//!
//! Invariant: a difference is an error that says which way of reading shows it; nothing here panics over rows.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::AsArray;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::UInt64Type;
use proto::{DistanceMetric, Oid, Timestamp};
use segments::index::SearchParams;
use segments::search::search;
use segments::{IndexUse, ScanColumn, TableSnapshot};

use crate::rows;
pub(crate) use crate::rows::Rows;

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

/// Why a read does not show what must be visible.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What it needs cannot be read, and it says so.
    Unreadable(segments::Error),
    Different(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(formatter),
            Self::Different(difference) => formatter.write_str(difference),
        }
    }
}

impl From<segments::Error> for Fault {
    fn from(error: segments::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<String> for Fault {
    fn from(difference: String) -> Self {
        Self::Different(difference)
    }
}

/// How near the answers of an index must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nearness {
    /// The nearest, which a search that looks at everything finds in small segments of different vectors.
    Exact,
    /// As many as there are, and all of them rows that may be found.
    Approximate,
}

/// A scan, a count, key look-ups of some numbers, look-ups of all codes, index searches and filtered searches.
pub(crate) fn check(
    snapshot: &TableSnapshot,
    table: usize,
    expected: &Rows,
    numbers: impl IntoIterator<Item = u32>,
    (index, nearness): (Oid, Nearness),
) -> Result<(), Fault> {
    compare(snapshot, table, expected)?;
    look_up(snapshot, table, expected, numbers)?;
    look_up_codes(snapshot, table, expected)?;
    for (every, k) in [(1, 3), (1, 10_000), (3, 5)] {
        nearest(snapshot, table, expected, (index, nearness), (every, k))?;
    }
    Ok(())
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Every visible row.
pub(crate) fn scan(snapshot: &TableSnapshot, table: usize) -> Result<Vec<Seen>, Fault> {
    let columns = (0..snapshot.table.columns.len()).map(ScanColumn::Column);
    let columns: Vec<ScanColumn> = columns.chain([ScanColumn::Ts]).collect();
    let mut seen = Vec::new();
    for view in &snapshot.segments {
        let batch = view.read_range(&columns, 0, view.rows())?;
        if batch.num_rows() != view.visible().len() || view.visible().count_set_bits() != view.visible_count()
        {
            return Err(format!("segment {} miscounts its rows", view.id()).into());
        }
        let instants = batch.column(columns.len() - 1).as_primitive::<UInt64Type>();
        for ordinal in view.visible().set_indices() {
            let (number, fingerprint) = rows::identify(table, &batch, ordinal);
            seen.push(Seen { number, fingerprint, ts: Timestamp(instants.value(ordinal)) });
        }
    }
    if snapshot.visible_rows() != seen.len() as u64 {
        return Err(format!("count is {}, a scan shows {} rows", snapshot.visible_rows(), seen.len()).into());
    }
    Ok(seen)
}

fn compare(snapshot: &TableSnapshot, table: usize, expected: &Rows) -> Result<(), Fault> {
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
    Err(format!("scan: missing {missing:?}, unexpected, changed or twice {extra:?}").into())
}

fn look_up(
    snapshot: &TableSnapshot,
    table: usize,
    expected: &Rows,
    numbers: impl IntoIterator<Item = u32>,
) -> Result<(), Fault> {
    let pairs: Vec<(u32, u32)> = numbers.into_iter().map(|number| (number, 0)).collect();
    let meta = &snapshot.table;
    let keys =
        proto::key::encode_keys(&rows::batch(meta, table, &pairs), &meta.key_positions()).map_err(words)?;
    let found = snapshot.find_keys(&keys)?;
    for ((number, _), row) in pairs.iter().zip(found) {
        if row.is_some() != expected.contains_key(number) {
            return Err(format!("look-up of key {number} gives {row:?}").into());
        }
    }
    Ok(())
}

/// Every code that is there leads to its row and no other, and one that is not there to none.
pub(crate) fn look_up_codes(snapshot: &TableSnapshot, table: usize, expected: &Rows) -> Result<(), Fault> {
    let mut codes = BTreeMap::new();
    for (number, version) in expected {
        codes.extend(
            rows::code(*version).map(|code| (code, (*number, rows::fingerprint(table, *number, *version)))),
        );
    }
    let absent = (1..=rows::CODES).find(|code| !codes.contains_key(code));
    let asked: Vec<u32> = codes.keys().copied().chain(absent).collect();
    let values = rows::unique_values(&snapshot.table, table, &asked)?;
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    let key = snapshot.table.uniques[0].as_key();
    let found = snapshot.find(key, &values)?;
    let columns: Vec<ScanColumn> = (0..snapshot.table.columns.len()).map(ScanColumn::Column).collect();
    for (code, row) in asked.iter().zip(&found) {
        let Some(row) = row else { continue };
        let (segment, ordinal) =
            snapshot.locate(row).ok_or_else(|| format!("code {code} leads to {row:?}, which is nowhere"))?;
        let batch = snapshot.segments[segment].read_rows(&columns, &[ordinal])?;
        let seen = rows::identify(table, &batch, 0);
        if codes.remove(code) != Some(seen) {
            return Err(format!("code {code} leads to another row: {row:?}, number {}", seen.0).into());
        }
    }
    match codes.first_key_value() {
        None => Ok(()),
        Some((code, row)) => Err(format!(
            "the index of the unique key does not find {} codes, the first {code} of row {}",
            codes.len(),
            row.0
        )
        .into()),
    }
}

/// The nearest of the rows whose number is divisible by `every`, through the index where a segment has it.
fn nearest(
    snapshot: &TableSnapshot,
    table: usize,
    expected: &Rows,
    (index, nearness): (Oid, Nearness),
    (every, k): (u32, usize),
) -> Result<(), Fault> {
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
        let all = view.read_range(&columns, 0, view.rows())?;
        let filter: BooleanBuffer =
            rows::numbers(table, &all).into_iter().map(|number| number % every == 0).collect();
        let admitted = view.visible() & &filter;
        let column = rows::VECTOR_COLUMN[table];
        let hits = search(view, column, metric, &query, k, &admitted, Some(&allowed))?;
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
    Err(format!("{k} nearest of every {every}: {found:?}, not {wanted:?}").into())
}
