//! The log in files: `<root>/<channel>/<first offset>.log`, one writer thread per channel (`file/writer.rs`).
//!
//! Layout of the bytes: `frame.rs`. Opening and repair: `file/recovery.rs`. Reading goes past the writer: it
//! takes the durable end and the list of files, and reads whole frames up to there.
//!
//! Invariant: a reader never sees a record before the fdatasync that covers it has returned.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::{ChannelId, Epoch, Offset};
use segments::file::{FileDoor, OpenFile, OpenMode};
use tokio::sync::{mpsc, oneshot, watch};

use super::frame::{FILE_HEADER, FRAME_HEADER, FileHeader, FrameHeader};
use super::{Durability, LogBounds, LogBroker, LogEntry};
use crate::error::{Error, Result};
#[cfg(any(test, feature = "suites"))]
use crate::tasks::simulation;
use crate::tasks::{blocking, thread};

mod recovery;
mod writer;

use writer::{Command, Writer};

/// Files are closed and a new one begun at this size.
const ROLL_BYTES: u64 = 64 << 20;
/// Commands that may wait for the writer.
const MAILBOX: usize = 64;
/// Bytes read from a file at once.
const READ_BYTES: usize = 4 << 20;

/// What reader and writer share.
#[derive(Debug)]
struct Shared {
    view: Mutex<View>,
    durable: watch::Sender<Offset>,
}

#[derive(Clone, Debug)]
struct View {
    bounds: LogBounds,
    files: Vec<(u64, PathBuf)>,
    /// Where the read that ended last left off.
    cursor: Option<Cursor>,
}

#[derive(Clone, Debug)]
struct Cursor {
    next: Offset,
    file: u64,
    position: u64,
}

#[derive(Debug)]
struct Channel {
    /// None while it is being closed.
    sender: Option<mpsc::Sender<Command>>,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    /// Instead of it, in a simulation.
    #[cfg(any(test, feature = "suites"))]
    simulated: Option<tokio::task::AbortHandle>,
}

impl Channel {
    /// Lets the writer finish what it has taken and waits for it: nobody else may open the files before.
    fn close(&mut self) {
        drop(self.sender.take());
        #[cfg(any(test, feature = "suites"))]
        if let Some(writer) = self.simulated.take() {
            // Nothing else runs before it is gone.
            writer.abort();
        }
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("a log writer panicked");
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.close();
    }
}

/// See the file header.
#[derive(Debug)]
pub struct FileLog {
    root: PathBuf,
    door: Arc<dyn FileDoor>,
    roll_bytes: u64,
    channels: Mutex<BTreeMap<ChannelId, Channel>>,
    /// Held while a channel is opened, so that it never has two writers.
    opening: tokio::sync::Mutex<()>,
}

/// The error of every call on a channel that was not opened.
pub(super) fn not_open(channel: ChannelId) -> Error {
    Error::Unavailable { what: format!("log channel {channel}"), reason: "it is not open".into() }
}

impl FileLog {
    /// A log below a directory, which is created with the first channel.
    #[must_use]
    pub fn new(door: Arc<dyn FileDoor>, root: impl Into<PathBuf>) -> Arc<Self> {
        Self::with_roll(door, root, ROLL_BYTES)
    }

