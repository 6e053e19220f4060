//! Names beside the OIDs of `regclass`, `regtype` and the like in results: text shows the name, binary the OID,
//! and only the catalog knows one from the other.
//!
//! Invariant: a column of such a type leaves here as a pair (OID, name) with the OID's nulls.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema, UInt32Type};
use exec::SessionValues;
use exec::functions::catalog::{Scope, resolve_reg_name};
use planner::plan::OutputColumn;
use proto::{ErrorKind, SqlError, TypeKind};

/// The columns that print as names.
pub(super) fn positions(columns: &[OutputColumn]) -> Vec<(usize, TypeKind)> {
    columns
        .iter()
        .enumerate()
        .filter(|(_, column)| !column.ty.array && names_objects(column.ty.kind))
        .map(|(position, column)| (position, column.ty.kind))
        .collect()
}

const fn names_objects(kind: TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Regproc
            | TypeKind::Regprocedure
            | TypeKind::Regoper
            | TypeKind::Regoperator
            | TypeKind::Regclass
            | TypeKind::Regtype
            | TypeKind::Regnamespace
            | TypeKind::Regrole
            | TypeKind::Regcollation
    )
}

/// The batch with names put beside the OIDs of some columns.
///
/// # Errors
/// XX000 when the batch cannot be put together again.
pub(super) fn add(
    batch: &RecordBatch,
    named: &[(usize, TypeKind)],
    session: &SessionValues,
) -> Result<RecordBatch, SqlError> {
    let mut columns = batch.columns().to_vec();
    let mut fields = batch.schema().fields().iter().map(Arc::clone).collect::<Vec<_>>();
    for &(position, kind) in named {
        let (Some(column), Some(field)) = (columns.get_mut(position), fields.get_mut(position)) else {
            continue;
        };
        if let Some(pair) = pair(column, kind, Scope::from(session)) {
            *field = Arc::new(Field::new(field.name(), pair.data_type().clone(), true));
            *column = pair;
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("names of catalog objects: {error}")))
}

/// OIDs with their names; none when the column does not hold OIDs.
fn pair(column: &ArrayRef, kind: TypeKind, scope: Scope<'_>) -> Option<ArrayRef> {
    let oids = column.as_primitive_opt::<UInt32Type>()?;
    let names: StringArray =
        oids.iter().map(|oid| oid.map(|oid| resolve_reg_name(kind, oid, scope))).collect();
    let fields = Fields::from(vec![
        Field::new("oid", DataType::UInt32, true),
        Field::new("name", DataType::Utf8, true),
    ]);
    let nulls = oids.nulls().cloned();
    Some(Arc::new(StructArray::new(fields, vec![Arc::clone(column), Arc::new(names)], nulls)))
}
