//! The state machine of the lock table: who holds what, who waits, and who is next.
//!
//! Owners of one process never wait for each other. A request waits when another process holds a conflicting mode,
//! or waits for one and came first; it goes ahead of those that wait for what its own process holds. Nothing here
//! waits, sleeps or knows a clock: a wait is an entry of a queue and a sender that is fired when it is granted.
//!
//! Invariants: no two processes hold conflicting modes of one target; whoever can be granted is, before the call
//! that made it possible returns; an entry without holds and waiters does not exist.

use std::collections::{HashMap, HashSet, VecDeque};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::mode::{LockMode, LockModes, LockTarget};

/// Changes of queues that one look for a deadlock may make.
const MOST_REORDERINGS: usize = 64;

/// A transaction or a session that holds locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct OwnerId(pub(super) u64);

/// One wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitId(u64);

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Requested {
    Granted,
    Waits(WaitId, oneshot::Receiver<()>),
}

/// One lock, held or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockInfo {
    pub target: LockTarget,
    pub mode: LockMode,
    pub process: i32,
    /// The number of the transaction; none of a session's lock.
    pub transaction: Option<u32>,
    pub granted: bool,
    /// The number of a transaction that stands in the way of a wait.
    pub blocked_by: Option<u32>,
}

/// One step of a circle: a process, what it waits for, and a process that stands in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) process: i32,
    pub(super) target: LockTarget,
    pub(super) mode: LockMode,
    pub(super) blocker: i32,
    pub(super) blocking_transaction: Option<u32>,
    /// The blocker holds nothing, it only came first.
    pub(super) in_line: bool,
}

#[derive(Debug)]
struct Hold {
    owner: OwnerId,
    process: i32,
    modes: LockModes,
}

#[derive(Debug)]
struct Waiter {
    id: WaitId,
    owner: OwnerId,
    process: i32,
    modes: LockModes,
    granted: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Nearly every target has one holder.
    holds: SmallVec<[Hold; 1]>,
    queue: VecDeque<Waiter>,
}

/// Places for targets that stay allocated when a transaction with many locks has ended.
const ROOM_KEPT: usize = 4096;

#[derive(Debug)]
struct Owner {
    process: i32,
    transaction: Option<u32>,
    /// What it took, in order; each mode of a target once.
    taken: Vec<(LockTarget, LockModes)>,
    /// How often a session took each of its locks.
    counts: HashMap<(LockTarget, LockMode), u32>,
}

/// See the file header.
#[derive(Debug, Default)]
pub(super) struct LockTable {
    entries: HashMap<LockTarget, Entry>,
    owners: HashMap<OwnerId, Owner>,
    /// What processes wait for.
    waiting: HashMap<i32, Vec<(LockTarget, WaitId)>>,
    last_owner: u64,
    last_wait: u64,
    last_transaction: u32,
    /// Tables in or in line for ACCESS EXCLUSIVE.
    pub(super) exclusive_tables: usize,
}

impl LockTable {
    /// A new owner; with a number when it is a transaction.
    pub(super) fn enter(&mut self, process: i32, transaction: bool) -> OwnerId {
        self.last_owner += 1;
        let id = OwnerId(self.last_owner);
        let number = transaction.then(|| {
            self.last_transaction = self.last_transaction.wrapping_add(1).max(1);
            self.last_transaction
        });
        let owner = Owner { process, transaction: number, taken: Vec::new(), counts: HashMap::new() };
        self.owners.insert(id, owner);
        id
    }

    /// Takes modes of a target, or gets in line.
    pub(super) fn request(&mut self, id: OwnerId, target: LockTarget, modes: LockModes) -> Requested {
        let Some((position, missing)) = self.place(id, target, modes) else { return Requested::Granted };
        let Some(process) = self.owners.get(&id).map(|owner| owner.process) else {
            return Requested::Granted;
        };
        self.last_wait += 1;
        let wait = WaitId(self.last_wait);
        let (granted, receiver) = oneshot::channel();
        let waiter = Waiter { id: wait, owner: id, process, modes: missing, granted };
        self.entries.entry(target).or_default().queue.insert(position, waiter);
        self.waiting.entry(process).or_default().push((target, wait));
        self.note_exclusive(target, missing, true);
        Requested::Waits(wait, receiver)
    }

    /// Takes modes of a target unless that would wait.
    pub(super) fn try_request(&mut self, id: OwnerId, target: LockTarget, modes: LockModes) -> bool {
        self.place(id, target, modes).is_none()
    }

