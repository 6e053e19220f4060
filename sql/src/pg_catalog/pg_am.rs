//! Access methods: PostgreSQL's, and pgvector's where the extension exists.

use proto::catalog::IndexMethod;

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

/// The OID of a vector index's method.
pub(super) fn oid(method: IndexMethod) -> u32 {
    METHODS.iter().find(|(_, name, _)| *name == method.name()).map_or(0, |(oid, ..)| *oid)
}

fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = fixed::file("pg_am").map(fixed::parse).unwrap_or_default();
    if facts.has_extension("vector") {
        rows.extend(METHODS.iter().map(|&(oid, name, handler)| row![oid, name, handler, "i"]));
    }
    rows
}
