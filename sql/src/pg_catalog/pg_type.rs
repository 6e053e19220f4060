//! Types: PostgreSQL's own, `vector`, and the row types of tables.

use exec::functions::catalog::builtin::{self, BuiltinType, OWNER_OID, namespace_oid};
use proto::catalog::{PUBLIC_NAMESPACE_OID, TableMeta};

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_type`.
pub(crate) const PG_TYPE: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_type",
    columns: &[
        "oid",
        "typname",
        "typnamespace",
        "typowner",
        "typlen",
        "typbyval",
        "typtype",
        "typcategory",
        "typispreferred",
        "typisdefined",
        "typdelim",
        "typrelid",
        "typsubscript",
        "typelem",
        "typarray",
        "typinput",
        "typoutput",
        "typreceive",
        "typsend",
        "typmodin",
        "typmodout",
        "typanalyze",
        "typalign",
        "typstorage",
        "typnotnull",
        "typbasetype",
        "typtypmod",
        "typndims",
        "typcollation",
        "typdefaultbin",
        "typdefault",
        "typacl",
    ],
    rows,
};

/// Type `record`, whose functions serve every row type.
const RECORD: u32 = 2249;

fn of_builtin(ty: &BuiltinType) -> Row {
    row![
        ty.oid,
        ty.name,
        namespace_oid(ty.namespace).unwrap_or(PUBLIC_NAMESPACE_OID),
        OWNER_OID,
        ty.length,
        ty.by_value,
        ty.kind,
        ty.category,
        ty.is_preferred,
        true,
        ty.delimiter,
        ty.relation,
        ty.subscript,
        ty.element,
        ty.array,
        ty.input,
        ty.output,
        ty.receive,
        ty.send,
        ty.modifier_in,
        ty.modifier_out,
        ty.analyze,
        ty.align,
        ty.storage,
        ty.not_null,
        ty.base,
        ty.typmod,
        ty.dimensions,
        ty.collation,
        Value::Null,
        Value::Null,
        Value::Null,
    ]
}

fn of_table(facts: &Facts, table: &TableMeta, record: &BuiltinType) -> Row {
    let namespace = facts.scope().namespace_oid(&table.namespace).unwrap_or(PUBLIC_NAMESPACE_OID);
    row![
        table.type_oid.0,
        &table.name,
        namespace,
        OWNER_OID,
        -1,
        false,
        "c",
        "C",
        false,
        true,
        ",",
        table.id.oid().0,
        0,
        0,
        0,
        record.input,
        record.output,
        record.receive,
        record.send,
        0,
        0,
        0,
        "d",
        "x",
        false,
        0,
        -1,
        0,
        0,
        Value::Null,
        Value::Null,
        Value::Null,
    ]
}

fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows: Vec<Row> = builtin::types().iter().map(of_builtin).collect();
    if let Some(record) = builtin::type_of_oid(RECORD) {
        rows.extend(facts.scope().tables().map(|table| of_table(facts, table, record)));
    }
    rows
}
