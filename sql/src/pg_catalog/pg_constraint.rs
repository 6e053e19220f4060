//! Constraints: primary keys, other unique keys, and CHECKs.

use exec::functions::catalog::Key;
use proto::catalog::{CheckConstraint, PUBLIC_NAMESPACE_OID, TableMeta};

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_constraint`.
pub(crate) const PG_CONSTRAINT: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_constraint",
    columns: &[
        "oid",
        "conname",
        "connamespace",
        "contype",
        "condeferrable",
        "condeferred",
        "convalidated",
        "conrelid",
        "contypid",
        "conindid",
        "conparentid",
        "confrelid",
        "confupdtype",
        "confdeltype",
        "confmatchtype",
        "conislocal",
        "coninhcount",
        "connoinherit",
        "conkey",
        "confkey",
        "conpfeqop",
        "conppeqop",
        "conffeqop",
        "confdelsetcols",
        "conexclop",
        "conbin",
    ],
    rows,
};

fn of_key(facts: &Facts, constraint: u32, index: Key<'_>) -> Row {
    let columns: Vec<i64> = index.key.columns.iter().map(|&id| id.into()).collect();
    row![
        constraint,
        Value::name(index.key.name),
        facts.scope().namespace_oid(&index.table.namespace).unwrap_or(PUBLIC_NAMESPACE_OID),
        if index.key.is_primary { "p" } else { "u" },
        false,
        false,
        true,
        index.table.id.oid().0,
        0,
        index.key.index_oid.0,
        0,
        0,
        " ",
        " ",
        " ",
        true,
        0,
        true,
        columns,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
    ]
}

fn of_check(facts: &Facts, table: &TableMeta, check: &CheckConstraint) -> Row {
    let columns: Vec<i64> = check.columns.iter().map(|&id| id.into()).collect();
    row![
        check.oid.0,
        &check.name,
        facts.scope().namespace_oid(&table.namespace).unwrap_or(PUBLIC_NAMESPACE_OID),
        "c",
        false,
        false,
        true,
        table.id.oid().0,
        0,
        0,
        0,
        0,
        " ",
        " ",
        " ",
        true,
        0,
        false,
        columns,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        &check.expression,
    ]
}

fn rows(facts: &Facts) -> Vec<Row> {
    let keys = facts.scope().key_constraints().map(|(oid, key)| of_key(facts, oid, key));
    keys.chain(facts.scope().checks().map(|(table, check)| of_check(facts, table, check))).collect()
}
