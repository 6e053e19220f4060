//! Settings: one table of what exists, and each session's values with SET, SET LOCAL, RESET and SHOW.
//!
//! What it is not: it gives settings no meaning; whoever reads a value does.
//!
//! Invariants: every stored value is canonical (valid and in one spelling); a rolled back transaction leaves
//! no trace; SET LOCAL ends with its transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use exec::text::TimeZone;
use proto::{ErrorKind, SqlError};

pub mod instant;
pub mod table;
pub mod value;

pub use table::{Context, SERVER_VERSION, SERVER_VERSION_NUM, SETTINGS, Setting};
pub use value::{Kind, Unit, parse_bool};

/// How long a SET lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Until the session ends; undone when the transaction rolls back.
    Session,
    /// Until the transaction ends.
    Local,
}

/// A value with the name as it is shown. Keys of the maps are lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    value: String,
}

type Values = BTreeMap<String, Entry>;

/// One row of `pg_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingRow {
    pub name: String,
    pub setting: String,
    pub unit: Option<&'static str>,
    pub category: &'static str,
    pub description: &'static str,
    pub extra: Option<&'static str>,
    pub context: &'static str,
    pub vartype: &'static str,
    pub source: &'static str,
    pub min: Option<String>,
    pub max: Option<String>,
    pub words: Option<&'static [&'static str]>,
    pub boot: Option<String>,
    pub reset: Option<String>,
}

/// The layers of values at a savepoint or at a transaction's start.
#[derive(Clone, Debug)]
pub struct SettingsMark {
    session: Arc<Values>,
    local: Arc<Values>,
}

