//! The protocol: startup, simple and extended queries, portals, pipelines, recovery, cancel, garbage.

use std::io::{Read, Write};

use tests::server::Server;
use tests::wire::{Address, Bind, Connection, Failure, cancel};

fn prepared(connection: &mut Connection, sql: &str) {
    connection.queue_parse("s", sql, &[]);
    connection.queue_sync();
    assert_eq!(connection.drain().expect("parse"), []);
}

#[test]
fn a_session_begins_as_postgresql_says() {
    let server = Server::start();
    let connection = server.connect();
    assert_eq!(connection.status, b'I');
    assert!(connection.parameters["server_version"].starts_with("16"));
    for (name, value) in [
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("integer_datetimes", "on"),
    ] {
        assert_eq!(connection.parameters.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_ne!(connection.backend_key, (0, 0));
    // TLS and GSS are refused with one byte, and the same socket goes on.
    for code in [80_877_103_i32, 80_877_104] {
        let mut socket = server.address().socket().expect("socket");
        socket.write_all(&[8_i32.to_be_bytes(), code.to_be_bytes()].concat()).expect("request");
        let mut answer = [0_u8];
        socket.read_exact(&mut answer).expect("answer");
        assert_eq!(answer, *b"N");
        let mut session =
            Connection::open_with(socket, &[("user", "elanus"), ("database", "elanus")]).expect("session");
        assert_eq!(session.value("SELECT 1").expect("query"), "1");
    }
}

#[test]
fn unknown_databases_and_roles_are_refused() {
    let server = Server::start();
    let open = |user: &str, database: &str| {
        let address = Address { user: user.to_owned(), ..server.address().with_database(database) };
        Connection::open(&address).err().and_then(|failure| failure.code().map(str::to_owned))
    };
    assert_eq!(open("elanus", "nosuch").as_deref(), Some("3D000"));
    assert_eq!(open("nosuch", "elanus").as_deref(), Some("28000"));
    assert_eq!(open("elanus", "elanus"), None);
}

#[test]
fn several_statements_in_one_message() {
    let server = Server::start();
    let mut connection = server.connect();
    let reply = connection.query("SELECT 1; SELECT 2 AS b; ; SELECT 3").expect("query");
    let values: Vec<_> =
        reply.results.iter().map(|result| result.single().unwrap_or("-").to_owned()).collect();
    assert_eq!(values, ["1", "2", "3"]);
    let reply = connection.query("SELECT 1; SELECT 1/0; SELECT 3").expect("query");
    assert_eq!(reply.results.len(), 1);
    assert_eq!(reply.error.expect("an error").code, "22012");
    let reply = connection.query("").expect("query");
    assert_eq!(reply.results.len(), 1);
    assert_eq!(reply.results[0].tag, None);
}

#[test]
fn errors_have_position_and_detail() {
    let server = Server::start();
    let mut connection = server.connect();
    let error = connection.refusal("SELECT nosuch FROM pg_class");
    assert_eq!((error.code.as_str(), error.position), ("42703", Some(8)));
    let error = connection.refusal("SELEC 1");
    assert_eq!((error.code.as_str(), error.position), ("42601", Some(1)));
    connection.run("CREATE TABLE t (id int4 PRIMARY KEY)").expect("create");
    connection.run("INSERT INTO t VALUES (1)").expect("insert");
    let error = connection.refusal("INSERT INTO t VALUES (1)");
    assert_eq!(error.detail.as_deref(), Some("Key (id)=(1) already exists."));
    assert_eq!(error.constraint.as_deref(), Some("t_pkey"));
    assert_eq!(error.severity, "ERROR");
}

#[test]
fn statements_are_described() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector").expect("extension");
    connection.run("CREATE TABLE t (id int4 PRIMARY KEY, name text, v vector(3))").expect("create");
    let vector: u32 =
        connection.value("SELECT 'vector'::regtype::oid").expect("oid").parse().expect("a number");
    let describe = |connection: &mut Connection, sql: &str| {
        let (parameters, columns) =
            connection.describe(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
        (parameters, columns.into_iter().map(|column| (column.name, column.type_oid)).collect::<Vec<_>>())
    };
    let named =
        |list: &[(&str, u32)]| list.iter().map(|(name, oid)| ((*name).to_owned(), *oid)).collect::<Vec<_>>();
    assert_eq!(
        describe(&mut connection, "SELECT id, name, v FROM t WHERE id = $1 AND name = $2"),
        (vec![23, 25], named(&[("id", 23), ("name", 25), ("v", vector)]))
    );
    assert_eq!(
        describe(&mut connection, "SELECT id, v <-> $1 AS d FROM t ORDER BY v <-> $1 LIMIT $2"),
        (vec![vector, 20], named(&[("id", 23), ("d", 701)]))
    );
    assert_eq!(
        describe(&mut connection, "INSERT INTO t VALUES ($1, $2, $3)"),
        (vec![23, 25, vector], vec![])
    );
    assert_eq!(
        describe(&mut connection, "UPDATE t SET name = $1 WHERE id = $2 RETURNING id"),
        (vec![25, 23], named(&[("id", 23)]))
    );
    assert_eq!(describe(&mut connection, "SELECT $1::int8 + 1 AS n").0, [20]);
    let (_, columns) = connection.describe("SELECT v FROM t", &[]).expect("describe");
    let table: u32 = connection.value("SELECT 't'::regclass::oid").expect("oid").parse().expect("a number");
    assert_eq!((columns[0].table_oid, columns[0].attribute, columns[0].type_modifier), (table, 3, 3));
    assert_eq!(connection.describe("SELECT nosuch", &[]).expect_err("refused").code(), Some("42703"));
    assert_eq!(connection.value("SELECT 1").expect("recovered"), "1");
}

#[test]
fn binary_parameters_and_results() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector").expect("extension");
    connection.queue_parse(
        "s",
        "SELECT $1::int4, $2::int8, $3::float8, $4::text, $5::bool, $6::vector, $7::timestamptz",
        &[],
    );
    let vector = [&[0, 2, 0, 0][..], &1.5_f32.to_be_bytes(), &(-2.0_f32).to_be_bytes()].concat();
    let values: Vec<Vec<u8>> = vec![
        7_i32.to_be_bytes().to_vec(),
        (-8_i64).to_be_bytes().to_vec(),
        2.5_f64.to_be_bytes().to_vec(),
        "é".as_bytes().to_vec(),
        vec![1],
        vector,
        86_400_000_000_i64.to_be_bytes().to_vec(),
    ];
    let parameters: Vec<_> = values.iter().map(|value| (1, Some(value.clone()))).collect();
    connection.queue_bind(&Bind {
        statement: "s",
        parameters: parameters.clone(),
        result_formats: vec![1],
        ..Bind::default()
    });
    connection.queue_execute("", 0);
    connection.queue_bind(&Bind { statement: "s", parameters, ..Bind::default() });
    connection.queue_execute("", 0);
    connection.queue_sync();
    connection.expect(b'1').expect("parse");
    connection.expect(b'2').expect("bind");
    let binary = connection.receive_execute().expect("execute");
    connection.expect(b'2').expect("bind");
    let text = connection.receive_execute().expect("execute");
    connection.drain().expect("sync");
    assert_eq!(binary.rows, [values.into_iter().map(Some).collect::<Vec<_>>()]);
    let text: Vec<_> = text.rows[0]
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_deref().unwrap_or(b"NULL")).into_owned())
        .collect();
    assert_eq!(text, ["7", "-8", "2.5", "é", "t", "[1.5,-2]", "2000-01-02 00:00:00+00"]);
}

