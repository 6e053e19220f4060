//! Rows that one step of a statement has given, as a relation for the steps behind it: WITH that writes, SELECT … FOR
//! UPDATE.
//!
//! What it is not: an operator of its own. The rows are in the `StatementContext` before the plan that reads them is
//! made, so a plan with such a relation is made for one execution.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::logical_expr::{Expr, TableSource};
use datafusion::physical_plan::ExecutionPlan;
use proto::{ErrorKind, SqlError};

use crate::error::internal;
use crate::statement::of_config;

#[derive(Debug)]
struct StepTable {
    step: usize,
    schema: SchemaRef,
}

/// The rows of a step as a logical plan's source.
#[must_use]
pub fn step_source(step: usize, schema: SchemaRef) -> Arc<dyn TableSource> {
    provider_as_source(Arc::new(StepTable { step, schema }))
}

/// Rows as a step's relation has them.
///
/// # Errors
/// XX000 when a column cannot be carried in its type.
pub fn step_rows(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, SqlError> {
    let wrong = |error| SqlError::new(ErrorKind::Internal, format!("rows of a step: {error}"));
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(wrong)
}

#[async_trait]
impl TableProvider for StepTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let context = of_config(session.config().options())?;
        let rows = context.steps.get(&self.step);
        let rows = rows.ok_or_else(|| internal(format!("step {} has not run", self.step)))?;
        let schema = Arc::clone(&self.schema);
        Ok(MemorySourceConfig::try_new_exec(&[rows.as_ref().clone()], schema, projection.cloned())?)
    }
}
