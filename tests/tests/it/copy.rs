//! COPY in text, csv and binary, in and out, and what broken data does.

use tests::server::Server;
use tests::wire::{Connection, ServerError};

fn table(server: &Server) -> Connection {
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector").expect("extension");
    connection.run("CREATE TABLE t (id int4 PRIMARY KEY, name text, f float8, v vector(2))").expect("create");
    connection
}

fn copied(connection: &mut Connection, sql: &str, data: &[u8]) -> String {
    let reply = connection.copy_in(sql, data).expect("copy");
    assert_eq!(reply.error, None, "{sql}");
    reply.results[0].tag.clone().unwrap_or_default()
}

fn refused(connection: &mut Connection, sql: &str, data: &[u8]) -> ServerError {
    let reply = connection.copy_in(sql, data).expect("copy");
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("the session lives"), "0", "{sql}");
    reply.error.unwrap_or_else(|| panic!("accepted: {sql}"))
}

fn rows(connection: &mut Connection) -> Vec<String> {
    let result = connection.run("SELECT * FROM t ORDER BY id").expect("select");
    result
        .rows
        .iter()
        .map(|row| row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
        .collect()
}

#[test]
fn text_goes_in_and_out() {
    let server = Server::start();
    let mut connection = table(&server);
    let data = b"1\tplain\t1.5\t[1,2]\n2\t\\N\t\\N\t\\N\n3\ttab\\there\\nline \\\\ back\tNaN\t[0,0]\n4\t\t-0\t[3,4]\n";
    assert_eq!(copied(&mut connection, "COPY t FROM STDIN", data), "COPY 4");
    assert_eq!(
        rows(&mut connection),
        ["1|plain|1.5|[1,2]", "2|NULL|NULL|NULL", "3|tab\there\nline \\ back|NaN|[0,0]", "4||-0|[3,4]"]
    );
    let reply = connection.query("COPY (SELECT * FROM t ORDER BY id) TO STDOUT").expect("copy");
    assert_eq!(reply.error, None);
    assert_eq!(String::from_utf8_lossy(&reply.copy_out), String::from_utf8_lossy(data));
    assert_eq!(reply.results[0].tag.as_deref(), Some("COPY 4"));
    assert_eq!(
        copied(
            &mut connection,
            "COPY t (id, name) FROM STDIN WITH (DELIMITER '|', NULL 'none')",
            b"5|none\n6|x\n\\.\n"
        ),
        "COPY 2"
    );
    assert_eq!(connection.value("SELECT count(*) FROM t WHERE name IS NULL").expect("count"), "2");
}

#[test]
fn csv_goes_in() {
    let server = Server::start();
    let mut connection = table(&server);
    let data = b"id,name,f,v\n1,\"a, \"\"b\"\"\nc\",2.5,\"[1,2]\"\n2,,,\n3,\"\",1,\"[1,2]\"\n";
    assert_eq!(copied(&mut connection, "COPY t FROM STDIN WITH (FORMAT csv, HEADER true)", data), "COPY 3");
    assert_eq!(rows(&mut connection), ["1|a, \"b\"\nc|2.5|[1,2]", "2|NULL|NULL|NULL", "3||1|[1,2]"]);
    assert_eq!(copied(&mut connection, "COPY t (id, name) FROM STDIN CSV", b"4,x\r\n5,y\r\n"), "COPY 2");
}

/// The binary form of rows `(id, name, f, v)`.
fn binary(rows: &[(i32, &str, f64, [f32; 2])]) -> Vec<u8> {
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for (id, name, number, vector) in rows {
        data.extend_from_slice(&4_i16.to_be_bytes());
        let vector = [&[0, 2, 0, 0][..], &vector[0].to_be_bytes(), &vector[1].to_be_bytes()].concat();
        for field in [&id.to_be_bytes()[..], name.as_bytes(), &number.to_be_bytes(), &vector] {
            data.extend_from_slice(&(field.len() as i32).to_be_bytes());
            data.extend_from_slice(field);
        }
    }
    data.extend_from_slice(&(-1_i16).to_be_bytes());
    data
}

#[test]
fn binary_goes_in() {
    let server = Server::start();
    let mut connection = table(&server);
    let many: Vec<(i32, &str, f64, [f32; 2])> =
        (10..3_000).map(|id| (id, "many", 0.5, [id as f32, 1.0])).collect();
    let sql = "COPY t FROM STDIN WITH (FORMAT binary)";
    assert_eq!(copied(&mut connection, sql, &binary(&[(1, "é", -1.25, [1.5, 2.0])])), "COPY 1");
    assert_eq!(copied(&mut connection, sql, &binary(&many)), "COPY 2990");
    assert_eq!(
        connection.value("SELECT name || f || v::text FROM t WHERE id = 1").expect("row"),
        "é-1.25[1.5,2]"
    );
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "2991");
    assert_eq!(
        connection.value("SELECT id FROM t ORDER BY v <-> '[2000,1]' LIMIT 1").expect("nearest"),
        "2000"
    );
}

