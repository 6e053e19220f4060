//! The embedded node: owner, follower and flusher of every channel in one process, behind function calls.
//!
//! What it is not: another code path. The cluster form puts RPC between these calls and the same tasks.
//!
//! Invariants: a commit is answered after its record is durable and its effect is published; a barrier answers
//! with the last such commit; every channel of the catalog has exactly one runtime.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectStore;
use parking_lot::RwLock;
use proto::catalog::{CatalogChange, CatalogSnapshot};
use proto::record::TableChange;
use proto::time::{Clock, Dice, ReadPoint};
use proto::{
    ChannelId, DatabaseId, ErrorKind, Oid, SegmentId, SequenceId, SqlError, TableId, Timestamp, TxnId,
};
use segments::{SnapshotSource, TableSnapshot};
use tokio::sync::{Notify, mpsc};

use crate::catalog::Catalog;
use crate::catalog_objects::{CatalogObjects, RecoveryMark};
use crate::channel::Parts;
use crate::collector::{self, Collector};
use crate::compactor::{self, Compactor};
use crate::error::{Error, Result};
use crate::flusher::{self, Flusher};
use crate::follower::Stage;
use crate::horizon::Horizons;
use crate::indexer::{Builds, Indexer};
use crate::lease::Lease;
use crate::locks::Locks;
use crate::log::LogBroker;
use crate::meta::MetaStore;
use crate::oracle::TimestampOracle;
use crate::owner::{CommitOutcome, CommitRequest, Owner, OwnerHandle, OwnerMessage};
use crate::settings::Settings;
use crate::tasks::TaskSet;

mod compactions;
mod indexes;
mod instants;
mod locks;
mod payload;
mod staging;

pub use indexes::IndexStatus;
pub use instants::Instant;

/// The back ends of a node, chosen by assembly.
#[derive(Clone, Debug)]
pub struct NodeParts {
    pub meta: Arc<dyn MetaStore>,
    pub log: Arc<dyn LogBroker>,
    pub store: Arc<dyn ObjectStore>,
    pub oracle: Arc<dyn TimestampOracle>,
    pub clock: Arc<dyn Clock>,
    pub dice: Arc<dyn Dice>,
    /// What lets this node serve.
    pub lease: Lease,
    pub settings: Settings,
}

/// A segment, for views and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub channel: ChannelId,
    pub table: TableId,
    pub segment: SegmentId,
    /// `growing`, `frozen` (sealed, not in files yet), `staged` (in files that no manifest names yet) or `sealed`.
    pub stage: &'static str,
    /// Row versions held.
    pub rows: u64,
    /// Row versions that ended.
    pub deleted: u64,
    /// Bytes of the files with its rows; of memory while it has none.
    pub bytes: u64,
    /// The part of them that rows which ended take.
    pub dead_bytes: u64,
    /// Bytes of memory of rows that are not in files.
    pub memory_bytes: u64,
}

/// A channel's tasks.
#[derive(Debug)]
struct Runtime {
    owner: OwnerHandle,
    flusher: flusher::Handle,
    builds: Arc<Builds>,
    /// Wakes the indexer.
    indexer: Arc<Notify>,
    locks: Arc<Locks>,
    compactor: compactor::Handle,
    tasks: TaskSet,
}

/// See the file header.
#[derive(Debug)]
pub struct Node {
    pub(crate) parts: Parts,
    channels: RwLock<BTreeMap<ChannelId, Arc<Runtime>>>,
    /// Held while channels are started or stopped.
    changing: tokio::sync::Mutex<()>,
    collections: mpsc::Sender<collector::Request>,
    /// What works for all channels.
    tasks: TaskSet,
}

impl Node {
    /// Takes over everything the back ends hold; empty ones get the databases `template1`, `postgres` and
    /// `elanus`. Returns when all of it can be read and written.
    ///
    /// # Errors
    /// When a back end fails or holds damaged bytes; the error names them.
    pub async fn start(parts: NodeParts) -> Result<Arc<Self>> {
        let (meta, oracle) = (Arc::clone(&parts.meta), Arc::clone(&parts.oracle));
        let horizons = Horizons::open(Arc::clone(&meta), oracle, parts.settings.retention_millis).await?;
        let horizons = Arc::new(horizons);
        let catalog_objects = CatalogObjects::open(Arc::clone(&meta), Arc::clone(&parts.store)).await?;
        let catalog = Catalog::open(meta, Arc::clone(&horizons), parts.oracle.now()).await?;
        let catalog = Arc::new(catalog);
        let parts = Parts {
            meta: parts.meta,
            log: parts.log,
            store: parts.store,
            oracle: parts.oracle,
            dice: parts.dice,
            catalog,
            catalog_objects: Arc::new(catalog_objects),
            horizons,
            settings: Arc::new(parts.settings),
            writers: Arc::default(),
            garbage: Arc::default(),
            clock: parts.clock,
            lease: parts.lease,
        };
        let (collector, collections) = Collector::new(parts.clone());
        let node = Arc::new(Self {
            parts,
            channels: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            collections,
            tasks: TaskSet::new(),
        });
        if let Err(error) = node.match_channels().await {
            // What did start must be gone before anyone opens the back ends again.
            node.stop().await?;
            return Err(error);
        }
        node.parts.catalog_objects.try_write(node.recovery_marks()).await;
        node.tasks.spawn("collector", move |stop| collector.run(stop));
        Ok(node)
    }

