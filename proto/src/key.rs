//! The byte form of a key: one comparable byte string per row, whatever the columns.
//!
//! Layout per column, in key order: int2/int4/int8 as 2/4/8 bytes big-endian with the sign bit flipped; bool as
//! one byte; float4/float8 as the order-preserving transform of their bits (zero is positive, NaN sorts
//! last); date as int4, time and timestamps as int8; numeric(p,s) as its 16 unscaled bytes, numeric as the 32 bytes at
//! 38 digits behind the point, interval as its 16 bytes of microseconds (a month is 30 days), signs flipped too; uuid
//! as it is; text and bytea as their bytes with 0x00 written 0x00 0xFF, ended by 0x00 0x00, character(n) without the
//! blanks at its end; jsonb as `json::append_key`; arrays and vectors as 0x01 before every element (0x02 for NULL) and
//! 0x00 at the end. Byte order equals column order, so a key file can be sorted and range-scanned.
//!
//! A key whose NULLs are like one another (NULLS NOT DISTINCT) has 0x01 before every column's bytes, and 0x02 alone for
//! NULL.
//!
//! Invariant: equal keys have equal bytes, and a byte string is the key of equal values only.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use arrow::error::ArrowError;

use crate::error::{ErrorKind, SqlError};
use crate::types::{ColumnType, TypeKind};
use crate::{json, numeric};

/// Encodes the key of every row of `batch` from the columns at `columns`.
///
/// # Errors
/// 0A000 for a type that cannot be a key. NULL keys are the caller's mistake: NOT NULL is checked before.
pub fn encode_keys(batch: &RecordBatch, columns: &[usize]) -> Result<Vec<Box<[u8]>>, SqlError> {
    let mut keys = vec![Vec::new(); batch.num_rows()];
    for &column in columns {
        let ty = ColumnType::of_field(batch.schema().field(column));
        append_column(batch.column(column).as_ref(), ty, &mut keys)?;
    }
    Ok(keys.into_iter().map(Vec::into_boxed_slice).collect())
}

/// Encodes the key of every row of `batch` from the columns at `columns`, any of which may be NULL; `None` for a row that
/// is in no key because of a NULL.
///
/// # Errors
/// 0A000 for a type that cannot be a key.
pub fn encode_unique_keys(
    batch: &RecordBatch,
    columns: &[usize],
    nulls_distinct: bool,
) -> Result<Vec<Option<Box<[u8]>>>, SqlError> {
    let rows = batch.num_rows();
    if !nulls_distinct {
        let mut keys = vec![Vec::new(); rows];
        for &column in columns {
            let mut parts = encode_present(batch, &[column])?.into_iter();
            for (row, key) in keys.iter_mut().enumerate() {
                match batch.column(column).is_valid(row).then(|| parts.next()).flatten() {
                    Some(part) => {
                        key.push(1);
                        key.extend_from_slice(&part);
                    }
                    None => key.push(2),
                }
            }
        }
        return Ok(keys.into_iter().map(|key| Some(key.into_boxed_slice())).collect());
    }
    let mut present = encode_present(batch, columns)?.into_iter();
    let is_present = |row: usize| columns.iter().all(|&column| batch.column(column).is_valid(row));
    Ok((0..rows).map(|row| is_present(row).then(|| present.next()).flatten()).collect())
}

/// The keys of the rows without a NULL in `columns`.
fn encode_present(batch: &RecordBatch, columns: &[usize]) -> Result<Vec<Box<[u8]>>, SqlError> {
    if columns.iter().all(|&column| batch.column(column).null_count() == 0) {
        return encode_keys(batch, columns);
    }
    let is_present = |row: &u32| columns.iter().all(|&column| batch.column(column).is_valid(*row as usize));
    let rows: UInt32Array = (0..batch.num_rows() as u32).filter(is_present).collect::<Vec<_>>().into();
    let internal = |error: ArrowError| SqlError::new(ErrorKind::Internal, format!("key columns: {error}"));
    let parts =
        batch.project(columns).and_then(|keyed| take_record_batch(&keyed, &rows)).map_err(internal)?;
    encode_keys(&parts, &(0..columns.len()).collect::<Vec<_>>())
}

