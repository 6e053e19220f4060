//! Dates, times and timestamps: their calendar arithmetic and PostgreSQL's ISO text forms.
//!
//! Dates are days and timestamps microseconds since 1970-01-01; the extreme integers are `-infinity` and
//! `infinity` as in PostgreSQL.

use std::fmt::Write as _;

use super::zone::TimeZone;

/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;
/// `infinity` of `date`.
pub const DATE_INFINITY: i32 = i32::MAX;
/// `-infinity` of `date`.
pub const DATE_MINUS_INFINITY: i32 = i32::MIN;
/// `infinity` of `timestamp`.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
/// `-infinity` of `timestamp`.
pub const TIMESTAMP_MINUS_INFINITY: i64 = i64::MIN;

/// Year (0 is 1 BC), month 1..=12 and day 1..=31 of a day number.
#[must_use]
pub fn civil(days: i32) -> (i64, u32, u32) {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_index + 2) / 5 + 1) as u32;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day number of a calendar date, which must exist.
#[must_use]
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = i64::from(month);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Days of a month.
#[must_use]
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Splits a timestamp into its day and the microseconds in it.
#[must_use]
pub const fn split(micros: i64) -> (i32, i64) {
    (micros.div_euclid(DAY_MICROS) as i32, micros.rem_euclid(DAY_MICROS))
}

/// Appends a date.
pub fn write_date(days: i32, out: &mut String) {
    match days {
        DATE_INFINITY => out.push_str("infinity"),
        DATE_MINUS_INFINITY => out.push_str("-infinity"),
        _ => {
            let before_christ = write_civil(days, out);
            out.push_str(before_christ);
        }
    }
}

/// Appends year, month and day; returns the suffix of years before Christ.
fn write_civil(days: i32, out: &mut String) -> &'static str {
    let (year, month, day) = civil(days);
    let (shown, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    suffix
}

/// Appends a time of day, with as many decimals as it needs.
pub fn write_time(micros: i64, out: &mut String) {
    let seconds = micros / 1_000_000;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    write_fraction(micros % 1_000_000, out);
}

/// Appends `.dddddd` without trailing zeros.
pub(crate) fn write_fraction(micros: i64, out: &mut String) {
    if micros != 0 {
        let digits = format!("{:06}", micros.abs());
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// Appends a timestamp without time zone.
pub fn write_timestamp(micros: i64, out: &mut String) {
    if let Some(suffix) = write_local(micros, out) {
        out.push_str(suffix);
    }
}

/// Appends date and time; none for the infinities, which are then complete.
fn write_local(micros: i64, out: &mut String) -> Option<&'static str> {
    match micros {
        TIMESTAMP_INFINITY => out.push_str("infinity"),
        TIMESTAMP_MINUS_INFINITY => out.push_str("-infinity"),
        _ => {
            let (days, rest) = split(micros);
            let suffix = write_civil(days, out);
            out.push(' ');
            write_time(rest, out);
            return Some(suffix);
        }
    }
    None
}

/// Appends a timestamp with the offset of the session's time zone.
pub fn write_timestamptz(utc_micros: i64, zone: &TimeZone, out: &mut String) {
    if matches!(utc_micros, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) {
        write_timestamp(utc_micros, out);
        return;
    }
    let offset = zone.offset_at(utc_micros);
    let Some(suffix) = write_local(zone.to_local(utc_micros), out) else { return };
    let (sign, rest) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let _ = write!(out, "{sign}{:02}", rest / 3600);
    if rest % 3600 != 0 {
        let _ = write!(out, ":{:02}", rest / 60 % 60);
    }
    if rest % 60 != 0 {
        let _ = write!(out, ":{:02}", rest % 60);
    }
    out.push_str(suffix);
}
