//! Beginning and ending transactions.
//!
//! Invariant: a transaction leaves the session exactly once: committed, rolled back, or of unknown fate (08007).

use cluster::CommitRequest;
use cluster::Instant;
use planner::plan::{self, TransactionCommand, TransactionModes};
use planner::syntax::WrittenInstant;
use proto::record::TableChange;
use proto::{ErrorKind, SqlError, Timestamp};

use super::SessionExecutor;
use super::transaction::{Extent, Isolation, Transaction};
use super::write::WriteFailure;
use crate::session::{Notice, Outcome};

impl SessionExecutor {
    /// A transaction that has done nothing yet, under the session's defaults.
    pub(super) fn new_transaction(&self, extent: Extent) -> Transaction {
        let isolation = match self.settings.get("default_transaction_isolation") {
            Some("repeatable read") => Isolation::RepeatableRead,
            _ => Isolation::ReadCommitted,
        };
        let mut transaction =
            Transaction::new(self.shared.node.draw_txn(), extent, isolation, self.wall_micros());
        transaction.read_only = self.settings.is_on("default_transaction_read_only");
        transaction
    }

    /// Wall clock in microseconds since 1970.
    pub(super) fn wall_micros(&self) -> i64 {
        i64::try_from(self.shared.clock.now_millis()).unwrap_or(i64::MAX / 1000) * 1000
    }

    /// The running transaction, taken out of the session, or a new one for a single statement.
    pub(super) fn take_transaction(&mut self) -> Transaction {
        self.transaction.take().unwrap_or_else(|| self.new_transaction(Extent::Statement))
    }

    /// BEGIN, COMMIT, ROLLBACK and SET TRANSACTION.
    pub(super) async fn transaction_command(
        &mut self,
        command: &TransactionCommand,
    ) -> Result<Outcome<planner::syntax::Parsed>, SqlError> {
        let tag = match command {
            TransactionCommand::Begin { modes, at, start } => {
                self.begin_block(modes, at.as_ref()).await?;
                if *start { "START TRANSACTION" } else { "BEGIN" }
            }
            TransactionCommand::Commit { chain } => self.commit_block(*chain).await?,
            TransactionCommand::Rollback { chain } => self.roll_back_block(*chain).await?,
            TransactionCommand::Savepoint { name } => self.savepoint(name)?,
            TransactionCommand::Release { name } => self.release(name)?,
            TransactionCommand::RollbackTo { name } => self.roll_back_to(name)?,
            TransactionCommand::SetModes { modes, at } => {
                self.set_modes(modes, at.as_ref()).await?;
                "SET"
            }
        };
        Ok(Outcome::Done { tag: tag.to_owned() })
    }

    async fn begin_block(
        &mut self,
        modes: &TransactionModes,
        at: Option<&WrittenInstant>,
    ) -> Result<(), SqlError> {
        let instant = self.transaction_instant(modes, at).await?;
        match &mut self.transaction {
            Some(transaction) if transaction.extent == Extent::Block => {
                self.notices.push(Notice::warning("25001", "there is already a transaction in progress"));
            }
            Some(transaction) => transaction.extent = Extent::Block,
            None => {
                self.settings.begin();
                self.transaction = Some(self.new_transaction(Extent::Block));
            }
        }
        self.apply_modes(modes)?;
        self.fix_instant(instant)
    }

    /// The past instant that a transaction shall read at.
    async fn transaction_instant(
        &mut self,
        modes: &TransactionModes,
        at: Option<&WrittenInstant>,
    ) -> Result<Option<Instant>, SqlError> {
        let Some(at) = at else { return Ok(None) };
        if modes.read_only == Some(false) {
            return Err(SqlError::new(
                ErrorKind::ReadOnlySqlTransaction,
                "a transaction AS OF SYSTEM TIME cannot be READ WRITE",
            ));
        }
        self.resolve(at, Some(&[])).await
    }

    /// Makes the transaction read at a past instant, and change nothing.
    fn fix_instant(&mut self, instant: Option<Instant>) -> Result<(), SqlError> {
        let (Some(instant), Some(transaction)) = (instant, &mut self.transaction) else { return Ok(()) };
        if transaction.last_point.is_some() || transaction.has_writes() {
            return Err(SqlError::new(
                ErrorKind::ActiveSqlTransaction,
                "AS OF SYSTEM TIME must be given before any query",
            ));
        }
        transaction.read_only = true;
        transaction.instant = Some(instant);
        Ok(())
    }

    async fn set_modes(
        &mut self,
        modes: &TransactionModes,
        at: Option<&WrittenInstant>,
    ) -> Result<(), SqlError> {
        if self.transaction.as_ref().is_none_or(|transaction| transaction.extent != Extent::Block) {
            self.notices
                .push(Notice::warning("25P01", "SET TRANSACTION can only be used in transaction blocks"));
            return Ok(());
        }
        let instant = self.transaction_instant(modes, at).await?;
        self.apply_modes(modes)?;
        self.fix_instant(instant)
    }

