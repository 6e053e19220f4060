//! Errors of storage and cluster as the session reports them.

use arrow::error::ArrowError;
use proto::{Classify, ErrorKind, SqlError, Timestamp};

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
        cluster::Error::DuplicateKey { table, constraint, row } => duplicate_key(table, constraint, row, 0),
        cluster::Error::BeforeHorizon { what, asked, oldest } => SqlError {
            message: format!(
                "{what} cannot be read as of {}: the oldest readable time is {}",
                shown_instant(*asked),
                shown_instant(*oldest)
            ),
            ..classified(error)
        },
        cluster::Error::InFuture(ts) => SqlError {
            message: format!("cannot read as of {}, which is in the future", shown_instant(*ts)),
            ..classified(error)
        },
        _ => classified(error),
    }
}

/// An instant for people: in UTC, to the millisecond.
pub(crate) fn shown_instant(ts: Timestamp) -> String {
    let micros = i64::try_from(ts.millis().saturating_mul(1000)).unwrap_or(i64::MAX);
    let mut text = String::new();
    exec::text::datetime::write_timestamptz(micros, &exec::text::TimeZone::UTC, &mut text);
    text
}

/// Rows of ours that Arrow refuses; a defect. `of` says whose rows they are.
pub(crate) fn rows_error(of: &'static str) -> impl Fn(ArrowError) -> SqlError {
    move |error| SqlError::new(ErrorKind::Internal, format!("rows of {of}: {error}"))
}
