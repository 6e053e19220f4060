//! Exact answers to recorded (or generated) questions, growing, sealed and after a restart, over COPY BINARY and csv.

use tests::data::binary_copy::{CREATE_PASSAGES, passages_csv};
use tests::data::{self, Passages, Queries};
use tests::passages::{judge, judge_join, load};
use tests::server::Server;
use tests::wire::Connection;

/// Queries asked in each state; `make bench DATA=…` asks all.
const QUERIES: usize = 100;

fn all_right(connection: &mut Connection, passages: &Passages, queries: &Queries, state: &str) {
    let judgement =
        judge(connection, passages, queries, QUERIES).unwrap_or_else(|failure| panic!("{state}: {failure}"));
    assert!(judgement.asked >= 5 * QUERIES.min(queries.len()));
    assert!(
        judgement.wrong.is_empty(),
        "{state}: {} of {} wrong: {:?}",
        judgement.wrong.len(),
        judgement.asked,
        judgement.wrong.first()
    );
}

#[test]
fn answers_are_exact_in_every_state() {
    let (passages, queries) = data::load(5_000, QUERIES);
    let server = Server::start();
    let mut connection = server.connect();
    load(&mut connection, &passages).expect("COPY BINARY");
    assert_eq!(connection.value("SELECT count(*) FROM passages").expect("count"), passages.len().to_string());
    all_right(&mut connection, &passages, &queries, "growing");
    judge_join(&mut connection, &passages, &queries, 20).expect("join");
    connection.run("CHECKPOINT").expect("checkpoint");
    all_right(&mut connection, &passages, &queries, "sealed");
    judge_join(&mut connection, &passages, &queries, 20).expect("join");
    let server = server.restart().expect("restart");
    let mut connection = server.connect();
    all_right(&mut connection, &passages, &queries, "after a crash");
    judge_join(&mut connection, &passages, &queries, 20).expect("join");
}

#[test]
fn csv_holds_the_same_rows() {
    let (passages, queries) = data::load(2_000, 20);
    let server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector").expect("extension");
    connection.run(CREATE_PASSAGES).expect("create");
    let reply =
        connection.copy_in("COPY passages FROM STDIN (FORMAT csv)", &passages_csv(&passages)).expect("copy");
    assert_eq!(reply.error, None);
    let row = passages.len() / 2;
    let sql = format!("SELECT text FROM passages WHERE id = {}", passages.ids[row]);
    assert_eq!(connection.value(&sql).expect("row"), passages.texts[row]);
    let judgement = judge(&mut connection, &passages, &queries, 20).expect("queries");
    assert!(judgement.wrong.is_empty(), "{:?}", judgement.wrong.first());
}

#[test]
fn questions_while_data_arrives() {
    let (passages, queries) = data::load(3_000, 10);
    let server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector").expect("extension");
    connection.run(CREATE_PASSAGES).expect("create");
    let address = server.address().clone();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut connection = Connection::open(&address).expect("a session");
            let csv = passages_csv(&passages);
            // Statements of a few hundred rows each: every one is seen whole or not at all.
            for lines in csv.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>().chunks(300) {
                let reply = connection
                    .copy_in("COPY passages FROM STDIN (FORMAT csv)", &lines.concat())
                    .expect("copy");
                // A quoted line end may be split here: such a statement is refused as a whole.
                assert!(reply.error.is_none_or(|error| error.code == "22P04"));
            }
        });
        let mut last = 0;
        while !writer.is_finished() {
            let count: usize =
                connection.value("SELECT count(*) FROM passages").expect("count").parse().expect("a number");
            assert!(count >= last, "rows went away: {count} after {last}");
            last = count;
            let found = connection
                .run("SELECT id FROM passages ORDER BY embedding <=> (SELECT embedding FROM passages WHERE id = 1) LIMIT 5")
                .expect("search");
            assert!(
                found.rows.len() == 5.min(count) || found.rows.len() == 5,
                "{} of {count}",
                found.rows.len()
            );
        }
        writer.join().expect("the writer");
    });
    assert!(!queries.is_empty());
}
