//! Reading dates, times and timestamps: ISO forms, US month-first with slashes, month names, special words.
//!
//! Errors are PostgreSQL's: 22007 for text that is no date at all, 22008 for fields out of range.

use proto::{ErrorKind, SqlError, TypeKind};

use super::datetime::{
    DATE_INFINITY, DATE_MINUS_INFINITY, DAY_MICROS, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY,
    days_from_civil, days_in_month, split,
};
use super::input::InputContext;
use super::zone::TimeZone;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The pieces found in a text.
#[derive(Default)]
struct Fields {
    date: Option<i64>,
    time: Option<i64>,
    zone: Option<TimeZone>,
    special: Option<Special>,
}

#[derive(Clone, Copy, PartialEq)]
enum Special {
    Infinity,
    MinusInfinity,
    Now,
    Epoch,
}

/// Reads a date: days since 1970.
pub(super) fn parse_date(text: &str, context: &InputContext) -> Result<i32, SqlError> {
    let fields = parse_fields(text, TypeKind::Date, context)?;
    match fields.special {
        Some(Special::Infinity) => return Ok(DATE_INFINITY),
        Some(Special::MinusInfinity) => return Ok(DATE_MINUS_INFINITY),
        Some(Special::Epoch) => return Ok(0),
        Some(Special::Now) => return Ok(split(context.zone.to_local(context.now_micros)).0),
        None => {}
    }
    let days = fields.date.ok_or_else(|| malformed(text, TypeKind::Date))?;
    i32::try_from(days).map_err(|_| out_of_range(text, "date"))
}

/// Reads a time of day in microseconds.
pub(super) fn parse_time(text: &str, context: &InputContext) -> Result<i64, SqlError> {
    let fields = parse_fields(text, TypeKind::Time, context)?;
    if fields.special == Some(Special::Now) {
        return Ok(split(context.zone.to_local(context.now_micros)).1);
    }
    fields.time.ok_or_else(|| malformed(text, TypeKind::Time))
}

/// Reads a timestamp; a zone in the text is ignored, as PostgreSQL does.
pub(super) fn parse_timestamp(text: &str, context: &InputContext) -> Result<i64, SqlError> {
    let fields = parse_fields(text, TypeKind::Timestamp, context)?;
    local_micros(&fields, text, TypeKind::Timestamp, context)
}

/// Reads an instant; without a zone in the text the session's applies.
pub(super) fn parse_timestamptz(text: &str, context: &InputContext) -> Result<i64, SqlError> {
    let fields = parse_fields(text, TypeKind::Timestamptz, context)?;
    match fields.special {
        Some(Special::Now) => return Ok(context.now_micros),
        Some(Special::Epoch) => return Ok(0),
        _ => {}
    }
    let local = local_micros(&fields, text, TypeKind::Timestamptz, context)?;
    if matches!(local, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) {
        return Ok(local);
    }
    Ok(fields.zone.unwrap_or(context.zone).to_utc(local))
}

fn local_micros(
    fields: &Fields,
    text: &str,
    kind: TypeKind,
    context: &InputContext,
) -> Result<i64, SqlError> {
    match fields.special {
        Some(Special::Infinity) => return Ok(TIMESTAMP_INFINITY),
        Some(Special::MinusInfinity) => return Ok(TIMESTAMP_MINUS_INFINITY),
        Some(Special::Epoch) => return Ok(0),
        Some(Special::Now) => return Ok(context.zone.to_local(context.now_micros)),
        None => {}
    }
    let days = fields.date.ok_or_else(|| malformed(text, kind))?;
    days.checked_mul(DAY_MICROS)
        .and_then(|micros| micros.checked_add(fields.time.unwrap_or(0)))
        .ok_or_else(|| out_of_range(text, "timestamp"))
}

fn malformed(text: &str, kind: TypeKind) -> SqlError {
    let name = match kind {
        TypeKind::Time => "time",
        TypeKind::Timestamp => "timestamp",
        kind => kind.display_name(),
    };
    SqlError::new(
        ErrorKind::InvalidDatetimeFormat,
        format!("invalid input syntax for type {name}: \"{text}\""),
    )
}

/// A month that there is not, or a day that no month has: perhaps the one was read as the other.
fn misread(text: &str) -> SqlError {
    field_out_of_range(text).with_hint("Perhaps you need a different \"datestyle\" setting.")
}

fn field_out_of_range(text: &str) -> SqlError {
    SqlError::new(ErrorKind::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""))
}

fn out_of_range(text: &str, kind: &str) -> SqlError {
    SqlError::new(ErrorKind::DatetimeFieldOverflow, format!("{kind} out of range: \"{text}\""))
}

