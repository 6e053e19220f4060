//! Write sets larger than the memory limit: they go to files, are there at once when they are committed, and leave
//! nothing when they are not.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::server::{Options, Server};

/// With vectors of two kilobytes the file has twice the bytes of the memory limit.
const ROWS: usize = 160_000;
const LIMIT: &str = "160MB";
const DIMENSIONS: usize = 500;

/// A file of PostgreSQL's binary COPY: ids, and vectors whose elements are all the id.
fn write_rows(path: &Path, rows: std::ops::Range<usize>) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    let mut write = |bytes: &[u8]| file.write_all(bytes).expect("a write");
    write(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for id in rows {
        write(&2_i16.to_be_bytes());
        write(&4_i32.to_be_bytes());
        write(&(id as i32).to_be_bytes());
        write(&(4 + 4 * DIMENSIONS as i32).to_be_bytes());
        write(&(DIMENSIONS as i16).to_be_bytes());
        write(&0_i16.to_be_bytes());
        write(&(id as f32).to_be_bytes().repeat(DIMENSIONS));
    }
    write(&(-1_i16).to_be_bytes());
    file.flush().expect("a file");
}

fn options() -> Options {
    Options::with_arguments(["--memory-limit", LIMIT])
}

fn summary(server: &Server) -> String {
    let near = format!("[{}]", vec!["98765.4"; DIMENSIONS].join(","));
    let sql = format!(
        "SELECT count(*), sum(id), (SELECT array_agg(id) FROM (SELECT id FROM big ORDER BY v <-> '{near}' LIMIT 3) n) \
         FROM big"
    );
    format!("{:?}", server.connect().run(&sql).expect("a summary").rows)
}

#[test]
fn a_file_larger_than_memory_is_loaded_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.bin");
    write_rows(&path, 0..ROWS);
    let copy = format!("COPY big FROM '{}' (FORMAT binary)", path.display());
    let mut server = Server::start_with(options());
    let mut session = server.connect();
    session.run("CREATE EXTENSION vector").expect("vectors");
    session.run(&format!("CREATE TABLE big (id int PRIMARY KEY, v vector({DIMENSIONS}))")).expect("a table");

    // One row that is there already: all of the rest is refused with it.
    session.run(&format!("INSERT INTO big VALUES ({}, NULL)", ROWS - 1)).expect("a row");
    let refusal = session.refusal(&copy);
    assert_eq!(refusal.code, "23505", "{refusal}");
    assert_eq!(session.value("SELECT count(*) FROM big").expect("a count"), "1");
    session.run("DELETE FROM big").expect("a delete");

    assert_eq!(session.run(&copy).expect("the load").tag, Some(format!("COPY {ROWS}")));
    let loaded = summary(&server);
    let sum = ROWS * (ROWS - 1) / 2;
    let wanted = [format!("\"{ROWS}\""), sum.to_string(), "{98765,98766,98764}".to_owned()];
    assert!(wanted.iter().all(|part| loaded.contains(part)), "{loaded}");
    server.kill();
    let server = server.restart().expect("a start");
    assert_eq!(summary(&server), loaded);

    // A load that a kill ends leaves no rows, and its files are collected.
    let mut session = server.connect();
    session.run("CHECKPOINT").expect("a checkpoint");
    session.run("TRUNCATE big").expect("a truncate");
    session.run("BEGIN").expect("a block");
    session.run(&copy).expect("the load");
    session.run("DELETE FROM big WHERE id % 2 = 0").expect("a delete");
    assert_eq!(session.value("SELECT count(*) FROM big").expect("a count"), (ROWS / 2).to_string());
    let mut server = server;
    server.kill();
    let server = server.restart().expect("a start");
    let mut session = server.connect();
    assert_eq!(session.value("SELECT count(*) FROM big").expect("a count"), "0");
    let garbage = "SELECT sum(pending_objects + reclaimed_objects) > 5 FROM elanus.garbage";
    let deadline = Instant::now() + Duration::from_secs(60);
    while session.value(garbage).expect("the view") != "t" {
        assert!(Instant::now() < deadline, "what was given up is not found");
    }
}

#[test]
fn a_statement_that_gathers_more_than_memory_ends_and_leaves_nothing() {
    let server = Server::start_with(Options::with_arguments(["--memory-limit", "64MB"]));
    let mut session = server.connect();
    session.run("SET elanus.write_work_mem = '4MB'").expect("a setting");
    session.run("CREATE TABLE many (id int)").expect("a table");
    for part in 0..15 {
        let rows = format!("generate_series({part} * 100000 + 1, ({part} + 1) * 100000) g");
        session.run(&format!("INSERT INTO many SELECT g FROM {rows}")).expect("rows");
    }
    for sql in ["DELETE FROM many", "UPDATE many SET id = id + 1"] {
        let refusal = session.refusal(sql);
        assert_eq!(refusal.code, "53200", "{sql}: {refusal}");
    }
    // In a block: the sum of its statements.
    session.run("BEGIN").expect("a block");
    let mut refusals = 0;
    for part in 0..10 {
        let sql = format!("DELETE FROM many WHERE id > {part} * 150000 AND id <= ({part} + 1) * 150000");
        if let Err(failure) = session.run(&sql) {
            assert!(failure.to_string().contains("out of memory"), "{failure}");
            refusals += 1;
            break;
        }
    }
    assert_eq!(refusals, 1, "a million and a half ends of rows fit into 64 MB");
    session.run("ROLLBACK").expect("the end");
    assert_eq!(session.value("SELECT sum(id) FROM many").expect("a sum"), "1125000750000");
    session.run("DELETE FROM many WHERE id <= 1000").expect("a small delete");
    assert_eq!(session.value("SELECT count(*) FROM many").expect("a count"), "1499000");
}