fn append_column(array: &dyn Array, ty: ColumnType, keys: &mut [Vec<u8>]) -> Result<(), SqlError> {
    macro_rules! each {
        ($ty:ty, |$value:ident| $bytes:expr) => {
            for (key, &$value) in keys.iter_mut().zip(array.as_primitive::<$ty>().values().iter()) {
                key.extend_from_slice(&$bytes);
            }
        };
    }
    macro_rules! rows {
        ($values:expr, |$key:ident, $value:ident| $append:expr) => {{
            let values = $values;
            for (row, $key) in keys.iter_mut().enumerate() {
                let $value = values.value(row);
                $append;
            }
        }};
    }
    match array.data_type() {
        DataType::Boolean => rows!(array.as_boolean(), |key, value| key.push(u8::from(value))),
        DataType::Int16 => each!(Int16Type, |v| (v ^ i16::MIN).to_be_bytes()),
        DataType::Int32 => each!(Int32Type, |v| (v ^ i32::MIN).to_be_bytes()),
        DataType::UInt32 => each!(UInt32Type, |v| v.to_be_bytes()),
        DataType::Date32 => each!(Date32Type, |v| (v ^ i32::MIN).to_be_bytes()),
        DataType::Int64 => each!(Int64Type, |v| (v ^ i64::MIN).to_be_bytes()),
        DataType::Time64(_) => each!(Time64MicrosecondType, |v| (v ^ i64::MIN).to_be_bytes()),
        DataType::Timestamp(_, _) => each!(TimestampMicrosecondType, |v| (v ^ i64::MIN).to_be_bytes()),
        DataType::Float32 => each!(Float32Type, |v| ordered_f32(v).to_be_bytes()),
        DataType::Float64 => each!(Float64Type, |v| ordered_f64(v).to_be_bytes()),
        DataType::Decimal128(..) => each!(Decimal128Type, |v| (v ^ i128::MIN).to_be_bytes()),
        DataType::Interval(_) => {
            each!(IntervalMonthDayNanoType, |v| (interval_micros(v) ^ i128::MIN).to_be_bytes());
        }
        DataType::FixedSizeBinary(numeric::WIDTH) => {
            rows!(array.as_fixed_size_binary(), |key, value| append_numeric(value, key));
        }
        DataType::FixedSizeBinary(_) => {
            rows!(array.as_fixed_size_binary(), |key, value| key.extend_from_slice(value));
        }
        DataType::Binary => rows!(array.as_binary::<i32>(), |key, value| append_bytes(value, key)),
        DataType::Utf8 => {
            rows!(array.as_string::<i32>(), |key, value| append_text(value, ty.kind, key));
        }
        DataType::List(_) => {
            rows!(array.as_list::<i32>(), |key, value| append_elements(&value, ty, key)?);
        }
        DataType::FixedSizeList(..) => {
            rows!(array.as_fixed_size_list(), |key, value| append_elements(&value, ty, key)?);
        }
        other => {
            return Err(SqlError::new(
                ErrorKind::FeatureNotSupported,
                format!("a column of type {other} cannot be part of a key"),
            ));
        }
    }
    Ok(())
}

/// The length of an interval as PostgreSQL compares it: a month is 30 days, a day 24 hours.
#[must_use]
pub const fn interval_micros(value: arrow::datatypes::IntervalMonthDayNano) -> i128 {
    let days = value.months as i128 * 30 + value.days as i128;
    days * 86_400_000_000 + (value.nanoseconds / 1000) as i128
}

fn append_numeric(bytes: &[u8], key: &mut Vec<u8>) {
    let (unscaled, scale) = numeric::unpack(bytes);
    let mut wide = numeric::comparable(unscaled, scale).to_be_bytes();
    wide[0] ^= 0x80;
    key.extend_from_slice(&wide);
}

fn append_text(text: &str, kind: TypeKind, key: &mut Vec<u8>) {
    match kind {
        TypeKind::Jsonb => json::append_key(text, key),
        TypeKind::Bpchar => append_bytes(text.trim_end_matches(' ').as_bytes(), key),
        _ => append_bytes(text.as_bytes(), key),
    }
}

fn append_elements(elements: &ArrayRef, ty: ColumnType, key: &mut Vec<u8>) -> Result<(), SqlError> {
    let mut parts = vec![Vec::new(); elements.len()];
    append_column(elements.as_ref(), ColumnType { array: false, ..ty }, &mut parts)?;
    for (position, part) in parts.iter().enumerate() {
        if elements.is_null(position) {
            key.push(2);
        } else {
            key.push(1);
            key.extend_from_slice(part);
        }
    }
    key.push(0);
    Ok(())
}

pub(crate) fn append_bytes(bytes: &[u8], key: &mut Vec<u8>) {
    for &byte in bytes {
        key.push(byte);
        if byte == 0 {
            key.push(0xff);
        }
    }
    key.extend_from_slice(&[0, 0]);
}

fn ordered_f32(value: f32) -> u32 {
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn ordered_f64(value: f64) -> u64 {
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, StringArray};

    use super::*;

    #[test]
    fn byte_order_is_column_order() {
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(Int32Array::from(vec![-5, -5, 0, 7])) as _),
            ("b", Arc::new(StringArray::from(vec!["a", "a\0b", "", "z"])) as _),
            ("c", Arc::new(Float64Array::from(vec![-1.0, -0.5, -0.0, 2.0])) as _),
        ])
        .expect("columns of equal length");
        let keys = encode_keys(&batch, &[0, 1, 2]).expect("key types");
        assert!(keys.is_sorted());
        let floats = encode_keys(&batch, &[2]).expect("key types");
        assert!(floats.is_sorted());
    }

    #[test]
    fn nulls_differ_or_not() {
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(Int32Array::from(vec![Some(1), None, Some(1), None])) as _),
            ("b", Arc::new(StringArray::from(vec![Some("x"), Some("x"), None, Some("x")])) as _),
        ])
        .expect("columns of equal length");
        let distinct = encode_unique_keys(&batch, &[0, 1], true).expect("key types");
        let plain = encode_keys(&batch.slice(0, 1), &[0, 1]).expect("key types");
        assert_eq!(distinct, [Some(plain[0].clone()), None, None, None]);
        let alike = encode_unique_keys(&batch, &[0, 1], false).expect("key types");
        assert_eq!(alike[1], alike[3]);
        let different: std::collections::BTreeSet<_> = alike.iter().collect();
        assert_eq!((different.len(), different.contains(&None)), (3, false));
    }
}
