//! PostgreSQL's date and time functions: clocks, truncation, fields, age, formatting, time zones.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Float64Array, TimestampMicrosecondArray};
use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    TimestampMicrosecondType,
};
use proto::{ErrorKind, SqlError, TypeKind};

use super::cast::{local_to_utc, timestamp_out_of_range, timestamp_to_date, utc_to_local};
use super::overload::{Call, PgFunction, rows};
use crate::text::datetime::{DAY_MICROS, civil, days_from_civil, days_in_month, split};
use crate::text::{TimeZone, interval};

mod fields;
mod format;

fn timestamps(call: &Call<'_>, position: usize) -> Result<TimestampMicrosecondArray, SqlError> {
    Ok(call.array(position)?.as_primitive::<TimestampMicrosecondType>().clone())
}

/// The zone in which an argument's fields are read: the session's for instants.
fn zone_of(call: &Call<'_>, position: usize) -> Result<TimeZone, SqlError> {
    if call.argument_type(position).kind == TypeKind::Timestamptz {
        return Ok(call.session()?.time_zone);
    }
    Ok(TimeZone::UTC)
}

fn instants(call: &Call<'_>, micros: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![micros; call.rows()]))
}

fn now(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    Ok(instants(call, call.session()?.transaction_micros))
}

fn statement_timestamp(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    Ok(instants(call, call.session()?.statement_micros))
}

fn clock_timestamp(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    Ok(instants(call, call.session()?.clock.now_millis() as i64 * 1000))
}

fn local_now(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let session = call.session()?;
    Ok(instants(call, session.time_zone.to_local(session.transaction_micros)))
}

fn current_date(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let session = call.session()?;
    let today = timestamp_to_date(session.time_zone.to_local(session.transaction_micros));
    Ok(Arc::new(Date32Array::from(vec![today; call.rows()])))
}

/// Wall clock reading cut down to a unit.
fn truncate(unit: &str, local: i64) -> Option<i64> {
    let (days, time) = split(local);
    let (year, month, day) = civil(days);
    let start = |year: i64, month: u32, day: u32| days_from_civil(year, month, day) * DAY_MICROS;
    let within = |step: i64| i64::from(days) * DAY_MICROS + time - time % step;
    Some(match unit {
        "microsecond" | "microseconds" | "us" => local,
        "millisecond" | "milliseconds" | "ms" => within(1_000),
        "second" | "seconds" | "sec" | "s" => within(1_000_000),
        "minute" | "minutes" | "min" | "m" => within(60_000_000),
        "hour" | "hours" | "h" => within(3_600_000_000),
        "day" | "days" | "d" => start(year, month, day),
        "week" | "weeks" | "w" => (i64::from(days) - (i64::from(days) + 3).rem_euclid(7)) * DAY_MICROS,
        "month" | "months" | "mon" => start(year, month, 1),
        "quarter" => start(year, (month - 1) / 3 * 3 + 1, 1),
        "year" | "years" | "y" => start(year, 1, 1),
        "decade" | "decades" => start(year.div_euclid(10) * 10, 1, 1),
        "century" | "centuries" | "c" => start((year - 1).div_euclid(100) * 100 + 1, 1, 1),
        "millennium" | "millennia" => start((year - 1).div_euclid(1000) * 1000 + 1, 1, 1),
        _ => return None,
    })
}

/// 22023 for a word that is no unit, 0A000 for a unit that the type does not have.
pub(super) fn unknown_unit(unit: &str, kind: TypeKind) -> SqlError {
    if fields::is_unit(&unit.to_ascii_lowercase()) {
        return SqlError::new(
            ErrorKind::FeatureNotSupported,
            format!("unit \"{unit}\" not supported for type {}", kind.display_name()),
        );
    }
    SqlError::new(
        ErrorKind::InvalidParameterValue,
        format!("unit \"{unit}\" not recognized for type {}", kind.display_name()),
    )
}

fn date_trunc(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (units, values) = (call.text(0)?, timestamps(call, 1)?);
    let kind = call.argument_type(1).kind;
    let zone = zone_of(call, 1)?;
    let out = rows(call, &[&units, &values], |row| {
        let unit = units.value(row).to_ascii_lowercase();
        let at = values.value(row);
        if at == i64::MAX || at == i64::MIN {
            return Ok(at);
        }
        let cut = truncate(&unit, zone.to_local(at)).ok_or_else(|| unknown_unit(units.value(row), kind))?;
        Ok(zone.to_utc(cut))
    })?;
    Ok(Arc::new(TimestampMicrosecondArray::from(out)))
}

