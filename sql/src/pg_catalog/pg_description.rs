//! Comments: those on built-in objects, and the texts of COMMENT on this database's objects.

use exec::functions::catalog::builtin;
use proto::DatabaseId;

use super::pg_extension::VECTOR_OID;
use super::{Computed, Facts, Row, row};

/// `pg_catalog.pg_description`.
pub(crate) const PG_DESCRIPTION: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_description",
    columns: &["objoid", "classoid", "objsubid", "description"],
    rows,
};

/// `pg_catalog.pg_shdescription`: comments on databases.
pub(crate) const PG_SHDESCRIPTION: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_shdescription",
    columns: &["objoid", "classoid", "description"],
    rows: shared,
};

/// OID of `pg_database`.
const PG_DATABASE_OID: u32 = 1262;

fn rows(facts: &Facts) -> Vec<Row> {
    let scope = facts.scope();
    let here = |oid: u32| {
        scope.relations().any(|relation| relation.oid() == oid)
            || scope.checks().any(|(_, check)| check.oid.0 == oid)
            || scope.key_constraints().any(|(constraint, _)| constraint == oid)
            || scope.foreign_keys().any(|(_, key)| key.oid.0 == oid)
            || scope.namespace_name(oid).is_some()
    };
    let has_vector = facts.has_extension("vector");
    let fixed = builtin::descriptions()
        .iter()
        .filter(|described| described.object != VECTOR_OID || has_vector)
        .map(|described| row![described.object, described.catalog, 0, described.text]);
    let own = facts.catalog.comments.iter();
    let own = own
        .filter(|(about, _)| about.class != PG_DATABASE_OID && here(about.object))
        .map(|(about, text)| row![about.object, about.class, i64::from(about.column), text.to_string()]);
    fixed.chain(own).collect()
}

fn shared(facts: &Facts) -> Vec<Row> {
    let comments = facts.catalog.comments.iter().filter(|(about, _)| about.class == PG_DATABASE_OID);
    comments
        .filter(|(about, _)| facts.catalog.databases.contains_key(&DatabaseId(about.object.into())))
        .map(|(about, text)| row![about.object, about.class, text.to_string()])
        .collect()
}
