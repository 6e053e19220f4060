//! Binary output: PostgreSQL's send functions, all numbers big-endian.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType, UInt32Type,
};
use proto::{ColumnType, Oid, SqlError, TypeKind};

use super::carrier::is_oid_like;
use super::numeric;
use super::text::unwritable;
use super::{ColumnWriter, EncodeContext, Format, WriteValue};

/// Days from 1970 to 2000, PostgreSQL's epoch.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970 to 2000.
pub(crate) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// How values of a column are written in binary.
pub(super) fn writer(array: &ArrayRef, ty: ColumnType) -> Result<WriteValue, SqlError> {
    if ty.array {
        return array_writer(array, ColumnType { array: false, ..ty }, 1);
    }
    Ok(match (array.data_type(), ty.kind) {
        (DataType::Boolean, _) => {
            let values = array.as_boolean().values().clone();
            Box::new(move |row, out| out.push(u8::from(values.value(row))))
        }
        (DataType::Int16, _) => fixed::<Int16Type, 2>(array, i16::to_be_bytes),
        (DataType::Int32, _) => fixed::<Int32Type, 4>(array, i32::to_be_bytes),
        (DataType::Int64, _) => fixed::<Int64Type, 8>(array, i64::to_be_bytes),
        (DataType::UInt32, _) => fixed::<UInt32Type, 4>(array, u32::to_be_bytes),
        (DataType::Float32, _) => fixed::<Float32Type, 4>(array, f32::to_be_bytes),
        (DataType::Float64, _) => fixed::<Float64Type, 8>(array, f64::to_be_bytes),
        (DataType::Decimal128(_, scale), _) => {
            let (values, scale) = (array.as_primitive::<Decimal128Type>().values().clone(), *scale);
            Box::new(move |row, out| numeric::write_binary(&values[row].to_string(), scale, out))
        }
        (DataType::FixedSizeBinary(proto::numeric::WIDTH), _) => {
            let values = array.as_fixed_size_binary().clone();
            Box::new(move |row, out| {
                let (unscaled, scale) = proto::numeric::unpack(values.value(row));
                numeric::write_binary(&unscaled.to_string(), scale as i8, out);
            })
        }
        (DataType::Decimal256(_, scale), _) => {
            let (values, scale) = (array.as_primitive::<Decimal256Type>().values().clone(), *scale);
            Box::new(move |row, out| numeric::write_binary(&values[row].to_string(), scale, out))
        }
        (DataType::Utf8, _) => return strings(array, ty),
        (DataType::Binary, _) => {
            let values = array.as_binary::<i32>().clone();
            Box::new(move |row, out| out.extend_from_slice(values.value(row)))
        }
        (DataType::FixedSizeBinary(_), _) => {
            let values = array.as_fixed_size_binary().clone();
            Box::new(move |row, out| out.extend_from_slice(values.value(row)))
        }
        (DataType::Date32, _) => fixed::<Date32Type, 4>(array, |days| date(days).to_be_bytes()),
        (DataType::Time64(_), _) => fixed::<Time64MicrosecondType, 8>(array, i64::to_be_bytes),
        (DataType::Timestamp(..), _) => {
            fixed::<TimestampMicrosecondType, 8>(array, |micros| timestamp(micros).to_be_bytes())
        }
        (DataType::Interval(_), _) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>().values().clone();
            Box::new(move |row, out| {
                let value = values[row];
                out.extend_from_slice(&(value.nanoseconds / 1000).to_be_bytes());
                out.extend_from_slice(&value.days.to_be_bytes());
                out.extend_from_slice(&value.months.to_be_bytes());
            })
        }
        (DataType::List(_) | DataType::FixedSizeList(..), TypeKind::Vector) => {
            let vectors = Vectors::of(array)?;
            Box::new(move |row, out| proto::vector::write_binary(vectors.row(row), out))
        }
        (DataType::List(_), TypeKind::Int2vector) => {
            return array_writer(array, ColumnType::scalar(TypeKind::Int2), 0);
        }
        (DataType::List(_), TypeKind::Oidvector) => {
            return array_writer(array, ColumnType::scalar(TypeKind::Oid), 0);
        }
        (DataType::Null, _) => Box::new(|_, _| {}),
        _ => return Err(unwritable(array, ty)),
    })
}

