//! The thread that writes one channel: drains what is waiting, writes it, and syncs once for all of it.
//!
//! Invariants: `durable` moves only after an fdatasync that began when everything before it was written; after
//! a failed fdatasync nothing is acknowledged any more (the thread only refuses); a file is synced before its
//! successor exists.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use proto::{ChannelId, Epoch, Offset, SqlError};
use segments::file::{FileDoor, OpenFile};
use tokio::sync::{mpsc, oneshot};

use super::super::Durability;
use super::super::frame::{FILE_HEADER, FileHeader, FrameHead, MAX_BODY, frame_head};
use super::Shared;
use super::recovery::{Recovered, create_file, file_path};
use crate::error::{Error, Result};

/// Deferred bytes are synced in the background once there are this many, so that a commit behind a large
/// COPY does not wait for all of it.
const UNSYNCED_BYTES: u64 = 8 << 20;
/// Frames up to this size are gathered and written with one system call; larger ones record by record.
const GATHER_BYTES: usize = 64 << 10;
/// At most this many commands share a turn.
const TURN: usize = 256;

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Command {
    Append {
        epoch: Epoch,
        records: Vec<Bytes>,
        durability: Durability,
        reply: oneshot::Sender<Result<Offset>>,
    },
    Fence {
        epoch: Epoch,
        reply: oneshot::Sender<Result<()>>,
    },
    Trim {
        before: Offset,
        reply: oneshot::Sender<Result<()>>,
    },
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) directory: PathBuf,
    pub(super) door: Arc<dyn FileDoor>,
    pub(super) roll_bytes: u64,
    pub(super) shared: Arc<Shared>,
    channel: ChannelId,
    incarnation: u64,
    active: Arc<dyn OpenFile>,
    position: u64,
    next: Offset,
    durable: Offset,
    epoch: Epoch,
    unsynced: u64,
    /// Why nothing is acknowledged any more.
    broken: Option<String>,
}

impl Writer {
    pub(super) fn new(
        directory: PathBuf,
        door: Arc<dyn FileDoor>,
        roll_bytes: u64,
        shared: Arc<Shared>,
        recovered: Recovered,
    ) -> Self {
        Self {
            directory,
            door,
            roll_bytes,
            shared,
            channel: recovered.header.channel,
            incarnation: recovered.header.incarnation,
            active: recovered.active,
            position: recovered.position,
            next: recovered.next,
            durable: recovered.next,
            epoch: recovered.epoch,
            unsynced: 0,
            broken: None,
        }
    }

