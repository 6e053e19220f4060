//! Transactions that change the catalog, one per turn.
//!
//! With rows: (1) all rows are durable as payloads; (2) one meta transaction holds the catalog change and the
//! decision key: that is the commit; (3) the Commit record makes the rows visible and gives the timestamp;
//! (4) the decision key goes. A crash between (2) and (4) is repaired by the next takeover, which appends the
//! missing Commit. Without rows there is nothing to decide: the meta transaction is the commit, and an empty
//! Commit record gives it a place in time. The timestamp is drawn before (2), which writes it to the catalog's
//! history and beside the decision: a Commit made up for later has the same. The catalog is shown after the Commit, so nobody sees the new table
//! without its rows; while the Commit is missing, readers wait for it (`Published::is_behind`).

use proto::record::{RecordBody, TableChange};
use proto::{ErrorKind, SqlError, TableId, Timestamp, TxnId};

use super::batch::{Batch, Catalogs};
use super::check::Since;
use super::{CommitOutcome, CommitRequest, Owner, check};
use crate::catalog::{Changed, decision_key};
use crate::channel::{Decision, epoch_guard};
use crate::error::{Error, Result};
use crate::log::Durability;
use crate::meta::{Outcome, Write};
use crate::staging::{Opener, StagedSegment, by_segment};

impl Owner {
    /// Decides a transaction with catalog changes.
    pub(super) async fn commit_catalog(&mut self, mut request: CommitRequest) -> Result<CommitOutcome> {
        let catalog = self.parts.catalog.snapshot();
        let view = std::sync::Arc::new(catalog.with_changes(&request.catalog));
        self.doubtful.extend(request.staged.iter().cloned());
        let inline = std::mem::take(&mut request.changes);
        self.check_unchanged(&request)?;
        self.check_rows(&request, &view, &inline)?;
        let mut parts = request.payload_parts;
        if !inline.is_empty() {
            self.append_alone(RecordBody::Payload { txn: request.txn, part: parts, changes: inline }).await?;
            parts += 1;
        }
        if parts > 0 {
            // Payloads before this one may not be durable yet; the decision must not outlive them.
            self.sync().await?;
        }
        let ts = self.parts.oracle.next(1).await?;
        let decided = Decision { txn: request.txn, parts, ts: Some(ts) };
        let key = decision_key(self.channel, request.txn);
        let decision = Write::put(&key, decided.encode());
        let writes = if parts > 0 { vec![decision] } else { Vec::new() };
        let guards = vec![epoch_guard(self.channel, self.epoch)];
        let changed = self.parts.catalog.change(&request.catalog, ts, guards, writes).await;
        match changed {
            Ok(changed) => {
                self.change_increments(&catalog, &request.catalog);
                self.finish_catalog(decided, changed, &request.staged).await
            }
            Err(error) => {
                let unknown = matches!(error, Error::Unknown { .. });
                self.broken |= unknown;
                if unknown {
                    self.handle.published.set_behind(true);
                }
                if !unknown && parts > 0 {
                    self.append_alone(RecordBody::Abort { txn: request.txn }).await?;
                }
                Err(error)
            }
        }
    }

    /// A change that was checked against a table's rows, or writes them anew, holds for those rows only.
    fn check_unchanged(&self, request: &CommitRequest) -> Result<()> {
        let state = self.handle.published.state();
        let changed = |(table, ts): &(TableId, Timestamp)| {
            state.tables.get(table).is_some_and(|rows| rows.changed_since(*ts))
        };
        if request.unchanged.iter().any(changed) { Err(Error::Conflict) } else { Ok(()) }
    }

    fn check_rows(
        &self,
        request: &CommitRequest,
        view: &proto::catalog::CatalogSnapshot,
        inline: &[TableChange],
    ) -> Result<()> {
        let mut state = self.handle.published.state().as_ref().clone();
        state.opened = by_segment(&request.staged);
        let open = state.open.get(&request.txn);
        if open.map_or(0, |open| open.parts.len()) != request.payload_parts as usize {
            return Err(Error::Conflict);
        }
        let parts = open.into_iter().flat_map(|open| open.parts.values().map(|part| part.as_slice()));
        let all: Vec<&[TableChange]> = parts.chain([inline]).collect();
        check::check(&state, view, &all, Since::of(request), &self.parts.settings)
    }

