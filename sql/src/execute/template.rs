//! A query that runs again: planned for the engine once, then run with each execution's values.
//!
//! The first execution plans for its own values, which suits statements that run once. What decides the number of
//! rows (LIMIT, OFFSET) is part of the plan, so a template serves the row counts it was made with.
//!
//! Invariant: a slot belongs to one plan, so whatever the plan is valid for the template is valid for.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use exec::{ParameterValue, StatementContext, Template};
use parking_lot::Mutex;
use planner::plan::QueryPlan;
use proto::SqlError;

use super::SessionExecutor;

/// The place of a plan's template.
#[derive(Debug, Default)]
pub(super) struct TemplateSlot(Mutex<State>);

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    NeverRun,
    RanOnce,
    /// The plan's shape does not allow a template.
    Refused,
    Ready {
        row_counts: Vec<ScalarValue>,
        template: Arc<Template>,
    },
}

impl SessionExecutor {
    /// The template to run a query by, made now when it is time; none when the query is to be planned for its
    /// values.
    pub(super) async fn template(
        &self,
        slot: &TemplateSlot,
        query: &QueryPlan,
        values: &[ParameterValue],
        context: &Arc<StatementContext>,
    ) -> Result<Option<Arc<Template>>, SqlError> {
        let state = slot.0.lock().clone();
        match state {
            State::NeverRun => {
                *slot.0.lock() = State::RanOnce;
                return Ok(None);
            }
            State::Refused => return Ok(None),
            State::Ready { row_counts, template } if row_counts == row_counts_of(query, values) => {
                return Ok(Some(template));
            }
            State::RanOnce | State::Ready { .. } => {}
        }
        let open = planner::bind_row_counts(query.logical.clone(), values)?;
        let template = self.shared.engine.template(open, context).await.map(Arc::new);
        *slot.0.lock() = match &template {
            Some(template) => {
                State::Ready { row_counts: row_counts_of(query, values), template: Arc::clone(template) }
            }
            None => State::Refused,
        };
        Ok(template)
    }
}

/// The values that the number of rows depends on.
fn row_counts_of(query: &QueryPlan, values: &[ParameterValue]) -> Vec<ScalarValue> {
    let positions = planner::row_count_parameters(&query.logical);
    positions
        .into_iter()
        .filter_map(|position| values.get(position))
        .map(|given| given.value.clone())
        .collect()
}
