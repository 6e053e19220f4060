use std::path::Path;

use ::tests::wire::{Column, ServerError};

use super::*;
use crate::script::parse;

fn step(text: &str) -> Step {
    parse(text, Path::new("x.slt")).unwrap().remove(0)
}

fn reply(names: &[&str], rows: &[&[Option<&str>]], tag: &str) -> Reply {
    let columns = names
        .iter()
        .map(|name| Column {
            name: (*name).to_owned(),
            table_oid: 0,
            attribute: 0,
            type_oid: 25,
            type_length: -1,
            type_modifier: -1,
            format: 0,
        })
        .collect();
    let rows = rows.iter().map(|row| row.iter().map(|value| value.map(str::to_owned)).collect()).collect();
    Reply { results: vec![ResultSet { columns, rows, tag: Some(tag.to_owned()) }], ..Reply::default() }
}

#[test]
fn rows_names_and_tags_are_compared() {
    let query = step("# columns: a, b\nquery TT nosort\nSELECT\n----\nNULL (empty)\n");
    assert_eq!(compare(&query, &reply(&["a", "b"], &[&[None, Some("")]], "SELECT 1")), None);
    assert!(compare(&query, &reply(&["a", "c"], &[&[None, Some("")]], "SELECT 1")).is_some());
    assert!(compare(&query, &reply(&["a", "b"], &[&[None, Some("x")]], "SELECT 1")).is_some());
    assert!(compare(&query, &reply(&["a", "b"], &[], "SELECT 0")).is_some());
    let statement = step("# tag: INSERT 0 1\nstatement ok\nINSERT\n");
    assert_eq!(compare(&statement, &reply(&[], &[], "INSERT 0 1")), None);
    assert!(compare(&statement, &reply(&[], &[], "INSERT 0 2")).is_some());
}

#[test]
fn order_matters_unless_rowsort() {
    let rows: &[&[Option<&str>]] = &[&[Some("2")], &[Some("1")]];
    assert!(compare(&step("query I nosort\nSELECT\n----\n1\n2\n"), &reply(&["x"], rows, "")).is_some());
    assert_eq!(compare(&step("query I rowsort\nSELECT\n----\n1\n2\n"), &reply(&["x"], rows, "")), None);
}

#[test]
fn errors_are_compared_by_code_and_message() {
    let expected = step("# message: no\nstatement error (22003)\nSELECT\n");
    let error = ServerError { code: "22003".to_owned(), message: "no".to_owned(), ..ServerError::default() };
    let with = |error: &ServerError| Reply { error: Some(error.clone()), ..Reply::default() };
    assert_eq!(compare(&expected, &with(&error)), None);
    assert!(compare(&expected, &with(&ServerError { code: "22004".to_owned(), ..error.clone() })).is_some());
    assert!(compare(&expected, &with(&ServerError { message: "yes".to_owned(), ..error.clone() })).is_some());
    assert!(compare(&expected, &reply(&[], &[], "SELECT 1")).is_some());
    assert!(compare(&step("statement ok\nSELECT\n"), &with(&error)).is_some());
}
