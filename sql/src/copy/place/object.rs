//! Reading an object of S3 by ranges, always the version that was opened.
//!
//! Invariant: at most `BLOCKS` blocks of `BLOCK_BYTES` are held, whatever the object's size.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::path::Path as Key;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt as _};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::source::RandomAccess;

/// Bytes of one request for bytes at a position: columns of Parquet are read a page at a time, side by side.
const BLOCK_BYTES: u64 = 2 << 20;
/// Blocks that are kept.
const BLOCKS: usize = 32;

/// An object, as it was when it was opened.
pub(super) struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    key: Key,
    size: u64,
    tag: Option<String>,
}

impl ObjectReader {
    pub(super) async fn open(store: Arc<dyn ObjectStore>, key: Key) -> object_store::Result<Self> {
        let found = store.head(&key).await?;
        Ok(Self { store, key, size: found.size, tag: found.e_tag })
    }

    pub(super) const fn len(&self) -> u64 {
        self.size
    }

    /// The bytes of a range.
    pub(super) async fn range(&self, range: Range<u64>) -> object_store::Result<Bytes> {
        let options =
            GetOptions { if_match: self.tag.clone(), range: Some(range.into()), ..GetOptions::default() };
        self.store.get_opts(&self.key, options).await?.bytes().await
    }

    /// The same for threads that may block.
    pub(super) fn cached(self) -> CachedObject {
        CachedObject { reader: self, runtime: Handle::current(), blocks: Mutex::default() }
    }
}

/// An object read at positions by threads that may block, with the blocks used last.
pub(super) struct CachedObject {
    reader: ObjectReader,
    runtime: Handle,
    /// Number and bytes, the one used last at the end.
    blocks: Mutex<Vec<(u64, Bytes)>>,
}

impl CachedObject {
    fn block(&self, number: u64) -> io::Result<Bytes> {
        let mut blocks = self.blocks.lock();
        if let Some(position) = blocks.iter().position(|(known, _)| *known == number) {
            let block = blocks.remove(position);
            let bytes = block.1.clone();
            blocks.push(block);
            return Ok(bytes);
        }
        drop(blocks);
        let start = number * BLOCK_BYTES;
        let end = self.reader.size.min(start + BLOCK_BYTES);
        let bytes = self.runtime.block_on(self.reader.range(start..end)).map_err(io::Error::other)?;
        let mut blocks = self.blocks.lock();
        if blocks.len() == BLOCKS {
            blocks.remove(0);
        }
        blocks.push((number, bytes.clone()));
        Ok(bytes)
    }
}

impl RandomAccess for CachedObject {
    fn size(&self) -> u64 {
        self.reader.size
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.reader.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (mut at, mut parts) = (offset, Vec::new());
        while at < end {
            let number = at / BLOCK_BYTES;
            let block = self.block(number)?;
            let from = (at - number * BLOCK_BYTES) as usize;
            let to = block.len().min((end - number * BLOCK_BYTES) as usize);
            if from >= to {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            parts.push(block.slice(from..to));
            at += (to - from) as u64;
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let mut whole = BytesMut::with_capacity(length);
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        Ok(whole.freeze())
    }
}
