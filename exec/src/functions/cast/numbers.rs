//! Casts among bool, integers, floats, numeric and OIDs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    UInt32Type, i256,
};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use crate::functions::numerics::{self, Numerics};
use crate::functions::resolve::is_oid_like;
use crate::text::input::check_precision;
use crate::text::number;

/// 22003 for an integer type.
pub(crate) fn integer_out_of_range(kind: TypeKind) -> SqlError {
    let name = match kind {
        TypeKind::Int2 => "smallint",
        TypeKind::Int4 => "integer",
        TypeKind::Int8 => "bigint",
        _ => "OID",
    };
    SqlError::new(ErrorKind::NumericValueOutOfRange, format!("{name} out of range"))
}

/// A number between its old and its new carrier.
#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Float(f64),
    Float4(f32),
    /// Unscaled digits and scale.
    Decimal(i256, i32),
}

/// Converts when both types are numbers (or bool); none otherwise.
pub(super) fn convert(
    array: &ArrayRef,
    from: TypeKind,
    to: ColumnType,
    wanted: &DataType,
) -> Result<Option<ArrayRef>, SqlError> {
    if from == to.kind && *array.data_type() == *wanted && from != TypeKind::Numeric {
        return Ok(Some(Arc::clone(array)));
    }
    Ok(Some(match (array.data_type(), to.kind) {
        (DataType::Boolean, TypeKind::Int4) => {
            let values = array.as_boolean();
            Arc::new(values.iter().map(|value| value.map(i32::from)).collect::<PrimitiveArray<Int32Type>>())
        }
        (DataType::Int32, TypeKind::Bool) => {
            let values = array.as_primitive::<Int32Type>();
            Arc::new(values.iter().map(|value| value.map(|value| value != 0)).collect::<BooleanArray>())
        }
        (DataType::Int16, _) => return each(array, to, wanted, primitive::<Int16Type>(array, |v| v.into())),
        (DataType::Int32, _) => return each(array, to, wanted, primitive::<Int32Type>(array, |v| v.into())),
        (DataType::Int64, _) => return each(array, to, wanted, primitive::<Int64Type>(array, Number::Int)),
        (DataType::UInt32, _) => {
            return each(array, to, wanted, primitive::<UInt32Type>(array, |v| v.into()));
        }
        (DataType::Float32, _) => {
            return each(array, to, wanted, primitive::<Float32Type>(array, Number::Float4));
        }
        (DataType::Float64, _) => {
            return each(array, to, wanted, primitive::<Float64Type>(array, Number::Float));
        }
        _ if from == TypeKind::Numeric => {
            let values = Numerics::of(array)?;
            return each(array, to, wanted, |row| {
                let (unscaled, scale) = values.value(row);
                Number::Decimal(unscaled, scale)
            });
        }
        _ => return Ok(None),
    }))
}

macro_rules! from_integer {
    ($($integer:ty),*) => {
        $(impl From<$integer> for Number {
            fn from(value: $integer) -> Self {
                Self::Int(i64::from(value))
            }
        })*
    };
}

from_integer!(i16, i32, u32);

/// The number of a row of a primitive array.
fn primitive<A: ArrowPrimitiveType>(
    array: &ArrayRef,
    number: impl Fn(A::Native) -> Number,
) -> impl Fn(usize) -> Number {
    let values = array.as_primitive::<A>();
    move |row| number(values.value(row))
}

/// Converts every row that is not NULL.
fn collect<R: ArrowPrimitiveType>(
    array: &ArrayRef,
    convert: impl Fn(usize) -> Result<R::Native, SqlError>,
) -> Result<PrimitiveArray<R>, SqlError> {
    let nulls = array.nulls();
    let mut values = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let null = nulls.is_some_and(|nulls| nulls.is_null(row));
        values.push(if null { R::Native::default() } else { convert(row)? });
    }
    Ok(PrimitiveArray::new(values.into(), nulls.cloned()))
}

fn each(
    array: &ArrayRef,
    to: ColumnType,
    wanted: &DataType,
    number: impl Fn(usize) -> Number,
) -> Result<Option<ArrayRef>, SqlError> {
    let integer = |row: usize, minimum: i64, maximum: i64| to_integer(number(row), to.kind, minimum, maximum);
    Ok(Some(match to.kind {
        TypeKind::Int2 => Arc::new(collect::<Int16Type>(array, |row| {
            integer(row, i64::from(i16::MIN), i64::from(i16::MAX)).map(|v| v as i16)
        })?),
        TypeKind::Int4 => Arc::new(collect::<Int32Type>(array, |row| {
            integer(row, i64::from(i32::MIN), i64::from(i32::MAX)).map(|v| v as i32)
        })?),
        TypeKind::Int8 => Arc::new(collect::<Int64Type>(array, |row| integer(row, i64::MIN, i64::MAX))?),
        kind if is_oid_like(kind) => Arc::new(collect::<UInt32Type>(array, |row| {
            to_integer(number(row), TypeKind::Oid, 0, i64::from(u32::MAX)).map(|v| v as u32)
        })?),
        TypeKind::Float4 => Arc::new(collect::<Float32Type>(array, |row| to_float4(number(row)))?),
        TypeKind::Float8 => Arc::new(collect::<Float64Type>(array, |row| to_float8(number(row)))?),
        TypeKind::Numeric => match wanted {
            DataType::Decimal128(_, scale) => {
                let values =
                    collect::<Decimal128Type>(array, |row| to_decimal(number(row), i32::from(*scale), to))?;
                let values = values
                    .with_precision_and_scale(proto::types::NUMERIC_PRECISION, *scale)
                    .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))?;
                Arc::new(values)
            }
            _ => numerics::column(
                (0..array.len())
                    .map(|row| if array.is_null(row) { Ok(None) } else { digits_of(number(row)).map(Some) }),
            )?,
        },
        _ => return Ok(None),
    }))
}

