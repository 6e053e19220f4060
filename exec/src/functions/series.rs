//! `generate_series` as a relation: a table provider over constant bounds, produced batch by batch.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{IntervalMonthDayNano, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::TableType;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::{LazyBatchGenerator, LazyMemoryExec};
use parking_lot::RwLock;
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::signature::Signature;
use super::{Function, FunctionKind};
use crate::error::raise;

/// Rows per batch.
const BATCH_ROWS: usize = 8192;

/// The bounds of a series, inclusive, and its step.
#[derive(Clone, Debug, PartialEq)]
pub enum Bounds {
    /// int4 or int8, by `kind`.
    Integers { kind: TypeKind, start: i64, stop: i64, step: i64 },
    /// timestamp or timestamptz in microseconds.
    Instants { kind: TypeKind, start: i64, stop: i64, step: IntervalMonthDayNano },
}

impl Bounds {
    const fn kind(&self) -> TypeKind {
        match self {
            Self::Integers { kind, .. } | Self::Instants { kind, .. } => *kind,
        }
    }
}

/// The relation of a series with one column; none stands for a NULL bound, which gives no rows.
///
/// # Errors
/// 22023 `step size cannot equal zero`.
pub fn series_provider(bounds: Option<Bounds>, column: &str) -> Result<Arc<dyn TableProvider>, SqlError> {
    if let Some(Bounds::Integers { step: 0, .. }) = bounds {
        return Err(SqlError::new(ErrorKind::InvalidParameterValue, "step size cannot equal zero"));
    }
    if let Some(Bounds::Instants { step, .. }) = &bounds
        && step.months == 0
        && step.days == 0
        && step.nanoseconds == 0
    {
        return Err(SqlError::new(ErrorKind::InvalidParameterValue, "step size cannot equal zero"));
    }
    let kind = bounds.as_ref().map_or(TypeKind::Int4, Bounds::kind);
    let schema = Arc::new(Schema::new(vec![ColumnType::scalar(kind).arrow_field(column, true)]));
    Ok(Arc::new(Series { bounds, schema }))
}

#[derive(Debug)]
struct Series {
    bounds: Option<Bounds>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Series {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let generator = Generator { schema: Arc::clone(&self.schema), at: self.bounds.clone() };
        let exec = LazyMemoryExec::try_new(Arc::clone(&self.schema), vec![Arc::new(RwLock::new(generator))])?;
        Ok(Arc::new(exec.with_projection(projection.cloned())))
    }
}

/// Produces the series from its current position on; none when it is at its end.
#[derive(Clone, Debug)]
struct Generator {
    schema: SchemaRef,
    at: Option<Bounds>,
}

impl fmt::Display for Generator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("generate_series")
    }
}

impl LazyBatchGenerator for Generator {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn generate_next_batch(&mut self) -> DfResult<Option<RecordBatch>> {
        let Some(bounds) = self.at.take() else { return Ok(None) };
        let kind = bounds.kind();
        let (values, rest) = match bounds {
            Bounds::Integers { kind, start, stop, step } => {
                let (values, next) = integers(start, stop, step);
                (values, next.map(|start| Bounds::Integers { kind, start, stop, step }))
            }
            Bounds::Instants { kind, start, stop, step } => {
                let (values, next) = instants(start, stop, step).map_err(raise)?;
                (values, next.map(|start| Bounds::Instants { kind, start, stop, step }))
            }
        };
        self.at = rest;
        if values.is_empty() {
            return Ok(None);
        }
        let column: ArrayRef = match kind {
            TypeKind::Int4 => Arc::new(values.iter().map(|value| *value as i32).collect::<Int32Array>()),
            TypeKind::Int8 => Arc::new(Int64Array::from(values)),
            TypeKind::Timestamptz => Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")),
            _ => Arc::new(TimestampMicrosecondArray::from(values)),
        };
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?))
    }

    fn reset_state(&self) -> Arc<RwLock<dyn LazyBatchGenerator>> {
        Arc::new(RwLock::new(self.clone()))
    }
}

fn integers(start: i64, stop: i64, step: i64) -> (Vec<i64>, Option<i64>) {
    let mut values = Vec::new();
    let mut at = start;
    while (step > 0 && at <= stop) || (step < 0 && at >= stop) {
        if values.len() == BATCH_ROWS {
            return (values, Some(at));
        }
        values.push(at);
        match at.checked_add(step) {
            Some(next) => at = next,
            None => break,
        }
    }
    (values, None)
}

fn instants(start: i64, stop: i64, step: IntervalMonthDayNano) -> Result<(Vec<i64>, Option<i64>), SqlError> {
    let mut values = Vec::new();
    let mut at = start;
    let forward = super::arithmetic::shift_local(start, step)? > start;
    while (forward && at <= stop) || (!forward && at >= stop) {
        if values.len() == BATCH_ROWS {
            return Ok((values, Some(at)));
        }
        values.push(at);
        at = super::arithmetic::shift_local(at, step)?;
    }
    Ok((values, None))
}

/// The entry that makes `generate_series` known.
#[must_use]
pub(super) fn function() -> Function {
    let signatures = [
        ("int4,int4", "int4"),
        ("int4,int4,int4", "int4"),
        ("int8,int8", "int8"),
        ("int8,int8,int8", "int8"),
        ("timestamp,timestamp,interval", "timestamp"),
        ("timestamptz,timestamptz,interval", "timestamptz"),
    ]
    .into_iter()
    .map(|(arguments, result)| Signature::parse(arguments, result))
    .collect();
    Function { name: "generate_series".to_owned(), kind: FunctionKind::Table, signatures }
}
