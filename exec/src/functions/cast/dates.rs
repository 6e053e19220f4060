//! Casts among date, time, timestamps and interval.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{
    Date32Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use proto::{ErrorKind, SqlError, TypeKind};

use crate::text::datetime::{
    DATE_INFINITY, DATE_MINUS_INFINITY, DAY_MICROS, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, split,
};
use crate::text::{TimeZone, interval};

/// 22008 for timestamp arithmetic.
pub(crate) fn timestamp_out_of_range() -> SqlError {
    SqlError::new(ErrorKind::DatetimeFieldOverflow, "timestamp out of range")
}

/// Midnight of a date.
pub(crate) fn date_to_timestamp(days: i32) -> Result<i64, SqlError> {
    match days {
        DATE_INFINITY => Ok(TIMESTAMP_INFINITY),
        DATE_MINUS_INFINITY => Ok(TIMESTAMP_MINUS_INFINITY),
        days => i64::from(days).checked_mul(DAY_MICROS).ok_or_else(|| {
            SqlError::new(ErrorKind::DatetimeFieldOverflow, "date out of range for timestamp")
        }),
    }
}

/// The date of a timestamp.
pub(crate) const fn timestamp_to_date(micros: i64) -> i32 {
    match micros {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_MINUS_INFINITY => DATE_MINUS_INFINITY,
        micros => split(micros).0,
    }
}

const fn is_finite(micros: i64) -> bool {
    micros != TIMESTAMP_INFINITY && micros != TIMESTAMP_MINUS_INFINITY
}

/// The instant of a wall clock reading, infinities unchanged.
pub(crate) fn local_to_utc(micros: i64, zone: &TimeZone) -> i64 {
    if is_finite(micros) { zone.to_utc(micros) } else { micros }
}

/// The wall clock reading of an instant, infinities unchanged.
pub(crate) fn utc_to_local(micros: i64, zone: &TimeZone) -> i64 {
    if is_finite(micros) { zone.to_local(micros) } else { micros }
}

/// Converts when both types are dates or times; none otherwise.
pub(super) fn convert(
    array: &ArrayRef,
    from: TypeKind,
    to: TypeKind,
    zone: &TimeZone,
) -> Result<Option<ArrayRef>, SqlError> {
    use TypeKind::{Date, Interval, Time, Timestamp, Timestamptz};
    let timestamps = || array.as_primitive::<TimestampMicrosecondType>();
    Ok(Some(match (from, to) {
        (Date, Timestamp) => Arc::new(
            array
                .as_primitive::<Date32Type>()
                .try_unary::<_, TimestampMicrosecondType, _>(date_to_timestamp)?,
        ),
        (Date, Timestamptz) => Arc::new(
            array
                .as_primitive::<Date32Type>()
                .try_unary::<_, TimestampMicrosecondType, SqlError>(|days| {
                    date_to_timestamp(days).map(|local| local_to_utc(local, zone))
                })?
                .with_timezone("UTC"),
        ),
        (Timestamp, Timestamptz) => Arc::new(
            timestamps()
                .unary::<_, TimestampMicrosecondType>(|local| local_to_utc(local, zone))
                .with_timezone("UTC"),
        ),
        (Timestamptz, Timestamp) => {
            Arc::new(timestamps().unary::<_, TimestampMicrosecondType>(|utc| utc_to_local(utc, zone)))
        }
        (Timestamp, Date) => Arc::new(timestamps().unary::<_, Date32Type>(timestamp_to_date)),
        (Timestamptz, Date) => {
            Arc::new(timestamps().unary::<_, Date32Type>(|utc| timestamp_to_date(utc_to_local(utc, zone))))
        }
        (Timestamp, Time) => Arc::new(timestamps().unary::<_, Time64MicrosecondType>(|local| split(local).1)),
        (Timestamptz, Time) => {
            Arc::new(timestamps().unary::<_, Time64MicrosecondType>(|utc| split(utc_to_local(utc, zone)).1))
        }
        (Time, Interval) => Arc::new(
            array
                .as_primitive::<Time64MicrosecondType>()
                .try_unary::<_, IntervalMonthDayNanoType, _>(|micros| interval::make(0, 0, micros))?,
        ),
        (Interval, Time) => Arc::new(
            array
                .as_primitive::<IntervalMonthDayNanoType>()
                .unary::<_, Time64MicrosecondType>(|value| (value.nanoseconds / 1000).rem_euclid(DAY_MICROS)),
        ),
        _ => return Ok(None),
    }))
}
