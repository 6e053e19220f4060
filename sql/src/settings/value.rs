//! The values of settings: parsing what SET gives into one canonical text, and printing it as SHOW does.
//!
//! Canonical: booleans `on`/`off`, numbers in the setting's base unit, enum words in the table's spelling,
//! time zones as the tz database or an offset spells them. `pg_settings.setting` shows the canonical text,
//! SHOW adds the largest unit that divides it.

use chrono_tz::TZ_VARIANTS;
use exec::text::TimeZone;
use proto::{ErrorKind, SqlError};

use super::table::Setting;

/// The type of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    Real {
        min: f64,
        max: f64,
    },
    Enum(&'static [&'static str]),
    Text,
    /// What AS OF takes; empty for now.
    Instant,
    /// Names separated by commas, quoted where needed.
    List,
    /// `ISO, MDY` and the like; only the ISO output style exists here.
    DateStyle,
    TimeZone,
    /// An encoding's name; only UTF-8 exists here.
    Encoding,
}

impl Kind {
    /// `pg_settings.vartype`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Integer { .. } => "integer",
            Self::Real { .. } => "real",
            Self::Enum(_) => "enum",
            Self::Text | Self::Instant | Self::List | Self::DateStyle | Self::TimeZone | Self::Encoding => {
                "string"
            }
        }
    }
}

/// The base unit of an integer setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    None,
    Milliseconds,
    Seconds,
    Kilobytes,
    /// 8 kB blocks.
    Blocks,
}

/// Memory units in bytes, largest first.
const MEMORY: &[(&str, f64)] =
    &[("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1024.0), ("B", 1.0)];
/// Time units in microseconds, largest first.
const TIME: &[(&str, f64)] = &[
    ("d", 86_400_000_000.0),
    ("h", 3_600_000_000.0),
    ("min", 60_000_000.0),
    ("s", 1_000_000.0),
    ("ms", 1000.0),
    ("us", 1.0),
];

impl Unit {
    /// `pg_settings.unit`.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Milliseconds => Some("ms"),
            Self::Seconds => Some("s"),
            Self::Kilobytes => Some("kB"),
            Self::Blocks => Some("8kB"),
        }
    }

    /// The units accepted, and this unit's own size in their smallest.
    const fn scale(self) -> Option<(&'static [(&'static str, f64)], f64)> {
        match self {
            Self::None => None,
            Self::Milliseconds => Some((TIME, 1000.0)),
            Self::Seconds => Some((TIME, 1_000_000.0)),
            Self::Kilobytes => Some((MEMORY, 1024.0)),
            Self::Blocks => Some((MEMORY, 8192.0)),
        }
    }

    const fn hint(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Milliseconds | Self::Seconds => {
                Some("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
            }
            Self::Kilobytes | Self::Blocks => {
                Some("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".")
            }
        }
    }
}

fn invalid(setting: &Setting, value: &str) -> SqlError {
    SqlError::new(
        ErrorKind::InvalidParameterValue,
        format!("invalid value for parameter \"{}\": \"{value}\"", setting.name),
    )
}

/// The canonical form of a value.
///
/// # Errors
/// 22023 in PostgreSQL's words; 0A000 for values without meaning here, such as another encoding than UTF-8.
pub fn canonical(setting: &Setting, value: &str) -> Result<String, SqlError> {
    let canonical = canonical_of_kind(setting, value)?;
    if setting.only_default && canonical != setting.default {
        return Err(SqlError::unsupported(format!("{} = {canonical}", setting.name)));
    }
    Ok(canonical)
}

fn canonical_of_kind(setting: &Setting, value: &str) -> Result<String, SqlError> {
    match setting.kind {
        Kind::Bool => parse_bool(value).map(on_off).ok_or_else(|| {
            SqlError::new(
                ErrorKind::InvalidParameterValue,
                format!("parameter \"{}\" requires a Boolean value", setting.name),
            )
        }),
        Kind::Integer { min, max } => canonical_integer(setting, value, min, max),
        Kind::Real { min, max } => canonical_real(setting, value, min, max),
        Kind::Enum(words) => canonical_word(setting, value, words),
        Kind::Text | Kind::List => Ok(value.to_owned()),
        Kind::Instant => super::instant::check(value).map(|()| value.to_owned()),
        Kind::DateStyle => canonical_date_style(setting, value),
        Kind::TimeZone => canonical_zone(value).ok_or_else(|| invalid(setting, value)),
        Kind::Encoding => canonical_encoding(setting, value),
    }
}

