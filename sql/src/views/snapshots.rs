//! Named snapshots: instants that are kept readable until their names are dropped.

use super::indexes::micros;
use super::segments::bigint;
use crate::pg_catalog::{Computed, Facts, Row, row};

/// `elanus.snapshots`; `tables` is NULL for a snapshot of all tables.
pub(crate) const SNAPSHOTS: Computed = Computed {
    schema: "elanus",
    name: "snapshots",
    columns: &["database_name", "snapshot_name", "snapshot_ts", "snapshot_at", "tables", "created_at"],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    let snapshots = facts.snapshots.rows().into_iter();
    let row_of = |snapshot: std::sync::Arc<cluster::NamedSnapshot>| {
        let database = facts.catalog.databases.get(&snapshot.of_database());
        let name = |table: proto::TableId| {
            let table = facts.catalog.tables.get(&table)?;
            Some(format!("{}.{}", table.namespace, table.name))
        };
        // Dropped tables have no names any more.
        let tables =
            snapshot.only().map(|only| only.into_iter().filter_map(name).collect::<Vec<_>>().join(", "));
        row![
            database.map(|database| &database.name),
            &snapshot.name,
            bigint(snapshot.at().0),
            micros(snapshot.at().millis()),
            tables,
            micros(snapshot.created_millis),
        ]
    };
    snapshots.map(row_of).collect()
}
