//! PostgreSQL's arithmetic operators: checked, with PostgreSQL's result types and messages.
//!
//! Every operator is a `PgFunction` whose name is the operator; a prefix operator is an overload with one
//! argument. Comparisons and boolean operators are DataFusion's own, except on vectors.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{
    ArrowNativeTypeOp, ArrowPrimitiveType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use proto::{ErrorKind, SqlError, TypeKind};

use super::cast::{integer_out_of_range, text_of};
use super::overload::{Call, PgFunction, binary, unary};
use super::vectors;

mod dates;
pub(crate) mod numeric;

pub(crate) use dates::shift_local;

/// 22012.
pub(crate) fn division_by_zero() -> SqlError {
    SqlError::new(ErrorKind::DivisionByZero, "division by zero")
}

fn float_range(how: &str) -> SqlError {
    SqlError::new(ErrorKind::NumericValueOutOfRange, format!("value out of range: {how}"))
}

/// An integer type with the name its overflow is reported under.
trait Integer: ArrowPrimitiveType {
    const KIND: TypeKind;
}

impl Integer for Int16Type {
    const KIND: TypeKind = TypeKind::Int2;
}
impl Integer for Int32Type {
    const KIND: TypeKind = TypeKind::Int4;
}
impl Integer for Int64Type {
    const KIND: TypeKind = TypeKind::Int8;
}

type CheckedOperation<T> = fn(
    <T as ArrowPrimitiveType>::Native,
    <T as ArrowPrimitiveType>::Native,
) -> Result<<T as ArrowPrimitiveType>::Native, arrow::error::ArrowError>;

fn checked<T: Integer>(call: &Call<'_>, compute: CheckedOperation<T>) -> Result<ArrayRef, SqlError> {
    binary::<T, T, T>(call, |a, b| compute(a, b).map_err(|_| integer_out_of_range(T::KIND)))
}

fn integer_add<T: Integer>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    checked::<T>(call, ArrowNativeTypeOp::add_checked)
}

fn integer_subtract<T: Integer>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    checked::<T>(call, ArrowNativeTypeOp::sub_checked)
}

fn integer_multiply<T: Integer>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    checked::<T>(call, ArrowNativeTypeOp::mul_checked)
}

fn integer_divide<T: Integer>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    binary::<T, T, T>(call, |a, b| {
        if b.is_zero() {
            return Err(division_by_zero());
        }
        a.div_checked(b).map_err(|_| integer_out_of_range(T::KIND))
    })
}

pub(crate) fn integer_modulo<T: ArrowPrimitiveType>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    binary::<T, T, T>(call, |a, b| if b.is_zero() { Err(division_by_zero()) } else { Ok(a.mod_wrapping(b)) })
}

fn integer_negate<T: Integer>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    unary::<T, T>(call, |a| a.neg_checked().map_err(|_| integer_out_of_range(T::KIND)))
}

/// Floats: infinity from finite numbers and zero from others are errors, as in PostgreSQL.
trait Float: ArrowPrimitiveType {
    fn finite(value: Self::Native) -> bool;
}

impl Float for Float32Type {
    fn finite(value: f32) -> bool {
        value.is_finite()
    }
}
impl Float for Float64Type {
    fn finite(value: f64) -> bool {
        value.is_finite()
    }
}

fn float_binary<T: Float>(
    call: &Call<'_>,
    underflows: bool,
    compute: fn(T::Native, T::Native) -> T::Native,
) -> Result<ArrayRef, SqlError> {
    binary::<T, T, T>(call, |a, b| {
        let value = compute(a, b);
        if !T::finite(value) && T::finite(a) && T::finite(b) {
            return Err(float_range("overflow"));
        }
        if underflows && value.is_zero() && !a.is_zero() && T::finite(b) && !b.is_zero() {
            return Err(float_range("underflow"));
        }
        Ok(value)
    })
}

fn float_add<T: Float>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    float_binary::<T>(call, false, ArrowNativeTypeOp::add_wrapping)
}

fn float_subtract<T: Float>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    float_binary::<T>(call, false, ArrowNativeTypeOp::sub_wrapping)
}

fn float_multiply<T: Float>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    float_binary::<T>(call, true, ArrowNativeTypeOp::mul_wrapping)
}

fn float_divide<T: Float>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    binary::<T, T, T>(call, |a, b| {
        if b.is_zero() {
            // NaN / 0 is NaN in PostgreSQL, everything else is refused.
            return if a.is_eq(a.div_wrapping(a)) && !T::finite(a) { Ok(a) } else { Err(division_by_zero()) };
        }
        let value = a.div_wrapping(b);
        if !T::finite(value) && T::finite(a) {
            return Err(float_range("overflow"));
        }
        if value.is_zero() && !a.is_zero() && T::finite(b) {
            return Err(float_range("underflow"));
        }
        Ok(value)
    })
}

