//! The process: start, stop, restart, health, a directory in use, damaged files, the command line.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::server::{Options, Server, binary};
use tests::wire::Connection;

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}

/// Status code and body of a GET.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the http listener");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    (status, body)
}

#[test]
fn health_and_metrics_are_served() {
    let address = free_address();
    let server = Server::start_with(Options::with_arguments(["--http", &address]));
    server.connect().run("SELECT 1").expect("query");
    assert_eq!(get(&address, "/livez").0, 200);
    assert_eq!(get(&address, "/readyz").0, 200);
    let (status, body) = get(&address, "/metrics");
    assert_eq!(status, 200);
    assert!(
        body.lines().any(|line| !line.starts_with('#') && line.split_whitespace().count() == 2),
        "{body}"
    );
    assert_eq!(get(&address, "/nosuch").0, 404);
}

#[test]
fn a_stop_is_clean_and_everything_is_there_again() {
    let mut server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE TABLE t (id int4 PRIMARY KEY)").expect("create");
    connection.run("INSERT INTO t SELECT g FROM generate_series(1, 1000) g").expect("insert");
    assert!(server.stop().success(), "SIGTERM ends with 0; log: {}", server.log());
    let server = server.restart().expect("restart");
    assert_eq!(server.connect().value("SELECT count(*) FROM t").expect("count"), "1000");
}

#[test]
fn a_directory_in_use_is_refused() {
    let server = Server::start();
    let home = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"])
        .arg(server.data_dir())
        .current_dir(home.path())
        .output()
        .expect("the binary runs");
    assert!(!output.status.success());
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("in use"), "{text}");
    assert_eq!(server.connect().value("SELECT 1").expect("the first one lives"), "1");
}

#[test]
fn the_command_line_answers() {
    let run = |arguments: &[&str]| Command::new(binary()).args(arguments).output().expect("the binary runs");
    let version = run(&["version"]);
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).contains("elanus"));
    let later: [&[&str]; 4] = [
        &["serve", "--meta", "zookeeper://localhost:2181/elanus"],
        &["serve", "--log", "kafka://"],
        &["serve", "--roles", "query"],
        &["serve", "--nosuch"],
    ];
    for arguments in later {
        let output = run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?} says nothing");
    }
}

/// Files below a folder whose path has one of these endings.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("an object");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    // The objects may be read-only: replace the file.
    std::fs::remove_file(path).expect("remove");
    std::fs::write(path, bytes).expect("write");
}

#[test]
fn a_damaged_object_is_named_and_other_tables_are_read() {
    let mut server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector").expect("extension");
    for (table, rows) in [("hurt", 5_000), ("whole", 10)] {
        connection
            .run(&format!("CREATE TABLE {table} (id int4 PRIMARY KEY, x text, v vector(8))"))
            .expect("create");
        let insert = format!(
            "INSERT INTO {table} SELECT g, 'text ' || g, ARRAY[g,1,2,3,4,5,6,7]::vector FROM generate_series(1, {rows}) g"
        );
        connection.run(&insert).expect("insert");
    }
    connection.run("CHECKPOINT").expect("checkpoint");
    let oid = connection.value("SELECT 'hurt'::regclass::oid").expect("oid");
    server.stop();
    let objects = files(&server.data_dir(), &[""]);
    let vectors: Vec<_> = objects
        .iter()
        .filter(|path| path.components().any(|part| part.as_os_str().to_string_lossy() == oid))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("vector")))
        .collect();
    assert!(!vectors.is_empty(), "no vector file of table {oid} among {objects:?}");
    vectors.iter().for_each(|path| flip(path));
    let server = server.restart().expect("a damaged vector file does not keep the server down");
    let mut connection = server.connect();
    let error = connection.refusal("SELECT id FROM hurt ORDER BY v <-> '[1,1,1,1,1,1,1,1]' LIMIT 3");
    assert_eq!(error.code, "XX001", "{error}");
    assert!(error.message.contains(&format!("/{oid}/")), "the object is not named: {}", error.message);
    assert_eq!(connection.value("SELECT count(*) FROM whole").expect("the other table"), "10");
    assert_eq!(
        connection.value("SELECT id FROM whole ORDER BY v <-> '[1,1,1,1,1,1,1,1]' LIMIT 1").expect("knn"),
        "1"
    );
}

#[test]
fn empty_directories_start_quickly_and_the_sample_is_there() {
    let server = Server::start_with(Options::with_arguments(["--sample"]));
    let mut connection = server.connect();
    assert_eq!(connection.value("SELECT count(*) FROM products").expect("sample"), "576");
    let sql = "SELECT name FROM products ORDER BY embedding <=> (SELECT embedding FROM product_questions \
               ORDER BY question LIMIT 1) LIMIT 3";
    assert_eq!(connection.run(sql).expect("search").rows.len(), 3);
    let server = server.restart().expect("restart");
    assert_eq!(server.connect().value("SELECT count(*) FROM products").expect("loaded once"), "576");
}

#[test]
fn sessions_do_not_disturb_each_other() {
    let server = Server::start();
    server.connect().run("CREATE TABLE t (id int4 PRIMARY KEY, who int4)").expect("create");
    let address = server.address().clone();
    std::thread::scope(|scope| {
        for who in 0..8 {
            let address = &address;
            scope.spawn(move || {
                let mut connection = Connection::open(address).expect("a session");
                for number in 0..50 {
                    let sql = format!("INSERT INTO t VALUES ({}, {who})", who * 1_000 + number);
                    connection.run(&sql).expect("insert");
                    let mine = connection
                        .value(&format!("SELECT count(*) FROM t WHERE who = {who}"))
                        .expect("count");
                    assert_eq!(mine, (number + 1).to_string());
                }
            });
        }
    });
    assert_eq!(server.connect().value("SELECT count(*) FROM t").expect("count"), "400");
}
