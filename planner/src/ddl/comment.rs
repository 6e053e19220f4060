//! COMMENT ON: the object looked up, its address and the text as a catalog change.

use proto::catalog::{CatalogChange, ObjectAddress};
use proto::{ErrorKind, SqlError};
use sqlparser::ast;

use crate::context::PlanContext;
use crate::error::{At, Result, undefined_relation, undefined_table_column};
use crate::names::{NamedRelation, fold, qualified, relation, target_table};
use crate::plan::DdlCommand;
use crate::syntax::Commented;

/// OIDs of PostgreSQL's catalogs.
const PG_CLASS: u32 = 1259;
const PG_CONSTRAINT: u32 = 2606;
const PG_NAMESPACE: u32 = 2615;
const PG_DATABASE: u32 = 1262;

pub(crate) fn comment(about: &Commented, text: Option<&str>, context: &PlanContext) -> Result<DdlCommand> {
    let about = address(about, context)?;
    // An empty comment is none.
    let text = text.filter(|text| !text.is_empty()).map(Into::into);
    let changes = vec![CatalogChange::PutComment(about, text)];
    Ok(DdlCommand::Catalog { tag: "COMMENT", changes, notices: Vec::new() })
}

const fn whole(class: u32, object: u32) -> ObjectAddress {
    ObjectAddress { class, object, column: 0 }
}

fn address(about: &Commented, context: &PlanContext) -> Result<ObjectAddress> {
    let undefined =
        |what: String| SqlError::new(ErrorKind::UndefinedObject, format!("{what} does not exist"));
    match about {
        Commented::Table(name) => {
            let name = qualified(name, context)?;
            if super::sequence::find(&name, context).is_some() {
                return Err(SqlError::new(
                    ErrorKind::WrongObjectType,
                    format!("\"{}\" is not a table", name.name),
                ));
            }
            Ok(whole(PG_CLASS, target_table(&name, context)?.id.oid().0))
        }
        Commented::Column(name) => column(name, context),
        Commented::Sequence(name) => {
            let name = qualified(name, context)?;
            match super::sequence::find(&name, context) {
                Some(sequence) => Ok(whole(PG_CLASS, sequence.id.oid().0)),
                None => match relation(&name, context) {
                    Ok(NamedRelation::Table(_) | NamedRelation::System(_)) => Err(SqlError::new(
                        ErrorKind::WrongObjectType,
                        format!("\"{}\" is not a sequence", name.name),
                    )),
                    Err(error) => Err(error),
                },
            }
        }
        Commented::Index(name) => {
            let name = qualified(name, context)?;
            let tables = context.catalog.tables.values().filter(|table| table.database == context.database);
            let mut indexes = tables.flat_map(|table| {
                let keys = table.keys().map(|key| (key.name, key.index_oid));
                keys.chain(table.indexes.iter().map(|index| (index.name.as_str(), index.oid)))
            });
            let index = indexes.find(|(index, _)| *index == name.name);
            index
                .map(|(_, oid)| whole(PG_CLASS, oid.0))
                .ok_or_else(|| undefined_relation(&name.display()).at(name.span))
        }
        Commented::Schema(name) => {
            let name = fold(name);
            let own = context.catalog.namespace(context.database, &name).map(|namespace| namespace.oid.0);
            let oid = own.or_else(|| exec::functions::catalog::builtin::namespace_oid(&name));
            let oid = oid.ok_or_else(|| {
                SqlError::new(ErrorKind::InvalidSchemaName, format!("schema \"{name}\" does not exist"))
            })?;
            Ok(whole(PG_NAMESPACE, oid))
        }
        Commented::Database(name) => {
            let name = fold(name);
            let database = context.catalog.database(&name).ok_or_else(|| {
                SqlError::new(ErrorKind::InvalidCatalogName, format!("database \"{name}\" does not exist"))
            })?;
            Ok(whole(PG_DATABASE, database.id.0 as u32))
        }
        Commented::Extension(_) => Err(SqlError::unsupported("COMMENT ON EXTENSION")),
        Commented::Constraint { name, table } => {
            let table = target_table(&qualified(table, context)?, context)?;
            let name = fold(name);
            let oid = table.constraint(&name);
            let oid =
                oid.ok_or_else(|| undefined(format!("constraint \"{name}\" for table \"{}\"", table.name)))?;
            Ok(whole(PG_CONSTRAINT, oid.0))
        }
    }
}

fn column(name: &ast::ObjectName, context: &PlanContext) -> Result<ObjectAddress> {
    let mut parts = name.0.clone();
    let (Some(ast::ObjectNamePart::Identifier(column)), false) = (parts.pop(), parts.is_empty()) else {
        return Err(crate::error::syntax("column name must be qualified"));
    };
    let table = target_table(&qualified(&ast::ObjectName(parts), context)?, context)?;
    let name = fold(&column);
    let position = table.column_position(&name).ok_or_else(|| undefined_table_column(&table.name, &name))?;
    Ok(ObjectAddress { class: PG_CLASS, object: table.id.oid().0, column: table.columns[position].id })
}
