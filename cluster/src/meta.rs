//! The seam to the meta store: what exists. Pointers and counters, not file lists and never rows.
//!
//! Contract (each line is a test in `meta/suite.rs`, run by every implementation):
//! 1. `commit` is atomic: all writes under one new revision, or none when a guard does not hold.
//! 2. Revisions only grow; a commit without writes takes none; a refused commit takes none.
//! 3. `get` and `list` show whole commits only; a listing is in key order and belongs to one revision.
//! 4. `watch(prefix, from)` yields every change at or after `from`, in order, one revision at a time, or says
//!    `Compacted`; it never skips and never repeats.
//! 5. When a lease is revoked or runs out, the keys written under it are deleted in one revision, and
//!    renewing it fails. A lease that runs out is noticed at the latest by the next call.
//! 6. An acknowledged commit survives reopening. Leases and their keys end with the store's process.
//!
//! What it is not: a place for anything that grows with rows or with commits.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

mod etcd;
mod file;
mod memory;
mod state;
#[cfg(any(test, feature = "suites"))]
pub mod suite;

pub use etcd::EtcdMeta;
pub use file::RedbMeta;
pub use memory::MemoryMeta;

/// A number of a state of the store; 0 is the empty store.
pub type Revision = u64;

/// Names a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    /// The revision that wrote this value.
    pub revision: Revision,
}

/// All entries under a prefix at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub revision: Revision,
    pub entries: Vec<Entry>,
}

/// What must hold for a commit to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    Absent {
        key: String,
    },
    Equals {
        key: String,
        value: Bytes,
    },
    /// The key's value was written by exactly this revision.
    WrittenAt {
        key: String,
        revision: Revision,
    },
}

/// One write of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put {
        key: String,
        value: Bytes,
    },
    /// The key lives no longer than the lease.
    PutLeased {
        key: String,
        value: Bytes,
        lease: LeaseId,
    },
    Delete {
        key: String,
    },
}

impl Write {
    /// A plain put.
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self::Put { key: key.into(), value: value.into() }
    }
}

/// How a commit ended, when it is known how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Everything was written under this revision.
    Committed(Revision),
    /// The guard at this position did not hold; nothing was written.
    Refused { guard: usize },
}

/// One changed key of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Entry),
    Deleted { key: String, revision: Revision },
}

/// The meta store.
#[async_trait]
pub trait MetaStore: Send + Sync + std::fmt::Debug {
    /// The entry of a key.
    async fn get(&self, key: &str) -> Result<Option<Entry>>;
    /// All entries whose key starts with `prefix`, in key order.
    async fn list(&self, prefix: &str) -> Result<Listing>;
    /// Writes all or nothing. An error (other than a refusal, which is an `Outcome`) may mean that the commit
    /// happened only when it is `Error::Unknown`.
    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Outcome>;
    /// Follows the changes under `prefix` from revision `from` on, that one included.
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn MetaWatch>>;
    /// A new lease that lives `ttl_millis` after this call and after each renewal.
    async fn grant(&self, ttl_millis: u64) -> Result<LeaseId>;
    /// Starts the lease's time anew.
    async fn renew(&self, lease: LeaseId) -> Result<()>;
    /// Ends the lease and deletes its keys.
    async fn revoke(&self, lease: LeaseId) -> Result<()>;
}

/// A watch; dropping it ends it.
#[async_trait]
pub trait MetaWatch: Send + std::fmt::Debug {
    /// The changes of the next revision that has any, in key order.
    async fn next(&mut self) -> Result<Vec<Change>>;
}

#[cfg(test)]
mod tests;
