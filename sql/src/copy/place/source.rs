//! Reading a place: from front to back in pieces, or at positions.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cluster::tasks;
use object_store::ObjectStore;
use object_store::path::Path as Key;
use proto::{ErrorKind, SqlError};
use segments::file::outside::OutsideFile;

use super::object::ObjectReader;
use super::{Attempt, file_error, object_error, stopped};

/// Bytes of a piece of a file.
const FILE_PIECE_BYTES: usize = 1 << 20;
/// Bytes of a piece of an object: one request each.
const OBJECT_PIECE_BYTES: u64 = 4 << 20;

/// Bytes at positions; blocks the thread that asks.
pub(crate) trait RandomAccess: Send + Sync {
    /// Bytes in all.
    fn size(&self) -> u64;
    /// The bytes from `offset` on, `length` of them.
    ///
    /// # Errors
    /// What the place answers; `UnexpectedEof` behind its end.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;
}

enum Opened {
    /// `None` while a piece is being read, and after one that was given up.
    File(Option<OutsideFile>),
    Object {
        reader: ObjectReader,
        next: u64,
    },
}

/// An opened place to read.
pub(crate) struct Source {
    name: String,
    size: u64,
    opened: Opened,
}

impl Source {
    pub(super) async fn file(name: &str, path: PathBuf) -> Result<Self, SqlError> {
        let opened = tasks::blocking(move || OutsideFile::open(&path)).await;
        let file = opened
            .map_err(|error| stopped(&error))?
            .map_err(|error| file_error(Attempt::OpenForReading, name, &error))?;
        if file.is_directory() {
            return Err(SqlError::new(ErrorKind::WrongObjectType, format!("\"{name}\" is a directory")));
        }
        Ok(Self { name: name.to_owned(), size: file.len(), opened: Opened::File(Some(file)) })
    }

    pub(super) async fn object(name: &str, store: Arc<dyn ObjectStore>, key: Key) -> Result<Self, SqlError> {
        let opened = ObjectReader::open(store, key).await;
        let reader = opened.map_err(|error| object_error(Attempt::OpenForReading, name, &error))?;
        Ok(Self { name: name.to_owned(), size: reader.len(), opened: Opened::Object { reader, next: 0 } })
    }

    /// The name as written.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in all; 0 when that is not known.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The next piece; `None` at the end. A call that was given up leaves nothing to read.
    ///
    /// # Errors
    /// What the place answers.
    pub(crate) async fn next_piece(&mut self) -> Result<Option<Bytes>, SqlError> {
        match &mut self.opened {
            Opened::File(file) => {
                let Some(mut opened) = file.take() else { return Ok(None) };
                let (opened, piece) = tasks::blocking(move || {
                    let mut buffer = vec![0; FILE_PIECE_BYTES];
                    let read = opened.read(&mut buffer).map(|count| {
                        buffer.truncate(count);
                        Bytes::from(buffer)
                    });
                    (opened, read)
                })
                .await
                .map_err(|error| stopped(&error))?;
                *file = Some(opened);
                let piece = piece.map_err(|error| file_error(Attempt::Read, &self.name, &error))?;
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
            Opened::Object { reader, next } => {
                let end = self.size.min(*next + OBJECT_PIECE_BYTES);
                if *next >= end {
                    return Ok(None);
                }
                let piece = reader.range(*next..end).await;
                let piece = piece.map_err(|error| object_error(Attempt::Read, &self.name, &error))?;
                *next = end;
                Ok(Some(piece))
            }
        }
    }

    /// The place as bytes at positions.
    ///
    /// # Errors
    /// 42809 for a pipe or device, which has no positions.
    pub(crate) fn random_access(self) -> Result<Arc<dyn RandomAccess>, SqlError> {
        match self.opened {
            Opened::File(Some(file)) if file.is_regular() => {
                Ok(Arc::new(RegularFile { file, size: self.size }))
            }
            Opened::File(_) => Err(SqlError::new(
                ErrorKind::WrongObjectType,
                format!("\"{}\" is not a regular file, which Parquet needs", self.name),
            )),
            Opened::Object { reader, .. } => Ok(Arc::new(reader.cached())),
        }
    }
}

struct RegularFile {
    file: OutsideFile,
    size: u64,
}

impl RandomAccess for RegularFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buffer = vec![0; length];
        self.file.read_at(&mut buffer, offset)?;
        Ok(buffer.into())
    }
}