fn date_trunc_interval(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (units, values) = (call.text(0)?, call.primitive::<IntervalMonthDayNanoType>(1)?);
    let out = rows(call, &[&units, &values], |row| {
        let value = values.value(row);
        let micros = value.nanoseconds / 1000;
        let (months, days, micros) = match units.value(row).to_ascii_lowercase().as_str() {
            "microseconds" | "microsecond" => (value.months, value.days, micros),
            "milliseconds" | "millisecond" => (value.months, value.days, micros - micros % 1_000),
            "second" | "seconds" => (value.months, value.days, micros - micros % 1_000_000),
            "minute" | "minutes" => (value.months, value.days, micros - micros % 60_000_000),
            "hour" | "hours" => (value.months, value.days, micros - micros % 3_600_000_000),
            "day" | "days" => (value.months, value.days, 0),
            "month" | "months" => (value.months, 0, 0),
            "quarter" => (value.months - value.months % 3, 0, 0),
            "year" | "years" => (value.months - value.months % 12, 0, 0),
            unit => return Err(unknown_unit(unit, TypeKind::Interval)),
        };
        interval::make(months, days, micros)
    })?;
    Ok(Arc::new(arrow::array::PrimitiveArray::<IntervalMonthDayNanoType>::from_iter(out)))
}

/// The symbolic difference between two wall clock readings: years, months, days, time.
fn age_between(left: i64, right: i64) -> Result<IntervalMonthDayNano, SqlError> {
    let negative = left < right;
    let (late, early) = if negative { (right, left) } else { (left, right) };
    let ((late_days, late_time), (early_days, early_time)) = (split(late), split(early));
    let ((y1, m1, d1), (y2, m2, d2)) = (civil(late_days), civil(early_days));
    let mut time = late_time - early_time;
    let mut days = i64::from(d1) - i64::from(d2);
    let mut months = (y1 - y2) * 12 + i64::from(m1) - i64::from(m2);
    if time < 0 {
        time += DAY_MICROS;
        days -= 1;
    }
    if days < 0 {
        // The month that is borrowed is the earlier date's.
        days += i64::from(days_in_month(y2, m2));
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    interval::make(sign * months as i32, sign * days as i32, i64::from(sign) * time)
}

fn age(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let zone = zone_of(call, 0)?;
    let (left, right) = if call.count() == 2 {
        (timestamps(call, 0)?, timestamps(call, 1)?)
    } else {
        let session = call.session()?;
        let (today, _) = split(session.time_zone.to_local(session.transaction_micros));
        let midnight = local_to_utc(i64::from(today) * DAY_MICROS, &zone);
        (TimestampMicrosecondArray::from(vec![midnight; call.rows()]), timestamps(call, 0)?)
    };
    let out = rows(call, &[&left, &right], |row| {
        age_between(zone.to_local(left.value(row)), zone.to_local(right.value(row)))
    })?;
    Ok(Arc::new(arrow::array::PrimitiveArray::<IntervalMonthDayNanoType>::from_iter(out)))
}

fn named_zone(name: &str) -> Result<TimeZone, SqlError> {
    TimeZone::parse(name).ok_or_else(|| {
        SqlError::new(ErrorKind::InvalidParameterValue, format!("time zone \"{name}\" not recognized"))
    })
}

/// `AT TIME ZONE`: instants become wall clock readings and the other way round.
fn at_time_zone(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (names, values) = (call.text(0)?, timestamps(call, 1)?);
    let from_instant = call.argument_type(1).kind == TypeKind::Timestamptz;
    let out = rows(call, &[&names, &values], |row| {
        let zone = named_zone(names.value(row))?;
        let at = values.value(row);
        Ok(if from_instant { utc_to_local(at, &zone) } else { local_to_utc(at, &zone) })
    })?;
    Ok(Arc::new(TimestampMicrosecondArray::from(out)))
}

fn to_timestamp(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let values = call.primitive::<Float64Type>(0)?;
    let out = rows(call, &[&values], |row| {
        let micros = (values.value(row) * 1e6).round();
        if !micros.is_finite() || micros.abs() > 9e18 {
            Err(timestamp_out_of_range())
        } else {
            Ok(micros as i64)
        }
    })?;
    Ok(Arc::new(TimestampMicrosecondArray::from(out)))
}

fn make_date(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let part = |position: usize| call.primitive::<Int32Type>(position);
    let (years, months, days) = (part(0)?, part(1)?, part(2)?);
    let out = rows(call, &[&years, &months, &days], |row| {
        let (year, month, day) = (i64::from(years.value(row)), months.value(row), days.value(row));
        let valid = year != 0
            && (1..=12).contains(&month)
            && day >= 1
            && day as u32 <= days_in_month(year, month as u32);
        if !valid {
            return Err(SqlError::new(
                ErrorKind::DatetimeFieldOverflow,
                format!("date field value out of range: {year}-{month:02}-{day:02}"),
            ));
        }
        Ok(days_from_civil(year, month as u32, day as u32) as i32)
    })?;
    Ok(Arc::new(Date32Array::from(out)))
}

/// `date_part` of dates, timestamps, times and intervals.
fn date_part(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (units, values) = (call.text(0)?, call.array(1)?);
    let zone = zone_of(call, 1)?;
    let kind = call.argument_type(1).kind;
    let out = rows(call, &[&units, values.as_ref()], |row| {
        fields::field(units.value(row), values.as_ref(), row, kind, &zone).map(|micros| micros as f64 / 1e6)
    })?;
    Ok(Arc::new(Float64Array::from(out)))
}

/// `extract`: the same fields as numeric.
fn extract(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (units, values) = (call.text(0)?, call.array(1)?);
    let zone = zone_of(call, 1)?;
    let kind = call.argument_type(1).kind;
    let scale = super::arithmetic::numeric::result_scale(call);
    let nulls = arrow::buffer::NullBuffer::union(units.nulls(), values.nulls());
    let out = rows(call, &[&units, values.as_ref()], |row| {
        let micros = fields::field(units.value(row), values.as_ref(), row, kind, &zone)?;
        let value = arrow::datatypes::i256::from_i128(micros);
        crate::text::number::to_i128(crate::text::number::rescale(value, 6, scale)?)
    })?;
    super::arithmetic::numeric::column(call, out.into_iter().map(Option::unwrap_or_default).collect(), nulls)
}

fn to_char(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, patterns) = (timestamps(call, 0)?, call.text(1)?);
    let zone = zone_of(call, 0)?;
    let out = rows(call, &[&values, &patterns], |row| {
        format::to_char(zone.to_local(values.value(row)), patterns.value(row))
    })?;
    Ok(Arc::new(arrow::array::StringArray::from(out)))
}

