//! Advisory locks for expressions: those of the session outlive transactions and are counted, those of the transaction
//! go with it.

use std::sync::Arc;

use async_trait::async_trait;
use cluster::locks::{LockMode, LockOwner, LockTarget};
use exec::statement::{AdvisoryKey, AdvisoryLocks};
use proto::{DatabaseId, SqlError};

use super::SessionExecutor;
use super::locking::Patience;
use super::transaction::Transaction;

/// The two holders of a session's advisory locks.
#[derive(Debug)]
pub(super) struct SessionAdvisoryLocks {
    database: DatabaseId,
    session: Arc<LockOwner>,
    transaction: Arc<LockOwner>,
    patience: Patience,
}

impl SessionAdvisoryLocks {
    const fn target(&self, key: AdvisoryKey) -> LockTarget {
        let AdvisoryKey { high, low, pair } = key;
        LockTarget::Advisory { database: self.database, high, low, pair }
    }

    const fn owner(&self, of_transaction: bool) -> &Arc<LockOwner> {
        if of_transaction { &self.transaction } else { &self.session }
    }

    /// A session's lock is taken once more.
    fn taken(&self, key: AdvisoryKey, shared: bool, of_transaction: bool) {
        if !of_transaction {
            self.session.count(self.target(key), mode(shared));
        }
    }
}

const fn mode(shared: bool) -> LockMode {
    if shared { LockMode::Share } else { LockMode::Exclusive }
}

#[async_trait]
impl AdvisoryLocks for SessionAdvisoryLocks {
    async fn take(&self, key: AdvisoryKey, shared: bool, of_transaction: bool) -> Result<(), SqlError> {
        let wanted = [(self.target(key), mode(shared).into())];
        self.patience.take(self.owner(of_transaction), &wanted).await?;
        self.taken(key, shared, of_transaction);
        Ok(())
    }

    fn try_take(&self, key: AdvisoryKey, shared: bool, of_transaction: bool) -> Result<bool, SqlError> {
        let taken = self.owner(of_transaction).try_take(self.target(key), mode(shared).into());
        if taken {
            self.taken(key, shared, of_transaction);
        }
        Ok(taken)
    }

    fn release(&self, key: AdvisoryKey, shared: bool) -> bool {
        self.session.release(self.target(key), mode(shared))
    }

    fn release_all(&self) {
        self.session.release_all();
    }
}

impl SessionExecutor {
    /// The advisory locks that a statement of a transaction may take.
    pub(super) fn advisory_locks(&self, transaction: &mut Transaction) -> SessionAdvisoryLocks {
        SessionAdvisoryLocks {
            database: self.database,
            session: Arc::clone(&self.session_locks),
            transaction: Arc::clone(self.lock_owner(transaction)),
            patience: self.patience(),
        }
    }
}
