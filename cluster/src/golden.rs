//! Files of earlier builds: what is written today must be the same bytes, and what is kept in the meta store in forms of
//! this crate. Those of the log are in `log/tests.rs`, those of the catalog in `proto`.
#![allow(clippy::disallowed_methods, reason = "tests read files")]

use prost::Message as _;
use proto::{Epoch, Timestamp, TxnId};
use segments::ManifestId;

use crate::catalog::number;
use crate::catalog_objects::RecoveryMark;
use crate::channel::{Checkpoint, Decision, SequenceMark, TableMark};
use crate::flusher::{pointer_bytes, pointer_of};
use crate::horizon::NamedSnapshot;

/// The path of a golden file.
pub(crate) fn path_of(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format-1").join(name)
}

/// Whether golden files are to be made, not compared.
pub(crate) fn writes() -> bool {
    std::env::var_os("ELANUS_WRITE_GOLDEN").is_some()
}

/// A golden file, which must be what is written now.
pub(crate) fn as_golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = path_of(name);
    if writes() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, now).expect("a golden file");
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(now, golden, "{name} is written differently than format 1 was");
    golden
}

#[test]
fn golden_files_of_the_meta_store_read_back() {
    let sequences = vec![SequenceMark { sequence: 16_411, next: -5 }];
    let tables = vec![TableMark { table: 16_401, next_row: 77 }];
    let checkpoint = Checkpoint {
        offset: 40,
        epoch: 3,
        last_ts: 99 << 18,
        incarnation: 0x0123_4567_89AB_CDEF,
        sequences: sequences.clone(),
        tables: tables.clone(),
    };
    let bytes = as_golden("checkpoint", &checkpoint.encode_to_vec());
    assert_eq!(Checkpoint::decode(bytes.as_slice()).expect("a checkpoint"), checkpoint);
    let mark = RecoveryMark { complete: 98 << 18, last_ts: 99 << 18, sequences, tables };
    let bytes = as_golden("recovery_mark", &mark.encode_to_vec());
    assert_eq!(RecoveryMark::decode(bytes.as_slice()).expect("a mark"), mark);
    for (name, ts) in [("decision", Some(Timestamp(99 << 18))), ("decision_without_ts", None)] {
        let bytes = as_golden(name, &Decision { txn: TxnId(8), parts: 3, ts }.encode());
        let read = Decision::decode(TxnId(8), &bytes).expect("a decision");
        assert_eq!((read.txn, read.parts, read.ts), (TxnId(8), 3, ts));
    }
    let id = ManifestId { epoch: Epoch(2), n: 9 };
    assert_eq!(pointer_of("storage", &as_golden("pointer", &pointer_bytes(id))).expect("a pointer"), id);
    assert_eq!(as_golden("number", &number(0x0102_0304_0506_0708)), [8, 7, 6, 5, 4, 3, 2, 1]);
}

/// Field by field as protobuf has it: there is no other way to make one than a running node's.
#[test]
fn named_snapshots_are_kept_as_they_were() {
    let kept = [
        &[0x08, 5, 0x12, 4][..],
        b"noon",
        &[0x19, 0, 0, 0x8C, 1, 0, 0, 0, 0, 0x22, 3, 7, 0x80, 2, 0x28, 1, 0x30, 0x2A],
    ]
    .concat();
    let snapshot = NamedSnapshot::decode(kept.as_slice()).expect("a snapshot");
    assert_eq!((snapshot.of_database().0, snapshot.name.as_str()), (5, "noon"));
    assert_eq!((snapshot.at(), snapshot.created_millis), (Timestamp(99 << 18), 42));
    assert_eq!(snapshot.encode_to_vec(), kept);
}
