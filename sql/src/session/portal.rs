//! Portals: bound statements, and how far each has run.

use std::sync::Arc;

use hashbrown::HashMap;
use proto::{ErrorKind, SqlError};

use super::backend::{Parameter, ResultColumn, RowStream, RowsTag};
use super::statements::{NAMED_LIMIT, PreparedStatement};
use crate::encode::{Format, RowWriter};

/// A result that is being sent.
pub(super) struct Cursor {
    pub(super) columns: Arc<[ResultColumn]>,
    pub(super) rows: RowStream,
    pub(super) tag: RowsTag,
    /// The batch at hand and its next row.
    pub(super) batch: Option<(RowWriter, usize)>,
    /// Rows sent so far, over all Executes.
    pub(super) sent: u64,
}

/// How far a portal has run.
pub(super) enum PortalState {
    /// Bound, not run.
    Bound(Vec<Parameter>),
    /// Some rows sent.
    Open(Cursor),
    /// All rows of a query sent: further Executes give none.
    Drained(RowsTag),
    /// A statement without rows has run.
    Finished,
}

/// A bound statement.
pub(super) struct Portal<P> {
    pub(super) statement: PreparedStatement<P>,
    /// Format codes as Bind gave them: none, one for all, or one per column.
    pub(super) formats: Vec<Format>,
    pub(super) state: PortalState,
}

/// The format of a column by Bind's rule.
pub(super) fn format_of(formats: &[Format], column: usize) -> Format {
    match formats {
        [] => Format::Text,
        [all] => *all,
        each => each.get(column).copied().unwrap_or(Format::Text),
    }
}

/// The portals of a session; they end with their transaction.
pub(super) struct Portals<P> {
    named: HashMap<String, Portal<P>>,
    unnamed: Option<Portal<P>>,
}

impl<P> Portals<P> {
    pub(super) fn new() -> Self {
        Self { named: HashMap::new(), unnamed: None }
    }

    /// # Errors
    /// 42P03 when a named portal exists already, 54000 when there are too many.
    pub(super) fn check_free(&self, name: Option<&str>) -> Result<(), SqlError> {
        let Some(name) = name else { return Ok(()) };
        if self.named.contains_key(name) {
            return Err(SqlError::new(
                ErrorKind::DuplicateCursor,
                format!("cursor \"{name}\" already exists"),
            ));
        }
        if self.named.len() >= NAMED_LIMIT {
            return Err(SqlError::new(
                ErrorKind::ProgramLimitExceeded,
                format!("a session cannot have more than {NAMED_LIMIT} portals"),
            ));
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, name: Option<String>, portal: Portal<P>) {
        match name {
            Some(name) => {
                self.named.insert(name, portal);
            }
            None => self.unnamed = Some(portal),
        }
    }

    /// # Errors
    /// 34000 when there is none.
    pub(super) fn get(&mut self, name: Option<&str>) -> Result<&mut Portal<P>, SqlError> {
        let found = match name {
            Some(name) => self.named.get_mut(name),
            None => self.unnamed.as_mut(),
        };
        found.ok_or_else(|| {
            SqlError::new(
                ErrorKind::InvalidCursorName,
                format!("portal \"{}\" does not exist", name.unwrap_or_default()),
            )
        })
    }

    /// Takes a portal out while it runs; `None` when a transaction's end has dropped it meanwhile.
    pub(super) fn take(&mut self, name: Option<&str>) -> Option<Portal<P>> {
        match name {
            Some(name) => self.named.remove(name),
            None => self.unnamed.take(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.named.clear();
        self.unnamed = None;
    }
}
