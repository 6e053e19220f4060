//! Overload choice and common types, as PostgreSQL decides them.

use super::*;
use crate::functions::{find, resolve_operator};

fn named(names: &[&str]) -> Vec<Option<ColumnType>> {
    names.iter().map(|name| ColumnType::from_name(name).filter(|_| *name != "unknown")).collect()
}

#[test]
fn operators_choose_the_types_that_postgresql_chooses() {
    // SELECT pg_typeof(a <op> b)
    let cases = [
        ("+", ["int2", "int4"], "int4"),
        ("+", ["int4", "int8"], "int8"),
        ("+", ["int4", "numeric"], "numeric"),
        ("+", ["int4", "float4"], "float8"),
        ("+", ["numeric", "float8"], "float8"),
        ("+", ["float4", "float4"], "float4"),
        ("+", ["int4", "unknown"], "int4"),
        ("+", ["date", "int4"], "date"),
        ("+", ["date", "interval"], "timestamp"),
        ("-", ["date", "date"], "int4"),
        ("-", ["timestamptz", "timestamptz"], "interval"),
        ("*", ["interval", "int4"], "interval"),
        ("^", ["int4", "int4"], "float8"),
        ("^", ["int4", "numeric"], "numeric"),
        ("||", ["text", "int4"], "text"),
        ("||", ["varchar", "varchar"], "text"),
        ("||", ["vector", "unknown"], "vector"),
        ("<->", ["vector", "unknown"], "float8"),
    ];
    for (operator, operands, result) in cases {
        let (_, choice) = resolve_operator(operator, &named(&operands)).expect(operator);
        assert_eq!(choice.result.name(), result, "{operands:?} {operator}");
    }
}

#[test]
fn what_does_not_fit_is_refused_in_postgresqls_words() {
    let cases = [
        ("+", ["text", "int4"], ErrorKind::UndefinedFunction, "operator does not exist: text + integer"),
        (
            "+",
            ["unknown", "unknown"],
            ErrorKind::AmbiguousFunction,
            "operator is not unique: unknown + unknown",
        ),
        (
            "<->",
            ["float4[]", "vector"],
            ErrorKind::UndefinedFunction,
            "operator does not exist: real[] <-> vector",
        ),
        ("@@", ["text", "text"], ErrorKind::UndefinedFunction, "operator does not exist: text @@ text"),
    ];
    for (operator, operands, kind, message) in cases {
        let error = resolve_operator(operator, &named(&operands)).expect_err(operator);
        assert_eq!((error.kind, error.message.as_str()), (kind, message));
    }
    let length = find("length").expect("length");
    let error = length.resolve(&named(&["int4"])).expect_err("no such overload");
    assert_eq!(error.message, "function length(integer) does not exist");
}

#[test]
fn common_types_meet_where_postgresql_lets_them() {
    let cases: [(&[&str], Option<&str>); 9] = [
        (&["int4", "int8"], Some("int8")),
        (&["int4", "unknown"], Some("int4")),
        (&["unknown", "unknown"], Some("text")),
        (&["int4", "numeric", "float8"], Some("float8")),
        (&["varchar", "text"], Some("text")),
        (&["date", "timestamptz"], Some("timestamptz")),
        (&["bool", "int4"], None),
        (&["text", "int4"], None),
        (&["vector", "unknown"], Some("vector")),
    ];
    for (types, expected) in cases {
        let found = common_type("CASE", &named(types));
        match (found, expected) {
            (Ok(found), Some(expected)) => assert_eq!(found.name(), expected, "{types:?}"),
            (Err(error), None) => assert_eq!(error.kind, ErrorKind::DatatypeMismatch),
            (found, expected) => panic!("{types:?}: {found:?}, expected {expected:?}"),
        }
    }
    let error = common_type("CASE", &named(&["bool", "int4"])).expect_err("no common type");
    assert_eq!(error.message, "CASE types boolean and integer cannot be matched");
}
