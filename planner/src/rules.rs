//! The planner's optimizer rules; they run behind DataFusion's own.

use std::sync::Arc;

use datafusion::optimizer::OptimizerRule;

mod knn;

/// The rules, in the order they run.
#[must_use]
pub fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![Arc::new(knn::PlantKnnScan)]
}
