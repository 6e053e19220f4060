//! The object store of a simulated node: the one in memory, or in files, with fates as a bucket beyond a network has
//! them.
//!
//! A put can fail before and after it happened, or meet its own earlier try. Something that is not there can be
//! said to be there (409 of two that meet), and something that is there can be missed once. A body can be cut short, a
//! listing can be old unless it is a rebuild that asks. Nothing is ever overwritten: an attempt is noted and fails the run.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use segments::format::manifest::Manifest;
use segments::store::ObjectBytes;

use super::faults::{Fate, Faults, Life};
use super::world::Deeds;

/// What outlives a node: the objects, and what a listing may still show of the past.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// The last one, and of what.
    old_listing: Mutex<Option<(Option<Path>, Vec<ObjectMeta>)>>,
}

impl Bucket {
    pub(super) fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, old_listing: Mutex::default() }
    }
}

/// See the file header.
#[derive(Clone, Debug)]
pub(super) struct SimulatedStore {
    pub(super) bucket: Arc<Bucket>,
    pub(super) faults: Arc<Faults>,
    pub(super) life: Arc<Life>,
    pub(super) deeds: Arc<Deeds>,
}

impl fmt::Display for SimulatedStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SimulatedStore")
    }
}

fn generic(what: &'static str) -> Error {
    Error::Generic { store: "SimulatedStore", source: what.into() }
}

impl SimulatedStore {
    async fn put(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create {
            self.deeds.fail(format!("{location} is put so that it may replace something"));
        }
        if location.as_ref().contains("/manifest/") {
            let bytes = ObjectBytes::resident(location.as_ref(), payload.clone().into());
            match Manifest::decode(bytes) {
                Ok(manifest) if manifest.removed.is_empty() => {}
                Ok(_) => self.deeds.count(|counts| &mut counts.merges),
                Err(error) => self.deeds.fail(format!("{location} is no manifest: {error}")),
            }
        }
        self.bucket.objects.put_opts(location, payload, options).await
    }

    async fn delete_one(self, location: Path) -> Result<Path> {
        let fate = self.faults.begin(&self.life).await;
        self.faults.trace.add("store", format!("delete {location}: {fate:?}"));
        if matches!(fate, Fate::Fine | Fate::Unanswered | Fate::Late) {
            self.bucket.objects.delete(&location).await?;
            self.deeds.count(|counts| &mut counts.deleted_objects);
        }
        self.faults.end(&self.life).await;
        if fate == Fate::Fine { Ok(location) } else { Err(generic("the simulated store did not answer")) }
    }

    async fn listing(self, prefix: Option<Path>) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        let fails = self.faults.read(&self.life).await;
        let mut listed: Vec<ObjectMeta> = self.bucket.objects.list(prefix.as_ref()).try_collect().await?;
        // Times of objects are the machine's.
        listed.sort_by(|left, right| left.location.cmp(&right.location));
        let way = if fails { self.faults.pick(3) } else { 3 };
        let mut old = self.bucket.old_listing.lock().expect("no panic");
        let before = old.replace((prefix.clone(), listed.clone()));
        self.faults.trace.add("store", format!("list {} objects, way {way}", listed.len()));
        Ok(match (way, before) {
            (0, _) => {
                listed.truncate(listed.len() / 2);
                let ends = std::iter::once(Err(generic("the simulated listing was cut")));
                futures::stream::iter(listed.into_iter().map(Ok).chain(ends).collect::<Vec<_>>()).boxed()
            }
            (1, Some((of, before))) if of == prefix && !self.life.rebuilds => {
                futures::stream::iter(before.into_iter().map(Ok)).boxed()
            }
            _ => futures::stream::iter(listed.into_iter().map(Ok)).boxed(),
        })
    }
}

#[async_trait]
impl ObjectStore for SimulatedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fate = self.faults.begin(&self.life).await;
        let bytes = payload.content_length();
        self.faults.trace.add("store", format!("put {location}, {bytes} bytes: {fate:?}"));
        let exists =
            || Error::AlreadyExists { path: location.to_string(), source: "by the simulation".into() };
        let outcome = match fate {
            Fate::Fine => self.put(location, payload, options).await,
            Fate::Refused | Fate::Lost => Err(generic("the simulated store did not answer")),
            Fate::Mistaken => Err(exists()),
            Fate::Unanswered => {
                self.put(location, payload, options).await?;
                Err(if self.faults.pick(2) == 0 { exists() } else { generic("the answer was lost") })
            }
            Fate::Late => {
                let (store, location) = (self.clone(), location.clone());
                tokio::spawn(async move {
                    let arrived = store.put(&location, payload, options).await;
                    store.faults.trace.add("store", format!("late put {location}: {}", arrived.is_ok()));
                });
                Err(generic("the simulated store did not answer"))
            }
        };
        self.faults.end(&self.life).await;
        outcome
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.bucket.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fails = self.faults.read(&self.life).await;
        let way = if fails { self.faults.pick(3) } else { 3 };
        self.faults.trace.add("store", format!("get {location}, way {way}"));
        match way {
            0 => Err(generic("the simulated store did not answer")),
            1 => Err(Error::NotFound { path: location.to_string(), source: "by the simulation".into() }),
            2 => {
                let result = self.bucket.objects.get_opts(location, options).await?;
                let (meta, range, attributes) =
                    (result.meta.clone(), result.range.clone(), result.attributes.clone());
                let bytes = result.bytes().await?;
                let cut = bytes.slice(..bytes.len() / 2);
                let payload = GetResultPayload::Stream(futures::stream::iter([Ok(cut)]).boxed());
                Ok(GetResult { payload, meta, range, attributes })
            }
            _ => self.bucket.objects.get_opts(location, options).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations.and_then(move |location| store.clone().delete_one(location)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::once(self.clone().listing(prefix.cloned())).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.bucket.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.bucket.objects.copy_opts(from, to, options).await
    }
}
