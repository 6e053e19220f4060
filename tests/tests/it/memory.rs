//! The memory limit: a statement that needs more ends with 53200, and nobody else notices.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tests::data::generate;
use tests::passages::{ask, load, prepare};
use tests::server::{Options, Server};
use tests::wire::Connection;

/// Rows of the table; joined with itself and sorted they need many times the limit.
const ROWS: usize = 3_000;

#[test]
fn a_sort_beyond_the_limit_ends_and_other_sessions_go_on() {
    let server = Server::start_with(Options::with_arguments(["--memory-limit", "160MB"]));
    let passages = generate(ROWS, 3);
    load(&mut server.connect(), &passages).expect("load");
    let address = server.address().clone();
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut witness = Connection::open(&address).expect("a session");
            prepare(&mut witness, "near", "SELECT id FROM passages ORDER BY embedding <=> $1 LIMIT 10")
                .expect("prepare");
            while !stop.load(Ordering::Relaxed) {
                let row = answers.load(Ordering::Relaxed) % ROWS;
                let found = ask(&mut witness, "near", passages.embedding(row)).expect("the others go on");
                assert_eq!(found.len(), 10);
                assert_eq!(found[0], passages.ids[row], "a row is nearest to itself");
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 0..2 {
            let before = answers.load(Ordering::Relaxed);
            let sql =
                "SELECT a.text, b.text FROM passages a CROSS JOIN passages b ORDER BY b.text, a.text DESC";
            let refusal = server.connect().refusal(sql);
            assert_eq!(refusal.code, "53200", "{refusal}");
            assert!(answers.load(Ordering::Relaxed) > before, "round {round}: nobody was answered meanwhile");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.connect().value("SELECT count(*) FROM passages").expect("count"), ROWS.to_string());
}
