//! One turn of an owner: the working state, the records, the answers, and the append that decides them all.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proto::catalog::CatalogSnapshot;
use proto::record::{LogRecord, Placement, RecordBody, TableChange};
use proto::{Offset, RowId, SegmentId, TableId, Timestamp, TxnId};
use segments::SegmentForm;

use super::check::Since;
use super::{CommitOutcome, CommitRequest, Owner, Reply, check};
use crate::catalog::{Catalog, Changed};
use crate::channel::encode;
use crate::error::{Error, Result};
use crate::follower::ChannelState;
use crate::log::Durability;
use crate::settings::PlantedBug;
use crate::staging::by_segment;

/// Why a turn failed, for everyone in it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The records may be in the log.
    pub(super) unknown: bool,
    /// The channel must be taken over before the next turn.
    pub(super) retake: bool,
    kind: std::io::ErrorKind,
    reason: String,
}

impl Failure {
    pub(super) fn new(error: &Error) -> Self {
        let (unknown, retake) = match error {
            Error::NotWritten { .. } => (false, false),
            Error::Fenced { .. } | Error::Unavailable { .. } => (false, true),
            _ => (true, true),
        };
        let kind = match error {
            Error::NotWritten { source, .. } => source.kind(),
            _ => std::io::ErrorKind::Other,
        };
        Self { unknown, retake, kind, reason: error.to_string() }
    }

    /// Nothing of the turn is in the log and the channel is as it was.
    fn undone(reason: String) -> Self {
        Self { unknown: false, retake: false, kind: std::io::ErrorKind::Other, reason }
    }

    pub(super) fn error(&self) -> Error {
        if self.unknown {
            return Error::Unknown { reason: self.reason.clone() };
        }
        let source = std::io::Error::new(self.kind, self.reason.clone());
        Error::NotWritten { action: "could not write to the log".into(), source }
    }
}

type Answer = Box<dyn FnOnce(Option<&Failure>) + Send>;

/// What a turn goes by.
#[derive(Clone, Debug)]
pub(super) struct Catalogs {
    /// What exists: requests are checked against it.
    pub(super) shown: Arc<CatalogSnapshot>,
    /// What storage keeps: records are applied by it.
    pub(super) stored: Arc<CatalogSnapshot>,
}

impl Catalogs {
    pub(super) fn of(catalog: &Catalog) -> Self {
        Self { shown: catalog.snapshot(), stored: catalog.stored() }
    }

    pub(super) fn of_change(changed: &Changed) -> Self {
        Self { shown: Arc::clone(changed.catalog()), stored: Arc::clone(changed.stored()) }
    }
}

/// See the file header.
pub(super) struct Batch {
    pub(super) work: ChannelState,
    pub(super) catalogs: Catalogs,
    records: Vec<Bytes>,
    answers: Vec<Answer>,
    durability: Durability,
    /// Applying failed half way: the working state is worthless.
    spoiled: Option<Failure>,
    /// Whether rows end in this turn.
    ends_rows: bool,
}

impl Batch {
    pub(super) fn new(state: &ChannelState, catalogs: Catalogs) -> Self {
        Self {
            work: state.clone(),
            catalogs,
            records: Vec::new(),
            answers: Vec::new(),
            durability: Durability::Deferred,
            spoiled: None,
            ends_rows: false,
        }
    }

    /// Gives an outcome once the turn has one. A verdict against a request may rest on commits of a turn that
    /// failed, so then it only says that nothing happened and that trying again may help.
    pub(super) fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, outcome: Result<T>) {
        self.answers.push(Box::new(move |failure| {
            let outcome = match (failure, outcome) {
                (None, outcome) => outcome,
                (Some(_), Err(_)) => Err(Error::Conflict),
                (Some(failure), Ok(_)) => Err(failure.error()),
            };
            // The asker may be gone; what was decided stays decided.
            let _ = reply.send(outcome);
        }));
    }

    /// Bytes of the records so far.
    fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.len() as u64).sum()
    }
}

impl Owner {
    /// Applies a record to the working state and puts it in line.
    pub(super) fn push(
        &self,
        batch: &mut Batch,
        body: RecordBody,
        ts: Timestamp,
        encoded: Option<Bytes>,
        durability: Durability,
    ) -> Result<()> {
        let record = LogRecord { channel: self.channel, epoch: self.epoch, ts, body };
        let encoded = match encoded {
            Some(encoded) => encoded,
            None => encode(&record)?,
        };
        if let RecordBody::Commit { changes, .. } | RecordBody::Payload { changes, .. } = &record.body {
            batch.ends_rows |= changes.iter().any(|change| change.truncate || !change.deletes.is_empty());
        }
        let offset = batch.work.next;
        if let Err(error) = batch.work.apply(offset, &record, &batch.catalogs.stored, &self.parts.settings) {
            tracing::error!(channel = %self.channel, %error, "a checked record could not be applied");
            batch.spoiled.get_or_insert(Failure::undone(error.to_string()));
            return Err(error);
        }
        batch.records.push(encoded);
        if durability == Durability::Synced {
            batch.durability = Durability::Synced;
        }
        Ok(())
    }

