use super::client::{Reply, bind, error, execute, frame, parse, query, sync, tags};
use super::*;

async fn copy_in(client: &mut Client, format: &str, pieces: &[&[u8]]) -> Vec<Reply> {
    client.send(&[query(&format!("COPY IN {format}"))]).await;
    assert_eq!(client.read().await.unwrap().tag, 'G');
    for piece in pieces {
        client.send(&[frame('d', piece)]).await;
    }
    client.send(&[frame('c', &[])]).await;
    client.until_ready().await
}

#[tokio::test]
async fn text_is_copied_in_pieces_of_any_size() {
    with_session(async |mut client: Client, log: Log| {
        let replies =
            copy_in(&mut client, "text", &[b"1\t[1,2,3]\tone\n2\t\\N\t\\", b"\\\\t\\x41\n", b"3\t[0,0,1]\t"])
                .await;
        assert_eq!(tags(&replies), "CZ");
        assert_eq!(replies[0].text(), "COPY 3");
        let copied = log.lock().copied.clone();
        assert_eq!(copied, ["1|[1.0, 2.0, 3.0]|one", "2||\\\tA", "3|[0.0, 0.0, 1.0]|"]);
    })
    .await;
}

#[tokio::test]
async fn csv_knows_quotes_and_nulls() {
    with_session(async |mut client: Client, log: Log| {
        let replies =
            copy_in(&mut client, "csv", &[b"1,\"[1,2,3]\",\"a \"\"b\"\"\r\nc\"\r\n2,,\"\"\r\n"]).await;
        assert_eq!(tags(&replies), "CZ", "{:?}", error_or_none(&replies));
        assert_eq!(log.lock().copied, ["1|[1.0, 2.0, 3.0]|a \"b\"\r\nc", "2||"]);
    })
    .await;
}

fn error_or_none(replies: &[Reply]) -> Option<(String, String)> {
    replies.iter().any(|reply| reply.tag == 'E').then(|| error(replies))
}

