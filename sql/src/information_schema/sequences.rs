//! Sequences, those of identity columns left out as the standard has it.

use proto::TypeKind;
use proto::catalog::SequenceMeta;

use crate::pg_catalog::{Computed, Facts, Row, Value, row};

/// `information_schema.sequences`.
pub(crate) const SEQUENCES: Computed = Computed {
    schema: "information_schema",
    name: "sequences",
    columns: &[
        "sequence_catalog",
        "sequence_schema",
        "sequence_name",
        "data_type",
        "numeric_precision",
        "numeric_precision_radix",
        "numeric_scale",
        "start_value",
        "minimum_value",
        "maximum_value",
        "increment",
        "cycle_option",
    ],
    rows,
};

fn is_identity(facts: &Facts, sequence: &SequenceMeta) -> bool {
    sequence.owned_by.is_some_and(|(table, column)| {
        facts.catalog.tables.get(&table).is_some_and(|table| {
            table.columns.iter().any(|other| other.id == column && other.identity.is_some())
        })
    })
}

fn rows(facts: &Facts) -> Vec<Row> {
    facts
        .scope()
        .sequences()
        .filter(|sequence| !is_identity(facts, sequence))
        .map(|sequence| {
            let bits = match sequence.ty.kind {
                TypeKind::Int2 => 16,
                TypeKind::Int4 => 32,
                _ => 64,
            };
            row![
                Value::name(facts.database_name()),
                &sequence.namespace,
                &sequence.name,
                sequence.ty.display(),
                bits,
                2,
                0,
                sequence.start.to_string(),
                sequence.minimum.to_string(),
                sequence.maximum.to_string(),
                sequence.increment.to_string(),
                "NO",
            ]
        })
        .collect()
}
