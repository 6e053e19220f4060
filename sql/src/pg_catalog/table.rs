//! A system relation as DataFusion's table: a batch computed when it is scanned.
//!
//! What it is not: indexed. Filters are evaluated above; catalogs are small.
//!
//! Invariant: the schema carries PostgreSQL's type of every column, domains as the type below them.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DfResult;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use exec::error::raise;
use exec::functions::catalog::builtin::{self, SystemColumn, SystemRelation};
use proto::{ColumnType, Oid};

use super::value::column;
use super::{Computed, Facts, fixed};

/// A system relation in one statement.
#[derive(Debug)]
pub(super) struct SystemTable {
    relation: &'static SystemRelation,
    /// None for a relation of fixed rows, or none.
    computed: Option<&'static Computed>,
    facts: Arc<Facts>,
    schema: SchemaRef,
}

impl SystemTable {
    pub(super) fn new(
        relation: &'static SystemRelation,
        computed: Option<&'static Computed>,
        facts: Arc<Facts>,
    ) -> Self {
        let fields: Vec<FieldRef> = relation.columns.iter().map(field).collect();
        Self { relation, computed, facts, schema: Arc::new(Schema::new(fields)) }
    }

    /// The rows of this moment, all columns or some.
    fn batch(&self, projection: Option<&Vec<usize>>) -> DfResult<RecordBatch> {
        let rows = match self.computed {
            Some(computed) => (computed.rows)(&self.facts),
            None => fixed::rows(self.relation.name),
        };
        let schema = match projection {
            Some(positions) => Arc::new(self.schema.project(positions)?),
            None => Arc::clone(&self.schema),
        };
        let columns = schema
            .fields()
            .iter()
            .map(|field| column(&rows, self.position(field.name()), field))
            .collect::<Result<Vec<_>, _>>()
            .map_err(raise)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

impl SystemTable {
    /// Where a column's cells stand in the rows; past their end when the relation's file lacks the column.
    fn position(&self, name: &str) -> usize {
        let found = match self.computed {
            Some(computed) => computed.columns.iter().position(|column| *column == name),
            None => self.relation.columns.iter().position(|column| column.name == name),
        };
        found.unwrap_or(usize::MAX)
    }
}

/// The Arrow field of a column. A type that values are not carried in is text.
fn field(column: &SystemColumn) -> FieldRef {
    let known = ColumnType::from_oid(Oid(column.type_oid)).map(|ty| (ty, column.typmod)).or_else(|| {
        let domain = builtin::type_of_oid(column.type_oid)?;
        ColumnType::from_oid(Oid(domain.base)).map(|ty| (ty, domain.typmod))
    });
    let (ty, typmod) = known.unwrap_or((ColumnType::TEXT, -1));
    ColumnType { typmod, ..ty }.arrow_field(column.name, !column.not_null)
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let batch = self.batch(projection)?;
        let schema = batch.schema();
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?)
    }
}
