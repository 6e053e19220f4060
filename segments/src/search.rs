//! Exact top-k over one segment: the index's candidates, then rows without a vector, in one total order.
//!
//! The order is distance numbers ascending, then NaN (zero vectors under cosine), then NULL vectors; ties by
//! commit timestamp, then row id. `k` rows come back whenever `k` are admitted.

use arrow::buffer::BooleanBuffer;
use proto::{DistanceMetric, RowId, Timestamp};

use crate::error::{Error, Result};
use crate::index::{FlatIndex, SearchParams, VectorIndex};
use crate::view::{SegmentForm, SegmentView};

/// A row found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// `None` for a NULL vector, NaN where the metric has no answer (zero vector under cosine).
    pub distance: Option<f64>,
    pub ts: Timestamp,
    pub row: RowId,
    pub ordinal: u32,
}

/// The `k` nearest rows of those set in `admit` (which must lie inside the view's visible rows and have one bit
/// per row of the view).
///
/// # Errors
/// `Corrupted` for damaged vectors, 22000 for a query of other dimensions, 0A000 when the column has none.
pub fn top_k(
    view: &SegmentView,
    column: usize,
    metric: DistanceMetric,
    query: &[f32],
    k: usize,
    admit: &BooleanBuffer,
) -> Result<Vec<Hit>> {
    let form = view.form();
    if admit.len() != form.rows() {
        let what = format!("bitmap of {} rows, it has {}", admit.len(), form.rows());
        return Err(Error::OutOfRange { segment: form.id(), what });
    }
    let index = FlatIndex::new(form.clone(), column, metric)?;
    let candidates = index.search(query, k, &SearchParams::default(), admit)?;
    let mut hits: Vec<Hit> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let (ts, row) = form.identity(candidate.ordinal);
        hits.push(Hit { distance: Some(candidate.distance), ts, row, ordinal: candidate.ordinal });
    }
    if hits.len() < k {
        append_nulls(form, &index, k, admit, &mut hits);
    }
    Ok(hits)
}

fn append_nulls(form: &SegmentForm, index: &FlatIndex, k: usize, admit: &BooleanBuffer, hits: &mut Vec<Hit>) {
    let mut nulls = Vec::new();
    for part in index.vectors().parts() {
        let Some(valid) = part.valid() else { continue };
        let missing = &admit.slice(part.first(), part.rows()) & &!valid;
        for bit in missing.set_indices() {
            let ordinal = (part.first() + bit) as u32;
            let (ts, row) = form.identity(ordinal);
            nulls.push(Hit { distance: None, ts, row, ordinal });
        }
    }
    nulls.sort_unstable_by_key(|hit| (hit.ts, hit.row));
    nulls.truncate(k - hits.len());
    hits.append(&mut nulls);
}

#[cfg(test)]
mod tests;
