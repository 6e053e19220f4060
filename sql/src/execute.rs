//! Execution: what a session does with its statements, between the protocol loop and the storage.
//!
//! A statement is parsed and planned by `planner`, read by `exec`, and written by `cluster::Node`; this
//! module holds what ties them together: the session's transaction, its plan cache, and the retry of a
//! statement that met a concurrent change.
//!
//! What it is not: no protocol (session), no plan rules (planner), no storage.
//!
//! Invariants: every statement runs at one read point over all its tables; nothing is acknowledged before
//! `Node::commit` returned; an error leaves nothing of an autocommit statement behind.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use cluster::Node;
use cluster::locks::{LockOwner, Locks};
use exec::Engine;
use parking_lot::Mutex;
use planner::syntax::Parsed;
use proto::time::{Clock, Dice};
use proto::{ColumnType, DatabaseId, ErrorKind, SqlError};

use crate::copy::place::Places;
use crate::copy::progress::CopyRegistry;
use crate::session::{Backend, ConnectRequest, Executor, Notice, Outcome, Parameter, TransactionStatus};
use crate::settings::SessionSettings;

mod advisory;
mod commands;
mod conflict;
mod connections;
mod consistency;
mod context;
mod copy;
mod create_as;
mod cursors;
mod ddl;
mod display;
mod duplicates;
mod errors;
mod index;
mod insert;
mod instants;
mod keys;
mod lock_table;
mod locking;
mod maintenance;
mod names;
mod prepare;
mod query;
mod references;
mod referential;
mod rows;
mod savepoints;
mod sequences;
mod setting_changes;
mod snapshots;
mod staging;
mod steps;
mod system;
mod template;
mod transaction;
mod transactions;
mod update;
mod write;

use connections::Connection;
pub use connections::Connections;
use consistency::{Hinted, Insisted};
use context::SettingsCache;
use copy::CopyRun;
use cursors::Cursors;
pub(crate) use errors::{node_error, rows_error, storage_error};
use instants::Moments;
use prepare::{PlanCache, PreparedStatement};
use setting_changes::SettingChanges;
use transaction::Transaction;

/// The parts every session shares.
#[derive(Debug)]
pub struct Shared {
    pub node: Arc<Node>,
    pub engine: Engine,
    pub clock: Arc<dyn Clock>,
    pub dice: Arc<dyn Dice>,
    /// Sessions connected now, for `pg_stat_activity`-like views and metrics.
    pub sessions: Arc<crate::session::CancelRegistry>,
    pub connections: Arc<Connections>,
    /// Where COPY reads and writes besides the client's connection.
    pub places: Places,
    /// The COPYs that run now.
    pub copies: Arc<CopyRegistry>,
    /// Opens an object store by a folder's name or `s3://…`, for backups.
    pub open_store: fn(&str) -> Result<Arc<dyn object_store::ObjectStore>, SqlError>,
}

/// Makes sessions on the process's node.
#[derive(Clone, Debug)]
pub struct NodeBackend {
    shared: Arc<Shared>,
}

impl NodeBackend {
    #[must_use]
    pub const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

/// The only role until CREATE ROLE exists.
pub const SUPERUSER: &str = "elanus";

#[async_trait]
impl Backend for NodeBackend {
    type Executor = SessionExecutor;

