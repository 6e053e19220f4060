//! Taking over a channel: a new epoch, the state at the end of the log, and what an interrupted owner left open.
//!
//! In order: (1) open the log and compare it with the checkpoint (same incarnation, not shorter); (2) take the
//! next epoch in the meta store, which ends every older owner's meta commits, and fence the log, which ends its
//! appends; (3) load the stored segments and replay from the checkpoint; (4) append in one piece the epoch's
//! first record and an Abort for every transaction that was not decided (its front is gone); (5) append the
//! missing Commit of every transaction that was decided in the meta store.
//!
//! A crash at any step is repaired by the next start doing the same: (4) is one append, and a decision is
//! deleted only when its Commit is durable. The same steps follow an append of unknown outcome.

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use prost::Message;
use proto::record::{LogRecord, RecordBody, encode_record};
use proto::time::{Clock, Dice};
use proto::{ChannelId, Epoch, Offset, RowId, SequenceId, TableId, Timestamp, TxnId};

use crate::catalog::{
    Catalog, checkpoint_key, decision_key, decision_prefix, epoch_key, number, read_number,
};
use crate::catalog_objects::CatalogObjects;
use crate::collector::{Garbage, Writers};
use crate::error::{Error, Result};
use crate::flusher;
use crate::follower::ChannelState;
use crate::follower::replay::{EpochFilter, replay};
use crate::horizon::Horizons;
use crate::lease::Lease;
use crate::log::{Durability, LogBounds, LogBroker};
use crate::meta::{Guard, MetaStore, Outcome, Write};
use crate::oracle::TimestampOracle;
use crate::settings::Settings;
use crate::staging::Opener;

/// The parts an owner works with.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) log: Arc<dyn LogBroker>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) oracle: Arc<dyn TimestampOracle>,
    pub(crate) dice: Arc<dyn Dice>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) catalog_objects: Arc<CatalogObjects>,
    pub(crate) horizons: Arc<Horizons>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) writers: Arc<Writers>,
    pub(crate) garbage: Arc<Garbage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Lease,
}

/// Where a restart begins, as kept in the meta store.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Checkpoint {
    #[prost(uint64, tag = "1")]
    pub(crate) offset: u64,
    /// The epoch in force at `offset`: records of smaller epochs behind it do not exist.
    #[prost(uint64, tag = "2")]
    pub(crate) epoch: u64,
    #[prost(fixed64, tag = "3")]
    pub(crate) last_ts: u64,
    #[prost(fixed64, tag = "4")]
    pub(crate) incarnation: u64,
    #[prost(message, repeated, tag = "5")]
    pub(crate) sequences: Vec<SequenceMark>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) tables: Vec<TableMark>,
}

/// The next value of a sequence that is certainly free.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct SequenceMark {
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    #[prost(sint64, tag = "2")]
    pub(crate) next: i64,
}

/// The next row id of a table.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct TableMark {
    #[prost(uint64, tag = "1")]
    pub(crate) table: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) next_row: u64,
}

impl SequenceMark {
    /// The marks of a state.
    pub(crate) fn all(state: &ChannelState) -> Vec<Self> {
        state.sequences.iter().map(|(id, next)| Self { sequence: id.0, next: *next }).collect()
    }
}

impl TableMark {
    /// The marks of a state.
    pub(crate) fn all(state: &ChannelState) -> Vec<Self> {
        state.tables.iter().map(|(id, table)| Self { table: id.0, next_row: table.next_row.0 }).collect()
    }
}

/// A channel taken over.
#[derive(Debug)]
pub(crate) struct TakenOver {
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: u64,
    pub(crate) state: ChannelState,
    /// Decided transactions whose Commit record is still to be appended.
    pub(crate) decided: Vec<Decision>,
}

/// A transaction that the meta store has decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decision {
    pub(crate) txn: TxnId,
    /// Its payloads.
    pub(crate) parts: u32,
    /// The timestamp of its Commit; none where a former version has decided it.
    pub(crate) ts: Option<Timestamp>,
}