/// One session's settings.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// What RESET goes back to, where it is not the table's default: startup packet and server values.
    start: Arc<Values>,
    /// What SET has made; committed or of the running transaction.
    session: Arc<Values>,
    /// What SET LOCAL has made in the running transaction.
    local: Arc<Values>,
    /// The session layer at the start of the running transaction.
    saved: Option<Arc<Values>>,
    /// Last values the client was told, of reported settings.
    reported: BTreeMap<&'static str, String>,
    /// Whether a reported value may have changed since.
    changed: bool,
    /// Grows with every change of a value in force, so that what was made under other values is known as such.
    version: u64,
    /// The value of TimeZone, read: every statement asks for it.
    zone: TimeZone,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionSettings {
    /// The table's defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Arc::default(),
            session: Arc::default(),
            local: Arc::default(),
            saved: None,
            reported: BTreeMap::new(),
            changed: true,
            version: 0,
            zone: table::find("TimeZone").map_or(TimeZone::UTC, |setting| value::zone_of(setting.default)),
        }
    }

    /// The same number means the same values in force.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    fn touch(&mut self) {
        self.changed = true;
        self.version += 1;
        self.zone = self.get("TimeZone").map_or(TimeZone::UTC, value::zone_of);
    }

    /// Sets the value that the session starts with and RESET returns to: from the startup packet (`options`,
    /// `application_name`, …), checked as SET checks it.
    ///
    /// # Errors
    /// As `set`.
    pub fn set_start(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let (key, entry) = checked(name, value)?;
        Arc::make_mut(&mut self.start).insert(key, entry);
        self.touch();
        Ok(())
    }

    /// Sets a value whatever its context: what the server says about itself (`session_authorization`,
    /// `is_superuser`, `max_connections`, `transaction_isolation`). Not undone by rollback.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for an invalid value.
    pub fn set_fixed(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let setting = table::find(name).ok_or_else(|| unrecognized(name))?;
        let entry = Entry { name: setting.name.to_owned(), value: value::canonical(setting, value)? };
        let key = name.to_ascii_lowercase();
        Arc::make_mut(&mut self.session).remove(&key);
        Arc::make_mut(&mut self.local).remove(&key);
        Arc::make_mut(&mut self.start).insert(key, entry);
        self.touch();
        Ok(())
    }

    /// `SET name = value`, `SET LOCAL`, `set_config`.
    ///
    /// # Errors
    /// 42704 unknown name, 42602 name under a reserved prefix or malformed, 22023 invalid value, 55P02 a
    /// setting that sessions cannot change.
    pub fn set(&mut self, name: &str, value: &str, scope: Scope) -> Result<(), SqlError> {
        let (key, entry) = checked(name, value)?;
        match scope {
            Scope::Session => {
                Arc::make_mut(&mut self.local).remove(&key);
                Arc::make_mut(&mut self.session).insert(key, entry);
            }
            Scope::Local => {
                Arc::make_mut(&mut self.local).insert(key, entry);
            }
        }
        self.touch();
        Ok(())
    }

    /// `RESET name`, `SET name TO DEFAULT`.
    ///
    /// # Errors
    /// 42704 unknown name; 55P02 a setting that sessions cannot change.
    pub fn reset(&mut self, name: &str, scope: Scope) -> Result<(), SqlError> {
        let key = name.to_ascii_lowercase();
        match table::find(name) {
            Some(setting) => changeable(setting)?,
            None if self.entry(&key).is_some() => {}
            None => {
                check_placeholder(name)?;
            }
        }
        if scope == Scope::Local {
            let value = self.start_value(&key).unwrap_or_default();
            return self.set(name, &value, Scope::Local);
        }
        Arc::make_mut(&mut self.local).remove(&key);
        if table::find(name).is_none()
            && let Some(entry) = self.session.get(&key).cloned()
        {
            // A placeholder is known for the rest of the session, with its start value.
            let value = self.start.get(&key).map_or_else(String::new, |start| start.value.clone());
            Arc::make_mut(&mut self.session).insert(key, Entry { value, ..entry });
        } else {
            Arc::make_mut(&mut self.session).remove(&key);
        }
        self.touch();
        Ok(())
    }

    /// `RESET ALL`.
    pub fn reset_all(&mut self) {
        self.session = Arc::default();
        self.local = Arc::default();
        self.touch();
    }

    /// Whether the session has given a value, at its start or since.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.entry(&name.to_ascii_lowercase()).is_some()
    }

    /// The canonical value in force (`pg_settings.setting`, typed readers); `None` for an unknown name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let key = name.to_ascii_lowercase();
        match self.entry(&key) {
            Some(entry) => Some(&entry.value),
            None => table::find(name).map(|setting| setting.default),
        }
    }

    /// What `SHOW name` and `current_setting(name)` print.
    ///
    /// # Errors
    /// 42704 unknown name.
    pub fn show(&self, name: &str) -> Result<String, SqlError> {
        let value = self.get(name).ok_or_else(|| unrecognized(name))?;
        Ok(table::find(name).map_or_else(|| value.to_owned(), |setting| value::shown(setting, value)))
    }

    /// The column name of `SHOW name`: the table's spelling.
    #[must_use]
    pub fn shown_name(&self, name: &str) -> String {
        table::find(name).map_or_else(
            || {
                self.entry(&name.to_ascii_lowercase())
                    .map_or_else(|| name.to_owned(), |entry| entry.name.clone())
            },
            |setting| setting.name.to_owned(),
        )
    }

    /// A Boolean setting; false for names that are not Boolean.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("on")
    }

    /// An integer setting in its base unit; 0 for names that are not integers.
    #[must_use]
    pub fn integer(&self, name: &str) -> i64 {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// `statement_timeout`; `None` when there is none.
    #[must_use]
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.timeout("statement_timeout")
    }

    /// A timeout in milliseconds; `None` when it is 0.
    #[must_use]
    pub fn timeout(&self, name: &str) -> Option<Duration> {
        u64::try_from(self.integer(name)).ok().filter(|&millis| millis > 0).map(Duration::from_millis)
    }

    /// The session's time zone.
    #[must_use]
    pub const fn time_zone(&self) -> TimeZone {
        self.zone
    }

    /// The names of `search_path`, unquoted, `$user` included as such.
    #[must_use]
    pub fn search_path(&self) -> Vec<String> {
        self.get("search_path").map(split_list).unwrap_or_default()
    }

    /// Every value in force by its shown name, as SHOW prints it (`current_setting`).
    #[must_use]
    pub fn shown_values(&self) -> BTreeMap<String, String> {
        let known = SETTINGS.iter().map(|setting| setting.name.to_owned());
        let placeholders = self.placeholders().into_iter().map(|entry| entry.name.clone());
        known
            .chain(placeholders)
            .filter_map(|name| self.show(&name).ok().map(|value| (name, value)))
            .collect()
    }

    /// `SHOW ALL`: name, setting, description.
    #[must_use]
    pub fn show_all(&self) -> Vec<(String, String, String)> {
        self.rows()
            .into_iter()
            .map(|row| {
                let shown = self.show(&row.name).unwrap_or_default();
                (row.name, shown, row.description.to_owned())
            })
            .collect()
    }

    /// The rows of `pg_settings`, by name.
    #[must_use]
    pub fn rows(&self) -> Vec<SettingRow> {
        let known = SETTINGS.iter().filter(|setting| setting.listed).map(|setting| self.known_row(setting));
        let placeholders = self.placeholders().into_iter().map(|entry| SettingRow {
            name: entry.name.clone(),
            setting: entry.value.clone(),
            unit: None,
            category: "Customized Options",
            description: "",
            extra: None,
            context: "user",
            vartype: "string",
            source: "session",
            min: None,
            max: None,
            words: None,
            boot: None,
            reset: self.start.get(&entry.name.to_ascii_lowercase()).map(|start| start.value.clone()),
        });
        let mut rows: Vec<SettingRow> = known.chain(placeholders).collect();
        rows.sort_by_cached_key(|row| row.name.to_ascii_lowercase());
        rows
    }

    fn known_row(&self, setting: &'static Setting) -> SettingRow {
        let key = setting.name.to_ascii_lowercase();
        let (min, max) = match setting.kind {
            Kind::Integer { min, max } => (Some(min.to_string()), Some(max.to_string())),
            Kind::Real { min, max } => (Some(shown_bound(min)), Some(shown_bound(max))),
            _ => (None, None),
        };
        let source = if self.local.contains_key(&key) || self.session.contains_key(&key) {
            "session"
        } else if self.start.contains_key(&key) {
            "client"
        } else {
            "default"
        };
        SettingRow {
            name: setting.name.to_owned(),
            setting: self.get(setting.name).unwrap_or(setting.default).to_owned(),
            unit: setting.unit.name(),
            category: setting.category,
            description: setting.description,
            extra: setting.extra,
            context: setting.context.name(),
            vartype: setting.kind.name(),
            source,
            min,
            max,
            words: if let Kind::Enum(words) = setting.kind { Some(words) } else { None },
            boot: Some(setting.default.to_owned()),
            reset: self.start_value(&key),
        }
    }

    fn placeholders(&self) -> Vec<&Entry> {
        let mut found: BTreeMap<&str, &Entry> = BTreeMap::new();
        for layer in [&self.start, &self.session, &self.local] {
            for (key, entry) in layer.iter() {
                if table::find(key).is_none() {
                    found.insert(key, entry);
                }
            }
        }
        found.into_values().collect()
    }

    /// A transaction begins (explicit or implicit).
    pub fn begin(&mut self) {
        if self.saved.is_none() {
            self.saved = Some(Arc::clone(&self.session));
        }
    }

    /// The transaction commits: SET LOCAL ends.
    pub fn commit(&mut self) {
        self.saved = None;
        if !self.local.is_empty() {
            self.local = Arc::default();
            self.touch();
        }
    }

    /// The transaction rolls back: every SET of it is undone. Without `begin`, ends SET LOCAL only.
    pub fn rollback(&mut self) {
        let saved = self.saved.take().filter(|saved| !Arc::ptr_eq(saved, &self.session));
        if saved.is_none() && self.local.is_empty() {
            return;
        }
        if let Some(saved) = saved {
            self.session = saved;
        }
        self.local = Arc::default();
        self.touch();
    }

    /// The values now, for a savepoint or for undoing one failed statement.
    #[must_use]
    pub fn mark(&self) -> SettingsMark {
        SettingsMark { session: Arc::clone(&self.session), local: Arc::clone(&self.local) }
    }

    /// Back to a mark.
    pub fn restore(&mut self, mark: SettingsMark) {
        self.session = mark.session;
        self.local = mark.local;
        self.touch();
    }

    /// Reported settings whose value the client does not know yet; it is taken as told. The first call gives
    /// all of them.
    pub fn take_reported(&mut self) -> Vec<(String, String)> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let mut told = Vec::new();
        for setting in SETTINGS.iter().filter(|setting| setting.reported) {
            let value = self.show(setting.name).unwrap_or_default();
            if self.reported.get(setting.name) != Some(&value) {
                told.push((setting.name.to_owned(), value.clone()));
                self.reported.insert(setting.name, value);
            }
        }
        told
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.local.get(key).or_else(|| self.session.get(key)).or_else(|| self.start.get(key))
    }

    fn start_value(&self, key: &str) -> Option<String> {
        match self.start.get(key) {
            Some(entry) => Some(entry.value.clone()),
            None => table::find(key).map(|setting| setting.default.to_owned()),
        }
    }
}