const fn on_off_word(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

fn on_off(value: bool) -> String {
    on_off_word(value).to_owned()
}

/// A Boolean as PostgreSQL reads it: unambiguous prefixes of true, false, yes, no; on, off; 1, 0.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "" => None,
        "on" | "1" => Some(true),
        "of" | "off" | "0" => Some(false),
        _ if "true".starts_with(&text) || "yes".starts_with(&text) => Some(true),
        _ if "false".starts_with(&text) || "no".starts_with(&text) => Some(false),
        _ => None,
    }
}

fn canonical_word(setting: &Setting, value: &str, words: &[&str]) -> Result<String, SqlError> {
    if let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
        return Ok((*word).to_owned());
    }
    // Enums with on and off take PostgreSQL's hidden synonyms, except pgvector's.
    if words.contains(&"on")
        && let Some(value) = parse_bool(value)
    {
        return Ok(on_off(value));
    }
    Err(invalid(setting, value).with_hint(format!("Available values: {}.", words.join(", "))))
}

/// Splits `12.5 MB` into number and unit.
fn split_unit(value: &str) -> Option<(f64, &str)> {
    let value = value.trim();
    if let Some(hex) = value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().map(|number| (number as f64, ""));
    }
    let mut end = value.len();
    for (at, c) in value.char_indices() {
        let exponent_sign = matches!(c, '+' | '-') && value[..at].ends_with(['e', 'E']);
        let exponent = matches!(c, 'e' | 'E')
            && value[at + 1..].starts_with(|next: char| next.is_ascii_digit() || matches!(next, '+' | '-'));
        let sign = at == 0 && matches!(c, '+' | '-');
        if !(c.is_ascii_digit() || c == '.' || exponent || exponent_sign || sign) {
            end = at;
            break;
        }
    }
    let number = value[..end].parse::<f64>().ok()?;
    Some((number, value[end..].trim()))
}

/// A number in the setting's base unit.
fn in_base_unit(setting: &Setting, value: &str) -> Option<f64> {
    let (number, unit) = split_unit(value)?;
    if unit.is_empty() {
        return Some(number);
    }
    let (units, own) = setting.unit.scale()?;
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    Some(number * size / own)
}

fn canonical_integer(setting: &Setting, value: &str, min: i64, max: i64) -> Result<String, SqlError> {
    let bad = || match setting.unit.hint() {
        Some(hint) => invalid(setting, value).with_hint(hint),
        None => invalid(setting, value),
    };
    // Timestamps do not fit a double: whole numbers are read as such first.
    let number = match value.trim().parse::<i64>() {
        Ok(number) => number,
        Err(_) => {
            let number = in_base_unit(setting, value).ok_or_else(bad)?.round_ties_even();
            if !(-9.2e18..=9.2e18).contains(&number) {
                return Err(invalid(setting, value).with_hint("Value exceeds integer range."));
            }
            number as i64
        }
    };
    if max <= i64::from(i32::MAX) && i32::try_from(number).is_err() {
        return Err(invalid(setting, value).with_hint("Value exceeds integer range."));
    }
    if number < min || number > max {
        let unit = setting.unit.name().map_or_else(String::new, |unit| format!(" {unit}"));
        return Err(SqlError::new(
            ErrorKind::InvalidParameterValue,
            format!(
                "{number}{unit} is outside the valid range for parameter \"{}\" ({min} .. {max})",
                setting.name
            ),
        ));
    }
    Ok(number.to_string())
}

