//! tokio-postgres with vectors in binary, and through it what a typical application does.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use futures::{SinkExt, StreamExt};
use tests::server::Server;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A vector as pgvector sends it.
#[derive(Clone, Debug, PartialEq)]
struct Vector(Vec<f32>);

impl ToSql for Vector {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u16(self.0.len() as u16);
        out.put_u16(0);
        self.0.iter().for_each(|element| out.put_f32(*element));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        ty.name() == "vector"
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Vector {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let body = raw.get(4..).ok_or("no header")?;
        Ok(Self(
            body.chunks_exact(4)
                .map(|bytes| f32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect(),
        ))
    }

    fn accepts(ty: &Type) -> bool {
        ty.name() == "vector"
    }
}

/// The bytes of a value of any type, as they travel.
#[derive(Clone, Debug, PartialEq)]
struct Raw(Vec<u8>);

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Type, literal, and the value's binary form as PostgreSQL 16 sends it.
#[rustfmt::skip]
const VALUES: [(&str, &str, &[u8]); 30] = [
    ("bool", "true", b"\x01"),
    ("int2", "-2", b"\xff\xfe"),
    ("int4", "70000", b"\x00\x01\x11p"),
    ("int8", "-5000000000", b"\xff\xff\xff\xfe\xd5\xfa\x0e\x00"),
    ("float4", "1.5", b"?\xc0\x00\x00"),
    ("float8", "-0.1", b"\xbf\xb9\x99\x99\x99\x99\x99\x9a"),
    ("numeric", "-12345.6789000", b"\x00\x03\x00\x01@\x00\x00\x07\x00\x01\x09)\x1a\x85"),
    ("numeric(10,2)", "7.1", b"\x00\x02\x00\x00\x00\x00\x00\x02\x00\x07\x03\xe8"),
    ("varchar(5)", "'äb'", b"\xc3\xa4b"),
    ("char(4)", "'ab'", b"ab  "),
    ("text", "'it''s'", b"it's"),
    ("bytea", "'\\x00ff'", b"\x00\xff"),
    ("date", "'1999-12-31'", b"\xff\xff\xff\xff"),
    ("time", "'12:34:56.789'", b"\x00\x00\x00\x0a\x8b\xe6&\x08"),
    ("timestamp", "'2024-02-29 01:02:03.000004'", b"\x00\x02\xb5y\x93t\xd8\xc4"),
    ("timestamptz", "'2024-02-29 01:02:03+02'", b"\x00\x02\xb5w\xe6M\x90\xc0"),
    ("interval", "'-1 mon 2 days 03:04:05.6'", b"\x00\x00\x00\x02\x92^{\x00\x00\x00\x00\x02\xff\xff\xff\xff"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", b"\xa0\xee\xbc\x99\x9c\x0bN\xf8\xbbmk\xb9\xbd8\x0a\x11"),
    ("json", "'{\"b\": [1]}'", b"{\x22b\x22: [1]}"),
    ("jsonb", "'{\"b\": [1.50, null]}'", b"\x01{\x22b\x22: [1.50, null]}"),
    ("vector(3)", "'[1,-2,0.5]'", b"\x00\x03\x00\x00?\x80\x00\x00\xc0\x00\x00\x00?\x00\x00\x00"),
    ("int4[]", "'{1,NULL,3}'", b"\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x17\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00\x00\x04\x00\x00\x00\x03"),
    ("text[]", "'{a,\"b c\"}'", b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x01a\x00\x00\x00\x03b c"),
    ("numeric[]", "'{1.50,2}'", b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06\xa4\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x0c\x00\x02\x00\x00\x00\x00\x00\x02\x00\x01\x13\x88\x00\x00\x00\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02"),
    ("interval[]", "'{\"1 mon\",NULL}'", b"\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x04\xa2\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff"),
    ("timestamptz[]", "'{2000-01-01 00:00:00+00}'", b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04\xa0\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00"),
    ("uuid[]", "'{}'", b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b\x86"),
    ("bool[]", "'{t,f}'", b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x01\x01\x00\x00\x00\x01\x00"),
    ("bytea[]", "'{\"\\\\x01\"}'", b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x11\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x01"),
    ("date[]", "'{2000-01-02}'", b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04:\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x01"),
];

/// Runs a test with a connected client.
fn with_client<F: Future<Output = ()>>(test: impl FnOnce(Client, String) -> F) {
    let server = Server::start();
    let url = server.address().url();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connect");
        let work = test(client, url.clone());
        let (_, ended) = tokio::join!(work, connection);
        ended.expect("the connection ends in order");
    });
}

#[test]
fn vectors_travel_in_binary() {
    with_client(|client, _| async move {
        client.batch_execute("CREATE EXTENSION IF NOT EXISTS vector; CREATE TABLE items (id bigserial PRIMARY KEY, name text, embedding vector(3))").await.expect("create");
        let insert = client
            .prepare("INSERT INTO items (name, embedding) VALUES ($1, $2) RETURNING id")
            .await
            .expect("prepare");
        for (number, vector) in [[1.0, 0.0, 0.0], [0.0, 1.5, 0.0], [0.0, 0.0, -2.25]].into_iter().enumerate()
        {
            let row = client
                .query_one(&insert, &[&format!("n{number}"), &Vector(vector.to_vec())])
                .await
                .expect("insert");
            assert_eq!(row.get::<_, i64>(0), number as i64 + 1);
        }
        let nothing: Option<Vector> = None;
        client.execute(&insert, &[&"null", &nothing]).await.expect("insert NULL");
        let near = Vector(vec![0.0, 1.0, 0.0]);
        let sql = "SELECT id, name, embedding, embedding <-> $1 AS distance FROM items ORDER BY embedding <-> $1 LIMIT $2";
        let rows = client.query(sql, &[&near, &4_i64]).await.expect("query");
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0].get::<_, String>("name"), "n1");
        assert_eq!(rows[0].get::<_, Vector>("embedding"), Vector(vec![0.0, 1.5, 0.0]));
        assert_eq!(rows[0].get::<_, f64>("distance"), 0.5);
        assert_eq!(rows[3].get::<_, Option<Vector>>("embedding"), None);
        let wrong = client.query(sql, &[&Vector(vec![1.0]), &1_i64]).await.expect_err("dimensions differ");
        assert_eq!(wrong.code().map(|code| code.code()), Some("22000"));
    });
}

#[test]
fn every_type_travels_in_binary() {
    with_client(|client, _| async move {
        client.batch_execute("CREATE EXTENSION IF NOT EXISTS vector").await.expect("create");
        for (ty, literal, bytes) in VALUES {
            let sql = format!("SELECT ({literal})::{ty}");
            let row = client.query_one(&sql, &[]).await.unwrap_or_else(|error| panic!("{ty}: {error:?}"));
            assert_eq!(row.get::<_, Raw>(0), Raw(bytes.to_vec()), "{ty}");
            let sql = format!("SELECT ($1::{ty})::text, (({literal})::{ty})::text");
            let row = client
                .query_one(&sql, &[&Raw(bytes.to_vec())])
                .await
                .unwrap_or_else(|error| panic!("{ty}: {error:?}"));
            assert_eq!(row.get::<_, String>(0), row.get::<_, String>(1), "{ty}");
        }
    });
}

/// The rows of a table as text.
async fn table_text(client: &Client, table: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(&format!("SELECT * FROM {table} ORDER BY id")).await.expect("select");
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

async fn copied_out(client: &Client, table: &str, format: &str) -> Vec<u8> {
    let sql = format!("COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT WITH (FORMAT {format})");
    let parts: Vec<_> = client.copy_out(&sql).await.expect("copy out").collect().await;
    parts.into_iter().flat_map(|part| part.expect("a part").to_vec()).collect()
}

#[test]
fn every_type_is_copied_out_and_in() {
    with_client(|client, _| async move {
        let columns: Vec<String> = (0..).zip(VALUES).map(|(at, (ty, ..))| format!("c{at} {ty}")).collect();
        let literals: Vec<&str> = VALUES.iter().map(|(_, literal, _)| *literal).collect();
        let nulls = vec!["NULL"; VALUES.len()].join(", ");
        let create =
            |table: &str| format!("CREATE TABLE {table} (id int PRIMARY KEY, {})", columns.join(", "));
        let fill = format!("INSERT INTO origin VALUES (1, {}), (2, {nulls})", literals.join(", "));
        let start = format!("CREATE EXTENSION IF NOT EXISTS vector; {}; {fill}", create("origin"));
        client.batch_execute(&start).await.expect("create");
        let rows = table_text(&client, "origin").await;
        assert_eq!((rows.len(), rows[0].len()), (2, VALUES.len() + 1));
        for format in ["binary", "text", "csv"] {
            client.batch_execute(&create(&format!("\"{format}\""))).await.expect("create");
            let data = copied_out(&client, "origin", format).await;
            let sql = format!("COPY \"{format}\" FROM STDIN WITH (FORMAT {format})");
            let sink = client.copy_in::<_, bytes::Bytes>(&sql).await.expect("copy in");
            futures::pin_mut!(sink);
            sink.send(bytes::Bytes::from(data.clone())).await.expect("send");
            assert_eq!(sink.finish().await.expect("finish"), 2, "{format}");
            let table = format!("\"{format}\"");
            assert_eq!(table_text(&client, &table).await, rows, "{format}");
            assert_eq!(copied_out(&client, &table, format).await, data, "{format}");
        }
    });
}

#[test]
fn a_typical_application() {
    with_client(|mut client, _| async move {
        client
            .batch_execute(
                "CREATE TABLE t (id int4 PRIMARY KEY, price float8, name text, sold bool, at timestamptz)",
            )
            .await
            .expect("create");
        let transaction = client.transaction().await.expect("begin");
        let at = chrono::DateTime::from_timestamp(1_700_000_000, 123_000_000).expect("an instant");
        let insert = "INSERT INTO t VALUES ($1, $2, $3, $4, $5)";
        assert_eq!(
            transaction.execute(insert, &[&1_i32, &2.5_f64, &"é", &true, &at]).await.expect("insert"),
            1
        );
        transaction.commit().await.expect("commit");
        let row = client.query_one("SELECT * FROM t WHERE id = $1", &[&1_i32]).await.expect("select");
        assert_eq!((row.get::<_, f64>(1), row.get::<_, &str>(2), row.get::<_, bool>(3)), (2.5, "é", true));
        assert_eq!(row.get::<_, chrono::DateTime<chrono::Utc>>(4), at);
        let transaction = client.transaction().await.expect("begin");
        transaction.execute("DELETE FROM t", &[]).await.expect("delete");
        transaction.rollback().await.expect("rollback");
        assert_eq!(client.query("SELECT id FROM t", &[]).await.expect("select").len(), 1);
        let duplicate =
            client.execute(insert, &[&1_i32, &0_f64, &"", &false, &at]).await.expect_err("duplicate");
        let error = duplicate.as_db_error().expect("from the server");
        assert_eq!((error.code().code(), error.constraint()), ("23505", Some("t_pkey")));
        // Statements sent without waiting for each other.
        let (one, two, three) = tokio::join!(
            client.query_one("SELECT 1::int4", &[]),
            client.query_one("SELECT $1::int8", &[&2_i64]),
            client.query_one("SELECT count(*) FROM t", &[])
        );
        assert_eq!(one.expect("first").get::<_, i32>(0), 1);
        assert_eq!(two.expect("second").get::<_, i64>(0), 2);
        assert_eq!(three.expect("third").get::<_, i64>(0), 1);
    });
}

#[test]
fn copy_goes_through_a_driver() {
    with_client(|client, _| async move {
        client.batch_execute("CREATE TABLE t (id int4 PRIMARY KEY, name text)").await.expect("create");
        let sink = client.copy_in::<_, bytes::Bytes>("COPY t FROM STDIN").await.expect("copy in");
        futures::pin_mut!(sink);
        for id in 0..1_000 {
            sink.send(bytes::Bytes::from(format!("{id}\tname {id}\n"))).await.expect("send");
        }
        assert_eq!(sink.finish().await.expect("finish"), 1_000);
        let stream = client.copy_out("COPY t TO STDOUT").await.expect("copy out");
        let parts: Vec<_> = stream.collect().await;
        let lines: usize = parts
            .into_iter()
            .map(|part| part.expect("a part").iter().filter(|byte| **byte == b'\n').count())
            .sum();
        assert_eq!(lines, 1_000);
    });
}

#[test]
fn a_driver_cancels() {
    with_client(|client, _| async move {
        let sql =
            "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a + b = 7";
        let query = client.query(sql, &[]);
        futures::pin_mut!(query);
        let token = client.cancel_token();
        // A cancel that comes before the statement does nothing, so it is repeated until the answer is there.
        let ended = loop {
            tokio::select! {
                ended = &mut query => break ended,
                sent = token.cancel_query(NoTls) => sent.expect("cancel"),
            }
        };
        let code = ended.err().and_then(|error| error.code().map(|code| code.code().to_owned()));
        assert_eq!(code.as_deref(), Some("57014"));
        // A late cancel may still hit the next statement; the session must be there after it.
        let _ = client.query_one("SELECT 1", &[]).await;
        client.query_one("SELECT 1", &[]).await.expect("the session lives");
    });
}
