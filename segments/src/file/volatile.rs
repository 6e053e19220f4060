//! A disk in memory that loses its power: for tests of what is durable and what only looks so.
//!
//! Every file has what was written and what was synced, every directory the entries it shows and those that were made
//! durable. `power_off` makes everything fail; `power_on` brings back what a disk may have kept: all that was synced, and
//! of the rest what chance says: nothing, all, the first changes with the last one torn, or single sectors of any of them.
//! Files that were open before stay dead.
//!
//! What it is not: a model of one file system. It keeps to what POSIX promises and no more: syncing a file does not
//! make its name durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{EntryKind, FileDoor, FileInfo, OpenFile, OpenMode, failed};
use crate::error::Result;

/// What reaches a disk as a whole or not at all, bytes.
const SECTOR: usize = 512;

/// A number below another one, drawn by whoever tests.
pub type Chance<'a> = &'a mut dyn FnMut(u64) -> u64;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
struct FileNode {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Since the last sync.
    changes: Vec<Change>,
    /// The power cycle in which somebody has taken the lock.
    locked: Option<u64>,
}

#[derive(Debug, Default)]
struct DirectoryNode {
    entries: BTreeMap<String, usize>,
    synced: BTreeMap<String, usize>,
    /// Since the last sync: names with what they became.
    changes: Vec<(String, Option<usize>)>,
}

#[derive(Debug)]
enum Node {
    File(FileNode),
    Directory(DirectoryNode),
}

#[derive(Debug)]
struct Disk {
    /// Node 0 is the root.
    nodes: Vec<Node>,
    /// Grows with every loss of power.
    cycle: u64,
    is_off: bool,
    /// Operations until the power fails.
    fuse: Option<u64>,
}

/// See the file header. Clones share the disk.
#[derive(Clone, Debug)]
pub struct VolatileDoor(Arc<Mutex<Disk>>);

impl Default for VolatileDoor {
    fn default() -> Self {
        let root = Node::Directory(DirectoryNode::default());
        Self(Arc::new(Mutex::new(Disk { nodes: vec![root], cycle: 0, is_off: false, fuse: None })))
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes: written } => {
            let end = offset + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(written);
        }
        Change::Length(length) => bytes.resize(*length, 0),
    }
}

impl FileNode {
    fn change(&mut self, change: Change) {
        apply(&mut self.bytes, &change);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.bytes);
        self.changes.clear();
    }

    /// What is there after the power was lost.
    fn lose(&mut self, chance: Chance<'_>) {
        let changes = std::mem::take(&mut self.changes);
        let mut kept = std::mem::take(&mut self.synced);
        match chance(4) {
            0 => {}
            1 => changes.iter().for_each(|change| apply(&mut kept, change)),
            2 => {
                let whole = chance(changes.len() as u64 + 1) as usize;
                changes[..whole].iter().for_each(|change| apply(&mut kept, change));
                if let Some(Change::Write { offset, bytes }) = changes.get(whole) {
                    let torn = bytes[..chance(bytes.len() as u64 + 1) as usize].to_vec();
                    apply(&mut kept, &Change::Write { offset: *offset, bytes: torn });
                }
            }
            _ => {
                for change in &changes {
                    match change {
                        Change::Length(_) if chance(2) == 0 => apply(&mut kept, change),
                        Change::Length(_) => {}
                        Change::Write { offset, bytes } => lose_sectors(&mut kept, *offset, bytes, chance),
                    }
                }
            }
        }
        self.bytes.clone_from(&kept);
        self.synced = kept;
        self.locked = None;
    }
}

/// Some of the sectors that a write covers arrive.
fn lose_sectors(kept: &mut Vec<u8>, offset: usize, bytes: &[u8], chance: Chance<'_>) {
    let mut start = 0;
    while start < bytes.len() {
        let end = ((offset + start) / SECTOR * SECTOR + SECTOR - offset).min(bytes.len());
        if chance(2) == 0 {
            apply(kept, &Change::Write { offset: offset + start, bytes: bytes[start..end].to_vec() });
        }
        start = end;
    }
}

impl DirectoryNode {
    fn change(&mut self, name: &str, node: Option<usize>) {
        Self::apply(&mut self.entries, name, node);
        self.changes.push((name.to_owned(), node));
    }

