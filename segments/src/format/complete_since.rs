//! The last 8 bytes of an index file that leaves rows out: since when it is complete. Only files of
//! `COMPLETE_SINCE_VERSION` have them.

use proto::Timestamp;
use proto::catalog::{IndexMeta, IndexMethod};

use super::header::{Kind, Opened};
use super::{COMPLETE_SINCE_VERSION, FORMAT_VERSION};
use crate::error::Result;
use crate::store::ObjectBytes;

/// The format version of an index file that leaves out rows which had ended by an instant; zero: none.
pub(super) const fn version_of(complete_since: Timestamp) -> u32 {
    if complete_since.0 == 0 { FORMAT_VERSION } else { COMPLETE_SINCE_VERSION }
}

/// What stands at the end of such a file.
pub(super) fn since_bytes(complete_since: Timestamp) -> Vec<u8> {
    if complete_since.0 == 0 { Vec::new() } else { complete_since.0.to_le_bytes().to_vec() }
}

/// The instant since which an index is complete, from the bytes of its file.
///
/// # Errors
/// `Corrupted` when the file is damaged.
pub(crate) fn of_index(meta: &IndexMeta, bytes: ObjectBytes) -> Result<Timestamp> {
    let kind = match meta.method {
        IndexMethod::Hnsw { .. } => Kind::Graph,
        IndexMethod::IvfFlat { .. } => Kind::Lists,
    };
    Ok(at_end(&*Opened::open(bytes, kind)?)?.0)
}

/// The instant at the end of an index file, zero when it has none, and the length of the body before it.
///
/// # Errors
/// `Corrupted` when the end is damaged or not there.
pub(super) fn at_end(object: &Opened) -> Result<(Timestamp, usize)> {
    let length = object.body_length();
    if object.version() < COMPLETE_SINCE_VERSION {
        return Ok((Timestamp::ZERO, length));
    }
    let start = length.checked_sub(8).ok_or_else(|| object.corrupted("its parts do not fit"))?;
    let bytes = object.body(start..length)?;
    let since = <[u8; 8]>::try_from(bytes).map_err(|_| object.corrupted("its parts do not fit"))?;
    Ok((Timestamp(u64::from_le_bytes(since)), start))
}
