//! Constraints: primary keys, other unique keys, foreign keys, and CHECKs.

use std::collections::HashMap;
use std::sync::LazyLock;

use exec::functions::catalog::Key;
use proto::TypeKind;
use proto::catalog::{
    CheckConstraint, Column, ForeignKey, MatchType, PUBLIC_NAMESPACE_OID, ReferentialAction, TableMeta,
};

use super::{Computed, Facts, Row, Value, fixed, row};

/// `pg_catalog.pg_constraint`.
pub(crate) const PG_CONSTRAINT: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_constraint",
    columns: &[
        "oid",
        "conname",
        "connamespace",
        "contype",
        "condeferrable",
        "condeferred",
        "convalidated",
        "conrelid",
        "contypid",
        "conindid",
        "conparentid",
        "confrelid",
        "confupdtype",
        "confdeltype",
        "confmatchtype",
        "conislocal",
        "coninhcount",
        "connoinherit",
        "conkey",
        "confkey",
        "conpfeqop",
        "conppeqop",
        "conffeqop",
        "confdelsetcols",
        "conexclop",
        "conbin",
    ],
    rows,
};

fn of_key(facts: &Facts, constraint: u32, index: Key<'_>) -> Row {
    let columns: Vec<i64> = index.key.columns.iter().map(|&id| id.into()).collect();
    row![
        constraint,
        Value::name(index.key.name),
        facts.scope().namespace_oid(&index.table.namespace).unwrap_or(PUBLIC_NAMESPACE_OID),
        if index.key.is_primary { "p" } else { "u" },
        false,
        false,
        true,
        index.table.id.oid().0,
        0,
        index.key.index_oid.0,
        0,
        0,
        " ",
        " ",
        " ",
        true,
        0,
        true,
        columns,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
    ]
}

fn of_check(facts: &Facts, table: &TableMeta, check: &CheckConstraint) -> Row {
    let columns: Vec<i64> = check.columns.iter().map(|&id| id.into()).collect();
    row![
        check.oid.0,
        &check.name,
        facts.scope().namespace_oid(&table.namespace).unwrap_or(PUBLIC_NAMESPACE_OID),
        "c",
        false,
        false,
        true,
        table.id.oid().0,
        0,
        0,
        0,
        0,
        " ",
        " ",
        " ",
        true,
        0,
        false,
        columns,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        &check.expression,
    ]
}

/// Equality operators by the types of their sides.
static EQUALITIES: LazyLock<HashMap<(u32, u32), u32>> = LazyLock::new(|| {
    let lines = fixed::file("pg_operator").into_iter().flat_map(|text| text.lines().skip(1));
    let equality = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |position: usize| fields.get(position)?.parse::<u32>().ok();
        if fields.get(1) != Some(&"=") {
            return None;
        }
        Some(((number(7)?, number(8)?), number(0)?))
    };
    lines.filter_map(equality).collect()
});

/// The operator that compares two columns; varchar is compared as text.
fn equality(left: &Column, right: &Column) -> i64 {
    let ty = |column: &Column| match column.ty.kind {
        TypeKind::Varchar if !column.ty.array => TypeKind::Text.oid().0,
        _ => column.ty.oid().0,
    };
    EQUALITIES.get(&(ty(left), ty(right))).copied().unwrap_or_default().into()
}

const fn action(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "a",
        ReferentialAction::Restrict => "r",
        ReferentialAction::Cascade => "c",
        ReferentialAction::SetNull => "n",
        ReferentialAction::SetDefault => "d",
    }
}

fn of_foreign_key(facts: &Facts, table: &TableMeta, key: &ForeignKey) -> Option<Row> {
    let target = facts.scope().tables().find(|target| target.id == key.target)?;
    let numbers = |ids: &[u32]| ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
    let sides: Vec<(&Column, &Column)> = table
        .positions(&key.columns)
        .into_iter()
        .zip(target.positions(&key.target_columns))
        .map(|(own, other)| (&table.columns[own], &target.columns[other]))
        .collect();
    Some(row![
        key.oid.0,
        &key.name,
        facts.scope().namespace_oid(&table.namespace).unwrap_or(PUBLIC_NAMESPACE_OID),
        "f",
        false,
        false,
        true,
        table.id.oid().0,
        0,
        key.target_index.0,
        0,
        target.id.oid().0,
        action(key.on_update),
        action(key.on_delete),
        if key.match_type == MatchType::Full { "f" } else { "s" },
        true,
        0,
        true,
        numbers(&key.columns),
        numbers(&key.target_columns),
        sides.iter().map(|(own, other)| equality(other, own)).collect::<Vec<_>>(),
        sides.iter().map(|(_, other)| equality(other, other)).collect::<Vec<_>>(),
        sides.iter().map(|(own, _)| equality(own, own)).collect::<Vec<_>>(),
        Value::Null,
        Value::Null,
        Value::Null,
    ])
}

fn rows(facts: &Facts) -> Vec<Row> {
    let keys = facts.scope().key_constraints().map(|(oid, key)| of_key(facts, oid, key));
    let foreign = facts.scope().foreign_keys();
    let keys = keys.chain(foreign.filter_map(|(table, key)| of_foreign_key(facts, table, key)));
    keys.chain(facts.scope().checks().map(|(table, check)| of_check(facts, table, check))).collect()
}