    /// Grants what can be granted; otherwise the place in the queue and the modes to wait for.
    fn place(&mut self, id: OwnerId, target: LockTarget, modes: LockModes) -> Option<(usize, LockModes)> {
        let process = self.owners.get(&id)?.process;
        let Some(entry) = self.entries.get(&target) else {
            self.grant(id, target, modes);
            return None;
        };
        let of_owner = entry.holds.iter().find(|hold| hold.owner == id);
        let missing = modes.without(of_owner.map_or(LockModes::NONE, |hold| hold.modes));
        if missing.is_empty() {
            return None;
        }
        let mine = entry.holds.iter().filter(|hold| hold.process == process);
        let mine = mine.fold(LockModes::NONE, |all, hold| all.with(hold.modes));
        let conflicts = missing.conflicts();
        let held = entry.holds.iter().any(|hold| hold.process != process && hold.modes.meets(conflicts));
        let waits_for_me =
            |waiter: &Waiter| waiter.process != process && waiter.modes.conflicts().meets(mine);
        let position = entry.queue.iter().position(waits_for_me).unwrap_or(entry.queue.len());
        let ahead = entry.queue.iter().take(position);
        let in_line = ahead.filter(|other| other.process != process).any(|o| o.modes.meets(conflicts));
        if held || in_line {
            return Some((position, missing));
        }
        self.grant(id, target, missing);
        None
    }