    /// A log whose files have a given size.
    #[must_use]
    pub fn with_roll(door: Arc<dyn FileDoor>, root: impl Into<PathBuf>, roll_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            root: root.into(),
            door,
            roll_bytes,
            channels: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        })
    }

    fn shared(&self, channel: ChannelId) -> Result<Arc<Shared>> {
        let channels = self.channels.lock();
        channels.get(&channel).map(|open| Arc::clone(&open.shared)).ok_or_else(|| not_open(channel))
    }

    async fn ask<T>(
        &self,
        channel: ChannelId,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        let sender = self.channels.lock().get(&channel).and_then(|open| open.sender.clone());
        let sender = sender.ok_or_else(|| not_open(channel))?;
        let (reply, answer) = oneshot::channel();
        sender.send(command(reply)).await.map_err(|_| not_open(channel))?;
        answer
            .await
            .map_err(|_| Error::Unknown { reason: format!("the writer of channel {channel} ended") })?
    }

    fn start(&self, channel: ChannelId, recovered: recovery::Recovered) -> Result<LogBounds> {
        let bounds = LogBounds {
            incarnation: recovered.header.incarnation,
            first: Offset(recovered.files.first().map_or(0, |(first, _)| *first)),
            end: recovered.next,
            epoch: recovered.epoch,
        };
        let view = View { bounds, files: recovered.files.clone(), cursor: None };
        let durable = watch::Sender::new(bounds.end);
        let shared = Arc::new(Shared { view: Mutex::new(view), durable });
        let (sender, inbox) = mpsc::channel(MAILBOX);
        let directory = self.directory(channel);
        let door = Arc::clone(&self.door);
        let writer = Writer::new(directory, door, self.roll_bytes, Arc::clone(&shared), recovered);
        #[cfg(any(test, feature = "suites"))]
        if simulation::is_on() {
            let simulated = Some(simulation::spawn(writer.run_simulated(inbox)));
            let open = Channel { sender: Some(sender), shared, writer: None, simulated };
            drop(self.channels.lock().insert(channel, open));
            return Ok(bounds);
        }
        let writer = Some(thread(&format!("log-{channel}"), move || writer.run(inbox))?);
        let open = Channel {
            sender: Some(sender),
            shared,
            writer,
            #[cfg(any(test, feature = "suites"))]
            simulated: None,
        };
        drop(self.channels.lock().insert(channel, open));
        Ok(bounds)
    }

    fn directory(&self, channel: ChannelId) -> PathBuf {
        self.root.join(channel.to_string())
    }
}

#[async_trait]
impl LogBroker for FileLog {
    async fn exists(&self, channel: ChannelId) -> Result<bool> {
        let (door, directory) = (Arc::clone(&self.door), self.directory(channel));
        blocking(move || recovery::exists(door.as_ref(), &directory)).await?
    }

    async fn open(&self, channel: ChannelId, fresh_incarnation: u64) -> Result<LogBounds> {
        let _opening = self.opening.lock().await;
        let before = self.channels.lock().remove(&channel);
        let (door, directory) = (Arc::clone(&self.door), self.directory(channel));
        let recovered = blocking(move || {
            let cut = before.map(|mut open| {
                open.close();
                open.shared.view.lock().bounds.end
            });
            recovery::recover(door.as_ref(), &directory, channel, fresh_incarnation, cut)
        })
        .await??;
        self.start(channel, recovered)
    }

    async fn append(
        &self,
        channel: ChannelId,
        epoch: Epoch,
        records: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Offset> {
        self.ask(channel, |reply| Command::Append { epoch, records, durability, reply }).await
    }

    async fn read(&self, channel: ChannelId, from: Offset, max_bytes: usize) -> Result<Vec<LogEntry>> {
        let shared = self.shared(channel)?;
        let door = Arc::clone(&self.door);
        blocking(move || {
            let view = shared.view.lock().clone();
            if from < view.bounds.first {
                return Err(Error::Trimmed { channel, offset: from, first: view.bounds.first });
            }
            let (entries, cursor) = Reading::new(door.as_ref(), &view, from)?.read(max_bytes)?;
            shared.view.lock().cursor = Some(cursor);
            Ok(entries)
        })
        .await?
    }

    async fn wait(&self, channel: ChannelId, from: Offset) -> Result<()> {
        let mut durable = self.shared(channel)?.durable.subscribe();
        durable.wait_for(|end| *end > from).await.map_err(|_| not_open(channel))?;
        Ok(())
    }

    async fn fence(&self, channel: ChannelId, epoch: Epoch) -> Result<()> {
        self.ask(channel, |reply| Command::Fence { epoch, reply }).await
    }

    async fn trim(&self, channel: ChannelId, before: Offset) -> Result<()> {
        self.ask(channel, |reply| Command::Trim { before, reply }).await
    }

    async fn bounds(&self, channel: ChannelId) -> Result<LogBounds> {
        Ok(self.shared(channel)?.view.lock().bounds)
    }
}

/// One call of `read`.
struct Reading<'a> {
    door: &'a dyn FileDoor,
    view: &'a View,
    from: Offset,
    /// Index of the current file.
    file: usize,
    position: u64,
    next: Offset,
}

