//! Tables as DataFusion sees them: a schema, and a scan over the statement's snapshot.
//!
//! What it is not: no data. The snapshot comes from the `StatementContext` of the session that plans the scan.
//!
//! Invariant: a predicate that is pushed down is applied completely (`Exact`), and only to visible rows.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::datasource::{TableType, provider_as_source, source_as_provider};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableSource};
use datafusion::physical_plan::ExecutionPlan;
use proto::Timestamp;
use proto::catalog::TableMeta;
use segments::ScanColumn;

use crate::engine::as_functions;
use crate::scan::SegmentScanExec;

/// Which columns a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Columns {
    /// The table's own.
    User,
    /// Then `_segment`, `_ordinal`, `_row`: where each row is, for UPDATE and DELETE.
    WithIdentity,
}

/// A table of ours.
#[derive(Clone, Debug)]
pub struct SegmentTable {
    meta: Arc<TableMeta>,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
    /// The instant it is read at; none is the statement's.
    at: Option<Timestamp>,
}

impl SegmentTable {
    /// A table with the columns it shows.
    #[must_use]
    pub fn new(meta: Arc<TableMeta>, columns: Columns) -> Self {
        let mut scanned: Vec<ScanColumn> = (0..meta.columns.len()).map(ScanColumn::Column).collect();
        if columns == Columns::WithIdentity {
            scanned.extend([ScanColumn::Segment, ScanColumn::Ordinal, ScanColumn::Row]);
        }
        let stored = meta.arrow_schema();
        let fields: Vec<_> = scanned.iter().filter_map(|column| column.field(&stored)).collect();
        Self { meta, columns: scanned, schema: Arc::new(Schema::new(fields)), at: None }
    }

    /// The instant it is read at; none is the statement's.
    #[must_use]
    pub const fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// The catalog's description.
    #[must_use]
    pub const fn meta(&self) -> &Arc<TableMeta> {
        &self.meta
    }

    /// What each column of the schema is.
    #[must_use]
    pub fn columns(&self) -> &[ScanColumn] {
        &self.columns
    }
}

/// The table as a logical plan's source.
#[must_use]
pub fn table_source(meta: Arc<TableMeta>, columns: Columns) -> Arc<dyn TableSource> {
    provider_as_source(Arc::new(SegmentTable::new(meta, columns)))
}

/// A table as it was at an instant, as a logical plan's source.
#[must_use]
pub fn past_table_source(meta: Arc<TableMeta>, at: Timestamp) -> Arc<dyn TableSource> {
    let table = SegmentTable { at: Some(at), ..SegmentTable::new(meta, Columns::User) };
    provider_as_source(Arc::new(table))
}

/// Hands the table of ours behind a source to `see`; none for other relations.
pub fn with_segment_table<T>(
    source: &Arc<dyn TableSource>,
    see: impl FnOnce(&SegmentTable) -> T,
) -> Option<T> {
    let provider = source_as_provider(source).ok()?;
    provider.downcast_ref::<SegmentTable>().map(see)
}

#[async_trait]
impl TableProvider for SegmentTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| {
                if is_pushable(filter) {
                    TableProviderFilterPushDown::Exact
                } else {
                    TableProviderFilterPushDown::Unsupported
                }
            })
            .collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let predicate = conjunction(filters.iter().cloned())
            .map(|filter| {
                let filter = as_functions(filter)?.data;
                session.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&self.schema))?)
            })
            .transpose()?;
        let scan = SegmentScanExec::try_new(self, projection, predicate, limit, session.config().options())?;
        Ok(Arc::new(scan))
    }
}

/// Whether a predicate depends on nothing but the row and parameters: those the scan applies itself, before anything above.
#[must_use]
pub fn is_pushable(filter: &Expr) -> bool {
    let mut pushable = !filter.is_volatile();
    let walked = filter.apply(|node| {
        if matches!(
            node,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ) {
            pushable = false;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && pushable
}
