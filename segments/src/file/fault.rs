//! A door that fails on command, for the tests of everything that writes files.
//!
//! Faults are planned by operation count: the n-th operation of a kind fails, once or from then on. A failed
//! write leaves half of its bytes, as a full disk or a killed process does.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{FileDoor, FileInfo, OpenFile, OpenMode, failed};
use crate::error::Result;

/// The operations that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Open,
    Write,
    SyncFile,
    SyncDirectory,
    CreateDirectory,
    Link,
    Rename,
    Remove,
    Read,
}

/// A planned fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub operation: Operation,
    /// How many operations of this kind succeed before.
    pub after: u64,
    /// What the failing operation returns.
    pub error: io::ErrorKind,
    /// Whether later operations of the kind fail too.
    pub forever: bool,
}

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<Fault>,
    /// Every operation seen, in order.
    seen: Vec<Operation>,
}

impl Plan {
    fn check(&mut self, operation: Operation) -> io::Result<()> {
        self.seen.push(operation);
        for position in 0..self.faults.len() {
            let fault = &mut self.faults[position];
            if fault.operation != operation {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            let error = fault.error;
            if !fault.forever {
                self.faults.remove(position);
            }
            return Err(error.into());
        }
        Ok(())
    }
}

/// A door before another door.
#[derive(Clone, Debug)]
pub struct FaultDoor {
    inner: Arc<dyn FileDoor>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultDoor {
    /// A door that does what `inner` does until told otherwise.
    #[must_use]
    pub fn new(inner: Arc<dyn FileDoor>) -> Self {
        Self { inner, plan: Arc::default() }
    }

    /// Plans a fault.
    pub fn plan(&self, fault: Fault) {
        self.plan.lock().faults.push(fault);
    }

    /// Forgets all planned faults.
    pub fn heal(&self) {
        self.plan.lock().faults.clear();
    }

    /// Takes the operations seen so far.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Operation> {
        std::mem::take(&mut self.plan.lock().seen)
    }

    fn check(&self, operation: Operation, action: &'static str, path: &Path) -> Result<()> {
        self.plan.lock().check(operation).map_err(|error| failed(action, path, error))
    }
}

impl FileDoor for FaultDoor {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn OpenFile>> {
        self.check(Operation::Open, "open file", path)?;
        Ok(Arc::new(FaultFile { inner: self.inner.open(path, mode)?, door: self.clone() }))
    }

    fn info(&self, path: &Path) -> Result<Option<FileInfo>> {
        self.inner.info(path)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        self.inner.list(directory)
    }

    fn create_dir(&self, directory: &Path) -> Result<()> {
        self.check(Operation::CreateDirectory, "create directory", directory)?;
        self.inner.create_dir(directory)
    }

    fn sync_dir(&self, directory: &Path) -> Result<()> {
        self.check(Operation::SyncDirectory, "sync directory", directory)?;
        self.inner.sync_dir(directory)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.check(Operation::Link, "create file", to)?;
        self.inner.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.check(Operation::Rename, "rename to", to)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.check(Operation::Remove, "remove file", path)?;
        self.inner.remove(path)
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn OpenFile>,
    door: FaultDoor,
}

impl OpenFile for FaultFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.door.check(Operation::Read, "read file", self.path())?;
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        if let Err(error) = self.door.check(Operation::Write, "write file", self.path()) {
            self.inner.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.inner.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.door.check(Operation::Write, "resize file", self.path())?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<()> {
        self.door.check(Operation::SyncFile, "sync file", self.path())?;
        self.inner.sync_data()
    }

    fn sync_all(&self) -> Result<()> {
        self.door.check(Operation::SyncFile, "sync file", self.path())?;
        self.inner.sync_all()
    }

    fn try_lock(&self) -> Result<bool> {
        self.inner.try_lock()
    }

    fn unlock(&self) -> Result<()> {
        self.inner.unlock()
    }

    fn map(&self) -> Result<Bytes> {
        self.inner.map()
    }
}