fn to_integer(value: Number, kind: TypeKind, minimum: i64, maximum: i64) -> Result<i64, SqlError> {
    let in_range = |value: i64| {
        if (minimum..=maximum).contains(&value) { Ok(value) } else { Err(integer_out_of_range(kind)) }
    };
    match value {
        Number::Int(value) => in_range(value),
        Number::Float4(value) => float_to_integer(f64::from(value), kind).and_then(in_range),
        Number::Float(value) => float_to_integer(value, kind).and_then(in_range),
        Number::Decimal(unscaled, scale) => {
            let rounded = number::rescale(unscaled, scale, 0)?;
            let value = rounded.to_i128().and_then(|value| i64::try_from(value).ok());
            value.ok_or_else(|| integer_out_of_range(kind)).and_then(in_range)
        }
    }
}

/// Rounds half to even, as `rint` does.
fn float_to_integer(value: f64, kind: TypeKind) -> Result<i64, SqlError> {
    let rounded = value.round_ties_even();
    // 2^63 itself is out of range and is what i64::MAX becomes as a float.
    if rounded.is_nan() || rounded < -(2_f64.powi(63)) || rounded >= 2_f64.powi(63) {
        return Err(integer_out_of_range(kind));
    }
    Ok(rounded as i64)
}

fn to_float4(value: Number) -> Result<f32, SqlError> {
    match value {
        Number::Int(value) => Ok(value as f32),
        Number::Float4(value) => Ok(value),
        Number::Float(value) => {
            let narrow = value as f32;
            if narrow.is_infinite() && value.is_finite() {
                return Err(SqlError::new(ErrorKind::NumericValueOutOfRange, "value out of range: overflow"));
            }
            if narrow == 0.0 && value != 0.0 {
                return Err(SqlError::new(
                    ErrorKind::NumericValueOutOfRange,
                    "value out of range: underflow",
                ));
            }
            Ok(narrow)
        }
        Number::Decimal(unscaled, scale) => number::parse_float4(&decimal_text(unscaled, scale)),
    }
}

fn to_float8(value: Number) -> Result<f64, SqlError> {
    match value {
        Number::Int(value) => Ok(value as f64),
        Number::Float4(value) => Ok(f64::from(value)),
        Number::Float(value) => Ok(value),
        Number::Decimal(unscaled, scale) => Ok(decimal_to_float8(unscaled, scale)),
    }
}

/// The nearest float8 of a decimal.
pub(crate) fn decimal_to_float8(unscaled: i256, scale: i32) -> f64 {
    const EXACT: i128 = 1 << 53;
    match unscaled.to_i128() {
        // Both operands are exact, so one division rounds once.
        Some(value) if value.abs() < EXACT && (0..=22).contains(&scale) => value as f64 / 10_f64.powi(scale),
        _ => decimal_text(unscaled, scale).parse().unwrap_or(f64::NAN),
    }
}

fn decimal_text(unscaled: i256, scale: i32) -> String {
    let mut text = String::new();
    number::write_decimal_text(&unscaled.to_string(), scale as i8, &mut text);
    text
}

/// A float's digits as `float8_numeric` takes them: 15 significant ones (6 for float4).
pub(super) fn float_digits(value: f64, digits: usize) -> String {
    let text = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    format!("{mantissa}e{exponent}")
}

/// Unscaled digits and scale of a number.
fn digits_of(value: Number) -> Result<(i256, i32), SqlError> {
    Ok(match value {
        Number::Int(value) => (i256::from_i128(i128::from(value)), 0),
        Number::Decimal(unscaled, from) => (unscaled, from),
        Number::Float(value) => float_to_decimal(value, 15)?,
        Number::Float4(value) => float_to_decimal(f64::from(value), 6)?,
    })
}

fn to_decimal(value: Number, scale: i32, ty: ColumnType) -> Result<i128, SqlError> {
    let (unscaled, from) = digits_of(value)?;
    let result = number::to_i128(number::rescale(unscaled, from, scale)?)?;
    check_precision(result, ty)?;
    Ok(result)
}

fn float_to_decimal(value: f64, digits: usize) -> Result<(i256, i32), SqlError> {
    if !value.is_finite() {
        return Err(SqlError::unsupported("numeric NaN and infinity"));
    }
    let decimal = number::parse_decimal(&float_digits(value, digits))?;
    Ok((decimal.unscaled, decimal.scale))
}
