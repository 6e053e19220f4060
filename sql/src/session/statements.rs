//! A session's prepared statements by name.
//!
//! Invariant: the unnamed statement is replaced by each Parse without a name; named ones only by closing.

use std::sync::Arc;

use hashbrown::HashMap;
use proto::{ErrorKind, SqlError};

/// How many named statements, and how many named portals, a session may hold.
pub(super) const NAMED_LIMIT: usize = 16_384;

/// A parsed and planned statement; `None` is the empty statement.
pub(super) type PreparedStatement<P> = Option<Arc<P>>;

/// The statements of a session.
#[derive(Debug)]
pub(super) struct Statements<P> {
    named: HashMap<String, PreparedStatement<P>>,
    unnamed: Option<PreparedStatement<P>>,
}

impl<P> Statements<P> {
    pub(super) fn new() -> Self {
        Self { named: HashMap::new(), unnamed: None }
    }

    /// # Errors
    /// 42P05 when a statement of the name exists, 54000 when there are too many.
    pub(super) fn check_free(&self, name: Option<&str>) -> Result<(), SqlError> {
        let Some(name) = name else { return Ok(()) };
        if self.named.contains_key(name) {
            return Err(SqlError::new(
                ErrorKind::DuplicatePreparedStatement,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        if self.named.len() >= NAMED_LIMIT {
            return Err(SqlError::new(
                ErrorKind::ProgramLimitExceeded,
                format!("a session cannot have more than {NAMED_LIMIT} prepared statements"),
            ));
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, name: Option<String>, statement: PreparedStatement<P>) {
        match name {
            Some(name) => {
                self.named.insert(name, statement);
            }
            None => self.unnamed = Some(statement),
        }
    }

    /// # Errors
    /// 26000 when there is none.
    pub(super) fn get(&self, name: Option<&str>) -> Result<&PreparedStatement<P>, SqlError> {
        match name {
            Some(name) => self.named.get(name).ok_or_else(|| {
                SqlError::new(
                    ErrorKind::InvalidSqlStatementName,
                    format!("prepared statement \"{name}\" does not exist"),
                )
            }),
            None => self.unnamed.as_ref().ok_or_else(|| {
                SqlError::new(ErrorKind::InvalidSqlStatementName, "unnamed prepared statement does not exist")
            }),
        }
    }

    /// Removes a statement; false when there was none.
    pub(super) fn remove(&mut self, name: Option<&str>) -> bool {
        match name {
            Some(name) => self.named.remove(name).is_some(),
            None => self.unnamed.take().is_some(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.named.clear();
        self.unnamed = None;
    }
}
