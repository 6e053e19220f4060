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

    /// Whether none of these rows has ended as of the last acknowledged commit.
    ///
    /// # Errors
    /// When the database does not exist.
    pub fn are_live(
        &self,
        database: DatabaseId,
        table: TableId,
        targets: impl IntoIterator<Item = RowRef>,
    ) -> Result<bool> {
        let state = self.runtime(database)?.owner.published.state();
        let rows = state.tables.get(&table);
        Ok(targets.into_iter().all(|target| {
            let found = rows.and_then(|rows| {
                let (segment, ordinal) = rows.locate(target)?;
                Some((rows.segment(segment)?, ordinal))
            });
            found.is_some_and(|(segment, ordinal)| segment.state.deletes.delete_ts(ordinal).is_none())
        }))
    }

    /// The database whose home a channel is.
    pub(super) fn database_of(&self, channel: ChannelId) -> DatabaseId {
        let catalog = self.catalog();
        let home = catalog.databases.values().find(|database| database.home_channel == channel);
        home.map_or(DatabaseId(0), |database| database.id)
    }
}