#[test]
fn portals_give_as_many_rows_as_asked_for() {
    let server = Server::start();
    let mut connection = server.connect();
    prepared(&mut connection, "SELECT g FROM generate_series(1, 10) g");
    connection.queue_bind(&Bind { portal: "p", statement: "s", ..Bind::default() });
    for limit in [3, 3, 3, 3, 3] {
        connection.queue_execute("p", limit);
    }
    connection.queue_sync();
    connection.expect(b'2').expect("bind");
    let counts: Vec<_> = (0..5)
        .map(|_| connection.receive_execute().expect("execute"))
        .map(|outcome| (outcome.rows.len(), outcome.tag))
        .collect();
    let tag = |count: usize| Some(format!("SELECT {count}"));
    assert_eq!(counts, [(3, None), (3, None), (3, None), (1, tag(1)), (0, tag(0))]);
    connection.drain().expect("sync");
    // Without a transaction the portal ended with Sync.
    connection.queue_execute("p", 1);
    connection.queue_sync();
    assert_eq!(connection.drain().expect("sync")[0].code, "34000");
}

#[test]
fn a_pipeline_recovers_at_sync() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE TABLE t (id int4 PRIMARY KEY)").expect("create");
    for value in ["1", "2", "2", "3"] {
        connection.queue_parse("", &format!("INSERT INTO t VALUES ({value})"), &[]);
        connection.queue_bind(&Bind::default());
        connection.queue_execute("", 0);
    }
    connection.queue_sync();
    // One Sync is one transaction: the duplicate undoes all of it.
    let errors = connection.drain().expect("sync");
    assert_eq!(errors.iter().map(|error| error.code.as_str()).collect::<Vec<_>>(), ["23505"]);
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "0");
    for value in 0..50 {
        connection.queue_parse("", &format!("INSERT INTO t VALUES ({})", value % 49), &[]);
        connection.queue_bind(&Bind::default());
        connection.queue_execute("", 0);
        connection.queue_sync();
    }
    let errors: Vec<_> = (0..50).flat_map(|_| connection.drain().expect("sync")).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "49");
}

