//! Where COPY reads and writes on the server's side: files by path, objects of S3 by address.
//!
//! What it is not: no formats (`super`) and no credentials; those are the server's own, and only its assembly knows how
//! a bucket is opened.
//!
//! Invariants: errors are worded and numbered as PostgreSQL's; a thing that could not be written whole is removed, or
//! never shows; everything that blocks runs off the I/O threads.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path as Key;
use proto::{ErrorKind, SqlError};

mod object;
mod sink;
mod source;

pub(crate) use sink::Sink;
pub(crate) use source::{RandomAccess, Source};

/// Opens a bucket of S3 with the server's own credentials.
pub trait Buckets: Send + Sync + std::fmt::Debug {
    /// The objects of a bucket.
    ///
    /// # Errors
    /// Settings that are no settings, in words.
    fn open(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, String>;
}

/// No bucket can be opened: for what runs without an assembly.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBuckets;

impl Buckets for NoBuckets {
    fn open(&self, _bucket: &str) -> Result<Arc<dyn ObjectStore>, String> {
        Err("this server has no access to S3".to_owned())
    }
}

/// What COPY of this server can reach.
#[derive(Clone, Debug)]
pub struct Places {
    /// Relative paths to read are below it, as in PostgreSQL below its data directory.
    pub directory: PathBuf,
    pub buckets: Arc<dyn Buckets>,
}

/// A place by its written name.
#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Object { store: Arc<dyn ObjectStore>, key: Key },
}

impl Places {
    /// Opens what shall be read.
    ///
    /// # Errors
    /// 58P01 when it is not there, 42501 when it may not be read, 42809 for a directory.
    pub(crate) async fn source(&self, name: &str) -> Result<Source, SqlError> {
        match self.place(name, false)? {
            Place::File(path) => Source::file(name, path).await,
            Place::Object { store, key } => Source::object(name, store, key).await,
        }
    }

    /// Opens what shall be written.
    ///
    /// # Errors
    /// 42602 for a relative path, 42501 when it may not be written, 42809 for a directory.
    pub(crate) async fn sink(&self, name: &str) -> Result<Sink, SqlError> {
        match self.place(name, true)? {
            Place::File(path) => Sink::file(name, path).await,
            Place::Object { store, key } => Ok(Sink::object(name, store, key)),
        }
    }

    fn place(&self, name: &str, write: bool) -> Result<Place, SqlError> {
        if let Some(address) = name.strip_prefix("s3://") {
            return self.object(name, address);
        }
        if let Some((scheme, _)) = name.split_once("://")
            && !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        {
            return Err(SqlError::unsupported(format!("COPY with an address of {scheme}://")));
        }
        let path = PathBuf::from(name);
        if path.is_absolute() {
            return Ok(Place::File(path));
        }
        if write {
            let message = "relative path not allowed for COPY to file";
            return Err(SqlError::new(ErrorKind::InvalidName, message));
        }
        Ok(Place::File(self.directory.join(path)))
    }

    fn object(&self, name: &str, address: &str) -> Result<Place, SqlError> {
        let invalid = |reason: String| {
            let message = format!("\"{name}\" is not an address of an object: {reason}");
            SqlError::new(ErrorKind::InvalidParameterValue, message).with_hint("Write s3://BUCKET/KEY.")
        };
        let (bucket, key) = address.split_once('/').unwrap_or((address, ""));
        if bucket.is_empty() || key.is_empty() {
            let missing = if bucket.is_empty() { "the bucket is missing" } else { "the key is missing" };
            return Err(invalid(missing.to_owned()));
        }
        let key = Key::parse(key).map_err(|error| invalid(error.to_string()))?;
        let store = self.buckets.open(bucket).map_err(|reason| {
            SqlError::new(ErrorKind::IoError, format!("could not open bucket \"{bucket}\": {reason}"))
        })?;
        Ok(Place::Object { store, key })
    }
}

/// What was attempted with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    OpenForReading,
    OpenForWriting,
    Read,
    Write,
}

/// An error of the operating system in PostgreSQL's words.
fn file_error(attempt: Attempt, name: &str, error: &io::Error) -> SqlError {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ErrorKind::InsufficientPrivilege
        }
        io::ErrorKind::NotFound => ErrorKind::UndefinedFile,
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => ErrorKind::WrongObjectType,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::IoError,
    };
    placed(attempt, name, kind, &plain(error))
}

fn placed(attempt: Attempt, name: &str, kind: ErrorKind, reason: &str) -> SqlError {
    let error = match attempt {
        Attempt::OpenForReading => {
            SqlError::new(kind, format!("could not open file \"{name}\" for reading: {reason}"))
        }
        Attempt::OpenForWriting => {
            SqlError::new(kind, format!("could not open file \"{name}\" for writing: {reason}"))
        }
        Attempt::Read => SqlError::new(kind, format!("could not read file \"{name}\": {reason}")),
        Attempt::Write => SqlError::new(kind, format!("could not write to file \"{name}\": {reason}")),
    };
    let hinted = matches!(kind, ErrorKind::UndefinedFile | ErrorKind::InsufficientPrivilege);
    match attempt {
        Attempt::OpenForReading if hinted => error.with_hint(
            "COPY FROM instructs the PostgreSQL server process to read a file. You may want a client-side \
             facility such as psql's \\copy.",
        ),
        Attempt::OpenForWriting if hinted => error.with_hint(
            "COPY TO instructs the PostgreSQL server process to write a file. You may want a client-side \
             facility such as psql's \\copy.",
        ),
        _ => error,
    }
}

/// The operating system's words without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// An error of the object store in the words for files.
fn object_error(attempt: Attempt, name: &str, error: &object_store::Error) -> SqlError {
    use object_store::Error;
    match error {
        Error::NotFound { .. } => {
            placed(attempt, name, ErrorKind::UndefinedFile, "No such file or directory")
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            placed(attempt, name, ErrorKind::InsufficientPrivilege, "Permission denied")
        }
        Error::Precondition { .. } => {
            placed(attempt, name, ErrorKind::IoError, "the object was replaced while it was read")
        }
        _ => placed(attempt, name, ErrorKind::IoError, &error.to_string()),
    }
}

/// Work off the I/O threads that ended by itself or not at all.
fn stopped(error: &cluster::Error) -> SqlError {
    SqlError::new(ErrorKind::Internal, error.to_string())
}
