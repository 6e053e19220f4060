//! Instants as texts say them: what AS OF and `elanus.read_time` take.
//!
//! What it is not: it knows no present, so that a text can be checked when it is set and resolved when it is used.

use arrow::array::{AsArray as _, StringArray};
use arrow::datatypes::{IntervalMonthDayNano, TimestampMicrosecondType};
use exec::text::{InputContext, interval, parse_column};
use proto::{ErrorKind, SqlError, TypeKind};

/// An instant as a value says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said {
    /// A timestamp of the system.
    Raw(u64),
    /// Before now.
    Ago(IntervalMonthDayNano),
    /// Microseconds since 1970.
    At(i64),
}

/// Reads an instant's text: digits are a timestamp of the system, an interval with a minus is before now, all else
/// is a time.
///
/// # Errors
/// 22023 for anything else.
pub fn read(text: &str, context: &InputContext) -> Result<Said, SqlError> {
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        let raw = trimmed.parse::<i64>().map_err(|_| invalid(text))?;
        return Ok(Said::Raw(raw.unsigned_abs()));
    }
    if trimmed.starts_with('-') && trimmed != "-infinity" {
        return interval::parse(trimmed).map(Said::Ago).map_err(|_| invalid(text));
    }
    let texts = StringArray::from(vec![trimmed]);
    let parsed = parse_column(&texts, TypeKind::Timestamptz.into(), context).map_err(|_| invalid(text))?;
    Ok(Said::At(parsed.as_primitive::<TimestampMicrosecondType>().value(0)))
}

/// Checks a text that may also be empty, which is now.
///
/// # Errors
/// 22023 when it is no instant.
pub fn check(text: &str) -> Result<(), SqlError> {
    if text.trim().is_empty() { Ok(()) } else { read(text, &InputContext::default()).map(|_| ()) }
}

/// 22023.
#[must_use]
pub fn invalid(text: &str) -> SqlError {
    SqlError::new(ErrorKind::InvalidParameterValue, format!("invalid instant: \"{text}\"")).with_hint(
        "Write a timestamp with time zone, a negative interval such as '-10s', or a timestamp of the system as \
         elanus.last_commit_ts() gives it.",
    )
}

/// The milliseconds of an interval, a month as 30 days.
#[must_use]
pub fn interval_millis(value: IntervalMonthDayNano) -> i64 {
    let days = i64::from(value.months) * 30 + i64::from(value.days);
    days.saturating_mul(86_400_000).saturating_add(value.nanoseconds.div_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_instants() {
        let read = |text: &str| read(text, &InputContext::default());
        assert_eq!(read(" 123 ").unwrap(), Said::Raw(123));
        assert_eq!(read("2026-01-01 00:00:00+00").unwrap(), Said::At(1_767_225_600_000_000));
        let Said::Ago(ago) = read("-10s").unwrap() else { panic!("not before now") };
        assert_eq!(interval_millis(ago), -10_000);
        let Said::Ago(ago) = read("-1 day").unwrap() else { panic!("not before now") };
        assert_eq!(interval_millis(ago), -86_400_000);
        for wrong in ["", "yesterdayish", "-", "- 10 parsecs", "99999999999999999999"] {
            assert_eq!(read(wrong).unwrap_err().kind, ErrorKind::InvalidParameterValue, "{wrong}");
        }
    }
}
