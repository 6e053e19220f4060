//! Clients of other languages: psql and psycopg 3. `scripts/setup test` installs what they need.

use std::path::PathBuf;
use std::process::{Command, Output};

use tests::server::Server;

fn psql(server: &Server, arguments: &[&str]) -> Output {
    let mut command = Command::new("psql");
    command.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &server.address().url()]).args(arguments);
    command.output().expect("psql is missing: run scripts/setup test")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn psql_shows_tables_of_answers() {
    let server = Server::start();
    let script = "CREATE EXTENSION IF NOT EXISTS vector; CREATE TABLE t (id int4 PRIMARY KEY, v vector(2)); \
                  INSERT INTO t VALUES (1, '[1,2]'), (2, NULL)";
    assert_eq!(text(&psql(&server, &["-c", script])).lines().last(), Some("INSERT 0 2"));
    let answer = text(&psql(&server, &["-c", "SELECT * FROM t ORDER BY id"]));
    assert_eq!(answer, " id |   v   \n----+-------\n  1 | [1,2]\n  2 | \n(2 rows)\n\n");
    let plan = text(&psql(&server, &["-c", "EXPLAIN SELECT * FROM t ORDER BY v <-> '[1,1]' LIMIT 1"]));
    assert!(plan.contains("QUERY PLAN"), "{plan}");
}

#[test]
fn psql_copies_from_its_input() {
    let server = Server::start();
    text(&psql(&server, &["-c", "CREATE TABLE t (id int4 PRIMARY KEY, name text)"]));
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("rows.csv");
    std::fs::write(&file, "id,name\n1,\"a,b\"\n2,c\n").expect("write");
    let copy = format!("\\copy t FROM '{}' WITH (FORMAT csv, HEADER)", file.display());
    assert_eq!(text(&psql(&server, &["-c", &copy])), "COPY 2\n");
    assert_eq!(text(&psql(&server, &["-At", "-c", "SELECT * FROM t ORDER BY id"])), "1|a,b\n2|c\n");
    assert_eq!(text(&psql(&server, &["-c", "COPY t TO STDOUT"])), "1\ta,b\n2\tc\n");
}

#[test]
fn psql_stops_at_an_error() {
    let server = Server::start();
    let output = psql(&server, &["-c", "SELECT nosuch"]);
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("ERROR:  column \"nosuch\" does not exist"), "{told}");
    assert!(told.contains("LINE 1: SELECT nosuch"), "{told}");
}

#[test]
fn psycopg_works() {
    let server = Server::start();
    let cache = std::env::var("XDG_CACHE_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cache")));
    let venv = std::env::var_os("ELANUS_VENV")
        .map(PathBuf::from)
        .or_else(|| cache.ok().map(|cache| PathBuf::from(cache).join("elanus-venv")))
        .expect("a home folder");
    let suite = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients/psycopg_suite.py");
    let output = Command::new(venv.join("bin/python"))
        .arg(suite)
        .arg(server.address().url())
        .output()
        .expect("psycopg's Python is missing: run scripts/setup test");
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{told}");
    assert!(output.status.success(), "{told}");
    assert!(told.lines().filter(|line| line.starts_with("ok ")).count() >= 7, "{told}");
}
