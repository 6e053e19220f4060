//! INSERT, UPDATE, DELETE, TRUNCATE and COPY as queries plus what the sink does with their rows.
//!
//! What it is not: nothing is written here, and no key is looked up; a sink in `sql` turns the rows into table
//! changes. DataFusion's own DML nodes are not used: they lose filters.
//!
//! Invariants: an INSERT's source has exactly the table's columns; the sources of UPDATE and DELETE name every row
//! they touch by its identity.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, DFSchemaRef, TableReference};
use datafusion::logical_expr::Expr;
use proto::catalog::{self, TableMeta};
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, SelectItem};

use crate::binder::{Binder, Bound};
use crate::environment::{Ctes, Env, Outside, Place};
use crate::error::{At, Result, from_datafusion, internal, undefined_table_column};
use crate::expression::typed_null;
use crate::names::fold;
use crate::plan::{OutputColumn, Returning};
use crate::query::Unknowns;
use crate::scope::{Relation, Relations, ScopeColumn};
use crate::syntax::{Overriding, parse_expression};

mod assignment;
mod conflict;
mod copy;
mod delete;
mod insert;
mod lock;
mod truncate;
mod update;

pub(crate) use copy::plan_copy;
pub(crate) use lock::plan_lock;
pub(crate) use truncate::plan_truncate;

/// A DML statement being planned, with the CTEs in front of it.
pub(crate) struct Dml<'a> {
    pub binder: &'a Binder<'a>,
    pub ctes: &'a Ctes,
    pub overriding: Option<Overriding>,
}

impl Dml<'_> {
    const fn outside(&self) -> Outside<'_> {
        Outside { ctes: self.ctes, scope: None }
    }

    /// The value a column gets when none is given: its default, else NULL.
    pub(crate) fn default_value(&self, column: &catalog::Column) -> Result<Bound> {
        match self.default_expression(column)? {
            Some(bound) => Ok(bound),
            None => Ok(Bound::new(typed_null(column.ty)?, column.ty)),
        }
    }

    /// A column's default expression in the column's type.
    pub(crate) fn default_expression(&self, column: &catalog::Column) -> Result<Option<Bound>> {
        let Some(text) = &column.default else { return Ok(None) };
        let expression = parse_expression(text)
            .map_err(|error| internal(format!("default of column \"{}\": {}", column.name, error.message)))?;
        let nothing = Relations::default();
        let env = Env::new(&nothing, self.ctes, Place::Default);
        let bound = self.binder.bind(&expression, &env)?;
        self.binder.assign(bound, &column.name, column.ty).map(Some)
    }

    /// RETURNING over rows of `relations` whose plan columns `schema` lists.
    pub(super) fn returning(
        &self,
        items: Option<&Vec<SelectItem>>,
        relations: &Relations,
        schema: &DFSchemaRef,
    ) -> Result<Option<Returning>> {
        let Some(items) = items else { return Ok(None) };
        let env = Env::new(relations, self.ctes, Place::Returning);
        let items = self.binder.select_items(items, &env)?;
        let mut expressions = Vec::with_capacity(items.len());
        let mut columns = Vec::with_capacity(items.len());
        for (position, item) in items.into_iter().enumerate() {
            let bound = Unknowns::Text.settle(self.binder, item.bound, position)?;
            expressions.push(bound.expr);
            columns.push(OutputColumn { name: item.name, ty: bound.ty, table: item.origin });
        }
        Ok(Some(Returning { expressions, schema: Arc::clone(schema), columns }))
    }
}

/// The rows of a table as a relation that stands in no plan: for RETURNING and ON CONFLICT.
pub(super) fn row_relation(table: &Arc<TableMeta>, alias: &str) -> Relation {
    let reference = TableReference::bare(alias.to_owned());
    let columns = table
        .columns
        .iter()
        .map(|column| ScopeColumn {
            name: column.name.clone(),
            ty: column.ty,
            column: Column::new(Some(reference.clone()), column.name.clone()),
            origin: Some((table.id, column.id)),
            hidden: false,
        })
        .collect();
    Relation {
        alias: alias.to_owned(),
        schema: Some(table.namespace.clone()),
        columns,
        table: Some(Arc::clone(table)),
    }
}

/// The schema of relations' columns in order.
pub(super) fn row_schema<'r>(relations: impl IntoIterator<Item = &'r Relation>) -> Result<DFSchemaRef> {
    let fields = relations
        .into_iter()
        .flat_map(|relation| &relation.columns)
        .map(|column| {
            let field = column.ty.arrow_field(&column.column.name, true);
            (column.column.relation.clone(), field)
        })
        .collect();
    DFSchema::new_with_metadata(fields, std::collections::HashMap::new())
        .map(Arc::new)
        .map_err(from_datafusion)
}

/// The position of a named column of the target table.
pub(super) fn target_column(table: &TableMeta, name: &ast::Ident) -> Result<usize> {
    let folded = fold(name);
    table.column_position(&folded).ok_or_else(|| undefined_table_column(&table.name, &folded).at(name.span))
}

/// The last part of a column name in a target list; PostgreSQL takes no table name there.
pub(super) fn target_name(table: &TableMeta, name: &ast::ObjectName) -> Result<ast::Ident> {
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(name)] => Ok(name.clone()),
        [ast::ObjectNamePart::Identifier(first), ..] => {
            Err(undefined_table_column(&table.name, &fold(first)).at(first.span))
        }
        _ => Err(crate::error::syntax("syntax error in column list")),
    }
}

/// Whether an expression is the word DEFAULT.
pub(super) fn is_default(expression: &ast::Expr) -> bool {
    matches!(expression, ast::Expr::Identifier(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
}

/// 42701.
pub(super) fn repeated_column(name: &str) -> SqlError {
    SqlError::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
}

/// The expressions under the table's column names.
pub(super) fn named(table: &TableMeta, values: Vec<Expr>) -> Vec<Expr> {
    values.into_iter().zip(&table.columns).map(|(value, column)| value.alias(column.name.clone())).collect()
}
