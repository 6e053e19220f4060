//! Why the server did not start or stop well, in words for whoever typed the command.

use std::path::PathBuf;

use proto::SqlError;

/// A failure outside any session.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Unsupported(String),
    #[error("data directory {} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("could not {what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error(
        "a server uses this place: it holds the lease in the meta store; stop it, or make a backup and verify that"
    )]
    Served,
    #[error("there is no data in {}", path.display())]
    NoData { path: PathBuf },
    #[error("{} is in the way: a rebuild makes a new one (--force renames it)", path.display())]
    InTheWay { path: PathBuf },
    #[error("{0} damaged")]
    Damaged(usize),
    #[error("password: {0}")]
    Password(String),
    #[error("{0}")]
    Cluster(#[from] cluster::Error),
    #[error("{0}")]
    Segments(#[from] segments::Error),
    #[error("{0}")]
    Engine(#[from] exec::error::Error),
    #[error("the lease is lost: another server has taken over, or the meta store did not answer in time")]
    LeaseLost,
    #[error("sample: {0}")]
    Sample(#[from] SqlError),
    #[error("{0}")]
    Place(SqlError),
}
