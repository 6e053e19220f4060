//! The log's file operations, each naming its path in errors; writing and syncing can be made to fail in tests.
//!
//! Invariant: every file and directory created here is synced, with its parent, before anyone relies on it.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The two operations that fail when a disk fills up or breaks.
pub(crate) trait Disk: Send + Sync + std::fmt::Debug {
    /// Writes all parts at the file's position.
    fn append(&self, file: &File, parts: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// fdatasync.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn append(&self, mut file: &File, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        while !parts.is_empty() {
            match file.write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Creates a file that must not exist, with its first bytes, durably.
pub(super) fn create(path: &Path, header: &[u8]) -> Result<File> {
    let failed = |source| Error::io("create", path, source);
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(header).and_then(|()| file.sync_all()).map_err(failed)?;
    if let Some(parent) = path.parent() {
        sync_directory(parent)?;
    }
    Ok(file)
}

/// Opens an existing file, for writing too if asked.
pub(super) fn open(path: &Path, write: bool) -> Result<File> {
    OpenOptions::new().read(true).write(write).open(path).map_err(|source| Error::io("open", path, source))
}

/// Deletes a file.
#[allow(clippy::disallowed_methods, reason = "the log's door to files")]
pub(super) fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|source| Error::io("remove", path, source))
}

/// Creates a directory and its parents, durably.
pub(crate) fn create_directories(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    create_directories(parent)?;
    match std::fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("create directory", path, source));
        }
        _ => {}
    }
    sync_directory(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    let directory = OpenOptions::new().read(true).open(path);
    directory.and_then(|directory| directory.sync_all()).map_err(|source| Error::io("sync directory", path, source))
}

/// The log files of a directory: first offset (from the name) and path, ascending.
pub(super) fn log_files(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let failed = |source| Error::io("list", directory, source);
    let mut files = Vec::new();
    for item in std::fs::read_dir(directory).map_err(failed)? {
        let path = item.map_err(failed)?.path();
        let first = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log")?.parse().ok());
        files.extend(first.map(|first| (first, path)));
    }
    files.sort_unstable();
    Ok(files)
}
