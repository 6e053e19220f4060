//! Intervals: months, days and microseconds, in PostgreSQL's style `postgres`, and reading them.
//!
//! Arrow carries nanoseconds; only whole microseconds are ever made here.

use std::fmt::Write as _;

use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use proto::{ErrorKind, SqlError};

use super::datetime::write_fraction;
use super::datetime_input::fraction_micros;

/// An interval of months, days and microseconds.
///
/// # Errors
/// 22008 when the microseconds do not fit the carrier.
pub fn make(months: i32, days: i32, micros: i64) -> Result<IntervalMonthDayNano, SqlError> {
    let nanos = micros.checked_mul(1000).ok_or_else(out_of_range)?;
    Ok(IntervalMonthDayNanoType::make_value(months, days, nanos))
}

/// 22008 for interval arithmetic.
pub(crate) fn out_of_range() -> SqlError {
    SqlError::new(ErrorKind::DatetimeFieldOverflow, "interval out of range")
}

/// Appends an interval as `1 year 2 mons 3 days 04:05:06.7`.
pub fn write_interval(value: IntervalMonthDayNano, out: &mut String) {
    let (months, days, nanos) = IntervalMonthDayNanoType::to_parts(value);
    let start = out.len();
    let mut signed = false;
    let mut part = |amount: i32, unit: &str, out: &mut String| {
        if amount != 0 {
            let space = if out.len() > start { " " } else { "" };
            let plus = if signed && amount > 0 { "+" } else { "" };
            let plural = if amount == 1 { "" } else { "s" };
            let _ = write!(out, "{space}{plus}{amount} {unit}{plural}");
            signed = amount < 0;
        }
    };
    part(months / 12, "year", out);
    part(months % 12, "mon", out);
    part(days, "day", out);
    let micros = nanos / 1000;
    if micros != 0 || out.len() == start {
        if out.len() > start {
            out.push(' ');
        }
        if micros < 0 {
            out.push('-');
        } else if signed {
            out.push('+');
        }
        let seconds = (micros / 1_000_000).abs();
        let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        write_fraction(micros % 1_000_000, out);
    }
}

/// Reads an interval: `1 day 2 hours`, `01:30:00`, `1-2`, `P1DT2H`, with `ago`.
///
/// # Errors
/// 22007 for text that is no interval, 22008 for fields that do not fit.
pub fn parse(text: &str) -> Result<IntervalMonthDayNano, SqlError> {
    let malformed = || {
        SqlError::new(
            ErrorKind::InvalidDatetimeFormat,
            format!("invalid input syntax for type interval: \"{text}\""),
        )
    };
    let mut sum = Sum::default();
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(malformed());
    }
    if let Some(rest) = trimmed.strip_prefix('P') {
        sum.iso(rest).ok_or_else(malformed)?;
        return sum.finish();
    }
    let mut words = trimmed.split_ascii_whitespace().flat_map(split_unit).peekable();
    let mut seen = false;
    while let Some(word) = words.next() {
        seen = true;
        if word.eq_ignore_ascii_case("ago") && words.peek().is_none() {
            sum.negate();
        } else if word.contains(':') {
            sum.clock(word).ok_or_else(malformed)?;
        } else if word == "@" {
            seen = false;
        } else if let Some((years, months)) = year_month(word) {
            sum.months += f64::from(years * 12 + months);
        } else {
            let amount: f64 = word.parse().map_err(|_| malformed())?;
            let unit = words.next_if(|next| next.starts_with(|c: char| c.is_ascii_alphabetic()));
            sum.add(amount, unit.unwrap_or("s")).ok_or_else(malformed)?;
        }
    }
    if seen { sum.finish() } else { Err(malformed()) }
}

/// `1h` is a number and a unit.
fn split_unit(word: &str) -> impl Iterator<Item = &str> {
    let at = word
        .find(|character: char| character.is_ascii_alphabetic())
        .filter(|&at| at > 0 && word.as_bytes()[at - 1].is_ascii_digit())
        .unwrap_or(word.len());
    [&word[..at], &word[at..]].into_iter().filter(|part| !part.is_empty())
}

/// `1-2`: years and months.
fn year_month(word: &str) -> Option<(i32, i32)> {
    let (sign, digits) = word.strip_prefix('-').map_or((1, word), |rest| (-1, rest));
    let (years, months) = digits.split_once('-')?;
    let months: i32 = months.parse().ok().filter(|months| *months < 12)?;
    Some((sign * years.parse::<i32>().ok()?, sign * months))
}

