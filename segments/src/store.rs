//! The local object store: `object_store::ObjectStore` over the file door, for one server's data directory.
//!
//! An object is written once: the bytes go to a scratch file, are synced, and get their final name by a hard
//! link, which fails when the name is taken; then the directory is synced. So an object is whole or absent,
//! durable when `put` returns, and never replaced: `PutMode::Overwrite` of an existing key is refused like
//! `PutMode::Create`. Scratch files live in one hidden directory that no key can reach, and are removed when
//! the store is opened.
//!
//! What it is not: calls are synchronous inside (no runtime here); run large puts where blocking is allowed.
//!
//! Invariants: no path leaves the root, no symbolic link is followed, `list` shows exactly what `get` can read.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::file::{EntryKind, FileDoor, OpenMode, failed};

mod cached;
mod object;
pub use cached::CachedStore;
pub use object::{ObjectBytes, put_new, read_object};

use object::MapSlot;

/// Scratch files; object keys cannot start with it.
const SCRATCH: &str = ".scratch";
const NAME: &str = "local";

/// Objects as files below a root directory.
#[derive(Clone, Debug)]
pub struct LocalStore {
    door: Arc<dyn FileDoor>,
    root: PathBuf,
    /// The next scratch file's name.
    scratch: Arc<AtomicU64>,
    /// Directories this process has made durable: a directory seen is not enough, the sync of its parent may have
    /// failed when it was created.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
}

impl fmt::Display for LocalStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LocalStore({})", self.root.display())
    }
}

impl LocalStore {
    /// Opens the store below `root`, which is created when missing; scratch files of an earlier run go away. Only
    /// one process may have it open: the data directory's lock sees to that.
    ///
    /// # Errors
    /// Names the path that failed.
    pub fn open(door: Arc<dyn FileDoor>, root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let scratch = root.join(SCRATCH);
        door.create_dirs(&scratch)?;
        for name in door.list(&scratch)? {
            door.remove(&scratch.join(name))?;
        }
        Ok(Self { door, root, scratch: Arc::default(), durable: Arc::default() })
    }

    /// The store below `root`, which must be there, for looking only: nothing is created and nothing goes away, whoever
    /// else has it open.
    #[must_use]
    pub fn open_to_read(door: Arc<dyn FileDoor>, root: impl Into<PathBuf>) -> Self {
        Self { door, root: root.into(), scratch: Arc::default(), durable: Arc::default() }
    }

    /// The file of a key, after a look at every directory on the way.
    fn path_of(&self, location: &Path) -> Result<PathBuf> {
        let mut path = self.root.clone();
        let refuse = |path: &FilePath, kind| Err(failed("use object path", path, std::io::Error::from(kind)));
        let mut parts = location.parts().peekable();
        if parts.peek().is_none() {
            return refuse(&path, std::io::ErrorKind::InvalidInput);
        }
        while let Some(part) = parts.next() {
            let name = part.as_ref();
            if name.is_empty() || name == "." || name == ".." || name == SCRATCH || name.contains(['/', '\0'])
            {
                return refuse(&path.join(name), std::io::ErrorKind::InvalidInput);
            }
            path.push(name);
            if parts.peek().is_some()
                && self.door.info(&path)?.is_some_and(|info| info.kind != EntryKind::Directory)
            {
                return refuse(&path, std::io::ErrorKind::NotADirectory);
            }
        }
        Ok(path)
    }

    fn put_sync(&self, location: &Path, payload: &PutPayload) -> Result<()> {
        let path = self.path_of(location)?;
        if self.door.info(&path)?.is_some() {
            // The earlier put may have failed between link and sync: who finds its bytes there may rely on them.
            self.door.sync_dir(path.parent().unwrap_or(&self.root))?;
            return Err(failed("create file", &path, std::io::ErrorKind::AlreadyExists.into()));
        }
        let name = self.scratch.fetch_add(1, Ordering::Relaxed);
        let scratch = self.root.join(SCRATCH).join(name.to_string());
        let result = self.write_and_link(&scratch, &path, payload);
        // The object has its own name now, or the put failed; either way the scratch name has no use.
        // A left-over scratch name costs no correctness and goes away at the next start.
        let _ = self.door.remove(&scratch);
        result
    }

