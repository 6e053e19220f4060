//! CREATE TABLE.

use proto::catalog::{Column, PrimaryKey, TableMeta};
use proto::{ChannelId, ErrorKind, Oid, SqlError, TableId, TypeKind};
use sqlparser::ast::{self, CreateTableLikeKind, TableConstraint};

use super::checks::add_check;
use super::columns::{Columns, Finished, KeyOf, bounded_name};
use super::options::table_options;
use crate::context::PlanContext;
use crate::error::{At, Result, unsupported};
use crate::names::{creation_schema, fold, qualified, target_table};
use crate::plan::{CreateTable, DdlCommand, NewColumn, NewKey};

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
    let Finished { mut columns, key, checks } = columns.finish();
    if let Some(CreateTableLikeKind::Parenthesized(like) | CreateTableLikeKind::Plain(like)) = &create.like {
        columns = like_columns(like, context)?;
    }
    let mut made = provisional(context, &namespace, &name.name, &columns);
    for check in checks {
        add_check(&mut made, check, context)?;
    }
    let primary_key = key.map(|KeyOf { name: given, columns }| NewKey {
        name: given
            .unwrap_or_else(|| free_name(context, &namespace, &bounded_name(&name.name, None, "pkey"))),
        columns,
    });
    if let Some(key) = &primary_key
        && !exists
        && context.catalog.relation_exists(context.database, &namespace, &key.name)
    {
        return Err(SqlError::new(
            ErrorKind::DuplicateTable,
            format!("relation \"{}\" already exists", key.name),
        ));
    }
    let checks = made.checks;
    Ok(DdlCommand::CreateTable(CreateTable {
        namespace,
        name: name.name,
        exists,
        columns,
        primary_key,
        checks,
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

/// A primary key over columns of a table that exists; its OIDs come later.
pub(super) fn new_key(
    context: &PlanContext,
    table: &TableMeta,
    name: Option<String>,
    positions: &[usize],
) -> Result<PrimaryKey> {
    let vector = positions.iter().map(|&at| &table.columns[at]).find(|c| c.ty.kind == TypeKind::Vector);
    if let Some(vector) = vector {
        return Err(unsupported(format!("a primary key on vector column \"{}\"", vector.name)));
    }
    let name = match name {
        Some(name) if context.catalog.relation_exists(context.database, &table.namespace, &name) => {
            return Err(SqlError::new(
                ErrorKind::DuplicateTable,
                format!("relation \"{name}\" already exists"),
            ));
        }
        Some(name) => name,
        None => free_name(context, &table.namespace, &bounded_name(&table.name, None, "pkey")),
    };
    let columns = positions.iter().map(|&position| table.columns[position].id).collect();
    Ok(PrimaryKey { oid: Oid(0), index_oid: Oid(0), name, columns })
}

/// A relation name that is not taken: the wanted one, else with a number behind.
pub(super) fn free_name(context: &PlanContext, namespace: &str, wanted: &str) -> String {
    let taken = |name: &str| context.catalog.relation_exists(context.database, namespace, name);
    if !taken(wanted) {
        return wanted.to_owned();
    }
    (1_u32..).map(|number| format!("{wanted}{number}")).find(|name| !taken(name)).unwrap_or_default()
}

/// The columns of a primary key constraint.
pub(super) fn key_columns(constraint: &TableConstraint) -> Result<(Option<String>, Vec<ast::Ident>)> {
    match constraint {
        TableConstraint::PrimaryKey(key) => {
            let mut columns = Vec::with_capacity(key.columns.len());
            for column in &key.columns {
                let ast::Expr::Identifier(name) = &column.column.expr else {
                    return Err(unsupported("an expression in a primary key"));
                };
                columns.push(name.clone());
            }
            Ok((key.name.as_ref().map(fold), columns))
        }
        TableConstraint::Unique(_) => Err(unsupported("a UNIQUE constraint")),
        TableConstraint::ForeignKey(_) => Err(unsupported("a FOREIGN KEY constraint")),
        _ => Err(unsupported("this table constraint")),
    }
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
