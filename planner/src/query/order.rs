//! ORDER BY: what an item means, and the sort over a query's output columns.

use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, OrderByKind, Spanned, Value, ValueWithSpan};

use super::Columns;
use crate::binder::Binder;
use crate::error::{At, Result, ambiguous_column, from_datafusion, syntax, undefined_column, unsupported};
use crate::names::fold;

/// The items of an ORDER BY clause.
pub(super) fn items(order_by: Option<&ast::OrderBy>) -> Result<&[ast::OrderByExpr]> {
    let Some(order_by) = order_by else { return Ok(&[]) };
    if order_by.interpolate.is_some() {
        return Err(syntax("syntax error at or near \"INTERPOLATE\""));
    }
    match &order_by.kind {
        OrderByKind::Expressions(items) => {
            if items.iter().any(|item| item.with_fill.is_some()) {
                return Err(syntax("syntax error at or near \"WITH\""));
            }
            Ok(items)
        }
        OrderByKind::All(_) => Err(unsupported("ORDER BY ALL")),
    }
}

/// Direction and place of NULLs: ascending puts them last, descending first.
pub(super) fn directions(item: &ast::OrderByExpr) -> (bool, bool) {
    let ascending = item.options.asc.unwrap_or(true);
    (ascending, item.options.nulls_first.unwrap_or(!ascending))
}

/// The output column an integer literal stands for, from 0.
pub(super) fn ordinal(expression: &ast::Expr, clause: &str, columns: usize) -> Result<Option<usize>> {
    let ast::Expr::Value(ValueWithSpan { value, span }) = expression else { return Ok(None) };
    match value {
        Value::Number(digits, _) => match digits.parse::<usize>() {
            Ok(number) if (1..=columns).contains(&number) => Ok(Some(number - 1)),
            Ok(number) => Err(SqlError::new(
                ErrorKind::InvalidColumnReference,
                format!("{clause} position {number} is not in select list"),
            )
            .at(*span)),
            Err(_) => Err(syntax(format!("non-integer constant in {clause}")).at(*span)),
        },
        Value::Null | Value::Boolean(_) | Value::SingleQuotedString(_) => {
            Err(syntax(format!("non-integer constant in {clause}")).at(*span))
        }
        _ => Ok(None),
    }
}

/// The output column a bare name stands for, from 0; equal columns of one name are no ambiguity.
pub(super) fn output_named<T: PartialEq>(
    expression: &ast::Expr,
    names: impl Iterator<Item = (String, T)>,
) -> Result<Option<usize>> {
    let ast::Expr::Identifier(identifier) = expression else { return Ok(None) };
    let wanted = fold(identifier);
    let mut first: Option<(usize, T)> = None;
    for (position, (name, value)) in names.enumerate() {
        if name != wanted {
            continue;
        }
        match &first {
            None => first = Some((position, value)),
            Some((_, seen)) if *seen == value => {}
            Some(_) => {
                return Err(SqlError {
                    message: format!("ORDER BY \"{wanted}\" is ambiguous"),
                    ..ambiguous_column(&wanted)
                }
                .at(identifier.span));
            }
        }
    }
    Ok(first.map(|(position, _)| position))
}

impl Binder<'_> {
    /// ORDER BY over a set operation or VALUES: only output columns can be named.
    pub(super) fn order_by_output(
        &self,
        plan: LogicalPlan,
        columns: &Columns,
        items: &[ast::OrderByExpr],
    ) -> Result<LogicalPlan> {
        if items.is_empty() {
            return Ok(plan);
        }
        let mut sorts = Vec::with_capacity(items.len());
        for item in items {
            let position = match ordinal(&item.expr, "ORDER BY", columns.len())? {
                Some(position) => position,
                None => {
                    let names = columns.iter().map(|column| (column.name.clone(), &column.column));
                    output_named(&item.expr, names)?.ok_or_else(|| no_output(&item.expr))?
                }
            };
            let (ascending, nulls_first) = directions(item);
            sorts.push(Sort::new(Expr::Column(columns[position].column.clone()), ascending, nulls_first));
        }
        LogicalPlanBuilder::from(plan)
            .sort(sorts)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)
    }
}

fn no_output(expression: &ast::Expr) -> SqlError {
    if let ast::Expr::Identifier(name) = expression {
        return undefined_column(&fold(name)).at(name.span);
    }
    SqlError::new(ErrorKind::FeatureNotSupported, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
        .with_detail("Only result column names can be used, not expressions or functions.")
        .with_hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.")
        .at(expression.span())
}
