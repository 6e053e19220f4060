//! The search leaf: order, filters, fill-up with NaN and NULL, k over several segments, errors.

use std::sync::Arc;

use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit};
use proto::{ColumnType, DistanceMetric, ErrorKind, SqlError};

use super::*;
use crate::functions::{CastContext, cast};
use crate::testing::{run, table_batch, table_context, table_meta};

fn vector(text: Option<&str>) -> Expr {
    let text = Expr::Literal(datafusion::common::ScalarValue::Utf8(text.map(str::to_owned)), None);
    cast(text, ColumnType::from(proto::TypeKind::Vector), CastContext::Explicit)
}

fn leaf(metric: DistanceMetric, query: Option<&str>, k: usize, filters: Vec<Expr>) -> LogicalPlan {
    KnnScan::try_new(KnnScanSpec {
        table: table_meta(),
        at: None,
        qualifier: TableReference::bare("items"),
        columns: vec![ScanColumn::Column(0)],
        filters,
        vector: 2,
        metric,
        query: vector(query),
        k,
    })
    .expect("a leaf")
    .into_plan()
}

/// The leaf under the Sort that the planner keeps.
fn search(metric: DistanceMetric, query: Option<&str>, k: usize, filters: Vec<Expr>) -> LogicalPlan {
    LogicalPlanBuilder::from(leaf(metric, query, k, filters))
        .sort_with_limit([Sort::new(col("items._distance"), true, false)], Some(k))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan")
}

async fn found(plan: LogicalPlan, deleted: &[(usize, u32)]) -> Result<Vec<String>, SqlError> {
    let first = table_batch(&[
        (1, "a", Some("[1,0]")),
        (2, "b", None),
        (3, "zero", Some("[0,0]")),
        (4, "a", Some("[5,5]")),
    ]);
    let second = table_batch(&[(5, "a", Some("[1,0]")), (6, "b", Some("[0,2]"))]);
    run(plan, table_context(&[first, second], deleted)).await
}

#[tokio::test]
async fn the_nearest_come_first_and_ties_by_age() {
    let rows = found(search(DistanceMetric::L2, Some("[1,0]"), 4, vec![]), &[]).await.expect("rows");
    assert_eq!(rows, ["1|0", "5|0", "3|1", "6|2.23606797749979"]);
}

#[tokio::test]
async fn a_sort_by_the_same_distance_is_dropped_and_ties_stay_in_order_of_age() {
    let rows: Vec<(i32, &str, Option<&str>)> = (0..40).map(|id| (id, "x", Some("[1,1]"))).collect();
    let context = table_context(&[table_batch(&rows[..25]), table_batch(&rows[25..])], &[]);
    let leaf = KnnScan::try_new(KnnScanSpec {
        table: table_meta(),
        at: None,
        qualifier: TableReference::bare("items"),
        columns: vec![ScanColumn::Column(0), ScanColumn::Column(2)],
        filters: Vec::new(),
        vector: 2,
        metric: DistanceMetric::L2,
        query: vector(Some("[1,0]")),
        k: 30,
    })
    .expect("a leaf");
    let distance = leaf.distances().remove(0);
    let plan = LogicalPlanBuilder::from(leaf.into_plan())
        .project([col("items.id"), col("items.v")])
        .and_then(|builder| builder.sort_with_limit([Sort::new(distance, true, false)], Some(30)))
        .and_then(|builder| builder.project([col("items.id")]))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    let lines = crate::testing::engine()
        .explain(plan.clone(), Arc::clone(&context), crate::ExplainOptions::default())
        .await
        .expect("lines");
    assert!(!lines.iter().any(|line| line.contains("Sort")), "{lines:?}");
    let expected: Vec<String> = (0..30).map(|id| id.to_string()).collect();
    assert_eq!(run(plan, context).await.expect("rows"), expected);
}

#[tokio::test]
async fn zero_vectors_and_nulls_fill_up_last() {
    let rows = found(search(DistanceMetric::Cosine, Some("[1,0]"), 9, vec![]), &[]).await.expect("rows");
    assert_eq!(rows, ["1|0", "5|0", "4|0.29289321881345254", "6|1", "3|NaN", "2|NULL"]);
}

#[tokio::test]
async fn k_rows_come_whenever_k_qualify() {
    let filter = || vec![col("items.name").eq(lit("a"))];
    let rows = found(search(DistanceMetric::L2, Some("[0,0]"), 2, filter()), &[(0, 0)]).await.expect("rows");
    assert_eq!(rows, ["5|1", "4|7.0710678118654755"]);
}

#[tokio::test]
async fn a_null_query_gives_rows_with_null_distances() {
    let rows = found(search(DistanceMetric::L2, None, 2, vec![]), &[]).await.expect("rows");
    assert_eq!(rows, ["1|NULL", "2|NULL"]);
}

#[tokio::test]
async fn other_dimensions_are_refused() {
    let error =
        found(search(DistanceMetric::L2, Some("[1,0,0]"), 2, vec![]), &[]).await.expect_err("dimensions");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::DataException, "different vector dimensions 2 and 3")
    );
}

#[test]
fn leaves_are_equal_by_their_parts() {
    let one = leaf(DistanceMetric::L2, Some("[1,0]"), 2, vec![]);
    assert_eq!(one, leaf(DistanceMetric::L2, Some("[1,0]"), 2, vec![]));
    assert_ne!(one, leaf(DistanceMetric::L2, Some("[1,0]"), 3, vec![]));
    assert_ne!(one, leaf(DistanceMetric::L1, Some("[1,0]"), 2, vec![]));
    assert_ne!(one, leaf(DistanceMetric::L2, Some("[1,1]"), 2, vec![]));
    assert_ne!(one, leaf(DistanceMetric::L2, Some("[1,0]"), 2, vec![col("items.name").eq(lit("a"))]));
    let _: Arc<DFSchema> = Arc::clone(one.schema());
}