#[test]
fn named_statements_live_until_they_are_closed() {
    let server = Server::start();
    let mut connection = server.connect();
    prepared(&mut connection, "SELECT $1::int4 * 2");
    for value in ["4", "5"] {
        let parameters = vec![(0, Some(value.as_bytes().to_vec()))];
        connection.queue_bind(&Bind { statement: "s", parameters, ..Bind::default() });
        connection.queue_execute("", 0);
        connection.queue_sync();
        connection.expect(b'2').expect("bind");
        assert_eq!(connection.receive_execute().expect("execute").rows.len(), 1);
        connection.drain().expect("sync");
    }
    connection.queue_parse("s", "SELECT 1", &[]);
    connection.queue_sync();
    assert_eq!(connection.drain().expect("sync")[0].code, "42P05");
    connection.queue_close(b'S', "s");
    connection.queue_bind(&Bind { statement: "s", ..Bind::default() });
    connection.queue_sync();
    assert_eq!(connection.drain().expect("sync")[0].code, "26000");
    // A parameter that does not fit, and too few of them.
    prepared(&mut connection, "SELECT $1::int4");
    connection.queue_bind(&Bind {
        statement: "s",
        parameters: vec![(0, Some(b"x".to_vec()))],
        ..Bind::default()
    });
    connection.queue_execute("", 0);
    connection.queue_sync();
    assert_eq!(connection.drain().expect("sync")[0].code, "22P02");
    connection.queue_bind(&Bind { statement: "s", ..Bind::default() });
    connection.queue_sync();
    assert_eq!(connection.drain().expect("sync")[0].code, "08P01");
}

