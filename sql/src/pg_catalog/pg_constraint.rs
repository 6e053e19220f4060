//! Constraints: so far primary keys.

use exec::functions::catalog::Index;
use exec::functions::catalog::builtin::namespace_oid;
use proto::catalog::PUBLIC_NAMESPACE_OID;

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
    rows: rows,
};

fn of_key(index: Index<'_>) -> Row {
    let columns: Vec<i64> = index.key.columns.iter().map(|&id| id.into()).collect();
    row![
        index.key.oid.0,
        &index.key.name,
        namespace_oid(&index.table.namespace).unwrap_or(PUBLIC_NAMESPACE_OID),
        "p",
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

fn rows(facts: &Facts) -> Vec<Row> {
    facts.scope().indexes().map(of_key).collect()
}
