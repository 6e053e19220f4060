//! Primary keys and other unique keys: read from constraints and CREATE UNIQUE INDEX, named as PostgreSQL names them.
//!
//! What it is not: no row is looked at here, and OIDs come later.

use proto::catalog::{Column, KeyMeta, PrimaryKey, TableMeta, UniqueKey};
use proto::{ErrorKind, Oid, SqlError, TypeKind};
use sqlparser::ast::{self, DeferrableInitial, NullsDistinctOption, TableConstraint};

use super::columns::bounded_name;
use crate::context::PlanContext;
use crate::error::{Result, unsupported};
use crate::names::fold;

/// A key as it was written, its columns by position.
pub(super) struct WrittenKey {
    pub name: Option<String>,
    pub columns: Vec<usize>,
    pub is_primary: bool,
    pub nulls_distinct: bool,
}

/// A key constraint whose columns are not looked up yet.
pub(super) struct NamedKey {
    pub name: Option<String>,
    pub columns: Vec<ast::Ident>,
    pub is_primary: bool,
    pub nulls_distinct: bool,
}

impl NamedKey {
    /// PostgreSQL's word for the constraint.
    pub(super) const fn kind(&self) -> &'static str {
        if self.is_primary { "primary key" } else { "unique" }
    }
}

/// A PRIMARY KEY or UNIQUE constraint of a table.
pub(super) fn key_constraint(constraint: &TableConstraint) -> Result<NamedKey> {
    match constraint {
        TableConstraint::PrimaryKey(key) => {
            refuse_deferrable(key.characteristics.as_ref())?;
            let columns = named_columns(&key.columns, "an expression in a primary key")?;
            Ok(NamedKey {
                name: key.name.as_ref().map(fold),
                columns,
                is_primary: true,
                nulls_distinct: true,
            })
        }
        TableConstraint::Unique(key) => {
            refuse_deferrable(key.characteristics.as_ref())?;
            if key.index_name.is_some() || key.index_type.is_some() || !key.index_options.is_empty() {
                return Err(unsupported("this clause of a UNIQUE constraint"));
            }
            let columns = named_columns(&key.columns, "an expression in a UNIQUE constraint")?;
            let nulls_distinct = key.nulls_distinct != NullsDistinctOption::NotDistinct;
            Ok(NamedKey { name: key.name.as_ref().map(fold), columns, is_primary: false, nulls_distinct })
        }
        _ => Err(unsupported("this table constraint")),
    }
}

fn named_columns(columns: &[ast::IndexColumn], otherwise: &str) -> Result<Vec<ast::Ident>> {
    let name = |column: &ast::IndexColumn| match &column.column.expr {
        ast::Expr::Identifier(name) => Ok(name.clone()),
        _ => Err(unsupported(otherwise)),
    };
    columns.iter().map(name).collect()
}

/// # Errors
/// 0A000 for a constraint that is to be looked at no sooner than COMMIT.
pub(super) fn refuse_deferrable(characteristics: Option<&ast::ConstraintCharacteristics>) -> Result<()> {
    let Some(said) = characteristics else { return Ok(()) };
    if said.deferrable == Some(true) || said.initially == Some(DeferrableInitial::Deferred) {
        return Err(unsupported("a DEFERRABLE constraint"));
    }
    if said.enforced == Some(false) {
        return Err(unsupported("a constraint that is NOT ENFORCED"));
    }
    Ok(())
}

