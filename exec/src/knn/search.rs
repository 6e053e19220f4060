//! The physical leaf: per segment visibility and predicate make a bitmap, the segment's search (by an index where that
//! is cheaper) gives its k nearest, the k nearest of all are read.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBufferBuilder, Float64Array, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};
use proto::catalog::TableMeta;
use proto::time::Clock;
use proto::{DistanceMetric, Timestamp};
use rayon::prelude::*;
use segments::{Hit, IndexUse, ScanColumn, SearchMethod, SegmentHits, SegmentView, TableSnapshot};

use super::report::{Reports, SegmentReport, index_for, index_use, unused_reason};
use super::{DISTANCE_COLUMN, KnnScanSpec};
use crate::engine::{BATCH_ROWS, Values};
use crate::error::{internal, raise, raise_classified};
use crate::functions::vectors::Vectors;
use crate::predicate::RowFilter;
use crate::scan::stored_columns;
use crate::statement::{CancelFlag, SearchSettings, of_config, of_task};

/// Searches a table.
#[derive(Debug)]
pub struct KnnScanExec {
    table: Arc<TableMeta>,
    at: Option<Timestamp>,
    /// Segments of the snapshot that was there at planning, for EXPLAIN.
    segments: usize,
    columns: Vec<ScanColumn>,
    filter: Option<Arc<RowFilter>>,
    vector: usize,
    metric: DistanceMetric,
    query: Arc<dyn PhysicalExpr>,
    k: usize,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    /// The settings at planning, for EXPLAIN.
    settings: SearchSettings,
    reports: Reports,
}

impl KnnScanExec {
    pub(super) fn try_new(
        spec: &KnnScanSpec,
        schema: SchemaRef,
        query: Arc<dyn PhysicalExpr>,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        same_order: Vec<Arc<dyn PhysicalExpr>>,
        options: &ConfigOptions,
    ) -> DfResult<Self> {
        let settings = of_config(options)?.search;
        let planned = of_config(options)?.planned_snapshot(&spec.table, spec.at)?;
        let all: Vec<ScanColumn> = (0..spec.table.columns.len()).map(ScanColumn::Column).collect();
        let filter = predicate
            .map(|predicate| RowFilter::new(predicate, &all, &spec.table.arrow_schema()).map(Arc::new))
            .transpose()?;
        let distance: Arc<dyn PhysicalExpr> =
            Arc::new(Column::new(DISTANCE_COLUMN, schema.fields().len() - 1));
        let ascending = SortOptions { descending: false, nulls_first: false };
        let orders = std::iter::once(distance)
            .chain(same_order)
            .map(|expression| vec![PhysicalSortExpr::new(expression, ascending)]);
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(Arc::clone(&schema), orders),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Self {
            table: Arc::clone(&spec.table),
            at: spec.at,
            segments: planned.as_ref().map_or(0, |snapshot| snapshot.segments.len()),
            columns: spec.columns.clone(),
            filter,
            vector: spec.vector,
            metric: spec.metric,
            query,
            k: spec.k,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            settings,
            reports: Reports::default(),
        })
    }

    /// The same search with a run's values in its expressions. What planning needs to know of its order is left
    /// out: an operator above would work it out anew at every run.
    pub(crate) fn with_values(&self, values: &Values<'_>) -> DfResult<Self> {
        Ok(Self {
            table: Arc::clone(&self.table),
            at: self.at,
            segments: self.segments,
            columns: self.columns.clone(),
            filter: self
                .filter
                .as_ref()
                .map(|filter| filter.with_values(values).map(Arc::new))
                .transpose()?,
            vector: self.vector,
            metric: self.metric,
            query: values.values_in(&self.query)?,
            k: self.k,
            schema: Arc::clone(&self.schema),
            properties: Arc::new(PlanProperties::new(
                EquivalenceProperties::new(Arc::clone(&self.schema)),
                self.properties.partitioning.clone(),
                self.properties.emission_type,
                self.properties.boundedness,
            )),
            metrics: ExecutionPlanMetricsSet::new(),
            settings: self.settings,
            reports: Reports::default(),
        })
    }

    /// The table that is searched.
    #[must_use]
    pub const fn table(&self) -> &Arc<TableMeta> {
        &self.table
    }

    /// What EXPLAIN calls the node.
    #[must_use]
    pub fn title(&self) -> String {
        match index_for(&self.table, self.vector, self.metric).filter(|_| self.settings.use_indexes) {
            Some(index) => format!("Index Scan using {} on {}", index.name, self.table.name),
            None => format!("KNN Scan on {}", self.table.name),
        }
    }

    /// What EXPLAIN prints below the node.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        let column = self.table.columns.get(self.vector).map_or("?", |column| column.name.as_str());
        let query = crate::engine::expression_text(&self.query);
        let mut lines = vec![format!("Order By: ({column} {} {query})", self.metric.operator())];
        if let Some(filter) = &self.filter {
            lines.push(format!("Filter: {}", crate::engine::expression_text(filter.predicate())));
        }
        lines.extend(self.at.map(crate::engine::as_of));
        let reason = unused_reason(&self.table, self.vector, self.metric, &self.settings);
        let method = reason.map_or_else(|| "index".to_owned(), |reason| format!("exact ({reason})"));
        lines.push(format!("Rows: {}  Segments: {}  Method: {method}", self.k, self.segments));
        // Segments searched at once report in any order.
        let mut reports = self.reports.lock().clone();
        reports.sort_by_key(|report| report.segment);
        lines.extend(reports.iter().map(SegmentReport::line));
        lines
    }
}

