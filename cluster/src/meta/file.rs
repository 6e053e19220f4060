//! The meta store in one redb file, behind the file door: the embedded form.
//!
//! The whole content is also held in memory (it is small by contract), so reads never touch the file. Every
//! commit is one durable redb transaction, applied to memory once the file has it. redb refuses everything
//! after an I/O error until it is reopened, so after one the file is closed, reopened and read again; what
//! the file then shows is the outcome of the commit that failed.
//!
//! File layout: table `entries` (key → 8 bytes little-endian revision, then the value) and table `state`
//! (`revision`, `format`, `digest`). Keys under a lease are never written: leases end with the process.
//!
//! redb checks its pages only when it is asked to, which is done when the file is opened; commits have two phases (quick
//! repair), so that a page that does not check is damage and never a reason to go back to an earlier commit. Their
//! checksums do not cover everything, hence the digest: the XOR of `entry_digest` over all entries, kept up with every write
//! and compared when the file is read.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::time::Clock;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use segments::file::{FileDoor, OpenFile, OpenMode};

use super::memory::Shared;
use super::state::MetaState;
use super::{Entry, Guard, LeaseId, Listing, MetaStore, MetaWatch, Outcome, Revision, Write};
use crate::error::{Error, Result};
use crate::tasks::blocking;

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");
/// 1 had no digest; such a file gets one when it is opened.
const FORMAT: u64 = 2;
/// redb's page cache; everything is in memory anyway.
const CACHE_BYTES: usize = 1 << 20;

/// See the file header.
pub struct RedbMeta {
    shared: Arc<Shared>,
    file: Arc<File>,
}

struct File {
    door: Arc<dyn FileDoor>,
    path: PathBuf,
    /// Held for a whole commit: guards are checked against what the file has. None after a failed reopening.
    database: Mutex<Option<Database>>,
}

impl std::fmt::Debug for RedbMeta {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RedbMeta").field("path", &self.file.path).finish_non_exhaustive()
    }
}

impl RedbMeta {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// `DataDirectoryInUse` when another process has it, `Corrupted` when it is not ours or damaged.
    pub async fn open(
        door: Arc<dyn FileDoor>,
        path: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let file = Arc::new(File { door, path: path.into(), database: Mutex::new(None) });
        let reader = Arc::clone(&file);
        let state = blocking(move || reader.reopen(&mut reader.database.lock())).await??;
        Ok(Self { shared: Shared::new(state, clock), file })
    }
}

impl File {
    /// Closes the file if it is open, opens it and reads everything.
    fn reopen(&self, slot: &mut Option<Database>) -> Result<MetaState> {
        *slot = None;
        let file = self.door.open(&self.path, OpenMode::OpenOrCreate)?;
        self.door.sync_dir(self.path.parent().unwrap_or(&self.path))?;
        if !file.try_lock()? {
            return Err(Error::DataDirectoryInUse { path: self.path.display().to_string() });
        }
        // Damage that redb has no error for is an assertion of its own that fails.
        let read = catch_unwind(AssertUnwindSafe(|| self.read_file(file)));
        let (database, state) = read.unwrap_or_else(|_| {
            Err(Error::corrupted(self.path.display(), "its pages contradict each other"))
        })?;
        *slot = Some(database);
        Ok(state)
    }

    fn read_file(&self, file: Arc<dyn OpenFile>) -> Result<(Database, MetaState)> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Backend(file));
        let mut database = database.map_err(|error| store_error(&self.path, "open", error.into()))?;
        // After a crash redb believes what the file says of free pages; a changed bit there would let it write over others.
        database.check_integrity().map_err(|error| store_error(&self.path, "check", error.into()))?;
        let state = self.load(&database)?;
        Ok((database, state))
    }

    /// One commit from the check to memory; runs to its end whatever becomes of the caller.
    fn commit(&self, shared: &Shared, guards: &[Guard], writes: Vec<Write>) -> Result<Outcome> {
        let mut slot = self.database.lock();
        if slot.is_none() {
            self.reopen(&mut slot)?;
        }
        let (refused, revision) = shared.with(|state, _| {
            state.check_leases(&writes).map(|()| (state.refused_by(guards), state.revision() + 1))
        })?;
        if let Some(guard) = refused {
            return Ok(Outcome::Refused { guard });
        }
        if writes.is_empty() {
            return Ok(Outcome::Committed(revision - 1));
        }
        if let Err(failure) = self.write(slot.as_ref(), &writes, revision) {
            match self.reopen(&mut slot) {
                Ok(state) if state.revision() == revision => {}
                Ok(_) => return Err(failure),
                Err(error) => return Err(Error::Unknown { reason: format!("{failure}; then {error}") }),
            }
        }
        // A lease that ran out meanwhile moves the revision in memory; the file's number is a lower bound.
        Ok(Outcome::Committed(shared.with(|state, _| state.apply(writes))))
    }

    fn load(&self, database: &Database) -> Result<MetaState> {
        let failed = |error: redb::Error| store_error(&self.path, "read", error);
        let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
        {
            let mut state = transaction.open_table(STATE).map_err(|error| failed(error.into()))?;
            transaction.open_table(ENTRIES).map_err(|error| failed(error.into()))?;
            let format =
                state.get("format").map_err(|error| failed(error.into()))?.map(|value| value.value());
            match format {
                Some(FORMAT) => {}
                None | Some(1) => {
                    let entries = transaction.open_table(ENTRIES).map_err(|error| failed(error.into()))?;
                    let digest = digest(&entries).map_err(failed)?;
                    state.insert("digest", digest).map_err(|error| failed(error.into()))?;
                    state.insert("format", FORMAT).map_err(|error| failed(error.into()))?;
                }
                Some(other) => {
                    let object = format!("meta store \"{}\"", self.path.display());
                    return Err(Error::FormatVersion { object, found: other, supported: FORMAT });
                }
            }
        }
        transaction.commit().map_err(|error| failed(error.into()))?;
        self.read_all(database).map_err(failed)?
    }

    fn read_all(&self, database: &Database) -> Result<Result<MetaState>, redb::Error> {
        let transaction = database.begin_read()?;
        let revision = transaction.open_table(STATE)?.get("revision")?.map_or(0, |value| value.value());
        let known = transaction.open_table(STATE)?.get("digest")?.map_or(0, |value| value.value());
        if digest(&transaction.open_table(ENTRIES)?)? != known {
            let reason = "its entries are not those that were written";
            return Ok(Err(Error::corrupted(self.path.display(), reason)));
        }
        let mut entries = Vec::new();
        for item in transaction.open_table(ENTRIES)?.iter()? {
            let (key, value) = item?;
            let Some((stamp, value)) = value.value().split_first_chunk::<8>() else {
                return Ok(Err(Error::corrupted(self.path.display(), format!("entry {}", key.value()))));
            };
            entries.push(Entry {
                key: key.value().into(),
                value: Bytes::copy_from_slice(value),
                revision: u64::from_le_bytes(*stamp),
            });
        }
        Ok(Ok(MetaState::recovered(revision, entries)))
    }

    /// One durable transaction.
    fn write(&self, database: Option<&Database>, writes: &[Write], revision: Revision) -> Result<()> {
        let database = database.ok_or_else(|| Error::Unavailable {
            what: format!("meta store \"{}\"", self.path.display()),
            reason: "it could not be reopened after an I/O error".into(),
        })?;
        commit(database, writes, revision).map_err(|error| store_error(&self.path, "write", error))
    }
}

