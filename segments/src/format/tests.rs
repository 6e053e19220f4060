#![allow(clippy::disallowed_methods, reason = "tests plant files behind the door's back")]

use std::sync::Arc;

use bytes::Bytes;
use futures::executor::block_on;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proto::{DistanceMetric, Epoch, Offset, RowId, SegmentId, Timestamp};

use super::manifest::{Manifest, ManifestId, ObjectKind, SegmentFiles, TableFiles};
use crate::error::{Error, Result};
use crate::fixture::{Row, VECTOR, batch, key, table};
use crate::flush::{NewObject, store_objects, write_segment};
use crate::view::{ScalarBound, ScanColumn};
use crate::{DeleteSet, GrowingRows, SealedSegment, TableSnapshot, top_k};

const ID: ManifestId = ManifestId { epoch: Epoch(2), n: 9 };

fn rows() -> Vec<Row> {
    let row = |id, title: Option<&str>, price, vector: Option<[f32; 5]>| Row {
        id,
        title: title.map(str::to_owned),
        price,
        vector: vector.map(Vec::from),
    };
    vec![
        row(10, Some("ten"), Some(1.5), Some([1.0, 0.0, 0.0, 0.0, 0.0])),
        row(11, None, Some(-2.25), Some([0.0, 2.0, 0.0, 0.0, 0.5])),
        row(-12, Some("zwölf"), None, None),
        row(13, Some(""), Some(1e300), Some([0.0; 5])),
        row(14, Some("deleted"), Some(0.0), Some([9.0; 5])),
    ]
}

/// The segment of the golden files: five rows at two timestamps, one deleted, an earlier TRUNCATE of nothing left.
fn written() -> (SegmentFiles, Vec<NewObject>, Manifest) {
    let rows = rows();
    let mut growing = GrowingRows::new(SegmentId(77), table());
    growing.append(&batch(&rows[..2]), Timestamp(1000), RowId(500)).unwrap();
    growing.append(&batch(&rows[2..]), Timestamp(2000), RowId(502)).unwrap();
    let mut deletes = DeleteSet::new();
    deletes.insert(4, RowId(504), Timestamp(3000));
    deletes.end_all(1, Timestamp(4000));
    let (files, objects) = write_segment(&growing, &deletes, Epoch(2), 8).unwrap();
    let manifest = TableFiles::empty(table()).next(ID, table(), Offset(40), vec![files.clone()], Vec::new());
    (files, objects, manifest)
}

fn golden(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format-1").join(name)
}

fn golden_names() -> Vec<(ObjectKind, &'static str)> {
    vec![
        (ObjectKind::Vectors(4), "vectors"),
        (ObjectKind::Scalars, "scalars.parquet"),
        (ObjectKind::Keys, "keys"),
        (ObjectKind::Deletes, "deletes"),
    ]
}