    fn write_and_link(&self, scratch: &FilePath, path: &FilePath, payload: &PutPayload) -> Result<()> {
        let file = self.door.open(scratch, OpenMode::CreateNew)?;
        let mut offset = 0;
        for piece in payload.iter() {
            file.write_at(piece, offset)?;
            offset += piece.len() as u64;
        }
        file.sync_all()?;
        let directory = path.parent().unwrap_or(&self.root);
        self.make_durable(directory)?;
        self.door.link(scratch, path)?;
        self.door.sync_dir(directory)
    }

    /// Creates the directories between the root and `directory` and syncs the parent of each once per process.
    fn make_durable(&self, directory: &FilePath) -> Result<()> {
        if directory == self.root || self.durable.lock().contains(directory) {
            return Ok(());
        }
        let parent = directory.parent().unwrap_or(&self.root);
        self.make_durable(parent)?;
        self.door.create_dir(directory)?;
        self.door.sync_dir(parent)?;
        self.durable.lock().insert(directory.to_owned());
        Ok(())
    }

    fn meta(&self, location: &Path, path: &FilePath) -> Result<ObjectMeta> {
        let missing = |kind: std::io::ErrorKind| failed("open file", path, kind.into());
        let info = self.door.info(path)?.ok_or_else(|| missing(std::io::ErrorKind::NotFound))?;
        match info.kind {
            EntryKind::File => Ok(ObjectMeta {
                location: location.clone(),
                last_modified: DateTime::<Utc>::from(info.modified),
                size: info.len,
                e_tag: None,
                version: None,
            }),
            EntryKind::Directory => Err(missing(std::io::ErrorKind::NotFound)),
            EntryKind::Other => Err(missing(std::io::ErrorKind::PermissionDenied)),
        }
    }

