//! The door to files that are not ours: what COPY reads and writes by a path that the user gave.
//!
//! Unlike our own files these may be links, pipes or devices, may change under us, and are never mapped. Errors are the
//! operating system's, for PostgreSQL's words around them.
#![allow(clippy::disallowed_methods, reason = "this is the door the ban points at")]

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// An open file of the user.
#[derive(Debug)]
pub struct OutsideFile {
    file: File,
    metadata: Metadata,
}

impl OutsideFile {
    /// Opens a file for reading; links are followed.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// Opens a file for writing, empty; it is created when it is missing.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::of(OpenOptions::new().write(true).create(true).truncate(true).open(path)?)
    }

    fn of(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { file, metadata })
    }

    /// Whether the path leads to a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.metadata.is_dir()
    }

    /// Whether it is a file of bytes at positions: no pipe, socket or device.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        self.metadata.is_file()
    }

    /// Bytes when it was opened; 0 for what is not regular.
    #[must_use]
    pub fn len(&self) -> u64 {
        if self.is_regular() { self.metadata.len() } else { 0 }
    }

    /// Whether it had no bytes when it was opened, as far as that can be known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next bytes, at most as many as `buffer` takes; 0 at the end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Fills `buffer` from a position.
    ///
    /// # Errors
    /// The operating system's; `UnexpectedEof` when the file is shorter.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The operating system's; a part may have been written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Removes a file that could not be finished.
    ///
    /// # Errors
    /// The operating system's.
    pub fn remove(path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}