/// Types that strings carry.
fn strings(array: &ArrayRef, ty: ColumnType) -> Result<WriteValue, SqlError> {
    let values = array.as_string::<i32>().clone();
    match ty.kind {
        TypeKind::Jsonb => Ok(Box::new(move |row, out| {
            // The version of jsonb's binary form.
            out.push(1);
            out.extend_from_slice(values.value(row).as_bytes());
        })),
        TypeKind::Uuid | TypeKind::Vector | TypeKind::Record => Err(unsupported(ty)),
        kind if is_oid_like(kind) => Err(unsupported(ty)),
        _ => Ok(Box::new(move |row, out| out.extend_from_slice(values.value(row).as_bytes()))),
    }
}

fn unsupported(ty: ColumnType) -> SqlError {
    SqlError::unsupported(format!("binary output of type {}", ty.display()))
}

fn fixed<T: ArrowPrimitiveType, const N: usize>(
    array: &ArrayRef,
    bytes: impl Fn(T::Native) -> [u8; N] + Send + 'static,
) -> WriteValue {
    let values = array.as_primitive::<T>().values().clone();
    Box::new(move |row, out| out.extend_from_slice(&bytes(values[row])))
}

/// Days since 2000; the infinities stay what they are.
const fn date(days: i32) -> i32 {
    if days == i32::MAX || days == i32::MIN { days } else { days.saturating_sub(EPOCH_DAYS) }
}

/// Microseconds since 2000; the infinities stay what they are.
const fn timestamp(micros: i64) -> i64 {
    if micros == i64::MAX || micros == i64::MIN { micros } else { micros.saturating_sub(EPOCH_MICROS) }
}

/// Arrays of one dimension: dimensions, null flag, element type, length, lower bound, elements.
fn array_writer(array: &ArrayRef, element: ColumnType, lower_bound: i32) -> Result<WriteValue, SqlError> {
    let Some(lists) = array.as_list_opt::<i32>() else {
        return Err(unwritable(array, ColumnType { array: true, ..element }));
    };
    let offsets: OffsetBuffer<i32> = lists.offsets().clone();
    let elements = ColumnWriter::new(lists.values(), element, Format::Binary, &EncodeContext::default())?;
    let Oid(oid) = element.oid();
    Ok(Box::new(move |row, out| {
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        let has_null = (start..end).any(|element| elements.is_null(element));
        let dimensions = i32::from(end > start);
        out.extend_from_slice(&dimensions.to_be_bytes());
        out.extend_from_slice(&i32::from(has_null).to_be_bytes());
        out.extend_from_slice(&oid.to_be_bytes());
        if dimensions == 1 {
            out.extend_from_slice(&((end - start) as i32).to_be_bytes());
            out.extend_from_slice(&lower_bound.to_be_bytes());
        }
        for element in start..end {
            elements.write_field(element, out);
        }
    }))
}

/// The vectors of a column, whichever list carries them.
pub(super) struct Vectors {
    values: Float32Array,
    bounds: Bounds,
}

enum Bounds {
    Offsets(OffsetBuffer<i32>),
    Stride(usize),
}

impl Vectors {
    pub(super) fn of(array: &ArrayRef) -> Result<Self, SqlError> {
        let broken = || unwritable(array, ColumnType::scalar(TypeKind::Vector));
        let (values, bounds) = if let Some(list) = array.as_fixed_size_list_opt() {
            (list.values(), Bounds::Stride(list.value_length() as usize))
        } else {
            let list = array.as_list_opt::<i32>().ok_or_else(broken)?;
            (list.values(), Bounds::Offsets(list.offsets().clone()))
        };
        let values = values.as_primitive_opt::<Float32Type>().ok_or_else(broken)?.clone();
        Ok(Self { values, bounds })
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        match &self.bounds {
            Bounds::Offsets(offsets) => {
                &self.values.values()[offsets[row] as usize..offsets[row + 1] as usize]
            }
            Bounds::Stride(stride) => &self.values.values()[row * stride..(row + 1) * stride],
        }
    }
}
