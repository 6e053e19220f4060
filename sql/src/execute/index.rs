//! CREATE INDEX and DROP INDEX of vector indexes.
//!
//! CREATE INDEX commits the catalog entry, then waits until every row that existed is indexed; a failure or a cancel takes
//! the entry back. Inside a block the entry commits with the block and COMMIT waits; a build that fails then is
//! reported by `elanus.index_status`, because the commit stands.

use planner::plan::{CreateIndex, DdlCommand};
use proto::catalog::{CatalogChange, IndexMeta, IndexMethod};
use proto::{ErrorKind, Oid, SqlError, TableId};

use super::transaction::{Extent, Transaction};
use super::write::WriteFailure;
use super::{SessionExecutor, node_error};
use crate::session::Notice;

impl SessionExecutor {
    /// The catalog entry of a new index; it is built once the entry is committed.
    pub(super) async fn create_index(
        &mut self,
        transaction: &mut Transaction,
        create: &CreateIndex,
    ) -> Result<Vec<CatalogChange>, SqlError> {
        if create.concurrently && transaction.extent == Extent::Block {
            return Err(SqlError::new(
                ErrorKind::ActiveSqlTransaction,
                "CREATE INDEX CONCURRENTLY cannot run inside a transaction block",
            ));
        }
        if create.exists {
            self.notices.push(Notice {
                code: "42P07",
                ..Notice::notice(format!("relation \"{}\" already exists, skipping", create.name))
            });
            return Ok(Vec::new());
        }
        let oid = self.shared.node.allocate_oids(1).await.map_err(|error| node_error(&error))?;
        let table = create.table.id;
        let index = IndexMeta {
            oid,
            name: create.name.clone(),
            column: create.column,
            metric: create.metric,
            method: create.method,
            written_options: create.written_options.clone(),
        };
        transaction.new_indexes.push((table, oid));
        Ok(vec![CatalogChange::PutIndex(table, index)])
    }

    /// Builds what a committed statement of its own created, or takes the entries back.
    pub(super) async fn finish_indexes(
        &mut self,
        made: &[(TableId, Oid)],
        command: &DdlCommand,
    ) -> Result<(), SqlError> {
        for &(table, oid) in made {
            if let Err(error) = self.index_built(table, oid).await {
                // A table that is gone has taken its indexes along.
                if self.catalog().tables.contains_key(&table) {
                    let mut transaction = self.new_transaction(Extent::Statement);
                    transaction
                        .change_catalog(
                            &self.shared.node.catalog(),
                            vec![CatalogChange::DropIndex(table, oid)],
                        )
                        .map_err(|error| super::storage_error(&error))?;
                    self.commit_transaction(transaction).await.map_err(WriteFailure::into_error)?;
                }
                return Err(error);
            }
            if let DdlCommand::CreateIndex(create) = command {
                self.warn_of_little_data(oid, create);
            }
        }
        Ok(())
    }

    /// Returns when every row that exists now is indexed.
    async fn index_built(&self, table: TableId, oid: Oid) -> Result<(), SqlError> {
        tokio::select! {
            built = self.shared.node.build_index(table, oid) => built.map_err(|error| node_error(&error)),
            reason = self.cancel.cancelled() => Err(reason.error()),
        }
    }

    /// Builds what a committed transaction created.
    pub(super) async fn build_new_indexes(&self, transaction: &Transaction) {
        for (table, oid) in &transaction.new_indexes {
            if let Err(error) = self.index_built(*table, *oid).await {
                tracing::warn!(index = %oid, %error, "an index was created and could not be built yet");
            }
        }
    }

    /// pgvector's notice about lists that were made from too few rows.
    fn warn_of_little_data(&mut self, oid: Oid, create: &CreateIndex) {
        let IndexMethod::IvfFlat { lists } = create.method else { return };
        let status = self.shared.node.index_status().into_iter().find(|status| status.index == oid);
        if status.is_none_or(|status| status.indexed_rows < u64::from(lists)) {
            self.notices.push(Notice {
                detail: Some("This will cause low recall.".to_owned()),
                hint: Some("Drop the index until the table has more data.".to_owned()),
                ..Notice::notice("ivfflat index created with little data")
            });
        }
    }
}
