//! The scan of a table's segments: visibility first, then the predicate on visible rows, then the columns.
//!
//! The work is cut into ranges of rows in storage order; each partition takes a run of neighbouring ranges, so
//! that one partition gives rows in the order they were inserted.
//!
//! Invariants: the predicate never sees an invisible row; no exact statistics are reported; cancellation is
//! looked at before every range.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as DfResult, Statistics};
use datafusion::config::ConfigOptions;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};
use proto::catalog::TableMeta;
use segments::{ScanColumn, SegmentView, TableSnapshot};

use crate::engine::BATCH_ROWS;
use crate::error::{internal, raise_classified};
use crate::predicate::RowFilter;
use crate::statement::{CancelFlag, of_config};
use crate::table::SegmentTable;

/// Rows that are worth a partition of their own.
const PARTITION_ROWS: usize = 32 * BATCH_ROWS;

/// A run of rows of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    segment: usize,
    rows: Range<usize>,
}

/// Reads a table.
#[derive(Debug)]
pub struct SegmentScanExec {
    table: Arc<TableMeta>,
    snapshot: Arc<TableSnapshot>,
    columns: Vec<ScanColumn>,
    filter: Option<Arc<RowFilter>>,
    limit: Option<usize>,
    partitions: Vec<Vec<Piece>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SegmentScanExec {
    /// A scan of the columns at `projection`'s positions in the table's shown schema.
    ///
    /// # Errors
    /// XX000 when the session carries no snapshot of the table.
    pub fn try_new(
        table: &SegmentTable,
        projection: Option<&Vec<usize>>,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
        options: &ConfigOptions,
    ) -> DfResult<Self> {
        use datafusion::catalog::TableProvider as _;
        let context = of_config(options)?;
        let snapshot = Arc::clone(context.snapshot(table.meta().id)?);
        let all: Vec<usize> = (0..table.columns().len()).collect();
        let shown = projection.unwrap_or(&all);
        let schema = Arc::new(table.schema().project(shown)?);
        let columns = shown.iter().map(|position| table.columns()[*position]).collect();
        let filter = predicate
            .map(|predicate| RowFilter::new(predicate, table.columns(), &table.schema()).map(Arc::new))
            .transpose()?;
        let partitions = partitions(&snapshot, options.execution.target_partitions);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            table: Arc::clone(table.meta()),
            snapshot,
            columns,
            filter,
            limit,
            partitions,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// The table that is read.
    #[must_use]
    pub const fn table(&self) -> &Arc<TableMeta> {
        &self.table
    }

    /// The predicate, for EXPLAIN.
    #[must_use]
    pub fn filter_text(&self) -> Option<String> {
        self.filter.as_ref().map(|filter| crate::engine::expression_text(filter.predicate()))
    }
}

/// Cuts the snapshot into pieces and deals neighbouring ones to as many partitions as the rows are worth.
fn partitions(snapshot: &TableSnapshot, most: usize) -> Vec<Vec<Piece>> {
    let mut pieces = Vec::new();
    for (segment, view) in snapshot.segments.iter().enumerate() {
        pieces.extend(view.form().natural_ranges(BATCH_ROWS).into_iter().map(|rows| Piece { segment, rows }));
    }
    let rows: usize = pieces.iter().map(|piece| piece.rows.len()).sum();
    let count = rows.div_ceil(PARTITION_ROWS).clamp(1, most.max(1)).min(pieces.len().max(1));
    let share = rows.div_ceil(count).max(1);
    let mut out = vec![Vec::new(); count];
    let mut taken = 0;
    for piece in pieces {
        let at = (taken / share).min(count - 1);
        taken += piece.rows.len();
        out[at].push(piece);
    }
    out
}

/// The table columns behind scan columns, which `load` makes resident.
pub(crate) fn stored_columns<'a>(columns: impl IntoIterator<Item = &'a ScanColumn>) -> Vec<usize> {
    let mut stored: Vec<usize> = columns
        .into_iter()
        .filter_map(|column| match column {
            ScanColumn::Column(position) => Some(*position),
            _ => None,
        })
        .collect();
    stored.sort_unstable();
    stored.dedup();
    stored
}

/// One partition's scan.
struct Scan {
    snapshot: Arc<TableSnapshot>,
    columns: Vec<ScanColumn>,
    filter: Option<Arc<RowFilter>>,
    remaining: Option<usize>,
    pieces: std::vec::IntoIter<Piece>,
    schema: SchemaRef,
    cancel: CancelFlag,
    metrics: BaselineMetrics,
    loaded: bool,
}

impl Scan {
    async fn next(mut self) -> DfResult<Option<(RecordBatch, Self)>> {
        if !self.loaded {
            let needed = stored_columns(
                self.columns.iter().chain(self.filter.iter().flat_map(|filter| filter.columns())),
            );
            self.snapshot.load(&needed).await.map_err(|error| raise_classified(&error))?;
            self.loaded = true;
        }
        while self.remaining != Some(0) {
            let Some(piece) = self.pieces.next() else { break };
            self.cancel.check()?;
            let timer = self.metrics.elapsed_compute().clone();
            let timed = timer.timer();
            let view = Arc::clone(&self.snapshot.segments[piece.segment]);
            let batch = self.read(&view, piece.rows)?;
            drop(timed);
            let Some(mut batch) = batch else { continue };
            if let Some(remaining) = &mut self.remaining {
                batch = batch.slice(0, batch.num_rows().min(*remaining));
                *remaining -= batch.num_rows();
            }
            self.metrics.record_output(batch.num_rows());
            // Storage knows nothing of the metadata that names types.
            let batch = RecordBatch::try_new_with_options(
                Arc::clone(&self.schema),
                batch.columns().to_vec(),
                &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
            )?;
            return Ok(Some((batch, self)));
        }
        Ok(None)
    }

