//! The key file: which rows may have a key, found by the 64-bit xxh3 hash (seed 0) of the key bytes.
//!
//! Envelope of kind 2; its numbers are the directory's bits, the rows that are in no key (because of a NULL), 0. Body,
//! with `keyed` for the rows that are in one:
//!
//! ```text
//! 0                (2^bits + 1) × 4  directory: position of the first hash whose upper `bits` bits are at least i
//! rounded up to 8  keyed × 8         hashes, ascending
//! then             keyed × 4         ordinals, ascending among equal hashes
//! ```

use std::sync::Arc;

use arrow::buffer::ScalarBuffer;
use bytes::Bytes;
use proto::SegmentId;

use super::header::{Header, Kind, Opened, enclose};
use crate::error::Result;
use crate::index::Verify;
use crate::store::ObjectBytes;

/// Hashes per directory entry aimed at: one or two pages of cache lines for the final search.
const BUCKET: usize = 32;
const MOST_BITS: u32 = 24;

fn directory_bits(rows: usize) -> u32 {
    (rows / BUCKET).checked_ilog2().unwrap_or(0).min(MOST_BITS)
}

fn bucket(hash: u64, bits: u32) -> usize {
    hash.checked_shr(64 - bits).unwrap_or(0) as usize
}

/// The bytes of a key file of a segment with `rows` rows; `pairs` are (hash, ordinal), ascending.
pub(crate) fn encode(segment: SegmentId, rows: usize, pairs: &[(u64, u32)]) -> Bytes {
    let bits = directory_bits(pairs.len());
    let header = Header {
        kind: Kind::Keys,
        owner: segment.0,
        rows: rows as u64,
        numbers: [u64::from(bits), (rows - pairs.len()) as u64, 0],
    };
    let directory = (1_usize << bits) + 1;
    let hashes_at = (directory * 4).next_multiple_of(8);
    enclose(header, hashes_at + pairs.len() * 12, |out| {
        let start = out.len();
        let mut position = 0_u32;
        for entry in 0..directory {
            while pairs.get(position as usize).is_some_and(|pair| bucket(pair.0, bits) < entry) {
                position += 1;
            }
            out.extend_from_slice(&position.to_le_bytes());
        }
        out.resize(start + hashes_at, 0);
        pairs.iter().for_each(|pair| out.extend_from_slice(&pair.0.to_le_bytes()));
        pairs.iter().for_each(|pair| out.extend_from_slice(&pair.1.to_le_bytes()));
    })
}

/// An open key file.
#[derive(Clone, Debug)]
pub struct KeyFile {
    object: Arc<Opened>,
    rows: usize,
    bits: u32,
    directory: ScalarBuffer<u32>,
    hashes_at: usize,
    hashes: ScalarBuffer<u64>,
    ordinals: ScalarBuffer<u32>,
}

impl KeyFile {
    /// Checks the envelope; blocks are verified when touched.
    ///
    /// # Errors
    /// `Corrupted` when the object is damaged or of another segment.
    pub fn open(bytes: ObjectBytes, segment: SegmentId, rows: usize) -> Result<Self> {
        let object = Opened::open(bytes, Kind::Keys)?;
        let header = *object.header();
        let [bits, without_key, _] = header.numbers;
        let is_of_segment = header.owner == segment.0 && header.rows == rows as u64;
        if !is_of_segment || bits > u64::from(MOST_BITS) || without_key > rows as u64 {
            return Err(object.corrupted("it holds keys of another segment"));
        }
        let keyed = rows - without_key as usize;
        let bits = bits as u32;
        let directory = object.elements::<u32>(0, (1 << bits) + 1)?;
        let hashes_at = (directory.len() * 4).next_multiple_of(8);
        let hashes = object.elements::<u64>(hashes_at, keyed)?;
        let ordinals = object.elements::<u32>(hashes_at + keyed * 8, keyed)?;
        Ok(Self { object, rows, bits, directory, hashes_at, hashes, ordinals })
    }

    /// Appends the ordinals of rows whose key has this hash.
    ///
    /// # Errors
    /// `Corrupted` when a touched block is damaged.
    pub fn candidates(&self, hash: u64, ordinals: &mut Vec<u32>) -> Result<()> {
        let entry = bucket(hash, self.bits);
        self.object.verify(entry * 4, (entry + 2) * 4)?;
        let (start, end) = (self.directory[entry] as usize, self.directory[entry + 1] as usize);
        if start > end || end > self.hashes.len() {
            return Err(self.object.corrupted("its directory points outside"));
        }
        self.object.verify(self.hashes_at + start * 8, self.hashes_at + end * 8)?;
        let first = start + self.hashes[start..end].partition_point(|found| *found < hash);
        let equal = self.hashes[first..end].partition_point(|found| *found == hash);
        let ordinals_at = self.hashes_at + self.hashes.len() * 8;
        self.object.verify(ordinals_at + first * 4, ordinals_at + (first + equal) * 4)?;
        for ordinal in &self.ordinals[first..first + equal] {
            if *ordinal as usize >= self.rows {
                return Err(self.object.corrupted("it names a row outside the segment"));
            }
            ordinals.push(*ordinal);
        }
        Ok(())
    }
}
