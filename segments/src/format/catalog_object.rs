//! Catalog objects: what exists, kept beside the data, so that it can be had back from the object store alone.
//!
//! A catalog object is a map from keys to values: all of it, or what changed since its parent. The keys are those of
//! the meta store; what they and their values mean is the caller's. Its key is `<folder>/<n>`, `n` with 20 digits.
//!
//! Envelope of kind 7, owner = n, rows and numbers zero. The body is the protobuf message `CatalogForm`:
//!
//! ```text
//! 1  uint64 n              repeated from the envelope
//! 2  uint64 parent         absent when the object holds everything
//! 3  repeated message      an entry: 1 string key; 2 bytes value, absent when the key is gone since the parent
//! ```
//!
//! Invariants: `n` grows by one and every number is taken once, because objects are created and never replaced; a parent is
//! older than its child; field numbers are never reused.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use prost::Message;

use super::header::{Header, Kind, Opened, enclose};
use crate::error::{Error, Result};
use crate::store::{ObjectBytes, read_object};

/// The folder of a server's own catalog objects.
pub const CATALOG_FOLDER: &str = "catalog";
/// The folder of backups: each is a catalog object without a parent.
pub const BACKUP_FOLDER: &str = "backup";

/// Keys and values.
pub type Entries = BTreeMap<String, Bytes>;