    /// The rows of a range that are visible and pass the predicate; none when there are none.
    fn read(&self, view: &SegmentView, rows: Range<usize>) -> DfResult<Option<RecordBatch>> {
        let visible = view.visible().slice(rows.start, rows.len());
        let admitted = match &self.filter {
            Some(filter) => filter.admitted(view, &rows, &visible)?,
            None => visible,
        };
        read_selected(view, &self.columns, rows, &admitted)
    }
}

/// Reads the rows of a range whose bit is set; none when no bit is.
pub(crate) fn read_selected(
    view: &SegmentView,
    columns: &[ScanColumn],
    rows: Range<usize>,
    selected: &BooleanBuffer,
) -> DfResult<Option<RecordBatch>> {
    let count = selected.count_set_bits();
    if count == 0 {
        return Ok(None);
    }
    if count == rows.len() {
        return view
            .read_range(columns, rows.start, rows.len())
            .map(Some)
            .map_err(|error| raise_classified(&error));
    }
    // Few rows are gathered, many are cut out of the range.
    if count * 8 < rows.len() {
        let ordinals: Vec<u32> = selected.set_indices().map(|at| (rows.start + at) as u32).collect();
        return view.read_rows(columns, &ordinals).map(Some).map_err(|error| raise_classified(&error));
    }
    let batch = view.read_range(columns, rows.start, rows.len()).map_err(|error| raise_classified(&error))?;
    Ok(Some(filter_record_batch(&batch, &BooleanArray::new(selected.clone(), None))?))
}

impl DisplayAs for SegmentScanExec {
    fn fmt_as(&self, _kind: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SegmentScanExec: table={}", self.table.name)?;
        match &self.filter {
            Some(filter) => write!(formatter, ", filter={filter}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for SegmentScanExec {
    fn name(&self) -> &'static str {
        "SegmentScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        see: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        match &self.filter {
            Some(filter) => see(filter.predicate()),
            None => Ok(TreeNodeRecursion::Continue),
        }
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let statement = of_config(context.session_config().options())?;
        let pieces = self.partitions.get(partition).cloned().ok_or_else(|| internal("no such partition"))?;
        let scan = Scan {
            snapshot: Arc::clone(&self.snapshot),
            columns: self.columns.clone(),
            filter: self.filter.clone(),
            remaining: self.limit,
            pieces: pieces.into_iter(),
            schema: Arc::clone(&self.schema),
            cancel: statement.cancel.clone(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
            loaded: false,
        };
        let stream = futures::stream::try_unfold(scan, Scan::next);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> DfResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        let rows = self.snapshot.visible_rows() as usize;
        let share = if args.partition().is_some() { rows / self.partitions.len().max(1) } else { rows };
        statistics.num_rows = Precision::Inexact(self.limit.map_or(share, |limit| share.min(limit)));
        Ok(Arc::new(statistics))
    }
}

/// The scan columns that an expression over a table's shown schema reads, in schema order.
pub(crate) fn columns_of(expression: &Arc<dyn PhysicalExpr>) -> Vec<usize> {
    let mut positions: Vec<usize> = collect_columns(expression).iter().map(|column| column.index()).collect();
    positions.sort_unstable();
    positions
}

#[cfg(test)]
mod tests;
