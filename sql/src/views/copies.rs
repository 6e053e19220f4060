//! How far each COPY is.

use super::segments::bigint;
use crate::copy::progress::CopyRow;
use crate::pg_catalog::{Computed, Facts, Row, pg_database_oid, row};

/// `pg_catalog.pg_stat_progress_copy`.
pub(crate) const PG_STAT_PROGRESS_COPY: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_stat_progress_copy",
    columns: &[
        "pid",
        "datid",
        "datname",
        "relid",
        "command",
        "type",
        "bytes_processed",
        "bytes_total",
        "tuples_processed",
        "tuples_excluded",
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    let row_of = |copy: CopyRow| {
        let database = facts.catalog.databases.get(&copy.work.database)?;
        Some(row![
            copy.work.pid,
            pg_database_oid(database),
            &database.name,
            copy.work.table.map_or(0, |table| table.oid().0),
            if copy.work.from { "COPY FROM" } else { "COPY TO" },
            if copy.work.file { "FILE" } else { "PIPE" },
            bigint(copy.bytes_processed),
            bigint(copy.work.bytes_total),
            bigint(copy.tuples_processed),
            0_i64,
        ])
    };
    facts.copies.rows().into_iter().filter_map(row_of).collect()
}
