//! Templates: a query planned once, whose leaves take their snapshots and whose expressions take their
//! parameters when it runs.
//!
//! Planning is the largest cost of a short query, so a statement that runs again and again is planned once.
//! Which plans qualify is a matter of their shape: leaves of ours under projections, filters, sorts and limits,
//! without subqueries, without volatile functions, and without anything the optimizer would fold for one
//! statement only (`now()`, `current_user`).
//!
//! Invariants: a template holds no snapshot and no value of a parameter; a run gives what `Engine::execute` gives
//! for the plan with the values in place; runs share nothing that changes.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::parameters::{ParameterValue, Values, is_open, reads_session};
use crate::knn::KnnScanExec;
use crate::scan::SegmentScanExec;
use crate::statement::StatementContext;

/// A query that is planned already.
#[derive(Debug)]
pub struct Template {
    pub(super) physical: Arc<dyn ExecutionPlan>,
    /// Some function looks at the session's values.
    pub(super) reads_session: bool,
    /// What each parameter must be carried by; none where the plan has no such parameter.
    parameters: Vec<Option<DataType>>,
}

/// Whether a logical plan may be planned once for all statements.
pub(super) fn qualifies(plan: &LogicalPlan) -> DfResult<bool> {
    let refused = plan.exists(|node| {
        let mut refused = false;
        node.apply_expressions(|expression| {
            refused = !is_lasting(expression)?
                || matches!(node, LogicalPlan::Limit(_))
                    && expression.exists(|part| Ok(is_parameter(part)))?;
            Ok(if refused { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(refused)
    })?;
    Ok(!refused)
}

const fn is_parameter(expression: &Expr) -> bool {
    matches!(expression, Expr::Placeholder(_))
}

/// Whether nothing in an expression would be computed at planning for one statement only.
fn is_lasting(expression: &Expr) -> DfResult<bool> {
    let refused = expression.exists(|part| {
        Ok(match part {
            Expr::ScalarFunction(call) => match call.func.signature().volatility {
                Volatility::Immutable => false,
                Volatility::Volatile => true,
                // Folded unless its value depends on a row or a parameter.
                Volatility::Stable => {
                    !part.exists(|inner| Ok(is_parameter(inner) || matches!(inner, Expr::Column(_))))?
                }
            },
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::Unnest(_) => true,
            Expr::Placeholder(placeholder) => placeholder.field.is_none(),
            _ => false,
        })
    })?;
    Ok(!refused)
}

impl Template {
    /// A physical plan as a template; none when it has a node that a run could not start anew.
    pub(super) fn of(
        physical: Arc<dyn ExecutionPlan>,
        parameters: Vec<Option<DataType>>,
    ) -> DfResult<Option<Self>> {
        let mut qualifies = true;
        let mut session = false;
        physical.apply(|node| {
            let fills =
                node.is::<KnnScanExec>() || node.is::<SegmentScanExec>() || node.is::<ProjectionExec>();
            let plain = node.is::<FilterExec>()
                || node.is::<SortExec>()
                || node.is::<GlobalLimitExec>()
                || node.is::<LocalLimitExec>()
                || node.is::<CooperativeExec>();
            node.apply_expressions(&mut |expression| {
                qualifies &= fills || !is_open(expression)?;
                session |= reads_session(expression)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
            qualifies &= fills || plain;
            Ok(if qualifies { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })?;
        Ok(qualifies.then_some(Self { physical, reads_session: session, parameters }))
    }

    /// Whether the plan is right for these values (a numeric's scale is part of its carrier) and a good one for
    /// what its tables hold now: it reads each with one partition.
    pub(super) fn fits(
        &self,
        values: &[ParameterValue],
        context: &StatementContext,
        target_partitions: usize,
    ) -> DfResult<bool> {
        let mut fits = self.parameters.iter().enumerate().all(|(position, wanted)| {
            wanted.as_ref().is_none_or(|wanted| {
                values.get(position).is_some_and(|given| given.value.data_type() == *wanted)
            })
        });
        if !fits {
            return Ok(false);
        }
        self.physical.apply(|node| {
            if let Some(scan) = node.downcast_ref::<SegmentScanExec>() {
                fits = scan.is_worth_one_partition(context, target_partitions)?;
            }
            Ok(if fits { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })?;
        Ok(fits)
    }
}

/// A plan of its own for one run.
pub(super) fn for_run(
    plan: &Arc<dyn ExecutionPlan>,
    values: &Values<'_>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    if let Some(leaf) = leaf_for_run(plan, values)? {
        return Ok(leaf);
    }
    let children =
        plan.children().into_iter().map(|child| for_run(child, values)).collect::<DfResult<Vec<_>>>()?;
    if let (Some(projection), [child]) = (plan.downcast_ref::<ProjectionExec>(), children.as_slice())
        && any_open(projection.expr().iter().map(|column| &column.expr))?
    {
        let columns = projection
            .expr()
            .iter()
            .map(|column| {
                Ok(ProjectionExpr { expr: values.values_in(&column.expr)?, alias: column.alias.clone() })
            })
            .collect::<DfResult<Vec<_>>>()?;
        let schema = plan.schema();
        let filled = ProjectionExec::try_new_with_schema_metadata(columns, Arc::clone(child), &schema)?;
        return Ok(Arc::new(filled));
    }
    let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    Arc::clone(plan).replace_children(children, keep)?.reset_state()
}

/// A leaf of ours with a run's values in it; none for other operators.
pub(super) fn leaf_for_run(
    plan: &Arc<dyn ExecutionPlan>,
    values: &Values<'_>,
) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(scan) = plan.downcast_ref::<KnnScanExec>() {
        return Ok(Some(Arc::new(scan.with_values(values)?)));
    }
    if let Some(scan) = plan.downcast_ref::<SegmentScanExec>() {
        return Ok(Some(Arc::new(scan.with_values(values)?)));
    }
    Ok(None)
}

fn any_open<'a>(expressions: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>) -> DfResult<bool> {
    for expression in expressions {
        if is_open(expression)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
