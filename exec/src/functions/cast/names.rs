//! Casts between text and the types that name catalog objects (`regclass`, `regtype`, …), which need the catalog,
//! and the text form of the catalogs' own vectors.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Int64Type, UInt32Type};
use proto::{ColumnType, SqlError, TypeKind};

use crate::functions::catalog::{Scope, resolve_reg_name, resolve_reg_oid};
use crate::functions::overload::cast_to;
use crate::statement::SessionValues;

/// Converts when the catalog is needed for it; none otherwise.
pub(super) fn convert(
    array: &ArrayRef,
    from: ColumnType,
    to: ColumnType,
    session: &SessionValues,
) -> Result<Option<ArrayRef>, SqlError> {
    if from.array || to.array || *array.data_type() == DataType::Null {
        return Ok(None);
    }
    let scope = Scope::from(session);
    if names_objects(to.kind) && from.is_textual() {
        let Some(names) = array.as_string_opt::<i32>() else { return Ok(None) };
        let oids = names
            .iter()
            .map(|name| name.map(|name| resolve_reg_oid(to.kind, name, scope)).transpose())
            .collect::<Result<UInt32Array, SqlError>>()?;
        return Ok(Some(Arc::new(oids)));
    }
    if !to.is_textual() {
        return Ok(None);
    }
    if names_objects(from.kind) {
        let Some(oids) = array.as_primitive_opt::<UInt32Type>() else { return Ok(None) };
        let names: StringArray =
            oids.iter().map(|oid| oid.map(|oid| resolve_reg_name(from.kind, oid, scope))).collect();
        return Ok(Some(Arc::new(names)));
    }
    if matches!(from.kind, TypeKind::Int2vector | TypeKind::Oidvector) {
        return numbers_with_blanks(array).map(Some);
    }
    Ok(None)
}

/// Whether values are OIDs that print as the name of an object.
const fn names_objects(kind: TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Regclass
            | TypeKind::Regtype
            | TypeKind::Regproc
            | TypeKind::Regprocedure
            | TypeKind::Regoper
            | TypeKind::Regoperator
            | TypeKind::Regnamespace
            | TypeKind::Regrole
            | TypeKind::Regcollation
    )
}

/// `int2vector` and `oidvector` as text: `1 2`.
fn numbers_with_blanks(array: &ArrayRef) -> Result<ArrayRef, SqlError> {
    let Some(lists) = array.as_list_opt::<i32>() else { return cast_to(array, &DataType::Utf8) };
    let mut texts = Vec::with_capacity(lists.len());
    for list in lists.iter() {
        texts.push(match list {
            None => None,
            Some(list) => {
                let numbers = cast_to(&list, &DataType::Int64)?;
                let words: Vec<String> = numbers
                    .as_primitive::<Int64Type>()
                    .iter()
                    .flatten()
                    .map(|number| number.to_string())
                    .collect();
                Some(words.join(" "))
            }
        });
    }
    Ok(Arc::new(StringArray::from(texts)))
}
