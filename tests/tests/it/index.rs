//! Vector indexes while things happen: rows come and go, builds are killed, canceled or lose their table, files rot.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tests::server::{Options, Server};
use tests::wire::{Connection, cancel};

const DIMENSIONS: usize = 24;
/// An index that takes its time.
const SLOW_INDEX: &str =
    "CREATE INDEX slow ON points USING hnsw (v vector_l2_ops) WITH (m = 48, ef_construction = 1000)";

/// `points (id, v)` with rows `1..=rows`.
fn points(connection: &mut Connection, rows: usize) {
    connection.run("CREATE TABLE points (id int8 PRIMARY KEY, v vector(24))").expect("create");
    insert(connection, 1, rows);
}

fn insert(connection: &mut Connection, first: usize, last: usize) {
    let elements: Vec<String> = (0..DIMENSIONS).map(|at| format!("sin(g * 0.{}7 + {at})", at + 1)).collect();
    let vector = elements.join(", ");
    let sql = format!(
        "INSERT INTO points SELECT g, ARRAY[{vector}]::vector FROM generate_series({first}, {last}) g"
    );
    connection.run(&sql).expect("insert");
}

/// The literal of a vector that is near some rows.
fn query(number: usize) -> String {
    let elements: Vec<String> =
        (0..DIMENSIONS).map(|at| (number as f64 * 0.37 + at as f64).sin().to_string()).collect();
    format!("[{}]", elements.join(","))
}

/// Asks again and again until the condition holds.
fn until(connection: &mut Connection, sql: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let value = connection.value(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
        if value == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{sql} is {value}, not {wanted}");
    }
}

const STATE: &str = "SELECT state FROM elanus.index_status WHERE index_name = 'slow'";
const RUNNING: &str = "SELECT count(*) > 0 FROM pg_stat_progress_create_index WHERE tuples_done > 0";

#[test]
fn searches_are_whole_while_an_index_is_built_and_rows_come_and_go() {
    let server = Server::start();
    points(&mut server.connect(), 12_000);
    let (done, deleted) = (AtomicBool::new(false), AtomicI64::new(0));
    let address = server.address();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut connection = Connection::open(address).expect("a session");
            connection.run("SET enable_seqscan = off").expect("set");
            let mut searches = 0;
            while !done.load(Ordering::SeqCst) {
                let gone = deleted.load(Ordering::SeqCst);
                let sql = format!("SELECT id FROM points ORDER BY v <-> '{}' LIMIT 10", query(searches));
                let found = connection.run(&sql).expect("a search").first_column();
                assert_eq!(found.len(), 10);
                let early = found.iter().filter(|id| id.parse::<i64>().expect("an id") <= gone);
                assert_eq!(early.count(), 0, "a deleted row among {found:?}; gone up to {gone}");
                searches += 1;
            }
            searches
        });
        let writer = scope.spawn(|| {
            let mut connection = Connection::open(address).expect("a session");
            let mut round = 0;
            while !done.load(Ordering::SeqCst) {
                let last = deleted.load(Ordering::SeqCst) + 5;
                connection.run(&format!("DELETE FROM points WHERE id <= {last}")).expect("delete");
                deleted.store(last, Ordering::SeqCst);
                insert(&mut connection, 20_000 + round * 5, 20_004 + round * 5);
                round += 1;
            }
            round
        });
        let mut connection = Connection::open(address).expect("a session");
        connection.run(SLOW_INDEX).expect("the index");
        connection.run("CREATE INDEX lists ON points USING ivfflat (v vector_cosine_ops)").expect("lists");
        done.store(true, Ordering::SeqCst);
        assert!(reader.join().expect("the reader") > 3, "hardly a search was made");
        assert!(writer.join().expect("the writer") > 3, "hardly a row was written");
    });
    let mut connection = server.connect();
    connection.run("CHECKPOINT").expect("checkpoint");
    until(&mut connection, STATE, "ready");
    let totals =
        "SELECT indexed_rows || ' ' || growing_rows FROM elanus.index_status WHERE index_name = 'slow'";
    let rows = connection.value("SELECT count(*) FROM points").expect("count");
    assert_eq!(connection.value(totals).expect("totals"), format!("{rows} 0"));
    let plan = connection
        .run("EXPLAIN SELECT id FROM points ORDER BY v <-> (SELECT v FROM points WHERE id = 9000) LIMIT 3");
    let plan = plan.expect("a plan").first_column().join("\n");
    assert!(plan.contains("Index Scan using slow on points"), "{plan}");
}

