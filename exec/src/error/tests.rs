use std::sync::Arc;

use super::*;

fn overflow() -> SqlError {
    SqlError::new(ErrorKind::NumericValueOutOfRange, "integer out of range").with_detail("d")
}

#[test]
fn our_errors_leave_a_plan_word_for_word() {
    let wrapped = [
        raise(overflow()),
        raise(overflow()).context("outer"),
        DataFusionError::Shared(Arc::new(raise(overflow()).context("outer"))),
        DataFusionError::Collection(vec![raise(overflow())]),
        DataFusionError::from(ArrowError::ExternalError(Box::new(overflow()))),
        DataFusionError::from(ArrowError::ExternalError(Box::new(raise(overflow())))),
        DataFusionError::External(Box::new(DataFusionError::Shared(Arc::new(raise(overflow()))))),
    ];
    for error in wrapped {
        assert_eq!(to_sql_error(error), overflow());
    }
}

#[test]
fn foreign_errors_get_their_kind() {
    let cases: Vec<(DataFusionError, ErrorKind, &str)> = vec![
        (ArrowError::DivideByZero.into(), ErrorKind::DivisionByZero, "division by zero"),
        (
            ArrowError::ArithmeticOverflow("x".into()).into(),
            ErrorKind::NumericValueOutOfRange,
            "integer out of range",
        ),
        (DataFusionError::ResourcesExhausted("x".into()), ErrorKind::OutOfMemory, "out of memory"),
        (DataFusionError::NotImplemented("x".into()), ErrorKind::FeatureNotSupported, "x"),
    ];
    for (error, kind, message) in cases {
        let sql = to_sql_error(error);
        assert_eq!((sql.kind, sql.message.as_str()), (kind, message));
    }
    let missing =
        datafusion::common::DFSchema::empty().field_with_unqualified_name("x").expect_err("no such column");
    let sql = to_sql_error(missing);
    assert_eq!((sql.kind, sql.message.as_str()), (ErrorKind::UndefinedColumn, "column \"x\" does not exist"));
}
