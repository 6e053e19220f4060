//! What tests of nodes share: back ends that outlive a node, tables, rows, and reading everything back.
//!
//! What it is not: a mock. The back ends are the real ones on memory or on a directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proto::catalog::{CatalogChange, Column, PrimaryKey, SequenceMeta, TableMeta};
use proto::key::encode_keys;
use proto::record::{RowDelete, RowRef, TableChange};
use proto::time::ReadPoint;
use proto::types::ColumnType;
use proto::{ChannelId, DatabaseId, RowId, SegmentId, SequenceId, TableId};
use segments::{LocalStore, ScanColumn, SnapshotSource, SystemDoor, TableOverlay};

use crate::clock::{SeededDice, SimClock};
use crate::error::{Error, Result};
use crate::lease::Lease;
use crate::log::{FileLog, LogBroker, MemoryLog};
use crate::meta::{MemoryMeta, MetaStore, RedbMeta};
use crate::node::{Node, NodeParts};
use crate::oracle::WindowOracle;
use crate::owner::{CommitOutcome, CommitRequest};
use crate::settings::Settings;
use crate::staging::StagedSegment;

pub mod faulty;
mod services;

pub use services::service;

use faulty::{FaultyLog, FaultyMeta, FaultyStore, Fuse};

/// Which back ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Memory,
    Files,
}

/// Back ends that nodes are started on one after the other.
#[derive(Debug)]
pub struct Bench {
    pub clock: Arc<SimClock>,
    pub settings: Settings,
    pub database: DatabaseId,
    dice: Arc<SeededDice>,
    memory: Option<(Arc<MemoryMeta>, Arc<MemoryLog>, Arc<InMemory>)>,
    directory: Option<std::path::PathBuf>,
}

/// A row of the tests' tables: `id` (key), `name`.
pub type Row = (i64, String);

/// Makes a row.
#[must_use]
pub fn row(id: i64, name: &str) -> Row {
    (id, name.into())
}

impl Bench {
    /// Empty back ends; files go below `directory`.
    #[must_use]
    pub fn new(form: Form, directory: &std::path::Path) -> Self {
        let clock = Arc::new(SimClock::new(1_700_000_000_000));
        let memory = || {
            let meta = Arc::new(MemoryMeta::new(Arc::clone(&clock) as _));
            (meta, MemoryLog::new(), Arc::new(InMemory::new()))
        };
        Self {
            memory: (form == Form::Memory).then(memory),
            directory: (form == Form::Files).then(|| directory.to_owned()),
            settings: Settings::default(),
            database: DatabaseId(16_384),
            dice: Arc::new(SeededDice::new(1)),
            clock,
        }
    }

    /// The log in memory, when it is.
    #[must_use]
    pub fn memory_log(&self) -> Option<&Arc<MemoryLog>> {
        self.memory.as_ref().map(|(_, log, _)| log)
    }

    /// The back ends as a killed process would find them again.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub async fn parts(&self) -> Result<NodeParts> {
        let (meta, log, store): (Arc<dyn MetaStore>, Arc<dyn LogBroker>, Arc<dyn ObjectStore>) =
            match (&self.memory, &self.directory) {
                (Some((meta, log, store)), _) => {
                    log.crash();
                    (Arc::clone(meta) as _, Arc::clone(log) as _, Arc::clone(store) as _)
                }
                (None, Some(directory)) => {
                    let door = Arc::new(SystemDoor);
                    let path = directory.join("meta.redb");
                    let meta =
                        RedbMeta::open(Arc::clone(&door) as _, path, Arc::clone(&self.clock) as _).await?;
                    let log = FileLog::new(Arc::clone(&door) as _, directory.join("log"));
                    (Arc::new(meta), log, Arc::new(LocalStore::open(door, directory.join("store"))?))
                }
                (None, None) => return Err(Error::Internal("a bench without back ends".into())),
            };
        self.parts_with(meta, log, store).await
    }

    /// The same with some back ends replaced.
    ///
    /// # Errors
    /// When the oracle cannot be opened.
    pub async fn parts_with(
        &self,
        meta: Arc<dyn MetaStore>,
        log: Arc<dyn LogBroker>,
        store: Arc<dyn ObjectStore>,
    ) -> Result<NodeParts> {
        let oracle = WindowOracle::open(Arc::clone(&meta), Arc::clone(&self.clock) as _).await?;
        Ok(NodeParts {
            meta,
            log,
            store,
            oracle: Arc::new(oracle),
            clock: Arc::clone(&self.clock) as _,
            dice: Arc::clone(&self.dice) as _,
            lease: Lease::of_directory(),
            settings: self.settings.clone(),
        })
    }

    /// Starts a node whose back ends die with a fuse.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(&self, fuse: &Fuse) -> Result<Tested> {
        self.start_behind([fuse, fuse, fuse]).await
    }

    /// The same with a fuse each for meta store, log and object store.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_behind(&self, [meta, log, store]: [&Fuse; 3]) -> Result<Tested> {
        let NodeParts { meta: real_meta, log: real_log, store: real_store, .. } = self.parts().await?;
        let meta = Arc::new(FaultyMeta(real_meta, meta.clone()));
        let log = Arc::new(FaultyLog(real_log, log.clone()));
        let store = Arc::new(FaultyStore(real_store, store.clone()));
        let node = Node::start(self.parts_with(meta, log, store).await?).await?;
        Ok(Tested { node, database: self.database })
    }

    /// Starts a node.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(&self) -> Result<Tested> {
        Ok(Tested { node: Node::start(self.parts().await?).await?, database: self.database })
    }
}