#[derive(Default)]
struct Sum {
    months: f64,
    days: f64,
    micros: f64,
    exact_micros: i64,
}

impl Sum {
    fn add(&mut self, amount: f64, unit: &str) -> Option<()> {
        match unit.to_ascii_lowercase().as_str() {
            "us" | "usec" | "usecs" | "microsecond" | "microseconds" | "microsecon" => self.micros += amount,
            "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" | "mseconds" => {
                self.micros += amount * 1e3
            }
            "s" | "sec" | "secs" | "second" | "seconds" => self.micros += amount * 1e6,
            "m" | "min" | "mins" | "minute" | "minutes" => self.micros += amount * 6e7,
            "h" | "hr" | "hrs" | "hour" | "hours" => self.micros += amount * 3.6e9,
            "d" | "day" | "days" => self.days += amount,
            "w" | "week" | "weeks" => self.days += amount * 7.0,
            "mon" | "mons" | "month" | "months" => self.months += amount,
            "y" | "yr" | "yrs" | "year" | "years" => self.months += amount * 12.0,
            "decade" | "decades" => self.months += amount * 120.0,
            "c" | "century" | "centuries" => self.months += amount * 1_200.0,
            "millennium" | "millennia" => self.months += amount * 12_000.0,
            _ => return None,
        }
        Some(())
    }

    /// `[-]hh:mm[:ss[.ffffff]]`.
    fn clock(&mut self, word: &str) -> Option<()> {
        let (sign, digits) = match word.as_bytes().first()? {
            b'-' => (-1, &word[1..]),
            b'+' => (1, &word[1..]),
            _ => (1, word),
        };
        let mut parts = digits.split(':');
        let hours: i64 = parts.next()?.parse().ok()?;
        let minutes: i64 = parts.next()?.parse().ok().filter(|minutes| (0..60).contains(minutes))?;
        let (seconds, fraction) = parts.next().map_or(("0", ""), |s| s.split_once('.').unwrap_or((s, "")));
        let seconds: i64 = seconds.parse().ok().filter(|seconds| (0..60).contains(seconds))?;
        if parts.next().is_some() {
            return None;
        }
        let whole = hours.checked_mul(3600)?.checked_add(minutes * 60 + seconds)?.checked_mul(1_000_000)?;
        self.exact_micros = self.exact_micros.checked_add(sign * (whole + fraction_micros(fraction)?))?;
        Some(())
    }

    /// The part of ISO 8601 behind `P`.
    fn iso(&mut self, text: &str) -> Option<()> {
        let (date, time) = text.split_once('T').unwrap_or((text, ""));
        for (part, units) in [(date, "YMWD"), (time, "HMS")] {
            let mut number = String::new();
            for character in part.chars() {
                if character.is_ascii_digit() || matches!(character, '.' | '-' | '+') {
                    number.push(character);
                    continue;
                }
                if !units.contains(character) {
                    return None;
                }
                let unit = match (character, units) {
                    ('Y', _) => "y",
                    ('M', "YMWD") => "mon",
                    ('W', _) => "w",
                    ('D', _) => "d",
                    ('H', _) => "h",
                    ('M', _) => "m",
                    _ => "s",
                };
                self.add(number.parse().ok()?, unit)?;
                number.clear();
            }
            if !number.is_empty() {
                return None;
            }
        }
        Some(())
    }

    fn negate(&mut self) {
        self.months = -self.months;
        self.days = -self.days;
        self.micros = -self.micros;
        self.exact_micros = -self.exact_micros;
    }

    /// Fractions of months go to days (30), fractions of days to time, as PostgreSQL does.
    fn finish(self) -> Result<IntervalMonthDayNano, SqlError> {
        let months = self.months.trunc();
        let month_days = (self.months - months) * 30.0;
        let days = self.days.trunc() + month_days.trunc();
        let day_micros = (self.days.fract() + month_days.fract()) * 86_400e6;
        let micros = (self.micros + day_micros).round();
        if months.abs() > f64::from(i32::MAX) || days.abs() > f64::from(i32::MAX) || micros.abs() > 9.2e18 {
            return Err(out_of_range());
        }
        let micros = (micros as i64).checked_add(self.exact_micros).ok_or_else(out_of_range)?;
        make(months as i32, days as i32, micros)
    }
}
