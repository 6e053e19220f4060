//! DDL: catalog changes with fresh OIDs, committed at once or with the block they belong to.

use std::sync::Arc;

use planner::plan::{CreateTable, DdlCommand};
use planner::syntax::Parsed;
use proto::catalog::{CatalogChange, Column, DatabaseMeta, PrimaryKey, SequenceMeta, TableMeta};
use proto::{ChannelId, ErrorKind, Oid, SequenceId, SqlError, TableId};

use super::transaction::Extent;
use super::write::WriteFailure;
use super::{SessionExecutor, node_error};
use crate::session::{Notice, Outcome};

/// OIDs of a table besides those of its sequences: table, row type, key constraint, key index.
const TABLE_OIDS: u32 = 4;

impl SessionExecutor {
    pub(super) async fn ddl(&mut self, command: &DdlCommand) -> Result<Outcome<Parsed>, SqlError> {
        let (tag, changes) = match command {
            DdlCommand::CreateTable(create) => ("CREATE TABLE", self.create_table(create).await?),
            DdlCommand::DropTable { tables, skipped, .. } => {
                for name in skipped {
                    self.notices.push(Notice::notice(format!("table \"{name}\" does not exist, skipping")));
                }
                ("DROP TABLE", self.drop_tables(tables))
            }
            DdlCommand::CreateIndex(create) => {
                self.create_index(create).await?;
                ("CREATE INDEX", Vec::new())
            }
            DdlCommand::DropIndex { indexes, skipped } => {
                for name in skipped {
                    self.notices.push(Notice::notice(format!("index \"{name}\" does not exist, skipping")));
                }
                let dropped = indexes.iter().map(|(table, oid)| CatalogChange::DropIndex(table.id, *oid));
                ("DROP INDEX", dropped.collect())
            }
            DdlCommand::CreateExtension { name, if_not_exists } => {
                ("CREATE EXTENSION", self.create_extension(name, *if_not_exists)?)
            }
            DdlCommand::DropExtension { .. } => return Err(SqlError::unsupported("DROP EXTENSION")),
            DdlCommand::CreateDatabase { .. } => return Err(SqlError::unsupported("CREATE DATABASE")),
            DdlCommand::DropDatabase { .. } => return Err(SqlError::unsupported("DROP DATABASE")),
        };
        if !changes.is_empty() {
            self.change_catalog(tag, changes).await?;
        }
        Ok(Outcome::Done { tag: tag.to_owned() })
    }

    /// Commits catalog changes, or adds them to the running transaction.
    pub(super) async fn change_catalog(&mut self, tag: &str, changes: Vec<CatalogChange>) -> Result<(), SqlError> {
        let mut transaction = self.take_transaction();
        if transaction.read_only {
            self.keep(transaction);
            return Err(SqlError::new(
                ErrorKind::ReadOnlySqlTransaction,
                format!("cannot execute {tag} in a read-only transaction"),
            ));
        }
        transaction.change_catalog(&self.shared.node.catalog(), changes);
        if transaction.extent == Extent::Statement {
            self.commit_transaction(transaction).await.map_err(WriteFailure::into_error)?;
        } else {
            self.transaction = Some(transaction);
        }
        Ok(())
    }

    fn home_channel(&self) -> ChannelId {
        self.catalog().databases.get(&self.database).map_or(ChannelId(0), |database| database.home_channel)
    }

    async fn create_table(&mut self, create: &CreateTable) -> Result<Vec<CatalogChange>, SqlError> {
        if create.exists {
            self.notices.push(Notice {
                code: "42P07",
                ..Notice::notice(format!("relation \"{}\" already exists, skipping", create.name))
            });
            return Ok(Vec::new());
        }
        let sequences = create.columns.iter().filter(|column| column.sequence.is_some()).count() as u32;
        let first = self
            .shared
            .node
            .allocate_oids(TABLE_OIDS + sequences)
            .await
            .map_err(|error| node_error(&error))?;
        let table = self.table_meta(create, first);
        let mut changes = Vec::new();
        let mut next_sequence = first.0 + TABLE_OIDS;
        for (new, column) in create.columns.iter().zip(&table.columns) {
            let Some(sequence) = &new.sequence else { continue };
            changes.push(CatalogChange::PutSequence(Arc::new(SequenceMeta {
                id: SequenceId(u64::from(next_sequence)),
                database: self.database,
                namespace: create.namespace.clone(),
                name: sequence.name.clone(),
                ty: sequence.ty,
                start: sequence.start,
                increment: sequence.increment,
                minimum: sequence.minimum,
                maximum: sequence.maximum,
                owned_by: Some((table.id, column.id)),
            })));
            next_sequence += 1;
        }
        changes.push(CatalogChange::PutTable(Arc::new(table)));
        Ok(changes)
    }

    fn table_meta(&self, create: &CreateTable, first: Oid) -> TableMeta {
        let columns: Vec<Column> = (1_u32..)
            .zip(&create.columns)
            .map(|(id, column)| Column {
                id,
                name: column.name.clone(),
                ty: column.ty,
                nullable: column.nullable,
                default: column.default.clone(),
                identity: column.identity,
            })
            .collect();
        TableMeta {
            id: TableId(u64::from(first.0)),
            database: self.database,
            namespace: create.namespace.clone(),
            name: create.name.clone(),
            type_oid: Oid(first.0 + 1),
            schema_version: 1,
            next_column_id: columns.len() as u32 + 1,
            primary_key: create.primary_key.as_ref().map(|key| PrimaryKey {
                oid: Oid(first.0 + 2),
                index_oid: Oid(first.0 + 3),
                name: key.name.clone(),
                columns: key.columns.iter().map(|&position| columns[position].id).collect(),
            }),
            columns,
            indexes: Vec::new(),
            channel: self.home_channel(),
        }
    }

    fn drop_tables(&self, tables: &[Arc<TableMeta>]) -> Vec<CatalogChange> {
        let catalog = self.catalog();
        let mut changes = Vec::new();
        for table in tables {
            let owned = catalog
                .sequences
                .values()
                .filter(|sequence| sequence.owned_by.is_some_and(|(owner, _)| owner == table.id));
            changes.extend(owned.map(|sequence| CatalogChange::DropSequence(sequence.id)));
            changes.push(CatalogChange::DropTable(table.id));
        }
        changes
    }

    fn create_extension(&mut self, name: &str, if_not_exists: bool) -> Result<Vec<CatalogChange>, SqlError> {
        let catalog = self.catalog();
        let database = catalog
            .databases
            .get(&self.database)
            .ok_or_else(|| SqlError::new(ErrorKind::Internal, "the session's database is gone"))?;
        if database.extensions.iter().any(|known| known == name) {
            let message = format!("extension \"{name}\" already exists");
            if if_not_exists {
                self.notices.push(Notice { code: "42710", ..Notice::notice(format!("{message}, skipping")) });
                return Ok(Vec::new());
            }
            return Err(SqlError::new(ErrorKind::DuplicateObject, message));
        }
        let mut changed = DatabaseMeta::clone(database);
        changed.extensions.push(name.to_owned());
        Ok(vec![CatalogChange::PutDatabase(Arc::new(changed))])
    }
}
