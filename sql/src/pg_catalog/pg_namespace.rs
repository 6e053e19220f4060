//! The schemas.

use exec::functions::catalog::builtin::{NAMESPACES, OWNER_OID};

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_namespace`.
pub(crate) const PG_NAMESPACE: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_namespace",
    columns: &["oid", "nspname", "nspowner", "nspacl"],
    rows: rows,
};

fn rows(_facts: &Facts) -> Vec<Row> {
    NAMESPACES.iter().map(|namespace| row![namespace.oid, namespace.name, OWNER_OID, Value::Null]).collect()
}