/// A node with the calls tests make.
#[derive(Debug)]
pub struct Tested {
    pub node: Arc<Node>,
    pub database: DatabaseId,
}

/// The definition of a test table.
#[must_use]
pub fn table_meta(database: DatabaseId, id: u32, name: &str) -> Arc<TableMeta> {
    let column = |id, name: &str, ty, nullable| Column {
        id,
        name: name.into(),
        ty,
        nullable,
        default: None,
        identity: None,
        missing: None,
    };
    Arc::new(TableMeta {
        id: TableId(u64::from(id)),
        database,
        namespace: "public".into(),
        name: name.into(),
        type_oid: (id + 1).into(),
        schema_version: 1,
        next_column_id: 3,
        columns: vec![column(1, "id", ColumnType::INT8, false), column(2, "name", ColumnType::TEXT, true)],
        primary_key: Some(PrimaryKey {
            oid: (id + 2).into(),
            index_oid: (id + 3).into(),
            name: format!("{name}_pkey"),
            columns: vec![1],
        }),
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: proto::catalog::TableOptions::default(),
        channel: ChannelId(0),
    })
}

/// Rows as a batch of the test tables' columns.
///
/// # Panics
/// Never: the columns are of equal length.
#[must_use]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "test support")]
pub fn batch(meta: &TableMeta, rows: &[Row]) -> RecordBatch {
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let names = StringArray::from_iter_values(rows.iter().map(|row| &row.1));
    RecordBatch::try_new(meta.arrow_schema(), vec![Arc::new(ids), Arc::new(names)]).expect("equal lengths")
}

impl Tested {
    /// What `kill -9` does, as far as one process can: nothing is flushed or handed over, and what a fuse stopped
    /// stays stopped. Loops end at their next turn, because a system call in another thread cannot be killed and
    /// would meet the next node. Returns when nothing of the node runs any more.
    pub async fn kill(self) {
        if let Err(error) = self.node.stop().await {
            tracing::debug!(%error, "a killed node did not stop by itself");
        }
        let running = self.node.running();
        drop(self);
        while running.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Creates a table with the columns of the tests.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn create(&self, name: &str) -> Result<Arc<TableMeta>> {
        let oid = self.node.allocate_oids(4).await?;
        let meta = table_meta(self.database, oid.0, name);
        let id = meta.id;
        self.ddl(vec![CatalogChange::PutTable(meta)]).await?;
        self.node.catalog().tables.get(&id).cloned().ok_or(Error::UndefinedTable(id))
    }

    /// Creates a sequence.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn create_sequence(&self, name: &str, increment: i64, maximum: i64) -> Result<SequenceId> {
        let id = SequenceId(u64::from(self.node.allocate_oids(1).await?.0));
        let sequence = SequenceMeta {
            id,
            database: self.database,
            namespace: "public".into(),
            name: name.into(),
            ty: ColumnType::INT8,
            start: 1,
            increment,
            minimum: 1,
            maximum,
            first: 1,
            owned_by: None,
        };
        self.ddl(vec![CatalogChange::PutSequence(Arc::new(sequence))]).await?;
        Ok(id)
    }

