//! Projections without FROM: evaluated on one row, without optimizer and physical planner.
//!
//! Anything unusual (subqueries, types that still need coercion, an error) goes the long way, which also
//! produces the error that users see.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Volatility};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

/// The projection over one empty row that a plan consists of.
pub(super) fn as_constant_projection(plan: &LogicalPlan) -> Option<&Projection> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    match projection.input.as_ref() {
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && empty.schema.fields().is_empty() => {
            projection.expr.iter().all(is_simple).then_some(projection)
        }
        _ => None,
    }
}

/// Whether evaluating twice does no harm and nothing needs a plan.
fn is_simple(expression: &Expr) -> bool {
    let mut simple = true;
    let walked = expression.apply(|node| {
        simple = match node {
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::Placeholder(_)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::Unnest(_)
            | Expr::OuterReferenceColumn(..) => false,
            Expr::ScalarFunction(function) => {
                function.func.signature().volatility != Volatility::Volatile
                    || matches!(function.func.name(), "random" | "clock_timestamp" | "currval" | "lastval")
            }
            _ => true,
        };
        Ok(if simple { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_ok() && simple
}

/// Whether an expression calls a function, which may look at the statement.
pub(super) fn calls(projection: &Projection) -> bool {
    let is_call = |node: &Expr| Ok(matches!(node, Expr::ScalarFunction(_) | Expr::HigherOrderFunction(_)));
    projection.expr.iter().any(|expression| expression.exists(is_call).unwrap_or(true))
}

/// The one row, or none when the long way must be gone.
pub(super) fn evaluate(
    projection: &Projection,
    options: Arc<ConfigOptions>,
) -> Option<SendableRecordBatchStream> {
    let mut properties = ExecutionProps::new();
    properties.config_options = Some(options);
    let empty = DFSchema::empty();
    let row = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )
    .ok()?;
    let mut columns = Vec::with_capacity(projection.expr.len());
    let planning = PhysicalPlanningContext::default();
    for (expression, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let physical = create_physical_expr(expression, &empty, &properties, &planning).ok()?;
        let column = physical.evaluate(&row).and_then(|value| value.into_array(1)).ok()?;
        if column.data_type() != field.data_type() {
            return None;
        }
        columns.push(column);
    }
    let schema = Arc::clone(projection.schema.inner());
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options).ok()?;
    let stream = futures::stream::once(std::future::ready(Ok(batch)));
    Some(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
}