fn parse_fields(text: &str, kind: TypeKind, context: &InputContext) -> Result<Fields, SqlError> {
    let normalized = text.trim();
    if normalized.is_empty() {
        return Err(malformed(text, kind));
    }
    let mut reader = Reader {
        text,
        kind,
        fields: Fields::default(),
        before_christ: ends_before_christ(normalized),
        meridian: None,
        named_month: None,
        numbers: Vec::new(),
    };
    for token in tokens(normalized) {
        let lower = token.to_ascii_lowercase();
        if !reader.special_word(&lower, context) {
            reader.token(token, &lower)?;
        }
    }
    reader.finish()
}

/// What is known of a text while its tokens are read.
struct Reader<'a> {
    text: &'a str,
    kind: TypeKind,
    fields: Fields,
    before_christ: bool,
    /// Afternoon, when AM or PM was read.
    meridian: Option<bool>,
    named_month: Option<u32>,
    numbers: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    /// Takes a word with a meaning of its own; false for any other token.
    fn special_word(&mut self, lower: &str, context: &InputContext) -> bool {
        let fields = &mut self.fields;
        match lower {
            "infinity" | "+infinity" => fields.special = Some(Special::Infinity),
            "-infinity" => fields.special = Some(Special::MinusInfinity),
            "now" => fields.special = Some(Special::Now),
            "epoch" => fields.special = Some(Special::Epoch),
            "today" | "tomorrow" | "yesterday" => {
                let shift = match lower {
                    "tomorrow" => 1,
                    "yesterday" => -1,
                    _ => 0,
                };
                let (days, _) = split(context.zone.to_local(context.now_micros));
                fields.date = Some(i64::from(days) + shift);
            }
            "allballs" => {
                fields.time = Some(0);
                fields.zone = Some(TimeZone::UTC);
            }
            "bc" | "ad" => {}
            "am" | "pm" => self.meridian = Some(lower == "pm"),
            _ => return false,
        }
        true
    }

    fn token(&mut self, token: &'a str, lower: &str) -> Result<(), SqlError> {
        let (text, kind) = (self.text, self.kind);
        if token.contains(':') && !token.starts_with(['+', '-']) {
            let (time, zone) = split_zone(token);
            self.fields.time = Some(parse_clock(time).map_err(|found| match found {
                Found::Malformed => malformed(text, kind),
                Found::OutOfRange => field_out_of_range(text),
            })?);
            if let Some(zone) = zone {
                self.fields.zone = Some(TimeZone::parse(zone).ok_or_else(|| malformed(text, kind))?);
            }
        } else if is_calendar(token) {
            self.fields.date = Some(parse_calendar(token, self.before_christ, text, kind)?);
        } else if let Some(month) = month_of(lower) {
            self.named_month = Some(month);
        } else if token.bytes().all(|byte| byte.is_ascii_digit() || byte == b',') {
            self.numbers.push(token.trim_end_matches(','));
        } else if let Some(zone) = TimeZone::parse(token) {
            self.fields.zone = Some(zone);
        } else if token.contains('/') {
            let message = format!("time zone \"{lower}\" not recognized");
            return Err(SqlError::new(ErrorKind::InvalidParameterValue, message));
        } else if !is_weekday(lower) {
            return Err(malformed(text, kind));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Fields, SqlError> {
        let (text, kind) = (self.text, self.kind);
        if let (Some(month), [day, year]) = (self.named_month, self.numbers.as_slice()) {
            let (day, year) = if day.len() > 2 { (year, day) } else { (day, year) };
            self.fields.date = Some(checked_date(year, month, day, self.before_christ, text, kind)?);
        } else if !self.numbers.is_empty() || self.named_month.is_some() {
            return Err(malformed(text, kind));
        }
        if let (Some(afternoon), Some(time)) = (self.meridian, self.fields.time) {
            let half = 12 * 3_600_000_000;
            let base = if time >= half { time - half } else { time };
            self.fields.time = Some(if afternoon { base + half } else { base });
        }
        Ok(self.fields)
    }
}

/// Splits at white space and at the `T` between date and time.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace().flat_map(|word| {
        let at = word
            .char_indices()
            .find(|&(at, character)| {
                matches!(character, 'T' | 't')
                    && at > 0
                    && word.as_bytes()[at - 1].is_ascii_digit()
                    && word.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit)
            })
            .map(|(at, _)| at);
        match at {
            Some(at) => [&word[..at], &word[at + 1..]].into_iter(),
            None => [word, ""].into_iter(),
        }
        .filter(|part| !part.is_empty())
    })
}

