//! Opening a channel's files: find the end of what is valid, cut a torn tail, refuse damage.
//!
//! Only the last file can be torn: a file is synced before its successor is created. Frames behind the last
//! durable mark are written again before they count as durable, because after a failed fdatasync (of a
//! process that then died) the page cache may show bytes that the disk never got.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::{ChannelId, Epoch, Offset};
use segments::file::{FileDoor, OpenFile, OpenMode};

use super::super::frame::{FILE_HEADER, FileHeader, FrameHeader, next_frame};
use crate::error::{Error, Result};

/// A channel's files, ready to be appended to.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) header: FileHeader,
    pub(super) files: Vec<(u64, PathBuf)>,
    /// The last file, and where it ends.
    pub(super) active: Arc<dyn OpenFile>,
    pub(super) position: u64,
    pub(super) next: Offset,
    pub(super) epoch: Epoch,
}

/// The path of the file that starts at an offset.
pub(super) fn file_path(directory: &Path, first: Offset) -> PathBuf {
    directory.join(format!("{:020}.log", first.0))
}

/// Opens or creates a channel. Frames from `cut` on (known not to be durable) are dropped.
pub(super) fn recover(
    door: &dyn FileDoor,
    directory: &Path,
    channel: ChannelId,
    fresh_incarnation: u64,
    cut: Option<Offset>,
) -> Result<Recovered> {
    door.create_dirs(directory)?;
    let mut files = log_files(door, directory)?;
    if let Some((_, path)) = files.last()
        && is_torn_creation(door, path)?
    {
        door.remove(path)?;
        files.pop();
    }
    let Some((first, path)) = files.last().cloned() else {
        return create(door, directory, channel, fresh_incarnation);
    };
    let (active, bytes) = read_all(door, &path)?;
    let header = FileHeader::decode(&bytes, &path)?;
    if header.channel != channel || header.first.0 != first {
        let reason = format!("it belongs to channel {} at offset {}", header.channel, header.first);
        return Err(Error::corrupted(path.display(), reason));
    }
    let tail = scan(&bytes, &header, cut).map_err(|reason| Error::corrupted(path.display(), reason))?;
    active.write_at(&bytes[tail.sure..tail.position], tail.sure as u64)?;
    active.set_len(tail.position as u64)?;
    active.sync_all()?;
    door.sync_dir(directory)?;
    if bytes.len() > tail.position {
        tracing::info!(file = %path.display(), bytes = bytes.len() - tail.position, "cut the torn end of the log");
    }
    Ok(Recovered {
        header,
        files,
        active,
        position: tail.position as u64,
        next: tail.next,
        epoch: tail.epoch.max(header.epoch),
    })
}

fn create(door: &dyn FileDoor, directory: &Path, channel: ChannelId, incarnation: u64) -> Result<Recovered> {
    let header = FileHeader { channel, incarnation, first: Offset(0), epoch: Epoch(0) };
    let path = file_path(directory, Offset(0));
    let active = create_file(door, &path, &header)?;
    Ok(Recovered {
        header,
        files: vec![(0, path)],
        active,
        position: FILE_HEADER as u64,
        next: Offset(0),
        epoch: Epoch(0),
    })
}

/// Creates a log file that must not exist, durably.
pub(super) fn create_file(
    door: &dyn FileDoor,
    path: &Path,
    header: &FileHeader,
) -> segments::Result<Arc<dyn OpenFile>> {
    let file = door.open(path, OpenMode::CreateNew)?;
    file.write_at(&header.encode(), 0)?;
    file.sync_all()?;
    door.sync_dir(path.parent().unwrap_or(path))?;
    Ok(file)
}

/// Whether a channel has files.
pub(super) fn exists(door: &dyn FileDoor, directory: &Path) -> Result<bool> {
    Ok(door.info(directory)?.is_some() && !log_files(door, directory)?.is_empty())
}

/// The log files of a directory: first offset (from the name) and path, ascending.
fn log_files(door: &dyn FileDoor, directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let names = door.list(directory)?;
    let first = |name: &String| name.strip_suffix(".log")?.parse().ok();
    let mut files: Vec<_> =
        names.iter().filter_map(|name| Some((first(name)?, directory.join(name)))).collect();
    files.sort_unstable();
    Ok(files)
}

/// Whether the last file's creation was cut: nothing was ever appended to it.
fn is_torn_creation(door: &dyn FileDoor, path: &Path) -> Result<bool> {
    let (_, bytes) = read_all(door, path)?;
    Ok(bytes.len() <= FILE_HEADER && (bytes.len() < FILE_HEADER || bytes.iter().all(|byte| *byte == 0)))
}

fn read_all(door: &dyn FileDoor, path: &Path) -> Result<(Arc<dyn OpenFile>, Vec<u8>)> {
    let file = door.open(path, OpenMode::ReadWrite)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(&mut bytes, 0)?;
    Ok((file, bytes))
}

#[derive(Debug)]
struct Tail {
    /// Where the first frame starts that no later frame calls durable.
    sure: usize,
    /// Behind the last valid frame.
    position: usize,
    next: Offset,
    epoch: Epoch,
}

/// Walks the frames of the last file to the end of what is valid.
fn scan(bytes: &[u8], file: &FileHeader, cut: Option<Offset>) -> Result<Tail, String> {
    let mut tail = Tail { sure: FILE_HEADER, position: FILE_HEADER, next: file.first, epoch: Epoch(0) };
    let mut starts: Vec<(Offset, usize)> = Vec::new();
    let mut durable = file.first;
    while let Some(frame) = FrameHeader::decode(&bytes[tail.position..]) {
        let cut_here = cut.is_some_and(|cut| frame.first >= cut);
        if cut_here || frame.first != tail.next || !frame.checks(&bytes[tail.position..]) {
            break;
        }
        if frame.frame_len() > bytes.len() - tail.position {
            break;
        }
        starts.push((frame.first, tail.position));
        durable = durable.max(frame.durable);
        tail.position += frame.frame_len();
        tail.next = frame.end();
        tail.epoch = tail.epoch.max(frame.epoch);
    }
    tail.sure = starts.iter().find(|(first, _)| *first >= durable).map_or(tail.position, |(_, start)| *start);
    // Valid frames behind the break may be leftovers of the same unsynced write; one that says the break
    // was durable proves damage.
    let mut from = tail.position;
    while let Some((position, frame)) = next_frame(bytes, from) {
        if frame.durable > tail.next && cut.is_none() {
            return Err(format!("the frame at byte {} (offset {}) does not check", tail.position, tail.next));
        }
        from = position + frame.frame_len();
    }
    Ok(tail)
}
