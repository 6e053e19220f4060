//! The one door to files: every open, write, sync, rename and listing of this server goes through `FileDoor`.
//!
//! Errors name the path and what was attempted. Directories are made durable when they are created: a new
//! entry exists after a crash only if its parent directory was synced. `SystemDoor` is the operating system;
//! `fault::FaultDoor` stands before any door and makes it fail, `volatile::VolatileDoor` is a disk that loses its power,
//! for the tests of everything above.
//!
//! What it is not: no buffering, no paths of its own.
//!
//! Invariant: symbolic links are never followed in the last component of a path.
#![allow(clippy::disallowed_methods, reason = "this is the door the ban points at")]

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::error::{Error, Result};

pub mod fault;
pub mod outside;
pub mod volatile;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; for reading.
    Read,
    /// Must exist; for reading and writing.
    ReadWrite,
    /// Must not exist; for reading and writing.
    CreateNew,
    /// Created when missing; for reading and writing.
    OpenOrCreate,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    /// A symbolic link, socket, device: nothing this server makes.
    Other,
}

/// What a path is.
#[derive(Clone, Debug)]
pub struct FileInfo {
    pub kind: EntryKind,
    /// Bytes, for files.
    pub len: u64,
    pub modified: SystemTime,
}

/// Operations on paths.
pub trait FileDoor: Send + Sync + Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// Names the path; a missing or existing file as the mode says, a symbolic link always.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn OpenFile>>;
    /// What a path is; `None` when nothing is there.
    ///
    /// # Errors
    /// Names the path.
    fn info(&self, path: &Path) -> Result<Option<FileInfo>>;
    /// The names in a directory, ascending.
    ///
    /// # Errors
    /// Names the path.
    fn list(&self, directory: &Path) -> Result<Vec<String>>;
    /// Creates one directory; it may exist. Not durable before `sync_dir` of its parent.
    ///
    /// # Errors
    /// Names the path.
    fn create_dir(&self, directory: &Path) -> Result<()>;
    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// Names the path.
    fn sync_dir(&self, directory: &Path) -> Result<()>;
    /// Gives a file a second name, which must be free.
    ///
    /// # Errors
    /// Names the new path; `io::ErrorKind::AlreadyExists` when it is taken.
    fn link(&self, from: &Path, to: &Path) -> Result<()>;
    /// Moves a file over whatever has the new name.
    ///
    /// # Errors
    /// Names the new path.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Names the path.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Creates a directory with all its parents and makes every new one durable.
    ///
    /// # Errors
    /// Names the path that failed.
    fn create_dirs(&self, directory: &Path) -> Result<()> {
        let mut missing: Vec<&Path> = Vec::new();
        let mut at = Some(directory);
        while let Some(path) = at.filter(|path| !path.as_os_str().is_empty()) {
            match self.info(path)? {
                Some(info) if info.kind == EntryKind::File => {
                    return Err(failed("create directory", path, io::ErrorKind::NotADirectory.into()));
                }
                Some(_) => break,
                None => missing.push(path),
            }
            at = path.parent();
        }
        for path in missing.into_iter().rev() {
            self.create_dir(path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            self.sync_dir(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }
}

/// Operations on an open file; positions are explicit, so they need no lock.
pub trait OpenFile: Send + Sync + Debug {
    /// The path it was opened with.
    fn path(&self) -> &Path;
    /// # Errors
    /// Names the path.
    fn len(&self) -> Result<u64>;
    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// Names the path.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buffer` from the bytes at `offset`.
    ///
    /// # Errors
    /// Names the path; `io::ErrorKind::UnexpectedEof` when the file is shorter.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()>;
    /// # Errors
    /// Names the path; a part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;
    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    /// Names the path.
    fn set_len(&self, len: u64) -> Result<()>;
    /// `fdatasync`: contents and length are durable.
    ///
    /// # Errors
    /// Names the path; what was written since the last sync may be lost then.
    fn sync_data(&self) -> Result<()>;
    /// `fsync`.
    ///
    /// # Errors
    /// As `sync_data`.
    fn sync_all(&self) -> Result<()>;
    /// Takes the exclusive lock of the file until it is closed; false when another process has it.
    ///
    /// # Errors
    /// Names the path.
    fn try_lock(&self) -> Result<bool>;
    /// Releases the lock.
    ///
    /// # Errors
    /// Names the path.
    fn unlock(&self) -> Result<()>;
    /// Maps the whole file for reading. The caller guarantees that nobody cuts or rewrites it: true for objects,
    /// which are written once.
    ///
    /// # Errors
    /// Names the path.
    fn map(&self) -> Result<Bytes>;
}

/// An error of a file operation.
#[must_use]
pub fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}

/// Reads a whole file.
///
/// # Errors
/// Names the path.
pub fn read_whole(door: &dyn FileDoor, path: &Path) -> Result<Vec<u8>> {
    let file = door.open(path, OpenMode::Read)?;
    let len = usize::try_from(file.len()?)
        .map_err(|_| failed("read file", path, io::ErrorKind::FileTooLarge.into()))?;
    let mut bytes = vec![0; len];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDoor;

impl FileDoor for SystemDoor {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn OpenFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        match mode {
            OpenMode::Read | OpenMode::ReadWrite => {}
            OpenMode::CreateNew => drop(options.create_new(true)),
            OpenMode::OpenOrCreate => drop(options.create(true)),
        }
        let action = if mode == OpenMode::CreateNew { "create file" } else { "open file" };
        let file = options.open(path).map_err(|error| failed(action, path, error))?;
        Ok(Arc::new(SystemFile { path: path.to_owned(), file }))
    }

    fn info(&self, path: &Path) -> Result<Option<FileInfo>> {
        let metadata = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("stat", path, error)),
        };
        let kind = match metadata.file_type() {
            kind if kind.is_file() => EntryKind::File,
            kind if kind.is_dir() => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        let modified = metadata.modified().map_err(|error| failed("stat", path, error))?;
        Ok(Some(FileInfo { kind, len: metadata.len(), modified }))
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        let entries =
            std::fs::read_dir(directory).map_err(|error| failed("list directory", directory, error))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed("list directory", directory, error))?;
            // Names that are not UTF-8 are nothing this server made.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, directory: &Path) -> Result<()> {
        match std::fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
            other => other.map_err(|error| failed("create directory", directory, error)),
        }
    }

    fn sync_dir(&self, directory: &Path) -> Result<()> {
        let sync = || File::open(directory)?.sync_all();
        sync().map_err(|error| failed("sync directory", directory, error))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::hard_link(from, to).map_err(|error| failed("create file", to, error))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to).map_err(|error| failed("rename to", to, error))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        std::fs::remove_file(path).map_err(|error| failed("remove file", path, error))
    }
}