#[test]
fn a_build_that_is_killed_is_done_again() {
    let mut server = Server::start();
    points(&mut server.connect(), 12_000);
    let address = server.address().clone();
    let creating = std::thread::spawn(move || Connection::open(&address).expect("a session").run(SLOW_INDEX));
    until(&mut server.connect(), RUNNING, "t");
    server.kill();
    assert!(creating.join().expect("the session").is_err(), "the connection is gone");
    let server = server.restart().expect("restart");
    let mut connection = server.connect();
    until(&mut connection, STATE, "ready");
    let rows = "SELECT indexed_rows FROM elanus.index_status WHERE index_name = 'slow'";
    assert_eq!(connection.value(rows).expect("rows"), "12000");
}

#[test]
fn a_canceled_build_leaves_no_index() {
    let server = Server::start();
    points(&mut server.connect(), 12_000);
    let mut creator = server.connect();
    let (address, key) = (server.address().clone(), creator.backend_key);
    let creating = std::thread::spawn(move || creator.run(SLOW_INDEX).map(|_| ()));
    let mut connection = server.connect();
    until(&mut connection, RUNNING, "t");
    cancel(&address, key).expect("a cancel request");
    let failure = creating.join().expect("the session").expect_err("it was canceled").to_string();
    assert!(failure.contains("canceling statement due to user request"), "{failure}");
    until(&mut connection, "SELECT count(*) FROM elanus.index_status", "0");
    until(&mut connection, "SELECT count(*) FROM elanus.index_builds", "0");
    connection.run("CREATE INDEX slow ON points USING ivfflat (v vector_l2_ops)").expect("the name is free");
}

#[test]
fn a_table_dropped_during_a_build_takes_the_build_along() {
    let server = Server::start();
    points(&mut server.connect(), 12_000);
    let mut creator = server.connect();
    let creating = std::thread::spawn(move || creator.run(SLOW_INDEX).map(|_| ()));
    let mut connection = server.connect();
    until(&mut connection, RUNNING, "t");
    connection.run("DROP TABLE points").expect("drop");
    assert!(creating.join().expect("the session").is_err(), "there is no table to index");
    until(&mut connection, "SELECT count(*) FROM elanus.index_builds", "0");
    points(&mut connection, 100);
    assert_eq!(connection.value("SELECT count(*) FROM points").expect("count"), "100");
}

