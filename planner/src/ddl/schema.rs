//! CREATE and DROP SCHEMA.

use std::sync::Arc;

use proto::catalog::{CatalogChange, NamespaceMeta, TableMeta};
use proto::{ErrorKind, Oid, SqlError};
use sqlparser::ast;

use crate::context::PlanContext;
use crate::error::{Result, syntax, unsupported};
use crate::names::fold;
use crate::plan::{DdlCommand, DdlNotice};

/// Schemas that are there without being made.
const FIXED: [&str; 4] = ["public", "pg_catalog", "information_schema", "elanus"];

pub(crate) fn create_schema(
    name: &ast::SchemaName,
    if_not_exists: bool,
    context: &PlanContext,
) -> Result<DdlCommand> {
    let ast::SchemaName::Simple(name) = name else { return Err(unsupported("AUTHORIZATION of a schema")) };
    let name = schema_name(name)?;
    if FIXED.contains(&name.as_str()) || context.catalog.namespace(context.database, &name).is_some() {
        let message = format!("schema \"{name}\" already exists");
        if if_not_exists {
            let notice = DdlNotice { code: "42P06", message: format!("{message}, skipping") };
            return Ok(DdlCommand::Nothing { tag: "CREATE SCHEMA", notices: vec![notice] });
        }
        return Err(SqlError::new(ErrorKind::DuplicateSchema, message));
    }
    if name.starts_with("pg_") {
        return Err(SqlError::new(ErrorKind::ReservedName, format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    let namespace = NamespaceMeta { oid: Oid(0), database: context.database, name };
    let changes = vec![CatalogChange::PutNamespace(Arc::new(namespace))];
    Ok(DdlCommand::Catalog { tag: "CREATE SCHEMA", changes, notices: Vec::new() })
}

fn schema_name(name: &ast::ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(name)] => Ok(fold(name)),
        _ => Err(syntax("improper schema name")),
    }
}

pub(super) fn drop_schemas(dropped: &super::Dropped<'_>, context: &PlanContext) -> Result<DdlCommand> {
    let mut changes = Vec::new();
    let mut notices = Vec::new();
    for name in dropped.names {
        let name = schema_name(name)?;
        if FIXED.contains(&name.as_str()) {
            return Err(unsupported(format!("dropping schema \"{name}\"")));
        }
        let Some(namespace) = context.catalog.namespace(context.database, &name) else {
            let message = format!("schema \"{name}\" does not exist");
            if !dropped.if_exists {
                return Err(SqlError::new(ErrorKind::InvalidSchemaName, message));
            }
            notices.push(DdlNotice::plain(format!("{message}, skipping")));
            continue;
        };
        let inside = |database, schema: &str| database == context.database && *schema == name;
        let tables = context.catalog.tables.values();
        let tables: Vec<_> = tables.filter(|table| inside(table.database, &table.namespace)).collect();
        let sequences = context.catalog.sequences.values();
        let sequences: Vec<_> = sequences.filter(|made| inside(made.database, &made.namespace)).collect();
        let loose = sequences.iter().filter(|sequence| sequence.owned_by.is_none());
        let objects: Vec<String> = tables
            .iter()
            .map(|table| format!("table {name}.{}", table.name))
            .chain(loose.map(|sequence| format!("sequence {name}.{}", sequence.name)))
            .collect();
        if !objects.is_empty() && !dropped.cascade {
            let lines: Vec<String> =
                objects.iter().map(|object| format!("{object} depends on schema {name}")).collect();
            return Err(SqlError::new(
                ErrorKind::DependentObjectsStillExist,
                format!("cannot drop schema {name} because other objects depend on it"),
            )
            .with_detail(lines.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        match objects.as_slice() {
            [] => {}
            [only] => notices.push(DdlNotice::plain(format!("drop cascades to {only}"))),
            many => notices.push(DdlNotice::plain(format!("drop cascades to {} other objects", many.len()))),
        }
        let inside: Vec<Arc<TableMeta>> = tables.iter().map(|table| Arc::clone(table)).collect();
        let (released, released_notices) = super::released(&inside, dropped.cascade, context)?;
        notices.extend(released_notices);
        changes.extend(released.into_iter().map(CatalogChange::PutTable));
        changes.extend(sequences.iter().map(|sequence| CatalogChange::DropSequence(sequence.id)));
        changes.extend(tables.iter().map(|table| CatalogChange::DropTable(table.id)));
        changes.push(CatalogChange::DropNamespace(namespace.oid));
    }
    Ok(DdlCommand::Catalog { tag: "DROP SCHEMA", changes, notices })
}
