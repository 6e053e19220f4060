//! Arrow types of a file as PostgreSQL types: widths, units and encodings that tables do not have, undone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Time64MicrosecondArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Field, IntervalUnit, Time64NanosecondType, TimeUnit, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

/// Whether values are lists.
pub(super) fn is_list(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
    )
}

fn item(ty: &DataType) -> Option<&Field> {
    match ty {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item),
        _ => None,
    }
}

/// Whether values are lists that vectors can be made of.
pub(super) fn is_list_of_numbers(ty: &DataType) -> bool {
    item(ty).is_some_and(|item| {
        let ty = item.data_type();
        ty.is_integer() || matches!(ty, DataType::Float16 | DataType::Float32 | DataType::Float64)
    })
}

/// The form that values are brought into, and the PostgreSQL type that it carries; none for what has no such type.
/// Bytes and 16-byte values are what the wanted type makes of them.
pub(super) fn carried(ty: &DataType, wanted: ColumnType) -> Option<(DataType, ColumnType)> {
    if let Some(item) = item(ty) {
        let element = ColumnType { array: false, ..wanted };
        let (plain, kind) = carried(item.data_type(), element).filter(|(_, ty)| !ty.array)?;
        return Some((
            DataType::List(Arc::new(Field::new("item", plain, true))),
            ColumnType::array_of(kind.kind),
        ));
    }
    let scalar = |plain: DataType, kind: TypeKind| Some((plain, ColumnType::scalar(kind)));
    match ty {
        DataType::Dictionary(_, value) => carried(value, wanted),
        DataType::RunEndEncoded(_, value) => carried(value.data_type(), wanted),
        DataType::Null => Some((wanted.data_type(), wanted)),
        DataType::Boolean => scalar(DataType::Boolean, TypeKind::Bool),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => scalar(DataType::Int16, TypeKind::Int2),
        DataType::Int32 | DataType::UInt16 => scalar(DataType::Int32, TypeKind::Int4),
        DataType::Int64 | DataType::UInt32 => scalar(DataType::Int64, TypeKind::Int8),
        DataType::UInt64 => scalar(DataType::Decimal128(20, 0), TypeKind::Numeric),
        DataType::Float16 | DataType::Float32 => scalar(DataType::Float32, TypeKind::Float4),
        DataType::Float64 => scalar(DataType::Float64, TypeKind::Float8),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale)
            if (0..=37).contains(scale) =>
        {
            scalar(DataType::Decimal128(38, *scale), TypeKind::Numeric)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => scalar(DataType::Utf8, TypeKind::Text),
        // Old writers mark no bytes as text.
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView if is_text(wanted) => {
            scalar(DataType::Utf8, TypeKind::Text)
        }
        DataType::FixedSizeBinary(16) if wanted.kind == TypeKind::Uuid => scalar(ty.clone(), TypeKind::Uuid),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            scalar(DataType::Binary, TypeKind::Bytea)
        }
        DataType::Date32 | DataType::Date64 => scalar(DataType::Date32, TypeKind::Date),
        DataType::Time32(_) | DataType::Time64(_) => {
            scalar(DataType::Time64(TimeUnit::Microsecond), TypeKind::Time)
        }
        DataType::Timestamp(_, None) => {
            scalar(DataType::Timestamp(TimeUnit::Microsecond, None), TypeKind::Timestamp)
        }
        DataType::Timestamp(_, Some(_)) => {
            scalar(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), TypeKind::Timestamptz)
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            scalar(DataType::Interval(IntervalUnit::MonthDayNano), TypeKind::Interval)
        }
        _ => None,
    }
}

fn is_text(ty: ColumnType) -> bool {
    matches!(
        ty.kind,
        TypeKind::Text
            | TypeKind::Varchar
            | TypeKind::Bpchar
            | TypeKind::Name
            | TypeKind::Char
            | TypeKind::Json
            | TypeKind::Jsonb
    )
}

/// Values in the form that `carried` gave.
///
/// # Errors
/// 22003, 22008 or 22021 for a value that the form cannot hold.
pub(super) fn to_plain(array: &ArrayRef, plain: &DataType) -> Result<ArrayRef, SqlError> {
    if array.data_type() == plain {
        return Ok(Arc::clone(array));
    }
    if let DataType::Dictionary(_, value) = array.data_type() {
        return to_plain(&strict(array, value)?, plain);
    }
    match (array.data_type(), plain) {
        (DataType::Timestamp(TimeUnit::Nanosecond, _), DataType::Timestamp(_, zone)) => {
            let nanos = array.as_primitive::<TimestampNanosecondType>();
            let micros: TimestampMicrosecondArray = nanos.unary(rounded);
            Ok(Arc::new(micros.with_timezone_opt(zone.clone())))
        }
        (DataType::Time64(TimeUnit::Nanosecond), _) => {
            let micros: Time64MicrosecondArray = array.as_primitive::<Time64NanosecondType>().unary(rounded);
            Ok(Arc::new(micros))
        }
        _ => strict(array, plain),
    }
}

/// Nanoseconds to the nearest microsecond.
const fn rounded(nanos: i64) -> i64 {
    let micros = nanos.div_euclid(1000);
    if nanos.rem_euclid(1000) >= 500 { micros + 1 } else { micros }
}

fn strict(array: &ArrayRef, plain: &DataType) -> Result<ArrayRef, SqlError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, plain, &options).map_err(|error| refused(array.data_type(), &error))
}

fn refused(ty: &DataType, error: &ArrowError) -> SqlError {
    match ty {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            SqlError::new(ErrorKind::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"")
        }
        DataType::Timestamp(..) => SqlError::new(ErrorKind::DatetimeFieldOverflow, "timestamp out of range"),
        _ => SqlError::new(ErrorKind::NumericValueOutOfRange, error.to_string()),
    }
}

/// A file's type for messages.
pub(super) fn described(ty: &DataType) -> String {
    match ty {
        DataType::Dictionary(_, value) => described(value),
        other => match item(other) {
            Some(item) => format!("list of {}", described(item.data_type())),
            None => other.to_string(),
        },
    }
}
