//! The fields that `extract` and `date_part` name.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ReturnFieldArgs;
use proto::{SqlError, TypeKind};

use super::unknown_unit;
use crate::functions::cast::date_to_timestamp;
use crate::text::TimeZone;
use crate::text::datetime::{DAY_MICROS, civil, days_from_civil, split};

const MILLION: i128 = 1_000_000;

/// Digits behind the point of a field: seconds, milliseconds and epoch have some, the others none.
pub(super) fn extract_scale(args: &ReturnFieldArgs<'_>) -> Option<i8> {
    let unit = match args.scalar_arguments.first().copied().flatten() {
        Some(ScalarValue::Utf8(Some(unit))) => unit.to_ascii_lowercase(),
        _ => return Some(6),
    };
    Some(match unit.as_str() {
        "second" | "seconds" | "epoch" => 6,
        "millisecond" | "milliseconds" => 3,
        "julian" => 6,
        _ => 0,
    })
}

/// Whether a word is a unit of some type.
pub(super) fn is_unit(unit: &str) -> bool {
    of_time(unit, 0).is_some()
        || of_calendar(unit, 0).is_some()
        || matches!(unit, "epoch" | "timezone" | "timezone_hour" | "timezone_minute")
}

/// A field's value in millionths.
pub(super) fn field(
    unit: &str,
    values: &dyn Array,
    row: usize,
    kind: TypeKind,
    zone: &TimeZone,
) -> Result<i128, SqlError> {
    let lower = unit.to_ascii_lowercase();
    let missing = || unknown_unit(unit, kind);
    match kind {
        TypeKind::Interval => {
            let value = values.as_primitive::<IntervalMonthDayNanoType>().value(row);
            of_interval(&lower, value).ok_or_else(missing)
        }
        TypeKind::Time => {
            let micros = values.as_primitive::<Time64MicrosecondType>().value(row);
            of_time(&lower, micros)
                .or_else(|| (lower == "epoch").then_some(i128::from(micros)))
                .ok_or_else(missing)
        }
        TypeKind::Date => {
            let local = date_to_timestamp(values.as_primitive::<Date32Type>().value(row))?;
            of_calendar(&lower, local)
                .or_else(|| (lower == "epoch").then_some(i128::from(local)))
                .ok_or_else(missing)
        }
        _ => {
            let utc = values.as_primitive::<TimestampMicrosecondType>().value(row);
            let local = zone.to_local(utc);
            let zoned = kind == TypeKind::Timestamptz;
            let offset = i128::from(zone.offset_at(utc));
            match lower.as_str() {
                "epoch" => Ok(i128::from(utc)),
                "timezone" if zoned => Ok(offset * MILLION),
                "timezone_hour" if zoned => Ok(offset / 3600 * MILLION),
                "timezone_minute" if zoned => Ok(offset % 3600 / 60 * MILLION),
                _ => {
                    of_calendar(&lower, local).or_else(|| of_time(&lower, split(local).1)).ok_or_else(missing)
                }
            }
        }
    }
}

fn of_time(unit: &str, micros: i64) -> Option<i128> {
    let micros = i128::from(micros);
    Some(match unit {
        "hour" | "hours" | "h" => micros / (3600 * MILLION) * MILLION,
        "minute" | "minutes" | "min" | "m" => micros / (60 * MILLION) % 60 * MILLION,
        "second" | "seconds" | "sec" | "s" => micros % (60 * MILLION),
        "millisecond" | "milliseconds" | "ms" => micros % (60 * MILLION) * 1000,
        "microsecond" | "microseconds" | "us" => micros % (60 * MILLION) * MILLION,
        _ => return None,
    })
}

fn of_calendar(unit: &str, local: i64) -> Option<i128> {
    let (days, _) = split(local);
    let (year, month, day) = civil(days);
    let weekday = (i64::from(days) + 4).rem_euclid(7);
    // PostgreSQL has no year 0: 1 BC is -1.
    let shown_year = if year > 0 { year } else { year - 1 };
    let value = match unit {
        "year" | "years" | "y" => shown_year,
        "month" | "months" | "mon" => i64::from(month),
        "day" | "days" | "d" => i64::from(day),
        "dow" => weekday,
        "isodow" => {
            if weekday == 0 {
                7
            } else {
                weekday
            }
        }
        "doy" => i64::from(days) - days_from_civil(year, 1, 1) + 1,
        "quarter" => i64::from((month - 1) / 3 + 1),
        "week" => iso_week(i64::from(days)).1,
        "isoyear" => iso_week(i64::from(days)).0,
        "decade" => year.div_euclid(10),
        "century" | "centuries" | "c" => {
            if year > 0 {
                (year + 99) / 100
            } else {
                -((99 - (year - 1)) / 100)
            }
        }
        "millennium" | "millennia" => {
            if year > 0 {
                (year + 999) / 1000
            } else {
                -((999 - (year - 1)) / 1000)
            }
        }
        "julian" => i64::from(days) + 2_440_588,
        _ => return None,
    };
    Some(i128::from(value) * MILLION)
}

/// ISO year and week of a day.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, _, _) = civil(thursday as i32);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

fn of_interval(unit: &str, value: IntervalMonthDayNano) -> Option<i128> {
    let micros = i128::from(value.nanoseconds / 1000);
    let months = i128::from(value.months);
    Some(match unit {
        "year" | "years" | "y" => months / 12 * MILLION,
        "month" | "months" | "mon" => months % 12 * MILLION,
        "day" | "days" | "d" => i128::from(value.days) * MILLION,
        "quarter" => (months % 12 / 3 + 1) * MILLION,
        "decade" => months / 120 * MILLION,
        "century" => months / 1_200 * MILLION,
        "millennium" => months / 12_000 * MILLION,
        "epoch" => {
            let days = i128::from(value.days) * i128::from(DAY_MICROS);
            // A year counts 365.25 days, a month 30.
            let year_micros = months / 12 * 31_557_600 * MILLION;
            year_micros + months % 12 * 30 * i128::from(DAY_MICROS) + days + micros
        }
        _ => return of_time(unit, micros as i64),
    })
}
