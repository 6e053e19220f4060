//! CREATE INDEX and DROP INDEX of vector indexes and unique indexes, checked in PostgreSQL's order.
//!
//! What it is not: no index over anything but one vector column or a unique key's columns; other access methods,
//! expressions and predicates are refused.

use std::sync::Arc;

use proto::catalog::{Column, IndexMethod, IndexOptionError, TableMeta};
use proto::{DistanceMetric, ErrorKind, Oid, SqlError, TypeKind};
use sqlparser::ast::{self, BinaryOperator, Expr, IndexType, Value};

use super::Dropped;
use super::alter::with_unique_index;
use super::foreign::{Dependents, referring};
use super::keys::WrittenKey;
use super::table::free_name;
use crate::context::PlanContext;
use crate::error::{At, Result, syntax, unsupported};
use crate::names::{fold, qualified, target_table};
use crate::plan::{CreateIndex, DdlCommand, DdlNotice};

/// Access methods that PostgreSQL has and Elanus does not have yet.
const OTHER_METHODS: [&str; 7] = ["btree", "hash", "gin", "gist", "spgist", "brin", "bloom"];
/// Operator classes of pgvector for types other than `vector`.
const OTHER_TYPES: [&str; 3] = ["halfvec_", "sparsevec_", "bit_"];
/// pgvector's limit on the dimensions of an indexed vector.
const MAX_INDEXED_DIMENSIONS: usize = 2000;

pub(crate) fn create_index(create: &ast::CreateIndex, context: &PlanContext) -> Result<DdlCommand> {
    let table = target_table(&qualified(&create.table_name, context)?, context)?;
    let method = create.using.as_ref().map_or_else(|| "btree".to_owned(), method_name);
    if create.unique && method == "btree" {
        return unique_index(create, table, context);
    }
    if create.unique && OTHER_METHODS.contains(&method.as_str()) {
        return Err(method_lacks(&method, "unique indexes"));
    }
    if !IndexMethod::NAMES.contains(&method.as_str()) {
        return Err(no_such_method(&method));
    }
    refuse_later_clauses(create, &method)?;
    let [key] = create.columns.as_slice() else {
        return Err(method_lacks(&method, "multicolumn indexes"));
    };
    let written = options(&create.with)?;
    let method = IndexMethod::parse(&method, &written).map_err(|error| option_error(&error))?;
    let method = method.ok_or_else(|| unsupported("this access method"))?;
    let column = indexed_column(key, &table)?;
    refuse_order(key, method)?;
    let metric = operator_class(key.operator_class.as_ref(), column, method)?;
    let given = given_name(create, context)?;
    let exists = given
        .as_ref()
        .is_some_and(|given| context.catalog.relation_exists(context.database, &table.namespace, given));
    let name = match given {
        Some(given) => given,
        None => free_name(context, &table.namespace, &default_name(&table.name, &column.name)),
    };
    if exists && !create.if_not_exists {
        return Err(SqlError::new(ErrorKind::DuplicateTable, format!("relation \"{name}\" already exists")));
    }
    if !exists {
        check_dimensions(column, method)?;
    }
    Ok(DdlCommand::CreateIndex(CreateIndex {
        column: column.id,
        table,
        name,
        exists,
        metric,
        method,
        written_options: written.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        concurrently: create.concurrently,
    }))
}

fn given_name(create: &ast::CreateIndex, context: &PlanContext) -> Result<Option<String>> {
    let given = create.name.as_ref().map(|name| qualified(name, context)).transpose()?;
    if given.as_ref().is_some_and(|given| given.schema.is_some()) {
        return Err(syntax("syntax error at or near \".\""));
    }
    Ok(given.map(|given| given.name))
}

/// CREATE UNIQUE INDEX over columns.
fn unique_index(
    create: &ast::CreateIndex,
    table: Arc<TableMeta>,
    context: &PlanContext,
) -> Result<DdlCommand> {
    let later = [
        (create.predicate.is_some(), "a partial unique index"),
        (!create.include.is_empty(), "INCLUDE"),
        (!create.with.is_empty(), "WITH of a unique index"),
        (!create.index_options.is_empty() || !create.alter_options.is_empty(), "this clause of CREATE INDEX"),
    ];
    if let Some((_, what)) = later.iter().find(|(given, _)| *given) {
        return Err(unsupported(what));
    }
    let name = given_name(create, context)?;
    if let Some(name) = &name
        && create.if_not_exists
        && context.catalog.relation_exists(context.database, &table.namespace, name)
    {
        let message = format!("relation \"{name}\" already exists, skipping");
        let notices = vec![DdlNotice { code: "42P07", message }];
        return Ok(DdlCommand::Nothing { tag: "CREATE INDEX", notices });
    }
    let mut columns = Vec::with_capacity(create.columns.len());
    for key in &create.columns {
        let column = indexed_column(key, &table)?;
        let options = &key.column.options;
        if key.operator_class.is_some() || options.asc == Some(false) || options.nulls_first == Some(true) {
            return Err(unsupported("the order or operator class of a unique index"));
        }
        columns.extend(table.positions(&[column.id]));
    }
    let nulls_distinct = create.nulls_distinct != Some(false);
    let key = WrittenKey { name, columns, is_primary: false, nulls_distinct };
    with_unique_index(table, key, create.concurrently, context)
}

