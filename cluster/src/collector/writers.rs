//! Who is writing objects now: every writer has a number of its own in the keys of its objects, and a collection
//! leaves the objects of numbers that are still in use alone, whether a manifest names them or not.
//!
//! Invariant: a number is given back only after the manifest that names the objects is the table's newest, or can never
//! become it: the writer has given up before it asked for that, or another manifest has taken the place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use proto::Epoch;

/// The writers of a node.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    next: AtomicU64,
    /// How many write under each number: one, or whoever still answers for what a former one has written.
    open: Mutex<BTreeMap<(Epoch, u64), usize>>,
}

impl Writers {
    /// A new writer under an owner's epoch.
    pub(crate) fn begin(self: &Arc<Self>, epoch: Epoch) -> Writer {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        self.resume(epoch, n)
    }

    /// Answers for the objects of a number that was given out before, perhaps by another process.
    pub(crate) fn resume(self: &Arc<Self>, epoch: Epoch, n: u64) -> Writer {
        *self.open.lock().entry((epoch, n)).or_default() += 1;
        Writer { writers: Arc::clone(self), epoch, n }
    }

    /// Those that have not ended.
    pub(crate) fn open(&self) -> BTreeSet<(Epoch, u64)> {
        self.open.lock().keys().copied().collect()
    }
}

/// One writer; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Writer {
    writers: Arc<Writers>,
    pub(crate) epoch: Epoch,
    /// Grows from writer to writer.
    pub(crate) n: u64,
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut open = self.writers.open.lock();
        let number = (self.epoch, self.n);
        match open.get_mut(&number) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&number)),
        }
    }
}
