//! Constraints and their columns: unique keys, and NOT NULL as the standard's CHECK.

use exec::functions::catalog::Key;
use proto::catalog::{KeyMeta, PUBLIC_NAMESPACE_OID};

use crate::pg_catalog::{Computed, Facts, Row, Value, row};

/// `information_schema.constraint_column_usage`.
pub(crate) const CONSTRAINT_COLUMN_USAGE: Computed = Computed {
    schema: "information_schema",
    name: "constraint_column_usage",
    columns: &[
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "constraint_catalog",
        "constraint_schema",
        "constraint_name",
    ],
    rows: column_usage,
};

/// `information_schema.key_column_usage`.
pub(crate) const KEY_COLUMN_USAGE: Computed = Computed {
    schema: "information_schema",
    name: "key_column_usage",
    columns: &[
        "constraint_catalog",
        "constraint_schema",
        "constraint_name",
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
        "position_in_unique_constraint",
    ],
    rows: key_columns,
};

/// `information_schema.table_constraints`.
pub(crate) const TABLE_CONSTRAINTS: Computed = Computed {
    schema: "information_schema",
    name: "table_constraints",
    columns: &[
        "constraint_catalog",
        "constraint_schema",
        "constraint_name",
        "table_catalog",
        "table_schema",
        "table_name",
        "constraint_type",
        "is_deferrable",
        "initially_deferred",
        "enforced",
        "nulls_distinct",
    ],
    rows: constraints,
};

fn column_usage(facts: &Facts) -> Vec<Row> {
    let database = facts.database_name();
    let of_key = |(_, index): (u32, Key<'_>)| {
        let (table, key) = (index.table, index.key);
        index
            .column_names()
            .map(|column| {
                row![
                    Value::name(database),
                    &table.namespace,
                    &table.name,
                    Value::name(column),
                    Value::name(database),
                    &table.namespace,
                    Value::name(key.name),
                ]
            })
            .collect::<Vec<_>>()
    };
    facts.scope().key_constraints().flat_map(of_key).collect()
}

fn key_columns(facts: &Facts) -> Vec<Row> {
    let database = facts.database_name();
    let of_key = |(_, index): (u32, Key<'_>)| {
        let (table, key) = (index.table, index.key);
        index
            .column_names()
            .zip(1_i64..)
            .map(|(column, number)| {
                row![
                    Value::name(database),
                    &table.namespace,
                    Value::name(key.name),
                    Value::name(database),
                    &table.namespace,
                    &table.name,
                    Value::name(column),
                    number,
                    Value::Null,
                ]
            })
            .collect::<Vec<_>>()
    };
    facts.scope().key_constraints().flat_map(of_key).collect()
}

fn constraints(facts: &Facts) -> Vec<Row> {
    let database = facts.database_name();
    let line = |schema: &str, name: String, table: &str, kind: &'static str, nulls: Option<&'static str>| {
        row![
            Value::name(database),
            Value::name(schema),
            name,
            Value::name(database),
            Value::name(schema),
            Value::name(table),
            kind,
            "NO",
            "NO",
            "YES",
            nulls,
        ]
    };
    let mut rows = Vec::new();
    for (_, Key { table, key }) in facts.scope().key_constraints() {
        let (kind, nulls) = match key {
            KeyMeta { is_primary: true, .. } => ("PRIMARY KEY", None),
            KeyMeta { nulls_distinct: true, .. } => ("UNIQUE", Some("YES")),
            _ => ("UNIQUE", Some("NO")),
        };
        rows.push(line(&table.namespace, key.name.to_owned(), &table.name, kind, nulls));
    }
    for table in facts.scope().tables() {
        for check in &table.checks {
            rows.push(line(&table.namespace, check.name.clone(), &table.name, "CHECK", None));
        }
        for column in table.columns.iter().filter(|column| !column.nullable) {
            let name = format!("{PUBLIC_NAMESPACE_OID}_{}_{}_not_null", table.id, column.id);
            rows.push(line(&table.namespace, name, &table.name, "CHECK", None));
        }
    }
    rows
}