/// The indexes that DROP INDEX names.
pub(super) fn drop_indexes(dropped: &Dropped<'_>, context: &PlanContext) -> Result<DdlCommand> {
    let mut indexes: Vec<(Arc<TableMeta>, Oid)> = Vec::new();
    let mut skipped = Vec::new();
    for name in dropped.names {
        let name = qualified(name, context)?;
        let schemas = match &name.schema {
            Some(schema) => std::slice::from_ref(schema),
            None => context.search_path.as_slice(),
        };
        let found = schemas.iter().find_map(|schema| droppable(context, schema, &name.name));
        if let Some((table, index)) = found {
            let constraints = referring(table.id, &[], context, |key| key.target_index == index);
            if dropped.cascade && !constraints.is_empty() {
                return Err(unsupported("DROP INDEX ... CASCADE of an index that foreign keys refer to"));
            }
            let index_name = format!("index {}", name.name);
            let dropped = Some(index_name.clone());
            Dependents { dropped, on: index_name, constraints }.release(false, context)?;
            if !indexes.iter().any(|(_, known)| *known == index) {
                indexes.push((Arc::clone(table), index));
            }
            continue;
        }
        let taken = |schema: &String| context.catalog.relation_exists(context.database, schema, &name.name);
        if schemas.iter().any(taken) {
            return Err(other_relation(&name.name, schemas, context));
        }
        if !dropped.if_exists {
            let message = format!("index \"{}\" does not exist", name.display());
            return Err(SqlError::new(ErrorKind::UndefinedObject, message));
        }
        skipped.push(name.name);
    }
    Ok(DdlCommand::DropIndex { indexes, skipped })
}

/// An index that no constraint needs, and its table.
fn droppable<'a>(context: &'a PlanContext, schema: &str, name: &str) -> Option<(&'a Arc<TableMeta>, Oid)> {
    let catalog = &context.catalog;
    if let Some((table, index)) = catalog.vector_index(context.database, schema, name) {
        return Some((table, index.oid));
    }
    let tables = catalog.tables.values();
    let mut tables = tables.filter(|table| table.database == context.database && table.namespace == schema);
    tables.find_map(|table| {
        let mut keys = table.uniques.iter().filter(|key| key.constraint.is_none());
        Some((table, keys.find(|key| key.name == name)?.index_oid))
    })
}

/// Why a relation that exists cannot be dropped as an index.
fn other_relation(name: &str, schemas: &[String], context: &PlanContext) -> SqlError {
    let keyed = context.catalog.tables.values().find(|table| {
        table.database == context.database
            && schemas.contains(&table.namespace)
            && table.keys().any(|key| key.name == name)
    });
    match keyed {
        Some(table) => SqlError::new(
            ErrorKind::DependentObjectsStillExist,
            format!("cannot drop index {name} because constraint {name} on table {} requires it", table.name),
        )
        .with_hint(format!("You can drop constraint {name} on table {} instead.", table.name)),
        None => SqlError::new(ErrorKind::WrongObjectType, format!("\"{name}\" is not an index")),
    }
}

fn method_name(method: &IndexType) -> String {
    match method {
        IndexType::Custom(name) => fold(name),
        other => other.to_string().to_lowercase(),
    }
}

fn no_such_method(method: &str) -> SqlError {
    if OTHER_METHODS.contains(&method) {
        return unsupported(format!("an index with access method \"{method}\""));
    }
    SqlError::new(ErrorKind::UndefinedObject, format!("access method \"{method}\" does not exist"))
}

fn method_lacks(method: &str, what: &str) -> SqlError {
    SqlError::new(
        ErrorKind::FeatureNotSupported,
        format!("access method \"{method}\" does not support {what}"),
    )
}

fn refuse_later_clauses(create: &ast::CreateIndex, method: &str) -> Result<()> {
    if create.unique {
        return Err(method_lacks(method, "unique indexes"));
    }
    if !create.include.is_empty() {
        return Err(method_lacks(method, "included columns"));
    }
    if create.predicate.is_some() {
        return Err(unsupported("a partial index"));
    }
    if create.nulls_distinct.is_some() || !create.index_options.is_empty() || !create.alter_options.is_empty()
    {
        return Err(unsupported("this clause of CREATE INDEX"));
    }
    Ok(())
}

