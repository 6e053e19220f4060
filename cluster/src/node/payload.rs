//! Large transactions: rows leave as Payload records of a good size before the Commit that decides them.

use proto::Timestamp;
use proto::TxnId;
use proto::record::{LogRecord, RecordBody, TableChange, batch_bytes};

use super::{Node, Runtime};
use crate::channel::encode;
use crate::error::Result;
use crate::owner::{CommitRequest, OwnerMessage};

/// Deletes per Payload record.
const DELETES: usize = 8192;

impl Node {
    /// Encodes on the caller's side and hands rows and bytes to the owner.
    pub(super) async fn send_payload(
        &self,
        runtime: &Runtime,
        txn: TxnId,
        part: u32,
        changes: Vec<TableChange>,
    ) -> Result<()> {
        let epoch = runtime.owner.epoch();
        let body = RecordBody::Payload { txn, part, changes };
        let record = LogRecord { channel: runtime.owner.published.channel, epoch, ts: Timestamp::ZERO, body };
        let encoded = encode(&record)?;
        let RecordBody::Payload { changes, .. } = record.body else { return Ok(()) };
        let message = |reply| OwnerMessage::Payload { txn, part, changes, encoded, epoch, reply };
        runtime.owner.ask(message).await
    }

    /// Moves changes that are too large for a Commit record into payloads.
    pub(super) async fn move_to_payloads(
        &self,
        runtime: &Runtime,
        request: &mut CommitRequest,
    ) -> Result<()> {
        let bytes: usize = request.changes.iter().map(change_bytes).sum();
        if bytes <= self.parts.settings.inline_bytes {
            return Ok(());
        }
        for change in std::mem::take(&mut request.changes) {
            for piece in split(change, self.parts.settings.payload_bytes) {
                self.send_payload(runtime, request.txn, request.payload_parts, vec![piece]).await?;
                request.payload_parts += 1;
            }
        }
        Ok(())
    }
}

/// Gives a transaction up when its commit failed or its front went away in the middle: payloads that nobody
/// decides would hold the checkpoint until the next start. Behind a Commit it finds nothing to give up.
#[derive(Debug)]
pub(super) struct Unfinished<'a> {
    runtime: &'a Runtime,
    txn: TxnId,
    decided: bool,
}

impl<'a> Unfinished<'a> {
    pub(super) const fn new(runtime: &'a Runtime, txn: TxnId) -> Self {
        Self { runtime, txn, decided: false }
    }

    /// Says how it ended.
    pub(super) const fn done(&mut self, decided: bool) {
        self.decided = decided;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.decided && self.runtime.owner.sender.try_send(OwnerMessage::Abort { txn: self.txn }).is_err()
        {
            tracing::warn!(txn = %self.txn, "a given-up transaction stays open: its owner is gone or too busy");
        }
    }
}

fn change_bytes(change: &TableChange) -> usize {
    let deletes: usize = change.deletes.iter().map(|delete| 24 + delete.key.len()).sum();
    let staged: usize = change.staged.iter().map(|rows| rows.files.len() + 4 * rows.ended.len()).sum();
    deletes + staged + change.inserts.iter().map(batch_bytes).sum::<usize>()
}

/// Cuts a change into pieces of about `bytes`; all of them together do the same, in any order of kinds.
fn split(change: TableChange, bytes: usize) -> Vec<TableChange> {
    let mut pieces = Vec::new();
    let empty = TableChange::new(change.table, change.schema_version);
    if change.truncate {
        pieces.push(TableChange { truncate: true, ..empty.clone() });
    }
    for rows in change.staged {
        pieces.push(TableChange { staged: vec![rows], ..empty.clone() });
    }
    for deletes in change.deletes.chunks(DELETES) {
        pieces.push(TableChange { deletes: deletes.to_vec(), ..empty.clone() });
    }
    for batch in change.inserts {
        let rows = batch.num_rows();
        let step = (rows * bytes / batch_bytes(&batch).max(1)).clamp(1, rows.max(1));
        for start in (0..rows).step_by(step) {
            let inserts = vec![batch.slice(start, step.min(rows - start))];
            pieces.push(TableChange { inserts, ..empty.clone() });
        }
    }
    pieces
}