/// Tables of fewer rows are searched on the statement's own thread: handing over costs more than it saves.
const SHARED_ROWS: usize = 20_000;

/// A hit and the segment it is in.
struct Found {
    segment: usize,
    hit: Hit,
}

/// Numbers ascending, then NaN, then NULL; ties by commit, then row.
fn total_order(left: &Hit, right: &Hit) -> Ordering {
    let class = |hit: &Hit| match hit.distance {
        Some(distance) if distance.is_nan() => 1_u8,
        Some(_) => 0,
        None => 2,
    };
    class(left)
        .cmp(&class(right))
        .then_with(|| match (left.distance, right.distance) {
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            _ => Ordering::Equal,
        })
        .then_with(|| (left.ts, left.row).cmp(&(right.ts, right.row)))
}

struct Search {
    snapshot: Arc<TableSnapshot>,
    columns: Vec<ScanColumn>,
    filter: Option<Arc<RowFilter>>,
    vector: usize,
    metric: DistanceMetric,
    query: Arc<dyn PhysicalExpr>,
    k: usize,
    schema: SchemaRef,
    index: Option<IndexUse>,
    reports: Reports,
    clock: Arc<dyn Clock>,
    cancel: CancelFlag,
    metrics: BaselineMetrics,
    candidates: datafusion::physical_plan::metrics::Count,
}

impl Search {
    async fn run(self) -> DfResult<RecordBatch> {
        let vector = ScanColumn::Column(self.vector);
        let needed = stored_columns(
            self.columns
                .iter()
                .chain(std::iter::once(&vector))
                .chain(self.filter.iter().flat_map(|filter| filter.columns())),
        );
        self.snapshot.load(&needed).await.map_err(|error| raise_classified(&error))?;
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timed = elapsed.timer();
        let query = self.query_vector()?;
        self.reports.lock().clear();
        let mut found = self.search_all(query.as_deref())?;
        found.sort_by(|left, right| total_order(&left.hit, &right.hit));
        found.truncate(self.k);
        self.metrics.record_output(found.len());
        self.read(&found)
    }

    /// The k nearest rows of every segment; several segments are searched at once.
    fn search_all(&self, query: Option<&[f32]>) -> DfResult<Vec<Found>> {
        let search = |(segment, view): (usize, &Arc<SegmentView>)| {
            self.cancel.check()?;
            let hits = self.search(view, query)?;
            Ok(hits.into_iter().map(|hit| Found { segment, hit }).collect())
        };
        let views = &self.snapshot.segments;
        let rows: usize = views.iter().map(|view| view.rows()).sum();
        let found: DfResult<Vec<Vec<Found>>> = if views.len() > 1 && rows >= SHARED_ROWS {
            views.par_iter().enumerate().map(search).collect()
        } else {
            views.iter().enumerate().map(search).collect()
        };
        Ok(found?.into_iter().flatten().collect())
    }

    /// The k nearest rows of one segment.
    fn search(&self, view: &SegmentView, query: Option<&[f32]>) -> DfResult<Vec<Hit>> {
        let started = self.clock.monotonic_micros();
        let admit = self.admitted(view)?;
        let admitted = admit.count_set_bits();
        if admitted == 0 {
            return Ok(Vec::new());
        }
        let found = match query {
            Some(query) => {
                let index = self.index.as_ref();
                segments::search::search(view, self.vector, self.metric, query, self.k, &admit, index)
                    .map_err(|error| raise_classified(&error))?
            }
            None => SegmentHits {
                hits: without_distance(view, &admit, self.k),
                method: SearchMethod::Exact,
                distances: 0,
            },
        };
        self.candidates.add(found.distances);
        self.reports.lock().push(SegmentReport {
            segment: view.id(),
            sealed: view.is_sealed(),
            method: found.method,
            admitted,
            rows: view.rows(),
            distances: found.distances,
            micros: self.clock.monotonic_micros().saturating_sub(started),
        });
        Ok(found.hits)
    }

