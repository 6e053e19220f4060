//! What ALTER TABLE means for rows that exist: values they lack, what they must be shown to meet, and the query
//! that writes them anew when a constant in the catalog cannot say it.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit, not};
use exec::functions::{CastContext, can_cast};
use exec::table::Columns as TableColumns;
use proto::catalog::{Column, TableMeta};
use proto::{ColumnType, ErrorKind, SqlError};
use sqlparser::ast;

use super::alter::{Alteration, Missing};
use crate::binder::{Binder, Bound};
use crate::context::PlanContext;
use crate::dml::Dml;
use crate::environment::{Ctes, Env, Place};
use crate::error::{Result, datatype_mismatch, from_datafusion, internal};
use crate::expression::typed_null;
use crate::plan::RowProof;
use crate::query::{filter, project};
use crate::scope::Relations;
use crate::syntax::parse_expression;
use crate::types::column_type;

/// How a column gets its new type.
pub(super) struct Conversion {
    pub ty: ColumnType,
    using: Option<ast::Expr>,
}

/// See the file header.
pub(super) struct RowEffects {
    pub missing: Vec<Missing>,
    pub proofs: Vec<RowProof>,
    pub rewrite: Option<LogicalPlan>,
}

/// Checks that a column can become another type.
pub(super) fn conversion(
    context: &PlanContext,
    before: &Arc<TableMeta>,
    column: &Column,
    data_type: &ast::DataType,
    using: Option<&ast::Expr>,
) -> Result<Conversion> {
    let ty = column_type(data_type)?;
    if !ty.is_storable() {
        return Err(SqlError::unsupported(format!("a column of type {}", ty.display())));
    }
    let conversion = Conversion { ty, using: using.cloned() };
    let binder = Binder::new(context);
    let (_, relations) = scan(&binder, before, TableColumns::User)?;
    converted(&binder, &relations, column, &conversion)?;
    Ok(conversion)
}

/// The column's old value in its new type.
fn converted(
    binder: &Binder<'_>,
    relations: &Relations,
    column: &Column,
    conversion: &Conversion,
) -> Result<Expr> {
    let ctes = Ctes::default();
    let env = Env::new(relations, &ctes, Place::Transform);
    let bound = match &conversion.using {
        Some(expression) => binder.bind(expression, &env)?,
        None => named_column(relations, &column.name)?,
    };
    if !bound.is_unknown() && !can_cast(bound.ty, conversion.ty, CastContext::Assignment) {
        let automatically = if conversion.using.is_some() { "result of USING clause for " } else { "" };
        let hint = if conversion.using.is_some() {
            "You might need to add an explicit cast.".to_owned()
        } else {
            let name = exec::functions::catalog::names::quote_identifier(&column.name);
            format!("You might need to specify \"USING {name}::{}\".", conversion.ty.display())
        };
        return Err(datatype_mismatch(format!(
            "{automatically}column \"{}\" cannot be cast automatically to type {}",
            column.name,
            conversion.ty.display()
        ))
        .with_hint(hint));
    }
    Ok(binder.assign(bound, &column.name, conversion.ty)?.expr)
}

fn named_column(relations: &Relations, name: &str) -> Result<Bound> {
    let columns = relations.relations.first().map(|relation| &relation.columns);
    columns
        .and_then(|columns| columns.iter().find(|column| column.name == name))
        .map(|column| Bound::new(Expr::Column(column.column.clone()), column.ty))
        .ok_or_else(|| internal("a table without its column"))
}

fn scan(
    binder: &Binder<'_>,
    table: &Arc<TableMeta>,
    columns: TableColumns,
) -> Result<(LogicalPlan, Relations)> {
    let (plan, relation) = binder.table(table, &table.name, columns)?;
    Ok((plan, Relations { relations: vec![relation], merged: Vec::new() }))
}

