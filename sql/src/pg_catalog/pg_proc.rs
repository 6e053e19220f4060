//! Functions behind types, access methods and operators: those that clients look up to learn how a type is read
//! and sent.

use exec::functions::catalog::builtin::{self, OWNER_OID, Procedure, namespace_oid};
use proto::catalog::PUBLIC_NAMESPACE_OID;

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_proc`.
pub(crate) const PG_PROC: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_proc",
    columns: &[
        "oid",
        "proname",
        "pronamespace",
        "proowner",
        "prolang",
        "procost",
        "prorows",
        "provariadic",
        "prosupport",
        "prokind",
        "prosecdef",
        "proleakproof",
        "proisstrict",
        "proretset",
        "provolatile",
        "proparallel",
        "pronargs",
        "pronargdefaults",
        "prorettype",
        "proargtypes",
        "proallargtypes",
        "proargmodes",
        "proargnames",
        "proargdefaults",
        "protrftypes",
        "prosrc",
        "probin",
        "prosqlbody",
        "proconfig",
        "proacl",
    ],
    rows,
};

/// Language `internal`.
const INTERNAL: u32 = 12;
/// Language `c`, of extensions.
const C: u32 = 13;

fn of_procedure(procedure: &Procedure) -> Row {
    let arguments: Vec<i64> = procedure.arguments.iter().map(|&ty| ty.into()).collect();
    let is_internal = procedure.namespace == "pg_catalog";
    row![
        procedure.oid,
        procedure.name,
        namespace_oid(procedure.namespace).unwrap_or(PUBLIC_NAMESPACE_OID),
        OWNER_OID,
        if is_internal { INTERNAL } else { C },
        1.0,
        0.0,
        0,
        0,
        procedure.kind,
        false,
        false,
        procedure.is_strict,
        procedure.returns_set,
        procedure.volatility,
        "s",
        i64::try_from(arguments.len()).unwrap_or_default(),
        0,
        procedure.result,
        arguments,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        procedure.name,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
    ]
}

fn rows(facts: &Facts) -> Vec<Row> {
    let has_vector = facts.has_extension("vector");
    builtin::procedures()
        .iter()
        .filter(|procedure| procedure.namespace == "pg_catalog" || has_vector)
        .map(of_procedure)
        .collect()
}
