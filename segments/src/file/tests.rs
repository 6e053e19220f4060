use super::fault::{Fault, FaultDoor, Operation};
use super::*;

#[test]
fn errors_name_the_path_and_links_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (door, path) = (SystemDoor, directory.path().join("a"));
    let error = door.open(&path, OpenMode::Read).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    let file = door.open(&path, OpenMode::CreateNew).unwrap();
    file.write_at(b"hello", 3).unwrap();
    file.sync_data().unwrap();
    assert!(door.open(&path, OpenMode::CreateNew).is_err());
    assert_eq!(read_whole(&door, &path).unwrap(), b"\0\0\0hello");
    assert_eq!(file.map().unwrap(), b"\0\0\0hello".as_slice());
    let link = directory.path().join("b");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(door.open(&link, OpenMode::Read).is_err());
    assert_eq!(door.info(&link).unwrap().unwrap().kind, EntryKind::Other);
    assert!(door.info(&directory.path().join("c")).unwrap().is_none());
}

#[test]
fn the_lock_is_exclusive() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let first = SystemDoor.open(&path, OpenMode::OpenOrCreate).unwrap();
    let second = SystemDoor.open(&path, OpenMode::OpenOrCreate).unwrap();
    assert!(first.try_lock().unwrap());
    assert!(!second.try_lock().unwrap());
    first.unlock().unwrap();
    assert!(second.try_lock().unwrap());
}

#[test]
fn new_directories_are_synced_from_the_top() {
    let directory = tempfile::tempdir().unwrap();
    let door = FaultDoor::new(Arc::new(SystemDoor));
    let deep = directory.path().join("x/y/z");
    door.create_dirs(&deep).unwrap();
    let step = [Operation::CreateDirectory, Operation::SyncDirectory];
    assert_eq!(door.take_seen(), [step, step, step].concat());
    door.create_dirs(&deep).unwrap();
    assert_eq!(door.take_seen(), []);
    let file = deep.join("f");
    SystemDoor.open(&file, OpenMode::CreateNew).unwrap();
    assert!(door.create_dirs(&file).is_err());
}

#[test]
fn a_planned_fault_strikes_once_and_tears_the_write() {
    let directory = tempfile::tempdir().unwrap();
    let door = FaultDoor::new(Arc::new(SystemDoor));
    let fault =
        Fault { operation: Operation::Write, after: 1, error: io::ErrorKind::StorageFull, forever: false };
    door.plan(fault);
    let file = door.open(&directory.path().join("a"), OpenMode::CreateNew).unwrap();
    file.write_at(b"1111", 0).unwrap();
    let error = file.write_at(b"2222", 4).unwrap_err();
    assert_eq!(proto::Classify::kind(&error), proto::ErrorKind::DiskFull);
    assert_eq!(file.len().unwrap(), 6);
    file.write_at(b"2222", 4).unwrap();
    assert_eq!(file.len().unwrap(), 8);
}
