//! Relations of every kind: tables, key indexes, sequences, and the system relations themselves.

use exec::functions::catalog::builtin::{BTREE_OID, HEAP_OID, OWNER_OID};
use exec::functions::catalog::{Index, Relation};
use proto::catalog::PUBLIC_NAMESPACE_OID;

use super::{Computed, Facts, Row, Value, pg_am, row};

/// `pg_catalog.pg_class`.
pub(crate) const PG_CLASS: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_class",
    columns: &[
        "oid",
        "relname",
        "relnamespace",
        "reltype",
        "reloftype",
        "relowner",
        "relam",
        "relfilenode",
        "reltablespace",
        "relpages",
        "reltuples",
        "relallvisible",
        "reltoastrelid",
        "relhasindex",
        "relisshared",
        "relpersistence",
        "relkind",
        "relnatts",
        "relchecks",
        "relhasrules",
        "relhastriggers",
        "relhassubclass",
        "relrowsecurity",
        "relforcerowsecurity",
        "relispopulated",
        "relreplident",
        "relispartition",
        "relrewrite",
        "relfrozenxid",
        "relminmxid",
        "relacl",
        "reloptions",
        "relpartbound",
    ],
    rows,
};

/// What differs from relation to relation.
struct Class<'a> {
    relation: Relation<'a>,
    row_type: u32,
    method: u32,
    kind: &'static str,
    columns: usize,
    checks: i64,
    has_index: bool,
    has_rules: bool,
    /// Foreign keys are triggers of both tables.
    has_triggers: bool,
    is_shared: bool,
    replica_identity: &'static str,
    /// What was written in WITH.
    options: Vec<String>,
}

impl Class<'_> {
    fn row(self, facts: &Facts) -> Row {
        let oid = self.relation.oid();
        let has_storage = self.kind != "v";
        row![
            oid,
            Value::name(self.relation.name()),
            facts.scope().namespace_oid(self.relation.namespace()).unwrap_or(PUBLIC_NAMESPACE_OID),
            self.row_type,
            0,
            OWNER_OID,
            self.method,
            if has_storage && oid >= proto::catalog::FIRST_USER_OID { oid } else { 0 },
            0,
            0,
            -1.0,
            0,
            0,
            self.has_index,
            self.is_shared,
            "p",
            self.kind,
            i64::try_from(self.columns).unwrap_or_default(),
            self.checks,
            self.has_rules,
            self.has_triggers,
            false,
            false,
            false,
            true,
            self.replica_identity,
            false,
            0,
            0,
            0,
            Value::Null,
            (!self.options.is_empty()).then_some(self.options),
            Value::Null,
        ]
    }
}

/// The number of a table's columns ever, dropped ones included: the highest attnum.
fn column_count(relation: Relation<'_>) -> usize {
    match relation {
        Relation::Table(table) => table.next_column_id as usize - 1,
        Relation::Index(index) => index.columns().count(),
        Relation::Sequence(_) => 3,
        Relation::System(relation) => relation.columns.len(),
    }
}

fn of_relation(facts: &Facts, relation: Relation<'_>) -> Row {
    let plain = Class {
        relation,
        row_type: 0,
        method: 0,
        kind: "r",
        columns: column_count(relation),
        checks: 0,
        has_index: false,
        has_rules: false,
        has_triggers: false,
        is_shared: false,
        replica_identity: "n",
        options: Vec::new(),
    };
    match relation {
        Relation::Table(table) => Class {
            row_type: table.type_oid.0,
            method: HEAP_OID,
            checks: i64::try_from(table.checks.len()).unwrap_or_default(),
            has_index: table.index_names().next().is_some(),
            has_triggers: !table.foreign_keys.is_empty()
                || facts.catalog.references_to(table).next().is_some(),
            replica_identity: "d",
            ..plain
        },
        Relation::Index(index) => {
            let (method, options) = match index {
                Index::Key(_) => (BTREE_OID, Vec::new()),
                Index::Vector { index, .. } => (pg_am::oid(index.method), index.written_options.clone()),
            };
            Class { method, kind: "i", options, ..plain }
        }
        Relation::Sequence(_) => Class { kind: "S", ..plain },
        Relation::System(system) => Class {
            row_type: system.type_oid,
            method: if system.kind == "r" { HEAP_OID } else { 0 },
            kind: system.kind,
            has_rules: system.has_rules,
            is_shared: system.is_shared,
            replica_identity: system.replica_identity,
            ..plain
        },
    }
    .row(facts)
}

fn rows(facts: &Facts) -> Vec<Row> {
    facts.scope().relations().map(|relation| of_relation(facts, relation)).collect()
}