/// A bound of a real setting as `pg_settings` shows it.
fn shown_bound(bound: f64) -> String {
    if bound == f64::MAX { "1.79769e+308".to_owned() } else { bound.to_string() }
}

fn unrecognized(name: &str) -> SqlError {
    SqlError::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}

/// What SHOW prints once a session has set a value, or why it cannot.
///
/// # Errors
/// As `SessionSettings::set`.
pub fn checked_shown(name: &str, value: &str) -> Result<String, SqlError> {
    let (_, entry) = checked(name, value)?;
    Ok(match table::find(name) {
        Some(setting) => value::shown(setting, &entry.value),
        None => entry.value,
    })
}

/// A value of a setting in canonical form: numbers in the base unit.
///
/// # Errors
/// As `SessionSettings::set`.
pub fn canonical(name: &str, value: &str) -> Result<String, SqlError> {
    checked(name, value).map(|(_, entry)| entry.value)
}

/// The key and canonical entry of a value that a session may set.
fn checked(name: &str, value: &str) -> Result<(String, Entry), SqlError> {
    let key = name.to_ascii_lowercase();
    let Some(setting) = table::find(name) else {
        check_placeholder(name)?;
        return Ok((key, Entry { name: name.to_owned(), value: value.to_owned() }));
    };
    changeable(setting)?;
    Ok((key, Entry { name: setting.name.to_owned(), value: value::canonical(setting, value)? }))
}