fn canonical_real(setting: &Setting, value: &str, min: f64, max: f64) -> Result<String, SqlError> {
    let number = in_base_unit(setting, value)
        .filter(|number| number.is_finite())
        .ok_or_else(|| invalid(setting, value))?;
    if number < min || number > max {
        return Err(SqlError::new(
            ErrorKind::InvalidParameterValue,
            format!(
                "{number} is outside the valid range for parameter \"{}\" ({min} .. {max})",
                setting.name
            ),
        ));
    }
    Ok(number.to_string())
}

fn canonical_date_style(setting: &Setting, value: &str) -> Result<String, SqlError> {
    let mut order = None;
    for word in value.split(',').map(|word| word.trim().to_ascii_lowercase()) {
        match word.as_str() {
            "iso" | "default" => {}
            "mdy" | "us" | "noneuro" | "noneuropean" => order = Some("MDY"),
            "dmy" | "euro" | "european" => order = Some("DMY"),
            "ymd" => order = Some("YMD"),
            "sql" | "postgres" | "german" => {
                return Err(SqlError::unsupported(format!("DateStyle \"{value}\"")));
            }
            _ => return Err(invalid(setting, value)),
        }
    }
    Ok(format!("ISO, {}", order.unwrap_or("MDY")))
}

fn canonical_encoding(setting: &Setting, value: &str) -> Result<String, SqlError> {
    let plain: String =
        value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match plain.as_str() {
        "utf8" | "unicode" => Ok("UTF8".to_owned()),
        "sqlascii" | "latin1" | "latin9" | "win1252" | "iso88591" | "eucjp" | "sjis" | "gbk" | "big5" => {
            Err(SqlError::new(
                ErrorKind::FeatureNotSupported,
                format!("conversion between {} and UTF8 is not supported", value.to_ascii_uppercase()),
            ))
        }
        _ => Err(invalid(setting, value)),
    }
}

/// The zone of a canonical value; UTC for anything else.
#[must_use]
pub fn zone_of(text: &str) -> TimeZone {
    read_zone(text).map_or(TimeZone::UTC, |(zone, _)| zone)
}

fn canonical_zone(value: &str) -> Option<String> {
    read_zone(value).map(|(_, name)| name)
}

/// Reads a zone's name (any case), a number of hours east, or `INTERVAL`-made offsets such as `+02:00`.
fn read_zone(value: &str) -> Option<(TimeZone, String)> {
    let value = value.trim();
    if let Some(zone) = TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(value)) {
        return Some((TimeZone::Named(*zone), zone.name().to_owned()));
    }
    let inner = value.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(inner, _)| inner);
    let seconds = offset_seconds(inner.unwrap_or(value))?;
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    // PostgreSQL shows the POSIX form, whose second part counts west of Greenwich.
    let posix = if seconds < 0 { '+' } else { '-' };
    let shown = if minutes == 0 { format!("{hours:02}") } else { format!("{hours:02}:{minutes:02}") };
    Some((TimeZone::Fixed(seconds), format!("<{sign}{shown}>{posix}{shown}")))
}

/// `-7`, `+05:30`, `5.5`: seconds east.
fn offset_seconds(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let seconds = if digits.contains(':') {
        let mut seconds = 0;
        for (part, unit) in digits.split(':').zip([3600, 60, 1]) {
            if part.is_empty() || part.len() > 2 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            seconds += part.parse::<i32>().ok()? * unit;
        }
        seconds
    } else {
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        (digits.parse::<f64>().ok().filter(|hours| hours.abs() <= 168.0)? * 3600.0).round() as i32
    };
    (seconds < 168 * 3600).then_some(sign * seconds)
}

/// What SHOW prints for a canonical value.
#[must_use]
pub fn shown(setting: &Setting, canonical: &str) -> String {
    let (Some((units, own)), Ok(number)) = (setting.unit.scale(), canonical.parse::<i64>()) else {
        return canonical.to_owned();
    };
    if number <= 0 {
        return canonical.to_owned();
    }
    let total = number as f64 * own;
    units
        .iter()
        .find(|(_, size)| total % size == 0.0)
        .map_or_else(|| canonical.to_owned(), |(name, size)| format!("{}{name}", (total / size) as i64))
}
