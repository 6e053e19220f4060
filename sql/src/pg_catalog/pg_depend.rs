//! Dependencies that clients follow: sequences on their columns, keys on their tables.

use proto::catalog::{PUBLIC_NAMESPACE_OID, SequenceMeta};

use super::{Computed, Facts, Row, pg_attrdef, row};

/// `pg_catalog.pg_depend`.
pub(crate) const PG_DEPEND: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_depend",
    columns: &["classid", "objid", "objsubid", "refclassid", "refobjid", "refobjsubid", "deptype"],
    rows,
};

const PG_CLASS: u32 = 1259;
const PG_CONSTRAINT: u32 = 2606;
const PG_ATTRDEF: u32 = 2604;
const PG_NAMESPACE: u32 = 2615;

/// An owned sequence goes with its column: part of it (`i`) when it is an identity, else dropped along (`a`).
fn of_sequence(facts: &Facts, sequence: &SequenceMeta) -> Option<Row> {
    let (table, column) = sequence.owned_by?;
    let meta = facts.catalog.tables.get(&table)?;
    let is_identity = meta.columns.iter().any(|c| c.id == column && c.identity.is_some());
    let kind = if is_identity { "i" } else { "a" };
    Some(row![PG_CLASS, sequence.id.oid().0, 0, PG_CLASS, table.oid().0, i64::from(column), kind])
}

fn rows(facts: &Facts) -> Vec<Row> {
    let scope = facts.scope();
    let mut rows: Vec<Row> = Vec::new();
    for table in scope.tables() {
        let oid = table.id.oid().0;
        rows.push(row![PG_CLASS, oid, 0, PG_NAMESPACE, PUBLIC_NAMESPACE_OID, 0, "n"]);
        for column in table.columns.iter().filter(|column| pg_attrdef::has_default(column)) {
            let default = pg_attrdef::oid(oid, column.id);
            rows.push(row![PG_ATTRDEF, default, 0, PG_CLASS, oid, i64::from(column.id), "a"]);
        }
    }
    for (table, index) in scope.tables().flat_map(|t| t.indexes.iter().map(move |index| (t, index))) {
        let (oid, table, column) = (index.oid.0, table.id.oid().0, i64::from(index.column));
        rows.push(row![PG_CLASS, oid, 0, PG_CLASS, table, column, "a"]);
    }
    for index in scope.keys() {
        let table = index.table.id.oid().0;
        let key_index = index.key.index_oid.0;
        let (class, object) = match index.key.constraint {
            Some(constraint) => (PG_CONSTRAINT, constraint.0),
            None => (PG_CLASS, key_index),
        };
        if class == PG_CONSTRAINT {
            rows.push(row![PG_CLASS, key_index, 0, PG_CONSTRAINT, object, 0, "i"]);
        }
        for &column in index.key.columns {
            rows.push(row![class, object, 0, PG_CLASS, table, i64::from(column), "a"]);
        }
    }
    for (table, key) in scope.foreign_keys() {
        let own = key.columns.iter().map(|&column| (table.id.oid().0, i64::from(column), "a"));
        let target = key.target.oid().0;
        let others = key.target_columns.iter().map(|&column| (target, i64::from(column), "n"));
        for (object, column, kind) in own.chain(others).chain([(key.target_index.0, 0, "n")]) {
            rows.push(row![PG_CONSTRAINT, key.oid.0, 0, PG_CLASS, object, column, kind]);
        }
    }
    for sequence in scope.sequences() {
        rows.push(row![PG_CLASS, sequence.id.oid().0, 0, PG_NAMESPACE, PUBLIC_NAMESPACE_OID, 0, "n"]);
        rows.extend(of_sequence(facts, sequence));
    }
    rows
}
