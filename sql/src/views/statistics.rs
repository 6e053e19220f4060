//! What PostgreSQL's statistics views say of user tables: live and dead rows, and when a table was vacuumed.

use std::collections::BTreeMap;

use cluster::{Compaction, CompactionGoal, CompactionState};
use proto::TableId;

use super::indexes::micros;
use super::segments::bigint;
use crate::pg_catalog::{Computed, Facts, Row, Value, row};

const COLUMNS: &[&str] = &[
    "relid",
    "schemaname",
    "relname",
    "seq_scan",
    "last_seq_scan",
    "seq_tup_read",
    "idx_scan",
    "last_idx_scan",
    "idx_tup_fetch",
    "n_tup_ins",
    "n_tup_upd",
    "n_tup_del",
    "n_tup_hot_upd",
    "n_tup_newpage_upd",
    "n_live_tup",
    "n_dead_tup",
    "n_mod_since_analyze",
    "n_ins_since_vacuum",
    "last_vacuum",
    "last_autovacuum",
    "last_analyze",
    "last_autoanalyze",
    "vacuum_count",
    "autovacuum_count",
    "analyze_count",
    "autoanalyze_count",
];

/// `pg_catalog.pg_stat_user_tables`.
pub(crate) const PG_STAT_USER_TABLES: Computed =
    Computed { schema: "pg_catalog", name: "pg_stat_user_tables", columns: COLUMNS, rows };

/// `pg_catalog.pg_stat_all_tables`: system relations are computed and have no statistics.
pub(crate) const PG_STAT_ALL_TABLES: Computed =
    Computed { schema: "pg_catalog", name: "pg_stat_all_tables", columns: COLUMNS, rows };

/// Merges that ended well.
#[derive(Default)]
struct Vacuums {
    count: i64,
    last_millis: Option<u64>,
}

fn rows(facts: &Facts) -> Vec<Row> {
    let mut held: BTreeMap<TableId, (u64, u64)> = BTreeMap::new();
    for segment in facts.segments.rows() {
        let (rows, dead) = held.entry(segment.table).or_default();
        *rows += segment.rows;
        *dead += segment.deleted_rows;
    }
    let mut vacuums: BTreeMap<(TableId, bool), Vacuums> = BTreeMap::new();
    let ended = |merge: &Compaction| merge.state == CompactionState::Finished;
    for merge in facts.compactions.rows().iter().filter(|merge| ended(merge)) {
        let is_automatic = merge.goal == CompactionGoal::Automatic;
        let known = vacuums.entry((merge.table, is_automatic)).or_default();
        known.count += 1;
        known.last_millis = known.last_millis.max(merge.ended_millis);
    }
    let own = facts.catalog.tables.values().filter(|table| table.database == facts.database);
    own.map(|table| {
        let (rows, dead) = held.get(&table.id).copied().unwrap_or_default();
        let count = |automatic| vacuums.get(&(table.id, automatic)).map_or(0, |vacuums| vacuums.count);
        let last = |automatic| {
            let vacuums = vacuums.get(&(table.id, automatic));
            vacuums.and_then(|vacuums| vacuums.last_millis).map(micros)
        };
        row![
            table.id.oid().0,
            &table.namespace,
            &table.name,
            // Scans and writes are not counted.
            0_i64,
            Value::Null,
            0_i64,
            0_i64,
            Value::Null,
            0_i64,
            0_i64,
            0_i64,
            0_i64,
            0_i64,
            0_i64,
            bigint(rows - dead),
            bigint(dead),
            0_i64,
            0_i64,
            last(false),
            last(true),
            Value::Null,
            Value::Null,
            count(false),
            count(true),
            0_i64,
            0_i64,
        ]
    })
    .collect()
}
