//! Expressions over one batch, outside any plan: RETURNING, ON CONFLICT … SET, CHECK, generated values.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use proto::SqlError;

use crate::statement::{StatementContext, StatementExtension};
use crate::to_sql_error;

/// Expressions compiled for a schema; they can be evaluated on many batches of one statement.
#[derive(Debug)]
pub struct RowExpressions {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: Arc<DFSchema>,
}

impl RowExpressions {
    /// Coerces, simplifies and compiles expressions over a schema.
    ///
    /// # Errors
    /// Whatever is wrong with the expressions: unknown columns, types that do not fit, subqueries (XX000).
    pub fn compile(
        expressions: &[Expr],
        schema: &DFSchema,
        context: &StatementContext,
    ) -> Result<Self, SqlError> {
        let mut options = ConfigOptions::new();
        options.extensions.insert(StatementExtension(Arc::new(context.clone())));
        let options = Arc::new(options);
        let schema = Arc::new(schema.clone());
        let compiled = expressions
            .iter()
            .map(|expression| compile(expression, &schema, &options))
            .collect::<DfResult<Vec<_>>>()
            .map_err(to_sql_error)?;
        Ok(Self { expressions: compiled, schema })
    }

    /// One array per expression, each with one value per row of the batch.
    ///
    /// # Errors
    /// Whatever evaluating raises.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, SqlError> {
        let rows = batch.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let typed = RecordBatch::try_new_with_options(
            Arc::clone(self.schema.inner()),
            batch.columns().to_vec(),
            &options,
        )
        .map_err(|error| to_sql_error(error.into()))?;
        self.expressions
            .iter()
            .map(|expression| expression.evaluate(&typed).and_then(|value| value.into_array(rows)))
            .collect::<DfResult<Vec<_>>>()
            .map_err(to_sql_error)
    }
}

fn compile(
    expression: &Expr,
    schema: &Arc<DFSchema>,
    options: &Arc<ConfigOptions>,
) -> DfResult<Arc<dyn PhysicalExpr>> {
    let info = SimplifyContext::builder()
        .with_schema(Arc::clone(schema))
        .with_config_options(Arc::clone(options))
        .build();
    let simplifier = ExprSimplifier::new(info);
    let coerced = simplifier.coerce(expression.clone(), schema)?;
    let simplified = simplifier.simplify(coerced)?;
    let mut properties = ExecutionProps::new();
    properties.config_options = Some(Arc::clone(options));
    create_physical_expr(&simplified, schema, &properties, &PhysicalPlanningContext::default())
}

/// Evaluates expressions over one batch.
///
/// # Errors
/// As `RowExpressions`.
pub fn evaluate(
    expressions: &[Expr],
    schema: &DFSchema,
    batch: &RecordBatch,
    context: &StatementContext,
) -> Result<Vec<ArrayRef>, SqlError> {
    RowExpressions::compile(expressions, schema, context)?.evaluate(batch)
}

#[cfg(test)]
mod tests;
