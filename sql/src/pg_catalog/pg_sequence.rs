//! Sequences. Where a sequence stands is state of its owner, not of the catalog: `last_value` is not shown.

use exec::functions::catalog::builtin::type_of_oid;

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_sequence`.
pub(crate) const PG_SEQUENCE: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_sequence",
    columns: &[
        "seqrelid",
        "seqtypid",
        "seqstart",
        "seqincrement",
        "seqmax",
        "seqmin",
        "seqcache",
        "seqcycle",
    ],
    rows,
};

/// `pg_catalog.pg_sequences`.
pub(crate) const PG_SEQUENCES: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_sequences",
    columns: &[
        "schemaname",
        "sequencename",
        "sequenceowner",
        "data_type",
        "start_value",
        "min_value",
        "max_value",
        "increment_by",
        "cycle",
        "cache_size",
        "last_value",
    ],
    rows: sequences,
};

fn rows(facts: &Facts) -> Vec<Row> {
    facts
        .scope()
        .sequences()
        .map(|sequence| {
            row![
                sequence.id.oid().0,
                sequence.ty.oid().0,
                sequence.start,
                sequence.increment,
                sequence.maximum,
                sequence.minimum,
                1,
                false,
            ]
        })
        .collect()
}

fn sequences(facts: &Facts) -> Vec<Row> {
    facts
        .scope()
        .sequences()
        .map(|sequence| {
            row![
                &sequence.namespace,
                &sequence.name,
                &facts.user,
                type_of_oid(sequence.ty.oid().0).map(|ty| ty.oid),
                sequence.start,
                sequence.minimum,
                sequence.maximum,
                sequence.increment,
                false,
                1,
                Value::Null,
            ]
        })
        .collect()
}