impl Decision {
    /// The stored form: u32 LE parts, u64 LE timestamp.
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = self.parts.to_le_bytes().to_vec();
        bytes.extend(self.ts.map(|ts| ts.0.to_le_bytes()).into_iter().flatten());
        bytes.into()
    }

    /// Reads the stored form.
    pub(crate) fn decode(txn: TxnId, bytes: &[u8]) -> Option<Self> {
        let (parts, ts) = bytes.split_first_chunk()?;
        let ts = match ts {
            [] => None,
            ts => Some(Timestamp(u64::from_le_bytes(ts.try_into().ok()?))),
        };
        Some(Self { txn, parts: u32::from_le_bytes(*parts), ts })
    }
}

/// Steps 1 to 4 of the header.
pub(crate) async fn take_over(parts: &Parts, channel: ChannelId) -> Result<TakenOver> {
    let stored = parts.meta.get(&checkpoint_key(channel)).await?;
    if stored.is_some() && !parts.log.exists(channel).await? {
        // Opening it would make another one, and be in the way of whoever brings it back.
        return Err(Error::corrupted(format!("log channel {channel}"), "it is missing"));
    }
    let bounds = parts.log.open(channel, parts.dice.next_u64()).await?;
    let checkpoint = match stored {
        Some(entry) => Checkpoint::decode(entry.value).map_err(|error| Error::corrupted(entry.key, error))?,
        None => {
            Checkpoint { incarnation: bounds.incarnation, offset: bounds.first.0, ..Checkpoint::default() }
        }
    };
    compare(channel, &bounds, &checkpoint)?;
    let epoch = take_epoch(parts, channel, &bounds, &checkpoint).await?;
    parts.log.fence(channel, epoch).await?;
    // What an old owner appended before the fence is settled by this sync: after it, the end stands still.
    parts.log.append(channel, epoch, Vec::new(), Durability::Synced).await?;
    let end = parts.log.bounds(channel).await?.end;
    let catalog = parts.catalog.stored();
    let mut state = state_at(&checkpoint);
    flusher::load_tables(parts, channel, &catalog, &mut state).await?;
    let filter = EpochFilter::new(channel, checkpoint.incarnation, Epoch(checkpoint.epoch));
    let opener = Opener::of(parts);
    state = replay(parts.log.as_ref(), opener, state, filter, end, &catalog, &parts.settings).await?;
    state.retain(&catalog);
    let mut decided = decisions(parts, channel).await?;
    let orphans: Vec<TxnId> = state
        .open
        .keys()
        .filter(|txn| !decided.iter().any(|decision| decision.txn == **txn))
        .copied()
        .collect();
    let first = RecordBody::EpochStart { incarnation: checkpoint.incarnation };
    let aborts = orphans.into_iter().map(|txn| RecordBody::Abort { txn });
    append(parts, channel, epoch, std::iter::once(first).chain(aborts).collect(), &mut state).await?;
    // A decision whose payloads are gone has its Commit in the log already.
    let done: Vec<TxnId> =
        decided.iter().map(|decision| decision.txn).filter(|txn| !state.open.contains_key(txn)).collect();
    decided.retain(|decision| state.open.contains_key(&decision.txn));
    forget(parts, channel, epoch, &done).await?;
    Ok(TakenOver { epoch, incarnation: checkpoint.incarnation, state, decided })
}

/// The log must be the one the checkpoint speaks of, and reach it.
pub(crate) fn compare(channel: ChannelId, bounds: &LogBounds, checkpoint: &Checkpoint) -> Result<()> {
    let object = format!("log channel {channel}");
    if bounds.incarnation != checkpoint.incarnation {
        let reason = "it is not the log that the meta store knows (another incarnation)";
        return Err(Error::corrupted(object, reason));
    }
    if bounds.end.0 < checkpoint.offset || bounds.first.0 > checkpoint.offset {
        let reason = format!(
            "it holds offsets {} to {}, the checkpoint is at {}",
            bounds.first, bounds.end, checkpoint.offset
        );
        return Err(Error::corrupted(object, reason));
    }
    Ok(())
}