impl<'a> Reading<'a> {
    fn new(door: &'a dyn FileDoor, view: &'a View, from: Offset) -> Result<Self> {
        if let Some(cursor) = &view.cursor
            && cursor.next == from
            && let Ok(file) = view.files.binary_search_by_key(&cursor.file, |(first, _)| *first)
        {
            return Ok(Self { door, view, from, file, position: cursor.position, next: from });
        }
        let file = view.files.partition_point(|(first, _)| *first <= from.0).saturating_sub(1);
        let Some((first, _)) = view.files.get(file) else {
            return Err(Error::Internal("a log channel without files".into()));
        };
        Ok(Self { door, view, from, file, position: 0, next: Offset(*first) })
    }

    fn read(mut self, max_bytes: usize) -> Result<(Vec<LogEntry>, Cursor)> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut open = self.open()?;
        while self.next < self.view.bounds.end && bytes <= max_bytes {
            let chunk = self.chunk(open.as_ref())?;
            if chunk.is_empty() {
                self.file += 1;
                self.position = 0;
                open = self.open()?;
                continue;
            }
            self.frames(&chunk, max_bytes, &mut bytes, &mut entries)?;
        }
        let (file, _) = self.view.files[self.file];
        Ok((entries, Cursor { next: self.next, file, position: self.position }))
    }

    /// Opens the current file and checks that it continues the one before.
    fn open(&mut self) -> Result<Arc<dyn OpenFile>> {
        let Some((_, path)) = self.view.files.get(self.file) else {
            let reason = format!("it ends at offset {} of {}", self.next, self.view.bounds.end);
            return Err(Error::corrupted(self.path().display(), reason));
        };
        let file = self.door.open(path, OpenMode::Read)?;
        if self.position == 0 {
            let mut header = vec![0; FILE_HEADER.min(file.len()? as usize)];
            file.read_at(&mut header, 0)?;
            let header = FileHeader::decode(&header, path)?;
            if header.first != self.next || header.incarnation != self.view.bounds.incarnation {
                let reason = format!("it starts at offset {}, not {}", header.first, self.next);
                return Err(Error::corrupted(path.display(), reason));
            }
            self.position = FILE_HEADER as u64;
        }
        Ok(file)
    }

    fn path(&self) -> &Path {
        &self.view.files[self.file.min(self.view.files.len() - 1)].1
    }

    /// The bytes at the current position: at least one whole frame, nothing at the end of the file.
    fn chunk(&self, file: &dyn OpenFile) -> Result<Bytes> {
        let mut want = READ_BYTES;
        loop {
            let left = file.len()?.saturating_sub(self.position) as usize;
            let mut bytes = vec![0; want.min(left)];
            file.read_at(&mut bytes, self.position)?;
            match FrameHeader::decode(&bytes) {
                Some(frame) if frame.frame_len() > want => want = frame.frame_len(),
                _ => return Ok(bytes.into()),
            }
        }
    }

    fn frames(
        &mut self,
        chunk: &Bytes,
        max_bytes: usize,
        bytes: &mut usize,
        entries: &mut Vec<LogEntry>,
    ) -> Result<()> {
        let mut at = 0;
        while self.next < self.view.bounds.end && *bytes <= max_bytes && at < chunk.len() {
            let rest = &chunk[at..];
            let header = FrameHeader::decode(rest);
            // A frame cut by the end of the chunk is read again with the next chunk.
            let cut = rest.len() < FRAME_HEADER || header.is_some_and(|frame| frame.frame_len() > rest.len());
            if at > 0 && cut {
                return Ok(());
            }
            let damaged = || {
                let reason =
                    format!("the frame at byte {} (offset {}) does not check", self.position, self.next);
                Error::corrupted(self.path().display(), reason)
            };
            let frame =
                header.filter(|frame| frame.first == self.next && frame.checks(rest)).ok_or_else(damaged)?;
            let body = chunk.slice(at + FRAME_HEADER..at + FRAME_HEADER + frame.body_len());
            let records = frame.split(body).ok_or_else(damaged)?;
            for (offset, record) in (frame.first.0..).map(Offset).zip(records) {
                if offset >= self.from {
                    *bytes += record.len();
                    entries.push(LogEntry { offset, epoch: frame.epoch, record });
                }
            }
            at += frame.frame_len();
            self.position += frame.frame_len() as u64;
            self.next = frame.end();
        }
        Ok(())
    }
}
