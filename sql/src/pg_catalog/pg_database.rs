//! The databases.

use exec::functions::catalog::builtin::OWNER_OID;
use proto::catalog::DatabaseMeta;

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_database`.
pub(crate) const PG_DATABASE: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_database",
    columns: &[
        "oid",
        "datname",
        "datdba",
        "encoding",
        "datlocprovider",
        "datistemplate",
        "datallowconn",
        "datconnlimit",
        "datfrozenxid",
        "datminmxid",
        "dattablespace",
        "datcollate",
        "datctype",
        "daticulocale",
        "daticurules",
        "datcollversion",
        "datacl",
    ],
    rows,
};

/// PostgreSQL's number of UTF8, the one encoding.
const UTF8: i32 = 6;
/// Tablespace `pg_default`.
const DEFAULT_TABLESPACE: u32 = 1663;
/// The locale of every database: code point order.
const LOCALE: &str = "C.UTF-8";

/// A database's OID.
pub(crate) fn oid(database: &DatabaseMeta) -> u32 {
    u32::try_from(database.id.0).unwrap_or_default()
}

fn of_database(database: &DatabaseMeta, user: &str) -> Row {
    let is_template = matches!(database.name.as_str(), "template0" | "template1");
    row![
        oid(database),
        &database.name,
        OWNER_OID,
        UTF8,
        "c",
        is_template,
        true,
        -1,
        0,
        0,
        DEFAULT_TABLESPACE,
        LOCALE,
        LOCALE,
        Value::Null,
        Value::Null,
        Value::Null,
        // Everybody may connect to a template, nobody else may change it.
        is_template.then(|| vec![format!("=c/{user}"), format!("{user}=CTc/{user}")]),
    ]
}

fn rows(facts: &Facts) -> Vec<Row> {
    facts.catalog.databases.values().map(|database| of_database(database, &facts.user)).collect()
}
