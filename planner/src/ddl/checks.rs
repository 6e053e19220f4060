//! CHECK constraints: bound and printed when they are made, bound again when rows are checked.
//!
//! What it is not: no row is looked at here.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto::catalog::{CheckConstraint, TableMeta};
use proto::{ErrorKind, Oid, SqlError, TableId};
use sqlparser::ast;

use super::columns::bounded_name;
use crate::binder::Binder;
use crate::context::PlanContext;
use crate::dml::{row_relation, row_schema};
use crate::environment::{Ctes, Env, Place};
use crate::error::{Result, internal};
use crate::plan::RowChecks;
use crate::scope::Relations;
use crate::syntax::parse_expression;

/// A CHECK as it was written.
pub(super) struct WrittenCheck {
    pub name: Option<String>,
    pub condition: ast::Expr,
}

/// Adds a constraint to a table, under PostgreSQL's name for it when it has none.
pub(super) fn add_check(table: &mut TableMeta, check: WrittenCheck, context: &PlanContext) -> Result<()> {
    let is_new = table.id == TableId(0);
    let (expression, positions) = understood(table, &check.condition, context)?;
    let name = match check.name {
        Some(name) if is_new && table.has_constraint(&name) => {
            return Err(SqlError::new(
                ErrorKind::DuplicateObject,
                format!("check constraint \"{name}\" already exists"),
            ));
        }
        Some(name) if table.has_constraint(&name) => {
            return Err(SqlError::new(
                ErrorKind::DuplicateObject,
                format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
            ));
        }
        Some(name) => name,
        None => {
            let column = match positions.iter().collect::<Vec<_>>().as_slice() {
                [only] => Some(table.columns[**only].name.as_str()),
                _ => None,
            };
            let wanted = bounded_name(&table.name, column, "check");
            let numbered = (1_u32..).map(|number| format!("{wanted}{number}"));
            std::iter::once(wanted.clone())
                .chain(numbered)
                .find(|name| !table.has_constraint(name))
                .unwrap_or_default()
        }
    };
    let columns = positions.into_iter().map(|position| table.columns[position].id).collect();
    table.checks.push(CheckConstraint { oid: Oid(0), name, expression, columns });
    Ok(())
}

/// The text of a condition and the positions of the columns it reads.
fn understood(
    table: &TableMeta,
    condition: &ast::Expr,
    context: &PlanContext,
) -> Result<(String, BTreeSet<usize>)> {
    let table = Arc::new(table.clone());
    let binder = Binder::new(context);
    let relations = Relations { relations: vec![row_relation(&table, &table.name)], merged: Vec::new() };
    let ctes = Ctes::default();
    let env = Env::new(&relations, &ctes, Place::Check);
    let bound = binder.bind_condition(condition, "CHECK", &env)?;
    if !binder.parameter_types()?.is_empty() {
        return Err(SqlError::new(ErrorKind::UndefinedParameter, "there is no parameter $1"));
    }
    let positions =
        bound.column_refs().into_iter().filter_map(|column| table.column_position(&column.name)).collect();
    let text = binder.printed(condition, &env)?;
    // A text that does not read back is of no use.
    let reads =
        parse_expression(&text).is_ok_and(|parsed| binder.bind_condition(&parsed, "CHECK", &env).is_ok());
    Ok((if reads { text } else { condition.to_string() }, positions))
}

/// The constraints that every row written to a table must meet, in the order PostgreSQL looks at them.
pub(crate) fn row_checks(table: &Arc<TableMeta>, binder: &Binder<'_>) -> Result<Option<Box<RowChecks>>> {
    if table.checks.is_empty() {
        return Ok(None);
    }
    let relation = row_relation(table, &table.name);
    let schema = row_schema([&relation])?;
    let relations = Relations { relations: vec![relation], merged: Vec::new() };
    let ctes = Ctes::default();
    let env = Env::new(&relations, &ctes, Place::Check);
    let mut checks: Vec<&CheckConstraint> = table.checks.iter().collect();
    checks.sort_by(|left, right| left.name.cmp(&right.name));
    let mut expressions = Vec::with_capacity(checks.len());
    for check in &checks {
        let parsed = parse_expression(&check.expression)
            .map_err(|error| internal(format!("constraint \"{}\": {}", check.name, error.message)))?;
        expressions.push(binder.bind_condition(&parsed, "CHECK", &env)?);
    }
    let names = checks.iter().map(|check| check.name.clone()).collect();
    Ok(Some(Box::new(RowChecks { names, expressions, schema })))
}

/// A condition's text after a column got another name.
pub(super) fn renamed(expression: &str, from: &str, to: &str) -> Result<String> {
    crate::syntax::replace_name(expression, from, to)
}
