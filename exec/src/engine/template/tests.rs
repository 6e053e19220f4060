//! Templates beside the long way: the same rows for every value and snapshot, and the shapes that have none.

use datafusion::common::{ScalarValue, TableReference};
use datafusion::logical_expr::expr::{Placeholder, Sort};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, col, lit};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt as _;
use proto::{ColumnType, DistanceMetric, TypeKind};
use segments::ScanColumn;

use super::*;
use crate::functions::{CastContext, FunctionKind, cast, find};
use crate::knn::{KnnScan, KnnScanSpec};
use crate::table::{Columns, table_source};
use crate::testing::{context, engine, run, table_batch, table_context, table_meta};

fn parameter(id: &str, ty: ColumnType) -> Expr {
    Expr::Placeholder(Placeholder::new_with_field(id.to_owned(), Some(ty.arrow_field(id, true))))
}

fn scalar(name: &str) -> Arc<ScalarUDF> {
    match &find(name).expect("a function").kind {
        FunctionKind::Scalar(udf) => Arc::clone(udf),
        other => panic!("{name} is {other:?}"),
    }
}

fn items() -> LogicalPlanBuilder {
    LogicalPlanBuilder::scan("items", table_source(table_meta(), Columns::User), None).expect("a scan")
}

fn statement(ids: std::ops::Range<i32>) -> Arc<StatementContext> {
    let texts: Vec<String> = ids.clone().map(|id| format!("[{id},0]")).collect();
    let rows: Vec<_> = ids.zip(&texts).map(|(id, text)| (id, "x", Some(text.as_str()))).collect();
    table_context(&[table_batch(&rows)], &[])
}

async fn ids(stream: SendableRecordBatchStream) -> Vec<String> {
    let batches: Vec<_> = stream.map(|batch| batch.expect("a batch")).collect().await;
    let text = |batch: &arrow::array::RecordBatch| {
        let ids = batch.column(0);
        (0..ids.len())
            .map(|row| ScalarValue::try_from_array(ids, row).expect("a value").to_string())
            .collect()
    };
    batches.iter().flat_map(|batch| -> Vec<String> { text(batch) }).collect()
}

/// Runs a template over a plan with one int4 parameter.
async fn run_with(plan: &LogicalPlan, values: &[Option<i32>], statements: &[Arc<StatementContext>]) {
    let engine = engine();
    let template = engine.template(plan.clone(), &statements[0]).await.expect("a template");
    for statement in statements {
        for value in values {
            let value = ScalarValue::Int32(*value);
            let given = [ParameterValue { value: value.clone(), ty: ColumnType::INT4 }];
            let stream = engine.run(&template, &given, statement).expect("a run").expect("it fits");
            let bound = plan
                .clone()
                .with_param_values(datafusion::common::ParamValues::List(vec![given[0].with_metadata()]))
                .expect("a bound plan");
            let long = engine.execute(bound, Arc::clone(statement)).await.expect("rows");
            assert_eq!(ids(stream).await, ids(long).await, "for {value}");
        }
    }
}

#[tokio::test]
async fn every_run_has_its_own_values_and_snapshot() {
    let plan = items()
        .filter(col("id").gt(parameter("$1", ColumnType::INT4)))
        .and_then(|builder| builder.sort_with_limit([Sort::new(col("id"), false, false)], Some(3)))
        .and_then(|builder| builder.project([col("id"), parameter("$1", ColumnType::INT4)]))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    run_with(&plan, &[Some(0), Some(7), None, Some(30)], &[statement(0..10), statement(5..40)]).await;
}

#[tokio::test]
async fn a_search_takes_its_vector_at_the_run() {
    let scan = KnnScan::try_new(KnnScanSpec {
        table: table_meta(),
        at: None,
        qualifier: TableReference::bare("items"),
        columns: vec![ScanColumn::Column(0), ScanColumn::Column(2)],
        filters: vec![col("items.id").not_eq(lit(4))],
        vector: 2,
        metric: DistanceMetric::L2,
        query: parameter("$1", ColumnType::vector(2)),
        k: 3,
    })
    .expect("a leaf");
    let plan = LogicalPlanBuilder::from(scan.into_plan())
        .project([col("items.id")])
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    let (engine, statement) = (engine(), statement(0..20));
    let template = engine.template(plan, &statement).await.expect("a template");
    for (near, expected) in [("[5,0]", ["5", "6", "3"]), ("[19,0]", ["19", "18", "17"])] {
        let text = arrow::array::StringArray::from(vec![near]);
        let vector =
            crate::text::parse_column(&text, ColumnType::vector(2), &crate::text::InputContext::default());
        let value = ScalarValue::try_from_array(&vector.expect("a vector"), 0).expect("a value");
        let given = [ParameterValue { value, ty: ColumnType::vector(2) }];
        let stream = engine.run(&template, &given, &statement).expect("a run").expect("it fits");
        assert_eq!(ids(stream).await, expected);
    }
}

#[tokio::test]
async fn a_value_of_another_carrier_is_planned_for() {
    let plan = items()
        .filter(col("id").eq(parameter("$1", ColumnType::INT4)))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    let (engine, statement) = (engine(), statement(0..3));
    let template = engine.template(plan, &statement).await.expect("a template");
    let other = [ParameterValue { value: ScalarValue::Int64(Some(1)), ty: ColumnType::INT8 }];
    assert!(engine.run(&template, &other, &statement).expect("a look").is_none());
    assert!(engine.run(&template, &[], &statement).expect("a look").is_none());
}

#[tokio::test]
async fn a_table_worth_several_partitions_is_planned_for() {
    let rows: Vec<(i32, &str, Option<&str>)> = (0..100_000).map(|id| (id, "x", None)).collect();
    let plan = items().build().expect("a plan");
    let (engine, small) = (engine(), statement(0..3));
    let template = engine.template(plan, &small).await.expect("a template");
    assert!(engine.run(&template, &[], &small).expect("a look").is_some());
    let batches: Vec<_> = (0..4).map(|_| table_batch(&rows)).collect();
    assert!(engine.run(&template, &[], &table_context(&batches, &[])).expect("a look").is_none());
}

#[tokio::test]
async fn values_of_one_statement_are_never_kept() {
    let engine = engine();
    let statement = Arc::new(context());
    let plan = |expression: Expr| {
        items().project([expression.alias("x")]).and_then(LogicalPlanBuilder::build).expect("a plan")
    };
    for constant in
        [scalar("now").call(vec![]), scalar("current_user").call(vec![]), scalar("random").call(vec![])]
    {
        assert!(engine.template(plan(constant), &statement).await.is_none());
    }
    // Depends on the session and on a row: called at every run with the running session.
    let id_as_text = cast(col("id"), ColumnType::scalar(TypeKind::Text), CastContext::Explicit);
    let template = engine.template(plan(id_as_text), &statement).await.expect("a template");
    assert!(template.reads_session);
}

#[tokio::test]
async fn shapes_with_aggregates_have_no_template() {
    let count = datafusion::functions_aggregate::expr_fn::count(lit(1));
    let plan =
        items().aggregate(Vec::<Expr>::new(), [count]).and_then(LogicalPlanBuilder::build).expect("a plan");
    assert!(engine().template(plan.clone(), &statement(0..3)).await.is_none());
    assert_eq!(run(plan, statement(0..3)).await.expect("rows"), ["3"]);
}
