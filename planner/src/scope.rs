//! The columns that an expression may name, and how PostgreSQL finds them.
//!
//! Every relation of a statement gets a qualifier of its own inside the DataFusion plan, whatever aliases the text
//! repeats; a scope maps the text's names to those columns. Columns found in an enclosing query become outer
//! references.
//!
//! Invariant: a DataFusion column is never looked up by a name of the text.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::Expr;
use proto::catalog::TableMeta;
use proto::{ColumnType, TableId};
use sqlparser::ast::Ident;

use crate::binder::Bound;
use crate::error::{At, Result, ambiguous_column, missing_from_entry, undefined_column, undefined_column_of};
use crate::names::fold;

/// A column of a relation in FROM.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    /// The name the text may use.
    pub name: String,
    pub ty: ColumnType,
    /// Where it is in the plan.
    pub column: Column,
    /// The table column it is, unchanged.
    pub origin: Option<(TableId, u32)>,
    /// Not part of `*` and not found without qualifier: the right side of a USING column, identity columns.
    pub hidden: bool,
}

impl ScopeColumn {
    pub(crate) fn bound(&self) -> Bound {
        Bound { expr: Expr::Column(self.column.clone()), ty: self.ty }
    }
}

/// One relation in FROM.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    /// The name that qualifies its columns; empty for a join alias-less subquery.
    pub alias: String,
    /// Schema, when the relation is a table without alias: `schema.table.column` works then.
    pub schema: Option<String>,
    pub columns: Vec<ScopeColumn>,
    pub table: Option<Arc<TableMeta>>,
}

/// A column that JOIN … USING merged from two.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    pub name: String,
    pub ty: ColumnType,
    pub expr: Expr,
    pub origin: Option<(TableId, u32)>,
}

/// The columns of a FROM clause.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relations {
    pub relations: Vec<Relation>,
    pub merged: Vec<Merged>,
}

/// What `*` expands to, and what a lookup finds.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub name: String,
    pub bound: Bound,
    pub origin: Option<(TableId, u32)>,
}

impl Relations {
    /// Every column of `*`, merged ones first.
    pub(crate) fn star(&self) -> Vec<Found> {
        let merged = self.merged.iter().map(|merged| Found {
            name: merged.name.clone(),
            bound: Bound { expr: merged.expr.clone(), ty: merged.ty },
            origin: merged.origin,
        });
        let plain =
            self.relations.iter().flat_map(|relation| &relation.columns).filter(|column| !column.hidden);
        merged.chain(plain.map(found)).collect()
    }

    /// Every column of `alias.*`.
    pub(crate) fn star_of(&self, schema: Option<&str>, alias: &str) -> Option<Vec<Found>> {
        let relation = self.relation(schema, alias)?;
        Some(relation.columns.iter().filter(|column| !is_identity(&column.name)).map(found).collect())
    }

    pub(crate) fn relation(&self, schema: Option<&str>, alias: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| {
            relation.alias == alias && (schema.is_none() || relation.schema.as_deref() == schema)
        })
    }

    /// The column of an unqualified name.
    fn unqualified(&self, name: &str) -> Result<Option<Found>> {
        let mut matches = self.merged.iter().filter(|merged| merged.name == name).map(|merged| Found {
            name: merged.name.clone(),
            bound: Bound { expr: merged.expr.clone(), ty: merged.ty },
            origin: merged.origin,
        });
        let mut plain = self
            .relations
            .iter()
            .flat_map(|relation| &relation.columns)
            .filter(|column| (!column.hidden || name == TABLEOID) && column.name == name)
            .map(found);
        let first = matches.next().or_else(|| plain.next());
        if first.is_some() && (matches.next().is_some() || plain.next().is_some()) {
            return Err(ambiguous_column(name));
        }
        Ok(first)
    }

    /// The column of a qualified name; `None` when no relation has the alias.
    fn qualified(&self, schema: Option<&str>, alias: &str, name: &str) -> Result<Option<Found>> {
        let Some(relation) = self.relation(schema, alias) else { return Ok(None) };
        let mut matches = relation.columns.iter().filter(|column| column.name == name);
        let first = matches.next().ok_or_else(|| undefined_column_of(alias, name))?;
        if matches.next().is_some() {
            return Err(ambiguous_column(name));
        }
        Ok(Some(found(first)))
    }
}

fn found(column: &ScopeColumn) -> Found {
    Found { name: column.name.clone(), bound: column.bound(), origin: column.origin }
}

/// The system column that names a row's relation; system relations have it.
pub(crate) const TABLEOID: &str = "tableoid";

/// Whether a column stands in no `*`: the row-identity columns of a DML target, system columns.
fn is_identity(name: &str) -> bool {
    matches!(name, "_segment" | "_ordinal" | "_row" | TABLEOID)
}

/// A FROM clause inside its enclosing queries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'s> {
    pub relations: &'s Relations,
    pub outer: Option<&'s Scope<'s>>,
}

impl Scope<'_> {
    /// The error for a table that is here under another name.
    fn hidden_by_alias(&self, name: &str) -> Option<proto::SqlError> {
        let scopes = std::iter::successors(Some(self), |scope| scope.outer);
        let relations = scopes.flat_map(|scope| &scope.relations.relations);
        let mut hidden =
            relations.filter(|relation| relation.table.as_ref().is_some_and(|table| table.name == name));
        hidden.next().map(|relation| {
            let message = format!("invalid reference to FROM-clause entry for table \"{name}\"");
            proto::SqlError::new(proto::ErrorKind::UndefinedTable, message)
                .with_hint(format!("Perhaps you meant to reference the table alias \"{}\".", relation.alias))
        })
    }

    /// Enclosing queries.
    pub(crate) fn depth(&self) -> usize {
        std::iter::successors(self.outer, |scope| scope.outer).count()
    }

    /// The column of a name as written, here or in an enclosing query.
    pub(crate) fn resolve(&self, parts: &[Ident]) -> Result<Found> {
        let span = parts.first().map_or_else(sqlparser::tokenizer::Span::empty, |part| part.span);
        let names: Vec<String> = parts.iter().map(fold).collect();
        let mut scope = Some(self);
        let mut level = 0;
        while let Some(here) = scope {
            let hit = match names.as_slice() {
                [name] => here.relations.unqualified(name),
                [alias, name] => here.relations.qualified(None, alias, name),
                [schema, alias, name] | [_, schema, alias, name] => {
                    here.relations.qualified(Some(schema), alias, name)
                }
                _ => Ok(None),
            }
            .at(span)?;
            if let Some(hit) = hit {
                return Ok(if level == 0 { hit } else { outer_reference(hit) });
            }
            scope = here.outer;
            level += 1;
        }
        Err(match names.as_slice() {
            [name] => undefined_column(name),
            [.., alias, _] => self.hidden_by_alias(alias).unwrap_or_else(|| missing_from_entry(alias)),
            [] => undefined_column(""),
        }
        .at(span))
    }
}

/// A column of an enclosing query, as DataFusion wants it inside the subquery.
fn outer_reference(found: Found) -> Found {
    let ty = found.bound.ty;
    let expr = match found.bound.expr {
        Expr::Column(column) => Expr::OuterReferenceColumn(ty.arrow_field(&column.name, true), column),
        other => other,
    };
    Found { bound: Bound { expr, ty }, ..found }
}
