//! What `set_config` changes: collected while a statement runs, made the session's when it is done.
//!
//! Invariants: a change is checked when it is collected, so that taking it over cannot fail; a statement that
//! fails leaves none behind.

use exec::statement::SettingSink;
use parking_lot::Mutex;
use proto::SqlError;

use crate::settings::{self, Scope, SessionSettings};

/// One call of `set_config`.
#[derive(Debug)]
struct Change {
    name: String,
    /// None: back to the value at the session's start.
    value: Option<String>,
    scope: Scope,
    /// What SHOW prints then.
    shown: String,
}

/// The changes of the running statement.
#[derive(Debug)]
pub(super) struct SettingChanges {
    changes: Mutex<Vec<Change>>,
    /// The settings as the session began, which RESET returns to.
    start: SessionSettings,
}

impl SettingChanges {
    pub(super) fn new(start: SessionSettings) -> Self {
        Self { changes: Mutex::default(), start }
    }

    pub(super) fn discard(&self) {
        self.changes.lock().clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.lock().is_empty()
    }

    /// Makes the changes the session's, in their order.
    pub(super) fn apply(&self, settings: &mut SessionSettings) -> Result<(), SqlError> {
        for change in std::mem::take(&mut *self.changes.lock()) {
            match change.value {
                Some(value) => settings.set(&change.name, &value, change.scope)?,
                None => settings.reset(&change.name, change.scope)?,
            }
        }
        Ok(())
    }
}

impl SettingSink for SettingChanges {
    fn set(&self, name: &str, value: Option<&str>, local: bool) -> Result<String, SqlError> {
        let shown = match value {
            Some(value) => settings::checked_shown(name, value)?,
            None => {
                let mut start = self.start.clone();
                start.reset(name, Scope::Session)?;
                start.show(name).unwrap_or_default()
            }
        };
        let scope = if local { Scope::Local } else { Scope::Session };
        let (name, value) = (name.to_owned(), value.map(str::to_owned));
        self.changes.lock().push(Change { name, value, scope, shown: shown.clone() });
        Ok(shown)
    }

    fn changed(&self, name: &str) -> Option<String> {
        let changes = self.changes.lock();
        let last = changes.iter().rev().find(|change| change.name.eq_ignore_ascii_case(name));
        last.map(|change| change.shown.clone())
    }
}
