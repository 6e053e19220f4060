//! The one role, under the four names that PostgreSQL shows roles by.

use exec::functions::catalog::builtin::OWNER_OID;

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_authid`.
pub(crate) const PG_AUTHID: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_authid",
    columns: &[
        "oid",
        "rolname",
        "rolsuper",
        "rolinherit",
        "rolcreaterole",
        "rolcreatedb",
        "rolcanlogin",
        "rolreplication",
        "rolbypassrls",
        "rolconnlimit",
        "rolpassword",
        "rolvaliduntil",
    ],
    rows: authid,
};

/// `pg_catalog.pg_roles`.
pub(crate) const PG_ROLES: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_roles",
    columns: &[
        "rolname",
        "rolsuper",
        "rolinherit",
        "rolcreaterole",
        "rolcreatedb",
        "rolcanlogin",
        "rolreplication",
        "rolconnlimit",
        "rolpassword",
        "rolvaliduntil",
        "rolbypassrls",
        "rolconfig",
        "oid",
    ],
    rows: roles,
};

/// `pg_catalog.pg_shadow`.
pub(crate) const PG_SHADOW: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_shadow",
    columns: &[
        "usename",
        "usesysid",
        "usecreatedb",
        "usesuper",
        "userepl",
        "usebypassrls",
        "passwd",
        "valuntil",
        "useconfig",
    ],
    rows: shadow,
};

/// `pg_catalog.pg_user`.
pub(crate) const PG_USER: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_user",
    columns: &[
        "usename",
        "usesysid",
        "usecreatedb",
        "usesuper",
        "userepl",
        "usebypassrls",
        "passwd",
        "valuntil",
        "useconfig",
    ],
    rows: user,
};

/// How passwords show to everybody.
const HIDDEN: &str = "********";

fn authid(facts: &Facts) -> Vec<Row> {
    let name = &facts.user;
    vec![row![OWNER_OID, name, true, true, true, true, true, true, true, -1, Value::Null, Value::Null]]
}

fn roles(facts: &Facts) -> Vec<Row> {
    let name = &facts.user;
    vec![row![
        name,
        true,
        true,
        true,
        true,
        true,
        true,
        -1,
        HIDDEN,
        Value::Null,
        true,
        Value::Null,
        OWNER_OID
    ]]
}

fn shadow(facts: &Facts) -> Vec<Row> {
    let name = &facts.user;
    vec![row![name, OWNER_OID, true, true, true, true, Value::Null, Value::Null, Value::Null]]
}

fn user(facts: &Facts) -> Vec<Row> {
    let name = &facts.user;
    vec![row![name, OWNER_OID, true, true, true, true, HIDDEN, Value::Null, Value::Null]]
}
