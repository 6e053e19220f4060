//! Errors of storage and cluster as the session reports them.

use arrow::error::ArrowError;
use proto::{Classify, ErrorKind, SqlError};

use super::duplicates::duplicate_key;

/// An error of ours with its kind, detail and hint kept.
pub(crate) fn classified(error: &dyn Classify) -> SqlError {
    SqlError { detail: error.detail(), hint: error.hint(), ..SqlError::new(error.kind(), error.to_string()) }
}

/// An error of the storage engine.
pub(crate) fn storage_error(error: &segments::Error) -> SqlError {
    classified(error)
}

/// An error of the node; a duplicate key is told as the statements tell it.
pub(crate) fn node_error(error: &cluster::Error) -> SqlError {
    match error {
        cluster::Error::DuplicateKey { table, row, .. } => duplicate_key(table, row, 0),
        _ => classified(error),
    }
}

/// Rows of ours that Arrow refuses; a defect. `of` says whose rows they are.
pub(crate) fn rows_error(of: &'static str) -> impl Fn(ArrowError) -> SqlError {
    move |error| SqlError::new(ErrorKind::Internal, format!("rows of {of}: {error}"))
}
