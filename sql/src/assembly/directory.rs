//! The lock on the data directory: embedded, it is what a lease is in a cluster.
//!
//! Invariant: while the returned file is open, no other process gets it; the kernel releases it with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::Path;

use proto::time::Dice;

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

/// Bytes of an identity.
const IDENTITY: usize = 16;

/// The name of a data directory, drawn at the first start: a lease that carries it was this directory's.
///
/// # Errors
/// When it can be neither read nor written.
pub(super) fn identity(directory: &Path, dice: &dyn Dice) -> Result<String, StartError> {
    let path = directory.join("identity");
    let failed = |source| StartError::Io { what: format!("keep the identity {}", path.display()), source };
    // One that is cut short was never used.
    if let Ok(known) = std::fs::read_to_string(&path)
        && known.len() == IDENTITY
    {
        return Ok(known);
    }
    let fresh = format!("{:016x}", dice.next_u64());
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).map_err(failed)?;
    file.write_all(fresh.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let name = || identity(directory.path(), &cluster::clock::SystemDice).expect("a name");
        assert_eq!((name().len(), name()), (IDENTITY, name()));
    }

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
