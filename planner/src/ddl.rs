//! CREATE, ALTER and DROP of objects, checked and turned into values.
//!
//! What it is not: nothing is created here; OIDs, sequences and the catalog change are made when `sql` carries the
//! command out.

use std::sync::Arc;

use proto::catalog::TableMeta;
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, ObjectType};

use self::foreign::{Dependents, referring, shown_name, without_foreign_keys};
use crate::context::PlanContext;
use crate::error::{At, Result, unsupported};
use crate::names::{NamedRelation, qualified, relation};
use crate::plan::{DdlCommand, DdlNotice};

mod alter;
mod checks;
mod columns;
mod comment;
mod create_as;
mod foreign;
mod index;
mod keys;
mod options;
mod rows;
mod schema;
mod sequence;
mod table;

pub(crate) use alter::alter_table;
pub(crate) use checks::row_checks;
pub(crate) use comment::comment;
pub(crate) use create_as::{create_table_as, select_into};
pub(crate) use index::create_index;
pub(crate) use keys::keys_over;
pub(crate) use schema::create_schema;
pub(crate) use sequence::{alter_sequence, create_sequence, rename_sequence};
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
    name: &str,
    options: &[(String, String)],
    context: &PlanContext,
) -> Result<DdlCommand> {
    for (option, value) in options {
        let lower = value.to_lowercase();
        let known = match option.as_str() {
            "owner" => lower == context.session.user || lower == "default",
            "template" => matches!(lower.as_str(), "template0" | "template1" | "default"),
            "encoding" => matches!(lower.as_str(), "utf8" | "utf-8" | "unicode" | "default"),
            "lc_collate" | "lc_ctype" | "locale" => {
                matches!(
                    lower.as_str(),
                    "c" | "c.utf-8" | "c.utf8" | "en_us.utf-8" | "en_us.utf8" | "default"
                )
            }
            "allow_connections" => lower == "true",
            "connection limit" => lower == "-1",
            "strategy" | "locale_provider" | "tablespace" | "is_template" | "oid" => {
                return Err(unsupported(format!("CREATE DATABASE ... {}", option.to_uppercase())));
            }
            _ => {
                return Err(SqlError::new(
                    ErrorKind::SyntaxError,
                    format!("option \"{option}\" not recognized"),
                ));
            }
        };
        if !known {
            return Err(unsupported(format!("CREATE DATABASE ... {} {value}", option.to_uppercase())));
        }
    }
    if context.catalog.database(name).is_some() {
        return Err(SqlError::new(
            ErrorKind::DuplicateDatabase,
            format!("database \"{name}\" already exists"),
        ));
    }
    Ok(DdlCommand::CreateDatabase { name: name.to_owned() })
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
        ObjectType::Index => index::drop_indexes(dropped, context),
        ObjectType::Sequence => sequence::drop_sequences(dropped, context),
        ObjectType::Schema => schema::drop_schemas(dropped, context),
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
    let (released, notices) = released(&tables, dropped.cascade, context)?;
    Ok(DdlCommand::DropTable { tables, skipped, released, notices })
}

/// The tables that lose foreign keys to tables that are dropped, and what CASCADE says of it.
fn released(
    tables: &[Arc<TableMeta>],
    cascade: bool,
    context: &PlanContext,
) -> Result<(Vec<Arc<TableMeta>>, Vec<DdlNotice>)> {
    let ids: Vec<_> = tables.iter().map(|table| table.id).collect();
    let mut constraints = Vec::new();
    let mut notices = Vec::new();
    for table in tables {
        let found = referring(table.id, &ids, context, |_| true);
        let name = shown_name(table, context);
        let dropped = (tables.len() == 1).then(|| format!("table {name}"));
        let dependents = Dependents { dropped, on: format!("table {name}"), constraints: found };
        notices.extend(dependents.release(cascade, context)?);
        constraints.extend(dependents.constraints);
    }
    Ok((without_foreign_keys(&constraints), notices))
}

pub(crate) fn drop_database(
    name: &str,
    if_exists: bool,
    force: bool,
    context: &PlanContext,
) -> Result<DdlCommand> {
    match context.catalog.database(name) {
        None => {
            let message = format!("database \"{name}\" does not exist");
            if if_exists {
                let notices = vec![DdlNotice::plain(format!("{message}, skipping"))];
                return Ok(DdlCommand::Nothing { tag: "DROP DATABASE", notices });
            }
            Err(SqlError::new(ErrorKind::InvalidCatalogName, message))
        }
        Some(_) if name == "template1" => {
            Err(SqlError::new(ErrorKind::WrongObjectType, "cannot drop a template database"))
        }
        Some(database) if database.id == context.database => {
            Err(SqlError::new(ErrorKind::ObjectInUse, "cannot drop the currently open database"))
        }
        Some(_) => Ok(DdlCommand::DropDatabase { name: name.to_owned(), force }),
    }
}