    async fn connect(&self, request: ConnectRequest) -> Result<SessionExecutor, SqlError> {
        if request.user != SUPERUSER {
            return Err(SqlError::new(
                ErrorKind::InvalidAuthorizationSpecification,
                format!("role \"{}\" does not exist", request.user),
            ));
        }
        let catalog = self.shared.node.catalog();
        let database = catalog.database(&request.database).ok_or_else(|| {
            SqlError::new(
                ErrorKind::InvalidCatalogName,
                format!("database \"{}\" does not exist", request.database),
            )
        })?;
        let connection = self.shared.connections.enter(database.id);
        let locks = self.shared.node.locks(database.id).map_err(|error| node_error(&error))?;
        let session_locks = Arc::new(locks.session(request.backend_pid));
        let mut settings = SessionSettings::new();
        settings.set_fixed("session_authorization", &request.user)?;
        settings.set_fixed("is_superuser", "on")?;
        let retention = self.shared.node.retention_millis().div_ceil(1000);
        settings.set_fixed("elanus.retention", &retention.to_string())?;
        for (name, value) in &request.settings {
            settings.set_start(name, value)?;
        }
        let setting_changes = Arc::new(SettingChanges::new(settings.clone()));
        Ok(SessionExecutor {
            shared: Arc::clone(&self.shared),
            database: database.id,
            database_name: request.database,
            user: request.user,
            backend_pid: request.backend_pid,
            settings,
            setting_changes,
            settings_cache: SettingsCache::default(),
            cancel: request.cancel,
            transaction: None,
            notices: Vec::new(),
            plans: PlanCache::default(),
            copy: None,
            cursors: Cursors::default(),
            moments: Moments::default(),
            hinted: Hinted::default(),
            insisted: Insisted::default(),
            last_commit: Arc::default(),
            _connection: connection,
            sequence_values: Arc::new(Mutex::default()),
            locks,
            session_locks,
        })
    }
}

/// One session.
#[derive(Debug)]
pub struct SessionExecutor {
    shared: Arc<Shared>,
    database: DatabaseId,
    database_name: String,
    user: String,
    backend_pid: i32,
    settings: SessionSettings,
    setting_changes: Arc<SettingChanges>,
    settings_cache: SettingsCache,
    cancel: crate::session::CancelFlag,
    /// The implicit transaction or the block; a statement outside both has none.
    transaction: Option<Transaction>,
    notices: Vec<Notice>,
    plans: PlanCache,
    copy: Option<CopyRun>,
    cursors: Cursors,
    /// The past instants of the running statement.
    moments: Moments,
    /// What the running statement says of its read.
    hinted: Hinted,
    /// What its read point took.
    insisted: Insisted,
    /// The timestamp of the session's last commit; 0 before the first.
    last_commit: Arc<AtomicU64>,
    _connection: Connection,
    sequence_values: Arc<Mutex<exec::statement::SequenceValues>>,
    locks: Arc<Locks>,
    /// What outlives transactions: advisory locks of the session.
    session_locks: Arc<LockOwner>,
}

#[async_trait]
impl Executor for SessionExecutor {
    type Statement = Parsed;
    type Prepared = PreparedStatement;

    fn parse(&mut self, text: &str) -> Result<Vec<Arc<Parsed>>, SqlError> {
        self.parse_cached(text)
    }

    async fn prepare(
        &mut self,
        statement: &Arc<Parsed>,
        parameter_types: &[Option<ColumnType>],
    ) -> Result<Arc<PreparedStatement>, SqlError> {
        self.moments = self.resolve_instants(&statement.statement, None).await?;
        let prepared = self.prepare_at_moments(statement, parameter_types).await;
        self.moments = Moments::default();
        prepared
    }

    async fn execute(
        &mut self,
        prepared: &Arc<PreparedStatement>,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome<Parsed>, SqlError> {
        self.hinted = Hinted::of(prepared.hints())?;
        self.moments = self.resolve_instants(prepared.statement(), Some(&parameters)).await?;
        let outcome = self.execute_statement(prepared, parameters).await;
        self.moments = Moments::default();
        outcome
    }

    fn cursor_columns(&self, name: &str) -> Option<Arc<[crate::session::ResultColumn]>> {
        self.open_cursor_columns(name)
    }

    async fn copy_rows(&mut self, batch: arrow::record_batch::RecordBatch) -> Result<(), SqlError> {
        self.copy_batch(batch).await
    }

    async fn copy_finish(&mut self) -> Result<u64, SqlError> {
        self.copy_end().await
    }

    fn failed_copy_row(&self) -> Option<u64> {
        self.refused_copy_row()
    }

    async fn copy_abort(&mut self) {
        self.copy_drop().await;
    }

    fn transaction_status(&self) -> TransactionStatus {
        match &self.transaction {
            Some(transaction) if transaction.extent == transaction::Extent::Block => {
                if transaction.failed {
                    TransactionStatus::Failed
                } else {
                    TransactionStatus::InTransaction
                }
            }
            _ => TransactionStatus::Idle,
        }
    }

    async fn begin_implicit(&mut self) -> Result<(), SqlError> {
        if self.transaction.is_none() {
            let transaction = self.new_transaction(transaction::Extent::Implicit);
            self.settings.begin();
            self.transaction = Some(transaction);
        }
        Ok(())
    }

    async fn end_implicit(&mut self, commit: bool) -> Result<(), SqlError> {
        self.end_implicit_transaction(commit).await
    }

    fn statement_done(&mut self) -> Result<(), SqlError> {
        if self.setting_changes.is_empty() {
            return Ok(());
        }
        self.setting_changes.apply(&mut self.settings)?;
        if self.transaction.is_none() {
            self.settings.commit();
        }
        Ok(())
    }

    fn statement_failed(&mut self, _error: &SqlError) {
        self.setting_changes.discard();
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
            transaction.release_failed_locks();
        } else {
            self.settings.rollback();
        }
    }

    fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    fn settings_mut(&mut self) -> &mut SessionSettings {
        &mut self.settings
    }

    fn now_micros(&self) -> i64 {
        self.transaction.as_ref().map_or_else(|| self.wall_micros(), |running| running.started_micros)
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    async fn close(&mut self) {
        self.copy_drop().await;
        self.roll_back().await;
        self.session_locks.release_all();
    }
}
