//! Arithmetic on numeric: computed in 256 bits, kept in 38 digits.
//!
//! Columns of one scale give columns of one scale: sums keep the larger, products add them up to 20 digits, quotients
//! have at least 16. Where an argument has a scale per row, every result has the scale PostgreSQL gives it.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Decimal128Type, i256};
use datafusion::logical_expr::ReturnFieldArgs;
use proto::{ErrorKind, SqlError};

use super::division_by_zero;
use crate::functions::cast::decimal_to_float8;
use crate::functions::numerics;
use crate::functions::overload::{Call, has_own_scales, scale_of};
use crate::text::number::{divide_rounded, numeric_overflow, parse_decimal, rescale, to_i128};

/// Most digits behind the point that a product keeps.
const PRODUCT_SCALE_LIMIT: i8 = 20;
/// Digits behind the point of a quotient.
pub(crate) const QUOTIENT_SCALE: i8 = 16;

/// The scales of the arguments; none when one of them has a scale per row.
fn scales(args: &ReturnFieldArgs<'_>) -> Option<(i8, i8)> {
    if has_own_scales(args.arg_fields) {
        return None;
    }
    let scale = |position: usize| {
        args.arg_fields.get(position).and_then(|field| scale_of(field.data_type())).unwrap_or(0)
    };
    Some((scale(0), scale(1)))
}

pub(crate) fn widest_scale(args: &ReturnFieldArgs<'_>) -> Option<i8> {
    scales(args).map(|(left, right)| left.max(right))
}

pub(crate) fn product_scale(args: &ReturnFieldArgs<'_>) -> Option<i8> {
    scales(args).map(|(left, right)| (left + right).min(PRODUCT_SCALE_LIMIT.max(left).max(right)))
}

pub(crate) fn quotient_scale(args: &ReturnFieldArgs<'_>) -> Option<i8> {
    scales(args).map(|(left, right)| QUOTIENT_SCALE.max(left).max(right))
}

