//! Named snapshots, and tables that come back.

use std::sync::Arc;

use planner::plan::SnapshotCommand;
use planner::syntax::{Parsed, WrittenInstant};
use proto::catalog::{CatalogChange, CatalogSnapshot, TableMeta};
use proto::{ErrorKind, SqlError, TableId, Timestamp};

use super::ddl::refuse_in_block;
use super::transaction::Transaction;
use super::{SessionExecutor, node_error};
use crate::session::{Notice, Outcome};

impl SessionExecutor {
    /// CREATE SNAPSHOT and DROP SNAPSHOT.
    pub(super) async fn snapshot_command(
        &mut self,
        command: &SnapshotCommand,
    ) -> Result<Outcome<Parsed>, SqlError> {
        let tag = match command {
            SnapshotCommand::Create { .. } => "CREATE SNAPSHOT",
            SnapshotCommand::Drop { .. } => "DROP SNAPSHOT",
        };
        let transaction = self.take_transaction();
        let refused = refuse_in_block(&transaction, tag);
        self.keep(transaction);
        refused?;
        match command {
            SnapshotCommand::Create { name, tables, at } => {
                self.create_snapshot(name, tables, at.as_ref()).await?;
            }
            SnapshotCommand::Drop { name, if_exists } => {
                let dropped = self.shared.node.drop_snapshot(self.database, name).await;
                match dropped.map_err(|error| node_error(&error)) {
                    Err(error) if *if_exists && error.kind == ErrorKind::UndefinedObject => {
                        let message = format!("snapshot \"{name}\" does not exist, skipping");
                        self.notices.push(Notice::notice(message));
                    }
                    dropped => dropped?,
                }
            }
        }
        Ok(Outcome::Done { tag: tag.to_owned() })
    }

    async fn create_snapshot(
        &mut self,
        name: &str,
        tables: &[(Option<String>, String)],
        at: Option<&WrittenInstant>,
    ) -> Result<(), SqlError> {
        let resolved = match at {
            Some(at) => self.resolve(at, Some(&[])).await?,
            None => None,
        };
        let node = Arc::clone(&self.shared.node);
        let instant = match resolved {
            Some(instant) => instant,
            None => {
                let newest = node.shown(self.database).map_err(|error| node_error(&error))?;
                let now = newest.max(Timestamp::from_millis(node.oracle_millis()));
                node.instant(self.database, now).await.map_err(|error| node_error(&error))?
            }
        };
        let mut only: Vec<TableId> = Vec::with_capacity(tables.len());
        for (schema, table) in tables {
            only.push(self.table_then(&instant.catalog, schema.as_deref(), table)?);
        }
        let only = (!only.is_empty()).then_some(only.as_slice());
        let created = node.create_snapshot(self.database, name, &instant, only).await;
        created.map_err(|error| node_error(&error))
    }

    /// The table of a name in a past catalog.
    fn table_then(
        &self,
        catalog: &CatalogSnapshot,
        schema: Option<&str>,
        name: &str,
    ) -> Result<TableId, SqlError> {
        let path = schema.map_or_else(|| self.search_path(), |schema| vec![schema.to_owned()]);
        let found = path.iter().find_map(|schema| catalog.table(self.database, schema, name));
        found.map(|table| table.id).ok_or_else(|| {
            SqlError::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))
        })
    }

    /// UNDROP TABLE: what makes the table exist again that was dropped last under a name.
    pub(super) fn undropped(
        &self,
        transaction: &Transaction,
        (schema, name): (Option<&str>, &str),
        new_name: Option<&str>,
    ) -> Result<Vec<CatalogChange>, SqlError> {
        // A block would not see the rows before its end.
        refuse_in_block(transaction, "UNDROP TABLE")?;
        let path = schema.map_or_else(|| self.search_path(), |schema| vec![schema.to_owned()]);
        let dropped = self.shared.node.dropped_tables(self.database);
        let is_meant = |table: &TableMeta, schema: &str| table.namespace == schema && table.name == name;
        let found =
            path.iter().find_map(|schema| dropped.iter().find(|known| is_meant(&known.table, schema)));
        let found = found.ok_or_else(|| {
            SqlError::new(ErrorKind::UndefinedTable, format!("dropped table \"{name}\" does not exist"))
                .with_hint("A dropped table is kept for as long as its retention says.")
        })?;
        let name = new_name.unwrap_or(name);
        let (catalog, table) = (self.catalog(), &found.table);
        let namespace = &table.namespace;
        if namespace != "public" && catalog.namespace(self.database, namespace).is_none() {
            return Err(SqlError::new(
                ErrorKind::InvalidSchemaName,
                format!("schema \"{namespace}\" does not exist"),
            ));
        }
        if catalog.relation_exists(self.database, namespace, name) {
            return Err(SqlError::new(
                ErrorKind::DuplicateTable,
                format!("relation \"{name}\" already exists"),
            )
            .with_hint("Give it another name: UNDROP TABLE ... AS ..."));
        }
        let restored = |change: &CatalogChange| match change {
            CatalogChange::PutTable(table) => CatalogChange::PutTable(Arc::new(TableMeta {
                name: name.to_owned(),
                schema_version: table.schema_version + 1,
                // Rows that they referred to may have gone meanwhile.
                foreign_keys: Vec::new(),
                ..TableMeta::clone(table)
            })),
            other => other.clone(),
        };
        Ok(found.restore.iter().map(restored).collect())
    }
}
