//! Aggregates against PostgreSQL's recorded answers, and what is particular to ours: DISTINCT, merging of
//! partial states, ORDER BY inside `string_agg`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit};
use proto::{ColumnType, SqlError, TypeKind};

use super::*;
use crate::functions::{CastContext, cast, find};
use crate::testing::{code, context, run, values};
use crate::to_sql_error;

/// `name([DISTINCT] v, rest… [ORDER BY …])` over a column of a type, resolved as the planner does.
fn aggregate(
    name: &str,
    ty: ColumnType,
    rest: Vec<Expr>,
    distinct: bool,
    order_by: Vec<Sort>,
) -> Result<Expr, SqlError> {
    let function = find(name).ok_or_else(|| SqlError::unsupported(name))?;
    let mut types = vec![Some(ty)];
    types.extend(rest.iter().map(|_| Some(ColumnType::TEXT)));
    let choice = function.resolve(&types)?;
    let FunctionKind::Aggregate(udf) = &function.kind else { return Err(SqlError::unsupported(name)) };
    let first = match choice.arguments[0] == ty {
        true => col("v"),
        false => cast(col("v"), choice.arguments[0], CastContext::Implicit),
    };
    let mut arguments = vec![first];
    arguments.extend(rest);
    Ok(Expr::AggregateFunction(AggregateFunction::new_udf(
        Arc::clone(udf),
        arguments,
        distinct,
        None,
        order_by,
        None,
    )))
}

fn column_type(name: &str) -> ColumnType {
    match name {
        "numeric(10,2)" => ColumnType { typmod: ((10 << 16) | 2) + 4, ..TypeKind::Numeric.into() },
        "numeric" => ColumnType { typmod: (38 << 16) + 4, ..TypeKind::Numeric.into() },
        name => ColumnType::from_name(name).expect("a type name"),
    }
}

async fn answer(function: &str, ty: &str, texts: &str) -> Result<String, SqlError> {
    let ty = column_type(ty);
    let texts: Vec<Option<&str>> = texts
        .split(';')
        .filter(|text| !text.is_empty())
        .map(|text| (text != "NULL").then_some(text))
        .collect();
    let (name, distinct) = function.strip_suffix(" distinct").map_or((function, false), |name| (name, true));
    let expression = aggregate(name, ty, Vec::new(), distinct, Vec::new())?;
    let plan = values(ty, &texts)?
        .aggregate(Vec::<Expr>::new(), [expression])
        .and_then(LogicalPlanBuilder::build)
        .map_err(to_sql_error)?;
    let rows = run(plan, Arc::new(context())).await?;
    Ok(rows.join("\n"))
}

#[tokio::test]
async fn recorded_answers_of_postgresql() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("tests/recorded.txt").lines() {
        let (call, expected) = line.split_once(" => ").expect("a recorded line");
        let parts: Vec<&str> = call.split('|').map(str::trim).collect();
        count += 1;
        let got = answer(parts[0], parts[1], parts[2])
            .await
            .unwrap_or_else(|error| format!("ERROR {} {}", code(error.kind), error.message));
        if got != expected {
            wrong.push(format!("{call}\n    expected {expected}\n    got      {got}"));
        }
    }
    assert!(count > 150, "only {count} recorded answers");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn string_agg_follows_its_order_and_leaves_nulls_out() {
    let order = vec![Sort::new(col("v"), false, true)];
    let ty = ColumnType::TEXT;
    let expression = aggregate("string_agg", ty, vec![lit(", ")], false, order).expect("string_agg");
    let plan = values(ty, &[Some("a"), None, Some("c"), Some("b")])
        .expect("values")
        .aggregate(Vec::<Expr>::new(), [expression])
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    assert_eq!(run(plan, Arc::new(context())).await.expect("rows"), ["c, b, a"]);
}

#[test]
fn partial_states_merge_to_the_same_sum() {
    let field: FieldRef = Arc::new(Field::new("v", DataType::Int64, true));
    let result: FieldRef = Arc::new(Field::new("s", DataType::Decimal128(38, 0), true));
    let schema = arrow::datatypes::Schema::empty();
    let args = || AccumulatorArgs {
        return_field: Arc::clone(&result),
        schema: &schema,
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name: "sum",
        is_distinct: false,
        exprs: &[],
        expr_fields: std::slice::from_ref(&field),
    };
    let mut total = exact::sum(&args());
    for part in [vec![i64::MAX, 1], vec![2, i64::MAX]] {
        let mut partial = exact::sum(&args());
        partial.update_batch(&[Arc::new(Int64Array::from(part)) as ArrayRef]).expect("update");
        let state: Vec<ArrayRef> =
            partial.state().expect("state").iter().map(|v| v.to_array().expect("array")).collect();
        total.merge_batch(&state).expect("merge");
    }
    let expected = 2 * i128::from(i64::MAX) + 3;
    assert_eq!(total.evaluate().expect("sum"), ScalarValue::Decimal128(Some(expected), 38, 0));
}
