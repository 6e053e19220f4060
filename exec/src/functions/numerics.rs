//! Columns of numeric whatever carries them: one scale for all rows, or one per row (`proto::numeric`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, PrimitiveArray};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Int16Type, Int32Type, Int64Type, i256};
use proto::{ErrorKind, SqlError, numeric};

/// The rows of a numeric or integer column as unscaled digits and scale.
#[derive(Clone, Debug)]
pub(crate) struct Numerics {
    array: ArrayRef,
    scale: i32,
}

impl Numerics {
    /// The numbers of an array.
    ///
    /// # Errors
    /// XX000 when it carries none.
    pub(crate) fn of(array: &ArrayRef) -> Result<Self, SqlError> {
        let scale = match array.data_type() {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => i32::from(*scale),
            DataType::Int16 | DataType::Int32 | DataType::Int64 => 0,
            other if numeric::is_carrier(other) => 0,
            other => {
                return Err(SqlError::new(ErrorKind::Internal, format!("{other} carries no numeric")));
            }
        };
        Ok(Self { array: Arc::clone(array), scale })
    }

    pub(crate) fn nulls(&self) -> Option<&NullBuffer> {
        self.array.nulls()
    }

    pub(crate) fn len(&self) -> usize {
        self.array.len()
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Unscaled digits and scale of a row that is not NULL.
    pub(crate) fn value(&self, row: usize) -> (i256, i32) {
        let narrow = |value: i128| (i256::from_i128(value), self.scale);
        match self.array.data_type() {
            DataType::Decimal128(..) => narrow(self.array.as_primitive::<Decimal128Type>().value(row)),
            DataType::Decimal256(..) => (self.array.as_primitive::<Decimal256Type>().value(row), self.scale),
            DataType::Int16 => narrow(self.array.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => narrow(self.array.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => narrow(self.array.as_primitive::<Int64Type>().value(row).into()),
            _ => {
                let (unscaled, scale) = numeric::unpack(self.array.as_fixed_size_binary().value(row));
                (i256::from_i128(unscaled), scale)
            }
        }
    }

    /// The rows in the form in which numerics of any scale compare.
    pub(crate) fn comparable(&self) -> Result<ArrayRef, SqlError> {
        let values: PrimitiveArray<Decimal256Type> = (0..self.len())
            .map(|row| {
                if self.is_null(row) {
                    return Ok(None);
                }
                let (unscaled, scale) = self.value(row);
                crate::text::number::rescale(unscaled, scale, numeric::MAX_DIGITS).map(Some)
            })
            .collect::<Result<_, SqlError>>()?;
        Ok(Arc::new(values.with_data_type(numeric::COMPARABLE)))
    }
}

/// A column whose values bring their own scale.
///
/// # Errors
/// 22003 and 0A000 for values of too many digits.
pub(crate) fn column(
    values: impl ExactSizeIterator<Item = Result<Option<(i256, i32)>, SqlError>>,
) -> Result<ArrayRef, SqlError> {
    let mut bytes = Vec::with_capacity(values.len() * numeric::WIDTH as usize);
    let mut valid = Vec::with_capacity(values.len());
    for value in values {
        match value? {
            Some((unscaled, scale)) => {
                bytes.extend_from_slice(&numeric::pack(unscaled, scale)?);
                valid.push(true);
            }
            None => {
                bytes.extend_from_slice(&[0; numeric::WIDTH as usize]);
                valid.push(false);
            }
        }
    }
    let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
    FixedSizeBinaryArray::try_new(numeric::WIDTH, Buffer::from_vec(bytes), nulls)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
}

/// Digits behind the point of a quotient as PostgreSQL chooses them: at least 16 significant ones.
pub(crate) fn quotient_scale((a, a_scale): (i256, i32), (b, b_scale): (i256, i32)) -> i32 {
    let (a_weight, a_digit) = first_digit(a, a_scale);
    let (b_weight, b_digit) = first_digit(b, b_scale);
    let weight = a_weight - b_weight - i32::from(a_digit <= b_digit);
    (16 - weight * 4).max(a_scale).max(b_scale).max(0)
}

/// Place (in groups of four digits) and value of the first group that is not zero.
fn first_digit(unscaled: i256, scale: i32) -> (i32, u32) {
    let text = unscaled.wrapping_abs().to_string();
    if text == "0" {
        return (0, 0);
    }
    // Digits before the point; negative when the number starts behind it.
    let whole = text.len() as i32 - scale;
    let weight = (whole - 1).div_euclid(4);
    let length = (whole - weight * 4) as usize;
    let group: String = text.chars().chain(std::iter::repeat('0')).take(length).collect();
    (weight, group.parse().unwrap_or(0))
}
