//! Casts among arrays and vectors.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::cast_array;
use crate::functions::vectors::Vectors;
use crate::text::InputContext;
use crate::text::input::VectorBuilder;

/// Converts array to array, array to vector, vector to real[] and vector to vector(n).
pub(super) fn convert(
    array: &ArrayRef,
    from: ColumnType,
    to: ColumnType,
    wanted: &DataType,
    explicit: bool,
    context: &InputContext,
) -> Result<ArrayRef, SqlError> {
    match (from.array, to.array) {
        (true, true) => array_to_array(array, from, to, explicit, context),
        (true, false) if to.kind == TypeKind::Vector => array_to_vector(array, from, to),
        (false, true) if from.kind == TypeKind::Vector && to.kind == TypeKind::Float4 => {
            vector_to_array(array, wanted)
        }
        // The catalogs' own vectors are carried as the arrays they are cast to.
        (false, true) if matches!(from.kind, TypeKind::Int2vector | TypeKind::Oidvector) => {
            Ok(Arc::new(as_list(array)?))
        }
        (false, false) if from.kind == TypeKind::Vector => vector_to_vector(array, to),
        _ => Err(SqlError::new(
            ErrorKind::CannotCoerce,
            format!(
                "cannot cast type {} to {}",
                from.without_typmod().display(),
                to.without_typmod().display()
            ),
        )),
    }
}

/// An array column as a list with 32-bit offsets.
fn as_list(array: &ArrayRef) -> Result<ListArray, SqlError> {
    if let Some(list) = array.as_list_opt::<i32>() {
        return Ok(list.clone());
    }
    let item = match array.data_type() {
        DataType::FixedSizeList(item, _) | DataType::LargeList(item) => Arc::clone(item),
        other => return Err(SqlError::new(ErrorKind::Internal, format!("{other} carries no array"))),
    };
    Ok(crate::functions::overload::cast_to(array, &DataType::List(item))?.as_list::<i32>().clone())
}

fn array_to_array(
    array: &ArrayRef,
    from: ColumnType,
    to: ColumnType,
    explicit: bool,
    context: &InputContext,
) -> Result<ArrayRef, SqlError> {
    let list = as_list(array)?;
    let element = |ty: ColumnType| ColumnType { array: false, ..ty };
    let values = cast_array(list.values(), element(from), element(to), explicit, context)?;
    let DataType::List(item) = to.data_type() else {
        return Err(SqlError::new(ErrorKind::Internal, "arrays are not carried by lists"));
    };
    let values = crate::functions::overload::retype(values, item.data_type()).map_err(crate::to_sql_error)?;
    ListArray::try_new(item, list.offsets().clone(), values, list.nulls().cloned())
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
}

fn array_to_vector(array: &ArrayRef, from: ColumnType, to: ColumnType) -> Result<ArrayRef, SqlError> {
    let list = as_list(array)?;
    if matches!(list.values().data_type(), DataType::List(_)) {
        return Err(SqlError::new(ErrorKind::DataException, "array must be 1-D"));
    }
    let element = ColumnType { array: false, ..from };
    let wide = cast_array(list.values(), element, ColumnType::FLOAT8, true, &InputContext::default())?;
    let wide = wide.as_primitive::<Float64Type>();
    let mut builder = VectorBuilder::new(to, list.len());
    for row in 0..list.len() {
        if list.is_null(row) {
            builder.append_null();
            continue;
        }
        let (start, end) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
        let count = end - start;
        if (start..end).any(|at| wide.is_null(at)) {
            return Err(SqlError::new(ErrorKind::NullValueNotAllowed, "array must not contain nulls"));
        }
        if count == 0 {
            return Err(SqlError::new(ErrorKind::DataException, "vector must have at least 1 dimension"));
        }
        if count > proto::types::MAX_VECTOR_DIMENSIONS {
            return Err(SqlError::new(
                ErrorKind::ProgramLimitExceeded,
                format!("vector cannot have more than {} dimensions", proto::types::MAX_VECTOR_DIMENSIONS),
            ));
        }
        let first = builder.elements.len();
        builder.elements.extend((start..end).map(|at| wide.value(at) as f32));
        // pgvector looks at the dimensions first.
        if let Some(expected) = to.dimensions() {
            proto::vector::check_dimensions(expected, count)?;
        }
        proto::vector::check_finite(&builder.elements[first..])?;
        builder.finish_row(count)?;
    }
    builder.finish()
}

fn vector_to_array(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, SqlError> {
    let DataType::List(item) = wanted else {
        return Err(SqlError::new(ErrorKind::Internal, "arrays are not carried by lists"));
    };
    let list = as_list(array)?;
    let values = Arc::clone(list.values());
    debug_assert_eq!(*values.data_type(), DataType::Float32);
    let values: ArrayRef = Arc::new(values.as_primitive::<Float32Type>().clone());
    ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
}

fn vector_to_vector(array: &ArrayRef, to: ColumnType) -> Result<ArrayRef, SqlError> {
    if *array.data_type() == to.data_type() {
        return Ok(Arc::clone(array));
    }
    let vectors = Vectors::of(array.as_ref())?;
    let mut builder = VectorBuilder::new(to, array.len());
    for row in 0..array.len() {
        if vectors.is_null(row) {
            builder.append_null();
            continue;
        }
        let vector = vectors.row(row);
        if let Some(expected) = to.dimensions() {
            proto::vector::check_dimensions(expected, vector.len())?;
        }
        builder.elements.extend_from_slice(vector);
        builder.finish_row(vector.len())?;
    }
    builder.finish()
}