/// One catalog object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogObject {
    pub n: u64,
    /// What the changes build on; `None` when the object holds everything.
    pub parent: Option<u64>,
    /// A value, or `None` for a key that is gone.
    pub changes: BTreeMap<String, Option<Bytes>>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryForm {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct CatalogForm {
    #[prost(uint64, tag = "1")]
    n: u64,
    #[prost(uint64, optional, tag = "2")]
    parent: Option<u64>,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<EntryForm>,
}

impl CatalogObject {
    /// An object that holds everything.
    #[must_use]
    pub fn whole(n: u64, entries: &Entries) -> Self {
        let changes = entries.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        Self { n, parent: None, changes }
    }

    /// An object that says what `entries` has and `before`, its parent's, has not.
    #[must_use]
    pub fn difference(n: u64, parent: u64, before: &Entries, entries: &Entries) -> Self {
        let mut changes = BTreeMap::new();
        for (key, value) in entries.iter().filter(|(key, value)| before.get(*key) != Some(*value)) {
            changes.insert(key.clone(), Some(value.clone()));
        }
        for key in before.keys().filter(|key| !entries.contains_key(*key)) {
            changes.insert(key.clone(), None);
        }
        Self { n, parent: Some(parent), changes }
    }

    /// The key of an object in a folder.
    #[must_use]
    pub fn key(folder: &str, n: u64) -> Path {
        Path::from(format!("{folder}/{n:020}"))
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let entries = self.changes.iter();
        let entries = entries.map(|(key, value)| EntryForm { key: key.clone(), value: value.clone() });
        let body = CatalogForm { n: self.n, parent: self.parent, entries: entries.collect() }.encode_to_vec();
        let header = Header { kind: Kind::Catalog, owner: self.n, rows: 0, numbers: [0; 3] };
        enclose(header, body.len(), |out| out.extend_from_slice(&body))
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Corrupted` when the object is damaged, `FormatVersion` when a later version wrote it.
    pub fn decode(bytes: ObjectBytes) -> Result<Self> {
        let object = Opened::open(bytes, Kind::Catalog)?;
        let body = object.body(0..object.body_length())?;
        let form = CatalogForm::decode(body).map_err(|error| object.corrupted(error.to_string()))?;
        if form.n != object.header().owner || form.parent.is_some_and(|parent| parent >= form.n) {
            return Err(object.corrupted("it is another catalog object"));
        }
        let changes = form.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        Ok(Self { n: form.n, parent: form.parent, changes })
    }

    fn apply(self, entries: &mut Entries) {
        for (key, value) in self.changes {
            match value {
                Some(value) => drop(entries.insert(key, value)),
                None => drop(entries.remove(&key)),
            }
        }
    }
}

/// The numbers of the objects in a folder, ascending.
///
/// # Errors
/// `Store` when the folder cannot be listed.
pub async fn list_catalogs(store: &dyn ObjectStore, folder: &str) -> Result<Vec<u64>> {
    let prefix = Path::from(folder);
    let listed: Vec<_> = store
        .list(Some(&prefix))
        .try_collect()
        .await
        .map_err(|error| Error::store("list", prefix.as_ref(), error))?;
    let number = |key: &Path| {
        let n = key.as_ref().strip_prefix(folder)?.strip_prefix('/')?.parse().ok()?;
        (CatalogObject::key(folder, n) == *key).then_some(n)
    };
    let mut numbers: Vec<u64> = listed.iter().filter_map(|object| number(&object.location)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Everything that an object and its parents say, and how many parents there are.
///
/// # Errors
/// `Missing` or `Corrupted` naming the object that is not there or damaged.
pub async fn read_catalog(store: &dyn ObjectStore, folder: &str, n: u64) -> Result<(Entries, usize)> {
    let mut chain: Vec<CatalogObject> = Vec::new();
    let mut next = Some(n);
    while let Some(n) = next {
        let key = CatalogObject::key(folder, n);
        let object = CatalogObject::decode(read_object(store, &key).await?)?;
        // A parent is older than its child, so a chain cannot be endless.
        if object.n != n {
            return Err(Error::corrupted(key, "it is another catalog object"));
        }
        next = object.parent;
        chain.push(object);
    }
    let parents = chain.len() - 1;
    let mut entries = Entries::new();
    chain.into_iter().rev().for_each(|object| object.apply(&mut entries));
    Ok((entries, parents))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use object_store::memory::InMemory;

    use super::*;
    use crate::store::put_new;

    fn entries(pairs: &[(&str, &'static str)]) -> Entries {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), Bytes::from_static(value.as_bytes()))).collect()
    }

    #[test]
    fn a_chain_gives_what_its_last_object_stands_for() {
        let store = InMemory::new();
        let states = [
            entries(&[("a", "1"), ("b", "2")]),
            entries(&[("a", "1"), ("b", "3"), ("c", "4")]),
            entries(&[("c", "4"), ("d", "")]),
        ];
        let objects = [
            CatalogObject::whole(7, &states[0]),
            CatalogObject::difference(8, 7, &states[0], &states[1]),
            CatalogObject::difference(9, 8, &states[1], &states[2]),
        ];
        for object in &objects {
            let key = CatalogObject::key(CATALOG_FOLDER, object.n);
            block_on(put_new(&store, &key, object.encode())).expect("stored");
        }
        block_on(put_new(&store, &Path::from("catalog/x"), Bytes::new())).expect("stored");
        assert_eq!(block_on(list_catalogs(&store, CATALOG_FOLDER)).expect("a list"), [7, 8, 9]);
        for (position, state) in states.iter().enumerate() {
            let read = block_on(read_catalog(&store, CATALOG_FOLDER, 7 + position as u64)).expect("read");
            assert_eq!(read, (state.clone(), position));
        }
        let missing = block_on(read_catalog(&store, CATALOG_FOLDER, 10)).expect_err("not there");
        assert!(matches!(missing, Error::Missing { .. }), "{missing}");
    }

    #[test]
    fn every_changed_byte_is_found() {
        let whole = CatalogObject::whole(3, &entries(&[("key", "value"), ("other", "x")])).encode();
        for position in 0..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[position] ^= 1 << (position % 8);
            let read = CatalogObject::decode(ObjectBytes::resident("catalog/3", bytes.into()));
            let error = read.expect_err("a changed byte");
            assert!(error.to_string().contains("catalog/3"), "byte {position}: {error}");
        }
    }
}
