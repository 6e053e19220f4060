//! Names: folding, splitting, and what a relation name means under the search path.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use proto::catalog::{CatalogSnapshot, TableMeta};
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use sqlparser::tokenizer::Span;

use crate::context::PlanContext;
use crate::error::{At, Result, undefined_relation, unsupported};

/// PostgreSQL's limit on the bytes of an identifier.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// An identifier as PostgreSQL stores it: folded to lower case unless quoted, cut at 63 bytes.
pub(crate) fn fold(identifier: &Ident) -> String {
    let mut name = match identifier.quote_style {
        Some(_) => identifier.value.clone(),
        None => identifier.value.to_lowercase(),
    };
    if name.len() > MAX_IDENTIFIER_BYTES {
        let mut end = MAX_IDENTIFIER_BYTES;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

/// A possibly qualified name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QualifiedName {
    pub schema: Option<String>,
    pub name: String,
    pub span: Span,
}

impl QualifiedName {
    /// As messages show it: `schema.name` as written.
    pub(crate) fn display(&self) -> String {
        self.schema.as_ref().map_or_else(|| self.name.clone(), |schema| format!("{schema}.{}", self.name))
    }
}

/// Splits `[database.][schema.]name`.
pub(crate) fn qualified(name: &ObjectName, context: &PlanContext) -> Result<QualifiedName> {
    let mut parts = Vec::with_capacity(name.0.len());
    let mut span = Span::empty();
    for part in &name.0 {
        let ObjectNamePart::Identifier(identifier) = part else {
            return Err(unsupported("a function call as part of a name"));
        };
        if span.start.line == 0 {
            span = identifier.span;
        }
        parts.push(fold(identifier));
    }
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(name), None, None, None) => Ok(QualifiedName { schema: None, name, span }),
        (Some(schema), Some(name), None, None) => Ok(QualifiedName { schema: Some(schema), name, span }),
        (Some(database), Some(schema), Some(name), None) => {
            let here = context.catalog.databases.get(&context.database);
            if here.is_some_and(|here| here.name == database) {
                Ok(QualifiedName { schema: Some(schema), name, span })
            } else {
                Err(SqlError::new(
                    ErrorKind::FeatureNotSupported,
                    format!("cross-database references are not implemented: \"{database}.{schema}.{name}\""),
                )
                .at(span))
            }
        }
        _ => Err(crate::error::syntax("improper qualified name (too many dotted names)").at(span)),
    }
}

/// What a relation name means.
#[derive(Clone)]
pub(crate) enum NamedRelation {
    Table(Arc<TableMeta>),
    System(Arc<dyn TableProvider>),
}

/// Looks a relation up: `pg_catalog` first unless the path names it, then the search path in order.
pub(crate) fn relation(name: &QualifiedName, context: &PlanContext) -> Result<NamedRelation> {
    relation_of(&context.catalog, name, context)
}

/// The same among the tables of a catalog, which may be a past one; system relations are always the present ones.
pub(crate) fn relation_of(
    catalog: &CatalogSnapshot,
    name: &QualifiedName,
    context: &PlanContext,
) -> Result<NamedRelation> {
    let found = find_relation(catalog, name, context);
    found.ok_or_else(|| undefined_relation(&name.display()).at(name.span))
}

fn find_relation(
    catalog: &CatalogSnapshot,
    name: &QualifiedName,
    context: &PlanContext,
) -> Option<NamedRelation> {
    let user = |schema: &str| catalog.table(context.database, schema, &name.name).map(Arc::clone);
    if let Some(schema) = &name.schema {
        if let Some(table) = user(schema) {
            return Some(NamedRelation::Table(table));
        }
        return context.system.relation(Some(schema), &name.name).map(NamedRelation::System);
    }
    let catalog_is_named = context.search_path.iter().any(|schema| schema == "pg_catalog");
    if !catalog_is_named && let Some(provider) = context.system.relation(None, &name.name) {
        return Some(NamedRelation::System(provider));
    }
    context.search_path.iter().find_map(|schema| {
        user(schema)
            .map(NamedRelation::Table)
            .or_else(|| context.system.relation(Some(schema), &name.name).map(NamedRelation::System))
    })
}

/// The user table of a name; system relations cannot be written.
pub(crate) fn target_table(name: &QualifiedName, context: &PlanContext) -> Result<Arc<TableMeta>> {
    match relation(name, context)? {
        NamedRelation::Table(table) => Ok(table),
        NamedRelation::System(_) => Err(SqlError::new(
            ErrorKind::InsufficientPrivilege,
            format!("permission denied: \"{}\" is a system catalog", name.name),
        )
        .at(name.span)),
    }
}

/// The schema that new objects go to when the name has none.
///
/// # Errors
/// 3F000 when the schema does not exist or none is selected, 42501 for system schemas.
pub(crate) fn creation_schema(name: &QualifiedName, context: &PlanContext) -> Result<String> {
    let own = |schema: &str| context.catalog.namespace(context.database, schema).is_some();
    let is_writable = |schema: &str| schema == "public" || own(schema);
    let schema = match &name.schema {
        Some(schema) => schema.clone(),
        None => context.search_path.iter().find(|schema| is_writable(schema)).cloned().ok_or_else(|| {
            SqlError::new(ErrorKind::InvalidSchemaName, "no schema has been selected to create in")
                .at(name.span)
        })?,
    };
    match schema.as_str() {
        "public" => Ok(schema),
        own_schema if own(own_schema) => Ok(schema),
        "pg_catalog" | "information_schema" | "elanus" => Err(SqlError::new(
            ErrorKind::InsufficientPrivilege,
            format!("permission denied for schema {schema}"),
        )
        .at(name.span)),
        _ => Err(SqlError::new(ErrorKind::InvalidSchemaName, format!("schema \"{schema}\" does not exist"))
            .at(name.span)),
    }
}