fn changeable(setting: &Setting) -> Result<(), SqlError> {
    let ending = match setting.context {
        // Every session is a superuser's until roles exist.
        Context::User | Context::Superuser => return Ok(()),
        Context::Internal => "cannot be changed",
        Context::Postmaster => "cannot be changed without restarting the server",
        Context::Sighup => "cannot be changed now",
    };
    Err(SqlError::new(ErrorKind::CantChangeRuntimeParam, format!("parameter \"{}\" {ending}", setting.name)))
}

/// Whether `prefix.name` may be made up by a session.
fn check_placeholder(name: &str) -> Result<(), SqlError> {
    let invalid = |detail: String| {
        SqlError::new(ErrorKind::InvalidName, format!("invalid configuration parameter name \"{name}\""))
            .with_detail(detail)
    };
    let Some((prefix, _)) = name.split_once('.') else {
        return Err(unrecognized(name));
    };
    let simple = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
    };
    if !name.split('.').all(simple) {
        return Err(invalid(
            "Custom parameter names must be two or more simple identifiers separated by dots.".to_owned(),
        ));
    }
    if let Some(reserved) =
        table::RESERVED_PREFIXES.iter().find(|reserved| reserved.eq_ignore_ascii_case(prefix))
    {
        return Err(invalid(format!("\"{reserved}\" is a reserved prefix.")));
    }
    Ok(())
}

/// Joins the values of `SET search_path TO a, "B"` as PostgreSQL stores them.
#[must_use]
pub fn join_list<S: AsRef<str>>(names: &[S]) -> String {
    let quoted = names.iter().map(|name| quote_name(name.as_ref()));
    quoted.collect::<Vec<_>>().join(", ")
}

/// A name in double quotes when it would not read back plain.
fn quote_name(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Splits a list value; unquoted names are folded to lower case, empty ones dropped.
#[must_use]
pub fn split_list(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let (mut quoted, mut was_quoted) = (false, false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => {
                push_name(&mut names, &mut name, &mut was_quoted);
            }
            c if quoted => name.push(c),
            c if c.is_whitespace() => {}
            c => name.extend(c.to_lowercase()),
        }
    }
    push_name(&mut names, &mut name, &mut was_quoted);
    names
}

fn push_name(names: &mut Vec<String>, name: &mut String, was_quoted: &mut bool) {
    if !name.is_empty() || *was_quoted {
        names.push(std::mem::take(name));
    }
    *was_quoted = false;
}

#[cfg(test)]
mod tests;
