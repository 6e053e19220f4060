//! Vectors inside Arrow arrays, and pgvector's functions and operators on them, distances aside.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float32Type, Int32Type};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::overload::{Call, PgFunction};
use crate::text::input::VectorBuilder;

/// The rows of a vector column as slices, whether of fixed or of varying dimensions.
#[derive(Debug)]
pub struct Vectors<'a> {
    elements: &'a [f32],
    offsets: Option<&'a [i32]>,
    stride: usize,
    nulls: Option<&'a NullBuffer>,
    /// One row stands for all.
    constant: bool,
}

impl<'a> Vectors<'a> {
    /// The vectors of an array.
    ///
    /// # Errors
    /// XX000 when the array is no list of float32.
    pub fn of(array: &'a dyn Array) -> Result<Self, SqlError> {
        let wrong =
            || SqlError::new(ErrorKind::Internal, format!("{} carries no vectors", array.data_type()));
        match array.data_type() {
            DataType::FixedSizeList(item, dimensions) if *item.data_type() == DataType::Float32 => {
                let list = array.as_fixed_size_list();
                let stride = *dimensions as usize;
                let values = list.values().as_primitive::<Float32Type>().values();
                let elements = &values[..list.len() * stride];
                Ok(Self { elements, offsets: None, stride, nulls: list.nulls(), constant: false })
            }
            DataType::List(item) if *item.data_type() == DataType::Float32 => {
                let list = array.as_list::<i32>();
                let elements = list.values().as_primitive::<Float32Type>().values();
                let offsets = Some(list.value_offsets());
                Ok(Self { elements, offsets, stride: 0, nulls: list.nulls(), constant: false })
            }
            _ => Err(wrong()),
        }
    }

    /// The same rows, the first standing for all when the argument is constant.
    #[must_use]
    pub const fn repeated(mut self, constant: bool) -> Self {
        self.constant = constant;
        self
    }

    /// Whether a row is NULL.
    #[must_use]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(self.at(row)))
    }

    /// The elements of a row.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [f32] {
        let row = self.at(row);
        match self.offsets {
            Some(offsets) => &self.elements[offsets[row] as usize..offsets[row + 1] as usize],
            None => &self.elements[row * self.stride..(row + 1) * self.stride],
        }
    }

    const fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }
}

/// 22000 for operands of different dimensions.
pub(crate) fn check_same(left: &[f32], right: &[f32]) -> Result<(), SqlError> {
    if left.len() == right.len() {
        return Ok(());
    }
    Err(SqlError::new(
        ErrorKind::DataException,
        format!("different vector dimensions {} and {}", left.len(), right.len()),
    ))
}

/// Computes a value per row from two vectors; NULL when either is.
pub(crate) fn pairs<T>(
    call: &Call<'_>,
    compute: impl Fn(&[f32], &[f32]) -> Result<T, SqlError>,
) -> Result<Vec<Option<T>>, SqlError> {
    let (left, right) = (call.compact(0)?, call.compact(1)?);
    let left = Vectors::of(left.as_ref())?.repeated(call.is_constant(0));
    let right = Vectors::of(right.as_ref())?.repeated(call.is_constant(1));
    (0..call.rows())
        .map(|row| {
            if left.is_null(row) || right.is_null(row) {
                return Ok(None);
            }
            compute(left.row(row), right.row(row)).map(Some)
        })
        .collect()
}

/// Computes a value per row from one vector.
fn singles<T>(
    call: &Call<'_>,
    compute: impl Fn(&[f32]) -> Result<T, SqlError>,
) -> Result<Vec<Option<T>>, SqlError> {
    let array = call.compact(0)?;
    let vectors = Vectors::of(array.as_ref())?.repeated(call.is_constant(0));
    (0..call.rows())
        .map(|row| if vectors.is_null(row) { Ok(None) } else { compute(vectors.row(row)).map(Some) })
        .collect()
}

/// A vector column of the type the call promised.
fn vectors_of(call: &Call<'_>, rows: Vec<Option<Vec<f32>>>) -> Result<ArrayRef, SqlError> {
    vector_column(call.result_type(), rows)
}

/// A vector column of an Arrow type.
pub(crate) fn vector_column(data_type: &DataType, rows: Vec<Option<Vec<f32>>>) -> Result<ArrayRef, SqlError> {
    let ty = match data_type {
        DataType::FixedSizeList(_, dimensions) => ColumnType::vector(*dimensions),
        _ => TypeKind::Vector.into(),
    };
    let mut builder = VectorBuilder::new(ty, rows.len());
    for row in rows {
        match row {
            Some(elements) => {
                builder.elements.extend_from_slice(&elements);
                builder.finish_row(elements.len())?;
            }
            None => builder.append_null(),
        }
    }
    builder.finish()
}

fn range_error(how: &str) -> SqlError {
    SqlError::new(ErrorKind::NumericValueOutOfRange, format!("value out of range: {how}"))
}

fn elementwise(
    call: &Call<'_>,
    compute: fn(f32, f32) -> f32,
    check_underflow: bool,
) -> Result<ArrayRef, SqlError> {
    let rows = pairs(call, |left, right| {
        check_same(left, right)?;
        let mut out = Vec::with_capacity(left.len());
        for (&a, &b) in left.iter().zip(right) {
            let value = compute(a, b);
            if value.is_infinite() {
                return Err(range_error("overflow"));
            }
            if check_underflow && value == 0.0 && a != 0.0 && b != 0.0 {
                return Err(range_error("underflow"));
            }
            out.push(value);
        }
        Ok(out)
    })?;
    vectors_of(call, rows)
}

