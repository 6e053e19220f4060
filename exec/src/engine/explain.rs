//! EXPLAIN in PostgreSQL's shape: one line per node that a user would recognise, details below it.
//!
//! DataFusion's plumbing (repartitioning, coalescing, partial aggregation) is left out.

use std::sync::Arc;

use datafusion::error::Result as DfResult;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::StreamExt;
use proto::Timestamp;

use crate::scan::SegmentScanExec;

pub(crate) mod expressions;

/// What EXPLAIN shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    /// Run the plan and show rows and time.
    pub analyze: bool,
    /// Show output columns too.
    pub verbose: bool,
}

/// Runs a stream to its end.
pub(super) async fn drain(mut stream: SendableRecordBatchStream) -> DfResult<()> {
    while let Some(batch) = stream.next().await {
        batch?;
    }
    Ok(())
}

/// The lines of a plan; `elapsed` is the run's time in microseconds.
pub(super) fn render(
    plan: &Arc<dyn ExecutionPlan>,
    options: ExplainOptions,
    elapsed: Option<u64>,
) -> Vec<String> {
    let mut lines = Vec::new();
    Renderer { options, lines: &mut lines }.node(plan, 0);
    if let Some(micros) = elapsed {
        lines.push(format!("Execution Time: {:.3} ms", micros as f64 / 1000.0));
    }
    lines
}

struct Renderer<'a> {
    options: ExplainOptions,
    lines: &'a mut Vec<String>,
}

/// A node as it is shown: title, and details below.
struct Shown {
    title: String,
    details: Vec<String>,
}

impl Renderer<'_> {
    fn node(&mut self, plan: &Arc<dyn ExecutionPlan>, depth: usize) {
        if let Some(limited) = limited_below(plan) {
            self.line(plan, "Limit", depth, Vec::new());
            self.body(&limited, depth + 1);
            return;
        }
        self.body(plan, depth);
    }

    fn body(&mut self, plan: &Arc<dyn ExecutionPlan>, depth: usize) {
        let shown = shown(plan);
        let next = match shown {
            Some(shown) => {
                self.line(plan, &shown.title, depth, shown.details);
                depth + 1
            }
            None => depth,
        };
        for child in plan.children() {
            self.node(child, next);
        }
    }

    fn line(&mut self, plan: &Arc<dyn ExecutionPlan>, title: &str, depth: usize, details: Vec<String>) {
        let indent = if depth == 0 { String::new() } else { " ".repeat(depth * 6 - 4) };
        let arrow = if depth == 0 { "" } else { "->  " };
        self.lines.push(format!("{indent}{arrow}{title}{}", self.measured(plan)));
        let below = " ".repeat(depth * 6 + 2);
        self.lines.extend(details.into_iter().map(|detail| format!("{below}{detail}")));
        if self.options.verbose {
            let columns: Vec<String> = plan.schema().fields().iter().map(|f| f.name().clone()).collect();
            self.lines.push(format!("{below}Output: {}", columns.join(", ")));
        }
    }

    fn measured(&self, plan: &Arc<dyn ExecutionPlan>) -> String {
        if !self.options.analyze {
            return String::new();
        }
        let Some(metrics) = plan.metrics() else { return String::new() };
        let rows = metrics.output_rows().unwrap_or(0);
        let millis = metrics.elapsed_compute().unwrap_or(0) as f64 / 1e6;
        format!(" (actual time={millis:.3} rows={rows} loops=1)")
    }
}

/// The node below a row limit that DataFusion keeps in its own node or inside a sort or merge.
fn limited_below(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    match plan.name() {
        "GlobalLimitExec" | "LocalLimitExec" => plan.children().first().map(|child| Arc::clone(child)),
        _ if plan.fetch().is_some() && plan.name() != "KnnScanExec" => Some(Arc::clone(plan)),
        _ => None,
    }
}

