//! The one user and PostgreSQL's predefined roles, under the four names that PostgreSQL shows roles by.

use exec::functions::catalog::builtin::{self, OWNER_OID};

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
    let of_role = |oid: u32, name: &str, can: bool| {
        let name = Value::name(name);
        row![oid, name, can, true, can, can, can, can, can, -1, Value::Null, Value::Null]
    };
    let predefined = builtin::roles().iter().map(|role| of_role(role.oid, role.name, false));
    std::iter::once(of_role(OWNER_OID, &facts.user, true)).chain(predefined).collect()
}

fn roles(facts: &Facts) -> Vec<Row> {
    let of_role = |oid: u32, name: &str, can: bool| {
        let name = Value::name(name);
        row![name, can, true, can, can, can, can, -1, HIDDEN, Value::Null, can, Value::Null, oid]
    };
    let predefined = builtin::roles().iter().map(|role| of_role(role.oid, role.name, false));
    std::iter::once(of_role(OWNER_OID, &facts.user, true)).chain(predefined).collect()
}

fn shadow(facts: &Facts) -> Vec<Row> {
    let name = &facts.user;
    vec![row![name, OWNER_OID, true, true, true, true, Value::Null, Value::Null, Value::Null]]
}

fn user(facts: &Facts) -> Vec<Row> {
    let name = &facts.user;
    vec![row![name, OWNER_OID, true, true, true, true, HIDDEN, Value::Null, Value::Null]]
}
