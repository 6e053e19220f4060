//! The key index of growing rows: sorted runs of (hash of the key bytes, ordinal), cheap to clone.
//!
//! What it is not: hashes only point at candidates; the caller compares the key bytes and visibility.
//!
//! Invariants: a run is sorted by (hash, ordinal) and never changes; neighbouring runs merge while their sizes
//! are similar, up to a limit, so a lookup touches about log2(n) runs.

use std::sync::Arc;

use arrow::array::RecordBatch;
use proto::Oid;
use proto::catalog::KeyMeta;
use proto::key::encode_unique_keys;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::error::Result;

/// Runs longer than this are not merged any more: a merge must not stop the writer for long.
const LONGEST_RUN: usize = 1 << 20;

/// The hash that key indexes and key files are sorted by: xxh3, 64 bits, seed 0.
#[must_use]
pub fn hash_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// A hash of a value of a key of an index; equal values of two keys differ in it.
#[must_use]
pub fn hash_key_of(index: Oid, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, u64::from(index.0))
}

/// The hash of a key in every row, `None` where the row is in no key because of a NULL.
///
/// # Errors
/// 0A000 for a type that cannot be a key.
pub(crate) fn key_hashes(
    key: KeyMeta<'_>,
    batch: &RecordBatch,
    positions: &[usize],
) -> Result<Vec<Option<u64>>> {
    let keys = encode_unique_keys(batch, positions, key.nulls_distinct)?;
    Ok(keys.iter().map(|key| key.as_deref().map(hash_key)).collect())
}

/// A row of a key with its place, when it is in the key.
pub(crate) fn placed((hash, ordinal): (Option<u64>, u32)) -> Option<(u64, u32)> {
    hash.map(|hash| (hash, ordinal))
}

/// One sorted run.
#[derive(Debug)]
struct Run {
    hashes: Vec<u64>,
    ordinals: Vec<u32>,
}

/// The runs of one growing segment.
#[derive(Clone, Debug, Default)]
pub struct KeyRuns {
    runs: Arc<Vec<Arc<Run>>>,
}

impl KeyRuns {
    /// Adds rows by the hashes of their keys.
    pub fn append(&mut self, rows: impl IntoIterator<Item = (u64, u32)>) {
        let mut pairs: Vec<(u64, u32)> = rows.into_iter().collect();
        if pairs.is_empty() {
            return;
        }
        pairs.sort_unstable();
        let runs = Arc::make_mut(&mut self.runs);
        runs.push(Arc::new(Run {
            hashes: pairs.iter().map(|pair| pair.0).collect(),
            ordinals: pairs.iter().map(|pair| pair.1).collect(),
        }));
        while let [.., previous, last] = runs.as_slice() {
            let sum = previous.hashes.len() + last.hashes.len();
            if previous.hashes.len() > last.hashes.len() * 2 || sum > LONGEST_RUN {
                break;
            }
            let merged = Arc::new(merge(previous, last));
            runs.truncate(runs.len() - 2);
            runs.push(merged);
        }
    }

    /// Appends the ordinals of rows whose key may have this hash, newest run first.
    pub fn candidates(&self, hash: u64, ordinals: &mut Vec<u32>) {
        for run in self.runs.iter().rev() {
            let mut at = lower_bound(&run.hashes, hash);
            while run.hashes.get(at) == Some(&hash) {
                ordinals.push(run.ordinals[at]);
                at += 1;
            }
        }
    }

    /// All pairs in file order: ascending hash, then ordinal.
    #[must_use]
    pub fn sorted(&self) -> Vec<(u64, u32)> {
        let mut pairs: Vec<(u64, u32)> = self
            .runs
            .iter()
            .flat_map(|run| run.hashes.iter().copied().zip(run.ordinals.iter().copied()))
            .collect();
        pairs.sort_unstable();
        pairs
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.hashes.len() * 12).sum()
    }
}

fn merge(left: &Run, right: &Run) -> Run {
    let length = left.hashes.len() + right.hashes.len();
    let mut merged = Run { hashes: Vec::with_capacity(length), ordinals: Vec::with_capacity(length) };
    let (mut l, mut r) = (0, 0);
    while l < left.hashes.len() && r < right.hashes.len() {
        let take_left = (left.hashes[l], left.ordinals[l]) <= (right.hashes[r], right.ordinals[r]);
        let (run, at) = if take_left { (left, &mut l) } else { (right, &mut r) };
        merged.hashes.push(run.hashes[*at]);
        merged.ordinals.push(run.ordinals[*at]);
        *at += 1;
    }
    for (run, at) in [(left, l), (right, r)] {
        merged.hashes.extend_from_slice(&run.hashes[at..]);
        merged.ordinals.extend_from_slice(&run.ordinals[at..]);
    }
    merged
}

/// The first position whose hash is not below `hash`: hashes are uniform, so the search starts where the hash
/// should be and gallops from there.
fn lower_bound(hashes: &[u64], hash: u64) -> usize {
    let guess = ((u128::from(hash) * hashes.len() as u128) >> 64) as usize;
    let mut step = 8;
    let (mut low, mut high);
    if hashes.get(guess).is_some_and(|&found| found < hash) {
        (low, high) = (guess, guess + step);
        while high < hashes.len() && hashes[high] < hash {
            low = high;
            step *= 2;
            high += step;
        }
    } else {
        (low, high) = (guess.saturating_sub(step), guess);
        while low > 0 && hashes[low] >= hash {
            high = low;
            step *= 2;
            low = low.saturating_sub(step);
        }
    }
    let high = high.min(hashes.len());
    low + hashes[low..high].partition_point(|&found| found < hash)
}

#[cfg(test)]
mod tests;
