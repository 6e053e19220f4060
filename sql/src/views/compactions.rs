//! Merges of segments that run or ended last, and what collection has deleted and will delete.

use cluster::{Compaction, CompactionGoal, CompactionPhase, CompactionState};

use super::indexes::{database_name, micros};
use super::segments::bigint;
use crate::pg_catalog::{Computed, Facts, Row, Value, pg_database_oid, row};

/// `elanus.compactions`.
pub(crate) const COMPACTIONS: Computed = Computed {
    schema: "elanus",
    name: "compactions",
    columns: &[
        "database_name",
        "table_schema",
        "table_name",
        "compaction_id",
        "reason",
        "state",
        "phase",
        "input_segments",
        "output_segment",
        "input_rows",
        "output_rows",
        "input_bytes",
        "output_bytes",
        "done",
        "total",
        "started_at",
        "ended_at",
        "error",
    ],
    rows: compaction_rows,
};

/// `elanus.garbage`: objects that wait to be deleted, and those that were since the start; tables that were dropped
/// have no names.
pub(crate) const GARBAGE: Computed = Computed {
    schema: "elanus",
    name: "garbage",
    columns: &[
        "database_name",
        "table_schema",
        "table_name",
        "table_id",
        "pending_objects",
        "pending_bytes",
        "reclaimed_objects",
        "reclaimed_bytes",
    ],
    rows: garbage_rows,
};

/// `pg_catalog.pg_stat_progress_vacuum`.
pub(crate) const PG_STAT_PROGRESS_VACUUM: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_stat_progress_vacuum",
    columns: &[
        "pid",
        "datid",
        "datname",
        "relid",
        "phase",
        "heap_blks_total",
        "heap_blks_scanned",
        "heap_blks_vacuumed",
        "index_vacuum_count",
        "max_dead_tuples",
        "num_dead_tuples",
    ],
    rows: progress_rows,
};

const fn phase(phase: CompactionPhase) -> &'static str {
    match phase {
        CompactionPhase::Merging => "scanning heap",
        CompactionPhase::Indexing => "vacuuming indexes",
        CompactionPhase::Replacing => "performing final cleanup",
    }
}

fn compaction_rows(facts: &Facts) -> Vec<Row> {
    let row_of = |merge: Compaction| {
        let table = facts.catalog.tables.get(&merge.table)?;
        let (state, error) = match merge.state {
            CompactionState::Running => ("running", None),
            CompactionState::Finished => ("finished", None),
            CompactionState::Failed { reason, .. } => ("failed", Some(reason)),
        };
        let reason = match merge.goal {
            CompactionGoal::Automatic => "automatic",
            CompactionGoal::Vacuum => "vacuum",
            CompactionGoal::Full => "vacuum full",
        };
        let phase = match merge.phase {
            CompactionPhase::Merging => "merging",
            CompactionPhase::Indexing => "indexing",
            CompactionPhase::Replacing => "replacing",
        };
        let inputs: Vec<i64> = merge.inputs.iter().map(|segment| bigint(segment.0)).collect();
        Some(row![
            database_name(facts, table),
            &table.namespace,
            &table.name,
            bigint(merge.id),
            reason,
            state,
            phase,
            inputs,
            merge.output.map(|segment| bigint(segment.0)),
            bigint(merge.input_rows),
            bigint(merge.output_rows),
            bigint(merge.input_bytes),
            bigint(merge.output_bytes),
            bigint(merge.done),
            bigint(merge.total),
            micros(merge.started_millis),
            merge.ended_millis.map(micros),
            error,
        ])
    };
    facts.compactions.rows().into_iter().filter_map(row_of).collect()
}

fn garbage_rows(facts: &Facts) -> Vec<Row> {
    let row_of = |(id, info): (proto::TableId, cluster::GarbageInfo)| {
        let table = facts.catalog.tables.get(&id);
        row![
            table.map_or(Value::Null, |table| database_name(facts, table)),
            table.map(|table| &table.namespace),
            table.map(|table| &table.name),
            id.oid().0,
            bigint(info.pending_objects),
            bigint(info.pending_bytes),
            bigint(info.reclaimed_objects),
            bigint(info.reclaimed_bytes),
        ]
    };
    facts.garbage.rows().into_iter().map(row_of).collect()
}

fn progress_rows(facts: &Facts) -> Vec<Row> {
    let row_of = |merge: Compaction| {
        let table = facts.catalog.tables.get(&merge.table)?;
        let database = facts.catalog.databases.get(&table.database)?;
        let removed = merge.input_rows.saturating_sub(merge.output_rows);
        let is_counted = merge.phase != CompactionPhase::Merging;
        Some(row![
            Value::Null,
            pg_database_oid(database),
            &database.name,
            table.id.oid().0,
            phase(merge.phase),
            // Values copied, or rows put into an index, stand in for blocks.
            bigint(merge.total),
            bigint(merge.done),
            if is_counted { bigint(merge.done) } else { 0 },
            0_i64,
            bigint(merge.input_rows),
            if is_counted { bigint(removed) } else { 0 },
        ])
    };
    let running =
        facts.compactions.rows().into_iter().filter(|merge| merge.state == CompactionState::Running);
    running.filter_map(row_of).collect()
}