    /// Starts the channels that the catalog has and this node does not, and stops the others.
    async fn match_channels(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        let catalog = self.catalog();
        let wanted: Vec<ChannelId> =
            catalog.databases.values().map(|database| database.home_channel).collect();
        let gone: Vec<Arc<Runtime>> = {
            let mut channels = self.channels.write();
            let gone = channels.keys().filter(|id| !wanted.contains(id)).copied().collect::<Vec<_>>();
            gone.iter().filter_map(|id| channels.remove(id)).collect()
        };
        for runtime in gone {
            runtime.tasks.shutdown().await;
        }
        let missing: Vec<ChannelId> =
            wanted.into_iter().filter(|id| !self.channels.read().contains_key(id)).collect();
        let started = futures::future::join_all(missing.iter().map(|id| self.start_channel(*id))).await;
        let mut failure = None;
        for (id, started) in missing.into_iter().zip(started) {
            match started {
                Ok(runtime) => drop(self.channels.write().insert(id, runtime)),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn start_channel(&self, channel: ChannelId) -> Result<Arc<Runtime>> {
        let tasks = TaskSet::new();
        let (indexer, builds) =
            (Arc::new(Notify::new()), Arc::new(Builds::new(Arc::clone(&self.parts.clock))));
        let look = Arc::new(Notify::new());
        let (flusher, handle) =
            Flusher::new(self.parts.clone(), channel, Arc::clone(&indexer), Arc::clone(&look));
        let started = Owner::start(self.parts.clone(), channel, handle.clone()).await?;
        let owner = started.handle();
        tasks.spawn(format!("owner {channel}"), move |stop| started.run(stop));
        let to_owner = owner.clone();
        tasks.spawn(format!("flusher {channel}"), move |stop| flusher.run(to_owner, stop));
        let work = Indexer::new(
            self.parts.clone(),
            channel,
            handle.clone(),
            Arc::clone(&builds),
            Arc::clone(&indexer),
        );
        let to_owner = owner.clone();
        tasks.spawn(format!("indexer {channel}"), move |stop| work.run(to_owner, stop));
        let (work, compactor) = Compactor::new(self.parts.clone(), channel, handle.clone(), look);
        let to_owner = owner.clone();
        tasks.spawn(format!("compactor {channel}"), move |stop| work.run(to_owner, stop));
        let locks = Arc::new(Locks::new(self.database_of(channel)));
        Ok(Arc::new(Runtime { owner, flusher: handle, builds, indexer, locks, compactor, tasks }))
    }

    /// How far the files of every channel reach.
    fn recovery_marks(&self) -> Vec<(ChannelId, RecoveryMark)> {
        let channels = self.channels.read();
        let mark = |runtime: &Arc<Runtime>| RecoveryMark::of(&runtime.owner.published.state());
        channels.iter().map(|(channel, runtime)| (*channel, mark(runtime))).collect()
    }

    fn runtime(&self, database: DatabaseId) -> Result<Arc<Runtime>> {
        let catalog = self.parts.catalog.snapshot();
        let known = catalog.databases.get(&database);
        let known =
            known.ok_or_else(|| Error::UndefinedObject { what: format!("database with OID {database}") })?;
        self.channels.read().get(&known.home_channel).cloned().ok_or(Error::Stopped)
    }

    fn sequence_runtime(&self, sequence: SequenceId) -> Result<Arc<Runtime>> {
        let catalog = self.parts.catalog.snapshot();
        let known = catalog.sequences.get(&sequence);
        let known =
            known.ok_or_else(|| Error::UndefinedObject { what: format!("sequence with OID {sequence}") })?;
        self.runtime(known.database)
    }

    /// What exists, as of the last acknowledged change.
    #[must_use]
    pub fn catalog(&self) -> Arc<CatalogSnapshot> {
        self.parts.catalog.snapshot()
    }

    /// Lives as long as anything of this node runs.
    #[cfg(any(test, feature = "suites"))]
    pub(crate) fn running(&self) -> std::sync::Weak<impl Sized + use<>> {
        Arc::downgrade(&self.parts.catalog)
    }

    /// The clock of the assembly.
    #[must_use]
    pub const fn clock(&self) -> &Arc<dyn Clock> {
        &self.parts.clock
    }

    /// Waits for the owner while the catalog shows a change whose rows it does not show yet.
    async fn catch_up(&self, runtime: &Runtime) -> Result<()> {
        if !runtime.owner.published.is_behind() {
            return Ok(());
        }
        runtime.owner.ask(|reply| OwnerMessage::Fence { reply }).await
    }

    /// A read point that shows every acknowledged commit of a database. Nothing is written for it, and nothing awaited
    /// unless a change of the catalog was interrupted.
    ///
    /// # Errors
    /// When the database does not exist, an interrupted change cannot be completed, or another server may have taken over.
    pub async fn barrier(&self, database: DatabaseId) -> Result<ReadPoint> {
        let runtime = self.runtime(database)?;
        self.catch_up(&runtime).await?;
        let point = ReadPoint::at(runtime.owner.published.state().last_ts);
        // As in `pinned_barrier`.
        self.parts.lease.check()?;
        Ok(point)
    }

    /// Decides a transaction. Returns when its record is durable and visible to every later barrier.
    ///
    /// # Errors
    /// `Conflict`, `DuplicateKey`, `SchemaChanged`, `UndefinedTable`: nothing happened. `Unknown`: it may have.
    pub async fn commit(&self, mut request: CommitRequest) -> Result<CommitOutcome> {
        let runtime = self.runtime(request.database)?;
        if request.changes.is_empty() && request.payload_parts == 0 && request.catalog.is_empty() {
            let state = runtime.owner.published.state();
            return Ok(CommitOutcome { ts: state.last_ts, catalog_revision: self.catalog().revision });
        }
        self.check_channels(&request)?;
        let changes_databases = request
            .catalog
            .iter()
            .any(|change| matches!(change, CatalogChange::PutDatabase(_) | CatalogChange::DropDatabase(_)));
        let changes_catalog = !request.catalog.is_empty();
        let drops = request
            .catalog
            .iter()
            .any(|change| matches!(change, CatalogChange::DropTable(_) | CatalogChange::DropDatabase(_)));
        let mut unfinished = payload::Unfinished::new(&runtime, request.txn);
        self.move_to_payloads(&runtime, &mut request).await?;
        let asked = runtime.owner.ask(|reply| OwnerMessage::Commit { request: Box::new(request), reply });
        let outcome = asked.await;
        unfinished.done(outcome.is_ok());
        if changes_catalog {
            runtime.indexer.notify_one();
            let state = runtime.owner.published.state();
            let reached = (runtime.owner.published.channel, RecoveryMark::of(&state));
            self.parts.catalog_objects.try_write(vec![reached]).await;
        }
        if drops && outcome.is_ok() {
            self.parts.garbage.scan();
            // Whoever is asked to keep nothing of them lets go at once; what fails is done when there is another look.
            if let Err(error) = self.forget_dropped().await {
                tracing::warn!(%error, "what was dropped could not be let go of");
            }
            runtime.compactor.look();
        }
        if changes_databases && outcome.is_ok() {
            // The change has happened, so its failure is none of the transaction.
            self.match_channels().await.map_err(|error| Error::Unknown { reason: error.to_string() })?;
        }
        outcome
    }

    /// All tables of a transaction must be on its database's home channel.
    fn check_channels(&self, request: &CommitRequest) -> Result<()> {
        let catalog = self.catalog();
        let home = catalog.databases.get(&request.database).map(|database| database.home_channel);
        let elsewhere = |change: &TableChange| {
            catalog.tables.get(&change.table).is_some_and(|table| Some(table.channel) != home)
        };
        if request.changes.iter().any(elsewhere) {
            return Err(SqlError::unsupported("a transaction over tables of several channels").into());
        }
        Ok(())
    }

    /// Appends rows of a transaction that is not decided yet; parts are numbered from 0 and may come in any
    /// order. Returns when they are accepted; the commit makes them durable.
    ///
    /// # Errors
    /// When the log cannot be written; the transaction must then be given up.
    pub async fn append_payload(
        &self,
        database: DatabaseId,
        txn: TxnId,
        part: u32,
        changes: Vec<TableChange>,
    ) -> Result<()> {
        self.send_payload(&*self.runtime(database)?, txn, part, changes).await
    }

    /// Gives a transaction up: its payloads may be forgotten.
    pub async fn abort(&self, database: DatabaseId, txn: TxnId) {
        if let Ok(runtime) = self.runtime(database) {
            // An owner that is gone has nothing to forget.
            let _ = runtime.owner.sender.send(OwnerMessage::Abort { txn }).await;
        }
    }

    /// The next values of a sequence; none is ever given out twice.
    ///
    /// # Errors
    /// At the sequence's end, when it does not exist, or when its mark could not be logged.
    pub async fn next_values(&self, sequence: SequenceId, count: usize) -> Result<Vec<i64>> {
        let runtime = self.sequence_runtime(sequence)?;
        runtime.owner.ask(|reply| OwnerMessage::NextValues { sequence, count, reply }).await
    }

    /// Makes `next` the next value of a sequence (setval, RESTART).
    ///
    /// # Errors
    /// When it does not exist or the mark could not be logged.
    pub async fn set_sequence(&self, sequence: SequenceId, next: i64) -> Result<()> {
        let runtime = self.sequence_runtime(sequence)?;
        runtime.owner.ask(|reply| OwnerMessage::SetSequence { sequence, next, reply }).await
    }

    /// The first of `count` fresh OIDs.
    ///
    /// # Errors
    /// When the meta store fails.
    pub async fn allocate_oids(&self, count: u32) -> Result<Oid> {
        self.parts.catalog.allocate_oids(count).await
    }

    /// A number for a new transaction.
    #[must_use]
    pub fn draw_txn(&self) -> TxnId {
        TxnId(self.parts.dice.next_u64())
    }

    /// Seals and flushes everything, saves deletes, advances the checkpoints and trims the logs.
    ///
    /// # Errors
    /// When something could not be written; nothing is lost then, the log still holds it.
    pub async fn checkpoint(&self) -> Result<()> {
        let channels: Vec<Arc<Runtime>> = self.channels.read().values().cloned().collect();
        futures::future::try_join_all(channels.iter().map(|runtime| runtime.flusher.checkpoint())).await?;
        for runtime in channels {
            runtime.builds.forget_failures();
            runtime.indexer.notify_one();
            runtime.compactor.look();
        }
        Ok(())
    }

    /// Stops all tasks; what was acknowledged is durable anyway.
    ///
    /// # Errors
    /// None today; stopping a cluster node hands over its leases.
    pub async fn stop(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        let channels = std::mem::take(&mut *self.channels.write());
        self.tasks.shutdown().await;
        for runtime in channels.into_values() {
            runtime.tasks.shutdown().await;
        }
        Ok(())
    }

    /// Every segment this node holds.
    #[must_use]
    pub fn segment_infos(&self) -> Vec<SegmentInfo> {
        let mut infos = Vec::new();
        let catalog = self.catalog();
        for (channel, runtime) in self.channels.read().iter() {
            let state = runtime.owner.published.state();
            // Dropped tables are kept for reads of earlier instants, and shown nowhere.
            for (table, rows) in state.tables.iter().filter(|(id, _)| catalog.tables.contains_key(id)) {
                infos.extend(rows.segments.iter().map(|segment| {
                    let form = &segment.state.form;
                    let (held, ended) =
                        (form.rows(), segment.state.deletes.ended(form.rows(), Timestamp::MAX));
                    let bytes = segment.bytes();
                    SegmentInfo {
                        channel: *channel,
                        table: *table,
                        segment: form.id(),
                        stage: stage_name(segment.stage),
                        rows: held as u64,
                        deleted: ended as u64,
                        bytes,
                        dead_bytes: (u128::from(bytes) * ended as u128 / (held as u128).max(1)) as u64,
                        memory_bytes: segment.memory_bytes() as u64,
                    }
                }));
            }
        }
        infos
    }
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Growing => "growing",
        Stage::Frozen => "frozen",
        Stage::Staged => "staged",
        Stage::Stored => "sealed",
    }
}

#[async_trait]
impl SnapshotSource for Node {
    async fn snapshot(&self, table: TableId, point: ReadPoint) -> segments::Result<Arc<TableSnapshot>> {
        loop {
            let catalog = self.catalog();
            let meta = catalog.tables.get(&table).ok_or_else(|| {
                let message = format!("relation with OID {table} does not exist");
                SqlError::new(ErrorKind::UndefinedTable, message)
            })?;
            let runtime = self.channels.read().get(&meta.channel).cloned();
            let snapshot = match runtime {
                Some(runtime) => runtime.owner.published.snapshot(meta, point).await,
                None => Err(Error::Stopped),
            };
            match snapshot {
                // The owner shows rows of a changed table a moment before it shows the catalog.
                Err(Error::SchemaChanged) => tokio::task::yield_now().await,
                other => return other.map_err(Error::into_segments),
            }
        }
    }
}

#[cfg(test)]
mod tests;
