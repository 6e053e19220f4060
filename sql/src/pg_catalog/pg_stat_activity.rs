//! Who is connected and what each session does.

use proto::DatabaseId;

use exec::functions::catalog::builtin::OWNER_OID;

use super::{Computed, Facts, Row, Value, pg_database, row};

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    pub database: DatabaseId,
    pub pid: i32,
    pub user: String,
    pub application_name: String,
    /// The client's address and port; none for in-process sessions.
    pub client: Option<(String, i32)>,
    /// Microseconds since 1970.
    pub backend_start: i64,
    pub transaction_start: Option<i64>,
    pub query_start: Option<i64>,
    pub state_change: Option<i64>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    /// The text of the running or last statement.
    pub query: String,
}

/// `pg_catalog.pg_stat_activity`.
pub(crate) const PG_STAT_ACTIVITY: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_stat_activity",
    columns: &[
        "datid",
        "datname",
        "pid",
        "leader_pid",
        "usesysid",
        "usename",
        "application_name",
        "client_addr",
        "client_hostname",
        "client_port",
        "backend_start",
        "xact_start",
        "query_start",
        "state_change",
        "wait_event_type",
        "wait_event",
        "state",
        "backend_xid",
        "backend_xmin",
        "query_id",
        "query",
        "backend_type",
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    facts
        .activity
        .rows()
        .into_iter()
        .map(|session| {
            let database = facts.catalog.databases.get(&session.database);
            let (address, port) = session.client.map_or((None, None), |(a, p)| (Some(a), Some(p)));
            row![
                database.map(|database| pg_database::oid(database)),
                database.map(|database| &database.name),
                session.pid,
                Value::Null,
                OWNER_OID,
                session.user,
                session.application_name,
                address,
                Value::Null,
                port,
                session.backend_start,
                session.transaction_start,
                session.query_start,
                session.state_change,
                Value::Null,
                Value::Null,
                session.state,
                Value::Null,
                Value::Null,
                Value::Null,
                session.query,
                "client backend",
            ]
        })
        .collect()
}
