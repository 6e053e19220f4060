//! Comments: so far those on built-in objects.

use exec::functions::catalog::builtin;

use super::pg_extension::VECTOR_OID;
use super::{Computed, Facts, Row, row};

/// `pg_catalog.pg_description`.
pub(crate) const PG_DESCRIPTION: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_description",
    columns: &["objoid", "classoid", "objsubid", "description"],
    rows: rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    let has_vector = facts.has_extension("vector");
    builtin::descriptions()
        .iter()
        .filter(|described| described.object != VECTOR_OID || has_vector)
        .map(|described| row![described.object, described.catalog, 0, described.text])
        .collect()
}
