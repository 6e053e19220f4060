//! The schemas.

use exec::functions::catalog::builtin::{DATABASE_OWNER_OID, NAMESPACES, Namespace, OWNER_OID};

use super::{Computed, Facts, Row, row};

/// `pg_catalog.pg_namespace`.
pub(crate) const PG_NAMESPACE: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_namespace",
    columns: &["oid", "nspname", "nspowner", "nspacl"],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    let fixed = NAMESPACES.iter().map(|namespace| of_namespace(*namespace, &facts.user));
    let own = facts.scope().namespaces();
    let own = own.map(|made| row![made.oid.0, &made.name, OWNER_OID, None::<Vec<String>>]);
    fixed.chain(own).collect()
}

/// Who owns a schema and who else may use it, as in a new database of PostgreSQL.
fn of_namespace(namespace: Namespace, user: &str) -> Row {
    let granted = |owner: &str| vec![format!("{owner}=UC/{owner}"), format!("=U/{owner}")];
    let (owner, privileges) = match namespace.name {
        "public" => (DATABASE_OWNER_OID, Some(granted("pg_database_owner"))),
        "pg_catalog" | "information_schema" => (OWNER_OID, Some(granted(user))),
        _ => (OWNER_OID, None),
    };
    row![namespace.oid, namespace.name, owner, privileges]
}
