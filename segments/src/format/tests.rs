#![allow(clippy::disallowed_methods, reason = "tests plant files behind the door's back")]

use std::sync::Arc;

use bytes::Bytes;
use futures::executor::block_on;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proto::catalog::{TableMeta, UniqueKey};
use proto::{DistanceMetric, Epoch, Offset, Oid, RowId, SegmentId, Timestamp};

use super::catalog_object::{CatalogObject, Entries};
use super::key_file::KeyFile;
use super::manifest::{Manifest, ManifestId, ObjectEntry, ObjectKind, SegmentFiles, TableFiles};
use crate::error::{Error, Result};
use crate::faiss::RawGraph;
use crate::fixture::{Row, VECTOR, batch, key, table};
use crate::flush::{NewObject, store_objects, write_segment};
use crate::store::ObjectBytes;
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

/// The golden file of a stored form that is written now; it must not differ.
fn as_golden(name: &str, now: &Bytes) -> ObjectBytes {
    if std::env::var_os("ELANUS_WRITE_GOLDEN").is_some() {
        std::fs::write(golden(name), now).unwrap();
    }
    let bytes = Bytes::from(std::fs::read(golden(name)).unwrap());
    assert_eq!(*now, bytes, "{name} is written differently than format 1 was");
    ObjectBytes::resident(name, bytes)
}

#[test]
fn golden_files_of_unique_keys_read_back() {
    let unique = UniqueKey {
        constraint: Some(Oid(16_405)),
        index_oid: Oid(16_406),
        name: "t_title_key".to_owned(),
        columns: vec![2],
        nulls_distinct: true,
    };
    let table = Arc::new(TableMeta { uniques: vec![unique], ..(*table()).clone() });
    let mut growing = GrowingRows::new(SegmentId(77), Arc::clone(&table));
    growing.append(&batch(&rows()), Timestamp(1000), RowId(500)).unwrap();
    let (_, objects) = write_segment(&growing, &DeleteSet::new(), Epoch(2), 8).unwrap();
    let written = objects.iter().find(|object| object.entry.kind == ObjectKind::UniqueKeys(16_406)).unwrap();
    let file = KeyFile::open(as_golden("unique_keys", &written.bytes), SegmentId(77), 5).unwrap();
    let keys = proto::key::encode_unique_keys(&batch(&rows()), &[1], true).unwrap();
    for (ordinal, key) in (0..).zip(keys) {
        let mut found = Vec::new();
        if let Some(key) = &key {
            file.candidates(crate::keys::hash_key(key), &mut found).unwrap();
        }
        // The row with a NULL is in no key.
        assert_eq!(found, if ordinal == 1 { vec![] } else { vec![ordinal] }, "{key:?}");
    }
}

#[test]
fn golden_files_of_indexes_read_back() {
    let graph = RawGraph {
        levels: vec![1, 2, 1],
        offsets: vec![0, 4, 10, 14],
        neighbours: vec![1, 2, -1, -1, 0, 2, -1, -1, 1, -1, 1, 0, -1, -1],
        entry: 1,
        top_layer: 1,
    };
    for (name, rows, ordinals) in [("graph", 3, None), ("graph_of_some_rows", 5, Some([0, 1, 4]))] {
        let ordinals = ordinals.as_ref().map(<[u32; 3]>::as_slice);
        let now = super::graph_file::encode(SegmentId(77), rows, 2, &graph, ordinals, Timestamp::ZERO);
        let file = super::graph_file::GraphFile::open(as_golden(name, &now), SegmentId(77), rows).unwrap();
        assert_eq!((file.nodes(), file.m(), file.entry()), (3, 2, (1, 1)));
        let lowest: Vec<&[u32]> = (0..3).map(|node| file.lowest(node).unwrap()).collect();
        assert_eq!(lowest, [[1, 2], [0, 2], [1, 0]]);
        assert_eq!((file.upper(1, 1).unwrap(), file.upper(0, 1).unwrap()), ([1].as_slice(), [].as_slice()));
        let rows: Vec<u32> = (0..3).map(|node| file.ordinal(node).unwrap()).collect();
        assert_eq!(rows, ordinals.unwrap_or(&[0, 1, 2]));
    }
    let lists = [vec![0, 3], vec![], vec![1]];
    let centroids = [0.5, 1.0, -2.0, 3.0, 0.0, 0.25];
    let now = super::list_file::encode(SegmentId(77), 5, 2, &centroids, &lists, Timestamp::ZERO);
    let file = super::list_file::ListFile::open(as_golden("lists", &now), SegmentId(77), 5, 2).unwrap();
    assert_eq!((file.centroids(), file.listed()), (centroids.as_slice(), 3));
    let read: Vec<&[u32]> = (0..3).map(|list| file.list(list).unwrap()).collect();
    assert_eq!(read, lists);
}

