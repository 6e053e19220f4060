//! The byte form of a primary key: one comparable byte string per row, whatever the columns.
//!
//! Layout per column, in key order: int2/int4/int8 as 2/4/8 bytes big-endian with the sign bit flipped; bool as
//! one byte; float4/float8 as the order-preserving transform of their bits (zero is positive, NaN sorts
//! last); date as int4, timestamps as int8; text as its bytes with 0x00 written 0x00 0xFF, ended by
//! 0x00 0x00. Byte order equals column order, so a key file can be sorted and range-scanned.
//!
//! Invariant: equal keys have equal bytes, and a byte string decodes to one key only.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use crate::error::{ErrorKind, SqlError};

/// Encodes the key of every row of `batch` from the columns at `columns`.
///
/// # Errors
/// 0A000 for a type that cannot be a key. NULL keys are the caller's mistake: NOT NULL is checked before.
pub fn encode_keys(batch: &RecordBatch, columns: &[usize]) -> Result<Vec<Box<[u8]>>, SqlError> {
    let mut keys = vec![Vec::new(); batch.num_rows()];
    for &column in columns {
        append_column(batch.column(column).as_ref(), &mut keys)?;
    }
    Ok(keys.into_iter().map(Vec::into_boxed_slice).collect())
}

fn append_column(array: &dyn Array, keys: &mut [Vec<u8>]) -> Result<(), SqlError> {
    macro_rules! each {
        ($values:expr, |$value:ident| $bytes:expr) => {
            for (key, &$value) in keys.iter_mut().zip($values.iter()) {
                key.extend_from_slice(&$bytes);
            }
        };
    }
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            for (row, key) in keys.iter_mut().enumerate() {
                key.push(u8::from(values.value(row)));
            }
        }
        DataType::Int16 => {
            each!(array.as_primitive::<Int16Type>().values(), |v| (v ^ i16::MIN).to_be_bytes());
        }
        DataType::Int32 => {
            each!(array.as_primitive::<Int32Type>().values(), |v| (v ^ i32::MIN).to_be_bytes());
        }
        DataType::Date32 => {
            each!(array.as_primitive::<Date32Type>().values(), |v| (v ^ i32::MIN).to_be_bytes());
        }
        DataType::Int64 => {
            each!(array.as_primitive::<Int64Type>().values(), |v| (v ^ i64::MIN).to_be_bytes());
        }
        DataType::Timestamp(_, _) => {
            each!(array.as_primitive::<TimestampMicrosecondType>().values(), |v| (v ^ i64::MIN)
                .to_be_bytes());
        }
        DataType::Float32 => {
            each!(array.as_primitive::<Float32Type>().values(), |v| ordered_f32(v).to_be_bytes());
        }
        DataType::Float64 => {
            each!(array.as_primitive::<Float64Type>().values(), |v| ordered_f64(v).to_be_bytes());
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            for (row, key) in keys.iter_mut().enumerate() {
                append_text(values.value(row).as_bytes(), key);
            }
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

fn append_text(text: &[u8], key: &mut Vec<u8>) {
    for &byte in text {
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
}
