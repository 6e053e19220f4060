//! Window functions against what PostgreSQL 16 answers for the same rows.

use std::sync::Arc;

use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, LogicalPlanBuilder, WindowFrame, WindowFunctionDefinition, col, lit,
};

use super::*;
use crate::functions::find;
use crate::testing::{context, run, values};

fn window(name: &str, arguments: Vec<Expr>) -> Expr {
    let definition = match &find(name).expect("a function").kind {
        FunctionKind::Window(udf) => WindowFunctionDefinition::WindowUDF(Arc::clone(udf)),
        FunctionKind::Aggregate(udf) => WindowFunctionDefinition::AggregateUDF(Arc::clone(udf)),
        other => panic!("{name} is {other:?}"),
    };
    Expr::from(WindowFunction::new(definition, arguments))
        .order_by(vec![Sort::new(col("v"), true, false)])
        .window_frame(WindowFrame::new(Some(false)))
        .build()
        .expect("a window")
}

#[tokio::test]
async fn answers_of_postgresql() {
    // SELECT v, <window> FROM (VALUES (10),(20),(20),(30)) t(v) ORDER BY v
    let cases: Vec<(&str, Vec<Expr>, [&str; 4])> = vec![
        ("row_number", vec![], ["1", "2", "3", "4"]),
        ("rank", vec![], ["1", "2", "2", "4"]),
        ("dense_rank", vec![], ["1", "2", "2", "3"]),
        ("percent_rank", vec![], ["0", "0.3333333333333333", "0.3333333333333333", "1"]),
        ("cume_dist", vec![], ["0.25", "0.75", "0.75", "1"]),
        ("ntile", vec![lit(3)], ["1", "1", "2", "3"]),
        ("lag", vec![col("v")], ["NULL", "10", "20", "20"]),
        ("lag", vec![col("v"), lit(2), lit(0)], ["0", "0", "10", "20"]),
        ("lead", vec![col("v")], ["20", "20", "30", "NULL"]),
        ("first_value", vec![col("v")], ["10", "10", "10", "10"]),
        ("last_value", vec![col("v")], ["10", "20", "20", "30"]),
        ("sum", vec![col("v")], ["10", "50", "50", "80"]),
        (
            "avg",
            vec![col("v")],
            ["10.0000000000000000", "16.6666666666666667", "16.6666666666666667", "20.0000000000000000"],
        ),
        ("count", vec![col("v")], ["1", "3", "3", "4"]),
    ];
    for (name, arguments, expected) in cases {
        let plan = values(ColumnType::INT4, &[Some("20"), Some("10"), Some("30"), Some("20")])
            .expect("values")
            .window([window(name, arguments).alias("w")])
            .and_then(|builder| {
                builder.sort([Sort::new(col("v"), true, false), Sort::new(col("w"), true, true)])
            })
            .and_then(|builder| builder.project([col("w")]))
            .and_then(LogicalPlanBuilder::build)
            .expect("a plan");
        let mut rows = run(plan, Arc::new(context())).await.expect("rows");
        // Within equal v the order of w is free, apart from the sort above.
        if name == "lead" {
            rows[1..3].sort();
        }
        assert_eq!(rows, expected, "{name}");
    }
}

#[test]
fn result_types_are_postgresqls() {
    let types = [("row_number", "int8"), ("rank", "int8"), ("ntile", "int4"), ("percent_rank", "float8")];
    for (name, ty) in types {
        let FunctionKind::Window(udf) = &find(name).expect("a function").kind else { panic!("{name}") };
        let field = udf.field(WindowUDFFieldArgs::new(&[], name)).expect("a field");
        assert_eq!(ColumnType::of_field(&field).name(), ty, "{name}");
    }
}
