//! Constraints and their columns: unique keys, foreign keys, and NOT NULL as the standard's CHECK.

use exec::functions::catalog::Key;
use proto::catalog::{ForeignKey, KeyMeta, MatchType, PUBLIC_NAMESPACE_OID, ReferentialAction, TableMeta};

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

/// `information_schema.referential_constraints`.
pub(crate) const REFERENTIAL_CONSTRAINTS: Computed = Computed {
    schema: "information_schema",
    name: "referential_constraints",
    columns: &[
        "constraint_catalog",
        "constraint_schema",
        "constraint_name",
        "unique_constraint_catalog",
        "unique_constraint_schema",
        "unique_constraint_name",
        "match_option",
        "update_rule",
        "delete_rule",
    ],
    rows: referential,
};

const fn rule(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    }
}

fn referential(facts: &Facts) -> Vec<Row> {
    let database = facts.database_name();
    let of = |(table, foreign): (&TableMeta, &ForeignKey)| {
        let target = facts.scope().tables().find(|target| target.id == foreign.target)?;
        let key = target.key(foreign.target_index)?;
        // An index without a constraint has no name here.
        let key = key.constraint.map(|_| key.name.to_owned());
        Some(row![
            Value::name(database),
            &table.namespace,
            &foreign.name,
            key.as_ref().map(|_| database.to_owned()),
            key.as_ref().map(|_| target.namespace.clone()),
            key,
            if foreign.match_type == MatchType::Full { "FULL" } else { "NONE" },
            rule(foreign.on_update),
            rule(foreign.on_delete),
        ])
    };
    facts.scope().foreign_keys().filter_map(of).collect()
}

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
    let of_foreign = |(table, foreign): (&TableMeta, &ForeignKey)| {
        let target = facts.scope().tables().find(|target| target.id == foreign.target);
        let columns = target.into_iter().flat_map(|target| {
            target.positions(&foreign.target_columns).into_iter().map(move |at| (target, at))
        });
        columns
            .map(|(target, at)| {
                row![
                    Value::name(database),
                    &target.namespace,
                    &target.name,
                    Value::name(&target.columns[at].name),
                    Value::name(database),
                    &table.namespace,
                    Value::name(&foreign.name),
                ]
            })
            .collect::<Vec<_>>()
    };
    let keys = facts.scope().key_constraints().flat_map(of_key);
    keys.chain(facts.scope().foreign_keys().flat_map(of_foreign)).collect()
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
    let of_foreign = |(table, foreign): (&TableMeta, &ForeignKey)| {
        let target = facts.scope().tables().find(|target| target.id == foreign.target);
        let key = target.and_then(|target| target.key(foreign.target_index));
        let place = |id: &u32| key.and_then(|key| key.columns.iter().position(|known| known == id));
        let columns = table.positions(&foreign.columns).into_iter().zip(&foreign.target_columns);
        columns
            .zip(1_i64..)
            .map(|((at, target), number)| {
                row![
                    Value::name(database),
                    &table.namespace,
                    Value::name(&foreign.name),
                    Value::name(database),
                    &table.namespace,
                    &table.name,
                    Value::name(&table.columns[at].name),
                    number,
                    place(target).map(|place| place as i64 + 1),
                ]
            })
            .collect::<Vec<_>>()
    };
    let keys = facts.scope().key_constraints().flat_map(of_key);
    keys.chain(facts.scope().foreign_keys().flat_map(of_foreign)).collect()
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
    for (table, key) in facts.scope().foreign_keys() {
        rows.push(line(&table.namespace, key.name.clone(), &table.name, "FOREIGN KEY", None));
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
