//! What outlives a simulated process: back ends in memory, or in files on a disk that loses its power.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cluster::clock::SimClock;
use cluster::log::{FileLog, LogBroker, MemoryLog};
use cluster::meta::{MemoryMeta, MetaStore, RedbMeta};
use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use segments::LocalStore;
use segments::file::FileDoor;
use segments::file::volatile::VolatileDoor;

use super::store::Bucket;
use super::world::words;

/// Log files are small here, so that they roll and are trimmed.
const ROLL_BYTES: u64 = 8 << 10;

/// Which back ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Memory,
    /// Log, meta store and objects on one disk.
    Disk,
}

/// See the file header.
pub(super) enum Backing {
    Memory {
        kept: Mutex<(Arc<MemoryLog>, Arc<MemoryMeta>)>,
        bucket: Arc<Bucket>,
        clock: Arc<SimClock>,
    },
    Disk {
        door: VolatileDoor,
        dice: Box<Mutex<StdRng>>,
        clock: Arc<SimClock>,
        /// How often log and meta store were lost.
        lost: AtomicU64,
    },
}

/// The back ends as one process has opened them.
pub(super) struct Opened {
    pub(super) log: Arc<dyn LogBroker>,
    pub(super) meta: Arc<dyn MetaStore>,
    pub(super) bucket: Arc<Bucket>,
}

fn empty(clock: &Arc<SimClock>) -> (Arc<MemoryLog>, Arc<MemoryMeta>) {
    (MemoryLog::new(), Arc::new(MemoryMeta::new(Arc::<SimClock>::clone(clock))))
}

impl Backing {
    pub(super) fn new(form: Form, seed: u64, clock: &Arc<SimClock>) -> Self {
        match form {
            Form::Memory => Self::Memory {
                kept: Mutex::new(empty(clock)),
                bucket: Arc::new(Bucket::new(Arc::new(InMemory::new()))),
                clock: Arc::clone(clock),
            },
            Form::Disk => Self::Disk {
                door: VolatileDoor::new(),
                dice: Box::new(Mutex::new(StdRng::seed_from_u64(seed))),
                clock: Arc::clone(clock),
                lost: AtomicU64::new(0),
            },
        }
    }

    /// Log and meta store are lost; what a process finds of them next is empty. The objects are all there.
    pub(super) fn lose(&self) {
        match self {
            Self::Memory { kept, clock, .. } => *kept.lock().expect("no panic") = empty(clock),
            Self::Disk { lost, .. } => drop(lost.fetch_add(1, Ordering::SeqCst)),
        }
    }

    /// What a process finds.
    pub(super) async fn open(&self) -> Result<Opened, String> {
        match self {
            Self::Memory { kept, bucket, .. } => {
                let (log, meta) = kept.lock().expect("no panic").clone();
                Ok(Opened { log, meta, bucket: Arc::clone(bucket) })
            }
            Self::Disk { door, clock, lost, .. } => {
                let lost = lost.load(Ordering::SeqCst);
                let door = || -> Arc<dyn FileDoor> { Arc::new(door.clone()) };
                door().create_dirs(Path::new("/data")).map_err(words)?;
                let clock = Arc::<SimClock>::clone(clock);
                let meta =
                    RedbMeta::open(door(), format!("/data/meta-{lost}.redb"), clock).await.map_err(words)?;
                let store = LocalStore::open(door(), "/data/store").map_err(words)?;
                Ok(Opened {
                    log: FileLog::with_roll(door(), format!("/data/log-{lost}"), ROLL_BYTES),
                    meta: Arc::new(meta),
                    bucket: Arc::new(Bucket::new(Arc::new(store))),
                })
            }
        }
    }

    /// The power fails within the next operations of the disk.
    pub(super) fn light(&self) {
        if let Self::Disk { door, dice, .. } = self {
            let mut dice = dice.lock().expect("no panic");
            let most = [60, 600, 6_000][dice.random_range(0..3)];
            door.light(dice.random_range(0..most));
        }
    }

    /// The process is dying: nothing of it reaches a disk any more.
    pub(super) fn power_off(&self) {
        if let Self::Disk { door, .. } = self {
            door.power_off();
        }
    }

    /// What was not synced is gone, or some of it.
    pub(super) fn lose_unsynced(&self) {
        match self {
            Self::Memory { kept, .. } => kept.lock().expect("no panic").0.crash(),
            Self::Disk { door, dice, .. } => {
                let mut dice = dice.lock().expect("no panic");
                door.power_on(&mut |below| dice.random_range(0..below));
            }
        }
    }
}