/// `name = value` pairs as they were written, names folded.
fn options(with: &[Expr]) -> Result<Vec<(String, String)>> {
    let pair = |option: &Expr| match option {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match left.as_ref() {
            Expr::Identifier(name) => Ok((fold(name), option_value(right)?)),
            _ => Err(syntax("syntax error in WITH")),
        },
        Expr::Identifier(name) => Ok((fold(name), "true".to_owned())),
        _ => Err(syntax("syntax error in WITH")),
    };
    with.iter().map(pair).collect()
}

fn option_value(value: &Expr) -> Result<String> {
    match value {
        Expr::Value(value) => Ok(match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        }),
        Expr::Identifier(word) => Ok(fold(word)),
        Expr::UnaryOp { .. } => Ok(value.to_string().replace(' ', "")),
        _ => Err(syntax("syntax error in WITH")),
    }
}

fn option_error(error: &IndexOptionError) -> SqlError {
    let refused = SqlError::new(ErrorKind::InvalidParameterValue, error.to_string());
    match error.detail() {
        Some(detail) => refused.with_detail(detail),
        None => refused,
    }
}

fn indexed_column<'a>(key: &ast::IndexColumn, table: &'a TableMeta) -> Result<&'a Column> {
    let mut expression = &key.column.expr;
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    let Expr::Identifier(name) = expression else {
        return Err(unsupported("an index on an expression"));
    };
    let folded = fold(name);
    table.columns.iter().find(|column| column.name == folded).ok_or_else(|| {
        SqlError::new(ErrorKind::UndefinedColumn, format!("column \"{folded}\" does not exist")).at(name.span)
    })
}

fn refuse_order(key: &ast::IndexColumn, method: IndexMethod) -> Result<()> {
    if key.column.options.asc.is_some() {
        return Err(method_lacks(method.name(), "ASC/DESC options"));
    }
    if key.column.options.nulls_first.is_some() {
        return Err(method_lacks(method.name(), "NULLS FIRST/LAST options"));
    }
    Ok(())
}

fn operator_class(
    class: Option<&ast::ObjectName>,
    column: &Column,
    method: IndexMethod,
) -> Result<DistanceMetric> {
    let is_vector = column.ty.kind == TypeKind::Vector;
    let Some(class) = class else {
        return method.default_metric().filter(|_| is_vector).ok_or_else(|| {
            SqlError::new(
                ErrorKind::UndefinedObject,
                format!(
                    "data type {} has no default operator class for access method \"{}\"",
                    proto::ColumnType::from(column.ty.kind).display(),
                    method.name()
                ),
            )
            .with_hint(
                "You must specify an operator class for the index or define a default operator class for \
                 the data type.",
            )
        });
    };
    let name = class.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    let metric = DistanceMetric::ALL
        .into_iter()
        .find(|metric| metric.operator_class() == name && method.supports(*metric));
    let of_other_type = OTHER_TYPES.iter().any(|prefix| name.starts_with(prefix));
    match metric {
        Some(metric) if is_vector => Ok(metric),
        None if !of_other_type => Err(SqlError::new(
            ErrorKind::UndefinedObject,
            format!("operator class \"{name}\" does not exist for access method \"{}\"", method.name()),
        )),
        _ => Err(SqlError::new(
            ErrorKind::DatatypeMismatch,
            format!(
                "operator class \"{name}\" does not accept data type {}",
                proto::ColumnType::from(column.ty.kind).display()
            ),
        )),
    }
}

fn check_dimensions(column: &Column, method: IndexMethod) -> Result<()> {
    match column.ty.dimensions() {
        None => Err(SqlError::new(ErrorKind::InvalidParameterValue, "column does not have dimensions")),
        Some(dimensions) if dimensions > MAX_INDEXED_DIMENSIONS => Err(SqlError::new(
            ErrorKind::ProgramLimitExceeded,
            format!(
                "column cannot have more than {MAX_INDEXED_DIMENSIONS} dimensions for {} index",
                method.name()
            ),
        )),
        Some(_) => Ok(()),
    }
}

/// PostgreSQL's name for an index on a column: both names cut evenly so that the whole stays an identifier.
fn default_name(table: &str, column: &str) -> String {
    const ROOM: usize = 63 - "__idx".len();
    let (mut table, mut column) = (table.to_owned(), column.to_owned());
    while table.len() + column.len() > ROOM {
        let longer = if table.len() > column.len() { &mut table } else { &mut column };
        longer.pop();
    }
    format!("{table}_{column}_idx")
}
