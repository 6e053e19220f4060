//! DDL: catalog changes with fresh OIDs, committed at once or with the block they belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::locks::LockMode;
use planner::plan::{AlterStatement, CreateTable, DdlCommand, DdlNotice, NewSequence, Plan};
use planner::syntax::Parsed;
use proto::catalog::{
    CatalogChange, CatalogSnapshot, Column, DatabaseMeta, NamespaceMeta, PrimaryKey, SequenceMeta, TableMeta,
};
use proto::{ChannelId, DatabaseId, ErrorKind, Oid, SequenceId, SqlError, TableId};

use super::prepare::PreparedStatement;
use super::transaction::{Extent, Transaction};
use super::write::WriteFailure;
use super::{SessionExecutor, node_error};
use crate::session::{Notice, Outcome};

/// OIDs of a table besides those of its sequences: table, row type, key constraint, key index.
const TABLE_OIDS: u32 = 4;

mod alter;

/// Attempts of one DDL statement outside a block: each lost to a commit that succeeded.
const MAX_ATTEMPTS: usize = 1_000;

impl SessionExecutor {
    /// Carries a command out: committed outside a block, part of the transaction inside one. A table or its rows
    /// may change between planning and commit; outside a block the statement is then planned and run again.
    pub(super) async fn run_ddl(
        &mut self,
        prepared: &PreparedStatement,
    ) -> Result<Outcome<Parsed>, SqlError> {
        let mut kept = None;
        for _ in 0..MAX_ATTEMPTS {
            let planned = self.current_plan(prepared)?;
            let Plan::Ddl(command) = &*planned.plan else {
                return Err(SqlError::new(ErrorKind::Internal, "a statement changed its kind"));
            };
            let mut transaction = self.take_transaction();
            if transaction.read_only || self.reads_the_past() {
                self.keep(transaction);
                return Err(SqlError::new(
                    ErrorKind::ReadOnlySqlTransaction,
                    format!("cannot execute {} in a read-only transaction", command.tag()),
                ));
            }
            let alone = transaction.extent == Extent::Statement;
            if alone {
                transaction.locks = kept.take();
            }
            let done = self.ddl(&mut transaction, command).await;
            if !alone {
                self.transaction = Some(transaction);
                match done {
                    Err(error) if exec::statement::is_stale_plan(&error) => {
                        self.cancel.check()?;
                        continue;
                    }
                    done => return done.map(|()| Outcome::Done { tag: command.tag().to_owned() }),
                }
            }
            // An attempt that must be made again keeps its place in line.
            kept = transaction.locks.take();
            let committed = match done {
                Ok(()) => {
                    let new_indexes = std::mem::take(&mut transaction.new_indexes);
                    match self.commit_transaction(transaction).await {
                        Ok(_) => {
                            drop(kept.take());
                            self.finish_indexes(&new_indexes, command).await?;
                            Ok(())
                        }
                        Err(failure) => Err(failure),
                    }
                }
                Err(error) => {
                    transaction.release_locks();
                    Err(WriteFailure::Statement(error))
                }
            };
            match committed {
                Ok(()) => return Ok(Outcome::Done { tag: command.tag().to_owned() }),
                Err(WriteFailure::Conflict(_) | WriteFailure::SchemaChanged(_)) => {
                    self.notices.clear();
                    self.cancel.check()?;
                }
                Err(WriteFailure::Statement(error)) if exec::statement::is_stale_plan(&error) => {
                    self.notices.clear();
                    self.cancel.check()?;
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
        Err(exec::statement::stale_plan())
    }

    async fn ddl(&mut self, transaction: &mut Transaction, command: &DdlCommand) -> Result<(), SqlError> {
        self.lock_tables(transaction, locked_by(command)).await?;
        let changes = match command {
            DdlCommand::AlterTable(alter) => return self.alter_table(transaction, alter).await,
            DdlCommand::Nothing { notices, .. } => {
                self.notify(notices);
                return Ok(());
            }
            DdlCommand::CreateTable(create) => self.create_table(create).await?,
            DdlCommand::DropTable { tables, skipped, released, notices } => {
                for name in skipped {
                    self.notices.push(Notice::notice(format!("table \"{name}\" does not exist, skipping")));
                }
                self.notify(notices);
                let mut changes: Vec<_> = released.iter().cloned().map(CatalogChange::PutTable).collect();
                changes.extend(self.drop_tables(transaction, tables));
                changes
            }
            DdlCommand::CreateIndex(create) => self.create_index(transaction, create).await?,
            DdlCommand::DropIndex { indexes, skipped } => {
                for name in skipped {
                    self.notices.push(Notice::notice(format!("index \"{name}\" does not exist, skipping")));
                }
                without_indexes(indexes)
            }
            DdlCommand::CreateExtension { name, if_not_exists } => {
                self.create_extension(transaction, name, *if_not_exists)?
            }
            DdlCommand::DropExtension { .. } => return Err(SqlError::unsupported("DROP EXTENSION")),
            DdlCommand::Undrop { schema, name, new_name } => {
                self.undropped(transaction, (schema.as_deref(), name), new_name.as_deref())?
            }
            DdlCommand::CreateDatabase { name } => self.create_database(transaction, name).await?,
            DdlCommand::DropDatabase { name, force } => self.drop_database(transaction, name, *force)?,
            DdlCommand::Catalog { changes, notices, .. } => {
                self.notify(notices);
                self.with_oids(changes).await?
            }
            DdlCommand::RestartSequence { sequence, next } => {
                self.restart_sequence(transaction, sequence, *next).await?
            }
        };
        transaction
            .change_catalog(&self.shared.node.catalog(), changes)
            .map_err(|error| super::storage_error(&error))
    }

    fn notify(&mut self, notices: &[DdlNotice]) {
        for notice in notices {
            self.notices.push(Notice { code: notice.code, ..Notice::notice(notice.message.clone()) });
        }
    }

    /// Changes with identities drawn for what is new.
    async fn with_oids(&self, changes: &[CatalogChange]) -> Result<Vec<CatalogChange>, SqlError> {
        let mut drawn = Vec::with_capacity(changes.len());
        for change in changes {
            let next = async || {
                let oid = self.shared.node.allocate_oids(1).await;
                oid.map_err(|error| node_error(&error))
            };
            drawn.push(match change {
                CatalogChange::PutSequence(sequence) if sequence.id == SequenceId(0) => {
                    let id = SequenceId(u64::from(next().await?.0));
                    CatalogChange::PutSequence(Arc::new(SequenceMeta { id, ..(**sequence).clone() }))
                }
                CatalogChange::PutNamespace(namespace) if namespace.oid == Oid(0) => {
                    let oid = next().await?;
                    CatalogChange::PutNamespace(Arc::new(NamespaceMeta { oid, ..(**namespace).clone() }))
                }
                other => other.clone(),
            });
        }
        Ok(drawn)
    }

    /// Makes `next` the next value. Like PostgreSQL's own sequences, the value does not wait for the commit.
    async fn restart_sequence(
        &self,
        transaction: &Transaction,
        sequence: &Arc<SequenceMeta>,
        next: i64,
    ) -> Result<Vec<CatalogChange>, SqlError> {
        let own = transaction.sequences.lock().get_mut(&sequence.id).map(|own| *own = next);
        if own.is_none() {
            let set = self.shared.node.set_sequence(sequence.id, next).await;
            set.map_err(|error| node_error(&error))?;
        }
        Ok(vec![CatalogChange::PutSequence(Arc::clone(sequence))])
    }

    async fn create_database(
        &self,
        transaction: &Transaction,
        name: &str,
    ) -> Result<Vec<CatalogChange>, SqlError> {
        refuse_in_block(transaction, "CREATE DATABASE")?;
        let oid = self.shared.node.allocate_oids(1).await.map_err(|error| node_error(&error))?;
        let database = DatabaseMeta {
            id: DatabaseId(u64::from(oid.0)),
            name: name.to_owned(),
            home_channel: ChannelId(0),
            extensions: Vec::new(),
        };
        Ok(vec![CatalogChange::PutDatabase(Arc::new(database))])
    }

    fn drop_database(
        &self,
        transaction: &Transaction,
        name: &str,
        force: bool,
    ) -> Result<Vec<CatalogChange>, SqlError> {
        refuse_in_block(transaction, "DROP DATABASE")?;
        let catalog = self.catalog_of(transaction);
        let Some(database) = catalog.database(name) else { return Ok(Vec::new()) };
        let others = self.shared.connections.count(database.id);
        if others > 0 && force {
            return Err(SqlError::unsupported("DROP DATABASE ... WITH (FORCE) of a database in use"));
        }
        if others > 0 {
            let detail = if others == 1 {
                "There is 1 other session using the database.".to_owned()
            } else {
                format!("There are {others} other sessions using the database.")
            };
            return Err(SqlError::new(
                ErrorKind::ObjectInUse,
                format!("database \"{name}\" is being accessed by other users"),
            )
            .with_detail(detail));
        }
        Ok(vec![CatalogChange::DropDatabase(database.id)])
    }

    /// The catalog as a transaction sees it.
    pub(super) fn catalog_of(&self, transaction: &Transaction) -> Arc<CatalogSnapshot> {
        transaction.catalog.clone().unwrap_or_else(|| self.shared.node.catalog())
    }

    fn home_channel(&self) -> ChannelId {
        self.shared
            .node
            .catalog()
            .databases
            .get(&self.database)
            .map_or(ChannelId(0), |database| database.home_channel)
    }

    pub(super) async fn create_table(
        &mut self,
        create: &CreateTable,
    ) -> Result<Vec<CatalogChange>, SqlError> {
        if create.exists {
            self.notices.push(Notice {
                code: "42P07",
                ..Notice::notice(format!("relation \"{}\" already exists, skipping", create.name))
            });
            return Ok(Vec::new());
        }
        let sequences = create.columns.iter().filter(|column| column.sequence.is_some()).count() as u32;
        let constraints = (create.checks.len() + create.foreign_keys.len() + create.uniques.len() * 2) as u32;
        let first = self
            .shared
            .node
            .allocate_oids(TABLE_OIDS + sequences + constraints)
            .await
            .map_err(|error| node_error(&error))?;
        let mut table = self.table_meta(create, first);
        let mut oids = (first.0 + TABLE_OIDS + sequences..).map(Oid);
        let mut next = || oids.next().unwrap_or(Oid(0));
        for key in &mut table.uniques {
            (key.index_oid, key.constraint) = (next(), Some(next()));
        }
        for check in &mut table.checks {
            check.oid = next();
        }
        for key in &mut table.foreign_keys {
            key.oid = next();
        }
        settle_own_references(&mut table);
        let mut changes = Vec::new();
        let mut next_sequence = first.0 + TABLE_OIDS;
        for (new, column) in create.columns.iter().zip(&table.columns) {
            let Some(sequence) = &new.sequence else { continue };
            let id = SequenceId(u64::from(next_sequence));
            let owner = Some((table.id, column.id));
            let meta = sequence_meta(id, self.database, &create.namespace, sequence, owner);
            changes.push(CatalogChange::PutSequence(Arc::new(meta)));
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
                missing: None,
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
                ..key.clone()
            }),
            uniques: create.uniques.clone(),
            foreign_keys: create.foreign_keys.clone(),
            checks: create.checks.clone(),
            former: Vec::new(),
            rewritten: 0,
            options: create.options.clone(),
            columns,
            indexes: Vec::new(),
            channel: self.home_channel(),
        }
    }

    fn drop_tables(&self, transaction: &Transaction, tables: &[Arc<TableMeta>]) -> Vec<CatalogChange> {
        let catalog = self.catalog_of(transaction);
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

    fn create_extension(
        &mut self,
        transaction: &Transaction,
        name: &str,
        if_not_exists: bool,
    ) -> Result<Vec<CatalogChange>, SqlError> {
        let catalog = self.catalog_of(transaction);
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

/// Points foreign keys that refer to a new key of their own table at it.
fn settle_own_references(table: &mut TableMeta) {
    let keys: Vec<(Oid, BTreeSet<u32>)> =
        table.keys().map(|key| (key.index_oid, key.columns.iter().copied().collect())).collect();
    let id = table.id;
    for foreign in table.foreign_keys.iter_mut().filter(|foreign| foreign.target_index == Oid(0)) {
        let columns: BTreeSet<u32> = foreign.target_columns.iter().copied().collect();
        foreign.target = id;
        if let Some((index, _)) = keys.iter().find(|(_, key)| *key == columns) {
            foreign.target_index = *index;
        }
    }
}

/// The changes that drop indexes: those behind keys make another version of their table.
fn without_indexes(indexes: &[(Arc<TableMeta>, Oid)]) -> Vec<CatalogChange> {
    let mut changes = Vec::new();
    let mut changed: BTreeMap<TableId, TableMeta> = BTreeMap::new();
    for (table, oid) in indexes {
        if table.key(*oid).is_none() {
            changes.push(CatalogChange::DropIndex(table.id, *oid));
            continue;
        }
        let after = changed.entry(table.id).or_insert_with(|| TableMeta {
            schema_version: table.schema_version + 1,
            ..TableMeta::clone(table)
        });
        after.uniques.retain(|key| key.index_oid != *oid);
    }
    changes.extend(changed.into_values().map(|table| CatalogChange::PutTable(Arc::new(table))));
    changes
}

/// The tables that a command changes. An index is built beside the table, so that its rows can go on changing.
fn locked_by(command: &DdlCommand) -> Vec<(TableId, LockMode)> {
    match command {
        DdlCommand::AlterTable(alter) => {
            let mode = match alter.statement {
                AlterStatement::AlterTable => LockMode::AccessExclusive,
                AlterStatement::CreateUniqueIndex { .. } => LockMode::Share,
            };
            let mut locked = vec![(alter.before.id, mode)];
            locked.extend(alter.released.iter().map(|table| (table.id, LockMode::AccessExclusive)));
            let new = alter.after.foreign_keys.iter().filter(|key| key.oid == Oid(0));
            let targets = new.map(|key| key.target).filter(|target| *target != alter.before.id);
            locked.extend(targets.map(|target| (target, LockMode::ShareRowExclusive)));
            locked
        }
        DdlCommand::CreateTable(create) => {
            let targets = create.foreign_keys.iter().map(|key| key.target);
            let others = targets.filter(|target| *target != TableId(0));
            others.map(|target| (target, LockMode::ShareRowExclusive)).collect()
        }
        DdlCommand::DropTable { tables, released, .. } => {
            let locked = tables.iter().chain(released);
            locked.map(|table| (table.id, LockMode::AccessExclusive)).collect()
        }
        DdlCommand::DropIndex { indexes, .. } => {
            indexes.iter().map(|(table, _)| (table.id, LockMode::AccessExclusive)).collect()
        }
        DdlCommand::CreateIndex(create) => vec![(create.table.id, LockMode::ShareUpdateExclusive)],
        DdlCommand::Catalog { changes, .. } => changes
            .iter()
            .filter_map(|change| match change {
                CatalogChange::DropTable(table) => Some((*table, LockMode::AccessExclusive)),
                CatalogChange::PutTable(table) => Some((table.id, LockMode::AccessExclusive)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// # Errors
/// 25001 inside a block or behind other statements of one text.
pub(super) fn refuse_in_block(transaction: &Transaction, command: &str) -> Result<(), SqlError> {
    if transaction.extent == Extent::Statement {
        return Ok(());
    }
    Err(SqlError::new(
        ErrorKind::ActiveSqlTransaction,
        format!("{command} cannot run inside a transaction block"),
    ))
}

/// A planned sequence as the catalog keeps it.
fn sequence_meta(
    id: SequenceId,
    database: DatabaseId,
    namespace: &str,
    sequence: &NewSequence,
    owned_by: Option<(TableId, u32)>,
) -> SequenceMeta {
    SequenceMeta {
        id,
        database,
        namespace: namespace.to_owned(),
        name: sequence.name.clone(),
        ty: sequence.ty,
        start: sequence.start,
        increment: sequence.increment,
        minimum: sequence.minimum,
        maximum: sequence.maximum,
        first: sequence.start,
        owned_by,
    }
}
