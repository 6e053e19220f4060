//! `KnnScan`: the k rows of a table nearest to a vector, among those that pass a predicate.
//!
//! A leaf that the planner's rule plants under `ORDER BY v <op> q LIMIT k`; it gives the needed columns plus
//! `_distance`, in total order. The Sort above stays in the logical plan; the physical leaf declares its order, so
//! that DataFusion drops a Sort by the same distance and keeps any other.
//!
//! Invariants: k rows come whenever k rows qualify; NaN distances stand behind numbers, NULL vectors last.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result as DfResult, TableReference};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use proto::catalog::TableMeta;
use proto::{DistanceMetric, TableId, Timestamp};
use segments::ScanColumn;

use crate::engine::as_functions;
use crate::error::internal;
use crate::functions::distance::operator_function;

mod report;
mod search;

pub use search::KnnScanExec;

/// Name of the distance column.
pub const DISTANCE_COLUMN: &str = "_distance";

/// What a `KnnScan` is made of.
#[derive(Clone, Debug)]
pub struct KnnScanSpec {
    pub table: Arc<TableMeta>,
    /// The instant it is read at; none is the statement's.
    pub at: Option<Timestamp>,
    /// The name that the query's columns are qualified with.
    pub qualifier: TableReference,
    /// Output columns, before `_distance`.
    pub columns: Vec<ScanColumn>,
    /// Predicates over the table's columns, all of them pushable (`table::is_pushable`).
    pub filters: Vec<Expr>,
    /// Position of the vector column in the table.
    pub vector: usize,
    pub metric: DistanceMetric,
    /// The query vector: constant, parameter or uncorrelated scalar subquery.
    pub query: Expr,
    /// Rows wanted: limit plus offset.
    pub k: usize,
}

/// The parts by which two leaves are the same: the table with its version and instant first.
type Identity<'a> =
    ((TableId, u64, Option<Timestamp>), usize, DistanceMetric, usize, &'a Expr, &'a [Expr], &'a [ScanColumn]);

/// The logical leaf.
#[derive(Clone, Debug)]
pub struct KnnScan {
    spec: KnnScanSpec,
    schema: DFSchemaRef,
}

impl KnnScan {
    /// The leaf, with its schema: the columns and `_distance`, all qualified.
    ///
    /// # Errors
    /// XX000 when a column does not exist.
    pub fn try_new(spec: KnnScanSpec) -> DfResult<Self> {
        let stored = spec.table.arrow_schema();
        let mut fields = Vec::with_capacity(spec.columns.len() + 1);
        for column in &spec.columns {
            let field = column.field(&stored).ok_or_else(|| internal("no such column to search"))?;
            fields.push((Some(spec.qualifier.clone()), field));
        }
        let distance = Arc::new(Field::new(DISTANCE_COLUMN, DataType::Float64, true));
        fields.push((Some(spec.qualifier.clone()), distance));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, std::collections::HashMap::new())?);
        Ok(Self { spec, schema })
    }

    /// What the leaf was made of.
    #[must_use]
    pub const fn spec(&self) -> &KnnScanSpec {
        &self.spec
    }

    /// The leaf as a plan.
    #[must_use]
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    /// The expressions over the leaf's columns that give its order: a Sort by one of them has nothing to do, and
    /// rows at equal distance stay in order of age.
    fn distances(&self) -> Vec<Expr> {
        let spec = &self.spec;
        let position = spec.columns.iter().position(|column| *column == ScanColumn::Column(spec.vector));
        let Some(position) = position else { return Vec::new() };
        let vector = Expr::Column(Column::from(self.schema.qualified_field(position)));
        let function = operator_function(spec.metric);
        vec![
            function.call(vec![vector.clone(), spec.query.clone()]),
            function.call(vec![spec.query.clone(), vector]),
        ]
    }

    /// The parts by which two leaves are the same.
    fn identity(&self) -> Identity<'_> {
        let spec = &self.spec;
        (
            (spec.table.id, spec.table.schema_version, spec.at),
            spec.vector,
            spec.metric,
            spec.k,
            &spec.query,
            &spec.filters,
            &spec.columns,
        )
    }
}

impl PartialEq for KnnScan {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.schema == other.schema
    }
}

impl Eq for KnnScan {}

impl Hash for KnnScan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.schema.hash(state);
    }
}

impl PartialOrd for KnnScan {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self == other {
            return Some(Ordering::Equal);
        }
        let key = |scan: &Self| (scan.spec.table.id, scan.spec.vector, scan.spec.metric, scan.spec.k);
        key(self)
            .partial_cmp(&key(other))
            .filter(|order| order.is_ne())
            .or_else(|| self.spec.query.partial_cmp(&other.spec.query).filter(|order| order.is_ne()))
    }
}

impl UserDefinedLogicalNodeCore for KnnScan {
    fn name(&self) -> &str {
        "KnnScan"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The query only: the filters' columns exist below the leaf, where rules that look at a node's
    /// expressions would not find them. They are bound, coerced and folded when the leaf is planted.
    fn expressions(&self) -> Vec<Expr> {
        vec![self.spec.query.clone()]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "KnnScan: {} {} k={}",
            self.spec.qualifier,
            self.spec.metric.operator(),
            self.spec.k
        )
    }

    fn with_exprs_and_inputs(&self, expressions: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let (Some(query), true) = (expressions.into_iter().next(), inputs.is_empty()) else {
            return Err(internal("a KnnScan has a query and no input"));
        };
        let spec = KnnScanSpec { query, ..self.spec.clone() };
        Ok(Self { spec, schema: Arc::clone(&self.schema) })
    }
}

/// DataFusion's planner, which also knows `KnnScan`.
#[derive(Debug)]
pub(crate) struct KnnQueryPlanner;

#[async_trait]
impl QueryPlanner for KnnQueryPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(KnnPlanner)])
            .create_physical_plan(plan, session)
            .await
    }
}

#[derive(Debug)]
struct KnnPlanner;

#[async_trait]
impl ExtensionPlanner for KnnPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(scan) = node.as_any().downcast_ref::<KnnScan>() else { return Ok(None) };
        let spec = scan.spec();
        let query = planner.create_physical_expr(&spec.query, &DFSchema::empty(), session, planning)?;
        let table_schema =
            DFSchema::try_from_qualified_schema(spec.qualifier.clone(), &spec.table.arrow_schema())?;
        let predicate = conjunction(spec.filters.iter().cloned())
            .map(|filter| {
                let filter = as_functions(filter)?.data;
                planner.create_physical_expr(&filter, &table_schema, session, planning)
            })
            .transpose()?;
        let mut same_order = Vec::new();
        for distance in scan.distances() {
            same_order.push(planner.create_physical_expr(&distance, &scan.schema, session, planning)?);
        }
        let schema = Arc::clone(scan.schema.inner());
        let options = session.config().options();
        let exec = KnnScanExec::try_new(spec, schema, query, predicate, same_order, options)?;
        Ok(Some(Arc::new(exec)))
    }
}

#[cfg(test)]
mod tests;
