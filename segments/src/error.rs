//! What can go wrong in storage, and its class.
//!
//! Invariant: an error about stored bytes or files names the object or path.

use std::io;
use std::path::PathBuf;

use arrow::error::ArrowError;
use proto::{Classify, ErrorKind, SqlError};

/// The result of storage operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the storage engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes that are not what was written: never answered from.
    #[error("object \"{object}\" is damaged: {reason}")]
    Corrupted { object: String, reason: String },
    /// An object that a manifest names is not there.
    #[error("object \"{object}\" is missing")]
    Missing { object: String },
    /// An object of a format this version does not read.
    #[error("object \"{object}\" has format version {found}, this server reads up to version {supported}")]
    FormatVersion { object: String, found: u32, supported: u32 },
    /// A file operation failed.
    #[error("could not {action} \"{}\": {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// The object store failed.
    #[error("could not {action} object \"{object}\": {source}")]
    Store { action: &'static str, object: String, source: Box<object_store::Error> },
    /// A batch that does not have the table's columns.
    #[error("rows do not fit table \"{table}\": {reason}")]
    RowShape { table: String, reason: String },
    /// An ordinal, range or column outside the segment.
    #[error("segment {segment} has no {what}")]
    OutOfRange { segment: proto::SegmentId, what: String },
    /// A segment that is full: ordinals are 32 bits.
    #[error("segment {0} is full")]
    SegmentFull(proto::SegmentId),
    /// An index could not be built.
    #[error("could not build the index: {0}")]
    IndexBuild(crate::faiss::FaissError),
    /// Arrow refused a computation on batches; a defect of ours.
    #[error("internal error on column data: {0}")]
    Arrow(#[from] ArrowError),
    /// An error in PostgreSQL's own words, also the way errors of a snapshot source pass through.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl Error {
    /// Damaged bytes of an object.
    pub fn corrupted(object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupted { object: object.into(), reason: reason.into() }
    }

    /// This error once more, when it says that an object is not what it should be: missing, damaged, of a later version.
    #[must_use]
    pub fn as_damage(&self) -> Option<Self> {
        match self {
            Self::Corrupted { object, reason } => Some(Self::corrupted(object, reason)),
            Self::Missing { object } => Some(Self::Missing { object: object.clone() }),
            Self::FormatVersion { object, found, supported } => {
                let (object, found, supported) = (object.clone(), *found, *supported);
                Some(Self::FormatVersion { object, found, supported })
            }
            _ => None,
        }
    }

    /// A failed object store call; a missing object has its own variant.
    #[must_use]
    pub fn store(action: &'static str, object: &str, source: object_store::Error) -> Self {
        if matches!(source, object_store::Error::NotFound { .. }) {
            return Self::Missing { object: object.to_owned() };
        }
        Self::Store { action, object: object.to_owned(), source: Box::new(source) }
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupted { .. } | Self::Missing { .. } => ErrorKind::DataCorrupted,
            Self::FormatVersion { .. } => ErrorKind::FeatureNotSupported,
            Self::File { source, .. } => io_kind(source),
            Self::Store { source, .. } => store_kind(source),
            Self::SegmentFull(_) => ErrorKind::ProgramLimitExceeded,
            Self::IndexBuild(crate::faiss::FaissError::Canceled) => ErrorKind::QueryCanceled,
            Self::IndexBuild(crate::faiss::FaissError::Failed(_)) => ErrorKind::Internal,
            Self::RowShape { .. } | Self::OutOfRange { .. } | Self::Arrow(_) => ErrorKind::Internal,
            Self::Sql(error) => error.kind,
        }
    }

    fn detail(&self) -> Option<String> {
        if let Self::Sql(error) = self { error.detail.clone() } else { None }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Sql(error) = self { error.hint.clone() } else { None }
    }
}

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::IoError,
    }
}

fn store_kind(error: &object_store::Error) -> ErrorKind {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io_kind(io);
        }
        if let Some(own) = error.downcast_ref::<Error>() {
            return own.kind();
        }
        source = error.source();
    }
    ErrorKind::IoError
}