fn ends_before_christ(text: &str) -> bool {
    text.len() >= 2
        && text.is_char_boundary(text.len() - 2)
        && text[text.len() - 2..].eq_ignore_ascii_case("bc")
}

fn is_weekday(word: &str) -> bool {
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        .iter()
        .any(|day| word.trim_end_matches(',').starts_with(day) && word.len() <= 10)
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b',')
}

fn month_of(word: &str) -> Option<u32> {
    let word = word.trim_end_matches(',');
    if word.len() < 3 || !word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let full = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    (0..12).find(|&month| full[month] == word || MONTHS[month] == word).map(|month| month as u32 + 1)
}

/// Date tokens: digits with `-` or `/` or `.` between them, or eight digits.
fn is_calendar(token: &str) -> bool {
    let bytes = token.as_bytes();
    bytes[0].is_ascii_digit()
        && ((bytes.len() == 8 && bytes.iter().all(u8::is_ascii_digit))
            || token[1..].contains(['-', '/'])
            || token.matches('.').count() == 2)
}

fn parse_calendar(token: &str, before_christ: bool, text: &str, kind: TypeKind) -> Result<i64, SqlError> {
    if token.len() == 8 && token.bytes().all(|byte| byte.is_ascii_digit()) {
        let month = token[4..6].parse().map_err(|_| malformed(text, kind))?;
        return checked_date(&token[..4], month, &token[6..], before_christ, text, kind);
    }
    let parts: Vec<&str> = token.split(['-', '/', '.']).collect();
    let [first, second, third] = parts.as_slice() else { return Err(malformed(text, kind)) };
    let month_number = |word: &str| {
        month_of(&word.to_ascii_lowercase())
            .map_or_else(|| word.parse().map_err(|_| malformed(text, kind)), Ok)
    };
    if first.len() > 2 {
        return checked_date(first, month_number(second)?, third, before_christ, text, kind);
    }
    if second.len() >= 3 {
        return checked_date(third, month_number(second)?, first, before_christ, text, kind);
    }
    checked_date(third, month_number(first)?, second, before_christ, text, kind)
}

fn checked_date(
    year: &str,
    month: u32,
    day: &str,
    before_christ: bool,
    text: &str,
    kind: TypeKind,
) -> Result<i64, SqlError> {
    let short = year.len() <= 2;
    let mut year: i64 = year.parse().map_err(|_| malformed(text, kind))?;
    let day: u32 = day.parse().map_err(|_| malformed(text, kind))?;
    if before_christ {
        year = 1 - year;
    } else if short {
        year += if year < 70 { 2000 } else { 1900 };
    } else if year == 0 {
        return Err(field_out_of_range(text));
    }
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(misread(text));
    }
    if day > days_in_month(year, month) {
        return Err(field_out_of_range(text));
    }
    if !(-4712..=5_874_897).contains(&year) {
        return Err(out_of_range(text, "date"));
    }
    Ok(days_from_civil(year, month, day))
}

/// A time token and the zone glued to it.
fn split_zone(token: &str) -> (&str, Option<&str>) {
    match token.find(|character: char| !character.is_ascii_digit() && !matches!(character, ':' | '.')) {
        Some(at) => (&token[..at], Some(&token[at..])),
        None => (token, None),
    }
}

enum Found {
    Malformed,
    OutOfRange,
}

fn parse_clock(text: &str) -> Result<i64, Found> {
    let mut parts = text.split(':');
    let number = |part: Option<&str>| -> Result<i64, Found> {
        let part = part.ok_or(Found::Malformed)?;
        if part.is_empty() || part.len() > 2 {
            return Err(Found::Malformed);
        }
        part.parse().map_err(|_| Found::Malformed)
    };
    let hours = number(parts.next())?;
    let minutes = number(parts.next())?;
    let mut micros = 0;
    if let Some(seconds) = parts.next() {
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        micros = number(Some(whole))? * 1_000_000 + fraction_micros(fraction).ok_or(Found::Malformed)?;
    }
    if parts.next().is_some() {
        return Err(Found::Malformed);
    }
    let total = (hours * 60 + minutes) * 60_000_000 + micros;
    if minutes > 59 || micros > 60_000_000 || total > DAY_MICROS {
        return Err(Found::OutOfRange);
    }
    Ok(total)
}

/// Decimals of a second in microseconds, rounded.
pub(super) fn fraction_micros(digits: &str) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seven: String = digits.chars().chain(std::iter::repeat('0')).take(7).collect();
    let tenths: i64 = seven.parse().ok()?;
    Some((tenths + 5) / 10)
}