#[derive(Debug)]
struct SystemFile {
    path: PathBuf,
    file: File,
}

impl SystemFile {
    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error + '_ {
        move |error| failed(action, &self.path, error)
    }
}

impl OpenFile for SystemFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(self.failed("stat"))?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(self.failed("read file"))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(self.failed("write file"))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(self.failed("resize file"))
    }

    fn sync_data(&self) -> Result<()> {
        self.file.sync_data().map_err(self.failed("sync file"))
    }

    fn sync_all(&self) -> Result<()> {
        self.file.sync_all().map_err(self.failed("sync file"))
    }

    fn try_lock(&self) -> Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(error)) => Err(failed("lock file", &self.path, error)),
        }
    }

    fn unlock(&self) -> Result<()> {
        self.file.unlock().map_err(self.failed("unlock file"))
    }

    fn map(&self) -> Result<Bytes> {
        if self.is_empty()? {
            return Ok(Bytes::new());
        }
        map_file(&self.file).map(Bytes::from_owner).map_err(self.failed("map file"))
    }
}

#[allow(unsafe_code, reason = "mapping a file")]
fn map_file(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: the mapping stays valid because objects are written once: no code of this server cuts or rewrites
    // a file after it got its final name, and the data directory belongs to this server alone. Bytes are
    // checked against checksums before they mean anything.
    unsafe { memmap2::Mmap::map(file) }
}

#[cfg(test)]
mod tests;