    fn apply(entries: &mut BTreeMap<String, usize>, name: &str, node: Option<usize>) {
        match node {
            Some(node) => drop(entries.insert(name.to_owned(), node)),
            None => drop(entries.remove(name)),
        }
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.entries);
        self.changes.clear();
    }

    /// A journal keeps the order of changes.
    fn lose(&mut self, chance: Chance<'_>) {
        let changes = std::mem::take(&mut self.changes);
        for (name, node) in &changes[..chance(changes.len() as u64 + 1) as usize] {
            Self::apply(&mut self.synced, name, *node);
        }
        self.entries.clone_from(&self.synced);
    }
}

impl Disk {
    /// Before every operation: whether there is power.
    fn check(&mut self, cycle: u64) -> io::Result<()> {
        if let Some(left) = &mut self.fuse {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => self.is_off = true,
            }
        }
        if self.is_off || cycle != self.cycle {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = 0;
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name.to_str().ok_or(io::ErrorKind::InvalidInput)?,
                Component::RootDir | Component::CurDir => continue,
                Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
            };
            let Node::Directory(directory) = &self.nodes[at] else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            at = *directory.entries.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn directory(&mut self, path: &Path) -> io::Result<&mut DirectoryNode> {
        let at = self.find(path)?;
        match &mut self.nodes[at] {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&mut self, at: usize) -> io::Result<&mut FileNode> {
        match &mut self.nodes[at] {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Puts a node under a name that is free.
    fn add(&mut self, path: &Path, node: usize) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let directory = self.directory(parent)?;
        if directory.entries.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        directory.change(name, Some(node));
        Ok(())
    }

    fn new_node(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        self.nodes.push(node);
        let at = self.nodes.len() - 1;
        self.add(path, at).map(|()| at)
    }
}

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    Ok((path.parent().unwrap_or(Path::new("")), name.ok_or(io::ErrorKind::InvalidInput)?))
}

impl VolatileDoor {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The power fails after some more operations.
    pub fn light(&self, operations: u64) {
        self.0.lock().fuse = Some(operations);
    }

    /// Everything fails from now on.
    pub fn power_off(&self) {
        self.0.lock().is_off = true;
    }

    /// The disk as it comes back.
    pub fn power_on(&self, chance: Chance<'_>) {
        let mut disk = self.0.lock();
        (disk.is_off, disk.fuse) = (false, None);
        disk.cycle += 1;
        for node in &mut disk.nodes {
            match node {
                Node::File(file) => file.lose(chance),
                Node::Directory(directory) => directory.lose(chance),
            }
        }
    }

