//! The scan of a table's segments: visibility first, then the predicate on visible rows, then the columns.
//!
//! The work is cut into ranges of rows in storage order; each partition takes a run of neighbouring ranges, so
//! that one partition gives rows in the order they were inserted. A predicate that fixes the primary key leaves
//! one row to look at.
//!
//! Invariants: the predicate never sees an invisible row; no exact statistics are reported; cancellation is
//! looked at before every range.

use std::collections::BTreeSet;
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
use proto::Timestamp;
use proto::catalog::TableMeta;
use segments::{ScanColumn, SegmentView, TableSnapshot};

use crate::engine::{BATCH_ROWS, Values};
use crate::error::{internal, raise_classified};
use crate::predicate::RowFilter;
use crate::statement::{CancelFlag, StatementContext, of_config, of_task};
use crate::table::SegmentTable;

mod key;

use key::KeyProbe;

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
    /// The instant it is read at; none is the statement's.
    at: Option<Timestamp>,
    columns: Vec<ScanColumn>,
    filter: Option<Arc<RowFilter>>,
    /// The one key that rows can have, when the predicate says so.
    key: Option<KeyProbe>,
    limit: Option<usize>,
    partitions: usize,
    /// Visible rows at planning; none when there was no snapshot yet.
    planned_rows: Option<usize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SegmentScanExec {
    /// A scan of the columns at `projection`'s positions in the table's shown schema.
    ///
    /// # Errors
    /// XX000 outside a statement, or when the predicate does not fit the table.
    pub fn try_new(
        table: &SegmentTable,
        projection: Option<&Vec<usize>>,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
        options: &ConfigOptions,
    ) -> DfResult<Self> {
        use datafusion::catalog::TableProvider as _;
        let context = of_config(options)?;
        let planned = context.planned_snapshot(table.meta(), table.at())?;
        let all: Vec<usize> = (0..table.columns().len()).collect();
        let shown = projection.unwrap_or(&all);
        let schema = Arc::new(table.schema().project(shown)?);
        let columns = shown.iter().map(|position| table.columns()[*position]).collect();
        let key = predicate.as_ref().and_then(|predicate| KeyProbe::of(predicate, table.meta()));
        let filter = predicate
            .map(|predicate| RowFilter::new(predicate, table.columns(), &table.schema()).map(Arc::new))
            .transpose()?;
        let most = options.execution.target_partitions;
        let partitions = match &planned {
            Some(snapshot) if key.is_none() => worthwhile_partitions(rows_in(snapshot), most),
            _ => 1,
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            table: Arc::clone(table.meta()),
            at: table.at(),
            columns,
            filter,
            key,
            limit,
            partitions,
            planned_rows: planned.map(|snapshot| snapshot.visible_rows() as usize),
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

    /// The instant it is read at; none is the statement's.
    #[must_use]
    pub const fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// The same scan with a run's values in its expressions.
    pub(crate) fn with_values(&self, values: &Values<'_>) -> DfResult<Self> {
        Ok(Self {
            table: Arc::clone(&self.table),
            at: self.at,
            columns: self.columns.clone(),
            filter: self
                .filter
                .as_ref()
                .map(|filter| filter.with_values(values).map(Arc::new))
                .transpose()?,
            key: self.key.as_ref().map(|key| key.with_values(values)).transpose()?,
            limit: self.limit,
            partitions: self.partitions,
            planned_rows: self.planned_rows,
            schema: Arc::clone(&self.schema),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// Whether one partition is enough for what the table holds now.
    pub(crate) fn is_worth_one_partition(&self, context: &StatementContext, most: usize) -> DfResult<bool> {
        let snapshot = context.snapshot(&self.table, self.at)?;
        Ok(self.key.is_some() || worthwhile_partitions(rows_in(&snapshot), most) == 1)
    }

    /// The predicate, for EXPLAIN: all of it, or what the key does not decide.
    #[must_use]
    pub fn filter_text(&self) -> Option<String> {
        let predicate = match &self.key {
            Some(key) => key.rest(),
            None => self.filter.as_ref().map(|filter| filter.predicate()),
        };
        predicate.map(crate::engine::expression_text)
    }

    /// The name of the key's index and the condition on it, for EXPLAIN.
    #[must_use]
    pub fn key_text(&self) -> Option<(String, String)> {
        let key = self.key.as_ref()?;
        let meta = self.table.key(key.index())?;
        Some((meta.name.to_owned(), crate::engine::expression_text(&key.condition())))
    }
}

/// Row versions of a snapshot.
fn rows_in(snapshot: &TableSnapshot) -> usize {
    snapshot.segments.iter().map(|view| view.rows()).sum()
}

/// The partitions that so many rows are worth, at most `most`.
fn worthwhile_partitions(rows: usize, most: usize) -> usize {
    rows.div_ceil(PARTITION_ROWS).clamp(1, most.max(1))
}

/// Cuts the snapshot into pieces and deals neighbouring ones to `count` partitions; gives one's.
fn pieces_of(snapshot: &TableSnapshot, partition: usize, count: usize) -> Vec<Piece> {
    let share = rows_in(snapshot).div_ceil(count).max(1);
    let mut pieces = Vec::new();
    let mut taken = 0;
    for (segment, view) in snapshot.segments.iter().enumerate() {
        for rows in view.form().natural_ranges(BATCH_ROWS) {
            let owner = (taken / share).min(count - 1);
            taken += rows.len();
            if owner == partition {
                pieces.push(Piece { segment, rows });
            }
        }
    }
    pieces
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
    /// Where to look instead of everywhere.
    key: Option<KeyProbe>,
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
            if let Some(key) = &self.key {
                self.pieces = key.piece(&self.snapshot)?.into_iter().collect::<Vec<_>>().into_iter();
            }
            // Other segments need not become resident.
            let read: BTreeSet<usize> = self.pieces.as_slice().iter().map(|piece| piece.segment).collect();
            for segment in read {
                let form = self.snapshot.segments[segment].form();
                form.load(&needed).await.map_err(|error| raise_classified(&error))?;
            }
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
        if partition >= self.partitions {
            return Err(internal("no such partition"));
        }
        let statement = of_task(&context)?;
        let snapshot = statement.snapshot(&self.table, self.at)?;
        let pieces = match &self.key {
            Some(_) => Vec::new(),
            None => pieces_of(&snapshot, partition, self.partitions),
        };
        let scan = Scan {
            snapshot,
            columns: self.columns.clone(),
            filter: self.filter.clone(),
            key: self.key.clone(),
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
        if let Some(rows) = self.planned_rows {
            let rows = if self.key.is_some() { rows.min(1) } else { rows };
            let share = if args.partition().is_some() { rows / self.partitions.max(1) } else { rows };
            statistics.num_rows = Precision::Inexact(self.limit.map_or(share, |limit| share.min(limit)));
        }
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
