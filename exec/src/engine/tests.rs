//! The engine: the short way for constants, EXPLAIN's shape, cancellation, statement values never folded.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit};
use proto::{ErrorKind, TypeKind};

use super::*;
use crate::functions::series::{Bounds, series_provider};
use crate::functions::{FunctionKind, find, resolve_operator};
use crate::table::{Columns, table_source};
use crate::testing::{context, engine, run, session, table_batch, table_context, table_meta};

fn constant(expression: Expr) -> LogicalPlan {
    LogicalPlanBuilder::empty(true)
        .project([expression.alias("x")])
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan")
}

fn scalar(name: &str) -> Arc<datafusion::logical_expr::ScalarUDF> {
    match &find(name).expect("a function").kind {
        FunctionKind::Scalar(udf) => Arc::clone(udf),
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test]
async fn constants_go_the_short_way_with_the_same_answers() {
    let int4 = Some(proto::ColumnType::INT4);
    let (add, _) = resolve_operator("+", &[int4, int4]).expect("an operator");
    let plan = constant(add.call(vec![lit(1), lit(2)]));
    let projection = fast::as_constant_projection(&plan).expect("a constant projection");
    let engine = engine();
    assert!(fast::evaluate(projection, engine.options_for(&Arc::new(context()))).is_some());
    assert_eq!(run(plan, Arc::new(context())).await.expect("rows"), ["3"]);
    // COALESCE needs the optimizer, an int4 = int8 needs coercion: the long way.
    let plan =
        constant(scalar("coalesce").call(vec![lit(datafusion::common::ScalarValue::Int32(None)), lit(7)]));
    assert_eq!(run(plan, Arc::new(context())).await.expect("rows"), ["7"]);
    assert_eq!(run(constant(lit(1).eq(lit(1_i64))), Arc::new(context())).await.expect("rows"), ["t"]);
}

#[tokio::test]
async fn errors_of_the_short_way_are_the_long_ways() {
    let int4 = Some(proto::ColumnType::INT4);
    let (divide, _) = resolve_operator("/", &[int4, int4]).expect("an operator");
    let error = run(constant(divide.call(vec![lit(1), lit(0)])), Arc::new(context())).await.expect_err("1/0");
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::DivisionByZero, "division by zero"));
}

#[tokio::test]
async fn one_plan_gives_every_session_its_own_values() {
    let series =
        series_provider(Some(Bounds::Integers { kind: TypeKind::Int4, start: 1, stop: 1, step: 1 }), "g")
            .expect("a series");
    let plan = LogicalPlanBuilder::scan("g", provider_as_source(series), None)
        .and_then(|builder| builder.project([scalar("current_user").call(vec![])]))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    for user in ["ada", "bob"] {
        let mut values = session();
        values.user = user.to_owned();
        let mut context = context();
        context.session = Arc::new(values);
        assert_eq!(run(plan.clone(), Arc::new(context)).await.expect("rows"), [user]);
    }
}

#[tokio::test]
async fn explain_has_postgresqls_shape() {
    let statement = table_context(&[table_batch(&[(1, "a", Some("[1,0]")), (2, "b", None)])], &[]);
    let plan = LogicalPlanBuilder::scan("items", table_source(table_meta(), Columns::User), None)
        .and_then(|builder| builder.filter(col("name").eq(lit("a"))))
        .and_then(|builder| builder.sort_with_limit([Sort::new(col("id"), true, false)], Some(5)))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    let lines = engine()
        .explain(plan.clone(), Arc::clone(&statement), ExplainOptions::default())
        .await
        .expect("lines");
    assert_eq!(
        lines,
        [
            "Limit",
            "  ->  Sort",
            "        Sort Key: id",
            "        ->  Seq Scan on items",
            "              Filter: (name = 'a'::text)",
        ]
    );
    let options = ExplainOptions { analyze: true, verbose: false };
    let lines = engine().explain(plan, statement, options).await.expect("lines");
    assert!(
        lines.iter().any(|line| line.contains("Seq Scan on items (actual time=") && line.contains("rows=1")),
        "{lines:?}"
    );
    assert!(lines.last().is_some_and(|line| line.starts_with("Execution Time: ")), "{lines:?}");
}

#[tokio::test]
async fn a_running_statement_stops_when_it_is_canceled() {
    use futures::StreamExt as _;
    let bounds = Bounds::Integers { kind: TypeKind::Int8, start: 1, stop: i64::MAX, step: 1 };
    let series = series_provider(Some(bounds), "g").expect("a series");
    let plan = LogicalPlanBuilder::scan("g", provider_as_source(series), None)
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    let context = Arc::new(context());
    let mut stream = engine().execute(plan, Arc::clone(&context)).await.expect("a stream");
    assert!(stream.next().await.is_some_and(|batch| batch.is_ok()));
    context.cancel.cancel();
    let error = stream.next().await.expect("an end").map(|_| ()).expect_err("canceled");
    assert_eq!(to_sql_error(error).kind, ErrorKind::QueryCanceled);
}