    fn act<T>(
        &self,
        action: &'static str,
        path: &Path,
        act: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> Result<T> {
        let mut disk = self.0.lock();
        let cycle = disk.cycle;
        disk.check(cycle).and_then(|()| act(&mut disk)).map_err(|error| failed(action, path, error))
    }
}

impl FileDoor for VolatileDoor {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn OpenFile>> {
        let opened = self.act("open file", path, |disk| {
            let at = match (disk.find(path), mode) {
                (Ok(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
                (Ok(at), _) => at,
                (Err(error), OpenMode::CreateNew | OpenMode::OpenOrCreate)
                    if error.kind() == io::ErrorKind::NotFound =>
                {
                    disk.new_node(path, Node::File(FileNode::default()))?
                }
                (Err(error), _) => return Err(error),
            };
            disk.file(at)?;
            Ok((at, disk.cycle))
        })?;
        let (at, cycle) = opened;
        Ok(Arc::new(VolatileFile { door: self.clone(), path: path.to_owned(), at, cycle }))
    }

    fn info(&self, path: &Path) -> Result<Option<FileInfo>> {
        self.act("stat", path, |disk| {
            let at = match disk.find(path) {
                Ok(at) => at,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let (kind, len) = match &disk.nodes[at] {
                Node::File(file) => (EntryKind::File, file.bytes.len() as u64),
                Node::Directory(_) => (EntryKind::Directory, 0),
            };
            Ok(Some(FileInfo { kind, len, modified: SystemTime::UNIX_EPOCH }))
        })
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        self.act("list directory", directory, |disk| {
            Ok(disk.directory(directory)?.entries.keys().cloned().collect())
        })
    }

    fn create_dir(&self, directory: &Path) -> Result<()> {
        self.act("create directory", directory, |disk| match disk.find(directory) {
            Ok(at) if matches!(disk.nodes[at], Node::Directory(_)) => Ok(()),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => disk.new_node(directory, Node::Directory(DirectoryNode::default())).map(drop),
        })
    }

    fn sync_dir(&self, directory: &Path) -> Result<()> {
        self.act("sync directory", directory, |disk| disk.directory(directory).map(DirectoryNode::sync))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.act("create file", to, |disk| {
            let at = disk.find(from)?;
            disk.add(to, at)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.act("rename to", to, |disk| {
            let at = disk.find(from)?;
            let ((old_parent, old_name), (new_parent, new_name)) = (split(from)?, split(to)?);
            disk.directory(new_parent)?.change(new_name, Some(at));
            disk.directory(old_parent)?.change(old_name, None);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.act("remove file", path, |disk| {
            let at = disk.find(path)?;
            disk.file(at)?;
            let (parent, name) = split(path)?;
            disk.directory(parent)?.change(name, None);
            Ok(())
        })
    }
}

#[derive(Debug)]
struct VolatileFile {
    door: VolatileDoor,
    path: PathBuf,
    at: usize,
    cycle: u64,
}

impl VolatileFile {
    fn act<T>(&self, action: &'static str, act: impl FnOnce(&mut FileNode) -> io::Result<T>) -> Result<T> {
        let mut disk = self.door.0.lock();
        let acted = disk.check(self.cycle).and_then(|()| act(disk.file(self.at)?));
        acted.map_err(|error| failed(action, &self.path, error))
    }
}

impl OpenFile for VolatileFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> Result<u64> {
        self.act("stat", |file| Ok(file.bytes.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.act("read file", |file| {
            let start = offset as usize;
            let bytes = file.bytes.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let change = Change::Write { offset: offset as usize, bytes: bytes.to_vec() };
        self.act("write file", |file| {
            file.change(change);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.act("resize file", |file| {
            file.change(Change::Length(len as usize));
            Ok(())
        })
    }

    fn sync_data(&self) -> Result<()> {
        self.act("sync file", |file| {
            file.sync();
            Ok(())
        })
    }

    fn sync_all(&self) -> Result<()> {
        self.sync_data()
    }

    fn try_lock(&self) -> Result<bool> {
        let cycle = self.cycle;
        self.act("lock file", |file| {
            let is_free = file.locked != Some(cycle);
            file.locked = Some(cycle);
            Ok(is_free)
        })
    }

    fn unlock(&self) -> Result<()> {
        self.act("unlock file", |file| {
            file.locked = None;
            Ok(())
        })
    }

    fn map(&self) -> Result<Bytes> {
        self.act("map file", |file| Ok(Bytes::copy_from_slice(&file.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_stays_and_the_rest_is_left_to_chance() {
        let door = VolatileDoor::new();
        let (folder, path) = (Path::new("/d"), Path::new("/d/f"));
        door.create_dirs(folder).unwrap();
        let file = door.open(path, OpenMode::CreateNew).unwrap();
        file.write_at(b"synced", 0).unwrap();
        file.sync_data().unwrap();
        door.power_off();
        assert!(file.write_at(b"x", 0).is_err());
        door.power_on(&mut |_| 0);
        assert!(door.info(path).unwrap().is_none(), "its name was never synced");
        let file = door.open(path, OpenMode::CreateNew).unwrap();
        file.write_at(b"synced", 0).unwrap();
        file.sync_data().unwrap();
        door.sync_dir(folder).unwrap();
        file.write_at(b"not...", 0).unwrap();
        file.set_len(4).unwrap();
        assert_eq!(file.map().unwrap(), b"not.".as_slice());
        door.power_off();
        door.power_on(&mut |_| 0);
        assert!(file.len().is_err(), "it was open before");
        let file = door.open(path, OpenMode::ReadWrite).unwrap();
        assert_eq!(file.map().unwrap(), b"synced".as_slice());
        assert!(file.try_lock().unwrap() && !file.try_lock().unwrap());
    }

    #[test]
    fn a_write_can_arrive_in_part() {
        let (mut torn, mut whole, mut lost) = (0, 0, 0);
        for seed in 0..200_u64 {
            let door = VolatileDoor::new();
            let file = door.open(Path::new("/f"), OpenMode::CreateNew).unwrap();
            door.sync_dir(Path::new("/")).unwrap();
            file.write_at(&[1; 2048], 100).unwrap();
            let mut state = seed;
            door.power_off();
            door.power_on(&mut |below| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            });
            let bytes = door.open(Path::new("/f"), OpenMode::Read).unwrap().map().unwrap();
            match bytes.iter().filter(|byte| **byte == 1).count() {
                0 => lost += 1,
                2048 => whole += 1,
                _ => torn += 1,
            }
        }
        assert!(torn > 20 && whole > 20 && lost > 20, "{torn} torn, {whole} whole, {lost} lost");
    }
}