/// Binary COPY data of rows with the three columns of the test's table.
fn binary_rows(rows: &[(i32, [f32; 3], &str)]) -> Vec<u8> {
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for (id, vector, text) in rows {
        data.extend_from_slice(&3_i16.to_be_bytes());
        data.extend_from_slice(&4_i32.to_be_bytes());
        data.extend_from_slice(&id.to_be_bytes());
        data.extend_from_slice(&16_i32.to_be_bytes());
        data.extend_from_slice(&[0, 3, 0, 0]);
        vector.iter().for_each(|element| data.extend_from_slice(&element.to_be_bytes()));
        data.extend_from_slice(&(text.len() as i32).to_be_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    data.extend_from_slice(&(-1_i16).to_be_bytes());
    data
}

#[tokio::test]
async fn binary_is_the_same_wherever_it_is_cut() {
    let data = binary_rows(&[(1, [1.0, 2.0, 3.0], "one"), (2, [0.5, -1.0, 0.0], "")]);
    let expected = ["1|[1.0, 2.0, 3.0]|one", "2|[0.5, -1.0, 0.0]|"];
    for cut in 0..data.len() {
        with_session(async |mut client: Client, log: Log| {
            let replies = copy_in(&mut client, "binary", &[&data[..cut], &data[cut..]]).await;
            assert_eq!(tags(&replies), "CZ", "cut at {cut}");
            assert_eq!(log.lock().copied, expected, "cut at {cut}");
        })
        .await;
    }
    with_session(async |mut client: Client, log: Log| {
        let bytes: Vec<&[u8]> = data.chunks(1).collect();
        copy_in(&mut client, "binary", &bytes).await;
        assert_eq!(log.lock().copied, expected);
    })
    .await;
}

#[tokio::test]
async fn large_copies_come_in_bounded_batches() {
    with_session(async |mut client: Client, log: Log| {
        let rows: Vec<(i32, [f32; 3], &str)> = (0..20_000).map(|id| (id, [1.0, 0.0, 0.0], "x")).collect();
        let data = binary_rows(&rows);
        client.send(&[query("COPY IN binary")]).await;
        assert_eq!(client.read().await.unwrap().tag, 'G');
        for piece in data.chunks(10_000) {
            client.send(&[frame('d', piece)]).await;
        }
        client.send(&[frame('c', &[])]).await;
        assert_eq!(client.until_ready().await[0].text(), "COPY 20000");
        assert!(log.lock().copy_batches >= 3, "{} batches", log.lock().copy_batches);
    })
    .await;
}

#[tokio::test]
async fn bad_data_names_its_line_and_leaves_nothing() {
    let cases: &[(&str, &[u8], &str, &str, &str)] = &[
        ("text", b"1\t[1,2,3]\n", "22P04", "missing data for column \"t\"", "COPY t, line 1: \"1\t[1,2,3]\""),
        (
            "text",
            b"1\t[1,2,3]\ta\n2\t\\N\tb\tc\n",
            "22P04",
            "extra data after last expected column",
            "COPY t, line 2: \"2\t\\N\tb\tc\"",
        ),
        (
            "text",
            b"1\t[1,2,3]\ta\nx\t[1,2]\tb\n",
            "22P02",
            "invalid input syntax for type integer: \"x\"",
            "COPY t, line 2, column id: \"x\"",
        ),
        (
            "csv",
            b"1,\"[1,2,3]\",a\n2,\"[1,2]\",b\n",
            "22000",
            "expected 3 dimensions, not 2",
            "COPY t, line 2, column v: \"[1,2]\"",
        ),
        (
            "csv",
            b"1,\"[1,2,3]\n",
            "22P04",
            "unterminated CSV quoted field",
            "COPY t, line 1: \"1,\"[1,2,3]\n\"",
        ),
        (
            "text",
            b"1\t\\N\t\xff\n",
            "22021",
            "invalid byte sequence for encoding \"UTF8\": 0xff",
            "COPY t, line 1",
        ),
        (
            "binary",
            b"PGCOPY\n\xff\r\n\x01\0\0\0\0\0\0\0\0",
            "22P04",
            "COPY file signature not recognized",
            "",
        ),
        ("binary", b"PG", "22P04", "COPY file signature not recognized", ""),
        (
            "binary",
            b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x03\0\0",
            "22P04",
            "unexpected EOF in COPY data",
            "COPY t, line 1",
        ),
        (
            "binary",
            b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04",
            "22P04",
            "row field count is 2, expected 3",
            "COPY t, line 1",
        ),
        (
            "binary",
            b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\x05abcde\xff\xff\xff\xff\xff\xff\xff\xff",
            "22P03",
            "incorrect binary data format",
            "COPY t, line 1, column id",
        ),
    ];
    for (format, data, code, message, context) in cases {
        with_session(async |mut client: Client, log: Log| {
            let replies = copy_in(&mut client, format, &[data]).await;
            assert_eq!(tags(&replies), "EZ", "{message}");
            assert_eq!(error(&replies), ((*code).to_owned(), (*message).to_owned()));
            assert_eq!(replies[0].field('W').unwrap_or_default(), *context);
            assert!(log.lock().copied.is_empty());
            assert_eq!(tags(&client.query("ROWS 1").await), "TDCZ");
        })
        .await;
    }
}

#[tokio::test]
async fn data_behind_an_error_is_ignored() {
    with_session(async |mut client: Client, _| {
        client
            .send(&[query("COPY IN text"), frame('d', b"x\n"), frame('d', b"more\n"), frame('c', &[])])
            .await;
        assert_eq!(tags(&client.until_ready().await), "GEZ");
        assert_eq!(tags(&client.query("ROWS 1").await), "TDCZ");
        // In the extended protocol everything up to Sync is skipped.
        client
            .send(&[
                parse("", "COPY IN text", &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                frame('d', b"x\n"),
            ])
            .await;
        client.send(&[frame('d', b"y\n"), frame('c', &[]), sync()]).await;
        assert_eq!(tags(&client.until_ready().await), "12GEZ");
    })
    .await;
}

#[tokio::test]
async fn the_client_can_give_up_a_copy() {
    with_session(async |mut client: Client, log: Log| {
        client
            .send(&[query("COPY IN text"), frame('d', b"1\t\\N\ta\n"), frame('f', b"changed my mind\0")])
            .await;
        let replies = client.until_ready().await;
        assert_eq!(
            error(&replies),
            ("57014".to_owned(), "COPY from stdin failed: changed my mind".to_owned())
        );
        assert!(log.lock().copied.is_empty());
        client.send(&[query("COPY IN text"), query("ROWS 1")]).await;
        let replies = client.until_ready().await;
        assert_eq!(error(&replies).1, "unexpected message type 0x51 during COPY from stdin");
    })
    .await;
}

#[tokio::test]
async fn rows_the_executor_refuses_end_the_copy() {
    let cases: [(&str, &[u8], &str); 2] = [
        ("text", b"1\t\\N\ta\n2\t\\N\trefuse\n3\t\\N\tb\n", "COPY t, line 2"),
        ("csv", b"1,,\"a\nb\"\n2,,c\n3,,refuse\n", "COPY t, line 3"),
    ];
    for (format, data, context) in cases {
        with_session(async |mut client: Client, log: Log| {
            let replies = copy_in(&mut client, format, &[data]).await;
            assert_eq!(error(&replies).0, "23502");
            assert_eq!(replies[0].field('W').unwrap(), context);
            assert!(log.lock().copied.is_empty());
        })
        .await;
    }
}

#[tokio::test]
async fn rows_are_copied_out() {
    with_session(async |mut client: Client, _| {
        let replies = client.query("COPY OUT text 2").await;
        assert_eq!(tags(&replies), "HddcCZ");
        assert_eq!(replies[1].body, b"0\ta\\tb,0\n");
        assert_eq!(replies[2].body, b"1\t\\N\n");
        assert_eq!(replies[4].text(), "COPY 2");
        let replies = client.query("COPY OUT csv 2").await;
        assert_eq!(replies[1].body, b"0,\"a\tb,0\"\n");
        assert_eq!(replies[2].body, b"1,\n");
        let replies = client.query("COPY OUT binary 1").await;
        // As PostgreSQL does, the header and the first row share a message.
        assert_eq!(tags(&replies), "HddcCZ");
        let first = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\0\0\0\0\0\x05a\tb,0";
        assert_eq!(replies[1].body, first);
        assert_eq!(replies[2].body, b"\xff\xff");
    })
    .await;
}
