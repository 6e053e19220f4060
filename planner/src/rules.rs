//! The planner's optimizer rules.

use std::sync::Arc;

use datafusion::optimizer::OptimizerRule;

/// The rules that run behind DataFusion's own.
#[must_use]
pub fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    Vec::new()
}
