//! The envelope of stored objects.
//!
//! ```text
//! header, 128 bytes
//!   0    8  magic "ELANUS\x1a\n"
//!   8    4  kind: 1 vectors, 2 keys, 3 deletes, 4 manifest, 5 graph, 6 lists, 7 catalog
//!  12    4  format version: 1, or 2 for graphs and lists that leave rows out which had ended
//!  16    4  block length in bytes (65536)
//!  20    4  zero
//!  24    8  body offset: 4096 for vectors, else 128; the bytes between are zero
//!  32    8  body length
//!  40    8  segment id (manifest: table id, catalog: its number)
//!  48    8  rows of the segment (manifest, catalog: zero)
//!  56   24  three numbers of the kind
//!  80   44  zero
//! 124    4  CRC32C of bytes 0..124
//! body
//! block checksums: CRC32C of every 65536 bytes of the body, the last block may be shorter, 4 bytes each
//! footer, 32 bytes
//!   0    8  length of the object
//!   8    8  magic "ELANEND\n"
//!  16    4  CRC32C of the block checksums
//!  20    4  CRC32C of the header (all 128 bytes)
//!  24    4  zero
//!  28    4  CRC32C of bytes 0..28
//! ```

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::ArrowNativeType;
use bytes::Bytes;
use crc32c::crc32c;

use super::{COMPLETE_SINCE_VERSION, FORMAT_VERSION};
use crate::error::{Error, Result};
use crate::index::Verify;
use crate::store::ObjectBytes;

const MAGIC: &[u8; 8] = b"ELANUS\x1a\n";
const END_MAGIC: &[u8; 8] = b"ELANEND\n";
pub(crate) const HEADER: usize = 128;
const FOOTER: usize = 32;
pub(crate) const BLOCK: usize = 65536;

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Vectors = 1,
    Keys = 2,
    Deletes = 3,
    Manifest = 4,
    Graph = 5,
    Lists = 6,
    Catalog = 7,
}

impl Kind {
    /// The newest version that objects of the kind have; older ones are read too.
    const fn newest_version(self) -> u32 {
        match self {
            Self::Graph | Self::Lists => COMPLETE_SINCE_VERSION,
            Self::Vectors | Self::Keys | Self::Deletes | Self::Manifest | Self::Catalog => FORMAT_VERSION,
        }
    }

    const fn body_offset(self) -> usize {
        match self {
            Self::Vectors => 4096,
            Self::Keys | Self::Deletes | Self::Manifest | Self::Graph | Self::Lists | Self::Catalog => HEADER,
        }
    }
}

/// The numbers an object says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// Segment id, table id of a manifest, or number of a catalog object.
    pub owner: u64,
    pub rows: u64,
    /// Three numbers whose meaning the kind decides.
    pub numbers: [u64; 3],
}

/// Puts a body of known length into an envelope; `write_body` appends exactly that many bytes.
pub(crate) fn enclose(header: Header, body_length: usize, write_body: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    enclose_as(FORMAT_VERSION, header, body_length, write_body)
}