fn float_negate<T: Float>(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    unary::<T, T>(call, |a| Ok(a.neg_wrapping()))
}

/// `x ^ y` as PostgreSQL's `dpow` defines its errors.
///
/// # Errors
/// 2201F for zero to a negative power and a negative number to a fraction, 22003 for overflow.
pub(crate) fn power(a: f64, b: f64) -> Result<f64, SqlError> {
    let invalid = |message: &str| SqlError::new(ErrorKind::InvalidArgumentForPowerFunction, message);
    if a == 0.0 && b < 0.0 {
        return Err(invalid("zero raised to a negative power is undefined"));
    }
    if a < 0.0 && b.is_finite() && b.fract() != 0.0 {
        return Err(invalid("a negative number raised to a non-integer power yields a complex result"));
    }
    let value = a.powf(b);
    if value.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(float_range("overflow"));
    }
    if value == 0.0 && a != 0.0 && a.is_finite() && b.is_finite() {
        return Err(float_range("underflow"));
    }
    Ok(value)
}

/// Text next to anything: the other side's text form.
fn concat_text(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let zone = call.session().map(|session| session.time_zone).unwrap_or_default();
    let side = |position: usize| -> Result<StringArray, SqlError> {
        let ty = call.argument_type(position);
        if ty.is_textual() { call.text(position) } else { text_of(&call.array(position)?, ty, &zone) }
    };
    let (left, right) = (side(0)?, side(1)?);
    let joined: StringArray = (0..call.rows())
        .map(|row| {
            (!left.is_null(row) && !right.is_null(row))
                .then(|| format!("{}{}", left.value(row), right.value(row)))
        })
        .collect();
    Ok(Arc::new(joined))
}

fn bitwise<T: ArrowPrimitiveType>(
    call: &Call<'_>,
    compute: fn(T::Native, T::Native) -> T::Native,
) -> Result<ArrayRef, SqlError> {
    binary::<T, T, T>(call, |a, b| Ok(compute(a, b)))
}

fn add() -> PgFunction {
    let function = PgFunction::immutable("+")
        .on("int2,int2", "int2", integer_add::<Int16Type>)
        .on("int4,int4", "int4", integer_add::<Int32Type>)
        .on("int8,int8", "int8", integer_add::<Int64Type>)
        .on("float4,float4", "float4", float_add::<Float32Type>)
        .on("float8,float8", "float8", float_add::<Float64Type>)
        .on("float4,float8", "float8", float_add::<Float64Type>)
        .on("float8,float4", "float8", float_add::<Float64Type>)
        .on_numeric("numeric,numeric", numeric::widest_scale, numeric::add)
        .on("vector,vector", "vector", vectors::add);
    let function = ["int2", "int4", "int8", "float4", "float8", "numeric"]
        .into_iter()
        .fold(function, |function, ty| function.on(ty, ty, |call| call.array(0)));
    dates::add(function)
}

fn subtract() -> PgFunction {
    let function = PgFunction::immutable("-")
        .on("int2,int2", "int2", integer_subtract::<Int16Type>)
        .on("int4,int4", "int4", integer_subtract::<Int32Type>)
        .on("int8,int8", "int8", integer_subtract::<Int64Type>)
        .on("float4,float4", "float4", float_subtract::<Float32Type>)
        .on("float8,float8", "float8", float_subtract::<Float64Type>)
        .on("float4,float8", "float8", float_subtract::<Float64Type>)
        .on("float8,float4", "float8", float_subtract::<Float64Type>)
        .on_numeric("numeric,numeric", numeric::widest_scale, numeric::subtract)
        .on("vector,vector", "vector", vectors::subtract)
        .on("int2", "int2", integer_negate::<Int16Type>)
        .on("int4", "int4", integer_negate::<Int32Type>)
        .on("int8", "int8", integer_negate::<Int64Type>)
        .on("float4", "float4", float_negate::<Float32Type>)
        .on("float8", "float8", float_negate::<Float64Type>)
        .on_numeric("numeric", numeric::widest_scale, numeric::negate);
    dates::subtract(function)
}

fn multiply() -> PgFunction {
    let function = PgFunction::immutable("*")
        .on("int2,int2", "int2", integer_multiply::<Int16Type>)
        .on("int4,int4", "int4", integer_multiply::<Int32Type>)
        .on("int8,int8", "int8", integer_multiply::<Int64Type>)
        .on("float4,float4", "float4", float_multiply::<Float32Type>)
        .on("float8,float8", "float8", float_multiply::<Float64Type>)
        .on("float4,float8", "float8", float_multiply::<Float64Type>)
        .on("float8,float4", "float8", float_multiply::<Float64Type>)
        .on_numeric("numeric,numeric", numeric::product_scale, numeric::multiply)
        .on("vector,vector", "vector", vectors::multiply);
    dates::multiply(function)
}

