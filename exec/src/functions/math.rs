//! PostgreSQL's mathematical functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::datatypes::{Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ReturnFieldArgs;
use proto::{ErrorKind, SqlError, TypeKind};

use super::arithmetic::{integer_modulo, numeric, power};
use super::cast::integer_out_of_range;
use super::overload::{Call, PgFunction, binary, scale_of, unary};
use crate::text::number::{divide_rounded, rescale};

fn out_of_range(message: &str) -> SqlError {
    SqlError::new(ErrorKind::NumericValueOutOfRange, message)
}

fn float(call: &Call<'_>, compute: fn(f64) -> Result<f64, SqlError>) -> Result<ArrayRef, SqlError> {
    unary::<Float64Type, Float64Type>(call, |value| {
        let result = compute(value)?;
        if result.is_infinite() && value.is_finite() {
            return Err(out_of_range("value out of range: overflow"));
        }
        Ok(result)
    })
}

fn zero_scale(_: &ReturnFieldArgs<'_>) -> Option<i8> {
    Some(0)
}

/// The scale that a constant second argument asks for, else the first argument's.
fn wanted_scale(args: &ReturnFieldArgs<'_>) -> Option<i8> {
    match args.scalar_arguments.get(1).copied().flatten() {
        Some(ScalarValue::Int32(Some(digits))) => Some((*digits).clamp(0, 37) as i8),
        Some(ScalarValue::Int64(Some(digits))) => Some((*digits).clamp(0, 37) as i8),
        _ => same_scale(args),
    }
}

fn same_scale(args: &ReturnFieldArgs<'_>) -> Option<i8> {
    args.arg_fields.first().and_then(|field| scale_of(field.data_type()))
}

fn quotient_scale(_: &ReturnFieldArgs<'_>) -> Option<i8> {
    Some(numeric::QUOTIENT_SCALE)
}

/// 10^digits, for cutting digits off.
fn power_of_ten(digits: i32) -> i256 {
    (0..digits.clamp(0, 76)).fold(i256::ONE, |value, _| value.wrapping_mul(i256::from_i128(10)))
}

#[derive(Clone, Copy)]
enum Cut {
    Round,
    Truncate,
    Ceiling,
    Floor,
}

/// Brings a decimal to `digits` behind the point and then to the result's scale.
fn cut(value: i256, from: i32, digits: i32, scale: i32, how: Cut) -> Result<i256, SqlError> {
    let digits = digits.min(from).max(-38);
    let divisor = power_of_ten(from - digits);
    let kept = match how {
        Cut::Round => divide_rounded(value, divisor),
        Cut::Truncate => value.wrapping_div(divisor),
        Cut::Ceiling | Cut::Floor => {
            let quotient = value.wrapping_div(divisor);
            let rest = value.wrapping_rem(divisor);
            match how {
                Cut::Ceiling if rest > i256::ZERO => quotient.wrapping_add(i256::ONE),
                Cut::Floor if rest < i256::ZERO => quotient.wrapping_sub(i256::ONE),
                _ => quotient,
            }
        }
    };
    rescale(kept, digits, scale)
}

fn cut_whole(call: &Call<'_>, how: Cut) -> Result<ArrayRef, SqlError> {
    numeric::single(call, |value, from, scale| cut(value, from, 0, scale, how))
}

fn cut_digits(call: &Call<'_>, how: Cut) -> Result<ArrayRef, SqlError> {
    let values = call.numerics(0)?;
    let digits = call.primitive::<Int32Type>(1)?;
    let nulls = arrow::buffer::NullBuffer::union(values.nulls(), digits.nulls());
    numeric::collect(call, nulls, |row, scale| {
        let ((value, from), digits) = (values.value(row), digits.value(row));
        let scale = scale.unwrap_or(digits.max(0));
        Ok((cut(value, from, digits, scale, how)?, scale))
    })
}

