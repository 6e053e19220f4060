//! What Parquet has no type for, as it lies in a file: an interval is 16 bytes, months and days as 32-bit and
//! microseconds as 64-bit little-endian integers.
//!
//! What it is not: no compression and no encoding, which are Parquet's. Growing rows and log records hold Arrow arrays.
//!
//! Invariant: `restored(stored(array))` is `array`; the file's Arrow schema names the type that was stored.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType as _, AsArray, FixedSizeBinaryArray, ListArray, PrimitiveArray,
    RecordBatch,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, Schema, SchemaRef,
};
use proto::TypeKind;
use proto::types::TYPE_KEY;

use crate::error::Result;

/// Bytes of a stored interval.
const INTERVAL_WIDTH: i32 = 16;
const NANOS_PER_MICRO: i64 = 1_000;

/// The schema of the file for rows of `schema`.
pub(super) fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(stored_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Rows as the file of `stored_schema` holds them.
pub(super) fn stored(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(stored_array).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// A column of the file as it was before it was stored.
pub(super) fn restored(array: ArrayRef, field: &Field) -> Result<ArrayRef> {
    let name = field.metadata().get(TYPE_KEY).map(String::as_str);
    let interval = TypeKind::Interval.name();
    match (name, array.as_list_opt::<i32>()) {
        (Some(name), None) if name == interval => Ok(read_intervals(&array)),
        (Some(name), Some(list)) if name.strip_prefix('_') == Some(interval) => {
            let DataType::List(item) = list.data_type() else { return Ok(array) };
            let item = item.as_ref().clone().with_data_type(IntervalMonthDayNanoType::DATA_TYPE);
            with_values(list, Arc::new(item), read_intervals(list.values()))
        }
        _ => Ok(array),
    }
}

fn stored_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Interval(_) => DataType::FixedSizeBinary(INTERVAL_WIDTH),
        DataType::List(item) => DataType::List(stored_field(item)),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

fn stored_array(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Interval(_) => Ok(write_intervals(array.as_primitive())),
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            with_values(list, stored_field(item), stored_array(list.values())?)
        }
        _ => Ok(Arc::clone(array)),
    }
}

fn with_values(list: &ListArray, item: FieldRef, values: ArrayRef) -> Result<ArrayRef> {
    Ok(Arc::new(ListArray::try_new(item, list.offsets().clone(), values, list.nulls().cloned())?))
}

fn write_intervals(array: &PrimitiveArray<IntervalMonthDayNanoType>) -> ArrayRef {
    let mut bytes = Vec::with_capacity(array.len() * INTERVAL_WIDTH as usize);
    for value in array.values() {
        bytes.extend_from_slice(&value.months.to_le_bytes());
        bytes.extend_from_slice(&value.days.to_le_bytes());
        bytes.extend_from_slice(&(value.nanoseconds / NANOS_PER_MICRO).to_le_bytes());
    }
    Arc::new(FixedSizeBinaryArray::new(INTERVAL_WIDTH, bytes.into(), array.nulls().cloned()))
}

/// Bytes that no interval was written as stay as they are; who reads the column finds another type.
fn read_intervals(array: &ArrayRef) -> ArrayRef {
    let Some(stored) =
        array.as_fixed_size_binary_opt().filter(|stored| stored.value_length() == INTERVAL_WIDTH)
    else {
        return Arc::clone(array);
    };
    let values = (0..stored.len()).map(|row| {
        let (months, rest) = stored.value(row).split_at(4);
        let (days, micros) = rest.split_at(4);
        IntervalMonthDayNano {
            months: months.try_into().map_or(0, i32::from_le_bytes),
            days: days.try_into().map_or(0, i32::from_le_bytes),
            nanoseconds: micros.try_into().map_or(0, i64::from_le_bytes).wrapping_mul(NANOS_PER_MICRO),
        }
    });
    let values: Vec<IntervalMonthDayNano> = values.collect();
    Arc::new(PrimitiveArray::<IntervalMonthDayNanoType>::new(values.into(), stored.nulls().cloned()))
}