    /// Makes modes held; they conflict with nothing that others hold.
    fn grant(&mut self, id: OwnerId, target: LockTarget, modes: LockModes) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        owner.taken.push((target, modes));
        let process = owner.process;
        let entry = self.entries.entry(target).or_default();
        match entry.holds.iter_mut().find(|hold| hold.owner == id) {
            Some(hold) => hold.modes = hold.modes.with(modes),
            None => entry.holds.push(Hold { owner: id, process, modes }),
        }
        self.note_exclusive(target, modes, true);
    }

    fn note_exclusive(&mut self, target: LockTarget, modes: LockModes, comes: bool) {
        if matches!(target, LockTarget::Table(_)) && modes.has(LockMode::AccessExclusive) {
            self.exclusive_tables =
                if comes { self.exclusive_tables + 1 } else { self.exclusive_tables.saturating_sub(1) };
        }
    }

    /// A session takes a lock once more; it is there already or was just granted.
    pub(super) fn count(&mut self, id: OwnerId, target: LockTarget, mode: LockMode) {
        if let Some(owner) = self.owners.get_mut(&id) {
            *owner.counts.entry((target, mode)).or_insert(0) += 1;
        }
    }

    /// A session gives a lock back once; false when it does not have it.
    pub(super) fn discount(&mut self, id: OwnerId, target: LockTarget, mode: LockMode) -> bool {
        let Some(owner) = self.owners.get_mut(&id) else { return false };
        let Some(count) = owner.counts.get_mut(&(target, mode)) else { return false };
        *count -= 1;
        if *count == 0 {
            owner.counts.remove(&(target, mode));
            owner.taken.retain(|(held, modes)| *held != target || !modes.has(mode));
            self.let_go(id, target, mode.into());
        }
        true
    }

    /// How many locks an owner has taken.
    pub(super) fn taken(&self, id: OwnerId) -> usize {
        self.owners.get(&id).map_or(0, |owner| owner.taken.len())
    }

    /// Gives back everything that was taken after the first `mark` locks.
    pub(super) fn release_since(&mut self, id: OwnerId, mark: usize) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        if mark >= owner.taken.len() {
            return;
        }
        let given_back = owner.taken.split_off(mark);
        if mark == 0 {
            owner.counts.clear();
        }
        for (target, modes) in given_back {
            self.let_go(id, target, modes);
        }
        let room = self.entries.capacity();
        if room > ROOM_KEPT && self.entries.len() < room / 8 {
            self.entries.shrink_to(ROOM_KEPT);
        }
    }

    /// Forgets an owner and gives back all it has.
    pub(super) fn leave(&mut self, id: OwnerId) {
        self.release_since(id, 0);
        self.owners.remove(&id);
    }

    fn let_go(&mut self, id: OwnerId, target: LockTarget, modes: LockModes) {
        let Some(entry) = self.entries.get_mut(&target) else { return };
        if let Some(at) = entry.holds.iter().position(|hold| hold.owner == id) {
            entry.holds[at].modes = entry.holds[at].modes.without(modes);
            if entry.holds[at].modes.is_empty() {
                entry.holds.swap_remove(at);
            }
        }
        self.note_exclusive(target, modes, false);
        self.wake(target);
    }

    /// Leaves a queue; nothing happens when the wait is over.
    pub(super) fn give_up(&mut self, target: LockTarget, wait: WaitId) {
        let Some(entry) = self.entries.get_mut(&target) else { return };
        let Some(at) = entry.queue.iter().position(|waiter| waiter.id == wait) else { return };
        if let Some(waiter) = entry.queue.remove(at) {
            self.stop_waiting(&waiter, target);
            self.wake(target);
        }
    }

    fn stop_waiting(&mut self, waiter: &Waiter, target: LockTarget) {
        self.note_exclusive(target, waiter.modes, false);
        if let Some(waits) = self.waiting.get_mut(&waiter.process) {
            waits.retain(|(_, id)| *id != waiter.id);
            if waits.is_empty() {
                self.waiting.remove(&waiter.process);
            }
        }
    }

    /// Grants what the queue of a target allows, in its order.
    fn wake(&mut self, target: LockTarget) {
        let mut at = 0;
        loop {
            let Some(entry) = self.entries.get_mut(&target) else { return };
            let Some(waiter) = entry.queue.get(at) else { break };
            let conflicts = waiter.modes.conflicts();
            let process = waiter.process;
            let held = entry.holds.iter().any(|hold| hold.process != process && hold.modes.meets(conflicts));
            let mut ahead = entry.queue.iter().take(at);
            if held || ahead.any(|other| other.process != process && other.modes.meets(conflicts)) {
                at += 1;
                continue;
            }
            let Some(waiter) = entry.queue.remove(at) else { break };
            self.stop_waiting(&waiter, target);
            self.grant(waiter.owner, target, waiter.modes);
            // One that gave up meanwhile keeps the lock until its transaction ends.
            let _ = waiter.granted.send(());
        }
        if self.entries.get(&target).is_some_and(|entry| entry.holds.is_empty() && entry.queue.is_empty()) {
            self.entries.remove(&target);
        }
    }

    /// The circle of waits that a process is part of, beginning with it. A circle that only the order of a queue
    /// makes is opened by another order instead.
    pub(super) fn deadlock(&mut self, process: i32) -> Option<Vec<Edge>> {
        for _ in 0..MOST_REORDERINGS {
            let circle = self.circle(process)?;
            let Some(edge) = circle.iter().find(|edge| edge.in_line) else { return Some(circle) };
            self.move_ahead(edge);
        }
        self.circle(process)
    }

    /// Moves a waiter in front of the one it waits behind.
    fn move_ahead(&mut self, edge: &Edge) {
        let Some(entry) = self.entries.get_mut(&edge.target) else { return };
        let place = |process| entry.queue.iter().position(|waiter| waiter.process == process);
        if let (Some(own), Some(other)) = (place(edge.process), place(edge.blocker))
            && other < own
            && let Some(waiter) = entry.queue.remove(own)
        {
            entry.queue.insert(other, waiter);
            self.wake(edge.target);
        }
    }

    fn circle(&self, process: i32) -> Option<Vec<Edge>> {
        let mut path = Vec::new();
        let mut seen = HashSet::from([process]);
        self.search(process, process, &mut path, &mut seen).then_some(path)
    }

    fn search(&self, from: i32, goal: i32, path: &mut Vec<Edge>, seen: &mut HashSet<i32>) -> bool {
        for edge in self.edges(from) {
            path.push(edge);
            if edge.blocker == goal
                || seen.insert(edge.blocker) && self.search(edge.blocker, goal, path, seen)
            {
                return true;
            }
            path.pop();
        }
        false
    }

    /// Everyone who stands in a process's way.
    fn edges(&self, process: i32) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (target, wait) in self.waiting.get(&process).into_iter().flatten() {
            let Some(entry) = self.entries.get(target) else { continue };
            let Some(at) = entry.queue.iter().position(|waiter| waiter.id == *wait) else { continue };
            let modes = entry.queue[at].modes;
            let Some(mode) = modes.iter().last() else { continue };
            let holders = entry.holds.iter().map(|hold| (hold.owner, hold.process, hold.modes, false));
            let ahead = entry.queue.iter().take(at);
            let ahead = ahead.map(|other| (other.owner, other.process, other.modes, true));
            for (owner, blocker, others, in_line) in holders.chain(ahead) {
                if blocker == process || !others.meets(modes.conflicts()) {
                    continue;
                }
                let blocking_transaction = self.owners.get(&owner).and_then(|owner| owner.transaction);
                let target = *target;
                edges.push(Edge { process, target, mode, blocker, blocking_transaction, in_line });
            }
        }
        edges
    }

    /// Everything that is held or waited for.
    pub(super) fn list(&self) -> Vec<LockInfo> {
        let mut all = Vec::new();
        for (target, entry) in &self.entries {
            let holds = entry.holds.iter().map(|hold| (hold.owner, hold.process, hold.modes, true));
            let waits = entry.queue.iter().map(|other| (other.owner, other.process, other.modes, false));
            for (owner, process, modes, granted) in holds.chain(waits) {
                let transaction = self.owners.get(&owner).and_then(|owner| owner.transaction);
                let mut in_the_way = if granted { Vec::new() } else { self.edges(process) }.into_iter();
                let blocked_by = in_the_way.find(|edge| edge.target == *target);
                let blocked_by = blocked_by.and_then(|edge| edge.blocking_transaction);
                let info =
                    |mode| LockInfo { target: *target, mode, process, transaction, granted, blocked_by };
                all.extend(modes.iter().map(info));
            }
        }
        all.sort_by_key(|lock| (lock.process, lock.target, lock.mode));
        all
    }
}

#[cfg(test)]
mod tests;
