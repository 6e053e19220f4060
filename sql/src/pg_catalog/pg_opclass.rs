//! Operator classes: PostgreSQL's for keys, and pgvector's where the extension exists.

use exec::functions::catalog::builtin::OWNER_OID;
use proto::catalog::{IndexMeta, PUBLIC_NAMESPACE_OID};
use proto::{DistanceMetric, TypeKind};

use super::{Computed, Facts, Row, fixed, row};

/// `pg_catalog.pg_opclass`.
pub(crate) const PG_OPCLASS: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_opclass",
    columns: &[
        "oid",
        "opcmethod",
        "opcname",
        "opcnamespace",
        "opcowner",
        "opcfamily",
        "opcintype",
        "opcdefault",
        "opckeytype",
    ],
    rows,
};

/// pgvector's index methods, the OID of each one's first class, and the metrics that each knows.
const METHODS: [(u32, u32, &[DistanceMetric]); 2] = [
    (16_394, 16_300, &[DistanceMetric::L2, DistanceMetric::InnerProduct, DistanceMetric::Cosine]),
    (16_395, 16_310, &DistanceMetric::ALL),
];

/// The OID of the class of a vector index.
pub(super) fn oid(index: &IndexMeta) -> u32 {
    let method = super::pg_am::oid(index.method);
    let found = METHODS.iter().find(|(known, ..)| *known == method);
    found
        .and_then(|(_, first, metrics)| (*first..).zip(*metrics).find(|(_, metric)| **metric == index.metric))
        .map_or(0, |(oid, _)| oid)
}

fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = fixed::file("pg_opclass").map(fixed::parse).unwrap_or_default();
    if facts.has_extension("vector") {
        for (method, first, metrics) in METHODS {
            rows.extend((first..).zip(metrics).map(|(oid, metric)| {
                // Each class is the only one of its family; l2 is ivfflat's default, hnsw has none.
                let is_default = *metric == DistanceMetric::L2 && method == 16_394;
                let name = metric.operator_class();
                let ty = TypeKind::Vector.oid().0;
                row![oid, method, name, PUBLIC_NAMESPACE_OID, OWNER_OID, oid, ty, is_default, 0]
            }));
        }
    }
    rows
}
