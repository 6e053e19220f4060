//! Row expressions over a batch of the test table.

use datafusion::common::DFSchema;
use datafusion::logical_expr::{col, lit, when};
use proto::ErrorKind;

use super::*;
use crate::functions::{find, resolve_operator};
use crate::testing::{context, table_batch, table_meta};
use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use proto::ColumnType;

fn schema() -> DFSchema {
    DFSchema::try_from_qualified_schema("items", &table_meta().arrow_schema()).expect("a schema")
}

#[test]
fn expressions_see_columns_and_the_session() {
    let batch = table_batch(&[(1, "a", None), (2, "b", None)]);
    let int4 = Some(ColumnType::INT4);
    let (add, _) = resolve_operator("+", &[int4, int4]).expect("an operator");
    let crate::functions::FunctionKind::Scalar(user) = &find("current_user").expect("a function").kind else {
        panic!("current_user is scalar")
    };
    let expressions = [
        add.call(vec![col("items.id"), lit(10)]),
        user.call(vec![]),
        when(col("items.id").gt(lit(1_i64)), lit("big")).otherwise(lit("small")).expect("a case"),
    ];
    let columns = evaluate(&expressions, &schema(), &batch, &context()).expect("columns");
    assert_eq!(columns[0].as_primitive::<Int32Type>().values(), &[11, 12]);
    assert_eq!(columns[1].as_string::<i32>().value(1), "elanus");
    assert_eq!(columns[2].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("small"), Some("big")]);
}

#[test]
fn errors_keep_their_kind() {
    let batch = table_batch(&[(0, "a", None)]);
    let int4 = Some(ColumnType::INT4);
    let (divide, _) = resolve_operator("/", &[int4, int4]).expect("an operator");
    let expressions = [divide.call(vec![lit(1), col("items.id")])];
    let error = evaluate(&expressions, &schema(), &batch, &context()).expect_err("division by zero");
    assert_eq!(error.kind, ErrorKind::DivisionByZero);
    let error = evaluate(&[col("items.nosuch")], &schema(), &batch, &context()).expect_err("no column");
    assert_eq!(error.kind, ErrorKind::UndefinedColumn);
}
