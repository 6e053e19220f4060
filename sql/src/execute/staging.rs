//! Large write sets: new rows of a transaction that take more memory than `elanus.write_work_mem` go to files of their
//! own, which the commit makes part of the table.
//!
//! Invariant: only rows whose keys were looked up go to files; the commit looks only at what came since.

use proto::{SqlError, TableId};
use segments::TableOverlay;

use super::transaction::Transaction;
use super::{SessionExecutor, node_error};

impl SessionExecutor {
    /// Bytes that new rows of one table may take in a transaction's memory.
    pub(super) fn write_memory_bytes(&self) -> usize {
        let kilobytes = self.settings.integer("elanus.write_work_mem");
        usize::try_from(kilobytes).unwrap_or(0).saturating_mul(1024)
    }

    /// Puts a table's new rows in files when they take too much memory; true when it did.
    ///
    /// # Errors
    /// When the object store cannot be written.
    pub(super) async fn stage_if_large(
        &self,
        transaction: &mut Transaction,
        table: TableId,
    ) -> Result<bool, SqlError> {
        let limit = self.write_memory_bytes();
        let is_large = |overlay: &&mut TableOverlay| overlay.growing().memory_bytes() >= limit;
        let Some(overlay) = transaction.writes.get_mut(&table).filter(is_large) else { return Ok(false) };
        let staged = self.shared.node.stage(self.database, overlay.growing()).await;
        let staged = staged.map_err(|error| node_error(&error))?;
        overlay.stage(std::sync::Arc::clone(staged.segment()));
        transaction.staged.push(staged);
        Ok(true)
    }

    /// The same for all tables, behind a statement that has checked its keys.
    ///
    /// # Errors
    /// As `stage_if_large`; 53200 when what is left takes more memory than there is.
    pub(super) async fn stage_large(&self, transaction: &mut Transaction) -> Result<(), SqlError> {
        let tables: Vec<TableId> = transaction.writes.keys().copied().collect();
        for table in tables {
            self.stage_if_large(transaction, table).await?;
        }
        let held = transaction.writes.values().map(TableOverlay::memory_bytes).sum();
        self.shared.engine.check_memory(held)
    }
}
