use super::*;
use crate::functions::catalog::tests::{scope, shop};

#[test]
fn names_are_found_in_every_spelling() {
    let catalog = shop();
    let path = ["public".to_owned()];
    let scope = scope(&catalog, &path);
    for (text, oid) in [
        ("int4", 23),
        ("INTEGER", 23),
        (" double  precision ", 701),
        ("character varying(10)", 1043),
        ("timestamp(3) with time zone", 1184),
        ("\"char\"", 18),
        ("char", 1042),
        ("int4[]", 1007),
        ("_int4", 1007),
        ("int[3]", 1007),
        ("text[][]", 1009),
        ("vector", 16_385),
        ("vector(3)", 16_385),
        ("public.vector", 16_385),
        ("vector[]", 16_386),
        ("_vector", 16_386),
        ("pg_catalog.text", 25),
        ("items", 16_501),
        ("pg_class", 83),
        ("23", 23),
        ("-", 0),
    ] {
        assert_eq!(resolve(scope, text), Ok(oid), "{text:?}");
    }
}

#[test]
fn missing_types_are_errors_of_postgresql() {
    let catalog = shop();
    let path = ["public".to_owned()];
    let scope = scope(&catalog, &path);
    for (text, message) in [
        ("nope", "type \"nope\" does not exist"),
        ("public.nope", "type \"public.nope\" does not exist"),
        ("nope.x", "schema \"nope\" does not exist"),
        ("x y", "syntax error at or near \"y\""),
        ("", "invalid type name \"\""),
        ("a.b.c", "cross-database references are not implemented: a.b.c"),
    ] {
        assert_eq!(resolve(scope, text).map_err(|error| error.message), Err(message.to_owned()), "{text:?}");
    }
    assert_eq!(to_regtype(scope, "nope"), Ok(None));
    assert_eq!(to_regtype(scope, "nope.x"), Ok(None));
    assert!(to_regtype(scope, "x y").is_err());
}

#[test]
fn formatted_types_are_postgresqls() {
    let catalog = shop();
    let path = ["public".to_owned()];
    let scope = scope(&catalog, &path);
    for (oid, typmod, printed) in [
        (1042, Some(-1), "bpchar"),
        (1042, None, "character"),
        (1560, Some(-1), "\"bit\""),
        (18, None, "\"char\""),
        (16_385, Some(3), "vector(3)"),
        (16_386, Some(3), "vector(3)[]"),
        (1114, Some(3), "timestamp(3) without time zone"),
        (1015, Some(14), "character varying(10)[]"),
        (1700, Some(655_366), "numeric(10,2)"),
        (999_999, Some(-1), "???"),
        (0, Some(-1), "-"),
        (83, Some(-1), "pg_class"),
        (16_501, None, "items"),
        (2287, None, "record[]"),
    ] {
        assert_eq!(format_type(scope, oid, typmod), printed, "{oid} {typmod:?}");
    }
    assert_eq!(format_type(super::super::tests::scope(&catalog, &[]), 16_385, Some(3)), "public.vector(3)");
}

#[test]
fn printed_types_are_read_back() {
    let catalog = shop();
    let path = ["public".to_owned()];
    let scope = scope(&catalog, &path);
    for ty in builtin::types() {
        let text = display(scope, ty.oid).unwrap_or_else(|| panic!("{} does not print", ty.name));
        assert_eq!(resolve(scope, &text), Ok(ty.oid), "{text}");
    }
}
