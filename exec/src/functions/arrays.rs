//! Functions on arrays: concatenation, length, subscripts, membership.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, StringArray, UInt32Array, new_null_array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{concat as concat_arrays, take};
use arrow::datatypes::{DataType, Int32Type};
use arrow::row::{Row, RowConverter, SortField};
use proto::{ColumnType, ErrorKind, SqlError};

use super::cast::text_of;
use super::overload::{Call, PgFunction, cast_to};

fn arrow_error(error: arrow::error::ArrowError) -> SqlError {
    crate::to_sql_error(error.into())
}

/// An argument as a list column.
fn list(call: &Call<'_>, position: usize) -> Result<ListArray, SqlError> {
    let array = call.array(position)?;
    if let Some(list) = array.as_list_opt::<i32>() {
        return Ok(list.clone());
    }
    let item = match array.data_type() {
        DataType::FixedSizeList(item, _) | DataType::LargeList(item) => Arc::clone(item),
        other => return Err(SqlError::new(ErrorKind::Internal, format!("{other} carries no array"))),
    };
    Ok(cast_to(&array, &DataType::List(item))?.as_list::<i32>().clone())
}

/// Builds one list per row from pieces of the given element columns: (which column, from, to).
fn assemble(
    call: &Call<'_>,
    sources: &[&ArrayRef],
    pieces: impl Fn(usize) -> Option<Vec<(usize, usize, usize)>>,
) -> Result<ArrayRef, SqlError> {
    let DataType::List(item) = call.result_type() else {
        return Err(SqlError::new(ErrorKind::Internal, "arrays are not carried by lists"));
    };
    let typed: Vec<ArrayRef> =
        sources.iter().map(|source| cast_to(source, item.data_type())).collect::<Result<_, _>>()?;
    let joined = concat_arrays(&typed.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(arrow_error)?;
    let mut starts = vec![0];
    for source in &typed {
        starts.push(starts[starts.len() - 1] + source.len());
    }
    let mut indices: Vec<u32> = Vec::new();
    let mut offsets = vec![0_i32];
    let mut valid = Vec::with_capacity(call.rows());
    for row in 0..call.rows() {
        let parts = pieces(row);
        valid.push(parts.is_some());
        for (source, from, to) in parts.unwrap_or_default() {
            indices.extend((from..to).map(|at| (starts[source] + at) as u32));
        }
        offsets.push(indices.len() as i32);
    }
    let values = take(&joined, &UInt32Array::from(indices), None).map_err(arrow_error)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    ListArray::try_new(Arc::clone(item), offsets, values, Some(valid.into()))
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(arrow_error)
}

fn span(list: &ListArray, row: usize) -> (usize, usize) {
    (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize)
}

/// Array and array; a NULL side counts as empty unless both are.
pub(crate) fn concat(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (left, right) = (list(call, 0)?, list(call, 1)?);
    assemble(call, &[left.values(), right.values()], |row| {
        let mut parts = Vec::new();
        for (source, side) in [&left, &right].into_iter().enumerate() {
            if side.is_valid(row) {
                let (from, to) = span(side, row);
                parts.push((source, from, to));
            }
        }
        (!parts.is_empty()).then_some(parts)
    })
}

fn with_element(call: &Call<'_>, array_at: usize) -> Result<ArrayRef, SqlError> {
    let arrays = list(call, array_at)?;
    let elements = call.array(1 - array_at)?;
    assemble(call, &[arrays.values(), &elements], |row| {
        let mut parts = vec![(1, row, row + 1)];
        if arrays.is_valid(row) {
            let (from, to) = span(&arrays, row);
            parts.insert(array_at, (0, from, to));
        }
        Some(parts)
    })
}

/// Array and element.
pub(crate) fn append(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    with_element(call, 0)
}

/// Element and array.
pub(crate) fn prepend(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    with_element(call, 1)
}

/// Elements of the first dimension; NULL for empty arrays, as PostgreSQL has no dimension there.
fn array_length(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (arrays, dimensions) = (list(call, 0)?, call.primitive::<Int32Type>(1)?);
    Ok(Arc::new((0..call.rows()).map(|row| length_of(&arrays, &dimensions, row)).collect::<Int32Array>()))
}

fn length_of(arrays: &ListArray, dimensions: &Int32Array, row: usize) -> Option<i32> {
    if arrays.is_null(row) || dimensions.is_null(row) || dimensions.value(row) != 1 {
        return None;
    }
    let (from, to) = span(arrays, row);
    (to > from).then_some((to - from) as i32)
}

fn cardinality(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let arrays = list(call, 0)?;
    Ok(Arc::new(
        (0..call.rows())
            .map(|row| {
                let (from, to) = span(&arrays, row);
                arrays.is_valid(row).then_some((to - from) as i32)
            })
            .collect::<Int32Array>(),
    ))
}

fn array_lower(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (arrays, dimensions) = (list(call, 0)?, call.primitive::<Int32Type>(1)?);
    Ok(Arc::new(
        (0..call.rows()).map(|row| length_of(&arrays, &dimensions, row).map(|_| 1)).collect::<Int32Array>(),
    ))
}

/// `array[n]`: the n-th element from 1, NULL outside.
fn element(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (arrays, positions) = (list(call, 0)?, call.primitive::<Int32Type>(1)?);
    let indices: UInt32Array = (0..call.rows())
        .map(|row| {
            if arrays.is_null(row) || positions.is_null(row) || positions.value(row) < 1 {
                return None;
            }
            let (from, to) = span(&arrays, row);
            let at = from + positions.value(row) as usize - 1;
            (at < to).then_some(at as u32)
        })
        .collect();
    if arrays.values().is_empty() {
        return Ok(new_null_array(arrays.values().data_type(), call.rows()));
    }
    take(arrays.values(), &indices, None).map_err(arrow_error)
}

/// How the elements of two arrays must relate.
#[derive(Clone, Copy)]
enum Relation {
    /// Every element of the right array is in the left one.
    Contains,
    /// They have an element in common.
    Overlaps,
}

fn related(call: &Call<'_>, relation: Relation, swapped: bool) -> Result<ArrayRef, SqlError> {
    let (left, right) =
        if swapped { (list(call, 1)?, list(call, 0)?) } else { (list(call, 0)?, list(call, 1)?) };
    let values = cast_to(right.values(), left.values().data_type())?;
    let fields = vec![SortField::new(left.values().data_type().clone())];
    let converter = RowConverter::new(fields).map_err(arrow_error)?;
    let left_rows = converter.convert_columns(&[Arc::clone(left.values())]).map_err(arrow_error)?;
    let right_rows = converter.convert_columns(&[Arc::clone(&values)]).map_err(arrow_error)?;
    let out: BooleanArray = (0..call.rows())
        .map(|row| {
            if left.is_null(row) || right.is_null(row) {
                return None;
            }
            let ((from, to), (first, last)) = (span(&left, row), span(&right, row));
            // A NULL element equals nothing.
            let held: HashSet<Row<'_>> =
                (from..to).filter(|at| left.values().is_valid(*at)).map(|at| left_rows.row(at)).collect();
            let found = |at: usize| values.is_valid(at) && held.contains(&right_rows.row(at));
            Some(match relation {
                Relation::Contains => (first..last).all(found),
                Relation::Overlaps => (first..last).any(found),
            })
        })
        .collect();
    Ok(Arc::new(out))
}

/// `left @> right`.
pub(crate) fn contains(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    related(call, Relation::Contains, false)
}

/// `left <@ right`.
pub(crate) fn contained(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    related(call, Relation::Contains, true)
}

/// `left && right`.
pub(crate) fn overlaps(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    related(call, Relation::Overlaps, false)
}

fn array_to_string(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let arrays = list(call, 0)?;
    let separators = call.text(1)?;
    let replacement = if call.count() > 2 { Some(call.text(2)?) } else { None };
    let element = ColumnType { array: false, ..call.argument_type(0) };
    let zone = call.session().map(|session| session.time_zone).unwrap_or_default();
    let texts = text_of(arrays.values(), element, &zone)?;
    let joined: StringArray = (0..call.rows())
        .map(|row| {
            if arrays.is_null(row) || separators.is_null(row) {
                return None;
            }
            let null_text = replacement.as_ref().filter(|r| r.is_valid(row)).map(|r| r.value(row));
            let (from, to) = span(&arrays, row);
            let parts: Vec<&str> = (from..to)
                .filter_map(|at| if texts.is_null(at) { null_text } else { Some(texts.value(at)) })
                .collect();
            Some(parts.join(separators.value(row)))
        })
        .collect();
    Ok(Arc::new(joined))
}

/// The array functions.
#[must_use]
pub(crate) fn functions() -> Vec<PgFunction> {
    vec![
        PgFunction::immutable("array_length").on("anyarray,int4", "int4", array_length),
        PgFunction::immutable("array_upper").on("anyarray,int4", "int4", array_length),
        PgFunction::immutable("array_lower").on("anyarray,int4", "int4", array_lower),
        PgFunction::immutable("cardinality").on("anyarray", "int4", cardinality),
        PgFunction::immutable("array_cat").on("anyarray,anyarray", "anyarray", concat),
        PgFunction::immutable("array_append").on("anyarray,anyelement", "anyarray", append),
        PgFunction::immutable("array_prepend").on("anyelement,anyarray", "anyarray", prepend),
        PgFunction::immutable("array_element").on("anyarray,int4", "anyelement", element),
        PgFunction::stable("array_to_string").on("anyarray,text", "text", array_to_string).on(
            "anyarray,text,text",
            "text",
            array_to_string,
        ),
    ]
}
