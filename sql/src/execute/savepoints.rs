//! SAVEPOINT, ROLLBACK TO and RELEASE: what a transaction has buffered, remembered as a value.
//!
//! Invariant: nothing of a block is in the log before its COMMIT, so going back is taking the remembered value.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::catalog::{CatalogChange, CatalogSnapshot};
use proto::{ErrorKind, Oid, SequenceId, SqlError, TableId, Timestamp};
use segments::TableOverlay;

use super::SessionExecutor;
use super::transaction::{CatalogStamp, Extent, Transaction};
use crate::session::Executor as _;
use crate::settings::SettingsMark;

/// One savepoint.
#[derive(Clone, Debug)]
pub(crate) struct Savepoint {
    name: String,
    writes: BTreeMap<TableId, TableOverlay>,
    catalog_changes: Vec<CatalogChange>,
    catalog: Option<Arc<CatalogSnapshot>>,
    stamp: Option<CatalogStamp>,
    new_indexes: Vec<(TableId, Oid)>,
    unchanged: Vec<(TableId, Timestamp)>,
    sequences: BTreeMap<SequenceId, i64>,
    settings: SettingsMark,
    /// The locks taken before it.
    pub(super) locks: usize,
}

impl SessionExecutor {
    fn block(&mut self, command: &str) -> Result<&mut Transaction, SqlError> {
        match &mut self.transaction {
            Some(transaction) if transaction.extent == Extent::Block => Ok(transaction),
            _ => Err(SqlError::new(
                ErrorKind::NoActiveSqlTransaction,
                format!("{command} can only be used in transaction blocks"),
            )),
        }
    }

    pub(super) fn savepoint(&mut self, name: &str) -> Result<&'static str, SqlError> {
        let settings = self.settings.mark();
        let transaction = self.block("SAVEPOINT")?;
        let savepoint = Savepoint {
            name: name.to_owned(),
            writes: transaction.writes.clone(),
            catalog_changes: transaction.catalog_changes.clone(),
            catalog: transaction.catalog.clone(),
            stamp: transaction.stamp,
            new_indexes: transaction.new_indexes.clone(),
            unchanged: transaction.unchanged.clone(),
            sequences: transaction.sequences.lock().clone(),
            settings,
            locks: transaction.locks.as_ref().map_or(0, |locks| locks.mark()),
        };
        transaction.savepoints.push(savepoint);
        Ok("SAVEPOINT")
    }

    pub(super) fn release(&mut self, name: &str) -> Result<&'static str, SqlError> {
        let transaction = self.block("RELEASE SAVEPOINT")?;
        let position = position(transaction, name)?;
        transaction.savepoints.truncate(position);
        Ok("RELEASE")
    }

    pub(super) fn roll_back_to(&mut self, name: &str) -> Result<&'static str, SqlError> {
        let transaction = self.block("ROLLBACK TO SAVEPOINT")?;
        let position = position(transaction, name)?;
        // The savepoint itself stays, those behind it go.
        transaction.savepoints.truncate(position + 1);
        let savepoint = transaction.savepoints[position].clone();
        transaction.writes = savepoint.writes;
        transaction.catalog_changes = savepoint.catalog_changes;
        transaction.catalog = savepoint.catalog;
        transaction.stamp = savepoint.stamp;
        transaction.new_indexes = savepoint.new_indexes;
        transaction.unchanged = savepoint.unchanged;
        // Values drawn since stay drawn, as for any sequence; sequences made since are gone.
        transaction.sequences.lock().retain(|id, _| savepoint.sequences.contains_key(id));
        transaction.failed = false;
        if let Some(locks) = &transaction.locks {
            locks.release_since(savepoint.locks);
        }
        self.settings_mut().restore(savepoint.settings);
        Ok("ROLLBACK")
    }
}

fn position(transaction: &Transaction, name: &str) -> Result<usize, SqlError> {
    transaction.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
        SqlError::new(
            ErrorKind::InvalidSavepointSpecification,
            format!("savepoint \"{name}\" does not exist"),
        )
    })
}
