//! What can go wrong in agreement and motion, with data; one enum for the crate.
//!
//! What it is not: the table of SQLSTATEs (that is `sql`'s). Messages that reach a client read like PostgreSQL's.
//!
//! Invariant: `Unknown` is the only error of a commit after which its rows may still appear.

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use proto::catalog::TableMeta;
use proto::{ChannelId, Classify, Epoch, ErrorKind, Offset, SqlError, TableId, Timestamp};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the cluster could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row this transaction deletes was deleted by another one since it was read (40001).
    #[error("could not serialize access due to concurrent update")]
    Conflict,
    /// An inserted key has a live row already (23505).
    #[error("duplicate key value violates unique constraint \"{constraint}\"")]
    DuplicateKey {
        table: Arc<TableMeta>,
        constraint: String,
        /// The one row that was refused, all columns of the table: who knows the types' text tells the key.
        row: RecordBatch,
    },
    /// Everybody in a circle waits for the next one (40P01).
    #[error("deadlock detected")]
    Deadlock {
        /// PostgreSQL's DETAIL: one line per process.
        detail: String,
    },
    /// The statement was planned under a catalog that is no longer current; planning again helps.
    #[error("could not serialize access due to a concurrent change of the schema")]
    SchemaChanged,
    #[error("relation with OID {0} does not exist")]
    UndefinedTable(TableId),
    #[error("{what} does not exist")]
    UndefinedObject { what: String },
    #[error("relation \"{0}\" already exists")]
    DuplicateRelation(String),
    #[error("database \"{0}\" already exists")]
    DuplicateDatabase(String),
    #[error("schema \"{0}\" already exists")]
    DuplicateSchema(String),
    #[error("nextval: reached {end} value of sequence \"{name}\" ({limit})")]
    SequenceExhausted { name: String, end: &'static str, limit: i64 },
    /// The commit may or may not survive (08007); the caller must not send it again.
    #[error("the outcome of the transaction is unknown: {reason}")]
    Unknown { reason: String },
    /// The log or meta store refused and nothing was written.
    #[error("{action}: {source}")]
    NotWritten { action: String, source: io::Error },
    #[error("data directory \"{path}\" is in use by another process")]
    DataDirectoryInUse { path: String },
    /// Bytes that are not what was written (XX001).
    #[error("{object} is damaged: {reason}")]
    Corrupted { object: String, reason: String },
    /// Stored by a later version of this server.
    #[error("{object} has format version {found}, this server reads up to version {supported}")]
    FormatVersion { object: String, found: u64, supported: u64 },
    /// A newer owner has taken the channel.
    #[error("channel {channel}: epoch {epoch} was replaced by epoch {current}")]
    Fenced { channel: ChannelId, epoch: Epoch, current: Epoch },
    #[error("channel {channel}: offset {offset} was trimmed, the log starts at {first}")]
    Trimmed { channel: ChannelId, offset: Offset, first: Offset },
    #[error("changes of the meta store before revision {first} are no longer kept")]
    Compacted { first: u64 },
    #[error("lease {0} is lost")]
    LeaseLost(u64),
    #[error("{action}: {source}")]
    Io { action: String, source: io::Error },
    /// The part is closed or not open; the reason says what the operator can do.
    #[error("{what} is unavailable: {reason}")]
    Unavailable { what: String, reason: String },
    /// The past that is asked for is not kept any more (72000).
    #[error("{what} cannot be read as of {asked}: the oldest readable time is {oldest}")]
    BeforeHorizon { what: String, asked: Timestamp, oldest: Timestamp },
    /// An instant that has not come yet (22023).
    #[error("{0} is in the future")]
    InFuture(Timestamp),
    #[error("the server is shutting down")]
    Stopped,
    #[error(transparent)]
    Segments(#[from] segments::Error),
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A broken promise between our own parts.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// A file operation that failed before anything was written for good.
    #[must_use]
    pub fn not_written(error: segments::Error) -> Self {
        match error {
            segments::Error::File { action, path, source } => {
                Self::NotWritten { action: format!("could not {action} \"{}\"", path.display()), source }
            }
            other => Self::Segments(other),
        }
    }

    /// The same error on the way through a seam of `segments`, with its class and words.
    #[must_use]
    pub fn into_segments(self) -> segments::Error {
        match self {
            Self::Segments(error) => error,
            Self::Corrupted { object, reason } => segments::Error::Corrupted { object, reason },
            other => {
                let mut error = SqlError::new(other.kind(), other.to_string());
                error.detail = other.detail();
                error.hint = other.hint();
                segments::Error::Sql(error)
            }
        }
    }

    /// Damaged bytes in a named object.
    #[allow(clippy::needless_pass_by_value, reason = "errors and names are made for this call")]
    pub fn corrupted(object: impl ToString, reason: impl ToString) -> Self {
        Self::Corrupted { object: object.to_string(), reason: reason.to_string() }
    }
}

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::IoError,
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Conflict | Self::SchemaChanged => ErrorKind::SerializationFailure,
            Self::DuplicateKey { .. } => ErrorKind::UniqueViolation,
            Self::Deadlock { .. } => ErrorKind::DeadlockDetected,
            Self::UndefinedTable(_) => ErrorKind::UndefinedTable,
            Self::UndefinedObject { .. } => ErrorKind::UndefinedObject,
            Self::DuplicateRelation(_) => ErrorKind::DuplicateTable,
            Self::DuplicateDatabase(_) => ErrorKind::DuplicateDatabase,
            Self::DuplicateSchema(_) => ErrorKind::DuplicateSchema,
            Self::SequenceExhausted { .. } => ErrorKind::SequenceGeneratorLimitExceeded,
            Self::Unknown { .. } => ErrorKind::TransactionResolutionUnknown,
            Self::NotWritten { source, .. } | Self::Io { source, .. } => io_kind(source),
            Self::DataDirectoryInUse { .. } => ErrorKind::ObjectInUse,
            Self::Corrupted { .. } => ErrorKind::DataCorrupted,
            Self::FormatVersion { .. } => ErrorKind::FeatureNotSupported,
            Self::Fenced { .. } | Self::LeaseLost(_) | Self::Unavailable { .. } => {
                ErrorKind::CannotConnectNow
            }
            Self::BeforeHorizon { .. } => ErrorKind::SnapshotTooOld,
            Self::InFuture(_) => ErrorKind::InvalidParameterValue,
            Self::Stopped => ErrorKind::AdminShutdown,
            Self::Segments(error) => error.kind(),
            Self::Sql(error) => error.kind(),
            Self::Trimmed { .. } | Self::Compacted { .. } | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Deadlock { detail } => Some(detail.clone()),
            Self::Segments(error) => error.detail(),
            Self::Sql(error) => error.detail(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Deadlock { .. } => Some("See server log for query details.".into()),
            Self::Segments(error) => error.hint(),
            Self::Sql(error) => error.hint(),
            _ => None,
        }
    }
}
