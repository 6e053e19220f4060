//! Vector indexes as this node has them: how far each is, and the builds that run or ended last.

use cluster::{BuildState, IndexBuild, IndexStatus};
use proto::catalog::{IndexMeta, TableMeta};
use proto::{Oid, TableId};

use super::segments::bigint;
use crate::pg_catalog::{Computed, Facts, Row, Value, pg_database_oid, row};

/// `elanus.index_status`.
pub(crate) const INDEX_STATUS: Computed = Computed {
    schema: "elanus",
    name: "index_status",
    columns: &[
        "database_name",
        "table_schema",
        "table_name",
        "index_name",
        "index_oid",
        "method",
        "state",
        "indexed_rows",
        "pending_rows",
        "growing_rows",
        "indexed_segments",
        "pending_segments",
        "index_bytes",
        "bytes_per_vector",
        "error",
    ],
    rows: status_rows,
};

/// `elanus.index_builds`.
pub(crate) const INDEX_BUILDS: Computed = Computed {
    schema: "elanus",
    name: "index_builds",
    columns: &[
        "database_name",
        "table_schema",
        "table_name",
        "index_name",
        "index_oid",
        "segment_id",
        "state",
        "phase",
        "rows_done",
        "rows_total",
        "started_at",
        "ended_at",
        "error",
    ],
    rows: build_rows,
};

/// `pg_catalog.pg_stat_progress_create_index`; a build has one row per segment it works on.
pub(crate) const PG_STAT_PROGRESS_CREATE_INDEX: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_stat_progress_create_index",
    columns: &[
        "pid",
        "datid",
        "datname",
        "relid",
        "index_relid",
        "command",
        "phase",
        "lockers_total",
        "lockers_done",
        "current_locker_pid",
        "blocks_total",
        "blocks_done",
        "tuples_total",
        "tuples_done",
        "partitions_total",
        "partitions_done",
    ],
    rows: progress_rows,
};

fn found(facts: &Facts, table: TableId, index: Oid) -> Option<(&TableMeta, &IndexMeta)> {
    let table = facts.catalog.tables.get(&table)?;
    Some((table, table.index(index)?))
}

pub(super) fn database_name(facts: &Facts, table: &TableMeta) -> Value {
    match facts.catalog.databases.get(&table.database) {
        Some(database) => Value::from(&database.name),
        None => Value::Null,
    }
}

fn status_rows(facts: &Facts) -> Vec<Row> {
    let row_of = |status: IndexStatus| {
        let (table, index) = found(facts, status.table, status.index)?;
        let state = match (&status.error, status.pending_segments) {
            (Some(_), _) => "failed",
            (None, 0) => "ready",
            (None, _) => "building",
        };
        let per_vector = status.bytes.checked_div(status.indexed_rows);
        Some(row![
            database_name(facts, table),
            &table.namespace,
            &table.name,
            &index.name,
            index.oid.0,
            index.method.name(),
            state,
            bigint(status.indexed_rows),
            bigint(status.pending_rows),
            bigint(status.growing_rows),
            bigint(status.indexed_segments),
            bigint(status.pending_segments),
            bigint(status.bytes),
            per_vector.map(bigint),
            status.error,
        ])
    };
    facts.indexes.rows().into_iter().filter_map(row_of).collect()
}

fn build_rows(facts: &Facts) -> Vec<Row> {
    let row_of = |build: IndexBuild| {
        let (table, index) = found(facts, build.table, build.index)?;
        let (state, error) = match build.state {
            BuildState::Running => ("running", None),
            BuildState::Finished => ("finished", None),
            BuildState::Failed { reason, .. } => ("failed", Some(reason)),
        };
        Some(row![
            database_name(facts, table),
            &table.namespace,
            &table.name,
            &index.name,
            index.oid.0,
            bigint(build.segment.0),
            state,
            build.phase.text(),
            bigint(build.rows_done),
            bigint(build.rows_total),
            micros(build.started_millis),
            build.ended_millis.map(micros),
            error,
        ])
    };
    facts.builds.rows().into_iter().filter_map(row_of).collect()
}

/// A timestamp as cells carry it.
pub(super) fn micros(millis: u64) -> i64 {
    bigint(millis.saturating_mul(1000))
}

fn progress_rows(facts: &Facts) -> Vec<Row> {
    let row_of = |build: IndexBuild| {
        let (table, index) = found(facts, build.table, build.index)?;
        let database = facts.catalog.databases.get(&table.database)?;
        let (total, done) = (bigint(build.rows_total), bigint(build.rows_done));
        Some(row![
            Value::Null,
            pg_database_oid(database),
            &database.name,
            table.id.oid().0,
            index.oid.0,
            "CREATE INDEX",
            build.phase.text(),
            0_i64,
            0_i64,
            0_i64,
            // Rows stand in for blocks: pgvector's README computes the share done from them.
            total,
            done,
            total,
            done,
            0_i64,
            0_i64,
        ])
    };
    facts
        .builds
        .rows()
        .into_iter()
        .filter(|build| build.state == BuildState::Running)
        .filter_map(row_of)
        .collect()
}