/// Reads everything through the front door and compares with `rows()`.
fn check_contents(store: &dyn ObjectStore) -> Result<()> {
    let table = table();
    let files = block_on(TableFiles::read(store, table.database, table.id, ID))?;
    let entry = files.segments[&SegmentId(77)].clone();
    let state = block_on(SealedSegment::open_state(store, Arc::clone(&table), entry))?;
    let columns: Vec<ScanColumn> = (0..6).map(ScanColumn::Column).collect();
    let view = state.at(Timestamp(2000));
    let found = view.read_range(&columns, 0, 5)?;
    // Stored rows may hold NULL anywhere, so only the values are the same.
    assert_eq!(found.columns(), batch_of_rows().columns());
    assert_eq!(
        view.read_rows(&columns, &[4, 0])?.column(0),
        &arrow::compute::take(found.column(0), &arrow::array::UInt32Array::from(vec![4, 0]), None)?
    );
    let visible = |ts| state.at(Timestamp(ts)).visible().set_indices().collect::<Vec<_>>();
    assert_eq!((visible(999), visible(1000), visible(2000)), (vec![], vec![0, 1], vec![0, 1, 2, 3, 4]));
    assert_eq!((visible(3000), visible(4000)), (vec![0, 1, 2, 3], vec![1, 2, 3]));
    assert_eq!(view.column_bounds(0), Some((ScalarBound::Int(-12), ScalarBound::Int(14))));
    assert_eq!(
        view.column_bounds(1),
        Some((ScalarBound::Text(String::new()), ScalarBound::Text("zwölf".to_owned())))
    );
    assert_eq!(view.column_bounds(2), Some((ScalarBound::Float(-2.25), ScalarBound::Float(1e300))));
    let snapshot = TableSnapshot { table, read_ts: Timestamp(2000), segments: vec![Arc::new(view)] };
    let keys = snapshot.find_keys(&[key(13), key(12), key(-12)])?;
    assert_eq!(
        keys.iter().map(|found| found.map(|row| (row.ordinal, row.row.0))).collect::<Vec<_>>(),
        [Some((3, 503)), None, Some((2, 502))]
    );
    let view = &snapshot.segments[0];
    let query = [0.0, 1.0, 0.0, 0.0, 0.0];
    let hits = top_k(view, VECTOR, DistanceMetric::Cosine, &query, 9, view.visible())?;
    assert_eq!(hits.iter().map(|hit| hit.ordinal).collect::<Vec<_>>(), [1, 4, 0, 3, 2]);
    assert!(hits[3].distance.is_some_and(f64::is_nan) && hits[4].distance.is_none());
    Ok(())
}

/// The expected batch; NULL vectors read back as zeros below the NULL.
fn batch_of_rows() -> arrow::array::RecordBatch {
    batch(&rows())
}

fn store_of(objects: &[(Path, Bytes)]) -> InMemory {
    let store = InMemory::new();
    for (path, bytes) in objects {
        block_on(store.put(path, bytes.clone().into())).unwrap();
    }
    store
}

fn all_objects() -> Vec<(Path, Bytes)> {
    let (_, objects, manifest) = written();
    let table = table();
    let manifest = (Manifest::key(table.database, table.id, ID), manifest.encode());
    objects.into_iter().map(|object| (object.entry.key, object.bytes)).chain([manifest]).collect()
}

#[test]
fn golden_files_of_format_1_read_back() {
    let (files, objects, manifest) = written();
    if std::env::var_os("ELANUS_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden("")).unwrap();
        for (kind, name) in golden_names() {
            let object = objects.iter().find(|object| object.entry.kind == kind).unwrap();
            std::fs::write(golden(name), &object.bytes).unwrap();
        }
        std::fs::write(golden("manifest"), manifest.encode()).unwrap();
    }
    let mut stored = Vec::new();
    for (kind, name) in golden_names() {
        let bytes = Bytes::from(std::fs::read(golden(name)).unwrap());
        if kind != ObjectKind::Scalars {
            let now = &objects.iter().find(|object| object.entry.kind == kind).unwrap().bytes;
            assert_eq!(*now, bytes, "{name} is written differently than format 1 was");
        }
        stored.push((files.object(kind).unwrap().key.clone(), bytes));
    }
    let table = table();
    let bytes = Bytes::from(std::fs::read(golden("manifest")).unwrap());
    stored.push((Manifest::key(table.database, table.id, ID), bytes));
    check_contents(&store_of(&stored)).unwrap();
}

#[test]
fn what_is_written_reads_back_also_from_mapped_files() {
    check_contents(&store_of(&all_objects())).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = crate::LocalStore::open(Arc::new(crate::SystemDoor), directory.path()).unwrap();
    let (_, objects, manifest) = written();
    block_on(store_objects(&store, &objects)).unwrap();
    let location = Manifest::key(table().database, table().id, ID);
    block_on(crate::store::put_new(&store, &location, manifest.encode())).unwrap();
    check_contents(&store).unwrap();
}

