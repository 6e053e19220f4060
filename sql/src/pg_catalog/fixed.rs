//! Relations whose rows are the same in every database: PostgreSQL's own, written to files by
//! `scripts/catalog-data`.
//!
//! Invariant: a file's columns are the relation's, in order.

use super::value::{Row, Value};

/// The rows of a relation without a file of its own; none for most.
pub(super) fn rows(relation: &str) -> Vec<Row> {
    file(relation).map(parse).unwrap_or_default()
}

/// The file of a relation.
pub(super) fn file(relation: &str) -> Option<&'static str> {
    Some(match relation {
        "pg_am" => include_str!("rows/pg_am.tsv"),
        "pg_auth_members" => include_str!("rows/pg_auth_members.tsv"),
        "pg_collation" => include_str!("rows/pg_collation.tsv"),
        "pg_language" => include_str!("rows/pg_language.tsv"),
        "pg_opclass" => include_str!("rows/pg_opclass.tsv"),
        "pg_operator" => include_str!("rows/pg_operator.tsv"),
        "pg_opfamily" => include_str!("rows/pg_opfamily.tsv"),
        "pg_range" => include_str!("rows/pg_range.tsv"),
        "pg_tablespace" => include_str!("rows/pg_tablespace.tsv"),
        _ => return None,
    })
}

/// The lines behind the header.
pub(super) fn parse(text: &'static str) -> Vec<Row> {
    text.lines().skip(1).map(|line| line.split('\t').map(Value::Copied).collect()).collect()
}
