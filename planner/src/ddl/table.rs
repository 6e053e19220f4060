//! CREATE TABLE.

use proto::catalog::{Column, TableMeta};
use proto::{ChannelId, ErrorKind, Oid, SqlError, TableId};
use sqlparser::ast::{self, CreateTableLikeKind};

use super::checks::add_check;
use super::columns::{Columns, Finished};
use super::foreign::add_foreign_key;
use super::keys::{add_key, merged};
use super::options::table_options;
use crate::context::PlanContext;
use crate::error::{At, Result, unsupported};
use crate::names::{creation_schema, qualified, target_table};
use crate::plan::{CreateTable, DdlCommand, NewColumn};

/// PostgreSQL's limit.
const MAX_COLUMNS: usize = 1_600;

pub(crate) fn create_table(create: &ast::CreateTable, context: &PlanContext) -> Result<DdlCommand> {
    refuse_later_clauses(create)?;
    let name = qualified(&create.name, context)?;
    let namespace = creation_schema(&name, context)?;
    let exists = context.catalog.relation_exists(context.database, &namespace, &name.name);
    if exists && !create.if_not_exists {
        return Err(SqlError::new(
            ErrorKind::DuplicateTable,
            format!("relation \"{}\" already exists", name.name),
        ));
    }
    if create.columns.len() > MAX_COLUMNS {
        return Err(SqlError::new(
            ErrorKind::TooManyColumns,
            format!("tables can have at most {MAX_COLUMNS} columns"),
        ));
    }
    let mut columns = Columns::new(context, &namespace, &name.name);
    for column in &create.columns {
        columns.add(column)?;
    }
    for constraint in &create.constraints {
        columns.constrain(&name.name, constraint)?;
    }
    let Finished { mut columns, keys, checks, foreign_keys } = columns.finish();
    if let Some(CreateTableLikeKind::Parenthesized(like) | CreateTableLikeKind::Plain(like)) = &create.like {
        columns = like_columns(like, context)?;
    }
    let mut made = provisional(context, &namespace, &name.name, &columns);
    for check in checks {
        add_check(&mut made, check, context)?;
    }
    // A table that is passed over has no use for names.
    for key in merged(keys).into_iter().filter(|_| !exists) {
        add_key(&mut made, key, context)?;
    }
    for key in foreign_keys.iter().filter(|_| !exists) {
        add_foreign_key(&mut made, key, context)?;
    }
    Ok(DdlCommand::CreateTable(CreateTable {
        namespace,
        name: name.name,
        exists,
        columns,
        primary_key: made.primary_key,
        uniques: made.uniques,
        checks: made.checks,
        foreign_keys: made.foreign_keys,
        options: table_options(&create.table_options)?,
    }))
}

/// The table that the columns will be, for expressions over its rows.
fn provisional(context: &PlanContext, namespace: &str, name: &str, columns: &[NewColumn]) -> TableMeta {
    let columns = (1_u32..).zip(columns).map(|(id, column)| Column {
        id,
        name: column.name.clone(),
        ty: column.ty,
        nullable: column.nullable,
        default: None,
        identity: None,
        missing: None,
    });
    TableMeta {
        id: TableId(0),
        database: context.database,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        type_oid: Oid(0),
        schema_version: 0,
        next_column_id: 1,
        columns: columns.collect(),
        primary_key: None,
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: proto::catalog::TableOptions::default(),
        channel: ChannelId(0),
    }
}

/// `LIKE`: names, types and NOT NULL; defaults when asked for.
fn like_columns(like: &ast::CreateTableLike, context: &PlanContext) -> Result<Vec<NewColumn>> {
    let table = target_table(&qualified(&like.name, context)?, context)?;
    let with_defaults = matches!(like.defaults, Some(ast::CreateTableLikeDefaults::Including));
    let columns = table.columns.iter().map(|column| NewColumn {
        name: column.name.clone(),
        ty: column.ty,
        nullable: column.nullable,
        default: column.default.clone().filter(|_| with_defaults && column.identity.is_none()),
        identity: None,
        sequence: None,
    });
    Ok(columns.collect())
}

/// A relation name that is not taken: the wanted one, else with a number behind.
pub(super) fn free_name(context: &PlanContext, namespace: &str, wanted: &str) -> String {
    let taken = |name: &str| context.catalog.relation_exists(context.database, namespace, name);
    if !taken(wanted) {
        return wanted.to_owned();
    }
    (1_u32..).map(|number| format!("{wanted}{number}")).find(|name| !taken(name)).unwrap_or_default()
}

fn refuse_later_clauses(create: &ast::CreateTable) -> Result<()> {
    let later = [
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.external || create.transient || create.volatile || create.iceberg, "this kind of table"),
        (create.clone.is_some(), "CREATE TABLE CLONE"),
        (create.partition_by.is_some(), "PARTITION BY"),
        (create.partition_of.is_some(), "PARTITION OF"),
        (create.inherits.is_some(), "INHERITS"),
        (create.on_commit.is_some(), "ON COMMIT"),
        (create.primary_key.is_some() || create.order_by.is_some(), "this clause of CREATE TABLE"),
    ];
    match later.iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(unsupported(what).at(sqlparser::ast::Spanned::span(&create.name))),
        None => Ok(()),
    }
}