    /// The query vector; none when it is NULL, which makes every distance NULL.
    fn query_vector(&self) -> DfResult<Option<Vec<f32>>> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one_row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let value = self.query.evaluate(&one_row)?.into_array(1)?;
        if value.is_null(0) {
            return Ok(None);
        }
        Ok(Some(Vectors::of(value.as_ref()).map_err(raise)?.row(0).to_vec()))
    }

    fn admitted(&self, view: &SegmentView) -> DfResult<BooleanBuffer> {
        let visible = view.visible();
        let Some(filter) = &self.filter else { return Ok(visible.clone()) };
        let mut bits = BooleanBufferBuilder::new(view.rows());
        for rows in view.form().natural_ranges(BATCH_ROWS) {
            self.cancel.check()?;
            bits.append_buffer(&filter.admitted(view, &rows, &visible.slice(rows.start, rows.len()))?);
        }
        Ok(bits.finish())
    }

    /// Reads the rows found, in their order.
    fn read(&self, found: &[Found]) -> DfResult<RecordBatch> {
        let distances: ArrayRef =
            Arc::new(found.iter().map(|found| found.hit.distance).collect::<Float64Array>());
        let mut batches = Vec::new();
        let mut positions = vec![0_u32; found.len()];
        let mut taken = 0;
        for (segment, view) in self.snapshot.segments.iter().enumerate() {
            let own: Vec<usize> = (0..found.len()).filter(|at| found[*at].segment == segment).collect();
            if own.is_empty() {
                continue;
            }
            let ordinals: Vec<u32> = own.iter().map(|at| found[*at].hit.ordinal).collect();
            let batch = view.read_rows(&self.columns, &ordinals).map_err(|error| raise_classified(&error))?;
            for at in own {
                positions[at] = taken;
                taken += 1;
            }
            batches.push(batch);
        }
        let columns = self.schema.fields().len() - 1;
        let mut arrays: Vec<ArrayRef> = match batches.first() {
            Some(first) => {
                let joined = concat_batches(&first.schema(), &batches)?;
                take_record_batch(&joined, &UInt32Array::from(positions))?.columns().to_vec()
            }
            None => {
                let fields = self.schema.fields();
                fields[..columns].iter().map(|f| arrow::array::new_empty_array(f.data_type())).collect()
            }
        };
        arrays.push(distances);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }
}

/// The first k admitted rows by commit order, all with a NULL distance.
fn without_distance(view: &SegmentView, admit: &BooleanBuffer, k: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = admit
        .set_indices()
        .map(|ordinal| {
            let (ts, row) = view.form().identity(ordinal as u32);
            Hit { distance: None, ts, row, ordinal: ordinal as u32 }
        })
        .collect();
    hits.sort_by(total_order);
    hits.truncate(k);
    hits
}

impl DisplayAs for KnnScanExec {
    fn fmt_as(&self, _kind: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KnnScanExec: table={}, {}", self.table.name, self.details().join(", "))
    }
}

impl ExecutionPlan for KnnScanExec {
    fn name(&self) -> &'static str {
        "KnnScanExec"
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
        let seen = see(&self.query)?;
        match &self.filter {
            Some(filter) if seen == TreeNodeRecursion::Continue => see(filter.predicate()),
            _ => Ok(seen),
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
        if partition != 0 {
            return Err(internal("a KnnScan has one partition"));
        }
        let statement = of_task(&context)?;
        let search = Search {
            snapshot: statement.snapshot(&self.table, self.at)?,
            columns: self.columns.clone(),
            filter: self.filter.clone(),
            vector: self.vector,
            metric: self.metric,
            query: Arc::clone(&self.query),
            k: self.k,
            schema: Arc::clone(&self.schema),
            index: index_for(&self.table, self.vector, self.metric)
                .and_then(|index| index_use(index, &statement.search)),
            reports: Arc::clone(&self.reports),
            clock: Arc::clone(&statement.session.clock),
            cancel: statement.cancel.clone(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
            candidates: MetricBuilder::new(&self.metrics).counter("candidates", partition),
        };
        let stream = futures::stream::once(search.run());
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
