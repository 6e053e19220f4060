//! Compaction and collection as a node's callers see them.

use std::collections::BTreeMap;

use proto::TableId;
use tokio::sync::oneshot;

use super::Node;
use crate::collector::GarbageInfo;
use crate::compactor::{Compaction, CompactionGoal};
use crate::error::{Error, Result};

impl Node {
    /// Puts the rows a table has now into files and merges and purges its segments. Dropping the future ends it:
    /// nothing is lost then, what is merged stays merged.
    ///
    /// # Errors
    /// When the table is gone, an object could not be written or an input is damaged; the inputs stay.
    pub async fn compact(&self, table: TableId, goal: CompactionGoal) -> Result<()> {
        let catalog = self.catalog();
        let meta = catalog.tables.get(&table).ok_or(Error::UndefinedTable(table))?;
        let runtime = self.channels.read().get(&meta.channel).cloned().ok_or(Error::Stopped)?;
        runtime.flusher.flush_table(table).await?;
        runtime.compactor.compact(table, goal).await
    }

    /// Puts the rows a table has now into files.
    ///
    /// # Errors
    /// When the table is gone or an object could not be written; nothing is lost then, the log still has it.
    pub async fn flush(&self, table: TableId) -> Result<()> {
        let catalog = self.catalog();
        let meta = catalog.tables.get(&table).ok_or(Error::UndefinedTable(table))?;
        let runtime = self.channels.read().get(&meta.channel).cloned().ok_or(Error::Stopped)?;
        runtime.flusher.flush_table(table).await
    }

    /// The merges that run and the last that ended.
    #[must_use]
    pub fn compactions(&self) -> Vec<Compaction> {
        let channels = self.channels.read();
        channels.values().flat_map(|runtime| runtime.compactor.all()).collect()
    }

    /// What waits to be deleted from the object store, and what was, by table.
    #[must_use]
    pub fn garbage(&self) -> BTreeMap<TableId, GarbageInfo> {
        self.parts.garbage.infos()
    }

    /// Looks through the whole store for objects that nothing names and deletes those whose time has come.
    ///
    /// # Errors
    /// When the store cannot be listed, a manifest cannot be read or an object cannot be deleted.
    pub async fn collect(&self) -> Result<()> {
        self.forget_dropped().await?;
        let (reply, answer) = oneshot::channel();
        self.collections.send(reply).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}
