//! LOCK TABLE.

use cluster::locks::{LockMode, LockTarget};
use planner::plan::{LockPlan, TableLockMode};
use planner::syntax::Parsed;
use proto::{ErrorKind, SqlError};

use super::SessionExecutor;
use super::transaction::{Extent, Transaction};
use crate::session::Outcome;

impl SessionExecutor {
    pub(super) async fn lock_table(&mut self, plan: &LockPlan) -> Result<Outcome<Parsed>, SqlError> {
        let mut transaction = self.take_transaction();
        if transaction.extent == Extent::Statement {
            return Err(SqlError::new(
                ErrorKind::NoActiveSqlTransaction,
                "LOCK TABLE can only be used in transaction blocks",
            ));
        }
        let locked = self.lock_named(&mut transaction, plan).await;
        self.keep(transaction);
        locked.map(|()| Outcome::Done { tag: "LOCK TABLE".to_owned() })
    }

    async fn lock_named(&self, transaction: &mut Transaction, plan: &LockPlan) -> Result<(), SqlError> {
        let mode = lock_mode(plan.mode);
        if !plan.nowait {
            return self.lock_tables(transaction, plan.tables.iter().map(|table| (table.id, mode))).await;
        }
        let owner = self.lock_owner(transaction);
        for table in &plan.tables {
            if !owner.try_take(LockTarget::Table(table.id), mode.into()) {
                return Err(SqlError::new(
                    ErrorKind::LockNotAvailable,
                    format!("could not obtain lock on relation \"{}\"", table.name),
                ));
            }
        }
        Ok(())
    }
}

const fn lock_mode(mode: TableLockMode) -> LockMode {
    match mode {
        TableLockMode::AccessShare => LockMode::AccessShare,
        TableLockMode::RowShare => LockMode::RowShare,
        TableLockMode::RowExclusive => LockMode::RowExclusive,
        TableLockMode::ShareUpdateExclusive => LockMode::ShareUpdateExclusive,
        TableLockMode::Share => LockMode::Share,
        TableLockMode::ShareRowExclusive => LockMode::ShareRowExclusive,
        TableLockMode::Exclusive => LockMode::Exclusive,
        TableLockMode::AccessExclusive => LockMode::AccessExclusive,
    }
}
