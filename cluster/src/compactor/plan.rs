//! What to merge: a pure function of a table's stored segments and the limits.
//!
//! Segments whose rows all ended behind the horizon go without a copy. Small segments are merged up to the segment
//! size, but only with about equals: the largest of a merge is at most as large as the others together, so a row
//! is copied a logarithmic number of times. A segment of any size with too many purgeable rows is written anew.
//!
//! Invariant: every segment is in at most one merge of a plan, and a merge of a single segment purges something.

use proto::{RowId, SegmentId};

/// What a plan knows of a stored segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) segment: SegmentId,
    pub(crate) first_row: RowId,
    pub(crate) rows: u64,
    /// Rows that ended at or before the horizon.
    pub(crate) purgeable: u64,
    /// Bytes of the files with its rows.
    pub(crate) bytes: u64,
    /// Whether its rows can be copied; otherwise it can only go as a whole.
    pub(crate) is_copyable: bool,
}

/// How eagerly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompactionGoal {
    /// What pays for itself.
    Automatic,
    /// Whatever purges a row or joins two small segments (VACUUM).
    Vacuum,
    /// As few segments as possible, without a purgeable row (VACUUM FULL).
    Full,
}

/// The settings a plan follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// A merged segment has at most this many bytes, with a quarter of tolerance.
    pub(crate) segment_bytes: u64,
    /// Small segments that are worth an automatic merge.
    pub(crate) small_segments: usize,
    /// The part of purgeable rows from which a segment is written anew automatically.
    pub(crate) dead_fraction: f64,
}

impl Candidate {
    /// Bytes once purged.
    fn live_bytes(&self) -> u64 {
        let live = u128::from(self.rows - self.purgeable.min(self.rows));
        (u128::from(self.bytes) * live / u128::from(self.rows.max(1))) as u64
    }

    const fn is_empty(&self) -> bool {
        self.purgeable >= self.rows
    }

    fn is_small(&self, limits: &Limits) -> bool {
        self.live_bytes() < limits.segment_bytes / 2
    }
}

/// The merges that are due; each a list of segments that one takes the place of.
pub(crate) fn plan(candidates: &[Candidate], limits: &Limits, goal: CompactionGoal) -> Vec<Vec<SegmentId>> {
    let (empty, rest): (Vec<Candidate>, Vec<Candidate>) = candidates.iter().partition(|one| one.is_empty());
    let mut merges = Vec::new();
    if !empty.is_empty() {
        merges.push(empty.iter().map(|one| one.segment).collect());
    }
    let mut rest: Vec<Candidate> = rest.into_iter().filter(|one| one.is_copyable).collect();
    rest.sort_by_key(|one| one.first_row);
    match goal {
        CompactionGoal::Automatic => merges.extend(automatic(&rest, limits)),
        CompactionGoal::Vacuum => {
            rest.retain(|one| one.purgeable > 0 || one.is_small(limits));
            merges.extend(packed(&rest, limits));
        }
        CompactionGoal::Full => merges.extend(packed(&rest, limits)),
    }
    merges
}

/// Neighbours joined up to the segment size.
fn packed(sorted: &[Candidate], limits: &Limits) -> Vec<Vec<SegmentId>> {
    let mut packs: Vec<Vec<Candidate>> = Vec::new();
    let (mut bytes, mut rows) = (0, 0);
    for one in sorted {
        let fits = bytes + one.live_bytes() <= limits.segment_bytes && rows + one.rows <= u64::from(u32::MAX);
        match packs.last_mut() {
            Some(pack) if fits => pack.push(*one),
            _ => {
                packs.push(vec![*one]);
                (bytes, rows) = (0, 0);
            }
        }
        bytes += one.live_bytes();
        rows += one.rows;
    }
    packs.retain(|pack| pack.len() > 1 || pack.iter().any(|one| one.purgeable > 0));
    packs.into_iter().map(|pack| pack.iter().map(|one| one.segment).collect()).collect()
}

fn automatic(sorted: &[Candidate], limits: &Limits) -> Vec<Vec<SegmentId>> {
    let mut merges = Vec::new();
    let small = small_merge(sorted, limits);
    let is_dead = |one: &&Candidate| one.purgeable as f64 >= limits.dead_fraction * one.rows as f64;
    let dead = sorted.iter().filter(|one| one.purgeable > 0).filter(is_dead);
    let dead = dead.map(|one| one.segment).filter(|segment| !small.contains(segment));
    merges.extend(dead.map(|segment| vec![segment]));
    if !small.is_empty() {
        merges.push(small);
    }
    merges
}

/// The longest list of small segments, by size, whose largest is at most the sum of the others.
fn small_merge(sorted: &[Candidate], limits: &Limits) -> Vec<SegmentId> {
    let mut small: Vec<Candidate> = sorted.iter().copied().filter(|one| one.is_small(limits)).collect();
    small.sort_by_key(|one| (one.live_bytes(), one.first_row));
    let most = limits.segment_bytes + limits.segment_bytes / 4;
    let (mut bytes, mut rows, mut taken) = (0, 0, 0);
    let (mut longest, mut longest_bytes) = (0, 0);
    for one in &small {
        if bytes + one.live_bytes() > most || rows + one.rows > u64::from(u32::MAX) {
            break;
        }
        taken += 1;
        if taken >= 2 && one.live_bytes() <= bytes {
            longest = taken;
            longest_bytes = bytes + one.live_bytes();
        }
        bytes += one.live_bytes();
        rows += one.rows;
    }
    let full = longest_bytes * 20 >= limits.segment_bytes * 17;
    if longest >= limits.small_segments.max(2) || full && longest >= 2 {
        return small[..longest].iter().map(|one| one.segment).collect();
    }
    Vec::new()
}

#[cfg(test)]
mod tests;
