//! Text output: one writer per Arrow form, over the text forms of `exec::text`.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType, UInt32Type,
};
use exec::text::{datetime, interval, number, write_value};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::binary::Vectors;
use super::{EncodeContext, WriteValue};

/// How values of a column are written as text.
pub(super) fn writer(
    array: &ArrayRef,
    ty: ColumnType,
    context: &EncodeContext,
) -> Result<WriteValue, SqlError> {
    let zone = context.zone;
    if ty.array {
        return general(array, ty, context);
    }
    Ok(match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean().values().clone();
            Box::new(move |row, out| out.push(if values.value(row) { b't' } else { b'f' }))
        }
        DataType::Int16 => display::<Int16Type>(array),
        DataType::Int32 => display::<Int32Type>(array),
        DataType::Int64 => display::<Int64Type>(array),
        DataType::UInt32 if matches!(ty.kind, TypeKind::Oid | TypeKind::Xid) => display::<UInt32Type>(array),
        DataType::Float32 => with_text::<Float32Type>(array, proto::vector::write_float4),
        DataType::Float64 => with_text::<Float64Type>(array, proto::vector::write_float8),
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            with_text::<Decimal128Type>(array, move |value, text| number::write_decimal(value, scale, text))
        }
        DataType::Decimal256(_, scale) => {
            let scale = *scale;
            with_text::<Decimal256Type>(array, move |value, text| {
                number::write_decimal_text(&value.to_string(), scale, text);
            })
        }
        DataType::Utf8 => strings(array),
        DataType::Binary => bytes(array, context.bytea_escape),
        DataType::FixedSizeBinary(proto::numeric::WIDTH) => {
            let values = array.as_fixed_size_binary().clone();
            through_text(move |row, text| {
                let (unscaled, scale) = proto::numeric::unpack(values.value(row));
                number::write_decimal(unscaled, scale as i8, text);
            })
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary().clone();
            through_text(move |row, text| number::write_uuid(values.value(row), text))
        }
        DataType::Date32 => with_text::<Date32Type>(array, datetime::write_date),
        DataType::Time64(_) => with_text::<Time64MicrosecondType>(array, datetime::write_time),
        DataType::Timestamp(_, None) => {
            with_text::<TimestampMicrosecondType>(array, datetime::write_timestamp)
        }
        DataType::Timestamp(_, Some(_)) => {
            with_text::<TimestampMicrosecondType>(array, move |value, text| {
                datetime::write_timestamptz(value, &zone, text);
            })
        }
        DataType::Interval(_) => with_text::<IntervalMonthDayNanoType>(array, interval::write_interval),
        DataType::List(item) | DataType::FixedSizeList(item, _)
            if ty.kind == TypeKind::Vector && *item.data_type() == DataType::Float32 =>
        {
            let vectors = Vectors::of(array)?;
            through_text(move |row, text| proto::vector::write_text(vectors.row(row), text))
        }
        DataType::List(_) if ty.kind == TypeKind::Int2vector => blank_separated::<Int16Type>(array),
        DataType::List(_) if ty.kind == TypeKind::Oidvector => blank_separated::<UInt32Type>(array),
        DataType::Null => Box::new(|_, _| {}),
        _ => return general(array, ty, context),
    })
}

fn display<T>(array: &ArrayRef) -> WriteValue
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display,
{
    let values = array.as_primitive::<T>().values().clone();
    // Writing to a vector does not fail.
    Box::new(move |row, out| drop(write!(out, "{}", values[row])))
}

fn with_text<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    write: impl Fn(T::Native, &mut String) + Send + 'static,
) -> WriteValue {
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    through_text(move |row, text| write(values.value(row), text))
}

fn strings(array: &ArrayRef) -> WriteValue {
    let values = array.as_string::<i32>().clone();
    Box::new(move |row, out| out.extend_from_slice(values.value(row).as_bytes()))
}

fn bytes(array: &ArrayRef, escape: bool) -> WriteValue {
    let values = array.as_binary::<i32>().clone();
    if escape {
        return Box::new(move |row, out| write_escaped(values.value(row), out));
    }
    Box::new(move |row, out| write_hex(values.value(row), out))
}

/// Makes a writer of bytes from one of strings; the string is kept from value to value.
fn through_text(write: impl Fn(usize, &mut String) + Send + 'static) -> WriteValue {
    let scratch = RefCell::new(String::new());
    Box::new(move |row, out| {
        let mut text = scratch.borrow_mut();
        text.clear();
        write(row, &mut text);
        out.extend_from_slice(text.as_bytes());
    })
}

/// `int2vector` and `oidvector`: numbers with blanks between them.
fn blank_separated<T>(array: &ArrayRef) -> WriteValue
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display,
{
    let lists = array.as_list::<i32>().clone();
    Box::new(move |row, out| {
        let elements = lists.value(row);
        for (position, value) in elements.as_primitive::<T>().values().iter().enumerate() {
            let separator = if position == 0 { "" } else { " " };
            drop(write!(out, "{separator}{value}"));
        }
    })
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// `bytea_output = escape`: printable bytes as they are, backslash doubled, the rest in octal.
fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x20..=0x7e => out.push(byte),
            _ => drop(write!(out, "\\{byte:03o}")),
        }
    }
}

/// Everything that is not worth a writer of its own: arrays, names of `reg*` types.
fn general(array: &ArrayRef, ty: ColumnType, context: &EncodeContext) -> Result<WriteValue, SqlError> {
    if let DataType::Utf8 = array.data_type() {
        return Ok(strings(array));
    }
    // What the general writer refuses, it refuses for every row of the column: ask before the first is sent.
    if let Some(row) = (0..array.len()).find(|&row| array.is_valid(row)) {
        write_value(array.as_ref(), row, ty, &context.zone, &mut String::new())?;
    }
    let (array, zone) = (Arc::clone(array), context.zone);
    Ok(through_text(move |row, text| {
        if let Err(error) = write_value(array.as_ref(), row, ty, &zone, text) {
            debug_assert!(false, "{error}");
        }
    }))
}

/// A column that cannot be written at all.
pub(super) fn unwritable(array: &ArrayRef, ty: ColumnType) -> SqlError {
    SqlError::new(
        ErrorKind::Internal,
        format!("a result of Arrow type {} cannot be sent as {}", array.data_type(), ty.display()),
    )
}