    /// Commits catalog changes alone.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn ddl(&self, catalog: Vec<CatalogChange>) -> Result<CommitOutcome> {
        let mut request = self.request(Vec::new()).await?;
        request.catalog = catalog;
        self.node.commit(request).await
    }

    /// A request that has read everything there is.
    ///
    /// # Errors
    /// When the database is gone.
    pub async fn request(&self, changes: Vec<TableChange>) -> Result<CommitRequest> {
        let read_ts = self.node.barrier(self.database).await?.read_ts;
        Ok(CommitRequest { changes, ..CommitRequest::new(self.database, self.node.draw_txn(), read_ts) })
    }

    /// A change that inserts rows.
    #[must_use]
    pub fn inserting(&self, meta: &TableMeta, rows: &[Row]) -> TableChange {
        let mut change = TableChange::new(meta.id, meta.schema_version);
        change.inserts = vec![batch(meta, rows)];
        change
    }

    /// Commits changes.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn commit(&self, changes: Vec<TableChange>) -> Result<CommitOutcome> {
        self.node.commit(self.request(changes).await?).await
    }

    /// Inserts rows.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn insert(&self, meta: &TableMeta, rows: &[Row]) -> Result<CommitOutcome> {
        self.commit(vec![self.inserting(meta, rows)]).await
    }

    /// Inserts rows that are in files before the commit, but for those of `ended`, which the transaction ends itself.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn insert_staged(
        &self,
        meta: &Arc<TableMeta>,
        rows: &[Row],
        ended: &[u32],
    ) -> Result<CommitOutcome> {
        let (change, staged) = self.staging(meta, rows, ended).await?;
        let mut request = self.request(vec![change]).await?;
        request.staged = vec![staged];
        self.node.commit(request).await
    }

    /// The change of `insert_staged`, and what it has put in files.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub async fn staging(
        &self,
        meta: &Arc<TableMeta>,
        rows: &[Row],
        ended: &[u32],
    ) -> Result<(TableChange, StagedSegment)> {
        let mut overlay = TableOverlay::new(Arc::clone(meta));
        overlay.insert(&batch(meta, rows))?;
        let staged = self.node.stage(self.database, overlay.growing()).await?;
        let segment = overlay.growing().id();
        overlay.stage(Arc::clone(staged.segment()));
        for &ordinal in ended {
            overlay.delete(RowRef { segment, ordinal, row: RowId(u64::from(ordinal)) }, Bytes::new());
        }
        Ok((overlay.into_change()?, staged))
    }

    /// A change that deletes the rows of some ids, which must be there.
    ///
    /// # Errors
    /// When reading fails or an id is missing.
    pub async fn deleting(&self, meta: &Arc<TableMeta>, ids: &[i64]) -> Result<TableChange> {
        let mut change = TableChange::new(meta.id, meta.schema_version);
        let places = self.places(meta, self.node.barrier(self.database).await?).await?;
        for id in ids {
            let (target, _) =
                places.get(id).ok_or_else(|| Error::Internal(format!("row {id} is not there")))?;
            let rows = [row(*id, "")];
            let keys = encode_keys(&batch(meta, &rows), &[0])?;
            change.deletes.push(RowDelete { target: *target, key: Bytes::copy_from_slice(&keys[0]) });
        }
        Ok(change)
    }

    /// Deletes rows by id.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn delete(&self, meta: &Arc<TableMeta>, ids: &[i64]) -> Result<CommitOutcome> {
        self.commit(vec![self.deleting(meta, ids).await?]).await
    }

    /// Replaces the names of rows: delete and insert under one timestamp.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn update(&self, meta: &Arc<TableMeta>, rows: &[Row]) -> Result<CommitOutcome> {
        let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
        let mut change = self.deleting(meta, &ids).await?;
        change.inserts = vec![batch(meta, rows)];
        self.commit(vec![change]).await
    }

    /// Every visible row, by id, with its place. An id that is there twice is an error.
    ///
    /// # Errors
    /// When reading fails.
    pub async fn places(
        &self,
        meta: &Arc<TableMeta>,
        point: ReadPoint,
    ) -> Result<BTreeMap<i64, (RowRef, String)>> {
        let snapshot = self.node.snapshot(meta.id, point).await?;
        snapshot.load(&[0, 1]).await?;
        let columns = [ScanColumn::Column(0), ScanColumn::Column(1), ScanColumn::Row];
        let mut found = BTreeMap::new();
        for view in &snapshot.segments {
            let rows = view.read_range(&columns, 0, view.rows())?;
            let (ids, names) =
                (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_string::<i32>());
            let row_ids = rows.column(2).as_primitive::<arrow::datatypes::UInt64Type>();
            for ordinal in view.visible().set_indices() {
                let target = place(view.id(), ordinal, RowId(row_ids.value(ordinal)));
                if found.insert(ids.value(ordinal), (target, names.value(ordinal).to_owned())).is_some() {
                    return Err(Error::Internal(format!("row {} is there twice", ids.value(ordinal))));
                }
            }
        }
        if found.len() as u64 != snapshot.visible_rows() {
            return Err(Error::Internal("visible_rows is not the number of visible rows".into()));
        }
        Ok(found)
    }

    /// Every visible row in order of id.
    ///
    /// # Errors
    /// When reading fails.
    pub async fn rows(&self, meta: &Arc<TableMeta>) -> Result<Vec<Row>> {
        let point = self.node.barrier(self.database).await?;
        Ok(self.places(meta, point).await?.into_iter().map(|(id, (_, name))| (id, name)).collect())
    }
}

fn place(segment: SegmentId, ordinal: usize, row: RowId) -> RowRef {
    RowRef { segment, ordinal: ordinal as u32, row }
}