/// Decides between values in the catalog and rows written anew, and what must be shown first.
pub(super) fn effects(alteration: &Alteration<'_>, context: &PlanContext) -> Result<RowEffects> {
    let binder = Binder::new(context);
    let ctes = Ctes::default();
    let dml = Dml { binder: &binder, ctes: &ctes, overriding: None };
    let mut missing = Vec::new();
    let mut volatile = alteration.new_key || !alteration.converted.is_empty();
    for column in alteration.after.columns.iter().filter(|column| alteration.filled.contains(&column.id)) {
        // A sequence of its own exists only when the statement is carried out.
        let value = if alteration.draws(column.id) { None } else { dml.default_expression(column)? };
        match value.map(|bound| bound.expr) {
            Some(value) if !value.is_volatile() => missing.push((column.id, value)),
            _ => volatile = true,
        }
    }
    let rewrite = volatile.then(|| rewritten(alteration, &binder)).transpose()?;
    let proofs = proofs(alteration, context)?;
    Ok(RowEffects { missing, proofs, rewrite })
}

/// All rows in the table's new form. A column that draws from a sequence is left NULL: the sink draws.
fn rewritten(alteration: &Alteration<'_>, binder: &Binder<'_>) -> Result<LogicalPlan> {
    let (plan, relations) = scan(binder, &alteration.before, TableColumns::User)?;
    let ctes = Ctes::default();
    let dml = Dml { binder, ctes: &ctes, overriding: None };
    let mut values = Vec::with_capacity(alteration.after.columns.len());
    for column in &alteration.after.columns {
        let old = alteration.before.columns.iter().find(|old| old.id == column.id);
        let value = match (old, alteration.converted.get(&column.id)) {
            (Some(old), Some(conversion)) => converted(binder, &relations, old, conversion)?,
            (Some(old), None) => named_column(&relations, &old.name)?.expr,
            (None, _) if alteration.draws(column.id) => typed_null(column.ty)?,
            (None, _) => dml.default_value(column)?.expr,
        };
        values.push(value.alias(column.name.clone()));
    }
    project(plan, values)
}

/// Queries over the new table that must give no row.
fn proofs(alteration: &Alteration<'_>, context: &PlanContext) -> Result<Vec<RowProof>> {
    let after = &alteration.after;
    let mut shown = after.clone();
    for column in &mut shown.columns {
        // What is to be shown must not be taken for granted.
        column.nullable = true;
    }
    let shown = Arc::new(shown);
    let mut proofs = Vec::new();
    for column in after.columns.iter().filter(|column| alteration.not_null.contains(&column.id)) {
        let binder = Binder::new(context);
        let (plan, relations) = scan(&binder, &shown, TableColumns::User)?;
        let condition = Expr::IsNull(Box::new(named_column(&relations, &column.name)?.expr));
        let error = SqlError::new(
            ErrorKind::NotNullViolation,
            format!("column \"{}\" of relation \"{}\" contains null values", column.name, after.name),
        )
        .with_table(&after.namespace, &after.name)
        .with_column(&column.name);
        proofs.push(RowProof { plan: first(filter(plan, condition)?)?, error });
    }
    for check in after.checks.iter().filter(|check| alteration.new_checks.contains(&check.name)) {
        let binder = Binder::new(context);
        let (plan, relations) = scan(&binder, &shown, TableColumns::User)?;
        let ctes = Ctes::default();
        let env = Env::new(&relations, &ctes, Place::Check);
        let condition = binder.bind_condition(&parse_expression(&check.expression)?, "CHECK", &env)?;
        let error = SqlError::new(
            ErrorKind::CheckViolation,
            format!(
                "check constraint \"{}\" of relation \"{}\" is violated by some row",
                check.name, after.name
            ),
        )
        .with_table(&after.namespace, &after.name)
        .with_constraint(&check.name);
        proofs.push(RowProof { plan: first(filter(plan, not(condition))?)?, error });
    }
    Ok(proofs)
}

/// One row, when there is any.
fn first(plan: LogicalPlan) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan)
        .project(vec![lit(true).alias("found")])
        .and_then(|builder| builder.limit(0, Some(1)))
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}