fn isfinite(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let values = call.array(0)?;
    let out = rows(call, &[values.as_ref()], |row| {
        Ok(match values.as_primitive_opt::<Date32Type>() {
            Some(dates) => !matches!(dates.value(row), i32::MAX | i32::MIN),
            None => {
                !matches!(values.as_primitive::<TimestampMicrosecondType>().value(row), i64::MAX | i64::MIN)
            }
        })
    })?;
    Ok(Arc::new(arrow::array::BooleanArray::from(out)))
}

/// The date and time functions.
#[must_use]
pub(super) fn functions() -> Vec<PgFunction> {
    let mut functions: Vec<PgFunction> = ["now", "current_timestamp", "transaction_timestamp"]
        .into_iter()
        .map(|name| PgFunction::stable(name).on("", "timestamptz", now))
        .collect();
    let parts = ["date", "timestamp", "timestamptz", "time", "interval"];
    let date_part_function = parts.into_iter().fold(PgFunction::stable("date_part"), |function, ty| {
        function.on(&format!("text,{ty}"), "float8", date_part)
    });
    let extract_function = parts.into_iter().fold(PgFunction::stable("extract"), |function, ty| {
        function.on_numeric(&format!("text,{ty}"), fields::extract_scale, extract)
    });
    functions.extend([
        date_part_function,
        extract_function,
        PgFunction::stable("statement_timestamp").on("", "timestamptz", statement_timestamp),
        PgFunction::volatile("clock_timestamp").on("", "timestamptz", clock_timestamp),
        PgFunction::stable("localtimestamp").on("", "timestamp", local_now),
        PgFunction::stable("current_date").on("", "date", current_date),
        PgFunction::stable("date_trunc")
            .on("text,timestamp", "timestamp", date_trunc)
            .on("text,timestamptz", "timestamptz", date_trunc)
            .on("text,interval", "interval", date_trunc_interval),
        PgFunction::stable("age")
            .on("timestamp,timestamp", "interval", age)
            .on("timestamptz,timestamptz", "interval", age)
            .on("timestamp", "interval", age)
            .on("timestamptz", "interval", age),
        PgFunction::immutable("timezone").on("text,timestamptz", "timestamp", at_time_zone).on(
            "text,timestamp",
            "timestamptz",
            at_time_zone,
        ),
        PgFunction::immutable("to_timestamp").on("float8", "timestamptz", to_timestamp),
        PgFunction::immutable("make_date").on("int4,int4,int4", "date", make_date),
        PgFunction::stable("to_char").on("timestamp,text", "text", to_char).on(
            "timestamptz,text",
            "text",
            to_char,
        ),
        PgFunction::immutable("isfinite").on("date", "bool", isfinite).on("timestamp", "bool", isfinite).on(
            "timestamptz",
            "bool",
            isfinite,
        ),
    ]);
    functions
}
