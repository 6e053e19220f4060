//! Every way to read, compared with the twin.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::DistanceMetric;
use proto::time::ReadPoint;
use rand::Rng;
use segments::search::{Hit, top_k};
use segments::{ScanColumn, SnapshotSource, TableSnapshot};

use super::super::twin::{self, Twin};
use super::{World, words};
use crate::reads::look_up_codes;
use crate::rows;

impl World {
    /// Every read of both tables now, and of what was remembered.
    pub(super) async fn check(&mut self) -> Result<(), String> {
        let read = self.node().barrier(self.database).await.map_err(words)?;
        let snapshots = self.snapshots(read).await?;
        for (table, snapshot) in snapshots.iter().enumerate() {
            compare(snapshot, table, &self.twin).map_err(|difference| format!("now: {difference}"))?;
            self.look_up(snapshot, table)?;
            look_up_codes(snapshot, table, &self.twin.tables[table])
                .map_err(|difference| format!("table {table}, now: {difference}"))?;
            self.nearest(snapshot, table)?;
        }
        self.counts.reads += 2;
        for (read, snapshots, twin) in &self.travels {
            // What a statement holds does not change under it, and the same instant read again is the same.
            for (table, held) in snapshots.iter().enumerate() {
                compare(held, table, twin)
                    .map_err(|difference| format!("held since {}: {difference}", read.read_ts))?;
                let again = match self.node().snapshot(self.tables[table].id, *read).await {
                    Ok(again) => again,
                    Err(error) if self.may_be_purged(*read) && is_too_old(&error) => continue,
                    Err(error) => return Err(words(error)),
                };
                compare(&again, table, twin)
                    .and_then(|()| look_up_codes(&again, table, &twin.tables[table]).map_err(words))
                    .map_err(|difference| format!("at {}: {difference}", read.read_ts))?;
            }
        }
        Ok(())
    }

    /// Whether an instant lies before the horizon.
    fn may_be_purged(&self, point: ReadPoint) -> bool {
        let now = self.home.parts.oracle.now().millis();
        point.read_ts.millis() <= now.saturating_sub(self.home.parts.settings.retention_millis)
    }

    /// Keys that are there and keys that are not.
    fn look_up(&mut self, snapshot: &TableSnapshot, table: usize) -> Result<(), String> {
        let numbers: Vec<u32> = (0..8).map(|_| self.dice.random_range(0..=self.next_number + 1)).collect();
        let pairs: Vec<(u32, u32)> = numbers.iter().map(|number| (*number, 0)).collect();
        let meta = &self.tables[table];
        let keys = proto::key::encode_keys(&rows::batch(meta, table, &pairs), &meta.key_positions())
            .map_err(words)?;
        let found = snapshot.find_keys(&keys).map_err(words)?;
        for (number, row) in numbers.iter().zip(found) {
            let expected = self.twin.tables[table].contains_key(number);
            if row.is_some() != expected {
                return Err(format!(
                    "table {table}: look-up of key {number} gives {row:?}, expected {expected}"
                ));
            }
        }
        Ok(())
    }

    fn nearest(&mut self, snapshot: &Arc<TableSnapshot>, table: usize) -> Result<(), String> {
        let metric = DistanceMetric::ALL[self.dice.random_range(0..4)];
        let query: Vec<f32> =
            (0..rows::DIMENSIONS[table]).map(|_| self.dice.random_range(-6.0..6.0)).collect();
        let k = if self.dice.random_ratio(1, 8) { 10_000 } else { self.dice.random_range(1..12) };
        let mut hits: Vec<Hit> = Vec::new();
        for view in &snapshot.segments {
            let column = rows::VECTOR_COLUMN[table];
            hits.extend(top_k(view, column, metric, &query, k, view.visible()).map_err(words)?);
        }
        let mut found: Vec<Option<f64>> = hits.iter().map(|hit| hit.distance).collect();
        found.sort_by(|left, right| twin::order(*left, *right));
        found.truncate(k);
        let expected = self.twin.nearest(table, metric, &query, k);
        let equal = found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| close(*a, *b));
        if equal {
            return Ok(());
        }
        Err(format!("table {table}: {k} nearest by {metric:?} are {found:?}, not {expected:?}"))
    }
}

fn is_too_old(error: &segments::Error) -> bool {
    proto::Classify::kind(error) == proto::ErrorKind::SnapshotTooOld
}

fn close(left: Option<f64>, right: Option<f64>) -> bool {
    match (left, right) {
        (Some(a), Some(b)) if a.is_nan() || b.is_nan() => a.is_nan() && b.is_nan(),
        (Some(a), Some(b)) => (a - b).abs() <= 1e-5 * (1.0 + a.abs()),
        (a, b) => a == b,
    }
}

/// A scan of the whole table.
pub(super) fn compare(snapshot: &TableSnapshot, table: usize, twin: &Twin) -> Result<(), String> {
    let columns: Vec<ScanColumn> = (0..snapshot.table.columns.len()).map(ScanColumn::Column).collect();
    let mut found: BTreeMap<u32, String> = BTreeMap::new();
    for view in &snapshot.segments {
        let batch = view.read_range(&columns, 0, view.rows()).map_err(words)?;
        if batch.num_rows() != view.visible().len() || view.visible().count_set_bits() != view.visible_count()
        {
            return Err(format!("table {table}: segment {} miscounts its rows", view.id()));
        }
        let all = rows::read(table, &batch);
        for ordinal in view.visible().set_indices() {
            let (number, text) = all[ordinal].clone();
            if found.insert(number, text).is_some() {
                return Err(format!("table {table}: key {number} is there twice"));
            }
        }
        some_rows(view, &columns, table, &all)?;
    }
    let expected: BTreeMap<u32, String> = twin.tables[table]
        .iter()
        .map(|(&number, &version)| (number, rows::text(table, number, version)))
        .collect();
    if found == expected && snapshot.visible_rows() == expected.len() as u64 {
        return Ok(());
    }
    let lost: Vec<_> = expected.iter().filter(|(key, text)| found.get(key) != Some(text)).take(3).collect();
    let extra: Vec<_> = found.iter().filter(|(key, text)| expected.get(key) != Some(text)).take(3).collect();
    Err(format!(
        "table {table}: {} rows, not {}; missing or different {lost:?}; unexpected {extra:?}",
        found.len(),
        expected.len()
    ))
}

/// Rows read by ordinal are the rows of the scan.
fn some_rows(
    view: &segments::SegmentView,
    columns: &[ScanColumn],
    table: usize,
    all: &[(u32, String)],
) -> Result<(), String> {
    let ordinals: Vec<u32> = (0..view.rows() as u32).rev().step_by(17).collect();
    let batch = view.read_rows(columns, &ordinals).map_err(words)?;
    let picked = rows::read(table, &batch);
    let expected = ordinals.iter().map(|ordinal| &all[*ordinal as usize]);
    if picked.len() == ordinals.len() && picked.iter().zip(expected).all(|(a, b)| a == b) {
        return Ok(());
    }
    Err(format!("table {table}: segment {} gives other rows by ordinal than by range", view.id()))
}
