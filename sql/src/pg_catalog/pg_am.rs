//! Access methods: PostgreSQL's, and pgvector's where the extension exists.

use super::{Computed, Facts, Row, fixed, row};

/// `pg_catalog.pg_am`.
pub(crate) const PG_AM: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_am",
    columns: &["oid", "amname", "amhandler", "amtype"],
    rows,
};

/// OIDs of pgvector's methods and of the functions behind them.
const METHODS: [(u32, &str, u32); 2] = [(16_394, "ivfflat", 16_392), (16_395, "hnsw", 16_393)];

fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = fixed::file("pg_am").map(fixed::parse).unwrap_or_default();
    if facts.has_extension("vector") {
        rows.extend(METHODS.iter().map(|&(oid, name, handler)| row![oid, name, handler, "i"]));
    }
    rows
}