#[test]
fn broken_data_is_refused_with_its_line_and_leaves_nothing() {
    let server = Server::start();
    let mut connection = table(&server);
    let cases: [(&str, &[u8], &str, &str); 11] = [
        (
            "COPY t FROM STDIN",
            b"1\ta\t1\t[1,2]\n2\ta\tx\t[1,2]\n",
            "22P02",
            "COPY t, line 2, column f: \"x\"",
        ),
        ("COPY t FROM STDIN", b"1\ta\t1\t[1,2,3]\n", "22000", "COPY t, line 1"),
        ("COPY t FROM STDIN", b"1\ta\t1\t[1,\n", "22P02", "COPY t, line 1, column v: \"[1,\""),
        ("COPY t FROM STDIN", b"1\ta\t1\n", "22P04", "COPY t, line 1: \"1\ta\t1\""),
        ("COPY t FROM STDIN", b"1\ta\t1\t[1,2]\t9\n", "22P04", "COPY t, line 1: \"1\ta\t1\t[1,2]\t9\""),
        // Keys are checked when the statement commits: no line is known then.
        ("COPY t FROM STDIN", b"1\ta\t1\t[1,2]\n1\tb\t1\t[1,2]\n", "23505", ""),
        ("COPY t FROM STDIN", b"\\N\ta\t1\t[1,2]\n", "23502", ""),
        ("COPY t FROM STDIN", b"1\t\xff\xfe\t1\t[1,2]\n", "22021", "COPY t, line 1"),
        ("COPY t FROM STDIN CSV", b"1,\"open,1,2\n", "22P04", "COPY t, line 1"),
        ("COPY t FROM STDIN (FORMAT binary)", b"not the signature at all", "22P04", ""),
        (
            "COPY t FROM STDIN (FORMAT binary)",
            b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\x04\0\0\0\x01\0\0",
            "22P04",
            "COPY t, line 1",
        ),
    ];
    for (sql, data, code, context) in cases {
        let error = refused(&mut connection, sql, data);
        let told = error.context.clone().unwrap_or_default();
        assert_eq!(error.code, code, "{sql} {:?}: {error}", String::from_utf8_lossy(data));
        assert!(told.starts_with(context), "{error}: context is {told:?}, not {context:?}");
    }
    assert_eq!(connection.refusal("COPY nosuch FROM STDIN").code, "42P01");
    assert_eq!(connection.refusal("COPY t (nosuch) FROM STDIN").code, "42703");
    assert_eq!(copied(&mut connection, "COPY t FROM STDIN", b"1\ta\t1\t[1,2]\n"), "COPY 1");
}

#[test]
fn the_client_may_give_up() {
    let server = Server::start();
    let mut connection = table(&server);
    connection.queue(b'Q', b"COPY t FROM STDIN\0");
    connection.expect(b'G').expect("CopyInResponse");
    connection.queue(b'd', b"1\ta\t1\t[1,2]\n");
    connection.queue(b'f', b"no more\0");
    let errors = connection.drain().expect("reply");
    assert_eq!(errors[0].code, "57014");
    assert_eq!(errors[0].message, "COPY from stdin failed: no more");
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "0");
}

#[test]
fn copy_is_part_of_its_transaction() {
    let server = Server::start();
    let mut connection = table(&server);
    connection.run("BEGIN").expect("begin");
    assert_eq!(copied(&mut connection, "COPY t (id) FROM STDIN", b"1\n2\n"), "COPY 2");
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "2");
    assert_eq!(server.connect().value("SELECT count(*) FROM t").expect("count"), "0");
    connection.run("ROLLBACK").expect("rollback");
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "0");
}

#[test]
fn check_constraints_hold() {
    let server = Server::start();
    let mut connection = server.connect();
    let create =
        "CREATE TABLE t (id int4 PRIMARY KEY, n int4 CHECK (n > 0), CONSTRAINT small CHECK (id < 100))";
    connection.run(create).expect("create");
    let binary = [
        &b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..],
        b"\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x04\0\0\0\x05",
        b"\0\x02\0\0\0\x04\0\0\0\x02\0\0\0\x04\0\0\0\0\xff\xff",
    ]
    .concat();
    // PostgreSQL shows the line's text too, which is gone here once it was decoded.
    let cases: [(&str, &[u8], &str, &str, &str); 3] = [
        ("COPY t FROM STDIN", b"1\t5\n2\t0\n3\t1\n", "t_n_check", "(2, 0)", "COPY t, line 2"),
        ("COPY t FROM STDIN CSV", b"1,5\n200,7\n", "small", "(200, 7)", "COPY t, line 2"),
        ("COPY t FROM STDIN (FORMAT binary)", &binary, "t_n_check", "(2, 0)", "COPY t, line 2"),
    ];
    for (sql, data, constraint, row, context) in cases {
        let error = refused(&mut connection, sql, data);
        assert_eq!((error.code.as_str(), error.constraint.as_deref()), ("23514", Some(constraint)), "{sql}");
        let message = format!("new row for relation \"t\" violates check constraint \"{constraint}\"");
        assert_eq!(error.message, message);
        assert_eq!(error.detail.as_deref(), Some(format!("Failing row contains {row}.").as_str()));
        assert_eq!(error.context.as_deref(), Some(context), "{sql}");
    }
    // NULL meets every check.
    assert_eq!(copied(&mut connection, "COPY t FROM STDIN", b"1\t\\N\n2\t1\n"), "COPY 2");
}
