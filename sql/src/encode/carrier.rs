//! Bringing an array into the Arrow form that a PostgreSQL type is written from.
//!
//! DataFusion may hand over views, dictionaries, other widths or other time units than `ColumnType` names.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::Format;

/// The array as the writers expect it; the same array when it is so already.
///
/// # Errors
/// XX000 when it cannot carry the type.
pub(super) fn carry(array: &ArrayRef, ty: ColumnType) -> Result<ArrayRef, SqlError> {
    let wanted = wanted(array.data_type(), ty);
    if *array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    if matches!(array.data_type(), DataType::Null) {
        return Ok(new_null_array(&wanted, array.len()));
    }
    // A value that the wanted form cannot hold is an error, never a silent NULL.
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, &wanted, &strict).map_err(|error| {
        SqlError::new(
            ErrorKind::Internal,
            format!(
                "a result of Arrow type {} cannot be sent as {}: {error}",
                array.data_type(),
                ty.display()
            ),
        )
    })
}

fn wanted(given: &DataType, ty: ColumnType) -> DataType {
    if ty.array {
        return match given {
            DataType::List(_) => given.clone(),
            DataType::LargeList(item) | DataType::FixedSizeList(item, _) => DataType::List(Arc::clone(item)),
            DataType::Utf8 => DataType::Utf8,
            _ => ty.data_type(),
        };
    }
    match ty.kind {
        TypeKind::Vector => match given {
            DataType::List(item) | DataType::FixedSizeList(item, _)
                if *item.data_type() == DataType::Float32 =>
            {
                given.clone()
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
            _ => ty.data_type(),
        },
        TypeKind::Int2vector | TypeKind::Oidvector => match given {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
            _ => ty.data_type(),
        },
        TypeKind::Numeric => match given {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if *scale >= 0 => given.clone(),
            own if proto::numeric::is_carrier(own) => own.clone(),
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) if *scale >= 0 => {
                DataType::Decimal128(*precision, *scale)
            }
            DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64 => {
                DataType::Decimal128(38, 0)
            }
            _ => ty.data_type(),
        },
        TypeKind::Timestamp | TypeKind::Timestamptz => {
            let zone = if ty.kind == TypeKind::Timestamptz { Some("UTC".into()) } else { None };
            match given {
                DataType::Timestamp(TimeUnit::Microsecond, Some(_)) if zone.is_some() => given.clone(),
                DataType::Timestamp(_, Some(own)) if zone.is_some() => {
                    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(own)))
                }
                _ => DataType::Timestamp(TimeUnit::Microsecond, zone),
            }
        }
        TypeKind::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        TypeKind::Uuid if matches!(given, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) => {
            DataType::Utf8
        }
        _ if is_oid_like(ty.kind) => match given {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
            _ => DataType::UInt32,
        },
        _ => ty.data_type(),
    }
}

/// Of a pair (OID, name) the part that a format shows; any other array as it is.
pub(super) fn of_pair(array: &ArrayRef, ty: ColumnType, format: Format) -> &ArrayRef {
    match array.as_struct_opt() {
        Some(pair) if is_oid_like(ty.kind) && pair.num_columns() == 2 => match format {
            Format::Text => pair.column(1),
            Format::Binary => pair.column(0),
        },
        _ => array,
    }
}

/// Types that are numbers on the wire and may come as the names they stand for.
pub(super) const fn is_oid_like(kind: TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Oid
            | TypeKind::Xid
            | TypeKind::Regproc
            | TypeKind::Regprocedure
            | TypeKind::Regoper
            | TypeKind::Regoperator
            | TypeKind::Regclass
            | TypeKind::Regtype
            | TypeKind::Regnamespace
            | TypeKind::Regrole
            | TypeKind::Regcollation
    )
}
