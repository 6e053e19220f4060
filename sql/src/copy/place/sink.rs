//! Writing a place, from front to back.
//!
//! An object shows when it is complete. A file is written in place as PostgreSQL does, and removed when it could not
//! be finished.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cluster::tasks;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload};
use proto::{ErrorKind, SqlError};
use segments::file::outside::OutsideFile;

use super::{Attempt, file_error, object_error, stopped};

/// Bytes of one part of an upload; S3 takes 10 000 of them.
const PART_BYTES: usize = 16 << 20;

enum Opened {
    File {
        path: PathBuf,
        /// `None` after a write that was given up.
        file: Option<OutsideFile>,
        regular: bool,
    },
    Object {
        store: Arc<dyn ObjectStore>,
        key: Key,
        /// Begun with the first full part.
        upload: Option<Box<dyn MultipartUpload>>,
        pending: Vec<u8>,
    },
}

/// An opened place to write.
pub(crate) struct Sink {
    name: String,
    opened: Opened,
}

impl Sink {
    pub(super) async fn file(name: &str, path: PathBuf) -> Result<Self, SqlError> {
        let target = path.clone();
        let opened = tasks::blocking(move || OutsideFile::create(&target)).await;
        let file = opened
            .map_err(|error| stopped(&error))?
            .map_err(|error| file_error(Attempt::OpenForWriting, name, &error))?;
        if file.is_directory() {
            return Err(SqlError::new(ErrorKind::WrongObjectType, format!("\"{name}\" is a directory")));
        }
        let regular = file.is_regular();
        Ok(Self { name: name.to_owned(), opened: Opened::File { path, file: Some(file), regular } })
    }

    pub(super) fn object(name: &str, store: Arc<dyn ObjectStore>, key: Key) -> Self {
        let opened = Opened::Object { store, key, upload: None, pending: Vec::new() };
        Self { name: name.to_owned(), opened }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// What the place answers; `abandon` is to follow.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), SqlError> {
        match &mut self.opened {
            Opened::File { file, .. } => {
                let Some(mut opened) = file.take() else { return Err(given_up()) };
                let (opened, written) = tasks::blocking(move || {
                    let written = opened.write(&bytes);
                    (opened, written)
                })
                .await
                .map_err(|error| stopped(&error))?;
                *file = Some(opened);
                written.map_err(|error| file_error(Attempt::Write, &self.name, &error))
            }
            Opened::Object { store, key, upload, pending } => {
                pending.extend_from_slice(&bytes);
                while pending.len() >= PART_BYTES {
                    let rest = pending.split_off(PART_BYTES);
                    let part = std::mem::replace(pending, rest);
                    let sent = send(store, key, upload, part).await;
                    sent.map_err(|error| object_error(Attempt::Write, &self.name, &error))?;
                }
                Ok(())
            }
        }
    }

    /// Completes what was written.
    ///
    /// # Errors
    /// What the place answers; `abandon` is to follow.
    pub(crate) async fn finish(&mut self) -> Result<(), SqlError> {
        let Opened::Object { store, key, upload, pending } = &mut self.opened else { return Ok(()) };
        let rest = std::mem::take(pending);
        let finished = match upload {
            None => store.put(key, PutPayload::from(rest)).await.map(drop),
            Some(upload) => {
                let sent = if rest.is_empty() { Ok(()) } else { upload.put_part(rest.into()).await };
                match sent {
                    Ok(()) => upload.complete().await.map(drop),
                    failed => failed,
                }
            }
        };
        finished.map_err(|error| object_error(Attempt::Write, &self.name, &error))
    }

    /// Takes away what could not be finished.
    pub(crate) async fn abandon(self) {
        let name = self.name;
        let removed = match self.opened {
            Opened::File { path, regular: true, .. } => {
                match tasks::blocking(move || OutsideFile::remove(&path)).await {
                    Ok(removed) => removed.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                }
            }
            Opened::Object { upload: Some(mut upload), .. } => {
                upload.abort().await.map_err(|error| error.to_string())
            }
            _ => Ok(()),
        };
        if let Err(reason) = removed {
            tracing::warn!(name, reason, "what COPY could not finish stays");
        }
    }
}

async fn send(
    store: &Arc<dyn ObjectStore>,
    key: &Key,
    upload: &mut Option<Box<dyn MultipartUpload>>,
    part: Vec<u8>,
) -> object_store::Result<()> {
    let upload = match upload {
        Some(upload) => upload,
        None => upload.insert(store.put_multipart(key).await?),
    };
    upload.put_part(PutPayload::from(Bytes::from(part))).await
}

fn given_up() -> SqlError {
    SqlError::new(ErrorKind::Internal, "a file is written on after a write that was given up")
}