#[test]
fn golden_files_of_catalog_objects_read_back() {
    let entries = |pairs: &[(&str, &'static [u8])]| -> Entries {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), Bytes::from_static(value))).collect()
    };
    let before = entries(&[("catalog/revision", b"\x07"), ("counter/oid", b"\x10\x40"), ("gone", b"x")]);
    let after = entries(&[("catalog/revision", b"\x08"), ("counter/oid", b"\x10\x40"), ("new", b"")]);
    let whole = CatalogObject::whole(7, &before);
    let change = CatalogObject::difference(8, 7, &before, &after);
    for (name, object) in [("catalog", whole), ("catalog_change", change)] {
        assert_eq!(CatalogObject::decode(as_golden(name, &object.encode())).unwrap(), object);
    }
}

#[test]
fn golden_files_of_manifests_read_back() {
    let kinds = [
        ObjectKind::Scalars,
        ObjectKind::Vectors(4),
        ObjectKind::Keys,
        ObjectKind::Deletes,
        ObjectKind::Index(16_407),
        ObjectKind::UniqueKeys(16_406),
    ];
    let object = |(n, kind): (u64, ObjectKind)| ObjectEntry {
        kind,
        key: Path::from(format!("5/16400/0/77/2-8-{}", kind.suffix())),
        length: 1000 + n,
        checksum: 0x1234_5678 + n as u32,
    };
    let segment = SegmentFiles {
        segment: SegmentId(77),
        rows: 5,
        schema_version: 3,
        min_ts: Timestamp(1000),
        max_ts: Timestamp(2000),
        min_row: RowId(500),
        max_row: RowId(504),
        objects: (0..).zip(kinds).map(object).collect(),
        bounds: vec![
            (1, ScalarBound::Int(-12), ScalarBound::Int(14)),
            (2, ScalarBound::Text(String::new()), ScalarBound::Text("zwölf".to_owned())),
            (3, ScalarBound::Float(-2.25), ScalarBound::Float(1e300)),
        ],
        began: None,
    };
    let imported = segment.clone().beginning(Timestamp(3000), RowId(600));
    let full = Manifest {
        id: ID,
        parent: None,
        table: table(),
        through: Offset(40),
        segments: vec![segment],
        removed: Vec::new(),
        purged: Timestamp(900),
        replaced: vec![(SegmentId(70), Offset(30)), (SegmentId(71), Offset(30))],
    };
    let id = ManifestId { n: 10, ..ID };
    let delta =
        Manifest { id, parent: Some(ID), segments: Vec::new(), removed: vec![SegmentId(77)], ..full.clone() };
    let import = Manifest { segments: vec![imported], removed: Vec::new(), ..delta.clone() };
    for (name, manifest) in [("manifest_full", full), ("manifest_delta", delta), ("manifest_import", import)]
    {
        assert_eq!(Manifest::decode(as_golden(name, &manifest.encode())).unwrap(), manifest);
    }
}

/// Parquet's pages may change with its library; what a reader goes by may not. (`scalars.parquet` is still older: columns
/// that were NOT NULL are required in it, and it is read above.)
#[test]
fn scalars_keep_the_shape_of_the_golden_file() {
    use parquet::file::reader::FileReader as _;
    let shape = |bytes: Bytes| {
        let reader = parquet::file::serialized_reader::SerializedFileReader::new(bytes).unwrap();
        let file = reader.metadata().file_metadata();
        let pairs = file.key_value_metadata().unwrap().iter();
        let pairs: Vec<_> = pairs.map(|pair| (pair.key.clone(), pair.value.clone())).collect();
        let group = reader.metadata().row_group(0);
        let columns = group.columns().iter();
        let columns: Vec<_> =
            columns.map(|column| (column.column_descr_ptr(), column.compression())).collect();
        (file.schema_descr().root_schema_ptr(), pairs, columns)
    };
    let (_, objects, _) = written();
    let now = objects.iter().find(|object| object.entry.kind == ObjectKind::Scalars).unwrap();
    if std::env::var_os("ELANUS_WRITE_GOLDEN").is_some() {
        std::fs::write(golden("scalars_nullable.parquet"), &now.bytes).unwrap();
    }
    let then = Bytes::from(std::fs::read(golden("scalars_nullable.parquet")).unwrap());
    assert_eq!(shape(now.bytes.clone()), shape(then));
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

/// Index files without left out rows are of format 1, the others of format 2.
#[test]
fn golden_index_files_of_both_formats_read_back() {
    let graph = crate::faiss::RawGraph {
        levels: vec![1, 2, 1],
        offsets: vec![0, 4, 10, 14],
        neighbours: vec![1, 2, -1, -1, 0, 2, -1, -1, -1, -1, 1, 0, -1, -1],
        entry: 1,
        top_layer: 1,
    };
    let centroids = [0.5, -1.0, 2.0, 4.25];
    for (format, since) in [(1, Timestamp::ZERO), (2, Timestamp(0x0102_0304_0506_0708))] {
        let golden = |name| golden(&format!("../format-{format}/{name}"));
        let files = [
            super::graph_file::encode(SegmentId(77), 5, 2, &graph, Some(&[0, 2, 3]), since),
            super::list_file::encode(SegmentId(77), 5, 2, &centroids, &[vec![0, 3], vec![2]], since),
        ];
        for (name, bytes) in ["small-graph", "small-lists"].into_iter().zip(&files) {
            if std::env::var_os("ELANUS_WRITE_GOLDEN").is_some() {
                std::fs::create_dir_all(golden("")).unwrap();
                std::fs::write(golden(name), bytes).unwrap();
            }
            let stored = Bytes::from(std::fs::read(golden(name)).unwrap());
            assert_eq!(stored, *bytes, "{name} is written differently than it was");
            assert_eq!(bytes[12], format);
        }
        let [graph, lists] = files.map(|bytes| crate::store::ObjectBytes::resident("index", bytes));
        let graph = super::graph_file::GraphFile::open(graph, SegmentId(77), 5).unwrap();
        assert_eq!((graph.nodes(), graph.entry(), graph.complete_since()), (3, (1, 1), since));
        assert_eq!([0, 1, 2].map(|node| graph.ordinal(node).unwrap()), [0, 2, 3]);
        assert_eq!(graph.lowest(2).unwrap(), [1, 0]);
        let lists = super::list_file::ListFile::open(lists, SegmentId(77), 5, 2).unwrap();
        assert_eq!((lists.listed(), lists.complete_since()), (3, since));
        assert_eq!((lists.list(0).unwrap(), lists.list(1).unwrap()), (&[0, 3][..], &[2][..]));
    }
}
