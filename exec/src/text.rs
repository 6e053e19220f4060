//! PostgreSQL's text forms of values: what `::text`, the wire and COPY print, and what they read.
//!
//! What it is not: no SQL literals and no wire framing. Dates are printed in style ISO, intervals in style
//! `postgres`, floats with the shortest digits that read back.
//!
//! Invariant: reading what was printed gives the same value.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
    UInt64Type,
};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};
use std::fmt::Write as _;

mod array;
pub mod datetime;
mod datetime_input;
pub mod input;
pub mod interval;
pub mod number;
mod zone;

pub use input::{InputContext, parse_column};
pub use zone::TimeZone;

/// Appends the text of one non-null value. `ty` says which PostgreSQL type the array carries.
///
/// # Errors
/// XX000 when the array cannot carry the type.
pub fn write_value(
    values: &dyn Array,
    row: usize,
    ty: ColumnType,
    zone: &TimeZone,
    out: &mut String,
) -> Result<(), SqlError> {
    if matches!(ty.kind, TypeKind::Int2vector | TypeKind::Oidvector) && !ty.array {
        return array::write_spaced(values, row, zone, out);
    }
    if let (DataType::List(_) | DataType::FixedSizeList(..), false) = (values.data_type(), ty.array) {
        return write_vector(values, row, out);
    }
    if ty.array {
        return array::write_array(values, row, ty, zone, out);
    }
    write_scalar(values, row, ty, zone, out)
}

fn write_scalar(
    values: &dyn Array,
    row: usize,
    ty: ColumnType,
    zone: &TimeZone,
    out: &mut String,
) -> Result<(), SqlError> {
    match values.data_type() {
        DataType::Boolean => out.push(if values.as_boolean().value(row) { 't' } else { 'f' }),
        DataType::Int16 => number::write_int(i64::from(values.as_primitive::<Int16Type>().value(row)), out),
        DataType::Int32 => number::write_int(i64::from(values.as_primitive::<Int32Type>().value(row)), out),
        DataType::Int64 => number::write_int(values.as_primitive::<Int64Type>().value(row), out),
        DataType::UInt32 => write_oid(values.as_primitive::<UInt32Type>().value(row), ty, out),
        DataType::UInt64 => {
            let _ = write!(out, "{}", values.as_primitive::<UInt64Type>().value(row));
        }
        DataType::Float32 => {
            proto::vector::write_float4(values.as_primitive::<Float32Type>().value(row), out)
        }
        DataType::Float64 => {
            proto::vector::write_float8(values.as_primitive::<Float64Type>().value(row), out)
        }
        DataType::Decimal128(_, scale) => {
            number::write_decimal(values.as_primitive::<Decimal128Type>().value(row), *scale, out);
        }
        DataType::Decimal256(_, scale) => {
            number::write_decimal_text(
                &values.as_primitive::<Decimal256Type>().value(row).to_string(),
                *scale,
                out,
            );
        }
        DataType::Utf8 => out.push_str(values.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(values.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(values.as_string_view().value(row)),
        DataType::Binary => number::write_bytea(values.as_binary::<i32>().value(row), out),
        DataType::FixedSizeBinary(proto::numeric::WIDTH) => {
            let (unscaled, scale) = proto::numeric::unpack(values.as_fixed_size_binary().value(row));
            number::write_decimal(unscaled, scale as i8, out);
        }
        DataType::FixedSizeBinary(_) => {
            number::write_uuid(values.as_fixed_size_binary().value(row), out);
        }
        DataType::Date32 => datetime::write_date(values.as_primitive::<Date32Type>().value(row), out),
        DataType::Time64(_) => {
            datetime::write_time(values.as_primitive::<Time64MicrosecondType>().value(row), out);
        }
        DataType::Timestamp(_, None) => {
            datetime::write_timestamp(values.as_primitive::<TimestampMicrosecondType>().value(row), out);
        }
        DataType::Timestamp(_, Some(_)) => {
            datetime::write_timestamptz(
                values.as_primitive::<TimestampMicrosecondType>().value(row),
                zone,
                out,
            );
        }
        DataType::Interval(_) => {
            interval::write_interval(values.as_primitive::<IntervalMonthDayNanoType>().value(row), out);
        }
        DataType::Null => {}
        other => {
            return Err(SqlError::new(ErrorKind::Internal, format!("no text form for Arrow type {other}")));
        }
    }
    Ok(())
}

/// OID-like types print their number; names for `reg*` are resolved by the catalog functions before this.
fn write_oid(oid: u32, ty: ColumnType, out: &mut String) {
    let named = match ty.kind {
        TypeKind::Regtype => ColumnType::from_oid(proto::Oid(oid)).map(ColumnType::display),
        _ => None,
    };
    match named {
        Some(name) => out.push_str(&name),
        None if oid == 0 && ty.kind != TypeKind::Oid => out.push('-'),
        None => {
            let _ = write!(out, "{oid}");
        }
    }
}

fn write_vector(values: &dyn Array, row: usize, out: &mut String) -> Result<(), SqlError> {
    let elements = crate::functions::vectors::Vectors::of(values)?;
    proto::vector::write_text(elements.row(row), out);
    Ok(())
}

#[cfg(test)]
mod tests;
