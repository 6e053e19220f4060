//! CREATE TABLE AS and SELECT INTO: a table of a query's columns, and the query.

use proto::catalog::TableOptions;
use proto::{ErrorKind, SqlError, TypeKind};
use sqlparser::ast;

use super::options::table_options;
use crate::context::PlanContext;
use crate::error::{Result, syntax, unsupported};
use crate::names::{creation_schema, fold, qualified};
use crate::plan::{CreateTable, CreateTableAs, NewColumn, QueryPlan};
use crate::query::plan_query;

/// CREATE TABLE … AS query.
pub(crate) fn create_table_as(
    create: &ast::CreateTable,
    query: &ast::Query,
    context: &PlanContext,
) -> Result<CreateTableAs> {
    let names: Vec<String> = create.columns.iter().map(|column| fold(&column.name)).collect();
    let query = plan_query(query, context)?;
    let mut made = made(&create.name, create.if_not_exists, &names, query, context)?;
    made.create.options = table_options(&create.table_options)?;
    Ok(made)
}

/// The target of SELECT INTO and the query without it.
pub(crate) fn select_into(query: &ast::Query, context: &PlanContext) -> Result<Option<CreateTableAs>> {
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return Ok(None) };
    let Some(into) = &select.into else { return Ok(None) };
    if into.temporary {
        return Err(unsupported("SELECT INTO TEMPORARY"));
    }
    let mut plain = ast::Select::clone(select);
    plain.into = None;
    let query = ast::Query { body: Box::new(ast::SetExpr::Select(Box::new(plain))), ..query.clone() };
    let query = plan_query(&query, context)?;
    made(&into.name, false, &[], query, context).map(Some)
}

fn made(
    name: &ast::ObjectName,
    if_not_exists: bool,
    names: &[String],
    query: QueryPlan,
    context: &PlanContext,
) -> Result<CreateTableAs> {
    if !query.parameters.is_empty() {
        return Err(SqlError::new(ErrorKind::UndefinedParameter, "there is no parameter $1"));
    }
    let name = qualified(name, context)?;
    let namespace = creation_schema(&name, context)?;
    let exists = context.catalog.relation_exists(context.database, &namespace, &name.name);
    if exists && !if_not_exists {
        return Err(SqlError::new(
            ErrorKind::DuplicateTable,
            format!("relation \"{}\" already exists", name.name),
        ));
    }
    if names.len() > query.columns.len() {
        return Err(syntax("too many column names were specified"));
    }
    let mut columns: Vec<NewColumn> = Vec::with_capacity(query.columns.len());
    for (position, column) in query.columns.iter().enumerate() {
        let name = names.get(position).unwrap_or(&column.name).clone();
        if columns.iter().any(|other| other.name == name) {
            return Err(SqlError::new(
                ErrorKind::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        super::columns::refuse_reserved(&name)?;
        let ty = if column.ty.kind == TypeKind::Unknown { proto::ColumnType::TEXT } else { column.ty };
        if !ty.is_storable() {
            return Err(unsupported(format!("a column of type {}", ty.display())));
        }
        columns.push(NewColumn { name, ty, nullable: true, default: None, identity: None, sequence: None });
    }
    let create = CreateTable {
        namespace,
        name: name.name,
        exists,
        columns,
        primary_key: None,
        uniques: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        options: TableOptions::default(),
    };
    Ok(CreateTableAs { create, query })
}