fn logarithm(value: f64) -> Result<f64, SqlError> {
    if value == 0.0 {
        return Err(SqlError::new(ErrorKind::InvalidArgumentForLogarithm, "cannot take logarithm of zero"));
    }
    if value < 0.0 {
        let message = "cannot take logarithm of a negative number";
        return Err(SqlError::new(ErrorKind::InvalidArgumentForLogarithm, message));
    }
    Ok(value.ln())
}

fn logarithm_10(value: f64) -> Result<f64, SqlError> {
    logarithm(value).map(|_| value.log10())
}

fn square_root(value: f64) -> Result<f64, SqlError> {
    if value < 0.0 {
        let message = "cannot take square root of a negative number";
        return Err(SqlError::new(ErrorKind::InvalidArgumentForPowerFunction, message));
    }
    Ok(value.sqrt())
}

/// A numeric function computed in float8: 15 digits are right.
fn numeric_through_float(
    call: &Call<'_>,
    compute: fn(f64) -> Result<f64, SqlError>,
) -> Result<ArrayRef, SqlError> {
    numeric::single(call, |value, from, scale| {
        let result = compute(super::cast::decimal_to_float8(value, from))?;
        let decimal = crate::text::number::parse_decimal(&format!("{result:e}"))?;
        rescale(decimal.unscaled, decimal.scale, scale)
    })
}

fn numeric_root(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    numeric::single(call, |value, from, scale| {
        if value < i256::ZERO {
            return square_root(-1.0).map(|_| i256::ZERO);
        }
        Ok(numeric::integer_root(rescale(value, from, scale * 2)?))
    })
}

fn signum(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value * 0.0
    }
}

fn random(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let dice = Arc::clone(&call.session()?.dice);
    let draw = || (dice.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    Ok(Arc::new((0..call.rows()).map(|_| Some(draw())).collect::<Float64Array>()))
}

fn greatest_common_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a.wrapping_rem(b));
    }
    a.wrapping_abs()
}

fn rounding() -> Vec<PgFunction> {
    vec![
        PgFunction::immutable("ceil").on("float8", "float8", |c| float(c, |v| Ok(v.ceil()))).on_numeric(
            "numeric",
            zero_scale,
            |c| cut_whole(c, Cut::Ceiling),
        ),
        PgFunction::immutable("ceiling").on("float8", "float8", |c| float(c, |v| Ok(v.ceil()))).on_numeric(
            "numeric",
            zero_scale,
            |c| cut_whole(c, Cut::Ceiling),
        ),
        PgFunction::immutable("floor").on("float8", "float8", |c| float(c, |v| Ok(v.floor()))).on_numeric(
            "numeric",
            zero_scale,
            |c| cut_whole(c, Cut::Floor),
        ),
        PgFunction::immutable("round")
            .on("float8", "float8", |c| float(c, |v| Ok(v.round_ties_even())))
            .on_numeric("numeric", zero_scale, |c| cut_whole(c, Cut::Round))
            .on_numeric("numeric,int4", wanted_scale, |c| cut_digits(c, Cut::Round)),
        PgFunction::immutable("trunc")
            .on("float8", "float8", |c| float(c, |v| Ok(v.trunc())))
            .on_numeric("numeric", zero_scale, |c| cut_whole(c, Cut::Truncate))
            .on_numeric("numeric,int4", wanted_scale, |c| cut_digits(c, Cut::Truncate)),
        PgFunction::immutable("abs")
            .on("int2", "int2", |c| {
                unary::<Int16Type, Int16Type>(c, |v| {
                    v.checked_abs().ok_or_else(|| integer_out_of_range(TypeKind::Int2))
                })
            })
            .on("int4", "int4", |c| {
                unary::<Int32Type, Int32Type>(c, |v| {
                    v.checked_abs().ok_or_else(|| integer_out_of_range(TypeKind::Int4))
                })
            })
            .on("int8", "int8", |c| {
                unary::<Int64Type, Int64Type>(c, |v| {
                    v.checked_abs().ok_or_else(|| integer_out_of_range(TypeKind::Int8))
                })
            })
            .on("float4", "float4", |c| unary::<Float32Type, Float32Type>(c, |v| Ok(v.abs())))
            .on("float8", "float8", |c| unary::<Float64Type, Float64Type>(c, |v| Ok(v.abs())))
            .on_numeric("numeric", same_scale, |c| numeric::single(c, |v, _, _| Ok(v.wrapping_abs()))),
        PgFunction::immutable("sign").on("float8", "float8", |c| float(c, |v| Ok(signum(v)))).on_numeric(
            "numeric",
            zero_scale,
            |c| numeric::single(c, |v, _, _| Ok(v.signum())),
        ),
    ]
}

