//! The session's time zone: a named zone, or a fixed offset.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone as _};
use chrono_tz::Tz;

/// A time zone as `SET TIME ZONE` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeZone {
    /// From the tz database.
    Named(Tz),
    /// Seconds east of Greenwich.
    Fixed(i32),
}

impl Default for TimeZone {
    fn default() -> Self {
        Self::Named(Tz::UTC)
    }
}

impl TimeZone {
    /// Coordinated universal time.
    pub const UTC: Self = Self::Named(Tz::UTC);

    /// The zone of a name (`UTC`, `Europe/Berlin`, any case), `Z`, or an offset (`+02`, `-05:30`: hours east).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("utc")
            || text.eq_ignore_ascii_case("z")
            || text.eq_ignore_ascii_case("gmt")
        {
            return Some(Self::UTC);
        }
        if let Ok(zone) = text.parse::<Tz>() {
            return Some(Self::Named(zone));
        }
        if let Some(&zone) = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text))
        {
            return Some(Self::Named(zone));
        }
        parse_offset(text).map(Self::Fixed)
    }

    /// Seconds east of Greenwich at an instant.
    #[must_use]
    pub fn offset_at(&self, utc_micros: i64) -> i32 {
        match self {
            Self::Named(Tz::UTC) => 0,
            Self::Named(zone) => DateTime::from_timestamp_micros(utc_micros)
                .map_or(0, |utc| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()),
            Self::Fixed(seconds) => *seconds,
        }
    }

    /// The wall clock's microseconds at an instant.
    #[must_use]
    pub fn to_local(&self, utc_micros: i64) -> i64 {
        utc_micros.saturating_add(i64::from(self.offset_at(utc_micros)) * 1_000_000)
    }

    /// The instant of a wall clock reading; the earlier one when clocks go back, and across the gap the
    /// offset before it, as PostgreSQL chooses.
    #[must_use]
    pub fn to_utc(&self, local_micros: i64) -> i64 {
        let offset = match self {
            Self::Named(Tz::UTC) => 0,
            Self::Fixed(seconds) => *seconds,
            Self::Named(zone) => named_offset(*zone, local_micros),
        };
        local_micros.saturating_sub(i64::from(offset) * 1_000_000)
    }
}

fn named_offset(zone: Tz, local_micros: i64) -> i32 {
    let Some(local) = DateTime::from_timestamp_micros(local_micros).map(|utc| utc.naive_utc()) else {
        return 0;
    };
    let offset_of = |at: NaiveDateTime| zone.offset_from_local_datetime(&at).latest();
    offset_of(local)
        .or_else(|| offset_of(local - chrono::Duration::hours(3)))
        .map_or(0, |offset| offset.fix().local_minus_utc())
}

/// `+hh`, `+hhmm`, `+hh:mm`, `+hh:mm:ss` in seconds.
pub(super) fn parse_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let parts: Vec<&str> = if digits.contains(':') {
        digits.split(':').collect()
    } else if digits.len() == 4 && digits.is_ascii() {
        vec![&digits[..2], &digits[2..]]
    } else {
        vec![digits]
    };
    let mut seconds = 0;
    for (part, weight) in parts.iter().zip([3600, 60, 1]) {
        if part.is_empty() || part.len() > 2 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        seconds += part.parse::<i32>().ok()? * weight;
    }
    (parts.len() <= 3 && seconds < 16 * 3600).then_some(sign * seconds)
}

impl fmt::Display for TimeZone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(zone) => formatter.write_str(zone.name()),
            Self::Fixed(seconds) => {
                let (sign, rest) = if *seconds < 0 { ('-', -seconds) } else { ('+', *seconds) };
                write!(formatter, "<{sign}{:02}", rest / 3600)?;
                if rest % 3600 != 0 {
                    write!(formatter, ":{:02}", rest % 3600 / 60)?;
                }
                // POSIX zones count west: the part behind the name has the other sign.
                let west = if *seconds < 0 { '+' } else { '-' };
                write!(formatter, ">{west}{:02}", rest / 3600)?;
                if rest % 3600 != 0 {
                    write!(formatter, ":{:02}", rest % 3600 / 60)?;
                }
                Ok(())
            }
        }
    }
}