/// Takes the next epoch: above the meta store's and the log's.
async fn take_epoch(
    parts: &Parts,
    channel: ChannelId,
    bounds: &LogBounds,
    checkpoint: &Checkpoint,
) -> Result<Epoch> {
    let key = epoch_key(channel);
    let entry = parts.meta.get(&key).await?;
    let (known, guard) = match entry {
        Some(entry) => {
            (read_number(&key, &entry.value)?, Guard::Equals { key: key.clone(), value: entry.value })
        }
        // The meta store learns of an epoch before the log does.
        None if bounds.epoch > Epoch(0) => {
            let reason = "it holds records that the meta store knows nothing of";
            return Err(Error::corrupted(format!("log channel {channel}"), reason));
        }
        None => (0, Guard::Absent { key: key.clone() }),
    };
    let epoch = Epoch(known.max(bounds.epoch.0).max(checkpoint.epoch)).next();
    match parts.meta.commit(vec![guard], vec![Write::put(key, number(epoch.0))]).await? {
        Outcome::Committed(_) => Ok(epoch),
        Outcome::Refused { .. } => Err(Error::Unavailable {
            what: format!("channel {channel}"),
            reason: "another owner is taking over".into(),
        }),
    }
}

/// The guard that makes a meta commit fail once another owner has taken over.
pub(crate) fn epoch_guard(channel: ChannelId, epoch: Epoch) -> Guard {
    Guard::Equals { key: epoch_key(channel), value: number(epoch.0) }
}

fn state_at(checkpoint: &Checkpoint) -> ChannelState {
    let mut state = ChannelState::new();
    state.next = Offset(checkpoint.offset);
    state.epochs = Arc::new(vec![(state.next, Epoch(checkpoint.epoch))]);
    state.last_ts = Timestamp(checkpoint.last_ts);
    for mark in &checkpoint.sequences {
        state.sequences.insert(SequenceId(mark.sequence), mark.next);
    }
    for mark in &checkpoint.tables {
        state.table_mut(TableId(mark.table)).next_row = RowId(mark.next_row);
    }
    state
}

async fn decisions(parts: &Parts, channel: ChannelId) -> Result<Vec<Decision>> {
    let prefix = decision_prefix(channel);
    let mut decided = Vec::new();
    for entry in parts.meta.list(&prefix).await?.entries {
        let txn = entry.key[prefix.len()..].parse().map_err(|error| Error::corrupted(&entry.key, error))?;
        let decision = Decision::decode(TxnId(txn), &entry.value);
        decided.push(decision.ok_or_else(|| Error::corrupted(&entry.key, "not 4 or 12 bytes"))?);
    }
    Ok(decided)
}

/// Deletes decisions that are in the log.
async fn forget(parts: &Parts, channel: ChannelId, epoch: Epoch, done: &[TxnId]) -> Result<()> {
    if done.is_empty() {
        return Ok(());
    }
    let writes = done.iter().map(|txn| Write::Delete { key: decision_key(channel, *txn) }).collect();
    match parts.meta.commit(vec![epoch_guard(channel, epoch)], writes).await? {
        Outcome::Committed(_) => Ok(()),
        Outcome::Refused { .. } => Err(Error::Unavailable {
            what: format!("channel {channel}"),
            reason: "another owner is taking over".into(),
        }),
    }
}

/// Appends records that decide nothing and applies them.
pub(crate) async fn append(
    parts: &Parts,
    channel: ChannelId,
    epoch: Epoch,
    bodies: Vec<RecordBody>,
    state: &mut ChannelState,
) -> Result<()> {
    let records: Vec<LogRecord> =
        bodies.into_iter().map(|body| LogRecord { channel, epoch, ts: Timestamp::ZERO, body }).collect();
    let encoded: Vec<Bytes> = records.iter().map(encode).collect::<Result<_>>()?;
    let first = parts.log.append(channel, epoch, encoded, Durability::Synced).await?;
    let catalog = parts.catalog.stored();
    for (offset, record) in (first.0..).map(Offset).zip(&records) {
        state.apply(offset, record, &catalog, &parts.settings)?;
    }
    Ok(())
}

/// The stored form of a record.
pub(crate) fn encode(record: &LogRecord) -> Result<Bytes> {
    encode_record(record).map_err(|error| Error::Internal(error.to_string()))
}
