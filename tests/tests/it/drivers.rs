//! tokio-postgres with vectors in binary, and through it what a typical application does.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use futures::{SinkExt, StreamExt};
use tests::server::Server;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls};

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
