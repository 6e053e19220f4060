//! Schemas.

use exec::functions::catalog::builtin::NAMESPACES;

use crate::pg_catalog::{Computed, Facts, Row, Value, row};

/// `information_schema.schemata`.
pub(crate) const SCHEMATA: Computed = Computed {
    schema: "information_schema",
    name: "schemata",
    columns: &[
        "catalog_name",
        "schema_name",
        "schema_owner",
        "default_character_set_catalog",
        "default_character_set_schema",
        "default_character_set_name",
        "sql_path",
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    let own = facts.scope().namespaces().map(|namespace| namespace.name.as_str());
    let fixed = NAMESPACES.iter().map(|namespace| namespace.name);
    fixed
        .chain(own)
        .map(|name| {
            row![
                Value::name(facts.database_name()),
                Value::name(name),
                &facts.user,
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
            ]
        })
        .collect()
}