    fn apply_modes(&mut self, modes: &TransactionModes) -> Result<(), SqlError> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        if let Some(isolation) = modes.isolation {
            let wanted = match isolation {
                plan::Isolation::ReadUncommitted | plan::Isolation::ReadCommitted => Isolation::ReadCommitted,
                plan::Isolation::RepeatableRead => Isolation::RepeatableRead,
                plan::Isolation::Serializable => {
                    return Err(SqlError::unsupported("transaction isolation level SERIALIZABLE"));
                }
            };
            if transaction.last_point.is_some() && wanted != transaction.isolation {
                return Err(SqlError::new(
                    ErrorKind::ActiveSqlTransaction,
                    "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                ));
            }
            transaction.isolation = wanted;
        }
        if let Some(read_only) = modes.read_only {
            if !read_only && transaction.instant.is_some() {
                return Err(SqlError::new(
                    ErrorKind::ActiveSqlTransaction,
                    "a transaction AS OF SYSTEM TIME cannot be made READ WRITE",
                ));
            }
            if !read_only && transaction.read_only && transaction.last_point.is_some() {
                return Err(SqlError::new(
                    ErrorKind::ActiveSqlTransaction,
                    "transaction read-write mode must be set before any query",
                ));
            }
            transaction.read_only = read_only;
        }
        Ok(())
    }

    async fn commit_block(&mut self, chain: bool) -> Result<&'static str, SqlError> {
        let Some(transaction) = self.transaction.take() else {
            self.notices.push(Notice::warning("25P01", "there is no transaction in progress"));
            return Ok("COMMIT");
        };
        if transaction.extent == Extent::Implicit {
            self.notices.push(Notice::warning("25P01", "there is no transaction in progress"));
        }
        let isolation = transaction.isolation;
        let tag = if transaction.failed {
            self.settings.rollback();
            transaction.release_locks();
            "ROLLBACK"
        } else {
            match self.commit_transaction(transaction).await {
                Ok(_) => self.settings.commit(),
                Err(failure) => {
                    self.settings.rollback();
                    return Err(failure.into_error());
                }
            }
            "COMMIT"
        };
        self.chain(chain, isolation);
        Ok(tag)
    }

    async fn roll_back_block(&mut self, chain: bool) -> Result<&'static str, SqlError> {
        let isolation =
            self.transaction.as_ref().map_or(Isolation::ReadCommitted, |transaction| transaction.isolation);
        if self.transaction.as_ref().is_none_or(|transaction| transaction.extent != Extent::Block) {
            self.notices.push(Notice::warning("25P01", "there is no transaction in progress"));
        }
        self.roll_back().await;
        self.chain(chain, isolation);
        Ok("ROLLBACK")
    }

    fn chain(&mut self, chain: bool, isolation: Isolation) {
        if chain {
            let mut next = self.new_transaction(Extent::Block);
            next.isolation = isolation;
            self.settings.begin();
            self.transaction = Some(next);
        }
    }

    /// Ends whatever transaction there is without a trace.
    pub(super) async fn roll_back(&mut self) {
        self.settings.rollback();
        if let Some(transaction) = self.transaction.take() {
            transaction.release_locks();
        }
    }

    /// Ends the implicit transaction of a text or pipeline; a block stays.
    pub(super) async fn end_implicit_transaction(&mut self, commit: bool) -> Result<(), SqlError> {
        if self.transaction.as_ref().is_none_or(|transaction| transaction.extent == Extent::Block) {
            return Ok(());
        }
        let Some(transaction) = self.transaction.take() else { return Ok(()) };
        if !commit || transaction.failed {
            self.settings.rollback();
            transaction.release_locks();
            return Ok(());
        }
        match self.commit_transaction(transaction).await {
            Ok(_) => {
                self.settings.commit();
                Ok(())
            }
            Err(failure) => {
                self.settings.rollback();
                Err(failure.into_error())
            }
        }
    }

    /// Makes the transaction durable and visible; the timestamp, or none when there was nothing to write.
    pub(super) async fn commit_transaction(
        &self,
        mut transaction: Transaction,
    ) -> Result<Option<Timestamp>, WriteFailure> {
        if !transaction.has_writes() {
            transaction.release_locks();
            return Ok(None);
        }
        let changes = match transaction.take_changes() {
            Ok(changes) => changes,
            Err(error) => {
                transaction.release_locks();
                return Err(WriteFailure::Statement(error));
            }
        };
        let outcome = self.append(&mut transaction, changes).await;
        transaction.release_locks();
        if outcome.is_ok() {
            self.build_new_indexes(&transaction).await;
        }
        outcome.map(Some)
    }

    async fn append(
        &self,
        transaction: &mut Transaction,
        changes: Vec<TableChange>,
    ) -> Result<Timestamp, WriteFailure> {
        let point = transaction.last_point;
        let read_ts = point.map_or(Timestamp::MAX, |point| point.read_ts);
        let request = CommitRequest {
            unchanged: std::mem::take(&mut transaction.unchanged),
            references_since: transaction.references_since.unwrap_or(Timestamp::ZERO),
            keys_since: transaction.keys_since.unwrap_or(Timestamp::ZERO),
            staged: std::mem::take(&mut transaction.staged),
            changes,
            catalog: transaction.take_catalog_changes(),
            ..CommitRequest::new(self.database, transaction.id, read_ts)
        };
        let outcome = self.shared.node.commit(request).await.map_err(WriteFailure::from_node)?;
        self.last_commit.store(outcome.ts.0, std::sync::atomic::Ordering::Relaxed);
        Ok(outcome.ts)
    }
}
