//! Tables and views, the system's included.

use exec::functions::catalog::Relation;

use super::yes_no;
use crate::pg_catalog::{Computed, Facts, Row, Value, row};

/// `information_schema.tables`.
pub(crate) const TABLES: Computed = Computed {
    schema: "information_schema",
    name: "tables",
    columns: &[
        "table_catalog",
        "table_schema",
        "table_name",
        "table_type",
        "self_referencing_column_name",
        "reference_generation",
        "user_defined_type_catalog",
        "user_defined_type_schema",
        "user_defined_type_name",
        "is_insertable_into",
        "is_typed",
        "commit_action",
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    facts
        .scope()
        .relations()
        .filter_map(|relation| {
            let is_table = match relation {
                Relation::Table(_) => true,
                Relation::System(system) => system.kind == "r",
                _ => return None,
            };
            Some(row![
                Value::name(facts.database_name()),
                Value::name(relation.namespace()),
                Value::name(relation.name()),
                if is_table { "BASE TABLE" } else { "VIEW" },
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                yes_no(is_table),
                "NO",
                Value::Null,
            ])
        })
        .collect()
}
