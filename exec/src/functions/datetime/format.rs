//! `to_char` of timestamps: the template patterns that people use; an unknown letter run is refused rather
//! than printed wrong.

use std::fmt::Write as _;

use proto::SqlError;

use super::fields::iso_week;
use crate::text::datetime::{civil, days_from_civil, split};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The patterns, longest first where one starts another.
const PATTERNS: [&str; 42] = [
    "YYYY", "YYY", "YY", "Y", "MONTH", "Month", "month", "MON", "Mon", "mon", "MM", "MI", "MS", "DAY", "Day",
    "day", "DDD", "DD", "DY", "Dy", "dy", "D", "HH24", "HH12", "HH", "SSSSS", "SSSS", "SS", "US", "AM", "PM",
    "am", "pm", "A.M.", "P.M.", "IW", "IYYY", "ID", "WW", "W", "Q", "J",
];

/// Formats a wall clock reading.
pub(super) fn to_char(local: i64, pattern: &str) -> Result<String, SqlError> {
    let mut out = String::new();
    let mut rest = pattern;
    let mut fill = true;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("FM") {
            fill = false;
            rest = after;
            continue;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push_str(&quoted[..end]);
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        let upper = rest.get(..4).unwrap_or(rest).to_ascii_uppercase();
        let found = PATTERNS
            .iter()
            .find(|name| rest.starts_with(**name) || (is_numeric(name) && upper.starts_with(**name)));
        if let Some(name) = found {
            rest = &rest[name.len()..];
            write_pattern(name, local, fill, &mut out);
            if let Some(after) = rest.strip_prefix("TH").or_else(|| rest.strip_prefix("th")) {
                return Err(SqlError::unsupported(format!(
                    "to_char pattern before \"{after}\" with ordinal"
                )));
            }
            fill = true;
            continue;
        }
        let Some(character) = rest.chars().next() else { break };
        if character.is_ascii_uppercase() && "TCBRON".contains(character) && rest.len() > 1 {
            return Err(SqlError::unsupported(format!("to_char pattern \"{rest}\"")));
        }
        out.push(character);
        rest = &rest[character.len_utf8()..];
    }
    Ok(out)
}

/// Patterns that print numbers are the same in any case.
fn is_numeric(name: &str) -> bool {
    !matches!(
        name,
        "MONTH"
            | "Month"
            | "month"
            | "MON"
            | "Mon"
            | "mon"
            | "DAY"
            | "Day"
            | "day"
            | "DY"
            | "Dy"
            | "dy"
            | "AM"
            | "PM"
            | "am"
            | "pm"
            | "A.M."
            | "P.M."
    )
}

fn write_pattern(name: &str, local: i64, fill: bool, out: &mut String) {
    let (days, time) = split(local);
    let (year, month, day) = civil(days);
    let shown_year = if year > 0 { year } else { 1 - year };
    let weekday = (i64::from(days) + 4).rem_euclid(7) as usize;
    let seconds = time / 1_000_000;
    let hour = seconds / 3600;
    let half = if hour % 12 == 0 { 12 } else { hour % 12 };
    let (iso_year, week) = iso_week(i64::from(days));
    let day_of_year = i64::from(days) - days_from_civil(year, 1, 1) + 1;
    let mut number = |value: i64, width: usize| {
        let width = if fill { width } else { 0 };
        let _ = write!(out, "{value:0width$}");
    };
    match name {
        "YYYY" => number(shown_year, 4),
        "YYY" => number(shown_year % 1000, 3),
        "YY" => number(shown_year % 100, 2),
        "Y" => number(shown_year % 10, 1),
        "MM" => number(i64::from(month), 2),
        "DD" => number(i64::from(day), 2),
        "DDD" => number(day_of_year, 3),
        "D" => number(weekday as i64 + 1, 1),
        "ID" => number(if weekday == 0 { 7 } else { weekday as i64 }, 1),
        "HH24" => number(hour, 2),
        "HH12" | "HH" => number(half, 2),
        "MI" => number(seconds / 60 % 60, 2),
        "SS" => number(seconds % 60, 2),
        "MS" => number(time % 1_000_000 / 1000, 3),
        "US" => number(time % 1_000_000, 6),
        "SSSS" | "SSSSS" => number(seconds, 1),
        "IW" => number(week, 2),
        "IYYY" => number(iso_year, 4),
        "WW" => number((day_of_year - 1) / 7 + 1, 2),
        "W" => number((i64::from(day) - 1) / 7 + 1, 1),
        "Q" => number(i64::from((month - 1) / 3 + 1), 1),
        "J" => number(i64::from(days) + 2_440_588, 1),
        "AM" | "PM" => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        "am" | "pm" => out.push_str(if hour < 12 { "am" } else { "pm" }),
        "A.M." | "P.M." => out.push_str(if hour < 12 { "A.M." } else { "P.M." }),
        _ => write_name(name, MONTHS[month as usize - 1], DAYS[weekday], fill, out),
    }
}

/// Month and day names: full ones are padded to nine characters unless FM stands before them.
fn write_name(pattern: &str, month: &str, day: &str, fill: bool, out: &mut String) {
    let (name, full) = match pattern {
        "MONTH" | "Month" | "month" => (month, true),
        "MON" | "Mon" | "mon" => (&month[..3], false),
        "DAY" | "Day" | "day" => (day, true),
        _ => (&day[..3], false),
    };
    let cased = if pattern.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.to_ascii_lowercase()
    } else if pattern.chars().nth(1).is_some_and(|c| c.is_ascii_uppercase()) {
        name.to_ascii_uppercase()
    } else {
        name.to_owned()
    };
    if full && fill {
        let _ = write!(out, "{cased:<9}");
    } else {
        out.push_str(&cased);
    }
}