/// A decimal column of the scale the call promised.
pub(crate) fn column(
    call: &Call<'_>,
    values: Vec<i128>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, SqlError> {
    let scale = scale_of(call.result_type()).unwrap_or(0);
    PrimitiveArray::<Decimal128Type>::new(values.into(), nulls)
        .with_precision_and_scale(proto::types::NUMERIC_PRECISION, scale)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
}

/// The scale of the call's result.
pub(crate) fn result_scale(call: &Call<'_>) -> i32 {
    scale_of(call.result_type()).map_or(0, i32::from)
}

/// A value between its carriers: unscaled digits and scale.
type Value = (i256, i32);

/// Collects values of the scale the call promised, or of their own. `compute` is given the scale to compute at when
/// the call promised one; it returns digits at the scale it chose.
pub(crate) fn collect(
    call: &Call<'_>,
    nulls: Option<NullBuffer>,
    compute: impl Fn(usize, Option<i32>) -> Result<Value, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let Some(scale) = scale_of(call.result_type()).map(i32::from) else {
        return numerics::column(
            (0..call.rows()).map(|row| if is_null(row) { Ok(None) } else { compute(row, None).map(Some) }),
        );
    };
    let mut values = Vec::with_capacity(call.rows());
    for row in 0..call.rows() {
        if is_null(row) {
            values.push(0);
            continue;
        }
        let (value, from) = compute(row, Some(scale))?;
        values.push(to_i128(rescale(value, from, scale)?)?);
    }
    column(call, values, nulls)
}

/// Computes on two numerics at the result's scale, or at the scale a rule finds for each row.
fn pairs(
    call: &Call<'_>,
    rule: impl Fn(Value, Value) -> i32,
    compute: impl Fn(Value, Value, i32) -> Result<i256, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let (left, right) = (call.numerics(0)?, call.numerics(1)?);
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    collect(call, nulls, |row, scale| {
        let (a, b) = (left.value(row), right.value(row));
        let scale = scale.unwrap_or_else(|| rule(a, b));
        Ok((compute(a, b, scale)?, scale))
    })
}

/// Computes on one numeric; the function returns an unscaled value at the scale it is given.
pub(crate) fn single(
    call: &Call<'_>,
    compute: impl Fn(i256, i32, i32) -> Result<i256, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let values = call.numerics(0)?;
    collect(call, values.nulls().cloned(), |row, scale| {
        let (value, from) = values.value(row);
        let scale = scale.unwrap_or(from);
        Ok((compute(value, from, scale)?, scale))
    })
}

fn wider((_, a): Value, (_, b): Value) -> i32 {
    a.max(b)
}

pub(super) fn add(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    pairs(call, wider, |(a, a_scale), (b, b_scale), scale| {
        rescale(a, a_scale, scale)?.checked_add(rescale(b, b_scale, scale)?).ok_or_else(numeric_overflow)
    })
}

pub(super) fn subtract(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    pairs(call, wider, |(a, a_scale), (b, b_scale), scale| {
        rescale(a, a_scale, scale)?.checked_sub(rescale(b, b_scale, scale)?).ok_or_else(numeric_overflow)
    })
}

pub(super) fn multiply(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    pairs(
        call,
        |(_, a), (_, b)| a + b,
        |(a, a_scale), (b, b_scale), scale| {
            rescale(a.checked_mul(b).ok_or_else(numeric_overflow)?, a_scale + b_scale, scale)
        },
    )
}

pub(super) fn divide(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    pairs(call, numerics::quotient_scale, |(a, a_scale), (b, b_scale), scale| {
        quotient(a, a_scale, b, b_scale, scale)
    })
}

/// Quotient of two decimals at a scale, rounded half away from zero.
pub(crate) fn quotient(a: i256, a_scale: i32, b: i256, b_scale: i32, scale: i32) -> Result<i256, SqlError> {
    if b == i256::ZERO {
        return Err(division_by_zero());
    }
    // a / 10^as over b / 10^bs at `scale` digits is a * 10^(scale + bs - as) / b.
    let shift = scale + b_scale - a_scale;
    if shift >= 0 {
        return Ok(divide_rounded(rescale(a, 0, shift)?, b));
    }
    Ok(divide_rounded(a, rescale(b, 0, -shift)?))
}

/// The square root of a non-negative integer, rounded to the nearest one.
#[must_use]
pub(crate) fn integer_root(value: i256) -> i256 {
    if value <= i256::ONE {
        return value;
    }
    let two = i256::from_i128(2);
    // Newton's iteration falls from any start above the root; the float is only a first guess.
    let guess = decimal_to_float8(value, 0).sqrt();
    let mut root = i256::from_f64(guess * 1.000_001).unwrap_or(value).wrapping_add(i256::ONE);
    loop {
        let next = root.wrapping_add(value.wrapping_div(root)).wrapping_div(two);
        if next >= root {
            break;
        }
        root = next;
    }
    // root² <= value < (root + 1)²: above root² + root the next integer is nearer.
    if value.wrapping_sub(root.wrapping_mul(root)) > root { root.wrapping_add(i256::ONE) } else { root }
}

pub(crate) fn modulo(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    pairs(call, wider, |(a, a_scale), (b, b_scale), scale| {
        let (a, b) = (rescale(a, a_scale, scale)?, rescale(b, b_scale, scale)?);
        if b == i256::ZERO { Err(division_by_zero()) } else { Ok(a.wrapping_rem(b)) }
    })
}

pub(super) fn negate(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    single(call, |value, _, _| Ok(value.wrapping_neg()))
}

/// Integer powers are exact up to the carrier's digits; others go through float8.
pub(crate) fn power(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let rule = |a, b| wider(a, b).max(i32::from(QUOTIENT_SCALE));
    pairs(call, rule, |(a, a_scale), (b, b_scale), scale| {
        let exponent = decimal_to_float8(b, b_scale);
        let value = super::power(decimal_to_float8(a, a_scale), exponent)?;
        let decimal = parse_decimal(&format!("{value:e}"))?;
        rescale(decimal.unscaled, decimal.scale, scale)
    })
}
