//! An object store in memory whose writes can be held up, refused for want of space, or cut off for good.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::sync::watch;

/// Where catalog objects are.
const CATALOG_FOLDER: &str = "catalog/";

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    /// Writes of rows wait until it is open again; what the catalog writes goes through, so that a change of the
    /// catalog can be what happens meanwhile.
    Held,
    /// There is no space.
    Full,
    /// The process is dead.
    Cut,
}

/// See the file header.
#[derive(Debug)]
pub(super) struct Gate {
    store: InMemory,
    way: watch::Sender<Way>,
}

impl Gate {
    /// An empty store.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { store: InMemory::new(), way: watch::Sender::new(Way::Open) })
    }

    pub(super) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    pub(super) fn way(&self) -> Way {
        *self.way.borrow()
    }

    async fn pass(&self, location: &Path) -> object_store::Result<()> {
        if self.way() == Way::Held && location.as_ref().starts_with(CATALOG_FOLDER) {
            return Ok(());
        }
        let mut way = self.way.subscribe();
        let way = way.wait_for(|way| *way != Way::Held).await.map(|way| *way).unwrap_or(Way::Cut);
        let error = match way {
            Way::Open | Way::Held => return Ok(()),
            Way::Full => std::io::Error::from(std::io::ErrorKind::StorageFull),
            Way::Cut => std::io::Error::other("the process was killed here"),
        };
        Err(object_store::Error::Generic { store: "Gate", source: Box::new(error) })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Gate")
    }
}

#[async_trait]
impl ObjectStore for Gate {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.pass(location).await?;
        self.store.put_opts(location, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.pass(location).await?;
        self.store.put_multipart_opts(location, options).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.store.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.store.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.store.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.pass(to).await?;
        self.store.copy_opts(from, to, options).await
    }
}