fn shown(plan: &Arc<dyn ExecutionPlan>) -> Option<Shown> {
    let plain = |title: &str| Some(Shown { title: title.to_owned(), details: Vec::new() });
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let keys: Vec<String> = sort.expr().iter().map(sort_key).collect();
        return Some(Shown {
            title: "Sort".to_owned(),
            details: vec![format!("Sort Key: {}", keys.join(", "))],
        });
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let details = vec![format!("Filter: {}", expressions::text(filter.predicate()))];
        return Some(Shown { title: "Result".to_owned(), details });
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return aggregated(aggregate);
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let on: Vec<String> = join
            .on()
            .iter()
            .map(|(l, r)| format!("({} = {})", expressions::text(l), expressions::text(r)))
            .collect();
        let title = match join_kind(&join.join_type().to_string()) {
            "" => "Hash Join".to_owned(),
            kind => format!("Hash {kind} Join"),
        };
        return Some(Shown { title, details: vec![format!("Hash Cond: {}", on.join(" AND "))] });
    }
    if let Some(scan) = plan.downcast_ref::<SegmentScanExec>() {
        return Some(scanned(scan));
    }
    if let Some(scan) = plan.downcast_ref::<crate::knn::KnnScanExec>() {
        return Some(Shown { title: scan.title(), details: scan.details() });
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let leaf = projection.input().name() == "PlaceholderRowExec";
        return if leaf { plain("Result") } else { None };
    }
    match plan.name() {
        "PlaceholderRowExec" => None,
        "NestedLoopJoinExec" | "CrossJoinExec" => plain("Nested Loop"),
        "SortMergeJoinExec" => plain("Merge Join"),
        "BoundedWindowAggExec" | "WindowAggExec" => plain("WindowAgg"),
        "UnionExec" | "InterleaveExec" => plain("Append"),
        "RecursiveQueryExec" => plain("Recursive Union"),
        "WorkTableExec" => plain("WorkTable Scan"),
        "LazyMemoryExec" => plain("Function Scan on generate_series"),
        "DataSourceExec" => plain("Values Scan"),
        "EmptyExec" => {
            Some(Shown { title: "Result".to_owned(), details: vec!["One-Time Filter: false".to_owned()] })
        }
        "UnnestExec" => plain("ProjectSet"),
        "CoalescePartitionsExec"
        | "RepartitionExec"
        | "CoalesceBatchesExec"
        | "SortPreservingMergeExec"
        | "CooperativeExec"
        | "AsyncFuncExec"
        | "GlobalLimitExec"
        | "LocalLimitExec" => None,
        other => plain(other.trim_end_matches("Exec")),
    }
}

fn scanned(scan: &SegmentScanExec) -> Shown {
    let filter = scan.filter_text().map(|filter| format!("Filter: {filter}"));
    let (title, condition) = match scan.key_text() {
        Some((index, condition)) => (
            format!("Index Scan using {index} on {}", scan.table().name),
            Some(format!("Index Cond: {condition}")),
        ),
        None => (format!("Seq Scan on {}", scan.table().name), None),
    };
    let at = scan.at().map(as_of);
    Shown { title, details: condition.into_iter().chain(filter).chain(at).collect() }
}

/// The line that names a past instant.
pub(crate) fn as_of(at: Timestamp) -> String {
    let mut line = "As Of: ".to_owned();
    let micros = i64::try_from(at.millis().saturating_mul(1000)).unwrap_or(i64::MAX);
    crate::text::datetime::write_timestamptz(micros, &crate::text::TimeZone::UTC, &mut line);
    line.push_str(&format!(" ({})", at.0));
    line
}

fn aggregated(aggregate: &AggregateExec) -> Option<Shown> {
    if *aggregate.mode() == AggregateMode::Partial {
        return None;
    }
    let groups: Vec<String> =
        aggregate.group_expr().expr().iter().map(|(expr, _)| expressions::text(expr)).collect();
    if groups.is_empty() {
        return Some(Shown { title: "Aggregate".to_owned(), details: Vec::new() });
    }
    let details = vec![format!("Group Key: {}", groups.join(", "))];
    Some(Shown { title: "HashAggregate".to_owned(), details })
}

fn join_kind(kind: &str) -> &'static str {
    match kind {
        "Left" => "Left",
        "Right" => "Right",
        "Full" => "Full",
        "LeftSemi" | "RightSemi" => "Semi",
        "LeftAnti" | "RightAnti" => "Anti",
        _ => "",
    }
}

fn sort_key(sort: &datafusion::physical_expr::PhysicalSortExpr) -> String {
    let direction = if sort.options.descending { " DESC" } else { "" };
    let nulls = match (sort.options.descending, sort.options.nulls_first) {
        (false, true) => " NULLS FIRST",
        (true, false) => " NULLS LAST",
        _ => "",
    };
    format!("{}{direction}{nulls}", expressions::text(&sort.expr))
}
