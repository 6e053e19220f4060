#![allow(clippy::disallowed_methods, reason = "tests plant files behind the door's back")]

use futures::executor::block_on;
use object_store::{GetRange, ObjectStoreExt};

use super::*;
use crate::file::SystemDoor;
use crate::file::fault::{Fault, FaultDoor, Operation};

fn open(root: &FilePath) -> (LocalStore, FaultDoor) {
    let door = FaultDoor::new(Arc::new(SystemDoor));
    (LocalStore::open(Arc::new(door.clone()), root).unwrap(), door)
}

fn names(store: &LocalStore, prefix: Option<&str>) -> Vec<String> {
    let prefix = prefix.map(Path::from);
    let listed = block_on(store.list(prefix.as_ref()).collect::<Vec<_>>());
    listed.into_iter().map(|meta| meta.unwrap().location.to_string()).collect()
}

#[test]
fn objects_are_written_once_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let key = Path::from("1/2/seg");
    block_on(store.put(&key, Bytes::from_static(b"0123456789").into())).unwrap();
    for mode in [PutMode::Overwrite, PutMode::Create] {
        let again = block_on(store.put_opts(&key, Bytes::from_static(b"x").into(), mode.into()));
        assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
    }
    assert_eq!(block_on(async { store.get(&key).await?.bytes().await }).unwrap(), b"0123456789".as_slice());
    assert_eq!(block_on(store.get_range(&key, 2..5)).unwrap(), b"234".as_slice());
    let suffix = GetOptions { range: Some(GetRange::Suffix(3)), ..Default::default() };
    let suffix = block_on(async { store.get_opts(&key, suffix).await?.bytes().await }).unwrap();
    assert_eq!(suffix, b"789".as_slice());
    assert_eq!(block_on(store.get_ranges(&key, &[0..1, 9..10])).unwrap(), [b"0".as_slice(), b"9"]);
    assert_eq!(block_on(store.head(&key)).unwrap().size, 10);
    block_on(store.put(&Path::from("1/3"), Bytes::new().into())).unwrap();
    assert_eq!(names(&store, None), ["1/2/seg", "1/3"]);
    assert_eq!(names(&store, Some("1/2")), ["1/2/seg"]);
    assert_eq!(names(&store, Some("nothing")), [""; 0]);
    let level = block_on(store.list_with_delimiter(Some(&Path::from("1")))).unwrap();
    assert_eq!((level.common_prefixes.len(), level.objects.len()), (1, 1));
    block_on(store.copy(&key, &Path::from("9"))).unwrap();
    block_on(store.delete(&key)).unwrap();
    assert!(matches!(block_on(store.get(&key)), Err(StoreError::NotFound { .. })));
    assert!(matches!(block_on(store.delete(&key)), Err(StoreError::NotFound { .. })));
    assert_eq!(names(&store, None), ["1/3", "9"]);
}

#[test]
fn nothing_outside_the_root_is_reached() {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), b"s").unwrap();
    let (store, _) = open(directory.path());
    std::os::unix::fs::symlink(outside.path(), directory.path().join("dir")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), directory.path().join("file")).unwrap();
    for key in ["dir/secret", "file", ".scratch/0", "dir"] {
        let key = Path::parse(key).unwrap();
        assert!(block_on(store.get(&key)).is_err(), "{key}");
        assert!(block_on(store.delete(&key)).is_err(), "{key}");
    }
    let put = block_on(store.put(&Path::from("dir/new"), Bytes::new().into()));
    assert!(put.is_err());
    assert!(!outside.path().join("new").exists());
    assert_eq!(names(&store, None), [""; 0]);
}

#[test]
fn a_failed_put_leaves_nothing_and_can_be_repeated() {
    let operations = [
        Operation::Open,
        Operation::Write,
        Operation::SyncFile,
        Operation::CreateDirectory,
        Operation::SyncDirectory,
        Operation::Link,
    ];
    for operation in operations {
        let directory = tempfile::tempdir().unwrap();
        let (store, door) = open(directory.path());
        let key = Path::from("a/b");
        door.plan(Fault { operation, after: 0, error: std::io::ErrorKind::StorageFull, forever: false });
        let error = block_on(put_new(&store, &key, Bytes::from_static(b"data"))).unwrap_err();
        assert_eq!(proto::Classify::kind(&error), proto::ErrorKind::DiskFull, "{operation:?}: {error}");
        assert!(names(&store, None).is_empty(), "{operation:?}");
        block_on(put_new(&store, &key, Bytes::from_static(b"data"))).unwrap();
        assert_eq!(names(&store, None), ["a/b"], "{operation:?}");
    }
}

#[test]
fn a_put_whose_last_sync_failed_is_synced_before_its_repetition_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let (store, door) = open(directory.path());
    let key = Path::from("a/b");
    // The first sync is that of the new directory's parent, the second that of the new entry.
    let operation = Operation::SyncDirectory;
    door.plan(Fault { operation, after: 1, error: std::io::ErrorKind::Other, forever: false });
    assert!(block_on(put_new(&store, &key, Bytes::from_static(b"data"))).is_err());
    let _ = door.take_seen();
    block_on(put_new(&store, &key, Bytes::from_static(b"data"))).unwrap();
    assert!(door.take_seen().contains(&Operation::SyncDirectory));
    assert!(block_on(put_new(&store, &key, Bytes::from_static(b"other"))).is_err());
}

#[test]
fn every_put_syncs_file_and_directories_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (store, door) = open(directory.path());
    let _ = door.take_seen();
    block_on(store.put(&Path::from("a/b"), Bytes::from_static(b"1").into())).unwrap();
    use Operation::{CreateDirectory, Link, Open, Remove, SyncDirectory, SyncFile, Write};
    let first = [Open, Write, SyncFile, CreateDirectory, SyncDirectory, Link, SyncDirectory, Remove];
    assert_eq!(door.take_seen(), first);
    block_on(store.put(&Path::from("a/c"), Bytes::from_static(b"1").into())).unwrap();
    assert_eq!(door.take_seen(), [Open, Write, SyncFile, Link, SyncDirectory, Remove]);
}

#[test]
fn scratch_files_of_a_crash_go_away() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let left = directory.path().join(SCRATCH).join("0");
    std::fs::write(&left, b"half").unwrap();
    let (store, _) = open(directory.path());
    assert!(!left.exists());
    assert!(names(&store, None).is_empty());
}

#[test]
fn local_objects_are_mapped_and_others_are_gathered() {
    let directory = tempfile::tempdir().unwrap();
    let (local, _) = open(directory.path());
    let memory = object_store::memory::InMemory::new();
    let (key, bytes) = (Path::from("o"), Bytes::from(vec![7_u8; 100_000]));
    for store in [&local as &dyn ObjectStore, &memory] {
        block_on(put_new(store, &key, bytes.clone())).unwrap();
        let read = block_on(read_object(store, &key)).unwrap();
        assert_eq!(read.buffer().as_slice(), bytes.as_ref());
        assert_eq!(read.buffer().as_ptr().align_offset(64), 0);
        let missing = block_on(read_object(store, &Path::from("none")));
        assert!(matches!(missing, Err(Error::Missing { object }) if object == "none"));
    }
    assert!(block_on(read_object(&local, &key)).unwrap().is_mapped());
    assert!(!block_on(read_object(&memory, &key)).unwrap().is_mapped());
}