/// Files of indexes below a folder.
fn index_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(index_files(&path));
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().contains("-index")) {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_damaged_index_file_is_noticed_and_the_answers_are_exact() {
    let mut server = Server::start_with(Options::default());
    let mut connection = server.connect();
    points(&mut connection, 6_000);
    connection.run("CREATE INDEX slow ON points USING hnsw (v vector_l2_ops)").expect("index");
    connection.run("SET enable_indexscan = off").expect("set");
    let nearest = |connection: &mut Connection, number: usize| {
        let sql = format!("SELECT id FROM points ORDER BY v <-> '{}' LIMIT 10", query(number));
        connection.run(&sql).expect("a search").first_column()
    };
    let exact: Vec<Vec<String>> = (0..30).map(|number| nearest(&mut connection, number)).collect();
    assert!(server.stop().success());
    let files = index_files(&server.data_dir());
    assert_eq!(files.len(), 1, "{files:?}");
    let mut bytes = std::fs::read(&files[0]).expect("the index file");
    // Every block of the links is hurt somewhere.
    for at in (1_000..bytes.len() - 5_000).step_by(4_096) {
        bytes[at] ^= 4;
    }
    std::fs::remove_file(&files[0]).expect("remove");
    std::fs::write(&files[0], bytes).expect("write");
    let server = server.restart().expect("restart");
    let mut connection = server.connect();
    connection.run("SET enable_seqscan = off").expect("set");
    for (number, exact) in exact.iter().enumerate() {
        assert_eq!(&nearest(&mut connection, number), exact, "query {number}");
    }
    let error = "SELECT error FROM elanus.index_status";
    assert!(connection.value(error).expect("an error").contains("checksum"), "the damage is told");
    connection.run("CHECKPOINT").expect("checkpoint");
    until(&mut connection, STATE, "ready");
    let plan =
        "EXPLAIN (ANALYZE) SELECT id FROM points ORDER BY v <-> (SELECT v FROM points WHERE id = 9) LIMIT 3";
    let plan = connection.run(plan).expect("a plan").first_column().join("\n");
    assert!(plan.contains("(sealed): index"), "{plan}");
}

#[test]
fn the_files_of_an_index_go_with_it_or_with_its_column() {
    let server = Server::start();
    let mut connection = server.connect();
    points(&mut connection, 2_000);
    connection.run("CREATE INDEX slow ON points USING hnsw (v vector_l2_ops)").expect("index");
    connection.run("CREATE INDEX lists ON points USING ivfflat (v) WITH (lists = 3)").expect("lists");
    assert_eq!(index_files(&server.data_dir()).len(), 2);
    let left = |connection: &mut Connection, sql: &str, wanted: usize| {
        connection.run(sql).expect(sql);
        let deadline = Instant::now() + Duration::from_secs(60);
        while index_files(&server.data_dir()).len() != wanted {
            assert!(Instant::now() < deadline, "{sql}: {:?}", index_files(&server.data_dir()));
            connection.run("SELECT 1").expect("the server lives");
        }
    };
    left(&mut connection, "DROP INDEX slow", 1);
    left(&mut connection, "ALTER TABLE points DROP COLUMN v", 0);
    assert_eq!(connection.value("SELECT count(*) FROM points").expect("count"), "2000");
}

/// The ten nearest rows of some queries; `clause` names an instant.
fn answers(connection: &mut Connection, clause: &str) -> Vec<Vec<String>> {
    let ask = |number| {
        let sql = format!("SELECT id FROM points {clause} ORDER BY v <-> '{}' LIMIT 10", query(number));
        connection.run(&sql).expect("a search").first_column()
    };
    (0..6).map(ask).collect()
}

#[test]
fn rows_that_updates_have_ended_are_left_out_and_searched_as_of_before() {
    let mut server = Server::start();
    let mut connection = server.connect();
    points(&mut connection, 2_500);
    connection.run("ALTER TABLE points ADD COLUMN n int4 DEFAULT 0").expect("alter");
    let exact = answers(&mut connection, "");
    connection.run("CREATE INDEX slow ON points USING hnsw (v vector_l2_ops)").expect("an index");
    let then = connection.value("SELECT elanus.last_commit_ts()").expect("a timestamp");
    let past = format!("FOR SYSTEM_TIME AS OF {then}");
    let sum = "SELECT sum(n) || ' ' || count(*) FROM points";
    let by_index = |connection: &mut Connection| {
        connection.run("SET enable_seqscan = off").expect("set");
        connection.run("SET hnsw.ef_search = 1000").expect("set");
    };
    let done = AtomicBool::new(false);
    let address = server.address();
    // The vectors stay, so the answer is the same at every instant.
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut connection = Connection::open(address).expect("a session");
            by_index(&mut connection);
            let mut rounds = 0;
            while !done.load(Ordering::SeqCst) {
                for clause in ["", &past] {
                    assert_eq!(answers(&mut connection, clause), exact, "{clause}");
                }
                rounds += 1;
            }
            rounds
        });
        for round in 0..12 {
            let chosen = round % 3;
            connection.run(&format!("UPDATE points SET n = n + 1 WHERE id % 3 >= {chosen}")).expect("update");
            if round % 3 == 2 {
                connection.run("CHECKPOINT").expect("a checkpoint");
            }
            if round == 7 {
                connection.run("VACUUM points").expect("a vacuum");
            }
        }
        done.store(true, Ordering::SeqCst);
        assert!(reader.join().expect("the reader") > 0, "nothing was read");
    });
    by_index(&mut connection);
    let present = connection.value(sum).expect("a sum");
    for round in 0..3 {
        match round {
            0 => drop(connection.run("CHECKPOINT").expect("a checkpoint")),
            1 => drop(connection.run("VACUUM FULL points").expect("a vacuum")),
            _ => {
                server.kill();
                server = server.restart().expect("the server again");
                connection = server.connect();
                by_index(&mut connection);
            }
        }
        until(&mut connection, STATE, "ready");
        for clause in ["", &past] {
            assert_eq!(answers(&mut connection, clause), exact, "round {round} {clause}");
        }
        assert_eq!(connection.value(sum).expect("a sum"), present);
        assert_eq!(connection.value(&format!("{sum} {past}")).expect("a sum"), "0 2500");
    }
    let versions = "SELECT sum(rows) > 20000 FROM elanus.segments WHERE table_name = 'points'";
    assert_eq!(connection.value(versions).expect("a count"), "t", "ended rows are kept");
    // 32 neighbours of 4 bytes and a row number for each row that lives, and little beside.
    let index = "SELECT indexed_rows || ' ' || pending_rows || ' ' || (index_bytes < 2500 * 200) \
                 FROM elanus.index_status WHERE index_name = 'slow'";
    assert_eq!(connection.value(index).expect("the status"), "2500 0 true");
}
