//! CREATE TABLE.

use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, CreateTableOptions, TableConstraint};

use super::columns::{Columns, KeyOf};
use crate::context::PlanContext;
use crate::error::{At, Result, unsupported};
use crate::names::{creation_schema, fold, qualified};
use crate::plan::{CreateTable, DdlCommand, NewKey};

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
    let (columns, key) = columns.finish();
    let primary_key = key.map(|KeyOf { name: given, columns }| NewKey {
        name: given.unwrap_or_else(|| free_name(context, &namespace, &format!("{}_pkey", name.name))),
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
    Ok(DdlCommand::CreateTable(CreateTable { namespace, name: name.name, exists, columns, primary_key }))
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
pub(super) fn key_columns(constraint: &TableConstraint) -> Result<Option<(Option<String>, Vec<ast::Ident>)>> {
    match constraint {
        TableConstraint::PrimaryKey(key) => {
            let mut columns = Vec::with_capacity(key.columns.len());
            for column in &key.columns {
                let ast::Expr::Identifier(name) = &column.column.expr else {
                    return Err(unsupported("an expression in a primary key"));
                };
                columns.push(name.clone());
            }
            Ok(Some((key.name.as_ref().map(fold), columns)))
        }
        TableConstraint::Unique(_) => Err(unsupported("a UNIQUE constraint")),
        TableConstraint::ForeignKey(_) => Err(unsupported("a FOREIGN KEY constraint")),
        TableConstraint::Check(_) => Err(unsupported("a CHECK constraint")),
        _ => Err(unsupported("this table constraint")),
    }
}

fn refuse_later_clauses(create: &ast::CreateTable) -> Result<()> {
    let later = [
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.external || create.transient || create.volatile || create.iceberg, "this kind of table"),
        (create.query.is_some(), "CREATE TABLE AS"),
        (create.like.is_some(), "CREATE TABLE LIKE"),
        (create.clone.is_some(), "CREATE TABLE CLONE"),
        (create.partition_by.is_some(), "PARTITION BY"),
        (create.partition_of.is_some(), "PARTITION OF"),
        (create.inherits.is_some(), "INHERITS"),
        (create.on_commit.is_some(), "ON COMMIT"),
        (!matches!(create.table_options, CreateTableOptions::None), "WITH of CREATE TABLE"),
        (create.primary_key.is_some() || create.order_by.is_some(), "this clause of CREATE TABLE"),
    ];
    match later.iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(unsupported(what).at(sqlparser::ast::Spanned::span(&create.name))),
        None => Ok(()),
    }
}