    /// Runs until the mailbox closes.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(command) = inbox.blocking_recv() {
            self.turn(command, &mut inbox);
        }
    }

    /// The same in a simulation, which has no threads.
    #[cfg(any(test, feature = "suites"))]
    pub(super) async fn run_simulated(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(command) = inbox.recv().await {
            self.turn(command, &mut inbox);
        }
    }

    /// Takes what is waiting and syncs once for all of it.
    fn turn(&mut self, command: Command, inbox: &mut mpsc::Receiver<Command>) {
        let mut waiting = Vec::new();
        self.take(command, &mut waiting);
        for _ in 1..TURN {
            let Ok(command) = inbox.try_recv() else { break };
            self.take(command, &mut waiting);
        }
        if !waiting.is_empty() || self.unsynced >= UNSYNCED_BYTES {
            let synced = self.sync();
            for (offset, reply) in waiting.drain(..) {
                // The asker may have gone; its records stay.
                let _ = reply.send(match &synced {
                    Ok(()) => Ok(offset),
                    Err(reason) => Err(Error::Unknown { reason: reason.clone() }),
                });
            }
        }
    }

    fn take(&mut self, command: Command, waiting: &mut Vec<(Offset, oneshot::Sender<Result<Offset>>)>) {
        match command {
            Command::Append { epoch, records, durability, reply } => match self.append(epoch, &records) {
                Ok(offset) if durability == Durability::Synced => waiting.push((offset, reply)),
                written => drop(reply.send(written)),
            },
            Command::Fence { epoch, reply } => drop(reply.send(self.fence(epoch))),
            Command::Trim { before, reply } => drop(reply.send(self.trim(before))),
        }
    }

    fn check_epoch(&self, epoch: Epoch) -> Result<()> {
        if epoch < self.epoch {
            return Err(Error::Fenced { channel: self.channel, epoch, current: self.epoch });
        }
        Ok(())
    }

    fn fence(&mut self, epoch: Epoch) -> Result<()> {
        self.check_epoch(epoch)?;
        self.epoch = epoch;
        self.shared.view.lock().bounds.epoch = epoch;
        Ok(())
    }

    fn append(&mut self, epoch: Epoch, records: &[Bytes]) -> Result<Offset> {
        if let Some(reason) = &self.broken {
            let what = format!("log channel {}", self.channel);
            return Err(Error::Unavailable { what, reason: reason.clone() });
        }
        self.fence(epoch)?;
        if records.is_empty() {
            return Ok(self.next);
        }
        if self.position >= self.roll_bytes {
            self.roll()?;
        }
        let Some(head) = frame_head(self.next, epoch, self.durable, records) else {
            return Err(SqlError::new(
                proto::ErrorKind::ProgramLimitExceeded,
                format!("a log record is larger than {MAX_BODY} bytes"),
            )
            .into());
        };
        if let Err(error) = self.write(&head, records) {
            return Err(self.take_back(error));
        }
        self.position += head.frame_len as u64;
        self.unsynced += head.frame_len as u64;
        let first = self.next;
        self.next = Offset(first.0 + records.len() as u64);
        Ok(first)
    }

    fn write(&self, head: &FrameHead, records: &[Bytes]) -> segments::Result<()> {
        let padding = &[0; 8][..head.padding];
        let parts = || records.iter().map(Bytes::as_ref).chain([padding]);
        if head.frame_len <= GATHER_BYTES {
            let mut frame = Vec::with_capacity(head.frame_len);
            frame.extend_from_slice(&head.bytes);
            parts().for_each(|part| frame.extend_from_slice(part));
            return self.active.write_at(&frame, self.position);
        }
        self.active.write_at(&head.bytes, self.position)?;
        let mut position = self.position + head.bytes.len() as u64;
        for part in parts() {
            self.active.write_at(part, position)?;
            position += part.len() as u64;
        }
        Ok(())
    }

    /// Removes half a frame; when even that fails, nobody may append behind it.
    fn take_back(&mut self, error: segments::Error) -> Error {
        if let Err(second) = self.active.set_len(self.position) {
            let reason = format!("{error}; then {second}");
            self.broken = Some(reason.clone());
            return Error::Unknown { reason };
        }
        Error::not_written(error)
    }

    fn sync(&mut self) -> Result<(), String> {
        if self.unsynced == 0 {
            return Ok(());
        }
        if let Err(error) = self.active.sync_data() {
            let reason = format!("could not sync log channel {}: {error}", self.channel);
            tracing::error!(reason, "the log stops until it is reopened");
            self.broken = Some(reason.clone());
            return Err(reason);
        }
        self.unsynced = 0;
        self.durable = self.next;
        self.shared.view.lock().bounds.end = self.next;
        self.shared.durable.send_replace(self.next);
        Ok(())
    }

    /// Begins the next file.
    fn roll(&mut self) -> Result<()> {
        self.sync().map_err(|reason| Error::Unknown { reason })?;
        let header = FileHeader {
            channel: self.channel,
            incarnation: self.incarnation,
            first: self.next,
            epoch: self.epoch,
        };
        let path = file_path(&self.directory, self.next);
        let file = create_file(self.door.as_ref(), &path, &header).map_err(|error| {
            // A file that exists in part is in the way of the next attempt; recovery knows it by its length.
            let _ = self.door.remove(&path);
            Error::not_written(error)
        })?;
        self.active = file;
        self.position = FILE_HEADER as u64;
        self.shared.view.lock().files.push((self.next.0, path));
        Ok(())
    }

    /// Deletes the files that lie wholly before an offset; the active one stays.
    fn trim(&self, before: Offset) -> Result<()> {
        loop {
            let path = {
                let view = self.shared.view.lock();
                match view.files.as_slice() {
                    [(_, path), (next, _), ..] if *next <= before.0 => path.clone(),
                    _ => return Ok(()),
                }
            };
            self.door.remove(&path)?;
            let mut view = self.shared.view.lock();
            view.files.remove(0);
            if let Some((first, _)) = view.files.first() {
                view.bounds.first = Offset(*first);
            }
        }
    }
}
