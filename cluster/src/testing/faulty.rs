//! Back ends that die after a number of operations: what a process killed at that point leaves behind.
//!
//! One `Fuse` is shared by the wrappers of a node. Each operation that changes something burns it by one; once it
//! is out, every such operation fails without being done, and so does the one that burns it out. A torn
//! operation cannot be seen here: the back ends' own tests cut those at every byte.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use proto::{ChannelId, Epoch, Offset};

use crate::error::{Error, Result};
use crate::log::{Durability, LogBounds, LogBroker, LogEntry};
use crate::meta::{Entry, Guard, LeaseId, Listing, MetaStore, MetaWatch, Outcome, Revision, Write};

/// Counts down to the moment of death.
#[derive(Clone, Debug)]
pub struct Fuse(Arc<AtomicI64>);

impl Fuse {
    /// Lets `operations` happen.
    #[must_use]
    pub fn new(operations: i64) -> Self {
        Self(Arc::new(AtomicI64::new(operations)))
    }

    /// A fuse that does not burn yet.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(i64::MAX)
    }

    /// Lets `operations` more happen.
    pub fn light(&self, operations: i64) {
        self.0.store(operations, Ordering::SeqCst);
    }

    /// Whether the process is dead.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.0.load(Ordering::SeqCst) < 0
    }

    fn burn(&self) -> std::result::Result<(), std::io::Error> {
        if self.0.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.0.store(-1, Ordering::SeqCst);
        Err(std::io::Error::other("the process was killed here"))
    }

    fn burn_or_unknown(&self) -> Result<()> {
        self.burn().map_err(|error| Error::Unknown { reason: error.to_string() })
    }
}

/// A meta store behind a fuse.
#[derive(Debug)]
pub struct FaultyMeta(pub Arc<dyn MetaStore>, pub Fuse);

#[async_trait]
impl MetaStore for FaultyMeta {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing> {
        self.0.list(prefix).await
    }
    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Outcome> {
        self.1.burn_or_unknown()?;
        self.0.commit(guards, writes).await
    }
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn MetaWatch>> {
        self.0.watch(prefix, from).await
    }
    async fn grant(&self, ttl_millis: u64) -> Result<LeaseId> {
        self.0.grant(ttl_millis).await
    }
    async fn renew(&self, lease: LeaseId) -> Result<()> {
        self.0.renew(lease).await
    }
    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.0.revoke(lease).await
    }
}

/// A log behind a fuse.
#[derive(Debug)]
pub struct FaultyLog(pub Arc<dyn LogBroker>, pub Fuse);

#[async_trait]
impl LogBroker for FaultyLog {
    async fn exists(&self, channel: ChannelId) -> Result<bool> {
        self.0.exists(channel).await
    }
    async fn open(&self, channel: ChannelId, fresh_incarnation: u64) -> Result<LogBounds> {
        self.1.burn_or_unknown()?;
        self.0.open(channel, fresh_incarnation).await
    }
    async fn append(
        &self,
        channel: ChannelId,
        epoch: Epoch,
        records: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Offset> {
        self.1.burn_or_unknown()?;
        self.0.append(channel, epoch, records, durability).await
    }
    async fn read(&self, channel: ChannelId, from: Offset, max_bytes: usize) -> Result<Vec<LogEntry>> {
        self.0.read(channel, from, max_bytes).await
    }
    async fn wait(&self, channel: ChannelId, from: Offset) -> Result<()> {
        self.0.wait(channel, from).await
    }
    async fn fence(&self, channel: ChannelId, epoch: Epoch) -> Result<()> {
        self.1.burn_or_unknown()?;
        self.0.fence(channel, epoch).await
    }
    async fn trim(&self, channel: ChannelId, before: Offset) -> Result<()> {
        self.1.burn_or_unknown()?;
        self.0.trim(channel, before).await
    }
    async fn bounds(&self, channel: ChannelId) -> Result<LogBounds> {
        self.0.bounds(channel).await
    }
}

/// An object store behind a fuse.
#[derive(Debug)]
pub struct FaultyStore(pub Arc<dyn ObjectStore>, pub Fuse);

impl fmt::Display for FaultyStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FaultyStore({})", self.0)
    }
}

fn dead(source: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "FaultyStore", source: Box::new(source) }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.1.burn().map_err(dead)?;
        self.0.put_opts(location, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.1.burn().map_err(dead)?;
        self.0.put_multipart_opts(location, options).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.0.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let fuse = self.1.clone();
        let burning = locations
            .and_then(move |location| std::future::ready(fuse.burn().map(|()| location).map_err(dead)));
        self.0.delete_stream(burning.boxed())
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.1.burn().map_err(dead)?;
        self.0.copy_opts(from, to, options).await
    }
}
