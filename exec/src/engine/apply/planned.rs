//! A subquery planned once for all outer rows.
//!
//! What it refers to outside is a parameter of the plan. Leaves of ours are given the values of a run, as in a
//! template; in every other operator the parameter looks its value up. A subquery that DataFusion cannot plan with
//! parameters (an outer column in LIMIT) is planned anew for each outer row, with literals.
//!
//! Invariant: a plan is in one run at a time; runs at once have plans of their own.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, collect};
use parking_lot::Mutex;
use proto::ColumnType;

use super::references::{Outer, parameter, substitute};
use crate::engine::parameters::{ParameterValue, PresentValues, Values, id_of};
use crate::engine::{physical_plan, template};
use crate::statement::of_config;

/// A subquery and its plans.
#[derive(Debug)]
pub(super) struct PlannedSubquery {
    plan: Arc<LogicalPlan>,
    outer: Vec<(Outer, FieldRef)>,
    state: SessionState,
    idle: Mutex<Idle>,
}

/// Plans that are in no run.
#[derive(Debug, Default)]
struct Idle {
    plans: Vec<OpenPlan>,
    /// Planning with parameters has failed.
    refused: bool,
}

/// A plan with open parameters, and where they look for their values.
#[derive(Debug)]
struct OpenPlan {
    physical: Arc<dyn ExecutionPlan>,
    present: PresentValues,
}

impl PlannedSubquery {
    pub(super) fn new(plan: Arc<LogicalPlan>, outer: Vec<(Outer, FieldRef)>, state: &SessionState) -> Self {
        let mut state = state.clone();
        let options = state.config_mut().options_mut();
        // A run is short, and there are many.
        options.execution.target_partitions = 1;
        // A filter that fills while a plan runs would stay for its next run.
        options.optimizer.enable_dynamic_filter_pushdown = false;
        Self { plan, outer, state, idle: Mutex::default() }
    }

    pub(super) const fn plan(&self) -> &Arc<LogicalPlan> {
        &self.plan
    }

    /// The first column of the subquery's rows for some outer values.
    pub(super) async fn run(&self, outer: &[ScalarValue]) -> DfResult<ArrayRef> {
        of_config(self.state.config_options())?.cancel.check()?;
        let Some(open) = self.open_plan().await else {
            let literals = outer.iter().map(|value| Expr::Literal(value.clone(), None));
            let physical = self.planned(literals.collect(), None).await?;
            return self.rows_of(physical).await;
        };
        open.present.set(outer.to_vec());
        let rows = self.rows_of(self.for_run(&open.physical, outer)?).await?;
        self.idle.lock().plans.push(open);
        Ok(rows)
    }

    /// A plan that is in no run, made when there is none; none when it cannot be made.
    async fn open_plan(&self) -> Option<OpenPlan> {
        {
            let mut idle = self.idle.lock();
            if idle.refused {
                return None;
            }
            if let Some(plan) = idle.plans.pop() {
                return Some(plan);
            }
        }
        let present = PresentValues::default();
        let parameters =
            self.outer.iter().enumerate().map(|(index, (_, field))| parameter(id_of(index), field));
        match self.planned(parameters.collect(), Some(&present)).await {
            Ok(physical) => Some(OpenPlan { physical, present }),
            Err(_) => {
                self.idle.lock().refused = true;
                None
            }
        }
    }

    /// The plan with expressions in the place of what is outside.
    async fn planned(
        &self,
        outer: Vec<Expr>,
        present: Option<&PresentValues>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let values: HashMap<Outer, Expr> =
            self.outer.iter().map(|(outer, _)| outer.clone()).zip(outer).collect();
        let plan = substitute(self.plan.as_ref().clone(), &values)?;
        // A future that contains itself needs a box.
        Box::pin(physical_plan(&self.state, plan, present)).await
    }

    /// A plan that has not run, with the values where its leaves want them.
    fn for_run(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        outer: &[ScalarValue],
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let parameters: Vec<ParameterValue> = self
            .outer
            .iter()
            .zip(outer)
            .map(|((_, field), value)| ParameterValue {
                value: value.clone(),
                ty: ColumnType::of_field(field),
            })
            .collect();
        let values = Values { parameters: &parameters, options: self.state.config_options() };
        let ready = Arc::clone(plan).transform_up(|node| {
            Ok(Transformed::yes(match template::leaf_for_run(&node, &values)? {
                Some(leaf) => leaf,
                None => node.reset_state()?,
            }))
        })?;
        Ok(ready.data)
    }

    async fn rows_of(&self, physical: Arc<dyn ExecutionPlan>) -> DfResult<ArrayRef> {
        let schema = physical.schema();
        first_column(&schema, &collect(physical, self.state.task_ctx()).await?)
    }
}

fn first_column(schema: &SchemaRef, batches: &[RecordBatch]) -> DfResult<ArrayRef> {
    if schema.fields().is_empty() {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        return Ok(arrow::array::new_null_array(&DataType::Null, rows));
    }
    Ok(Arc::clone(arrow::compute::concat_batches(schema, batches)?.column(0)))
}
