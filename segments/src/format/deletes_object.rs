//! The deletes object: every row of a segment that ended, cumulative; a newer one replaces the older.
//!
//! Envelope of kind 3; its numbers are entries, ends, 0. Body:
//!
//! ```text
//! 0              ends × 16     TRUNCATEs: rows below ordinal u64, ts u64, in order of ts
//! then           entries × 24  ordinal u32, zero u32, row id u64, ts u64; ascending ordinals
//! ```

use bytes::Bytes;
use proto::{RowId, SegmentId, Timestamp};

use super::header::{Header, Kind, Opened, enclose};
use crate::deletes::DeleteSet;
use crate::error::Result;
use crate::store::ObjectBytes;

const END: usize = 16;
const ENTRY: usize = 24;

/// The bytes of a deletes object for a segment of `rows` row versions.
#[must_use]
pub fn encode(segment: SegmentId, rows: usize, deletes: &DeleteSet) -> Bytes {
    let (entries, ends) = (deletes.len(), deletes.ends().len());
    let header = Header {
        kind: Kind::Deletes,
        owner: segment.0,
        rows: rows as u64,
        numbers: [entries as u64, ends as u64, 0],
    };
    enclose(header, ends * END + entries * ENTRY, |out| {
        for end in deletes.ends() {
            out.extend_from_slice(&u64::from(end.rows).to_le_bytes());
            out.extend_from_slice(&end.ts.0.to_le_bytes());
        }
        for entry in deletes.entries() {
            out.extend_from_slice(&u64::from(entry.ordinal).to_le_bytes());
            out.extend_from_slice(&entry.row.0.to_le_bytes());
            out.extend_from_slice(&entry.ts.0.to_le_bytes());
        }
    })
}

/// Reads a deletes object back.
///
/// # Errors
/// `Corrupted` when the object is damaged or of another segment.
pub fn decode(bytes: ObjectBytes, segment: SegmentId, rows: usize) -> Result<DeleteSet> {
    let object = Opened::open(bytes, Kind::Deletes)?;
    let header = *object.header();
    if header.owner != segment.0 || header.rows != rows as u64 {
        return Err(object.corrupted("it holds deletes of another segment"));
    }
    let [entries, ends, _] = header.numbers;
    let expected = (ends as usize).checked_mul(END).zip((entries as usize).checked_mul(ENTRY));
    let Some((ends_length, _)) = expected.filter(|(a, b)| a.checked_add(*b) == Some(object.body_length()))
    else {
        return Err(object.corrupted("it has another length than announced"));
    };
    let mut deletes = DeleteSet::new();
    let body = object.body(0..object.body_length())?;
    let outside = || object.corrupted("it names a row outside the segment");
    for end in body[..ends_length].chunks_exact(END) {
        let below = u32::try_from(number(end, 0)).ok().filter(|below| *below as usize <= rows);
        deletes.end_all(below.ok_or_else(outside)?, Timestamp(number(end, 8)));
    }
    for entry in body[ends_length..].chunks_exact(ENTRY) {
        let ordinal = u32::try_from(number(entry, 0)).ok().filter(|ordinal| (*ordinal as usize) < rows);
        deletes.insert(ordinal.ok_or_else(outside)?, RowId(number(entry, 8)), Timestamp(number(entry, 16)));
    }
    Ok(deletes)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
