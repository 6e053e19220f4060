//! A remote object store with copies of its objects on the local disk, so that whole objects can be mapped.
//!
//! A copy lies under the object's key and its entity tag; a reader that wants a mapping asks the store for the tag
//! first. So a copy is never taken for an object that was written since, by whomever, and the cache folder can be
//! deleted or shared at any time. Everything but reading whole objects for mapping goes to the store itself.
//!
//! What it is not: it has no size; copies go when their object is deleted through it. What is in the files is
//! verified where they are read, as for every object.
//!
//! Invariant: a copy has its final name only when it is whole (`LocalStore`) and as long as the store says.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::LocalStore;
use super::object::MapSlot;

const NAME: &str = "cache";

/// See the file header.
#[derive(Clone, Debug)]
pub struct CachedStore {
    remote: Arc<dyn ObjectStore>,
    local: LocalStore,
}

impl fmt::Display for CachedStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CachedStore({} in {})", self.remote, self.local)
    }
}

/// The key of an object's copy.
fn copy_key(meta: &ObjectMeta) -> Path {
    let tag: String = match &meta.e_tag {
        Some(tag) => tag.chars().filter(char::is_ascii_alphanumeric).collect(),
        None => format!("{}-{}", meta.last_modified.timestamp_micros(), meta.size),
    };
    Path::from(format!("{}.{tag}", meta.location))
}

impl CachedStore {
    /// The objects of `remote`, with copies in `local`.
    #[must_use]
    pub fn new(remote: Arc<dyn ObjectStore>, local: LocalStore) -> Self {
        Self { remote, local }
    }

    /// Answers with a mapping of the local copy; with the bytes when no copy can be made.
    async fn mapped(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        let meta = self.remote.get_opts(location, head).await?.meta;
        let copy = copy_key(&ObjectMeta { location: location.clone(), ..meta.clone() });
        let answer = |found: GetResult| GetResult { meta: meta.clone(), ..found };
        match self.local.get_opts(&copy, options.clone()).await {
            Ok(found) if found.meta.size == meta.size => return Ok(answer(found)),
            Ok(_) => return Err(wrong_length(location)),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let fetched = self.remote.get_opts(location, GetOptions::default()).await?;
        if fetched.meta.e_tag != meta.e_tag {
            return Err(wrong_length(location));
        }
        let bytes = fetched.bytes().await?;
        if bytes.len() as u64 != meta.size {
            return Err(wrong_length(location));
        }
        match self.local.put_opts(&copy, bytes.clone().into(), PutMode::Create.into()).await {
            // Somebody else was quicker: the copy is there.
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => {
                self.local.get_opts(&copy, options).await.map(answer)
            }
            // A full disk must not keep anyone from reading.
            Err(_) => Ok(resident(meta, bytes)),
        }
    }

    /// Deletes the copies of an object; what fails here costs space only.
    async fn evict(&self, location: &Path) {
        let parts: Vec<_> = location.parts().collect();
        let folder = Path::from_iter(parts[..parts.len().saturating_sub(1)].iter().cloned());
        let beginning = format!("{location}.");
        let copies: Vec<Path> = self
            .local
            .list(Some(&folder))
            .filter_map(|copy| async { copy.ok().map(|copy| copy.location) })
            .filter(|copy| futures::future::ready(copy.as_ref().starts_with(&beginning)))
            .collect()
            .await;
        let copies = stream::iter(copies.into_iter().map(Ok)).boxed();
        let _: Vec<_> = self.local.delete_stream(copies).collect().await;
    }
}

fn resident(meta: ObjectMeta, bytes: Bytes) -> GetResult {
    let range = 0..meta.size;
    let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
    GetResult { payload, meta, range, attributes: object_store::Attributes::default() }
}

fn wrong_length(location: &Path) -> StoreError {
    let source = format!("{location} or its copy is not what the store says it is").into();
    StoreError::Generic { store: NAME, source }
}

#[async_trait]
impl ObjectStore for CachedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.remote.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.remote.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let maps = options.extensions.get::<MapSlot>().is_some() && options.range.is_none() && !options.head;
        if maps {
            self.mapped(location, options).await
        } else {
            self.remote.get_opts(location, options).await
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let this = self.clone();
        let evict = move |location: Path| {
            let this = this.clone();
            async move {
                this.evict(&location).await;
                Ok(location)
            }
        };
        self.remote.delete_stream(locations).and_then(evict).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.remote.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.remote.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.remote.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use object_store::memory::InMemory;

    use super::*;
    use crate::SystemDoor;
    use crate::store::{put_new, read_object};

    fn copies(local: &LocalStore) -> usize {
        block_on(local.list(None).count())
    }

    #[test]
    fn remote_objects_are_mapped_from_copies_and_copies_follow_their_objects() {
        let directory = tempfile::tempdir().unwrap();
        let local = LocalStore::open(Arc::new(SystemDoor), directory.path()).unwrap();
        let remote = Arc::new(InMemory::new());
        let store = CachedStore::new(Arc::clone(&remote) as _, local.clone());
        let key = Path::from("d/t/1-2-vectors");
        let bytes = Bytes::from(vec![7_u8; 100_000]);
        block_on(put_new(&store, &key, bytes.clone())).unwrap();
        assert_eq!(copies(&local), 0);
        for _ in 0..2 {
            let read = block_on(read_object(&store, &key)).unwrap();
            assert!(read.is_mapped() && read.buffer().as_slice() == bytes.as_ref());
            assert_eq!(copies(&local), 1);
        }
        // Another process has deleted the object and somebody has written another one under its key.
        remote_delete(&remote, &key);
        let missing = block_on(read_object(&store, &key));
        assert!(matches!(missing, Err(crate::Error::Missing { .. })), "{missing:?}");
        block_on(put_new(remote.as_ref(), &key, Bytes::from_static(b"other"))).unwrap();
        let read = block_on(read_object(&store, &key)).unwrap();
        assert_eq!((read.buffer().as_slice(), read.is_mapped()), (b"other".as_slice(), true));
        let gone = stream::iter([Ok(key)]).boxed();
        let gone: Vec<_> = block_on(store.delete_stream(gone).collect());
        assert!(gone.iter().all(Result::is_ok));
        assert_eq!(copies(&local), 0);
    }

    fn remote_delete(remote: &InMemory, key: &Path) {
        let keys = stream::iter([Ok(key.clone())]).boxed();
        let deleted: Vec<_> = block_on(remote.delete_stream(keys).collect());
        assert!(deleted.iter().all(Result::is_ok));
    }
}