    /// Checks and accepts a transaction without catalog changes.
    pub(super) async fn add_commit(
        &mut self,
        batch: &mut Batch,
        request: CommitRequest,
    ) -> Result<CommitOutcome> {
        self.doubtful.extend(request.staged.iter().cloned());
        batch.work.opened = by_segment(&request.staged);
        let outcome = self.add_opened(batch, request).await;
        batch.work.opened.clear();
        outcome
    }

    /// The same with the staged segments at hand.
    async fn add_opened(&mut self, batch: &mut Batch, request: CommitRequest) -> Result<CommitOutcome> {
        let open = batch.work.open.get(&request.txn).cloned();
        if open.as_ref().map_or(0, |open| open.parts.len()) != request.payload_parts as usize {
            // Payloads were lost when the channel was taken over.
            return Err(Error::Conflict);
        }
        let parts = open.iter().flat_map(|open| open.parts.values().map(|part| part.as_slice()));
        let all: Vec<&[TableChange]> = parts.chain([request.changes.as_slice()]).collect();
        let before = self.handle.published.state();
        let alone = self.parts.settings.has(PlantedBug::CheckedAgainstStateBeforeTurn);
        let state = if alone { before.as_ref() } else { &batch.work };
        check::check(state, &batch.catalogs.shown, &all, Since::of(&request), &self.parts.settings)?;
        let placements = self.place(&batch.work, &all).await?;
        drop(all);
        let revision = batch.catalogs.shown.revision;
        let ts = self.parts.oracle.next(1).await?;
        let CommitRequest { txn, payload_parts, changes, .. } = request;
        self.push_commit(batch, (txn, ts), payload_parts, placements, changes)?;
        Ok(CommitOutcome { ts, catalog_revision: revision })
    }

    /// Appends a Commit record and the Seals that its rows make due.
    pub(super) fn push_commit(
        &self,
        batch: &mut Batch,
        (txn, ts): (TxnId, Timestamp),
        parts: u32,
        placements: Vec<Placement>,
        changes: Vec<TableChange>,
    ) -> Result<()> {
        if ts <= batch.work.last_ts {
            return Err(Error::Internal(format!("timestamp {ts} is not above {}", batch.work.last_ts)));
        }
        let placed: BTreeSet<TableId> = placements.iter().map(|placement| placement.table).collect();
        let body = RecordBody::Commit { txn, parts, placements, changes };
        self.push(batch, body, ts, None, Durability::Synced)?;
        for table in placed {
            self.seal_if(batch, table, self.parts.settings.segment_bytes)?;
        }
        Ok(())
    }

    /// Decides where the rows of a transaction go.
    pub(super) async fn place(
        &mut self,
        work: &ChannelState,
        all: &[&[TableChange]],
    ) -> Result<Vec<Placement>> {
        let mut staged: Vec<Placement> = Vec::new();
        let next_row = |staged: &[Placement], table: TableId| {
            let first = work.tables.get(&table).map_or(RowId(1), |table| table.next_row);
            let before = staged.iter().filter(|placement| placement.table == table);
            RowId(first.0 + before.map(|placement| placement.rows).sum::<u64>())
        };
        let changes = || all.iter().flat_map(|part| part.iter());
        for (table, rows) in
            changes().flat_map(|change| change.staged.iter().map(|rows| (change.table, rows)))
        {
            let (first_row, segment, rows) = (next_row(&staged, table), rows.segment, rows.rows);
            staged.push(Placement { table, segment, first_row, rows });
        }
        let mut placements: Vec<Placement> = Vec::new();
        for change in changes() {
            let rows = change.inserted_rows() as u64;
            if rows == 0 {
                continue;
            }
            if let Some(placement) = placements.iter_mut().find(|placement| placement.table == change.table) {
                placement.rows += rows;
                continue;
            }
            let table = work.tables.get(&change.table);
            let first_row = next_row(&staged, change.table);
            let segment = match table.and_then(|table| table.target(&self.parts.settings)) {
                Some(segment) => segment,
                None => self.fresh_segment().await?,
            };
            placements.push(Placement { table: change.table, segment, first_row, rows });
        }
        staged.extend(placements);
        Ok(staged)
    }

    /// Puts a Seal in line when a table's growing segment has reached a size.
    fn seal_if(&self, batch: &mut Batch, table: TableId, bytes: usize) -> Result<()> {
        let segment = batch.work.tables.get(&table).and_then(|table| {
            let segment = table.growing()?;
            let SegmentForm::Growing(rows) = &segment.state.form else { return None };
            (rows.rows() > 0 && rows.memory_bytes() >= bytes).then(|| rows.id())
        });
        segment.map_or(Ok(()), |segment| self.push_seal(batch, table, segment))
    }