fn commit(database: &Database, writes: &[Write], revision: Revision) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    // Immediate durability is redb's default; quick repair makes opening after a crash independent of the size.
    transaction.set_quick_repair(true);
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut state = transaction.open_table(STATE)?;
        let mut digest = state.get("digest")?.map_or(0, |value| value.value());
        for write in writes {
            match write {
                Write::Put { key, value } => {
                    let mut stored = Vec::with_capacity(8 + value.len());
                    stored.extend_from_slice(&revision.to_le_bytes());
                    stored.extend_from_slice(value);
                    let replaced = entries.insert(key.as_str(), stored.as_slice())?;
                    digest ^= entry_digest(key, &stored);
                    digest ^= replaced.map_or(0, |stored| entry_digest(key, stored.value()));
                }
                Write::PutLeased { key, .. } | Write::Delete { key } => {
                    let removed = entries.remove(key.as_str())?;
                    digest ^= removed.map_or(0, |stored| entry_digest(key, stored.value()));
                }
            }
        }
        state.insert("digest", digest)?;
        state.insert("revision", revision)?;
    }
    transaction.commit()?;
    Ok(())
}

/// XXH3 over key length, key and what is stored under it.
fn entry_digest(key: &str, stored: &[u8]) -> u64 {
    let bytes = [&(key.len() as u64).to_le_bytes(), key.as_bytes(), stored].concat();
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

fn digest(entries: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, redb::Error> {
    let mut digest = 0;
    for item in entries.iter()? {
        let (key, stored) = item?;
        digest ^= entry_digest(key.value(), stored.value());
    }
    Ok(digest)
}

fn store_error(path: &Path, action: &str, error: redb::Error) -> Error {
    match error {
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            Error::corrupted(path.display(), source)
        }
        redb::Error::Io(source) => {
            Error::NotWritten { action: format!("could not {action} \"{}\"", path.display()), source }
        }
        redb::Error::PreviousIo => Error::NotWritten {
            action: format!("could not {action} \"{}\"", path.display()),
            source: io::Error::other("an earlier I/O error"),
        },
        other => Error::corrupted(path.display(), other),
    }
}

/// redb's storage over the file door. The lock is taken before redb sees the file.
#[derive(Debug)]
struct Backend(Arc<dyn OpenFile>);

fn io_error(error: segments::Error) -> io::Error {
    match error {
        segments::Error::File { source, .. } => source,
        other => io::Error::other(other),
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len().map_err(io_error)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(out, offset).map_err(io_error)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len).map_err(io_error)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data().map_err(io_error)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset).map_err(io_error)
    }

    fn close(&self) -> io::Result<()> {
        self.0.unlock().map_err(io_error)
    }
}

#[async_trait]
impl MetaStore for RedbMeta {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.shared.with(|state, _| state.get(key)))
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        Ok(self.shared.with(|state, _| state.list(prefix)))
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Outcome> {
        let (file, shared) = (Arc::clone(&self.file), Arc::clone(&self.shared));
        blocking(move || file.commit(&shared, &guards, writes)).await?
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn MetaWatch>> {
        self.shared.watch(prefix, from)
    }

    async fn grant(&self, ttl_millis: u64) -> Result<LeaseId> {
        Ok(self.shared.with(|state, now| state.grant(ttl_millis, now)))
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        self.shared.with(|state, now| state.renew(lease, now))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.shared.with(|state, _| state.revoke(lease))
    }
}