    fn get_sync(&self, location: &Path, options: &GetOptions) -> object_store::Result<GetResult> {
        let own = |error| to_store_error(location, error);
        let path = self.path_of(location).map_err(own)?;
        let meta = self.meta(location, &path).map_err(own)?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            None => 0..meta.size,
            Some(range) => range
                .as_range(meta.size)
                .map_err(|error| StoreError::Generic { store: NAME, source: Box::new(error) })?,
        };
        let mut payload = Bytes::new();
        if !options.head {
            let file = self.door.open(&path, OpenMode::Read).map_err(own)?;
            match options.extensions.get::<MapSlot>() {
                Some(slot) if options.range.is_none() => slot.fill(file.map().map_err(own)?),
                _ => {
                    let mut bytes = vec![0; (range.end - range.start) as usize];
                    file.read_at(&mut bytes, range.start).map_err(own)?;
                    payload = bytes.into();
                }
            }
        }
        let payload = GetResultPayload::Stream(stream::iter([Ok(payload)]).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    fn delete_sync(&self, location: &Path) -> Result<()> {
        let path = self.path_of(location)?;
        self.meta(location, &path)?;
        self.door.remove(&path)?;
        self.door.sync_dir(path.parent().unwrap_or(&self.root))
    }

    /// Every object below a directory, in key order.
    fn walk(&self, directory: &FilePath, key: &str, found: &mut Vec<ObjectMeta>) -> Result<()> {
        for name in self.door.list(directory)? {
            let path = directory.join(&name);
            let (Some(key), Some(info)) = (child_key(key, &name), self.door.info(&path)?) else { continue };
            match info.kind {
                EntryKind::Directory => self.walk(&path, key.as_ref(), found)?,
                EntryKind::File => found.push(self.meta(&key, &path)?),
                EntryKind::Other => {}
            }
        }
        Ok(())
    }

    fn list_sync(&self, prefix: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        let (directory, key) = self.directory_of(prefix)?;
        if self.door.info(&directory)?.is_some_and(|info| info.kind == EntryKind::Directory) {
            self.walk(&directory, &key, &mut found)?;
        }
        Ok(found)
    }

    fn directory_of(&self, prefix: Option<&Path>) -> Result<(PathBuf, String)> {
        match prefix.filter(|prefix| prefix.parts().next().is_some()) {
            Some(prefix) => Ok((self.path_of(prefix)?, prefix.to_string())),
            None => Ok((self.root.clone(), String::new())),
        }
    }

    fn list_level(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        let (directory, key) = self.directory_of(prefix)?;
        if self.door.info(&directory)?.is_none_or(|info| info.kind != EntryKind::Directory) {
            return Ok(result);
        }
        for name in self.door.list(&directory)? {
            let path = directory.join(&name);
            let (Some(key), Some(info)) = (child_key(&key, &name), self.door.info(&path)?) else { continue };
            match info.kind {
                EntryKind::Directory => result.common_prefixes.push(key),
                EntryKind::File => result.objects.push(self.meta(&key, &path)?),
                EntryKind::Other => {}
            }
        }
        Ok(result)
    }
}

/// The key of a directory entry; `None` for what no key can name.
fn child_key(parent: &str, name: &str) -> Option<Path> {
    if parent.is_empty() && name == SCRATCH {
        return None;
    }
    let key = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
    Path::parse(key).ok()
}

fn to_store_error(location: &Path, error: Error) -> StoreError {
    let kind = match &error {
        Error::File { source, .. } => source.kind(),
        _ => std::io::ErrorKind::Other,
    };
    let (path, source) = (location.to_string(), Box::new(error));
    match kind {
        std::io::ErrorKind::NotFound => StoreError::NotFound { path, source },
        std::io::ErrorKind::AlreadyExists => StoreError::AlreadyExists { path, source },
        std::io::ErrorKind::PermissionDenied => StoreError::PermissionDenied { path, source },
        _ => StoreError::Generic { store: NAME, source },
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) {
            return Err(not_implemented("put_opts with PutMode::Update"));
        }
        self.put_sync(location, &payload).map_err(|error| to_store_error(location, error))?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(not_implemented("put_multipart_opts"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.get_sync(location, &options)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let own = |error| to_store_error(location, error);
        let path = self.path_of(location).map_err(own)?;
        self.meta(location, &path).map_err(own)?;
        let file = self.door.open(&path, OpenMode::Read).map_err(own)?;
        let read = |range: &Range<u64>| {
            let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
            file.read_at(&mut bytes, range.start).map_err(own)?;
            Ok(bytes.into())
        };
        ranges.iter().map(read).collect()
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let store = self.clone();
        let delete = move |location: object_store::Result<Path>| {
            let location = location?;
            store.delete_sync(&location).map_err(|error| to_store_error(&location, error))?;
            Ok(location)
        };
        locations.map(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.list_sync(prefix) {
            Ok(found) => stream::iter(found.into_iter().map(Ok)).boxed(),
            Err(error) => {
                stream::iter([Err(to_store_error(prefix.unwrap_or(&Path::default()), error))]).boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.list_level(prefix).map_err(|error| to_store_error(prefix.unwrap_or(&Path::default()), error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        // An existing target is refused in both modes, as everywhere.
        let (CopyMode::Overwrite | CopyMode::Create) = options.mode;
        let bytes = self.get_sync(from, &GetOptions::default())?.bytes().await?;
        self.put_sync(to, &bytes.into()).map_err(|error| to_store_error(to, error))
    }
}

fn not_implemented(operation: &str) -> StoreError {
    StoreError::NotImplemented { operation: operation.to_owned(), implementer: NAME.to_owned() }
}

#[cfg(test)]
mod tests;