/// # Errors
/// 42704 for a type that has no order, 0A000 for vectors.
pub(super) fn refuse_unordered<'a>(columns: impl IntoIterator<Item = &'a Column>, key: &str) -> Result<()> {
    for column in columns {
        match column.ty.kind {
            TypeKind::Vector => {
                return Err(unsupported(format!("a {key} on vector column \"{}\"", column.name)));
            }
            TypeKind::Json => {
                let ty = column.ty.without_typmod().display();
                let message =
                    format!("data type {ty} has no default operator class for access method \"btree\"");
                return Err(SqlError::new(ErrorKind::UndefinedObject, message).with_hint(
                    "You must specify an operator class for the index or define a default operator class \
                     for the data type.",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The keys of one statement, the primary one first and no two that say the same. A name stays, whichever had it.
pub(super) fn merged(mut keys: Vec<WrittenKey>) -> Vec<WrittenKey> {
    keys.sort_by_key(|key| !key.is_primary);
    let mut merged: Vec<WrittenKey> = Vec::with_capacity(keys.len());
    for key in keys {
        let same = |known: &&mut WrittenKey| {
            known.columns == key.columns && known.nulls_distinct == key.nulls_distinct
        };
        match merged.iter_mut().find(same) {
            Some(known) => known.name = known.name.take().or(key.name),
            None => merged.push(key),
        }
    }
    merged
}

/// Adds a primary or other unique key to a table.
pub(super) fn add_key(table: &mut TableMeta, key: WrittenKey, context: &PlanContext) -> Result<()> {
    if !key.is_primary {
        return add_unique(table, key, Some(Oid(0)), "key", context);
    }
    refuse_unordered(key.columns.iter().map(|&at| &table.columns[at]), "primary key")?;
    let columns = key.columns.iter().map(|&position| table.columns[position].id).collect();
    let name = chosen_name(table, key.name, || bounded_name(&table.name, None, "pkey"), context)?;
    table.primary_key = Some(PrimaryKey { oid: Oid(0), index_oid: Oid(0), name, columns });
    Ok(())
}

/// Adds a unique key under the name it was given or PostgreSQL's.
pub(super) fn add_unique(
    table: &mut TableMeta,
    key: WrittenKey,
    constraint: Option<Oid>,
    label: &str,
    context: &PlanContext,
) -> Result<()> {
    refuse_unordered(key.columns.iter().map(|&at| &table.columns[at]), "unique key")?;
    let names: Vec<&str> = key.columns.iter().map(|&at| table.columns[at].name.as_str()).collect();
    let default = || bounded_name(&table.name, Some(&names.join("_")), label);
    let name = chosen_name(table, key.name, default, context)?;
    let columns = key.columns.iter().map(|&position| table.columns[position].id).collect();
    table.uniques.push(UniqueKey {
        constraint,
        index_oid: Oid(0),
        name,
        columns,
        nulls_distinct: key.nulls_distinct,
    });
    Ok(())
}

/// The name of a key's index: the given one, which must be free, or the first free one.
fn chosen_name(
    table: &TableMeta,
    given: Option<String>,
    default: impl FnOnce() -> String,
    context: &PlanContext,
) -> Result<String> {
    let taken = |name: &str| {
        context.catalog.relation_exists(context.database, &table.namespace, name)
            || table.keys().any(|key| key.name == name)
    };
    match given {
        Some(name) if taken(&name) => {
            Err(SqlError::new(ErrorKind::DuplicateTable, format!("relation \"{name}\" already exists")))
        }
        Some(name) if table.has_constraint(&name) => Err(SqlError::new(
            ErrorKind::DuplicateObject,
            format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
        )),
        Some(name) => Ok(name),
        None => {
            let wanted = default();
            let numbered = (1_u32..).map(|number| format!("{wanted}{number}"));
            let free = |name: &String| !taken(name) && !table.has_constraint(name);
            Ok(std::iter::once(wanted.clone()).chain(numbered).find(free).unwrap_or_default())
        }
    }
}

/// The keys whose columns are exactly these, in any order.
pub(crate) fn keys_over<'a>(
    table: &'a TableMeta,
    positions: &std::collections::BTreeSet<usize>,
) -> impl Iterator<Item = KeyMeta<'a>> {
    table.keys().filter(move |key| {
        let columns = table.positions(key.columns);
        columns.len() == positions.len() && columns.iter().all(|column| positions.contains(column))
    })
}
