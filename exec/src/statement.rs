//! What one statement sees: snapshots of its tables, the values of its session, sequences, and the cancel flag.
//!
//! It travels to functions as an extension of DataFusion's options, and to operators as one of the task's session
//! configuration, so that nothing of a session is ever folded into a cached plan.
//!
//! Invariant: a context never changes while its statement runs, the cancel flag and currval apart.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::common::Result as DfResult;
use datafusion::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use parking_lot::Mutex;
use proto::catalog::{CatalogSnapshot, TableMeta};
use proto::time::{Clock, Dice};
use proto::{DatabaseId, ErrorKind, SequenceId, SqlError, TableId, Timestamp};
use segments::TableSnapshot;

use crate::error::{canceled, internal, raise};
use crate::text::TimeZone;

/// Set from another task to stop a statement at its next batch.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the statement to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Makes the flag usable for the next statement.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the statement was asked to stop.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// 57014 once the flag is set.
    pub fn check(&self) -> Result<(), DataFusionError> {
        if self.is_canceled() { Err(raise(canceled())) } else { Ok(()) }
    }
}

/// Where sequence values come from.
#[async_trait]
pub trait SequenceSource: Send + Sync + fmt::Debug {
    /// The next `count` values, never handed out before or again.
    ///
    /// # Errors
    /// 55000 at the sequence's limit, and whatever the owner of the sequence reports.
    async fn next_values(&self, sequence: SequenceId, count: usize) -> Result<Vec<i64>, SqlError>;

    /// Makes `next` the next value.
    ///
    /// # Errors
    /// Whatever the owner of the sequence reports.
    async fn set_next(&self, sequence: SequenceId, next: i64) -> Result<(), SqlError>;
}

/// The number, or the two, that an advisory lock is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdvisoryKey {
    /// The upper half of one number, or the first of two.
    pub high: u32,
    pub low: u32,
    pub pair: bool,
}

/// Advisory locks of a session and of its transaction.
#[async_trait]
pub trait AdvisoryLocks: Send + Sync + fmt::Debug {
    /// Takes a lock once it is free.
    ///
    /// # Errors
    /// 55P03, 40P01, 57014 when the wait ends otherwise.
    async fn take(&self, key: AdvisoryKey, shared: bool, of_transaction: bool) -> Result<(), SqlError>;

    /// Takes a lock that is free; false when it is not.
    ///
    /// # Errors
    /// When there is no lock table to ask.
    fn try_take(&self, key: AdvisoryKey, shared: bool, of_transaction: bool) -> Result<bool, SqlError>;

    /// Gives a lock of the session back once; false when it has none.
    fn release(&self, key: AdvisoryKey, shared: bool) -> bool;

    /// Gives all locks of the session back.
    fn release_all(&self);
}

/// No lock table: whoever has no session, as planning has.
#[derive(Debug)]
pub struct NoAdvisoryLocks;

#[async_trait]
impl AdvisoryLocks for NoAdvisoryLocks {
    async fn take(&self, key: AdvisoryKey, shared: bool, of_transaction: bool) -> Result<(), SqlError> {
        self.try_take(key, shared, of_transaction).map(|_| ())
    }

    fn try_take(&self, _: AdvisoryKey, _: bool, _: bool) -> Result<bool, SqlError> {
        Err(SqlError::new(ErrorKind::Internal, "advisory locks need a session"))
    }

    fn release(&self, _: AdvisoryKey, _: bool) -> bool {
        false
    }

    fn release_all(&self) {}
}

/// Where `set_config` puts what it changes of the session's settings.
pub trait SettingSink: Send + Sync + fmt::Debug {
    /// Changes a setting as SET does, or without a value as RESET does, once the statement is done; returns
    /// what SHOW will print.
    ///
    /// # Errors
    /// As SET: 42704, 42602, 22023, 55P02.
    fn set(&self, name: &str, value: Option<&str>, local: bool) -> Result<String, SqlError>;

    /// What the running statement has made of a setting, if it has changed it.
    fn changed(&self, name: &str) -> Option<String>;
}

/// Where tables of past instants come from: whoever has resolved and pinned the statement's instants.
pub trait PastTables: Send + Sync + fmt::Debug {
    /// A table at an instant the statement was planned for, always the same for the same instant.
    ///
    /// # Errors
    /// 72000 when its rows are not kept any more, 0A000 when columns of then are gone.
    fn snapshot(&self, table: &Arc<TableMeta>, at: Timestamp) -> Result<Arc<TableSnapshot>, SqlError>;
}

/// What functions may know of the session.
#[derive(Clone, Debug)]
pub struct SessionValues {
    /// Start of the transaction, microseconds since 1970: `now()`.
    pub transaction_micros: i64,
    /// Start of the statement, microseconds since 1970: `statement_timestamp()`.
    pub statement_micros: i64,
    /// For `clock_timestamp()`.
    pub clock: Arc<dyn Clock>,
    /// For `random()`.
    pub dice: Arc<dyn Dice>,
    /// `current_user`.
    pub user: String,
    /// `session_user`.
    pub session_user: String,
    /// `current_database()`.
    pub database: String,
    pub database_id: DatabaseId,
    /// The schemas named by `search_path`, `$user` resolved, without the implicit `pg_catalog`.
    pub search_path: Vec<String>,
    /// The session's time zone.
    pub time_zone: TimeZone,
    /// Every setting in the form `SHOW` prints, by lower-case name.
    pub settings: Arc<BTreeMap<String, String>>,
    /// For `set_config`.
    pub setting_sink: Arc<dyn SettingSink>,
    pub backend_pid: i32,
    /// What exists at the statement's catalog revision (a transaction's own changes included).
    pub catalog: Arc<CatalogSnapshot>,
    /// What `currval` and `lastval` know: last value by sequence, and the last sequence used.
    pub sequence_values: Arc<Mutex<SequenceValues>>,
    /// The timestamp of the session's last commit; 0 before the first: `elanus.last_commit_ts()`.
    pub last_commit: Arc<AtomicU64>,
}

