//! Lists of numbers as vectors.
//!
//! Invariant: what comes out obeys pgvector's rules: as many finite elements as the type says, none of them NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type};
use exec::text::input::VectorBuilder;
use proto::types::MAX_VECTOR_DIMENSIONS;
use proto::{ColumnType, ErrorKind, SqlError};

/// Vectors of a `vector` or `vector(n)` type from lists of any kind.
///
/// # Errors
/// 22000 for other dimensions, NaN or infinity, 22004 for NULL elements, 54000 for too many dimensions.
pub(super) fn convert(array: &ArrayRef, ty: ColumnType) -> Result<ArrayRef, SqlError> {
    if let Some(vectors) = in_place(array, ty)? {
        return Ok(vectors);
    }
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let lists = cast(array, &DataType::List(item))
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("lists of numbers: {error}")))?;
    let lists = lists.as_list::<i32>();
    let mut builder = VectorBuilder::new(ty, lists.len());
    for row in 0..lists.len() {
        if lists.is_null(row) {
            builder.append_null();
            continue;
        }
        let elements = lists.value(row);
        let elements = elements.as_primitive::<Float32Type>();
        check(elements)?;
        if elements.is_empty() {
            return Err(SqlError::new(ErrorKind::DataException, "vector must have at least 1 dimension"));
        }
        if elements.len() > MAX_VECTOR_DIMENSIONS {
            let message = format!("vector cannot have more than {MAX_VECTOR_DIMENSIONS} dimensions");
            return Err(SqlError::new(ErrorKind::ProgramLimitExceeded, message));
        }
        builder.elements.extend_from_slice(elements.values());
        builder.finish_row(elements.len())?;
    }
    builder.finish()
}

/// Lists of the right form as they lie there; none when there is work to do.
fn in_place(array: &ArrayRef, ty: ColumnType) -> Result<Option<ArrayRef>, SqlError> {
    let (Some(lists), Some(dimensions)) = (array.as_fixed_size_list_opt(), ty.dimensions()) else {
        return Ok(None);
    };
    if lists.value_length() as usize != dimensions || lists.null_count() > 0 {
        return Ok(None);
    }
    let start = lists.value_offset(0) as usize;
    let Some(elements) = lists.values().as_primitive_opt::<Float32Type>() else { return Ok(None) };
    let elements = elements.slice(start, lists.len() * dimensions);
    check(&elements)?;
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let elements = Arc::new(Float32Array::new(elements.values().clone(), None));
    FixedSizeListArray::try_new(item, dimensions as i32, elements, None)
        .map(|vectors| Some(Arc::new(vectors) as ArrayRef))
        .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
}

fn check(elements: &Float32Array) -> Result<(), SqlError> {
    if elements.null_count() > 0 {
        return Err(SqlError::new(ErrorKind::NullValueNotAllowed, "array must not contain nulls"));
    }
    match elements.values().iter().find(|element| !element.is_finite()) {
        None => Ok(()),
        Some(element) if element.is_nan() => {
            Err(SqlError::new(ErrorKind::DataException, "NaN not allowed in vector"))
        }
        Some(_) => Err(SqlError::new(ErrorKind::DataException, "infinite value not allowed in vector")),
    }
}
