//! Manifests: which segments a table has and which objects each consists of.
//!
//! Envelope of kind 4, owner = table id; the body is the protobuf message `ManifestForm` below. A manifest is full
//! or a delta on its parent; its key is `<database>/<table>/manifest/<epoch>-<n>`. The pointer in the meta
//! store decides which manifest counts; a reader follows parents from there to the last full one.
//!
//! Invariants: objects are named with length and CRC32C; field numbers are never reused.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use prost::Message;
use proto::catalog::{TableMeta, decode_table};
use proto::{DatabaseId, Epoch, Offset, SegmentId, TableId, Timestamp};

use super::header::{Header, Kind, Opened, enclose};
use crate::error::{Error, Result};
use crate::store::{ObjectBytes, read_object};

mod form;
use form::ManifestForm;
pub use form::{ObjectEntry, ObjectKind, SegmentFiles};

/// A chain longer than this is cut by a full manifest.
pub const LONGEST_CHAIN: usize = 16;

/// The identity of a manifest among those of its table; later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestId {
    pub epoch: Epoch,
    /// Counts within the epoch.
    pub n: u64,
}

/// One manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub id: ManifestId,
    /// What a delta builds on; `None` for a full manifest.
    pub parent: Option<ManifestId>,
    /// The table as it was when the manifest was written.
    pub table: Arc<TableMeta>,
    /// Deletes of records before this position of the table's channel are in the delete objects named.
    pub through: Offset,
    /// All segments, or those a delta adds or replaces.
    pub segments: Vec<SegmentFiles>,
    /// Segments a delta removes.
    pub removed: Vec<SegmentId>,
    /// Rows that ended at or before this instant may be gone: earlier instants cannot be read any more.
    pub purged: Timestamp,
    /// Segments that were merged away, with the position behind the last record that may carry rows of them.
    pub replaced: Vec<(SegmentId, Offset)>,
}

impl Manifest {
    /// The object key of a manifest.
    #[must_use]
    pub fn key(database: DatabaseId, table: TableId, id: ManifestId) -> Path {
        Path::from(format!("{database}/{table}/manifest/{}-{}", id.epoch, id.n))
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body = ManifestForm::of(self).encode_to_vec();
        let header = Header { kind: Kind::Manifest, owner: self.table.id.0, rows: 0, numbers: [0; 3] };
        enclose(header, body.len(), |out| out.extend_from_slice(&body))
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Corrupted` when the object is damaged.
    pub fn decode(bytes: ObjectBytes) -> Result<Self> {
        let object = Opened::open(bytes, Kind::Manifest)?;
        let body = object.body(0..object.body_length())?;
        let form = ManifestForm::decode(body).map_err(|error| object.corrupted(error.to_string()))?;
        let table = decode_table(&form.table).map_err(|error| object.corrupted(error.to_string()))?;
        if table.id.0 != object.header().owner {
            return Err(object.corrupted("it belongs to another table"));
        }
        form.into_manifest(table).map_err(|reason| object.corrupted(reason))
    }
}

/// What a table consists of at one manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct TableFiles {
    pub id: ManifestId,
    pub table: Arc<TableMeta>,
    pub through: Offset,
    pub segments: BTreeMap<SegmentId, SegmentFiles>,
    /// The manifests that this one builds on: the last full one, then the deltas since.
    pub ancestors: Vec<ManifestId>,
    /// As in `Manifest`.
    pub purged: Timestamp,
    /// As in `Manifest`.
    pub replaced: Vec<(SegmentId, Offset)>,
}

impl TableFiles {
    /// A table without segments, before its first manifest.
    #[must_use]
    pub fn empty(table: Arc<TableMeta>) -> Self {
        Self {
            id: ManifestId::default(),
            table,
            through: Offset(0),
            segments: BTreeMap::new(),
            ancestors: Vec::new(),
            purged: Timestamp::ZERO,
            replaced: Vec::new(),
        }
    }

    /// The manifest that follows: adds or replaces `segments`, removes `removed`; full when the chain is long or
    /// starts here.
    #[must_use]
    pub fn next(
        &self,
        id: ManifestId,
        table: Arc<TableMeta>,
        through: Offset,
        segments: Vec<SegmentFiles>,
        removed: Vec<SegmentId>,
    ) -> Manifest {
        let (purged, replaced) = (self.purged, self.replaced.clone());
        let parent = Some(self.id);
        let delta = Manifest { id, parent, table, through, segments, removed, purged, replaced };
        if self.id != ManifestId::default() && self.ancestors.len() < LONGEST_CHAIN {
            return delta;
        }
        let mut whole = self.clone();
        whole.apply(&delta);
        let segments = whole.segments.into_values().collect();
        Manifest { parent: None, segments, removed: Vec::new(), ..delta }
    }

    /// Applies a manifest.
    pub fn apply(&mut self, manifest: &Manifest) {
        if manifest.parent.is_none() {
            self.segments.clear();
            self.ancestors.clear();
        } else {
            self.ancestors.push(self.id);
        }
        for removed in &manifest.removed {
            self.segments.remove(removed);
        }
        for files in &manifest.segments {
            self.segments.insert(files.segment, files.clone());
        }
        self.id = manifest.id;
        self.table = Arc::clone(&manifest.table);
        self.through = manifest.through;
        self.purged = manifest.purged;
        self.replaced.clone_from(&manifest.replaced);
    }

    /// Reads a table's files by following parents from the manifest a pointer names.
    ///
    /// # Errors
    /// `Missing` or `Corrupted` naming the manifest that is not there or damaged.
    pub async fn read(
        store: &dyn ObjectStore,
        database: DatabaseId,
        table: TableId,
        pointer: ManifestId,
    ) -> Result<Self> {
        let mut chain: Vec<Manifest> = Vec::new();
        let mut next = Some(pointer);
        while let Some(id) = next {
            let key = Manifest::key(database, table, id);
            let manifest = Manifest::decode(read_object(store, &key).await?)?;
            // A parent is older than its child, so a chain cannot be endless.
            let older = chain.last().is_none_or(|child| manifest.id < child.id);
            if manifest.id != id || manifest.table.id != table || !older {
                return Err(Error::corrupted(key, "it is another manifest"));
            }
            next = manifest.parent;
            chain.push(manifest);
        }
        let newest = Arc::clone(&chain[0].table);
        let mut files = Self::empty(newest);
        chain.iter().rev().for_each(|manifest| files.apply(manifest));
        Ok(files)
    }
}
