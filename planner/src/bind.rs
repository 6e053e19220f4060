//! Parameter values into plans.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};
use exec::ParameterValue;
use proto::{ErrorKind, SqlError};

use crate::binder::parameter_index;
use crate::error::{Result, from_datafusion};
use crate::expression::constant;
use crate::plan::{ConflictAction, CopyPlan, Plan, Returning, Step, StepWork};
use crate::query::{negative_limit, negative_offset};

/// A logical plan with its parameters replaced by values.
///
/// # Errors
/// 2201W and 2201X for negative row counts, 08P01 when values are missing.
pub fn bind(plan: LogicalPlan, parameters: &[ParameterValue]) -> Result<LogicalPlan> {
    if parameters.is_empty() {
        return Ok(plan);
    }
    let values = parameters.iter().map(ParameterValue::with_metadata).collect();
    let plan = plan.with_param_values(ParamValues::List(values)).map_err(from_datafusion)?;
    check_row_counts(plan)
}

/// The positions of parameters that decide how many rows a plan gives (LIMIT, OFFSET), each once.
#[must_use]
pub fn row_count_parameters(plan: &LogicalPlan) -> Vec<usize> {
    let mut found = Vec::new();
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.fetch, &limit.skip].into_iter().flatten() {
                count.apply(|part| {
                    if let Expr::Placeholder(placeholder) = part
                        && let Some(index) = parameter_index(&placeholder.id)
                    {
                        found.push(index);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the closure raises nothing");
    found.sort_unstable();
    found.dedup();
    found
}

/// A logical plan whose row counts have their values, while its other parameters stay open.
///
/// # Errors
/// Those of `bind`.
pub fn bind_row_counts(plan: LogicalPlan, parameters: &[ParameterValue]) -> Result<LogicalPlan> {
    let mut refused = None;
    let plan = plan
        .transform_up_with_subqueries(|node| {
            if !matches!(node, LogicalPlan::Limit(_)) {
                return Ok(Transformed::no(node));
            }
            node.map_expressions(|count| match bind_expression(count, parameters) {
                Ok(count) => Ok(Transformed::yes(count)),
                Err(error) => {
                    refused = Some(error);
                    Ok(Transformed::new(Expr::default(), false, TreeNodeRecursion::Stop))
                }
            })
        })
        .map_err(from_datafusion)?;
    refused.map_or_else(|| check_row_counts(plan.data), Err)
}

/// An expression with its parameters replaced by values.
///
/// # Errors
/// 08P01 when values are missing.
pub fn bind_expression(expression: Expr, parameters: &[ParameterValue]) -> Result<Expr> {
    let mut missing = false;
    let bound = expression
        .transform_up(|node| {
            let Expr::Placeholder(placeholder) = &node else { return Ok(Transformed::no(node)) };
            match parameter_index(&placeholder.id).and_then(|index| parameters.get(index)) {
                Some(parameter) => Ok(Transformed::yes(constant(parameter.value.clone(), parameter.ty))),
                None => {
                    missing = true;
                    Ok(Transformed::no(node))
                }
            }
        })
        .map_err(from_datafusion)?;
    if missing {
        return Err(SqlError::new(ErrorKind::ProtocolViolation, "bind message supplies too few parameters"));
    }
    Ok(bound.data)
}

/// A whole plan with its parameters replaced by values.
///
/// # Errors
/// Those of `bind` and `bind_expression`.
pub fn bind_plan(plan: Plan, parameters: &[ParameterValue]) -> Result<Plan> {
    if parameters.is_empty() {
        return Ok(plan);
    }
    Ok(match plan {
        Plan::Query(mut query) => {
            query.logical = bind(query.logical, parameters)?;
            query.steps = bind_steps(query.steps, parameters)?;
            Plan::Query(query)
        }
        Plan::Insert(mut insert) => {
            insert.source = bind(insert.source, parameters)?;
            insert.steps = bind_steps(insert.steps, parameters)?;
            insert.returning = bind_returning(insert.returning, parameters)?;
            if let Some(conflict) = &mut insert.conflict
                && let ConflictAction::Update { assignments, filter, .. } = &mut conflict.action
            {
                for (_, value) in assignments.iter_mut() {
                    *value = bind_expression(std::mem::take(value), parameters)?;
                }
                *filter = filter.take().map(|filter| bind_expression(filter, parameters)).transpose()?;
            }
            Plan::Insert(insert)
        }
        Plan::Update(mut update) => {
            update.source = bind(update.source, parameters)?;
            update.steps = bind_steps(update.steps, parameters)?;
            update.returning = bind_returning(update.returning, parameters)?;
            Plan::Update(update)
        }
        Plan::Delete(mut delete) => {
            delete.source = bind(delete.source, parameters)?;
            delete.steps = bind_steps(delete.steps, parameters)?;
            delete.returning = bind_returning(delete.returning, parameters)?;
            Plan::Delete(delete)
        }
        Plan::Execute(mut execute) => {
            if let Some(query) = &mut execute.values {
                query.logical = bind(query.logical.clone(), parameters)?;
            }
            Plan::Execute(execute)
        }
        Plan::Call(mut call) => {
            if let Some(query) = &mut call.arguments {
                query.logical = bind(query.logical.clone(), parameters)?;
            }
            Plan::Call(call)
        }
        Plan::Explain(mut explain) => {
            *explain.plan = bind_plan(*explain.plan, parameters)?;
            Plan::Explain(explain)
        }
        Plan::Copy(mut copy) => {
            if let CopyPlan::To { query, .. } = copy.as_mut() {
                query.logical = bind(query.logical.clone(), parameters)?;
            }
            Plan::Copy(copy)
        }
        other => other,
    })
}

fn bind_steps(steps: Vec<Step>, parameters: &[ParameterValue]) -> Result<Vec<Step>> {
    let bound = |step: Step| {
        let work = match step.work {
            StepWork::Write(plan) => StepWork::Write(Box::new(bind_plan(*plan, parameters)?)),
            StepWork::Lock(mut query) => {
                query.logical = bind(query.logical, parameters)?;
                for count in [&mut query.limit, &mut query.offset] {
                    *count = count.take().map(|count| bind_expression(count, parameters)).transpose()?;
                }
                StepWork::Lock(query)
            }
        };
        Ok(Step { work, ..step })
    };
    steps.into_iter().map(bound).collect()
}

fn bind_returning(returning: Option<Returning>, parameters: &[ParameterValue]) -> Result<Option<Returning>> {
    let Some(mut returning) = returning else { return Ok(None) };
    returning.expressions = returning
        .expressions
        .into_iter()
        .map(|expression| bind_expression(expression, parameters))
        .collect::<Result<_>>()?;
    Ok(Some(returning))
}

/// Row counts that were parameters: NULL is no limit, negative ones are errors.
fn check_row_counts(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut refused = None;
    let plan = plan
        .transform_up_with_subqueries(|node| {
            let LogicalPlan::Limit(mut limit) = node else { return Ok(Transformed::no(node)) };
            let (fetch, skip) = (value_of(limit.fetch.as_deref()), value_of(limit.skip.as_deref()));
            let negative = |count: &Option<ScalarValue>| {
                matches!(count, Some(ScalarValue::Int64(Some(number))) if *number < 0)
            };
            if negative(&fetch) {
                refused = Some(negative_limit());
            } else if negative(&skip) {
                refused = Some(negative_offset());
            }
            if refused.is_some() {
                return Ok(Transformed::new(LogicalPlan::Limit(limit), false, TreeNodeRecursion::Stop));
            }
            let null = |count: &Option<ScalarValue>| count.as_ref().is_some_and(ScalarValue::is_null);
            let changed = null(&fetch) || null(&skip);
            if null(&fetch) {
                limit.fetch = None;
            }
            if null(&skip) {
                limit.skip = None;
            }
            let node = LogicalPlan::Limit(limit);
            Ok(if changed { Transformed::yes(node) } else { Transformed::no(node) })
        })
        .map_err(from_datafusion)?;
    match refused {
        Some(error) => Err(error),
        None => Ok(plan.data),
    }
}

/// The value of a row count: a constant, or an integer constant cast to int8.
fn value_of(count: Option<&Expr>) -> Option<ScalarValue> {
    match unaliased(count?) {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::ScalarFunction(call) => match call.args.as_slice() {
            [Expr::Literal(value, _)] if value.data_type().is_integer() => {
                value.cast_to(&DataType::Int64).ok()
            }
            _ => None,
        },
        _ => None,
    }
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
