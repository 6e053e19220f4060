//! Locks that are held and waited for. As in PostgreSQL a row lock that is held is not listed, and a wait for one is
//! a wait for the transaction that has it.

use cluster::locks::{LockInfo, LockMode, LockTarget};

use super::{Computed, Facts, Row, Value, pg_database, row};

/// `pg_catalog.pg_locks`.
pub(crate) const PG_LOCKS: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_locks",
    columns: &[
        "locktype",
        "database",
        "relation",
        "page",
        "tuple",
        "virtualxid",
        "transactionid",
        "classid",
        "objid",
        "objsubid",
        "virtualtransaction",
        "pid",
        "mode",
        "granted",
        "fastpath",
        "waitstart",
    ],
    rows,
};

/// What of a lock depends on its kind.
struct Shown {
    kind: &'static str,
    relation: Option<i64>,
    transaction: Option<i64>,
    advisory: Option<(u32, u32, i16)>,
    mode: &'static str,
}

fn rows(facts: &Facts) -> Vec<Row> {
    let database = facts.catalog.databases.get(&facts.database).map(|database| pg_database::oid(database));
    let listed = facts.locks.rows();
    let listed = listed.into_iter().filter(|lock| !(lock.target.is_row() && lock.granted));
    listed
        .map(|lock| {
            let shown = shown(&lock);
            let (class, object, part) = match shown.advisory {
                Some((class, object, part)) => (class.into(), object.into(), part.into()),
                None => (Value::Null, Value::Null, Value::Null),
            };
            let of_database = shown.transaction.is_none().then_some(database).flatten();
            row![
                shown.kind,
                of_database,
                shown.relation,
                Value::Null,
                Value::Null,
                Value::Null,
                shown.transaction,
                class,
                object,
                part,
                format!("{}/{}", lock.process, lock.transaction.unwrap_or(0)),
                lock.process,
                shown.mode,
                lock.granted,
                false,
                Value::Null,
            ]
        })
        .collect()
}

fn shown(lock: &LockInfo) -> Shown {
    let none = Shown { kind: "", relation: None, transaction: None, advisory: None, mode: lock.mode.name() };
    match lock.target {
        LockTarget::Table(table) => {
            Shown { kind: "relation", relation: Some(i64::from(table.oid().0)), ..none }
        }
        LockTarget::Key { .. } | LockTarget::Row { .. } => Shown {
            kind: "transactionid",
            transaction: lock.blocked_by.map(i64::from),
            mode: LockMode::Share.name(),
            ..none
        },
        LockTarget::Advisory { high, low, pair, .. } => {
            Shown { kind: "advisory", advisory: Some((high, low, if pair { 2 } else { 1 })), ..none }
        }
    }
}