/// `+` on vectors.
pub(crate) fn add(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    elementwise(call, |a, b| a + b, false)
}

/// `-` on vectors.
pub(crate) fn subtract(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    elementwise(call, |a, b| a - b, false)
}

/// `*` on vectors.
pub(crate) fn multiply(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    elementwise(call, |a, b| a * b, true)
}

/// `||` on vectors.
pub(crate) fn concat(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let rows = pairs(call, |left, right| {
        let count = left.len() + right.len();
        if count > proto::types::MAX_VECTOR_DIMENSIONS {
            return Err(SqlError::new(
                ErrorKind::ProgramLimitExceeded,
                format!("vector cannot have more than {} dimensions", proto::types::MAX_VECTOR_DIMENSIONS),
            ));
        }
        Ok([left, right].concat())
    })?;
    vectors_of(call, rows)
}

/// Order of vectors: element by element, then by dimensions.
#[must_use]
pub fn compare(left: &[f32], right: &[f32]) -> Ordering {
    left.iter()
        .zip(right)
        .find_map(|(a, b)| a.partial_cmp(b).filter(|order| order.is_ne()))
        .unwrap_or_else(|| left.len().cmp(&right.len()))
}

fn comparison(call: &Call<'_>, test: fn(Ordering) -> bool) -> Result<ArrayRef, SqlError> {
    let rows = pairs(call, |left, right| Ok(test(compare(left, right))))?;
    Ok(Arc::new(BooleanArray::from(rows)))
}

fn dims(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    Ok(Arc::new(Int32Array::from(singles(call, |v| Ok(v.len() as i32))?)))
}

/// The Euclidean norm, accumulated in double precision as pgvector does.
#[must_use]
pub fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|&element| f64::from(element) * f64::from(element)).sum::<f64>().sqrt()
}

fn norms(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    Ok(Arc::new(Float64Array::from(singles(call, |v| Ok(norm(v)))?)))
}

fn normalize(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let rows = singles(call, |vector| {
        let length = norm(vector);
        if length == 0.0 {
            return Ok(vec![0.0; vector.len()]);
        }
        vector
            .iter()
            .map(|&element| {
                let scaled = (f64::from(element) / length) as f32;
                if scaled.is_infinite() { Err(range_error("overflow")) } else { Ok(scaled) }
            })
            .collect()
    })?;
    vectors_of(call, rows)
}

fn subvector(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let array = call.compact(0)?;
    let vectors = Vectors::of(array.as_ref())?.repeated(call.is_constant(0));
    let (starts, counts) = (call.primitive::<Int32Type>(1)?, call.primitive::<Int32Type>(2)?);
    let mut out = Vec::with_capacity(call.rows());
    for row in 0..call.rows() {
        if vectors.is_null(row) || starts.is_null(row) || counts.is_null(row) {
            out.push(None);
            continue;
        }
        let vector = vectors.row(row);
        let (start, count) = (i64::from(starts.value(row)), i64::from(counts.value(row)));
        let first = start.max(1);
        let end = (start + count).min(vector.len() as i64 + 1);
        if count < 1 || end <= first {
            return Err(SqlError::new(ErrorKind::DataException, "vector must have at least 1 dimension"));
        }
        out.push(Some(vector[first as usize - 1..end as usize - 1].to_vec()));
    }
    vectors_of(call, out)
}

/// pgvector's functions on `vector`.
#[must_use]
pub(crate) fn functions() -> Vec<PgFunction> {
    let comparisons: [(&'static str, super::overload::Compute); 6] = [
        ("vector_lt", |call| comparison(call, Ordering::is_lt)),
        ("vector_le", |call| comparison(call, Ordering::is_le)),
        ("vector_eq", |call| comparison(call, Ordering::is_eq)),
        ("vector_ne", |call| comparison(call, Ordering::is_ne)),
        ("vector_ge", |call| comparison(call, Ordering::is_ge)),
        ("vector_gt", |call| comparison(call, Ordering::is_gt)),
    ];
    let mut functions: Vec<PgFunction> = comparisons
        .into_iter()
        .map(|(name, compute)| PgFunction::immutable(name).on("vector,vector", "bool", compute))
        .collect();
    functions.extend([
        PgFunction::immutable("vector_cmp").on("vector,vector", "int4", |call| {
            Ok(Arc::new(Int32Array::from(pairs(call, |a, b| Ok(compare(a, b) as i32))?)))
        }),
        PgFunction::immutable("vector_add").on("vector,vector", "vector", add),
        PgFunction::immutable("vector_sub").on("vector,vector", "vector", subtract),
        PgFunction::immutable("vector_mul").on("vector,vector", "vector", multiply),
        PgFunction::immutable("vector_concat").on("vector,vector", "vector", concat),
        PgFunction::immutable("vector_dims").on("vector", "int4", dims),
        PgFunction::immutable("vector_norm").on("vector", "float8", norms),
        PgFunction::immutable("l2_normalize").on("vector", "vector", normalize),
        PgFunction::immutable("subvector").on("vector,int4,int4", "vector", subvector),
    ]);
    functions
}