/// The same for an object of a format version.
pub(crate) fn enclose_as(
    version: u32,
    header: Header,
    body_length: usize,
    write_body: impl FnOnce(&mut Vec<u8>),
) -> Bytes {
    let offset = header.kind.body_offset();
    let checksums = body_length.div_ceil(BLOCK) * 4;
    let total = offset + body_length + checksums + FOOTER;
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(MAGIC);
    for number in [header.kind as u32, version, BLOCK as u32, 0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let [a, b, c] = header.numbers;
    for number in [offset as u64, body_length as u64, header.owner, header.rows, a, b, c] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.resize(HEADER - 4, 0);
    out.extend_from_slice(&crc32c(&out).to_le_bytes());
    let header_crc = crc32c(&out);
    out.resize(offset, 0);
    write_body(&mut out);
    debug_assert_eq!(out.len(), offset + body_length, "the body has the announced length");
    let table: Vec<u8> = out[offset..].chunks(BLOCK).flat_map(|block| crc32c(block).to_le_bytes()).collect();
    let table_crc = crc32c(&table);
    out.extend_from_slice(&table);
    let footer = out.len();
    out.extend_from_slice(&(total as u64).to_le_bytes());
    out.extend_from_slice(END_MAGIC);
    for number in [table_crc, header_crc, 0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&crc32c(&out[footer..]).to_le_bytes());
    out.into()
}

/// An object whose envelope was checked; its blocks are checked as they are touched.
#[derive(Debug)]
pub struct Opened {
    bytes: ObjectBytes,
    version: u32,
    header: Header,
    body: Range<usize>,
    /// One bit per block: its checksum was seen to match.
    verified: Box<[AtomicU64]>,
    unverified_blocks: AtomicUsize,
}

impl Opened {
    /// Checks length, header and footer.
    ///
    /// # Errors
    /// `Corrupted` when they do not fit, `FormatVersion` for a version this server does not know.
    pub fn open(bytes: ObjectBytes, kind: Kind) -> Result<Arc<Self>> {
        let data = bytes.buffer().as_slice();
        let damaged = |reason: &str| Err(bytes.corrupted(reason));
        if data.len() < HEADER + FOOTER {
            return damaged("it is shorter than header and footer");
        }
        if data[..8] != *MAGIC {
            return damaged("it does not start with the magic");
        }
        if crc32c(&data[..HEADER - 4]) != number32(data, HEADER - 4) {
            return damaged("header checksum does not match");
        }
        let version = number32(data, 12);
        let supported = kind.newest_version();
        if version == 0 || version > supported {
            let object = bytes.name().to_owned();
            return Err(Error::FormatVersion { object, found: version, supported });
        }
        let footer = &data[data.len() - FOOTER..];
        if footer[8..16] != *END_MAGIC || crc32c(&footer[..28]) != number32(footer, 28) {
            return damaged("footer checksum does not match");
        }
        if number64(footer, 0) != data.len() as u64 {
            return damaged("length differs from the footer's");
        }
        if number32(footer, 20) != crc32c(&data[..HEADER]) {
            return damaged("header and footer do not belong together");
        }
        let (offset, length) = (number64(data, 24), number64(data, 32));
        if number32(data, 8) != kind as u32
            || number32(data, 16) as usize != BLOCK
            || offset != kind.body_offset() as u64
        {
            return damaged("it is an object of another kind");
        }
        let blocks = length.div_ceil(BLOCK as u64);
        let expected = offset.checked_add(length).and_then(|end| end.checked_add(blocks * 4 + FOOTER as u64));
        if expected != Some(data.len() as u64) {
            return damaged("length differs from the header's");
        }
        let body = offset as usize..(offset + length) as usize;
        if crc32c(&data[body.end..data.len() - FOOTER]) != number32(footer, 16) {
            return damaged("the block checksums are damaged");
        }
        let header = Header {
            kind,
            owner: number64(data, 40),
            rows: number64(data, 48),
            numbers: [number64(data, 56), number64(data, 64), number64(data, 72)],
        };
        let blocks = blocks as usize;
        let verified = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let unverified_blocks = AtomicUsize::new(blocks);
        Ok(Arc::new(Self { bytes, version, header, body, verified, unverified_blocks }))
    }

    /// What the object says about itself.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The format version the object was written in.
    pub(crate) const fn version(&self) -> u32 {
        self.version
    }

    /// Bytes of the body.
    #[must_use]
    pub fn body_length(&self) -> usize {
        self.body.len()
    }

    /// An error about this object.
    pub fn corrupted(&self, reason: impl Into<String>) -> Error {
        self.bytes.corrupted(reason)
    }

    /// Bytes of the body, verified.
    ///
    /// # Errors
    /// `Corrupted` when the range is not inside or a block does not match its checksum.
    pub fn body(&self, range: Range<usize>) -> Result<&[u8]> {
        if range.start > range.end || range.end > self.body.len() {
            return Err(self.corrupted("a part lies outside"));
        }
        self.verify(range.start, range.end)?;
        Ok(&self.bytes.buffer()[self.body.start + range.start..self.body.start + range.end])
    }

    /// Elements of the body in place, NOT verified: callers verify what they touch.
    ///
    /// # Errors
    /// `Corrupted` when the range is not inside.
    pub(crate) fn elements<T: ArrowNativeType>(&self, start: usize, count: usize) -> Result<ScalarBuffer<T>> {
        let length = count.checked_mul(size_of::<T>());
        if length.and_then(|length| length.checked_add(start)).is_none_or(|end| end > self.body.len())
            || !(self.body.start + start).is_multiple_of(size_of::<T>())
        {
            return Err(self.corrupted("a part lies outside"));
        }
        let first = (self.body.start + start) / size_of::<T>();
        Ok(ScalarBuffer::new(self.bytes.buffer().clone(), first, count))
    }

    fn check_block(&self, block: usize) -> Result<()> {
        let (word, bit) = (&self.verified[block / 64], 1_u64 << (block % 64));
        if word.load(Ordering::Acquire) & bit != 0 {
            return Ok(());
        }
        let data = self.bytes.buffer().as_slice();
        let start = self.body.start + block * BLOCK;
        let end = self.body.end.min(start + BLOCK);
        if crc32c(&data[start..end]) != number32(data, self.body.end + block * 4) {
            return Err(self.corrupted(format!("checksum of bytes {start} to {end} does not match")));
        }
        if word.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.unverified_blocks.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

impl Verify for Opened {
    #[inline]
    fn verify(&self, start: usize, end: usize) -> Result<()> {
        if start >= end || self.unverified_blocks.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        (start / BLOCK..=(end - 1) / BLOCK).try_for_each(|block| self.check_block(block))
    }
}

fn number32(data: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&data[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn number64(data: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&data[at..at + 8]);
    u64::from_le_bytes(bytes)
}
