use super::client::{bind, close, describe, error, execute, parse, query, sync, tags};
use super::*;

#[tokio::test]
async fn a_statement_is_parsed_described_bound_and_executed() {
    with_session(async |mut client: Client, _| {
        client
            .send(&[
                parse("", "PARAM int4", &[]),
                describe('S', ""),
                bind("", "", &[Some(b"7")], &[]),
                describe('P', ""),
                execute("", 0),
                sync(),
            ])
            .await;
        let replies = client.until_ready().await;
        assert_eq!(tags(&replies), "1tT2TDCZ");
        assert_eq!(replies[1].body, [0, 1, 0, 0, 0, 23]);
        assert_eq!(replies[5].values(), [Some("7".to_owned())]);
        assert_eq!(replies[6].text(), "SELECT 1");
    })
    .await;
}

#[tokio::test]
async fn given_types_win_and_binary_parameters_are_read() {
    with_session(async |mut client: Client, _| {
        client
            .send(&[
                parse("s", "PARAM int8", &[20]),
                bind("", "s", &[Some(&42_i64.to_be_bytes())], &[1]),
                execute("", 0),
                bind("", "s", &[None], &[]),
                execute("", 0),
                sync(),
            ])
            .await;
        let replies = client.until_ready().await;
        assert_eq!(tags(&replies), "12DC2DCZ");
        assert_eq!(replies[2].values(), [Some("42".to_owned())]);
        assert_eq!(replies[5].values(), [None]);
        client.send(&[bind("", "s", &[Some(&[1, 2, 3])], &[1]), sync()]).await;
        assert_eq!(error(&client.until_ready().await).0, "08P01");
        client.send(&[bind("", "s", &[Some(&[0; 9])], &[1]), sync()]).await;
        let replies = client.until_ready().await;
        assert_eq!(
            error(&replies),
            ("22P03".to_owned(), "incorrect binary data format in bind parameter 1".to_owned())
        );
        client.send(&[bind("", "s", &[], &[]), sync()]).await;
        assert_eq!(
            error(&client.until_ready().await).1,
            "bind message supplies 0 parameters, but prepared statement \"s\" requires 1"
        );
        client.send(&[bind("", "s", &[Some(b"\xff")], &[]), sync()]).await;
        assert_eq!(
            error(&client.until_ready().await),
            ("22021".to_owned(), "invalid byte sequence for encoding \"UTF8\": 0xff".to_owned())
        );
    })
    .await;
}

#[tokio::test]
async fn row_limits_suspend_a_portal() {
    with_session(async |mut client: Client, _| {
        client.query("BEGIN").await;
        client
            .send(&[
                parse("", "ROWS 5", &[]),
                bind("c", "", &[], &[]),
                execute("c", 2),
                sync(),
                execute("c", 2),
                execute("c", 2),
                execute("c", 2),
                sync(),
            ])
            .await;
        assert_eq!(tags(&client.until_ready().await), "12DDsZ");
        let replies = client.until_ready().await;
        assert_eq!(tags(&replies), "DDsDCCZ");
        assert_eq!(replies[4].text(), "SELECT 1");
        assert_eq!(replies[5].text(), "SELECT 0");
        // The portal lives until the transaction ends.
        client.query("COMMIT").await;
        client.send(&[execute("c", 0), sync()]).await;
        assert_eq!(
            error(&client.until_ready().await),
            ("34000".to_owned(), "portal \"c\" does not exist".to_owned())
        );
    })
    .await;
}

