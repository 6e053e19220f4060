//! The bytes of a log file. All numbers little-endian.
//!
//! ```text
//! file header, 64 bytes                      frame header, 48 bytes, at a multiple of 8
//!  0  8  magic "ELANLOG1"                      0  4  magic 0x4D5246E1
//!  8  4  format version (1)                    4  4  CRC32C of bytes 8.. of the header and of the body
//! 12  4  CRC32C of bytes 16..64                8  4  body length in bytes
//! 16  8  channel                              12  4  number of records
//! 24  8  incarnation                          16  8  offset of the first record
//! 32  8  offset of the first record           24  8  epoch
//! 40  8  epoch when the file was begun        32  8  durable: records before this offset were on disk
//! 48 16  zero                                        when the frame was written
//!                                             40  4  flags (zero)
//!                                             44  4  zero
//! ```
//! Body: one u32 length per record, then the records. Zero bytes pad the frame to a multiple of 8.
//! One append is one frame, so an append is readable as a whole or not at all.
//!
//! A file of another version is refused. The durable mark is what tells a torn tail (cut) from damage (an
//! error): a frame that does not check although a later one says it was durable is damage.

use std::path::Path;

use bytes::{Buf, Bytes};
use proto::{ChannelId, Epoch, Offset};

use crate::error::{Error, Result};

/// Bytes of a file header.
pub(super) const FILE_HEADER: usize = 64;
/// Bytes of a frame header.
pub(super) const FRAME_HEADER: usize = 48;
/// The largest body of one append.
pub(super) const MAX_BODY: usize = 1 << 30;

const FILE_MAGIC: &[u8; 8] = b"ELANLOG1";
const FRAME_MAGIC: u32 = 0x4D52_46E1;
const FORMAT: u32 = 1;

/// A file's own description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) channel: ChannelId,
    pub(super) incarnation: u64,
    pub(super) first: Offset,
    pub(super) epoch: Epoch,
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        bytes[..8].copy_from_slice(FILE_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.channel.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.epoch.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of the file at `path`.
    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |reason: String| Err(Error::corrupted(path.display(), reason));
        let Some(bytes) = bytes.first_chunk::<FILE_HEADER>() else {
            return damaged(format!("the file ends inside its header, after {} bytes", bytes.len()));
        };
        if &bytes[..8] != FILE_MAGIC {
            return damaged("not a log file".into());
        }
        let mut fields = &bytes[8..];
        let (format, crc) = (fields.get_u32_le(), fields.get_u32_le());
        if crc != crc32c::crc32c(&bytes[16..]) {
            return damaged("the checksum of the file header does not match".into());
        }
        if format != FORMAT {
            let (object, supported) = (format!("log file \"{}\"", path.display()), FORMAT.into());
            return Err(Error::FormatVersion { object, found: format.into(), supported });
        }
        Ok(Self {
            channel: ChannelId(fields.get_u64_le()),
            incarnation: fields.get_u64_le(),
            first: Offset(fields.get_u64_le()),
            epoch: Epoch(fields.get_u64_le()),
        })
    }
}

/// A frame's header, checked only when its body was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) first: Offset,
    pub(super) records: u32,
    pub(super) epoch: Epoch,
    pub(super) durable: Offset,
    body: u32,
    crc: u32,
}

impl FrameHeader {
    /// The offset behind the frame's records.
    pub(super) const fn end(&self) -> Offset {
        Offset(self.first.0 + self.records as u64)
    }

    /// Bytes of the body.
    pub(super) const fn body_len(&self) -> usize {
        self.body as usize
    }

    /// Bytes of the whole frame with its padding.
    pub(super) const fn frame_len(&self) -> usize {
        (FRAME_HEADER + self.body as usize).next_multiple_of(8)
    }

    /// Reads a header; None when these bytes are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields: &[u8] = bytes.first_chunk::<FRAME_HEADER>()?;
        if fields.get_u32_le() != FRAME_MAGIC {
            return None;
        }
        let (crc, body, records) = (fields.get_u32_le(), fields.get_u32_le(), fields.get_u32_le());
        let (first, epoch) = (Offset(fields.get_u64_le()), Epoch(fields.get_u64_le()));
        let header = Self { first, records, epoch, durable: Offset(fields.get_u64_le()), body, crc };
        (header.body_len() <= MAX_BODY && u64::from(records) * 4 <= u64::from(body)).then_some(header)
    }

    /// Whether the checksum over header and body holds; `frame` starts at the header.
    pub(super) fn checks(&self, frame: &[u8]) -> bool {
        frame.get(8..FRAME_HEADER + self.body_len()).is_some_and(|bytes| crc32c::crc32c(bytes) == self.crc)
    }

    /// The records of a checked body.
    pub(super) fn split(&self, mut body: Bytes) -> Option<Vec<Bytes>> {
        let mut lengths =
            body.split_to((self.records as usize).checked_mul(4).filter(|len| *len <= body.len())?);
        let mut records = Vec::with_capacity(self.records as usize);
        while lengths.has_remaining() {
            let length = lengths.get_u32_le() as usize;
            if length > body.len() {
                return None;
            }
            records.push(body.split_to(length));
        }
        Some(records)
    }
}

/// The head of a frame (header and record lengths); the records and `padding` zero bytes follow it.
#[derive(Debug)]
pub(super) struct FrameHead {
    pub(super) bytes: Vec<u8>,
    pub(super) padding: usize,
    pub(super) frame_len: usize,
}

/// Lays out a frame without copying its records. None when the body is too large.
pub(super) fn frame_head(
    first: Offset,
    epoch: Epoch,
    durable: Offset,
    records: &[Bytes],
) -> Option<FrameHead> {
    let body = records.iter().map(|record| record.len() + 4).sum::<usize>();
    if body > MAX_BODY {
        return None;
    }
    let mut bytes = Vec::with_capacity(FRAME_HEADER + records.len() * 4);
    bytes.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(body as u32).to_le_bytes());
    bytes.extend_from_slice(&(records.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&first.0.to_le_bytes());
    bytes.extend_from_slice(&epoch.0.to_le_bytes());
    bytes.extend_from_slice(&durable.0.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    for record in records {
        bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
    }
    let crc =
        records.iter().fold(crc32c::crc32c(&bytes[8..]), |crc, record| crc32c::crc32c_append(crc, record));
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    let frame_len = (FRAME_HEADER + body).next_multiple_of(8);
    Some(FrameHead { bytes, padding: frame_len - FRAME_HEADER - body, frame_len })
}

/// The first position at or behind `from` where a whole, valid frame starts.
pub(super) fn next_frame(bytes: &[u8], from: usize) -> Option<(usize, FrameHeader)> {
    (from.next_multiple_of(8)..bytes.len().saturating_sub(FRAME_HEADER - 1)).step_by(8).find_map(|position| {
        let header = FrameHeader::decode(&bytes[position..])?;
        header.checks(&bytes[position..]).then_some((position, header))
    })
}
