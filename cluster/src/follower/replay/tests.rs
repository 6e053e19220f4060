use bytes::Bytes;
use object_store::memory::InMemory;
use proto::record::{Placement, TableChange};
use proto::{DatabaseId, RowId, SegmentId, SequenceId, Timestamp, TxnId};

use super::*;
use crate::channel::encode;
use crate::log::{Durability, MemoryLog};
use crate::testing::{Row, batch, row, table_meta};

const CHANNEL: ChannelId = ChannelId(3);

/// A log written by hand: whatever a broker that cannot refuse old owners might hold.
struct Written {
    log: Arc<MemoryLog>,
    catalog: Arc<CatalogSnapshot>,
    table: Arc<proto::catalog::TableMeta>,
    next_row: u64,
}

impl Written {
    async fn new() -> Self {
        let log = MemoryLog::new();
        log.open(CHANNEL, 9).await.expect("a channel");
        let table = table_meta(DatabaseId(1), 500, "t");
        let mut catalog = CatalogSnapshot::default();
        catalog.tables.insert(table.id, Arc::clone(&table));
        Self { log, catalog: Arc::new(catalog), table, next_row: 1 }
    }

    async fn record(&self, epoch: u64, ts: u64, body: RecordBody) {
        let record = LogRecord { channel: CHANNEL, epoch: Epoch(epoch), ts: Timestamp(ts), body };
        let bytes: Bytes = encode(&record).expect("a record");
        // The broker's own epoch stays at 1: it refuses nothing.
        self.log.append(CHANNEL, Epoch(1), vec![bytes], Durability::Synced).await.expect("an append");
    }

    async fn epoch(&self, epoch: u64) {
        self.record(epoch, 0, RecordBody::EpochStart { incarnation: 9 }).await;
    }

    fn change(&self, rows: &[Row]) -> Vec<TableChange> {
        let inserts = vec![batch(&self.table, rows)];
        vec![TableChange { inserts, ..TableChange::new(self.table.id, 1) }]
    }

    async fn payload(&self, epoch: u64, txn: u64, rows: &[Row]) {
        let body = RecordBody::Payload { txn: TxnId(txn), part: 0, changes: self.change(rows) };
        self.record(epoch, 0, body).await;
    }

    async fn commit(&mut self, epoch: u64, txn: u64, parts: u32, rows: &[Row], placed: u64) {
        let first_row = RowId(self.next_row);
        self.next_row += placed;
        let placement = Placement { table: self.table.id, segment: SegmentId(1), first_row, rows: placed };
        let changes = if rows.is_empty() { Vec::new() } else { self.change(rows) };
        let body = RecordBody::Commit { txn: TxnId(txn), parts, placements: vec![placement], changes };
        self.record(epoch, 10 + self.next_row, body).await;
    }

    async fn replay_from(&self, from: u64, epoch: u64) -> Result<ChannelState> {
        let mut state = ChannelState::new();
        state.next = Offset(from);
        let end = self.log.bounds(CHANNEL).await?.end;
        let filter = EpochFilter::new(CHANNEL, 9, Epoch(epoch));
        let store = InMemory::new();
        let opener = Opener { store: &store, writers: &Arc::default(), garbage: &Arc::default() };
        replay(self.log.as_ref(), opener, state, filter, end, &self.catalog, &Arc::default()).await
    }

    fn rows(&self, state: &ChannelState) -> usize {
        state
            .tables
            .get(&self.table.id)
            .map_or(0, |table| table.segments.iter().map(|s| s.state.form.rows()).sum())
    }
}

#[tokio::test]
async fn records_of_a_replaced_epoch_do_not_exist() {
    let mut written = Written::new().await;
    written.epoch(1).await;
    written.commit(1, 1, 0, &[row(1, "a")], 1).await;
    written.epoch(2).await;
    let next_row = written.next_row;
    written.commit(1, 2, 0, &[row(2, "late")], 1).await;
    written.next_row = next_row;
    written.commit(2, 3, 0, &[row(3, "b")], 1).await;
    let state = written.replay_from(0, 0).await.expect("a replay");
    assert_eq!(written.rows(&state), 2);
    assert_eq!(
        (state.next, state.epoch_at(Offset(1)), state.epoch_at(Offset(4))),
        (Offset(5), Epoch(1), Epoch(2))
    );
    // Trimmed up to the late record: the checkpoint knows the epoch.
    let state = written.replay_from(3, 2).await.expect("a replay");
    assert_eq!(written.rows(&state), 1);
    let state = written.replay_from(1, 1).await.expect("a replay");
    assert_eq!(
        written.rows(&state),
        2,
        "a checkpoint before the newer epoch keeps what that one began behind"
    );
}

#[tokio::test]
async fn a_multi_part_append_cut_by_an_epoch_is_void() {
    let mut written = Written::new().await;
    written.epoch(1).await;
    written.payload(1, 7, &[row(1, "cut")]).await;
    written.epoch(2).await;
    written.record(2, 0, RecordBody::Abort { txn: TxnId(7) }).await;
    written.commit(1, 7, 1, &[], 1).await;
    let state = written.replay_from(0, 0).await.expect("the late Commit does not exist");
    assert_eq!(written.rows(&state), 0);
    assert!(state.open.is_empty());
}

#[tokio::test]
async fn a_decided_transaction_is_found_whole_behind_a_new_epoch() {
    let mut written = Written::new().await;
    written.epoch(1).await;
    written.payload(1, 7, &[row(1, "decided"), row(2, "decided")]).await;
    written.epoch(2).await;
    written.commit(2, 7, 1, &[row(3, "inline")], 3).await;
    let state = written.replay_from(0, 0).await.expect("a replay");
    assert_eq!(written.rows(&state), 3);
}

#[tokio::test]
async fn what_the_log_cannot_mean_is_damage() {
    let mut written = Written::new().await;
    written.epoch(1).await;
    written.commit(1, 1, 1, &[], 0).await;
    let error = written.replay_from(0, 0).await.expect_err("a payload is missing");
    assert!(matches!(error, Error::Corrupted { .. }), "{error}");

    let mut written = Written::new().await;
    written.commit(1, 1, 0, &[row(1, "a")], 2).await;
    assert!(written.replay_from(0, 0).await.is_err(), "more rows placed than there are");

    let written = Written::new().await;
    written.record(1, 0, RecordBody::EpochStart { incarnation: 8 }).await;
    assert!(written.replay_from(0, 0).await.is_err(), "another incarnation");

    let written = Written::new().await;
    written.log.append(CHANNEL, Epoch(1), vec!["junk".into()], Durability::Synced).await.expect("an append");
    let error = written.replay_from(0, 0).await.expect_err("not a record");
    assert!(error.to_string().contains("channel 3, offset 0"), "{error}");

    let mut written = Written::new().await;
    written.commit(1, 1, 0, &[row(1, "a")], 1).await;
    written.record(1, 0, RecordBody::Seal { table: written.table.id, segment: SegmentId(1) }).await;
    written.commit(1, 2, 0, &[row(2, "b")], 1).await;
    assert!(written.replay_from(0, 0).await.is_err(), "rows behind a Seal");
}

#[tokio::test]
async fn marks_of_sequences_that_are_gone_are_passed_over() {
    let written = Written::new().await;
    written.record(1, 0, RecordBody::SequenceMark { sequence: SequenceId(4), next: 10 }).await;
    let state = written.replay_from(0, 0).await.expect("a replay");
    assert!(state.sequences.is_empty());
}