#[tokio::test]
async fn after_an_error_everything_up_to_sync_is_skipped() {
    with_session(async |mut client: Client, log: Log| {
        client
            .send(&[
                parse("", "PUT a", &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                parse("", "FAIL", &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                parse("", "PUT b", &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                query("PUT c"),
                sync(),
                query("PUT d"),
            ])
            .await;
        assert_eq!(tags(&client.until_ready().await), "12C12EZ");
        assert_eq!(tags(&client.until_ready().await), "CZ");
        assert_eq!(log.lock().words, ["d"], "a pipeline is one transaction");
        client
            .send(&[
                parse("", "PUT e", &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                parse("", "PUT f", &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                sync(),
            ])
            .await;
        assert_eq!(tags(&client.until_ready().await), "12C12CZ");
        assert_eq!(log.lock().words, ["d", "e", "f"]);
    })
    .await;
}

#[tokio::test]
async fn a_pipeline_whose_commit_fails_says_so_at_sync() {
    with_session(async |mut client: Client, log: Log| {
        client
            .send(&[
                parse("", "PUT conflict", &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                bind("", "", &[], &[]),
                execute("", 0),
                sync(),
            ])
            .await;
        let replies = client.until_ready().await;
        assert_eq!(tags(&replies), "12C2CEZ");
        assert_eq!(error(&replies).0, "40001");
        assert!(log.lock().words.is_empty());
    })
    .await;
}

#[tokio::test]
async fn names_are_checked_as_postgresql_does() {
    with_session(async |mut client: Client, _| {
        let mut expect = async |messages: &[Vec<u8>], code: &str, message: &str| {
            client.send(messages).await;
            client.send(&[sync()]).await;
            assert_eq!(error(&client.until_ready().await), (code.to_owned(), message.to_owned()));
        };
        expect(&[bind("", "x", &[], &[])], "26000", "prepared statement \"x\" does not exist").await;
        expect(&[bind("", "", &[], &[])], "26000", "unnamed prepared statement does not exist").await;
        expect(
            &[parse("s", "ROWS 1", &[]), parse("s", "ROWS 1", &[])],
            "42P05",
            "prepared statement \"s\" already exists",
        )
        .await;
        expect(&[bind("p", "s", &[], &[]), bind("p", "s", &[], &[])], "42P03", "cursor \"p\" already exists")
            .await;
        expect(
            &[parse("", "ROWS 1; ROWS 2", &[])],
            "42601",
            "cannot insert multiple commands into a prepared statement",
        )
        .await;
        expect(&[parse("", "ROWS 1", &[99_999])], "42704", "type with OID 99999 does not exist").await;
        expect(
            &[parse("", "NARROW", &[]), bind("", "", &[], &[]), execute("", 0)],
            "0A000",
            "cached plan must not change result type",
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn closing_frees_names_and_never_fails() {
    with_session(async |mut client: Client, _| {
        client
            .send(&[
                parse("s", "ROWS 1", &[]),
                close('S', "s"),
                parse("s", "ROWS 2", &[]),
                bind("p", "s", &[], &[]),
                close('P', "p"),
                bind("p", "s", &[], &[]),
                close('S', "nosuch"),
                execute("p", 0),
                sync(),
            ])
            .await;
        assert_eq!(tags(&client.until_ready().await), "13123 23DDCZ".replace(' ', ""));
    })
    .await;
}

#[tokio::test]
async fn the_empty_statement_goes_through_both_protocols() {
    with_session(async |mut client: Client, _| {
        client
            .send(&[
                parse("", " ", &[]),
                describe('S', ""),
                bind("", "", &[], &[]),
                describe('P', ""),
                execute("", 0),
                sync(),
            ])
            .await;
        assert_eq!(tags(&client.until_ready().await), "1tn2nIZ");
    })
    .await;
}

#[tokio::test]
async fn a_statement_without_rows_runs_once_per_portal() {
    with_session(async |mut client: Client, log: Log| {
        client
            .send(&[parse("", "PUT a", &[]), bind("", "", &[], &[]), execute("", 0), execute("", 0), sync()])
            .await;
        let replies = client.until_ready().await;
        assert_eq!(tags(&replies), "12CEZ");
        assert_eq!(error(&replies), ("55000".to_owned(), "portal \"\" cannot be run".to_owned()));
        assert!(log.lock().words.is_empty());
    })
    .await;
}

#[tokio::test]
async fn flush_sends_what_is_there_and_errors_do_not_wait() {
    with_session(async |mut client: Client, _| {
        client.send(&[parse("", "ROWS 1", &[]), client::frame('H', &[])]).await;
        assert_eq!(client.read().await.unwrap().tag, '1');
        client.send(&[bind("", "nosuch", &[], &[])]).await;
        assert_eq!(client.read().await.unwrap().tag, 'E');
        client.send(&[sync()]).await;
        assert_eq!(tags(&client.until_ready().await), "Z");
    })
    .await;
}
