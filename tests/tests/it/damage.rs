//! Stored files that are damaged, missing, or of a later version: an error that names them, everything else can be read, and
//! when they are whole again everything is there.

use std::path::{Path, PathBuf};

use tests::server::{Options, Server};
use tests::wire::Connection;

use crate::lifecycle::files;

const VECTOR: &str = "[500,1,2,3]";

fn run(connection: &mut Connection, sql: &str) {
    connection.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// A stopped server with table `hurt` of two segments, and table `whole`.
fn stopped_server() -> (Server, Files) {
    let mut server = Server::start();
    let mut connection = server.connect();
    for table in ["hurt", "whole"] {
        run(&mut connection, &format!("CREATE TABLE {table} (id int4 PRIMARY KEY, x text, v vector(4))"));
        for (first, last) in [(1, 1000), (1001, 2000)] {
            let rows = format!(
                "INSERT INTO {table} SELECT g, 'text ' || g, ARRAY[g, 1, 2, 3]::vector FROM generate_series({first}, {last}) g"
            );
            run(&mut connection, &rows);
            run(&mut connection, "CHECKPOINT");
        }
    }
    let oid = connection.value("SELECT 'hurt'::regclass::oid").expect("an OID");
    assert!(server.stop().success());
    let folder = server.data_dir().join("objects");
    let all = files(&folder, &[""]);
    let of_hurt = all.into_iter().filter(|path| path.components().any(|part| *part.as_os_str() == *oid));
    let files = Files { folder, of_hurt: of_hurt.collect() };
    assert_eq!(files.of_kind("-vectors").len(), 2, "two segments");
    (server, files)
}

/// The objects of table `hurt`.
struct Files {
    folder: PathBuf,
    of_hurt: Vec<PathBuf>,
}

impl Files {
    /// Those whose key has `kind` in it; of segments in the order these were made.
    fn of_kind(&self, kind: &str) -> Vec<&PathBuf> {
        let mut found: Vec<&PathBuf> =
            self.of_hurt.iter().filter(|path| path.to_string_lossy().contains(kind)).collect();
        found.sort_by_key(|path| (path.to_string_lossy().len(), *path));
        found
    }

    fn key(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).expect("below the folder").to_string_lossy().into_owned()
    }
}

/// How a file is hurt.
#[derive(Clone, Copy, Debug)]
enum Hurt {
    Bit,
    Cut,
    Gone,
}

const HURTS: [Hurt; 3] = [Hurt::Bit, Hurt::Cut, Hurt::Gone];

/// Puts other bytes in the place of a file.
fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).ok();
    std::fs::write(path, bytes).expect("a file");
}

/// Hurts a file; what it held.
fn hurt(path: &Path, how: Hurt) -> Vec<u8> {
    let whole = std::fs::read(path).expect("a file");
    let mut bytes = whole.clone();
    match how {
        Hurt::Bit => bytes[whole.len() / 2] ^= 0x10,
        Hurt::Cut => bytes.truncate(whole.len() / 2),
        Hurt::Gone => {
            std::fs::remove_file(path).expect("remove");
            return whole;
        }
    }
    replace(path, &bytes);
    whole
}

/// The refusal, which must name the object.
fn refused(connection: &mut Connection, sql: &str, code: &str, object: &str) {
    let error = connection.refusal(sql);
    assert_eq!(error.code, code, "{sql}: {error}");
    assert!(error.message.contains(object), "{sql} does not name {object}: {error}");
}

/// What a server says that does not start on a directory.
fn refusal_of(directory: &Path) -> String {
    match Server::start_on(directory, Options::default()) {
        Ok(_) => panic!("it starts"),
        Err(said) => said,
    }
}

