//! The lock on the data directory: embedded, it is what a lease is in a cluster.
//!
//! Invariant: while the returned file is open, no other process gets it; the kernel releases it with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::StartError;

/// Creates the directory when needed and locks it.
///
/// # Errors
/// `InUse` when another process holds the lock.
pub(super) fn lock(directory: &Path) -> Result<File, StartError> {
    let failed =
        |what: &str, source| StartError::Io { what: format!("{what} {}", directory.display()), source };
    std::fs::DirBuilder::new()
        .recursive(true)
        .create(directory)
        .map_err(|source| failed("create data directory", source))?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(|source| failed("open the lock of data directory", source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock data directory", source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("data");
        let first = lock(&path).expect("free");
        assert!(matches!(lock(&path), Err(StartError::InUse { .. })));
        drop(first);
        lock(&path).expect("free again");
    }
}