/// The mathematical functions.
#[must_use]
pub(super) fn functions() -> Vec<PgFunction> {
    let mut functions = rounding();
    let to_power: fn(&Call<'_>) -> Result<ArrayRef, SqlError> =
        |c| binary::<Float64Type, Float64Type, Float64Type>(c, power);
    functions.extend([
        PgFunction::immutable("sqrt").on("float8", "float8", |c| float(c, square_root)).on_numeric(
            "numeric",
            quotient_scale,
            numeric_root,
        ),
        PgFunction::immutable("cbrt").on("float8", "float8", |c| float(c, |v| Ok(v.cbrt()))),
        PgFunction::immutable("exp").on("float8", "float8", |c| float(c, |v| Ok(v.exp()))).on_numeric(
            "numeric",
            quotient_scale,
            |c| numeric_through_float(c, |v| Ok(v.exp())),
        ),
        PgFunction::immutable("ln").on("float8", "float8", |c| float(c, logarithm)).on_numeric(
            "numeric",
            quotient_scale,
            |c| numeric_through_float(c, logarithm),
        ),
        PgFunction::immutable("log").on("float8", "float8", |c| float(c, logarithm_10)).on_numeric(
            "numeric",
            quotient_scale,
            |c| numeric_through_float(c, logarithm_10),
        ),
        PgFunction::immutable("log10").on("float8", "float8", |c| float(c, logarithm_10)),
        PgFunction::immutable("power").on("float8,float8", "float8", to_power).on_numeric(
            "numeric,numeric",
            quotient_scale,
            numeric::power,
        ),
        PgFunction::immutable("pow").on("float8,float8", "float8", to_power).on_numeric(
            "numeric,numeric",
            quotient_scale,
            numeric::power,
        ),
        PgFunction::immutable("mod")
            .on("int2,int2", "int2", integer_modulo::<Int16Type>)
            .on("int4,int4", "int4", integer_modulo::<Int32Type>)
            .on("int8,int8", "int8", integer_modulo::<Int64Type>)
            .on_numeric("numeric,numeric", numeric::widest_scale, numeric::modulo),
        PgFunction::immutable("gcd").on("int8,int8", "int8", |c| {
            binary::<Int64Type, Int64Type, Int64Type>(c, |a, b| Ok(greatest_common_divisor(a, b)))
        }),
        PgFunction::immutable("pi")
            .on("", "float8", |c| Ok(Arc::new(Float64Array::from(vec![std::f64::consts::PI; c.rows()])))),
        PgFunction::immutable("degrees").on("float8", "float8", |c| float(c, |v| Ok(v.to_degrees()))),
        PgFunction::immutable("radians").on("float8", "float8", |c| float(c, |v| Ok(v.to_radians()))),
        PgFunction::immutable("sin").on("float8", "float8", |c| float(c, |v| Ok(v.sin()))),
        PgFunction::immutable("cos").on("float8", "float8", |c| float(c, |v| Ok(v.cos()))),
        PgFunction::immutable("tan").on("float8", "float8", |c| float(c, |v| Ok(v.tan()))),
        PgFunction::immutable("atan").on("float8", "float8", |c| float(c, |v| Ok(v.atan()))),
        PgFunction::volatile("random").on("", "float8", random),
    ]);
    functions
}