fn all_there(connection: &mut Connection, table: &str, rows: &str) {
    assert_eq!(connection.value(&format!("SELECT count(*) FROM {table}")).expect("a count"), rows);
    let nearest = format!("SELECT id FROM {table} ORDER BY v <-> '{VECTOR}' LIMIT 1");
    assert_eq!(connection.value(&nearest).expect("a search"), "500");
    let point = format!("SELECT x FROM {table} WHERE id = 1500");
    assert_eq!(connection.value(&point).expect("a row"), "text 1500");
}

#[test]
fn beside_damaged_vectors_everything_else_is_read_and_written() {
    for how in HURTS {
        let (server, files) = stopped_server();
        let path = files.of_kind("-vectors")[0].clone();
        let (whole, key) = (hurt(&path, how), files.key(&path));
        let mut server = server.restart().unwrap_or_else(|error| panic!("{how:?}: {error}"));
        let mut connection = server.connect();
        for sql in [
            &format!("SELECT id FROM hurt ORDER BY v <-> '{VECTOR}' LIMIT 3"),
            "SELECT v FROM hurt WHERE id = 7",
            "SELECT count(v) FROM hurt",
            "SELECT * FROM hurt",
            "UPDATE hurt SET x = 'new' WHERE id = 7",
        ] {
            refused(&mut connection, sql, "XX001", &key);
        }
        // The other segment, the other columns of this one, and the other table.
        assert_eq!(connection.value("SELECT v FROM hurt WHERE id = 1500").expect("a row"), "[1500,1,2,3]");
        let others = "SELECT count(*) || ' ' || sum(id) || ' ' || min(x) || ' ' || max(x) FROM hurt";
        assert_eq!(connection.value(others).expect("columns"), "2000 2001000 text 1 text 999");
        assert_eq!(connection.value("SELECT x FROM hurt WHERE id = 7").expect("a row"), "text 7");
        all_there(&mut connection, "whole", "2000");
        run(&mut connection, "INSERT INTO hurt VALUES (3000, 'text 3000', '[0,0,0,0]')");
        run(&mut connection, "DELETE FROM hurt WHERE id = 1008");
        refused(&mut connection, "INSERT INTO hurt VALUES (7, 'twice', NULL)", "23505", "hurt_pkey");
        run(&mut connection, "CHECKPOINT");
        assert!(server.stop().success());
        replace(&path, &whole);
        let server = server.restart().unwrap_or_else(|error| panic!("{how:?}: {error}"));
        let mut connection = server.connect();
        all_there(&mut connection, "hurt", "2000");
        assert_eq!(connection.value("SELECT v FROM hurt WHERE id = 7").expect("a row"), "[7,1,2,3]");
    }
}

#[test]
fn beside_a_damaged_key_file_rows_are_read_and_nobody_doubts_a_key() {
    for how in HURTS {
        let (server, files) = stopped_server();
        let path = files.of_kind("-keys")[0].clone();
        let (whole, key) = (hurt(&path, how), files.key(&path));
        let mut server = server.restart().unwrap_or_else(|error| panic!("{how:?}: {error}"));
        let mut connection = server.connect();
        // A key that may be in the damaged segment is neither found nor taken for free.
        for sql in ["SELECT x FROM hurt WHERE id = 7", "INSERT INTO hurt VALUES (7, 'twice', NULL)"] {
            refused(&mut connection, sql, "XX001", &key);
        }
        let others = "SELECT count(*) || ' ' || sum(id) || ' ' || max(x) FROM hurt";
        assert_eq!(connection.value(others).expect("columns"), "2000 2001000 text 999");
        let nearest = format!("SELECT id FROM hurt ORDER BY v <-> '{VECTOR}' LIMIT 1");
        assert_eq!(connection.value(&nearest).expect("a search"), "500");
        all_there(&mut connection, "whole", "2000");
        assert!(server.stop().success());
        replace(&path, &whole);
        let server = server.restart().unwrap_or_else(|error| panic!("{how:?}: {error}"));
        all_there(&mut server.connect(), "hurt", "2000");
    }
}

