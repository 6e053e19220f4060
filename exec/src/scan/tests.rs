//! Scans over growing segments: visibility, predicates, projections, limits, identities, cancellation.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit};
use proto::ErrorKind;

use crate::functions::resolve_operator;
use crate::statement::StatementContext;
use crate::table::{Columns, table_source};
use crate::testing::{run, table_batch, table_context, table_meta};

fn items(columns: Columns) -> LogicalPlanBuilder {
    LogicalPlanBuilder::scan("items", table_source(table_meta(), columns), None).expect("a scan")
}

fn two_segments(deleted: &[(usize, u32)]) -> Arc<StatementContext> {
    let first = table_batch(&[(1, "a", Some("[1,0]")), (2, "b", None), (0, "zero", Some("[0,1]"))]);
    let second = table_batch(&[(4, "d", Some("[4,4]")), (5, "e", Some("[5,5]"))]);
    table_context(&[first, second], deleted)
}

/// `10 / id`, which fails for the row with id 0.
fn ten_by_id() -> Expr {
    let int4 = Some(proto::ColumnType::INT4);
    let (divide, _) = resolve_operator("/", &[int4, int4]).expect("an operator");
    divide.call(vec![lit(10), col("id")])
}

#[tokio::test]
async fn visible_rows_come_in_the_order_they_were_inserted() {
    let plan = items(Columns::User).build().expect("a plan");
    let rows = run(plan, two_segments(&[(0, 1)])).await.expect("rows");
    assert_eq!(rows, ["1|a|[1,0]", "0|zero|[0,1]", "4|d|[4,4]", "5|e|[5,5]"]);
}

#[tokio::test]
async fn a_predicate_never_sees_an_invisible_row() {
    let plan = || items(Columns::User).filter(ten_by_id().gt(lit(2))).and_then(LogicalPlanBuilder::build);
    // The row with id 0 is deleted: no division by it.
    let rows = run(plan().expect("a plan"), two_segments(&[(0, 2)])).await.expect("rows");
    assert_eq!(rows, ["1|a|[1,0]", "2|b|NULL"]);
    let error = run(plan().expect("a plan"), two_segments(&[])).await.expect_err("id 0 is visible");
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::DivisionByZero, "division by zero"));
}

#[tokio::test]
async fn identities_name_segment_ordinal_and_row() {
    let plan = items(Columns::WithIdentity)
        .filter(col("name").eq(lit("e")))
        .and_then(|builder| builder.project([col("_segment"), col("_ordinal"), col("_row"), col("id")]))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    assert_eq!(run(plan, two_segments(&[])).await.expect("rows"), ["2|1|5|5"]);
}

#[tokio::test]
async fn limits_and_counts_look_at_visible_rows() {
    let plan = items(Columns::User)
        .project([col("id")])
        .and_then(|builder| builder.limit(1, Some(2)))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    assert_eq!(run(plan, two_segments(&[(0, 0)])).await.expect("rows"), ["0", "4"]);
    let count = datafusion::functions_aggregate::expr_fn::count(lit(1));
    let plan = items(Columns::User)
        .aggregate(Vec::<Expr>::new(), [count])
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    assert_eq!(run(plan, two_segments(&[(1, 1)])).await.expect("rows"), ["4"]);
}

#[tokio::test]
async fn many_rows_pass_through_several_partitions() {
    let rows: Vec<(i32, &str, Option<&str>)> = (0..20_000).map(|id| (id, "x", None)).collect();
    let batches: Vec<_> = (0..30).map(|_| table_batch(&rows)).collect();
    let plan = items(Columns::User)
        .filter(col("id").lt(lit(10)))
        .and_then(|builder| builder.project([col("id")]))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    let found = run(plan, table_context(&batches, &[(3, 5)])).await.expect("rows");
    assert_eq!(found.len(), 299);
}

#[tokio::test]
async fn a_canceled_statement_ends_with_57014() {
    let context = two_segments(&[]);
    context.cancel.cancel();
    let error = run(items(Columns::User).build().expect("a plan"), context).await.expect_err("canceled");
    assert_eq!(error.kind, ErrorKind::QueryCanceled);
}