/// The values that this session drew from sequences.
#[derive(Clone, Debug, Default)]
pub struct SequenceValues {
    pub last_by_sequence: HashMap<SequenceId, i64>,
    pub last: Option<SequenceId>,
}

/// Everything a running statement may look at.
#[derive(Clone, Debug)]
pub struct StatementContext {
    /// One snapshot per table that the plan reads as it is now.
    pub snapshots: HashMap<TableId, Arc<TableSnapshot>>,
    /// For tables that it reads as they were; none when the statement names no instant.
    pub past: Option<Arc<dyn PastTables>>,
    pub session: Arc<SessionValues>,
    pub sequences: Arc<dyn SequenceSource>,
    pub advisory: Arc<dyn AdvisoryLocks>,
    /// The rows of the statement's steps that have run, by their numbers.
    pub steps: BTreeMap<usize, Arc<Vec<RecordBatch>>>,
    pub cancel: CancelFlag,
    pub search: SearchSettings,
}

/// The session's settings for vector search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchSettings {
    /// `enable_indexscan`: off, every search compares all admitted rows.
    pub use_indexes: bool,
    /// `enable_seqscan`: off, an index is used even where comparing all rows is cheaper, and rows that no index
    /// holds (NULL vectors, under cosine zero vectors) are left out.
    pub scan_rows: bool,
    /// `hnsw.ef_search`.
    pub ef_search: usize,
    /// `ivfflat.probes`.
    pub probes: usize,
}

impl Default for SearchSettings {
    /// pgvector's defaults.
    fn default() -> Self {
        Self { use_indexes: true, scan_rows: true, ef_search: 40, probes: 1 }
    }
}

impl StatementContext {
    /// The snapshot of a table of the plan, as it is now or as it was at an instant.
    ///
    /// # Errors
    /// `stale_plan` when the table is no longer what it was planned as, those of `PastTables`, XX000 when the
    /// statement was started without a snapshot of it.
    pub fn snapshot(
        &self,
        table: &Arc<TableMeta>,
        at: Option<Timestamp>,
    ) -> Result<Arc<TableSnapshot>, DataFusionError> {
        let missing = || internal(format!("no snapshot of table {}", table.id));
        if let Some(at) = at {
            return self.past.as_ref().ok_or_else(missing)?.snapshot(table, at).map_err(raise);
        }
        let snapshot = self.snapshots.get(&table.id).ok_or_else(missing)?;
        if snapshot.table.schema_version == table.schema_version {
            Ok(Arc::clone(snapshot))
        } else {
            Err(raise(stale_plan()))
        }
    }

    /// The same when the plan is made, which for a template is without snapshots.
    pub(crate) fn planned_snapshot(
        &self,
        table: &Arc<TableMeta>,
        at: Option<Timestamp>,
    ) -> Result<Option<Arc<TableSnapshot>>, DataFusionError> {
        let known = if at.is_some() { self.past.is_some() } else { self.snapshots.contains_key(&table.id) };
        if known { self.snapshot(table, at).map(Some) } else { Ok(None) }
    }
}

const STALE_PLAN: &str = "could not serialize access due to a concurrent change of the schema";

/// A table changed after the statement was planned; nothing has run, and planning again helps.
#[must_use]
pub fn stale_plan() -> SqlError {
    SqlError::new(ErrorKind::SerializationFailure, STALE_PLAN)
}

/// Whether an error is `stale_plan`.
#[must_use]
pub fn is_stale_plan(error: &SqlError) -> bool {
    error.kind == ErrorKind::SerializationFailure && error.message == STALE_PLAN
}

/// The carrier of a `StatementContext` inside DataFusion's configuration.
#[derive(Clone, Debug)]
pub struct StatementExtension(pub Arc<StatementContext>);

impl ConfigExtension for StatementExtension {
    const PREFIX: &'static str = "elanus_statement";
}

impl ExtensionOptions for StatementExtension {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> DfResult<()> {
        Err(internal(format!("statement context has no option {key}")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// The statement that a running operator belongs to.
///
/// # Errors
/// XX000 when a plan runs outside the engine.
pub fn of_task(task: &TaskContext) -> Result<Arc<StatementContext>, DataFusionError> {
    let context = task.session_config().get_extension::<StatementContext>();
    context.ok_or_else(|| internal("operator needs a statement context"))
}

/// The statement that a configuration belongs to.
///
/// # Errors
/// XX000 when a plan runs outside `Engine::execute`.
pub fn of_config(options: &ConfigOptions) -> Result<&Arc<StatementContext>, DataFusionError> {
    options
        .extensions
        .get::<StatementExtension>()
        .map(|extension| &extension.0)
        .ok_or_else(|| internal("function needs a statement context"))
}
