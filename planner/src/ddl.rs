//! CREATE and DROP of tables, indexes, databases and extensions, checked and turned into values.
//!
//! What it is not: nothing is created here; OIDs, sequences and the catalog change are made when `sql` carries the
//! command out.

use std::sync::Arc;

use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, ObjectType};

use crate::context::PlanContext;
use crate::error::{At, Result, syntax, unsupported};
use crate::names::{NamedRelation, fold, qualified, relation};
use crate::plan::DdlCommand;

mod columns;
mod index;
mod table;

pub(crate) use index::create_index;
pub(crate) use table::create_table;

/// The one extension we have.
const EXTENSION: &str = "vector";

pub(crate) fn create_extension(name: &str, if_not_exists: bool, context: &PlanContext) -> Result<DdlCommand> {
    if name != EXTENSION {
        return Err(SqlError::new(
            ErrorKind::FeatureNotSupported,
            format!("extension \"{name}\" is not available"),
        )
        .with_hint("The extension must first be installed on the system where PostgreSQL is running."));
    }
    if has_extension(name, context) && !if_not_exists {
        return Err(SqlError::new(
            ErrorKind::DuplicateObject,
            format!("extension \"{name}\" already exists"),
        ));
    }
    Ok(DdlCommand::CreateExtension { name: name.to_owned(), if_not_exists })
}

pub(crate) fn drop_extension(name: &str, if_exists: bool, context: &PlanContext) -> Result<DdlCommand> {
    if !has_extension(name, context) && !if_exists {
        return Err(SqlError::new(
            ErrorKind::UndefinedObject,
            format!("extension \"{name}\" does not exist"),
        ));
    }
    Ok(DdlCommand::DropExtension { name: name.to_owned(), if_exists })
}

fn has_extension(name: &str, context: &PlanContext) -> bool {
    let database = context.catalog.databases.get(&context.database);
    database.is_some_and(|database| database.extensions.iter().any(|extension| extension == name))
}

pub(crate) fn create_database(
    name: &ast::ObjectName,
    if_not_exists: bool,
    context: &PlanContext,
) -> Result<DdlCommand> {
    if if_not_exists {
        return Err(syntax("syntax error at or near \"NOT\""));
    }
    let name = database_name(name)?;
    if context.catalog.database(&name).is_some() {
        return Err(SqlError::new(
            ErrorKind::DuplicateDatabase,
            format!("database \"{name}\" already exists"),
        ));
    }
    Ok(DdlCommand::CreateDatabase { name })
}

fn database_name(name: &ast::ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(name)] => Ok(fold(name)),
        _ => Err(syntax("improper database name")),
    }
}

/// What a DROP statement names.
pub(crate) struct Dropped<'a> {
    pub kind: &'a ObjectType,
    pub if_exists: bool,
    pub names: &'a [ast::ObjectName],
    pub cascade: bool,
}

pub(crate) fn drop_objects(dropped: &Dropped<'_>, context: &PlanContext) -> Result<DdlCommand> {
    match dropped.kind {
        ObjectType::Table => drop_tables(dropped, context),
        ObjectType::Database => drop_database(dropped, context),
        ObjectType::Index => index::drop_indexes(dropped, context),
        other => Err(unsupported(format!("DROP {other}"))),
    }
}

fn drop_tables(dropped: &Dropped<'_>, context: &PlanContext) -> Result<DdlCommand> {
    let mut tables = Vec::with_capacity(dropped.names.len());
    let mut skipped = Vec::new();
    for name in dropped.names {
        let name = qualified(name, context)?;
        match relation(&name, context) {
            Ok(NamedRelation::Table(table)) => {
                if !tables.iter().any(|other| Arc::ptr_eq(other, &table)) {
                    tables.push(table);
                }
            }
            Ok(NamedRelation::System(_)) => {
                return Err(SqlError::new(
                    ErrorKind::InsufficientPrivilege,
                    format!("permission denied: \"{}\" is a system catalog", name.name),
                )
                .at(name.span));
            }
            Err(_) if dropped.if_exists => skipped.push(name.name),
            Err(_) => {
                return Err(SqlError::new(
                    ErrorKind::UndefinedTable,
                    format!("table \"{}\" does not exist", name.name),
                ));
            }
        }
    }
    Ok(DdlCommand::DropTable { tables, skipped, cascade: dropped.cascade })
}

fn drop_database(dropped: &Dropped<'_>, context: &PlanContext) -> Result<DdlCommand> {
    let [name] = dropped.names else { return Err(syntax("syntax error at or near \",\"")) };
    let name = database_name(name)?;
    match context.catalog.database(&name) {
        None if !dropped.if_exists => {
            Err(SqlError::new(ErrorKind::InvalidCatalogName, format!("database \"{name}\" does not exist")))
        }
        Some(database) if database.id == context.database => {
            Err(SqlError::new(ErrorKind::ObjectInUse, "cannot drop the currently open database"))
        }
        _ => Ok(DdlCommand::DropDatabase { name, if_exists: dropped.if_exists }),
    }
}