fn divide() -> PgFunction {
    let function = PgFunction::immutable("/")
        .on("int2,int2", "int2", integer_divide::<Int16Type>)
        .on("int4,int4", "int4", integer_divide::<Int32Type>)
        .on("int8,int8", "int8", integer_divide::<Int64Type>)
        .on("float4,float4", "float4", float_divide::<Float32Type>)
        .on("float8,float8", "float8", float_divide::<Float64Type>)
        .on("float4,float8", "float8", float_divide::<Float64Type>)
        .on("float8,float4", "float8", float_divide::<Float64Type>)
        .on_numeric("numeric,numeric", numeric::quotient_scale, numeric::divide);
    dates::divide(function)
}

/// The operators as functions named by their text.
#[must_use]
pub(crate) fn operators() -> Vec<PgFunction> {
    vec![
        add(),
        subtract(),
        multiply(),
        divide(),
        PgFunction::immutable("%")
            .on("int2,int2", "int2", integer_modulo::<Int16Type>)
            .on("int4,int4", "int4", integer_modulo::<Int32Type>)
            .on("int8,int8", "int8", integer_modulo::<Int64Type>)
            .on_numeric("numeric,numeric", numeric::widest_scale, numeric::modulo),
        PgFunction::immutable("^")
            .on("float8,float8", "float8", |call| {
                binary::<Float64Type, Float64Type, Float64Type>(call, power)
            })
            .on_numeric("numeric,numeric", numeric::quotient_scale, numeric::power),
        PgFunction::stable("||")
            .on("text,text", "text", concat_text)
            .on("text,any", "text", concat_text)
            .on("any,text", "text", concat_text)
            .on("vector,vector", "vector", vectors::concat)
            .on("anyarray,anyarray", "anyarray", super::arrays::concat)
            .on("anyarray,anyelement", "anyarray", super::arrays::append)
            .on("anyelement,anyarray", "anyarray", super::arrays::prepend),
        PgFunction::immutable("@>").on("anyarray,anyarray", "bool", super::arrays::contains),
        PgFunction::immutable("<@").on("anyarray,anyarray", "bool", super::arrays::contained),
        PgFunction::immutable("&&").on("anyarray,anyarray", "bool", super::arrays::overlaps),
        PgFunction::immutable("&")
            .on("int2,int2", "int2", |call| bitwise::<Int16Type>(call, |a, b| a & b))
            .on("int4,int4", "int4", |call| bitwise::<Int32Type>(call, |a, b| a & b))
            .on("int8,int8", "int8", |call| bitwise::<Int64Type>(call, |a, b| a & b)),
        PgFunction::immutable("|")
            .on("int2,int2", "int2", |call| bitwise::<Int16Type>(call, |a, b| a | b))
            .on("int4,int4", "int4", |call| bitwise::<Int32Type>(call, |a, b| a | b))
            .on("int8,int8", "int8", |call| bitwise::<Int64Type>(call, |a, b| a | b)),
        PgFunction::immutable("#")
            .on("int2,int2", "int2", |call| bitwise::<Int16Type>(call, |a, b| a ^ b))
            .on("int4,int4", "int4", |call| bitwise::<Int32Type>(call, |a, b| a ^ b))
            .on("int8,int8", "int8", |call| bitwise::<Int64Type>(call, |a, b| a ^ b)),
        PgFunction::immutable("~")
            .on("int2", "int2", |call| unary::<Int16Type, Int16Type>(call, |a| Ok(!a)))
            .on("int4", "int4", |call| unary::<Int32Type, Int32Type>(call, |a| Ok(!a)))
            .on("int8", "int8", |call| unary::<Int64Type, Int64Type>(call, |a| Ok(!a))),
        PgFunction::immutable("<<")
            .on("int4,int4", "int4", |call| bitwise::<Int32Type>(call, |a, b| a.wrapping_shl(b as u32)))
            .on("int8,int4", "int8", |call| {
                binary::<Int64Type, Int32Type, Int64Type>(call, |a, b| Ok(a.wrapping_shl(b as u32)))
            }),
        PgFunction::immutable(">>")
            .on("int4,int4", "int4", |call| bitwise::<Int32Type>(call, |a, b| a.wrapping_shr(b as u32)))
            .on("int8,int4", "int8", |call| {
                binary::<Int64Type, Int32Type, Int64Type>(call, |a, b| Ok(a.wrapping_shr(b as u32)))
            }),
    ]
}
