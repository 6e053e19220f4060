//! The lock table of a database, and whether what a lock protects is still there.

use std::sync::Arc;

use proto::record::RowRef;
use proto::{ChannelId, DatabaseId, TableId};

use super::Node;
use crate::error::Result;
use crate::locks::Locks;

impl Node {
    /// The lock table of a database.
    ///
    /// # Errors
    /// When the database does not exist.
    pub fn locks(&self, database: DatabaseId) -> Result<Arc<Locks>> {
        Ok(Arc::clone(&self.runtime(database)?.locks))
    }

    /// The first of these rows that has ended as of the last acknowledged commit.
    ///
    /// # Errors
    /// When the database does not exist.
    pub fn first_ended<T>(
        &self,
        database: DatabaseId,
        table: TableId,
        rows: impl IntoIterator<Item = (RowRef, T)>,
    ) -> Result<Option<(RowRef, T)>> {
        let state = self.runtime(database)?.owner.published.state();
        let table = state.tables.get(&table);
        Ok(rows.into_iter().find(|(row, _)| {
            let found = table.and_then(|table| {
                let (segment, ordinal) = table.locate(*row)?;
                Some((table.segment(segment)?, ordinal))
            });
            found.is_none_or(|(segment, ordinal)| segment.state.deletes.delete_ts(ordinal).is_some())
        }))
    }

    /// The database whose home a channel is.
    pub(super) fn database_of(&self, channel: ChannelId) -> DatabaseId {
        let catalog = self.catalog();
        let home = catalog.databases.values().find(|database| database.home_channel == channel);
        home.map_or(DatabaseId(0), |database| database.id)
    }
}