#[test]
fn a_running_statement_is_cancelled() {
    let server = Server::start();
    let mut connection = server.connect();
    let (address, key) = (server.address().clone(), connection.backend_key);
    std::thread::scope(|scope| {
        let (ended, running) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            // A cancel that comes before the statement does nothing, so it is repeated until the reply is there.
            while running.recv_timeout(std::time::Duration::from_millis(50)).is_err() {
                let _ = cancel(&address, key);
            }
        });
        let sql =
            "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a + b = 7";
        let error = connection.refusal(sql);
        ended.send(()).expect("the canceller waits");
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("57014", "canceling statement due to user request")
        );
    });
    // A late cancel may still hit the next statement; the session must be there after it.
    let values: Vec<_> = (0..3).map(|_| connection.value("SELECT 1")).filter_map(Result::ok).collect();
    assert!(!values.is_empty() && values.iter().all(|value| value == "1"));
}

#[test]
fn garbage_ends_a_session_and_nothing_else() {
    let server = Server::start();
    let mut witness = server.connect();
    let before_startup: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0, 0, 3, 0, 0, 0, 0],
        &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
        &[0, 0, 0, 9, 0, 9, 0, 0, 0],
        &[0, 0, 0, 12, 0, 3, 0, 0, b'u', b's', b'e', b'r'],
    ];
    for bytes in before_startup {
        let mut socket = server.address().socket().expect("socket");
        socket.write_all(bytes).expect("send");
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        assert_eq!(witness.value("SELECT 1").expect("the server lives"), "1", "after {bytes:?}");
    }
    // PostgreSQL only closes the socket when the frame itself is broken; a whole frame gets an answer.
    let in_session: [(bool, &[u8]); 6] = [
        (true, &[b'?', 0, 0, 0, 4]),
        (false, &[b'Q', 0, 0, 0, 3]),
        (false, &[b'Q', 0x7f, 0xff, 0xff, 0xff]),
        (false, &[b'Q', 0xff, 0xff, 0xff, 0xff]),
        (true, &[b'P', 0, 0, 0, 6, b'x', b'y']),
        (true, &[b'B', 0, 0, 0, 10, 0, 0, 0xff, 0xff, 0, 0]),
    ];
    for (whole, bytes) in in_session {
        let mut connection = server.connect();
        connection.queue_raw(bytes);
        connection.queue_sync();
        connection.flush().expect("send");
        let _ = connection.socket().shutdown(std::net::Shutdown::Write);
        let mut refused = false;
        while let Ok((kind, _)) = connection.receive() {
            refused |= kind == b'E';
        }
        assert!(refused || !whole, "no ErrorResponse to {bytes:?}");
        assert_eq!(witness.value("SELECT 1").expect("the server lives"), "1", "after {bytes:?}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.queue(b'Q', b"SELECT '\xff\xfe'\0");
    let errors = connection.drain().expect("query");
    assert_eq!(errors.first().map(|error| error.code.as_str()), Some("22021"));
    assert_eq!(connection.value("SELECT 1").expect("the session lives"), "1");
}

#[test]
fn a_dropped_connection_rolls_back() {
    let server = Server::start();
    let mut first = server.connect();
    first.run("CREATE TABLE t (id int4 PRIMARY KEY)").expect("create");
    first.run("BEGIN").expect("begin");
    first.run("INSERT INTO t VALUES (1)").expect("insert");
    assert_eq!(first.status, b'T');
    drop(first);
    let mut second = server.connect();
    assert_eq!(second.value("SELECT count(*) FROM t").expect("count"), "0");
    second.run("INSERT INTO t VALUES (1)").expect("the key is free");
}

#[test]
fn the_transaction_status_is_told() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.run("BEGIN").expect("begin");
    assert_eq!(connection.status, b'T');
    assert!(matches!(connection.run("SELECT 1/0"), Err(Failure::Server(_))));
    assert_eq!(connection.status, b'E');
    connection.run("ROLLBACK").expect("rollback");
    assert_eq!(connection.status, b'I');
    connection.run("COMMIT").expect("a warning only");
    assert!(connection.notices.iter().any(|notice| notice.code == "25P01"), "{:?}", connection.notices);
}
