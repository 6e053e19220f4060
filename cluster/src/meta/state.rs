//! The meta store's state in memory: entries, the recent changes for watches, and leases.
//!
//! Pure and synchronous: both embedded stores hold one behind a mutex, redb beside its file.
//!
//! Invariant: `revision` is that of the newest change; `history` holds every change since `history_start`.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{Change, Entry, Guard, LeaseId, Listing, Revision, Write};
use crate::error::{Error, Result};

/// How many revisions a watch can lie behind.
const HISTORY: usize = 4096;

#[derive(Clone, Debug)]
struct Stored {
    value: Bytes,
    revision: Revision,
    lease: Option<LeaseId>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    ttl_millis: u64,
    expires_micros: u64,
}

/// See the file header.
#[derive(Debug, Default)]
pub(super) struct MetaState {
    revision: Revision,
    entries: BTreeMap<String, Stored>,
    history: VecDeque<(Revision, Vec<Change>)>,
    history_start: Revision,
    leases: BTreeMap<LeaseId, Lease>,
    next_lease: u64,
}

impl MetaState {
    /// The state read back from a file; what happened before is not watched any more.
    pub(super) fn recovered(revision: Revision, entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries = entries
            .into_iter()
            .map(|entry| (entry.key, Stored { value: entry.value, revision: entry.revision, lease: None }))
            .collect();
        Self { revision, entries, history_start: revision + 1, ..Self::default() }
    }

    pub(super) const fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).map(|stored| entry(key, stored))
    }

    pub(super) fn list(&self, prefix: &str) -> Listing {
        let entries = self
            .entries
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| entry(key, stored))
            .collect();
        Listing { revision: self.revision, entries }
    }

    /// The position of the first guard that does not hold.
    pub(super) fn refused_by(&self, guards: &[Guard]) -> Option<usize> {
        guards.iter().position(|guard| match guard {
            Guard::Absent { key } => self.entries.contains_key(key),
            Guard::Equals { key, value } => self.entries.get(key).is_none_or(|stored| stored.value != *value),
            Guard::WrittenAt { key, revision } => {
                self.entries.get(key).is_none_or(|stored| stored.revision != *revision)
            }
        })
    }

    /// Refuses writes under a lease that is gone.
    pub(super) fn check_leases(&self, writes: &[Write]) -> Result<()> {
        for write in writes {
            if let Write::PutLeased { lease, .. } = write
                && !self.leases.contains_key(lease)
            {
                return Err(Error::LeaseLost(lease.0));
            }
        }
        Ok(())
    }

    /// Applies writes under the next revision; without writes the revision stays.
    pub(super) fn apply(&mut self, writes: Vec<Write>) -> Revision {
        if writes.is_empty() {
            return self.revision;
        }
        self.revision += 1;
        let revision = self.revision;
        let mut changes = BTreeMap::new();
        for write in writes {
            let (key, stored) = match write {
                Write::Put { key, value } => (key, Some(Stored { value, revision, lease: None })),
                Write::PutLeased { key, value, lease } => {
                    (key, Some(Stored { value, revision, lease: Some(lease) }))
                }
                Write::Delete { key } => (key, None),
            };
            if let Some(stored) = stored {
                changes.insert(key.clone(), Change::Put(entry(&key, &stored)));
                self.entries.insert(key, stored);
            } else if self.entries.remove(&key).is_some() {
                changes.insert(key.clone(), Change::Deleted { key, revision });
            }
        }
        self.history.push_back((revision, changes.into_values().collect()));
        while self.history.len() > HISTORY {
            self.history.pop_front();
            self.history_start = self.history.front().map_or(revision + 1, |(first, _)| *first);
        }
        revision
    }

    /// The first revision at or after `from` with changes under `prefix`.
    pub(super) fn changes_from(
        &self,
        prefix: &str,
        from: Revision,
    ) -> Result<Option<(Revision, Vec<Change>)>> {
        if from < self.history_start && from <= self.revision {
            return Err(Error::Compacted { first: self.history_start });
        }
        let start = self.history.partition_point(|(revision, _)| *revision < from);
        for (revision, changes) in self.history.range(start..) {
            let matching: Vec<Change> =
                changes.iter().filter(|change| key_of(change).starts_with(prefix)).cloned().collect();
            if !matching.is_empty() {
                return Ok(Some((*revision, matching)));
            }
        }
        Ok(None)
    }

    pub(super) fn grant(&mut self, ttl_millis: u64, now_micros: u64) -> LeaseId {
        self.next_lease += 1;
        let id = LeaseId(self.next_lease);
        self.leases.insert(id, Lease { ttl_millis, expires_micros: now_micros + ttl_millis * 1000 });
        id
    }

    pub(super) fn renew(&mut self, id: LeaseId, now_micros: u64) -> Result<()> {
        let lease = self.leases.get_mut(&id).ok_or(Error::LeaseLost(id.0))?;
        lease.expires_micros = now_micros + lease.ttl_millis * 1000;
        Ok(())
    }

    /// Ends a lease; its keys go in one revision.
    pub(super) fn revoke(&mut self, id: LeaseId) -> Result<()> {
        self.leases.remove(&id).ok_or(Error::LeaseLost(id.0))?;
        self.delete_orphans();
        Ok(())
    }

    /// Ends the leases that ran out. True when keys went with them.
    pub(super) fn expire(&mut self, now_micros: u64) -> bool {
        let before = self.leases.len();
        self.leases.retain(|_, lease| lease.expires_micros > now_micros);
        self.leases.len() != before && self.delete_orphans()
    }

    fn delete_orphans(&mut self) -> bool {
        let orphans: Vec<Write> = self
            .entries
            .iter()
            .filter(|(_, stored)| stored.lease.is_some_and(|lease| !self.leases.contains_key(&lease)))
            .map(|(key, _)| Write::Delete { key: key.clone() })
            .collect();
        let any = !orphans.is_empty();
        self.apply(orphans);
        any
    }
}

fn entry(key: &str, stored: &Stored) -> Entry {
    Entry { key: key.into(), value: stored.value.clone(), revision: stored.revision }
}

fn key_of(change: &Change) -> &str {
    match change {
        Change::Put(entry) => &entry.key,
        Change::Deleted { key, .. } => key,
    }
}