/// Damage must end in an error that names the object, or, where bytes carry no meaning, in the right answer.
#[test]
fn every_flipped_byte_is_noticed_or_harmless() {
    let objects = all_objects();
    let mut noticed = 0;
    for (position, (path, bytes)) in objects.iter().enumerate() {
        for at in (0..bytes.len()).filter(|at| *at < 400 || at % 13 == 0 || at + 200 > bytes.len()) {
            let mut damaged = objects.clone();
            let mut copy = bytes.to_vec();
            copy[at] ^= 0x10;
            damaged[position].1 = copy.into();
            match check_contents(&store_of(&damaged)) {
                Err(Error::Corrupted { object, .. } | Error::FormatVersion { object, .. }) => {
                    assert_eq!(object, path.as_ref(), "byte {at}");
                    noticed += 1;
                }
                Err(other) => panic!("byte {at} of {path}: {other}"),
                // Padding between the header and the vectors is the only part without a checksum.
                Ok(()) => assert!(
                    path.as_ref().contains("vectors") && (128..4096).contains(&at),
                    "byte {at} of {path}"
                ),
            }
        }
    }
    assert!(noticed > 1000, "{noticed}");
}

#[test]
fn cut_and_missing_objects_are_named() {
    let objects = all_objects();
    for (position, (path, bytes)) in objects.iter().enumerate() {
        for length in [0, 1, 100, 160, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = objects.clone();
            damaged[position].1 = bytes.slice(..length);
            let error = check_contents(&store_of(&damaged)).unwrap_err();
            assert!(
                matches!(&error, Error::Corrupted { object, .. } if object == path.as_ref()),
                "{length}: {error}"
            );
        }
        let mut missing = objects.clone();
        missing.remove(position);
        let error = check_contents(&store_of(&missing)).unwrap_err();
        assert!(matches!(&error, Error::Missing { object } if object == path.as_ref()), "{error}");
    }
}

#[test]
fn a_long_chain_is_cut_by_a_full_manifest() {
    let (files, _, _) = written();
    let store = InMemory::new();
    let table = table();
    let mut state = TableFiles::empty(Arc::clone(&table));
    let mut full = 0;
    for n in 1..=60 {
        let segment = SegmentId(n % 7);
        let id = ManifestId { epoch: Epoch(1), n };
        let removed = if n % 5 == 0 { vec![SegmentId((n + 1) % 7)] } else { Vec::new() };
        let added = vec![SegmentFiles { segment, rows: n, ..files.clone() }];
        let manifest = state.next(id, Arc::clone(&table), Offset(n), added, removed);
        full += u32::from(manifest.parent.is_none());
        let location = Manifest::key(table.database, table.id, id);
        block_on(store.put(&location, manifest.encode().into())).unwrap();
        state.apply(&manifest);
        let read = block_on(TableFiles::read(&store, table.database, table.id, id)).unwrap();
        assert_eq!(read, state);
    }
    assert_eq!(full, 4);
}

#[test]
fn key_files_of_every_size_find_every_hash() {
    use rand::{Rng, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(61);
    for rows in [0_usize, 1, 31, 64, 65, 1000, 30_000] {
        let mut pairs: Vec<(u64, u32)> =
            (0..rows as u32).map(|at| (random.random::<u64>() >> (at % 3), at)).collect();
        if rows > 2 {
            pairs[1].0 = pairs[0].0;
            pairs[2].0 = u64::MAX;
        }
        pairs.sort_unstable();
        let bytes = super::key_file::encode(SegmentId(1), rows, &pairs);
        let bytes = crate::store::ObjectBytes::resident("keys", bytes);
        let file = super::key_file::KeyFile::open(bytes, SegmentId(1), rows).unwrap();
        let probes =
            pairs.iter().map(|pair| pair.0).chain((0..100).map(|_| random.random())).chain([0, u64::MAX]);
        for hash in probes.collect::<Vec<_>>() {
            let mut found = Vec::new();
            file.candidates(hash, &mut found).unwrap();
            let start = pairs.partition_point(|pair| pair.0 < hash);
            let expected: Vec<u32> =
                pairs[start..].iter().take_while(|pair| pair.0 == hash).map(|pair| pair.1).collect();
            assert_eq!(found, expected);
        }
    }
}
