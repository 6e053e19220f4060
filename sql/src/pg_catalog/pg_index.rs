//! Indexes: those of unique keys, and vector indexes.

use std::collections::HashMap;
use std::sync::LazyLock;

use exec::functions::catalog::builtin::BTREE_OID;
use exec::functions::catalog::{Index, index_definition};
use proto::TypeKind;
use proto::catalog::Column;

use super::pg_attribute::collation;
use super::{Computed, Facts, Row, Value, fixed, pg_opclass, row};

/// `pg_catalog.pg_index`.
pub(crate) const PG_INDEX: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_index",
    columns: &[
        "indexrelid",
        "indrelid",
        "indnatts",
        "indnkeyatts",
        "indisunique",
        "indnullsnotdistinct",
        "indisprimary",
        "indisexclusion",
        "indimmediate",
        "indisclustered",
        "indisvalid",
        "indcheckxmin",
        "indisready",
        "indislive",
        "indisreplident",
        "indkey",
        "indcollation",
        "indclass",
        "indoption",
        "indexprs",
        "indpred",
    ],
    rows,
};

/// `pg_catalog.pg_indexes`.
pub(crate) const PG_INDEXES: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_indexes",
    columns: &["schemaname", "tablename", "indexname", "tablespace", "indexdef"],
    rows: indexes,
};

/// The default btree operator class of each type that has one.
static CLASSES: LazyLock<HashMap<u32, u32>> = LazyLock::new(|| {
    fixed::file("pg_opclass").map_or_else(HashMap::new, |text| {
        text.lines()
            .skip(1)
            .filter_map(|line| {
                let fields: Vec<&str> = line.split('\t').collect();
                let number =
                    |position: usize| fields.get(position).and_then(|field| field.parse::<u32>().ok());
                let is_default = number(1) == Some(BTREE_OID) && fields.get(7) == Some(&"t");
                is_default.then(|| Some((number(6)?, number(0)?))).flatten()
            })
            .collect()
    })
});

/// The operator class that orders a column in a key.
fn operator_class(column: &Column) -> u32 {
    // varchar is ordered as text.
    let ty = if column.ty.kind == TypeKind::Varchar { TypeKind::Text.oid() } else { column.ty.oid() };
    CLASSES.get(&ty.0).copied().unwrap_or_default()
}

fn of_index(index: Index<'_>) -> Row {
    let columns: Vec<&Column> = index.columns().collect();
    let key = match index {
        Index::Key(key) => Some(key.key),
        Index::Vector { .. } => None,
    };
    let class = |column: &&Column| match index {
        Index::Key(_) => operator_class(column),
        Index::Vector { index, .. } => pg_opclass::oid(index),
    };
    let count = i64::try_from(columns.len()).unwrap_or_default();
    row![
        index.oid(),
        index.table().id.oid().0,
        count,
        count,
        key.is_some(),
        key.is_some_and(|key| !key.nulls_distinct),
        key.is_some_and(|key| key.is_primary),
        false,
        true,
        false,
        true,
        false,
        true,
        true,
        false,
        columns.iter().map(|column| i64::from(column.id)).collect::<Vec<_>>(),
        columns.iter().map(|column| i64::from(collation(column.ty))).collect::<Vec<_>>(),
        columns.iter().map(|column| i64::from(class(column))).collect::<Vec<_>>(),
        vec![0_i64; columns.len()],
        Value::Null,
        Value::Null,
    ]
}

fn rows(facts: &Facts) -> Vec<Row> {
    facts.scope().indexes().map(of_index).collect()
}

fn indexes(facts: &Facts) -> Vec<Row> {
    facts
        .scope()
        .indexes()
        .map(|index| {
            let table = index.table();
            let name = Value::name(index.name());
            row![&table.namespace, &table.name, name, Value::Null, index_definition(index)]
        })
        .collect()
}
