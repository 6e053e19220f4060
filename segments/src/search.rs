//! Top-k over one segment: by an index where that is cheaper, exactly otherwise, always in one total order.
//!
//! The order is distance numbers ascending, then NaN (zero vectors under cosine), then NULL vectors; ties by
//! commit timestamp, then row id. `k` rows come back whenever `k` are admitted: an index that finds fewer, or that
//! would cost more than a scan, or that leaves out rows the reader sees, is followed or replaced by the scan.

use arrow::buffer::BooleanBuffer;
use proto::{DistanceMetric, Oid, RowId, Timestamp};

use crate::error::{Error, Result};
use crate::index::{FlatIndex, SearchParams, SegmentIndex, VectorIndex};
use crate::view::{SegmentForm, SegmentView};

/// An index gives up after this many times the distances it was expected to need.
const PATIENCE: f64 = 4.0;

/// A row found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// `None` for a NULL vector, NaN where the metric has no answer (zero vector under cosine).
    pub distance: Option<f64>,
    pub ts: Timestamp,
    pub row: RowId,
    pub ordinal: u32,
}

/// Which index a search may use, and how.
#[derive(Clone, Debug)]
pub struct IndexUse {
    pub oid: Oid,
    pub params: SearchParams,
    /// Use it even where a scan is cheaper (`enable_seqscan = off`), and leave out rows without a distance, which no
    /// index holds.
    pub forced: bool,
}

/// How a segment was searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchMethod {
    /// All admitted rows were compared: there is no index here, or it would have cost more.
    Exact,
    Index,
    /// The index found fewer than `k` rows, or none in the time a scan takes; then all rows were compared.
    IndexThenExact,
}

/// What a segment has to offer.
#[derive(Clone, Debug)]
pub struct SegmentHits {
    /// At most `k`, in total order.
    pub hits: Vec<Hit>,
    pub method: SearchMethod,
    /// Distances that were computed.
    pub distances: usize,
}

/// The `k` nearest rows of those set in `admit`, found exactly; see `search`.
///
/// # Errors
/// As `search`.
pub fn top_k(
    view: &SegmentView,
    column: usize,
    metric: DistanceMetric,
    query: &[f32],
    k: usize,
    admit: &BooleanBuffer,
) -> Result<Vec<Hit>> {
    Ok(search(view, column, metric, query, k, admit, None)?.hits)
}

/// The `k` nearest rows of those set in `admit` (which must lie inside the view's visible rows and have one bit
/// per row of the view), by the index of that column and metric if one is allowed and there.
///
/// # Errors
/// `Corrupted` for damaged vectors, 22000 for a query of other dimensions, 0A000 when the column has none.
pub fn search(
    view: &SegmentView,
    column: usize,
    metric: DistanceMetric,
    query: &[f32],
    k: usize,
    admit: &BooleanBuffer,
    index: Option<&IndexUse>,
) -> Result<SegmentHits> {
    let form = view.form();
    if admit.len() != form.rows() {
        let what = format!("bitmap of {} rows, it has {}", admit.len(), form.rows());
        return Err(Error::OutOfRange { segment: form.id(), what });
    }
    let mut spent = 0;
    if let Some(allowed) = index
        && let Some(attached) = form.index(allowed.oid)
        && let Some(index) = attached.usable_at(view.read_ts())
        && let Some(found) = by_index(form, (attached, index.as_ref()), query, k, admit, allowed)?
    {
        if let Some(hits) = found.hits {
            return Ok(SegmentHits { hits, method: SearchMethod::Index, distances: found.distances });
        }
        spent = found.distances;
    }
    let flat = FlatIndex::new(form.clone(), column, metric)?;
    let found = flat.search(query, k, &SearchParams::default(), admit)?;
    let mut hits: Vec<Hit> =
        found.candidates.iter().map(|found| hit(form, found.ordinal, Some(found.distance))).collect();
    if index.is_some_and(|index| index.forced) {
        hits.retain(|hit| hit.distance.is_some_and(|distance| !distance.is_nan()));
    } else if hits.len() < k {
        append_nulls(form, &flat, k, admit, &mut hits);
    }
    let method = if spent > 0 { SearchMethod::IndexThenExact } else { SearchMethod::Exact };
    Ok(SegmentHits { hits, method, distances: spent + found.distances })
}

struct ByIndex {
    /// Complete and in order; without them a scan must follow.
    hits: Option<Vec<Hit>>,
    distances: usize,
}

/// The answer of an index; `None` when it turns out to be damaged or a scan is cheaper.
fn by_index(
    form: &SegmentForm,
    (attached, index): (&SegmentIndex, &dyn VectorIndex),
    query: &[f32],
    k: usize,
    admit: &BooleanBuffer,
    allowed: &IndexUse,
) -> Result<Option<ByIndex>> {
    let admitted = admit.count_set_bits();
    let expected = index.expected_distances(k, &allowed.params, admitted);
    let (scan_cost, distance_cost) = (admitted as f64, index.distance_cost());
    if !allowed.forced && expected * distance_cost >= scan_cost {
        return Ok(None);
    }
    // Beyond either bound a scan would have been cheaper, or is by now.
    let bound =
        if allowed.forced { f64::INFINITY } else { (expected * PATIENCE).max(scan_cost / distance_cost) };
    let params = SearchParams {
        most_distances: (bound as usize).min(allowed.params.most_distances),
        ..allowed.params.clone()
    };
    let found = match index.search(query, k, &params, admit) {
        Ok(found) => found,
        Err(error @ Error::Corrupted { .. }) => {
            attached.give_up(error.to_string());
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let nan = found.candidates.iter().any(|candidate| candidate.distance.is_nan());
    if found.gave_up || found.candidates.len() < k || nan {
        return Ok(Some(ByIndex { hits: None, distances: found.distances }));
    }
    let mut hits: Vec<Hit> =
        found.candidates.iter().map(|found| hit(form, found.ordinal, Some(found.distance))).collect();
    hits.sort_by(|left, right| {
        let distances = left.distance.partial_cmp(&right.distance);
        distances.unwrap_or(std::cmp::Ordering::Equal).then((left.ts, left.row).cmp(&(right.ts, right.row)))
    });
    hits.truncate(k);
    Ok(Some(ByIndex { hits: Some(hits), distances: found.distances }))
}

fn hit(form: &SegmentForm, ordinal: u32, distance: Option<f64>) -> Hit {
    let (ts, row) = form.identity(ordinal);
    Hit { distance, ts, row, ordinal }
}

fn append_nulls(form: &SegmentForm, index: &FlatIndex, k: usize, admit: &BooleanBuffer, hits: &mut Vec<Hit>) {
    let mut nulls = Vec::new();
    for part in index.vectors().parts() {
        let Some(valid) = part.valid() else { continue };
        let missing = &admit.slice(part.first(), part.rows()) & &!valid;
        nulls.extend(missing.set_indices().map(|bit| hit(form, (part.first() + bit) as u32, None)));
    }
    nulls.sort_unstable_by_key(|hit| (hit.ts, hit.row));
    nulls.truncate(k - hits.len());
    hits.append(&mut nulls);
}

#[cfg(test)]
mod tests;
