//! The list file: an IVF index over one column of a segment, rows grouped by their nearest centroid; vectors stay in
//! the vector file.
//!
//! Envelope of kind 6; its numbers are lists, dimensions, rows that are in a list. Body:
//!
//! ```text
//! lists × dimensions × 4  centroids, float4
//! (lists + 1) × 4         where each list begins in what follows
//! rows × 4                the rows of each list, ascending within it
//! 8                       format version 2: the timestamp since which the lists are complete
//! ```
//! Rows in no list have no vector, or under cosine a zero vector, or ended at or before that timestamp.

use std::sync::Arc;

use arrow::buffer::ScalarBuffer;
use bytes::Bytes;
use proto::{SegmentId, Timestamp};

use super::complete_since::{at_end, since_bytes, version_of};
use super::header::{Header, Kind, Opened, enclose_as};
use crate::error::Result;
use crate::index::Verify as _;
use crate::store::ObjectBytes;

/// The bytes of a list file. Rows that were left out because they had ended did so by `complete_since`, which is zero
/// when there are none.
pub(crate) fn encode(
    segment: SegmentId,
    rows: usize,
    dimensions: usize,
    centroids: &[f32],
    lists: &[Vec<u32>],
    complete_since: Timestamp,
) -> Bytes {
    let listed: usize = lists.iter().map(Vec::len).sum();
    let header = Header {
        kind: Kind::Lists,
        owner: segment.0,
        rows: rows as u64,
        numbers: [lists.len() as u64, dimensions as u64, listed as u64],
    };
    let since = since_bytes(complete_since);
    let length = (centroids.len() + lists.len() + 1 + listed) * 4 + since.len();
    enclose_as(version_of(complete_since), header, length, |out| {
        centroids.iter().for_each(|element| out.extend_from_slice(&element.to_le_bytes()));
        let mut start = 0_u32;
        for list in lists {
            out.extend_from_slice(&start.to_le_bytes());
            start += list.len() as u32;
        }
        out.extend_from_slice(&start.to_le_bytes());
        lists.iter().flatten().for_each(|row| out.extend_from_slice(&row.to_le_bytes()));
        out.extend_from_slice(&since);
    })
}

/// An open list file.
#[derive(Clone, Debug)]
pub(crate) struct ListFile {
    object: Arc<Opened>,
    lists: usize,
    centroids: ScalarBuffer<f32>,
    starts: ScalarBuffer<u32>,
    rows: ScalarBuffer<u32>,
    rows_at: usize,
    complete_since: Timestamp,
}

impl ListFile {
    /// Checks the envelope, the centroids and where the lists begin; the lists are verified when touched.
    ///
    /// # Errors
    /// `Corrupted` when the object is damaged or of another segment or shape.
    pub(crate) fn open(
        bytes: ObjectBytes,
        segment: SegmentId,
        rows: usize,
        dimensions: usize,
    ) -> Result<Self> {
        let object = Opened::open(bytes, Kind::Lists)?;
        let header = *object.header();
        if header.owner != segment.0 || header.rows != rows as u64 || header.numbers[1] != dimensions as u64 {
            return Err(object.corrupted("it holds lists of another segment or shape"));
        }
        let (lists, listed) = (header.numbers[0] as usize, header.numbers[2] as usize);
        let elements = lists.saturating_mul(dimensions);
        let total = elements.saturating_add(lists).saturating_add(1).saturating_add(listed);
        let (complete_since, length) = at_end(&object)?;
        if listed > rows || length != total.saturating_mul(4) {
            return Err(object.corrupted("its parts do not fit"));
        }
        let centroids = object.elements::<f32>(0, elements)?;
        let starts = object.elements::<u32>(elements * 4, lists + 1)?;
        let rows_at = (elements + lists + 1) * 4;
        object.verify(0, rows_at)?;
        if !starts.is_sorted() || starts[lists] as usize != listed {
            return Err(object.corrupted("its lists do not fit"));
        }
        let rows = object.elements::<u32>(rows_at, listed)?;
        Ok(Self { object, lists, centroids, starts, rows, rows_at, complete_since })
    }

    /// Number of lists.
    pub(crate) const fn lists(&self) -> usize {
        self.lists
    }

    /// Rows that were left out because they had ended did so at or before this instant.
    pub(crate) const fn complete_since(&self) -> Timestamp {
        self.complete_since
    }

    /// Rows that are in a list.
    pub(crate) fn listed(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of the file's body.
    pub(crate) fn bytes(&self) -> usize {
        self.object.body_length()
    }

    /// The centroids, one after the other.
    pub(crate) fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// The rows of a list; the list must exist.
    ///
    /// # Errors
    /// `Corrupted` when a touched block is damaged.
    pub(crate) fn list(&self, list: usize) -> Result<&[u32]> {
        let (start, end) = (self.starts[list] as usize, self.starts[list + 1] as usize);
        self.object.verify(self.rows_at + start * 4, self.rows_at + end * 4)?;
        Ok(&self.rows[start..end])
    }
}
