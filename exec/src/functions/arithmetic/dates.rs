//! Date, time and interval arithmetic.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use proto::{ErrorKind, SqlError, TypeKind};

use super::division_by_zero;
use crate::functions::cast::{date_to_timestamp, timestamp_out_of_range};
use crate::functions::overload::{Call, PgFunction, binary, unary};
use crate::text::datetime::{
    DATE_INFINITY, DATE_MINUS_INFINITY, DAY_MICROS, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, civil,
    days_from_civil, days_in_month, split,
};
use crate::text::{TimeZone, interval};

fn date_out_of_range() -> SqlError {
    SqlError::new(ErrorKind::DatetimeFieldOverflow, "date out of range")
}

fn shift_date(days: i32, by: i32) -> Result<i32, SqlError> {
    if matches!(days, DATE_INFINITY | DATE_MINUS_INFINITY) {
        return Ok(days);
    }
    days.checked_add(by).ok_or_else(date_out_of_range)
}

/// A wall clock reading plus months, days and time; the day is clipped to the month's end.
pub(crate) fn shift_local(local: i64, by: IntervalMonthDayNano) -> Result<i64, SqlError> {
    if matches!(local, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) {
        return Ok(local);
    }
    let (mut days, time) = split(local);
    if by.months != 0 {
        let (year, month, day) = civil(days);
        let months = year * 12 + i64::from(month) - 1 + i64::from(by.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        let day = day.min(days_in_month(year, month));
        days = i32::try_from(days_from_civil(year, month, day)).map_err(|_| timestamp_out_of_range())?;
    }
    (i64::from(days) + i64::from(by.days))
        .checked_mul(DAY_MICROS)
        .and_then(|micros| micros.checked_add(time))
        .and_then(|micros| micros.checked_add(by.nanoseconds / 1000))
        .ok_or_else(timestamp_out_of_range)
}

/// An instant plus an interval: months and days move the wall clock, time moves the instant.
fn shift_instant(utc: i64, by: IntervalMonthDayNano, zone: &TimeZone) -> Result<i64, SqlError> {
    if matches!(utc, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) {
        return Ok(utc);
    }
    let mut at = utc;
    if by.months != 0 || by.days != 0 {
        let calendar = IntervalMonthDayNano { nanoseconds: 0, ..by };
        at = zone.to_utc(shift_local(zone.to_local(utc), calendar)?);
    }
    at.checked_add(by.nanoseconds / 1000).ok_or_else(timestamp_out_of_range)
}

fn negated(value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano, SqlError> {
    Ok(IntervalMonthDayNano {
        months: value.months.checked_neg().ok_or_else(interval::out_of_range)?,
        days: value.days.checked_neg().ok_or_else(interval::out_of_range)?,
        nanoseconds: value.nanoseconds.checked_neg().ok_or_else(interval::out_of_range)?,
    })
}

fn sum(a: IntervalMonthDayNano, b: IntervalMonthDayNano) -> Result<IntervalMonthDayNano, SqlError> {
    Ok(IntervalMonthDayNano {
        months: a.months.checked_add(b.months).ok_or_else(interval::out_of_range)?,
        days: a.days.checked_add(b.days).ok_or_else(interval::out_of_range)?,
        nanoseconds: a.nanoseconds.checked_add(b.nanoseconds).ok_or_else(interval::out_of_range)?,
    })
}

/// An interval times a number; fractions go down to days and to time.
fn scaled(value: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano, SqlError> {
    let months = f64::from(value.months) * factor;
    let days = f64::from(value.days) * factor;
    let month_days = (months.fract() * 30.0 * 1e6).round() / 1e6;
    let whole_days = days.trunc() + month_days.trunc();
    let rest_micros = (days.fract() + month_days.fract()) * DAY_MICROS as f64;
    let micros = (value.nanoseconds / 1000) as f64 * factor + rest_micros;
    if !micros.is_finite() || months.abs() > f64::from(i32::MAX) || whole_days.abs() > f64::from(i32::MAX) {
        return Err(interval::out_of_range());
    }
    interval::make(months as i32, whole_days as i32, micros.round_ties_even() as i64)
}

/// Adds an interval argument to a timestamp one; `position` says where the timestamp stands.
fn shifted(call: &Call<'_>, position: usize, subtract: bool) -> Result<ArrayRef, SqlError> {
    let instants = call.argument_type(position).kind == TypeKind::Timestamptz;
    let is_date = call.argument_type(position).kind == TypeKind::Date;
    let zone = if instants { call.session()?.time_zone } else { TimeZone::UTC };
    let intervals = call.primitive::<IntervalMonthDayNanoType>(1 - position)?;
    let step = |row: usize| -> Result<IntervalMonthDayNano, SqlError> {
        if subtract { negated(intervals.value(row)) } else { Ok(intervals.value(row)) }
    };
    let mut out = Vec::with_capacity(call.rows());
    if is_date {
        let dates = call.primitive::<Date32Type>(position)?;
        for row in 0..call.rows() {
            let valid = !dates.is_null(row) && !intervals.is_null(row);
            out.push(
                valid.then(|| shift_local(date_to_timestamp(dates.value(row))?, step(row)?)).transpose()?,
            );
        }
    } else {
        let times = call.array(position)?;
        let times = arrow::array::AsArray::as_primitive::<TimestampMicrosecondType>(times.as_ref());
        for row in 0..call.rows() {
            let shift = || {
                let at = times.value(row);
                if instants { shift_instant(at, step(row)?, &zone) } else { shift_local(at, step(row)?) }
            };
            let valid = !times.is_null(row) && !intervals.is_null(row);
            out.push(valid.then(shift).transpose()?);
        }
    }
    Ok(Arc::new(arrow::array::TimestampMicrosecondArray::from(out)))
}

/// Days and time between two timestamps.
fn difference(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (left, right) = (call.array(0)?, call.array(1)?);
    let left = arrow::array::AsArray::as_primitive::<TimestampMicrosecondType>(left.as_ref());
    let right = arrow::array::AsArray::as_primitive::<TimestampMicrosecondType>(right.as_ref());
    let rows = crate::functions::overload::rows(call, &[left, right], |row| {
        let micros = left.value(row).checked_sub(right.value(row)).ok_or_else(interval::out_of_range)?;
        interval::make(0, (micros / DAY_MICROS) as i32, micros % DAY_MICROS)
    })?;
    Ok(Arc::new(arrow::array::PrimitiveArray::<IntervalMonthDayNanoType>::from_iter(rows)))
}

fn shift_time(micros: i64, by: IntervalMonthDayNano) -> i64 {
    (micros + by.nanoseconds / 1000 % DAY_MICROS).rem_euclid(DAY_MICROS)
}

type Days = Date32Type;
type Spans = IntervalMonthDayNanoType;
type Times = Time64MicrosecondType;

pub(super) fn add(function: PgFunction) -> PgFunction {
    function
        .on("date,int4", "date", |call| binary::<Days, Int32Type, Days>(call, shift_date))
        .on("int4,date", "date", |call| {
            binary::<Int32Type, Days, Days>(call, |by, days| shift_date(days, by))
        })
        .on("date,interval", "timestamp", |call| shifted(call, 0, false))
        .on("interval,date", "timestamp", |call| shifted(call, 1, false))
        .on("timestamp,interval", "timestamp", |call| shifted(call, 0, false))
        .on("interval,timestamp", "timestamp", |call| shifted(call, 1, false))
        .on("timestamptz,interval", "timestamptz", |call| shifted(call, 0, false))
        .on("interval,timestamptz", "timestamptz", |call| shifted(call, 1, false))
        .on("interval,interval", "interval", |call| binary::<Spans, Spans, Spans>(call, sum))
        .on("time,interval", "time", |call| {
            binary::<Times, Spans, Times>(call, |at, by| Ok(shift_time(at, by)))
        })
        .on("date,time", "timestamp", |call| {
            binary::<Days, Times, TimestampMicrosecondType>(call, |days, time| {
                date_to_timestamp(days)?.checked_add(time).ok_or_else(timestamp_out_of_range)
            })
        })
}

pub(super) fn subtract(function: PgFunction) -> PgFunction {
    function
        .on("date,int4", "date", |call| {
            binary::<Days, Int32Type, Days>(call, |days, by| {
                shift_date(days, by.checked_neg().ok_or_else(date_out_of_range)?)
            })
        })
        .on("date,date", "int4", |call| {
            binary::<Days, Days, Int32Type>(call, |a, b| a.checked_sub(b).ok_or_else(date_out_of_range))
        })
        .on("date,interval", "timestamp", |call| shifted(call, 0, true))
        .on("timestamp,interval", "timestamp", |call| shifted(call, 0, true))
        .on("timestamptz,interval", "timestamptz", |call| shifted(call, 0, true))
        .on("timestamp,timestamp", "interval", difference)
        .on("timestamptz,timestamptz", "interval", difference)
        .on("interval,interval", "interval", |call| {
            binary::<Spans, Spans, Spans>(call, |a, b| sum(a, negated(b)?))
        })
        .on("time,interval", "time", |call| {
            binary::<Times, Spans, Times>(call, |at, by| Ok(shift_time(at, negated(by)?)))
        })
        .on("time,time", "interval", |call| {
            binary::<Times, Times, Spans>(call, |a, b| interval::make(0, 0, a - b))
        })
        .on("interval", "interval", |call| unary::<Spans, Spans>(call, negated))
}

pub(super) fn multiply(function: PgFunction) -> PgFunction {
    function.on("interval,float8", "interval", |call| binary::<Spans, Float64Type, Spans>(call, scaled)).on(
        "float8,interval",
        "interval",
        |call| binary::<Float64Type, Spans, Spans>(call, |f, v| scaled(v, f)),
    )
}

pub(super) fn divide(function: PgFunction) -> PgFunction {
    function.on("interval,float8", "interval", |call| {
        binary::<Spans, Float64Type, Spans>(call, |value, by| {
            if by == 0.0 { Err(division_by_zero()) } else { scaled(value, 1.0 / by) }
        })
    })
}
