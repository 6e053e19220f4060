use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};

use super::*;
use crate::golden::as_golden;

/// Today's bytes must be those of the golden file, and read back.
fn check(name: &str, body: RecordBody) {
    let record = LogRecord { channel: ChannelId(1), epoch: Epoch(7), ts: Timestamp(99), body };
    let bytes = as_golden(&format!("record_{name}"), &encode_record(&record).expect("encodes"));
    assert_eq!(decode_record(bytes).expect("decodes"), record);
}

#[test]
fn every_body_survives_its_stored_form() {
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as _),
        ("t", Arc::new(StringArray::from(vec![Some("a"), None])) as _),
    ])
    .expect("columns of equal length");
    let mut change = TableChange::new(TableId(5), 2);
    change.truncate = true;
    change.inserts.push(batch);
    change.deletes.push(RowDelete {
        target: RowRef { segment: SegmentId(3), ordinal: 4, row: RowId(44) },
        key: Bytes::from_static(b"k"),
    });
    let placement = Placement { table: TableId(5), segment: SegmentId(3), first_row: RowId(45), rows: 2 };
    check("epoch_start", RecordBody::EpochStart { incarnation: u64::MAX });
    check(
        "commit",
        RecordBody::Commit {
            txn: TxnId(8),
            parts: 1,
            placements: vec![placement],
            changes: vec![change.clone()],
        },
    );
    check("payload", RecordBody::Payload { txn: TxnId(8), part: 0, changes: vec![change] });
    let mut staging = TableChange::new(TableId(5), 2);
    let files = Bytes::from_static(b"an entry of a manifest");
    staging.staged.push(StagedRows { segment: SegmentId(9), rows: 70, files, ended: vec![0, 3, 69] });
    check("payload_staged", RecordBody::Payload { txn: TxnId(8), part: 1, changes: vec![staging] });
    check("abort", RecordBody::Abort { txn: TxnId(8) });
    check("seal", RecordBody::Seal { table: TableId(5), segment: SegmentId(3) });
    check("sequence_mark", RecordBody::SequenceMark { sequence: SequenceId(6), next: -4 });
}

#[test]
fn other_bytes_are_an_error() {
    assert!(decode_record(Bytes::from_static(b"\xff\xff")).is_err());
    assert!(decode_record(Bytes::new()).is_err());
}
