//! The clients of `tests/clients` against what they print on PostgreSQL (`scripts/record-clients`), and psql.
//! `scripts/setup test` installs what they need, `scripts/setup clients` what those of other languages need.

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

/// Runs a client and gives what it prints.
fn client(name: &str, url: &str) -> String {
    let runner = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients/run");
    let output = Command::new(runner).args([name, url]).output().expect("the client's runner");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Compares a client's output with the recorded one and says where they part.
fn as_recorded(name: &str) {
    let server = Server::start();
    let got = client(name, &server.address().url());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("clients/recorded/{name}.txt"));
    let wanted = std::fs::read_to_string(path).expect("a recording");
    assert!(wanted.lines().count() > 5, "{name} recorded too little");
    let differing = got
        .lines()
        .map(Some)
        .chain(std::iter::repeat(None))
        .zip(wanted.lines().map(Some).chain(std::iter::repeat(None)))
        .take(got.lines().count().max(wanted.lines().count()))
        .enumerate()
        .filter(|(_, (got, wanted))| got != wanted)
        .map(|(line, (got, wanted))| format!("{}: wanted {wanted:?}\n{}: got    {got:?}", line + 1, line + 1))
        .collect::<Vec<_>>();
    assert!(differing.is_empty(), "{name} prints something else:\n{}", differing.join("\n"));
}

#[test]
fn psql_15_describes_as_recorded() {
    as_recorded("psql15");
}

#[test]
fn psql_16_describes_as_recorded() {
    as_recorded("psql16");
}

#[test]
fn psycopg_3_works_as_recorded() {
    as_recorded("psycopg3");
}

#[test]
fn psycopg_2_works_as_recorded() {
    as_recorded("psycopg2");
}

#[test]
fn asyncpg_works_as_recorded() {
    as_recorded("asyncpg");
}
