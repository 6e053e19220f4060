//! Whole objects: written once, read as one piece of memory, mapped where the store can map.
//!
//! A reader that wants a mapping sends a slot along with the request (`GetOptions::extensions`); `LocalStore`
//! fills it, every other store ignores it and streams, and the stream is gathered into aligned memory. So the
//! code above sees one form, and wrappers around stores stay transparent.

use std::sync::{Arc, OnceLock};

use arrow::buffer::{Buffer, MutableBuffer};
use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, PutMode, PutOptions};

use crate::error::{Error, Result};

/// Where a store that can map puts the mapping.
#[derive(Clone, Debug, Default)]
pub(super) struct MapSlot(Arc<OnceLock<Bytes>>);

impl MapSlot {
    pub(super) fn fill(&self, mapping: Bytes) {
        // A request is answered once; a second answer would carry the same object.
        let _ = self.0.set(mapping);
    }
}

/// The bytes of a stored object, at an address aligned for every element type.
#[derive(Clone, Debug)]
pub struct ObjectBytes {
    name: Arc<str>,
    buffer: Buffer,
    mapped: bool,
}

impl ObjectBytes {
    /// Bytes in memory; copied when their address is not aligned.
    #[must_use]
    pub fn resident(name: &str, bytes: Bytes) -> Self {
        let buffer = if bytes.as_ptr().align_offset(64) == 0 {
            Buffer::from(bytes)
        } else {
            let mut aligned = MutableBuffer::new(bytes.len());
            aligned.extend_from_slice(&bytes);
            aligned.into()
        };
        Self { name: name.into(), buffer, mapped: false }
    }

    /// The object's key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes.
    #[must_use]
    pub const fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The bytes, sharing the memory.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        struct Owner(Buffer);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                self.0.as_slice()
            }
        }
        Bytes::from_owner(Owner(self.buffer.clone()))
    }

    /// Whether the bytes are a file's pages rather than memory of this process.
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        self.mapped
    }

    /// An error about these bytes.
    pub fn corrupted(&self, reason: impl Into<String>) -> Error {
        Error::corrupted(&*self.name, reason)
    }
}

/// The whole object.
///
/// # Errors
/// `Missing` when it is not there, `Store` when it cannot be read.
pub async fn read_object(store: &dyn ObjectStore, location: &Path) -> Result<ObjectBytes> {
    let failed = |error| Error::store("read", location.as_ref(), error);
    let slot = MapSlot::default();
    let mut options = GetOptions::default();
    options.extensions.insert(slot.clone());
    let result = store.get_opts(location, options).await.map_err(failed)?;
    if let Some(mapping) = slot.0.get() {
        let buffer = Buffer::from(mapping.clone());
        return Ok(ObjectBytes { name: location.as_ref().into(), buffer, mapped: true });
    }
    let size = usize::try_from(result.meta.size)
        .map_err(|_| Error::corrupted(location.as_ref(), "the object is larger than memory"))?;
    let mut memory = MutableBuffer::new(size);
    let mut pieces = result.into_stream();
    while let Some(piece) = pieces.next().await {
        memory.extend_from_slice(&piece.map_err(failed)?);
    }
    Ok(ObjectBytes { name: location.as_ref().into(), buffer: memory.into(), mapped: false })
}

/// Writes an object that must not exist yet. When the key is taken by the same bytes, an earlier attempt of
/// unknown fate had succeeded, and that is success.
///
/// # Errors
/// `Store` when the store fails or the key is taken by other bytes.
pub async fn put_new(store: &dyn ObjectStore, location: &Path, bytes: Bytes) -> Result<()> {
    let options = PutOptions::from(PutMode::Create);
    match store.put_opts(location, bytes.clone().into(), options).await {
        Ok(_) => Ok(()),
        Err(error @ object_store::Error::AlreadyExists { .. }) => {
            if read_object(store, location).await?.buffer().as_slice() == bytes.as_ref() {
                return Ok(());
            }
            Err(Error::store("write", location.as_ref(), error))
        }
        Err(error) => Err(Error::store("write", location.as_ref(), error)),
    }
}
