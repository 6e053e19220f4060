//! Extensions: `vector`, when CREATE EXTENSION was run, and PostgreSQL's procedural language as ever.

use exec::functions::catalog::builtin::{OWNER_OID, PG_CATALOG_OID};
use proto::catalog::PUBLIC_NAMESPACE_OID;

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_extension`.
pub(crate) const PG_EXTENSION: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_extension",
    columns: &[
        "oid",
        "extname",
        "extowner",
        "extnamespace",
        "extrelocatable",
        "extversion",
        "extconfig",
        "extcondition",
    ],
    rows,
};

/// `pg_catalog.pg_available_extensions`.
pub(crate) const PG_AVAILABLE_EXTENSIONS: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_available_extensions",
    columns: &["name", "default_version", "installed_version", "comment"],
    rows: available,
};

/// The extension that carries type `vector`.
pub(super) const VECTOR_OID: u32 = 16_384;
/// OID of `plpgsql`, which clients expect to be listed; functions cannot be created in it yet.
const PLPGSQL_OID: u32 = 12_756;
/// The version of pgvector whose behaviour is followed.
const VECTOR_VERSION: &str = "0.8.5";
const VECTOR_COMMENT: &str = "vector data type and ivfflat and hnsw access methods";

fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows =
        vec![row![PLPGSQL_OID, "plpgsql", OWNER_OID, PG_CATALOG_OID, false, "1.0", Value::Null, Value::Null]];
    if facts.has_extension("vector") {
        let schema = PUBLIC_NAMESPACE_OID;
        rows.push(row![
            VECTOR_OID,
            "vector",
            OWNER_OID,
            schema,
            true,
            VECTOR_VERSION,
            Value::Null,
            Value::Null
        ]);
    }
    rows
}

fn available(facts: &Facts) -> Vec<Row> {
    let installed = facts.has_extension("vector").then_some(VECTOR_VERSION);
    vec![
        row!["plpgsql", "1.0", "1.0", "PL/pgSQL procedural language"],
        row!["vector", VECTOR_VERSION, installed, VECTOR_COMMENT],
    ]
}