#[test]
fn without_manifests_or_the_list_of_rows_no_server_starts_and_nothing_is_lost() {
    let (mut server, files) = stopped_server();
    for kind in ["/manifest/", "-scalars"] {
        for how in HURTS {
            let path = (*files.of_kind(kind).last().expect("there is one")).clone();
            let (whole, key) = (hurt(&path, how), files.key(&path));
            let said = refusal_of(server.data_dir().parent().expect("the server's folder"));
            assert!(said.contains(&key), "{how:?} of {key}: {said}");
            let reason = if matches!(how, Hurt::Gone) { "is missing" } else { "is damaged" };
            assert!(said.contains(reason), "{how:?} of {key}: {said}");
            replace(&path, &whole);
            server = server.restart().unwrap_or_else(|error| panic!("{how:?} of {key}: {error}"));
            let mut connection = server.connect();
            all_there(&mut connection, "hurt", "2000");
            all_there(&mut connection, "whole", "2000");
            server.kill();
        }
    }
}

/// The same object as a later version would write it: its checksums fit.
fn of_version(mut bytes: Vec<u8>, version: u32) -> Vec<u8> {
    let put =
        |bytes: &mut [u8], at: usize, number: u32| bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    put(&mut bytes, 12, version);
    let header = crc32c::crc32c(&bytes[..124]);
    put(&mut bytes, 124, header);
    let whole_header = crc32c::crc32c(&bytes[..128]);
    let footer = bytes.len() - 32;
    put(&mut bytes, footer + 20, whole_header);
    let checksum = crc32c::crc32c(&bytes[footer..footer + 28]);
    put(&mut bytes, footer + 28, checksum);
    bytes
}

/// Makes the meta store one of a later version.
fn raise_format(meta: &Path, format: u64) {
    let database = redb::Database::open(meta).expect("a meta store");
    let transaction = database.begin_write().expect("a transaction");
    let state: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("state");
    transaction.open_table(state).expect("the table").insert("format", format).expect("a value");
    transaction.commit().expect("committed");
}

#[test]
fn what_a_later_version_wrote_is_refused_with_both_versions() {
    let (mut server, files) = stopped_server();
    let data = server.data_dir();
    let directory = data.parent().expect("the server's folder").to_owned();
    let log = crate::lifecycle::files(&data.join("log"), &[".log"]).pop().expect("a log file");
    let (meta, manifest) =
        (data.join("meta.redb"), files.of_kind("/manifest/").pop().expect("a manifest").clone());
    for (path, what, versions) in [
        (&meta, "meta.redb", "has format version 9, this server reads up to version 2"),
        (&log, ".log", "has format version 9, this server reads up to version 1"),
        (&manifest, "/manifest/", "has format version 9, this server reads up to version 1"),
    ] {
        let whole = std::fs::read(path).expect("a file");
        if path == &meta {
            raise_format(path, 9);
        } else if path == &log {
            let mut later = whole.clone();
            later[8] = 9;
            replace(path, &later);
        } else {
            replace(path, &of_version(whole.clone(), 9));
        }
        let said = refusal_of(&directory);
        assert!(said.contains(what) && said.contains(versions), "{said}");
        replace(path, &whole);
    }
    // Of a single column it is an error where the column is read.
    let vectors = files.of_kind("-vectors")[1].clone();
    let whole = std::fs::read(&vectors).expect("a file");
    replace(&vectors, &of_version(whole.clone(), 9));
    server = server.restart().unwrap_or_else(|error| panic!("{error}"));
    let mut connection = server.connect();
    let sql = "SELECT v FROM hurt WHERE id = 1500";
    refused(&mut connection, sql, "0A000", "has format version 9, this server reads up to version 1");
    refused(&mut connection, sql, "0A000", &files.key(&vectors));
    all_there(&mut connection, "whole", "2000");
    server.kill();
    replace(&vectors, &whole);
    let server = server.restart().unwrap_or_else(|error| panic!("{error}"));
    all_there(&mut server.connect(), "hurt", "2000");
}
