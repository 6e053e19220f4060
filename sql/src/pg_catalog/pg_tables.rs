//! Tables by name, the system's included.

use exec::functions::catalog::Relation;

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_tables`.
pub(crate) const PG_TABLES: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_tables",
    columns: &[
        "schemaname",
        "tablename",
        "tableowner",
        "tablespace",
        "hasindexes",
        "hasrules",
        "hastriggers",
        "rowsecurity",
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    facts
        .scope()
        .relations()
        .filter_map(|relation| {
            let has_indexes = match relation {
                Relation::Table(table) => table.index_names().next().is_some(),
                Relation::System(system) if system.kind == "r" => false,
                _ => return None,
            };
            Some(row![
                Value::name(relation.namespace()),
                Value::name(relation.name()),
                &facts.user,
                Value::Null,
                has_indexes,
                false,
                false,
                false,
            ])
        })
        .collect()
}