    /// The Commit of a transaction that the meta store has decided.
    async fn finish_catalog(
        &mut self,
        decision: Decision,
        changed: Changed,
        staged: &[StagedSegment],
    ) -> Result<CommitOutcome> {
        let revision = changed.catalog().revision;
        let catalogs = Catalogs::of_change(&changed);
        let decided = self.append_commit(decision, catalogs, staged).await;
        if decided.is_err() {
            self.handle.published.set_behind(true);
        }
        // Whatever became of the record: the change is in the meta store.
        self.parts.catalog.publish(changed);
        let ts = decided.map_err(|error| {
            self.broken = true;
            Error::Unknown { reason: error.to_string() }
        })?;
        self.retain_known();
        if decision.parts > 0 {
            self.forget_decision(decision.txn).await;
        }
        Ok(CommitOutcome { ts, catalog_revision: revision })
    }

    /// Appends a Commit without checks: it is decided.
    async fn append_commit(
        &mut self,
        decision: Decision,
        catalogs: Catalogs,
        staged: &[StagedSegment],
    ) -> Result<Timestamp> {
        let Decision { txn, parts, ts } = decision;
        let mut batch = Batch::new(&self.handle.published.state(), catalogs);
        batch.work.adopt(&batch.catalogs.shown)?;
        self.seal_former(&mut batch)?;
        batch.work.opened = by_segment(staged);
        let open = batch.work.open.get(&txn).cloned();
        let all: Vec<&[TableChange]> =
            open.iter().flat_map(|open| open.parts.values().map(|part| part.as_slice())).collect();
        Opener::of(&self.parts).open_all(&mut batch.work, &batch.catalogs.stored, &all).await?;
        let mut placements = self.place(&batch.work, &all).await?;
        // The transaction may have filled a table that it drops again.
        placements.retain(|placement| batch.catalogs.shown.tables.contains_key(&placement.table));
        let ts = match ts {
            Some(ts) => ts,
            None => self.parts.oracle.next(1).await?,
        };
        self.push_commit(&mut batch, (txn, ts), parts, placements, Vec::new())?;
        if self.finish(batch).await {
            Ok(ts)
        } else {
            Err(Error::Unavailable {
                what: "the log".into(),
                reason: "the Commit could not be appended".into(),
            })
        }
    }

    /// Appends the Commit that an interrupted owner left out.
    pub(super) async fn append_decided(&mut self, decision: Decision) -> Result<()> {
        let catalogs = Catalogs::of(&self.parts.catalog);
        self.append_commit(decision, catalogs, &[]).await?;
        self.forget_decision(decision.txn).await;
        Ok(())
    }

    /// A decision that stays costs nothing: its payloads are gone, so the next takeover passes it over.
    async fn forget_decision(&self, txn: TxnId) {
        let writes = vec![Write::Delete { key: decision_key(self.channel, txn) }];
        let guards = vec![epoch_guard(self.channel, self.epoch)];
        match self.parts.meta.commit(guards, writes).await {
            Ok(Outcome::Committed(_)) => {}
            other => tracing::warn!(%txn, ?other, "a decision could not be deleted"),
        }
    }

    /// Drops the state of tables and sequences that no longer exist.
    pub(super) fn retain_known(&self) {
        let mut state = self.handle.published.state().as_ref().clone();
        state.retain(&self.parts.catalog.stored());
        self.handle.published.publish(state);
    }

    /// Appends one record by itself.
    async fn append_alone(&mut self, body: RecordBody) -> Result<()> {
        let mut batch = Batch::new(&self.handle.published.state(), Catalogs::of(&self.parts.catalog));
        self.push(&mut batch, body, Timestamp::ZERO, None, Durability::Deferred)?;
        if self.finish(batch).await {
            return Ok(());
        }
        Err(SqlError::new(ErrorKind::IoError, "could not write to the log").into())
    }

    async fn sync(&mut self) -> Result<()> {
        let synced = self.parts.log.append(self.channel, self.epoch, Vec::new(), Durability::Synced).await;
        match synced {
            Ok(_) => Ok(()),
            // Nothing was decided, so this transaction has failed for certain; the channel needs a takeover.
            Err(error) => {
                self.broken = true;
                Err(Error::Unavailable { what: "the log".into(), reason: error.to_string() })
            }
        }
    }
}
