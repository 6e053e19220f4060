//! Rows that a transaction puts in files before its commit.

use std::sync::Arc;

use proto::DatabaseId;
use segments::flush::{store_objects, write_segment};
use segments::{DeleteSet, GrowingRows, SealedSegment};

use super::Node;
use crate::error::{Error, Result};
use crate::staging::{StagedObjects, StagedSegment};
use crate::tasks::blocking_async;

impl Node {
    /// Writes rows that are not committed to a segment of their own. They are durable when it returns, and gone once
    /// the last clone of what it returns is dropped without a commit that names them.
    ///
    /// # Errors
    /// When the object store cannot be written.
    pub async fn stage(&self, database: DatabaseId, rows: &GrowingRows) -> Result<StagedSegment> {
        let runtime = self.runtime(database)?;
        let id = self.parts.catalog.allocate_segments(1).await?;
        let writer = self.parts.writers.begin(runtime.owner.epoch());
        let (epoch, n) = (writer.epoch, writer.n);
        let objects = Arc::new(StagedObjects::new(writer, &self.parts.garbage));
        let (rows, store) = (rows.renamed(id), Arc::clone(&self.parts.store));
        let table = Arc::clone(rows.table());
        let files = blocking_async(async move {
            let (files, objects) = write_segment(&rows, &DeleteSet::new(), epoch, n)?;
            store_objects(store.as_ref(), &objects).await?;
            Ok::<_, Error>(files)
        })
        .await??;
        (self.parts.settings.release_memory)();
        let segment = SealedSegment::open(self.parts.store.as_ref(), table, files).await?;
        Ok(StagedSegment::new(segment, objects))
    }
}
