//! Input that is too large, too deep or malformed: a clear error, the server alive, nothing lost.

use tests::server::Server;
use tests::wire::{Connection, Failure};

/// The answer to a statement that may be refused in any of these ways, or end the session with an error.
fn refused_with(connection: &mut Connection, sql: &str, codes: &[&str]) {
    match connection.run(sql) {
        Err(Failure::Server(error)) => {
            assert!(codes.contains(&error.code.as_str()), "{error} at {}", tests::wire::head(sql));
        }
        Err(failure) => panic!("{failure} at {}", tests::wire::head(sql)),
        Ok(_) => panic!("accepted: {}", tests::wire::head(sql)),
    }
}

#[test]
fn expressions_of_a_hundred_thousand_terms() {
    let server = Server::start();
    let mut witness = server.connect();
    witness.run("CREATE TABLE t (id int4 PRIMARY KEY)").expect("create");
    let terms = 100_000;
    let deep = [
        format!("SELECT 1{}", " + 1".repeat(terms)),
        format!("SELECT {}1{}", "(".repeat(terms), ")".repeat(terms)),
        format!("SELECT * FROM t WHERE id = 0{}", " OR id = 1".repeat(terms)),
        format!("SELECT {}1", "- ".repeat(terms)),
        format!("SELECT {}true", "NOT ".repeat(terms)),
        format!("SELECT 'a'{}", " || 'a'".repeat(terms)),
        format!("{}SELECT 1{}", "SELECT * FROM (".repeat(terms), ") x".repeat(terms)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(terms)),
        format!("SELECT {}1{}", "abs(".repeat(terms), ")".repeat(terms)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(terms), " END".repeat(terms)),
    ];
    for sql in &deep {
        // PostgreSQL evaluates some of these; what counts is an answer and a server that lives.
        let mut connection = server.connect();
        if let Err(failure) = connection.run(sql) {
            let code = failure.code().unwrap_or("none").to_owned();
            assert!(
                ["54001", "54000", "42601", "53200"].contains(&code.as_str()),
                "{failure} at {}",
                tests::wire::head(sql)
            );
        }
        assert_eq!(witness.value("SELECT 1").expect("the server lives"), "1");
    }
    let list = format!("SELECT count(*) FROM t WHERE id IN (0{})", ", 1".repeat(20_000));
    assert_eq!(witness.value(&list).expect("a long list is not deep"), "0");
}

#[test]
fn a_statement_of_a_hundred_megabytes() {
    let server = Server::start();
    let mut connection = server.connect();
    let sql = format!("SELECT length('{}')", "x".repeat(100 << 20));
    match connection.run(&sql) {
        Ok(result) => assert_eq!(result.single(), Some("104857600")),
        Err(Failure::Server(error)) => {
            assert!(["54000", "53200", "08P01"].contains(&error.code.as_str()), "{error}")
        }
        Err(Failure::Socket(_)) => {}
        Err(failure) => panic!("{failure}"),
    }
    assert_eq!(server.connect().value("SELECT 1").expect("the server lives"), "1");
}

#[test]
fn malformed_vectors_as_parameters() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector").expect("extension");
    connection.run("CREATE TABLE t (id int4 PRIMARY KEY, v vector(3))").expect("create");
    let nan = f32::NAN.to_be_bytes();
    let one = 1_f32.to_be_bytes();
    let cases: [(&str, Vec<u8>); 6] = [
        ("22P03", vec![]),
        ("22000", vec![0, 0, 0, 0]),
        ("22P03", [&[0, 3, 0, 0][..], &one].concat()),
        ("22000", [&[0, 1, 0, 1][..], &one].concat()),
        ("22000", [&[0, 1, 0, 0][..], &nan].concat()),
        ("22000", [&[0, 2, 0, 0][..], &one, &one].concat()),
    ];
    for (code, bytes) in cases {
        connection.queue_parse("", "INSERT INTO t VALUES (1, $1)", &[]);
        let parameters = vec![(1, Some(bytes.clone()))];
        connection.queue_bind(&tests::wire::Bind { parameters, ..tests::wire::Bind::default() });
        connection.queue_execute("", 0);
        connection.queue_sync();
        let errors = connection.drain().expect("reply");
        let code_told = errors.first().map_or("none", |error| error.code.as_str());
        // A body that is too short is a protocol violation to PostgreSQL (08P01) before the type sees it.
        let fine = code_told == code || (code == "22P03" && code_told == "08P01");
        assert!(fine, "{bytes:?}: {errors:?}, not {code}");
    }
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "0");
}

#[test]
fn limits_of_types_and_names() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector").expect("extension");
    let elements = vec!["1"; 16_001].join(",");
    refused_with(&mut connection, &format!("SELECT '[{elements}]'::vector"), &["54000"]);
    refused_with(&mut connection, "CREATE TABLE t (v vector(16001))", &["22023"]);
    let columns: Vec<String> = (0..2_000).map(|number| format!("c{number} int4")).collect();
    refused_with(&mut connection, &format!("CREATE TABLE t ({})", columns.join(", ")), &["54011"]);
    refused_with(&mut connection, "SELECT 'x' FROM \"nul\0byte\"", &["08P01", "42601", "22021"]);
    assert_eq!(server.connect().value("SELECT 1").expect("the server lives"), "1");
}