    fn push_seal(&self, batch: &mut Batch, table: TableId, segment: SegmentId) -> Result<()> {
        let body = RecordBody::Seal { table, segment };
        self.push(batch, body, Timestamp::ZERO, None, Durability::Synced)
    }

    /// Ends growing segments whose rows are of before their table was written anew: rows that come now may have other
    /// types under the same column ids.
    pub(super) fn seal_former(&self, batch: &mut Batch) -> Result<()> {
        let former = batch.work.tables.iter().filter_map(|(table, rows)| match &rows.growing()?.state.form {
            SegmentForm::Growing(rows) if rows.is_of_former() => Some((*table, rows.id())),
            _ => None,
        });
        let former: Vec<(TableId, SegmentId)> = former.collect();
        former.into_iter().try_for_each(|(table, segment)| self.push_seal(batch, table, segment))
    }

    /// Ends the growing segments that have rows, of one table or of all.
    pub(super) fn add_seals(&self, batch: &mut Batch, only: Option<TableId>) -> Result<()> {
        let wanted = batch.work.tables.keys().filter(|table| only.is_none_or(|only| only == **table));
        let tables: BTreeSet<TableId> = wanted.copied().collect();
        tables.into_iter().try_for_each(|table| self.seal_if(batch, table, 0))
    }

    /// Accepts rows of a transaction that is not decided yet.
    pub(super) fn add_payload(
        &self,
        batch: &mut Batch,
        txn: TxnId,
        part: u32,
        changes: Vec<TableChange>,
        encoded: Option<Bytes>,
    ) -> Result<()> {
        if batch.work.open.get(&txn).is_some_and(|open| open.parts.contains_key(&part)) {
            return Err(Error::Internal(format!("part {part} of transaction {txn} came twice")));
        }
        let body = RecordBody::Payload { txn, part, changes };
        self.push(batch, body, Timestamp::ZERO, encoded, Durability::Deferred)
    }

    /// Forgets the payloads of a transaction that was given up.
    pub(super) fn add_abort(&self, batch: &mut Batch, txn: TxnId) {
        if batch.work.open.contains_key(&txn) {
            let aborted =
                self.push(batch, RecordBody::Abort { txn }, Timestamp::ZERO, None, Durability::Deferred);
            if let Err(error) = aborted {
                tracing::error!(%error, "an Abort could not be applied");
            }
        }
    }

    /// Appends the turn's records and shows the result, or undoes the turn. True when it happened.
    pub(super) async fn finish(&mut self, mut batch: Batch) -> bool {
        let bytes = batch.bytes();
        if self.parts.settings.has(PlantedBug::TimeShownBeforeRows) {
            let mut early = self.handle.published.state().as_ref().clone();
            early.last_ts = batch.work.last_ts;
            self.handle.published.publish(early);
        }
        let failure = self.append_batch(&mut batch).await.err();
        if let Some(failure) = &failure {
            tracing::error!(channel = %self.channel, reason = failure.reason, "a turn failed");
            self.broken |= failure.retake;
        } else if bytes > 0 {
            let frozen = has_frozen(&batch.work);
            self.handle.published.publish(batch.work);
            self.flusher.appended(bytes, frozen);
            if batch.ends_rows {
                self.flusher.rows_ended();
            }
        }
        for answer in batch.answers {
            answer(failure.as_ref());
        }
        failure.is_none()
    }

    async fn append_batch(&self, batch: &mut Batch) -> Result<(), Failure> {
        if let Some(failure) = &batch.spoiled {
            return Err(failure.clone());
        }
        if batch.records.is_empty() {
            return Ok(());
        }
        let expected = Offset(batch.work.next.0 - batch.records.len() as u64);
        let records = std::mem::take(&mut batch.records);
        if self.parts.settings.has(PlantedBug::AnsweredBeforeSynced) {
            batch.durability = Durability::Deferred;
        }
        match self.parts.log.append(self.channel, self.epoch, records, batch.durability).await {
            Ok(first) if first == expected => match self.parts.lease.check() {
                Ok(()) => Ok(()),
                // A newer owner may have read the log before these records got there.
                Err(error) => Err(Failure::new(&Error::Unknown { reason: error.to_string() })),
            },
            Ok(first) => {
                let reason = format!("records meant for offset {expected} were appended at {first}");
                Err(Failure::new(&Error::Unknown { reason }))
            }
            Err(error) => Err(Failure::new(&error)),
        }
    }
}

fn has_frozen(state: &ChannelState) -> bool {
    state.tables.values().flat_map(|table| &table.segments).any(|segment| segment.waits())
}
