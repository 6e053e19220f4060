use super::client::{error, tags};
use super::*;

#[tokio::test]
async fn rows_are_described_sent_and_counted() {
    with_session(async |mut client: Client, _| {
        let replies = client.query("ROWS 3").await;
        assert_eq!(tags(&replies), "TDDDCZ");
        assert_eq!(replies[3].values(), [Some("2".to_owned())]);
        assert_eq!(replies[4].text(), "SELECT 3");
        assert_eq!(replies[5].body, b"I");
        assert_eq!(tags(&client.query("").await), "IZ");
        assert_eq!(tags(&client.query(" ; ; ").await), "IZ");
    })
    .await;
}

#[tokio::test]
async fn several_statements_are_one_transaction() {
    with_session(async |mut client: Client, log: Log| {
        let replies = client.query("PUT a; PUT b").await;
        assert_eq!(tags(&replies), "CCZ");
        assert_eq!(log.lock().words, ["a", "b"]);
        let replies = client.query("PUT c; FAIL; PUT d").await;
        assert_eq!(tags(&replies), "CEZ");
        assert_eq!(error(&replies).0, "22012");
        assert_eq!(log.lock().words, ["a", "b"], "the first statement stays although the second failed");
        assert!(!log.lock().ran.contains(&"PUT d".to_owned()));
        // A syntax error anywhere lets nothing run.
        let replies = client.query("PUT e; SYNTAX").await;
        assert_eq!(tags(&replies), "EZ");
        assert_eq!(replies[0].field('P').unwrap(), "1");
        assert!(!log.lock().ran.contains(&"PUT e".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_fails_replaces_the_last_completion() {
    with_session(async |mut client: Client, log: Log| {
        let replies = client.query("PUT a; PUT conflict").await;
        assert_eq!(tags(&replies), "CEZ");
        assert_eq!(error(&replies).0, "40001");
        assert!(log.lock().words.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_status_byte_follows_the_transaction() {
    with_session(async |mut client: Client, log: Log| {
        let status = |replies: &[client::Reply]| replies.last().unwrap().body.clone();
        assert_eq!(status(&client.query("BEGIN").await), b"T");
        assert_eq!(status(&client.query("PUT a").await), b"T");
        assert_eq!(status(&client.query("FAIL").await), b"E");
        let replies = client.query("PUT b").await;
        assert_eq!(error(&replies).0, "25P02");
        assert_eq!(status(&replies), b"E");
        let replies = client.query("COMMIT").await;
        assert_eq!(replies[0].text(), "ROLLBACK");
        assert_eq!(status(&replies), b"I");
        assert!(log.lock().words.is_empty());
    })
    .await;
}

#[tokio::test]
async fn changed_settings_are_reported_and_reported_back_on_rollback() {
    with_session(async |mut client: Client, _| {
        let replies = client.query("SET application_name me").await;
        assert_eq!(tags(&replies), "CSZ");
        assert_eq!(replies[1].body, b"application_name\0me\0");
        let replies = client.query("BEGIN; SET application_name you").await;
        assert_eq!(tags(&replies), "CCSZ");
        let replies = client.query("ROLLBACK").await;
        assert_eq!(replies[1].body, b"application_name\0me\0");
    })
    .await;
}

#[tokio::test]
async fn notices_come_before_the_completion_and_can_be_silenced() {
    with_session(async |mut client: Client, _| {
        let replies = client.query("NOTICE hello").await;
        assert_eq!(tags(&replies), "NCZ");
        assert_eq!(replies[0].field('M').unwrap(), "hello");
        client.query("SET client_min_messages warning").await;
        assert_eq!(tags(&client.query("NOTICE hello").await), "CZ");
    })
    .await;
}

#[tokio::test]
async fn parameters_do_not_exist_in_simple_queries() {
    with_session(async |mut client: Client, _| {
        let replies = client.query("PARAM int4").await;
        assert_eq!(error(&replies), ("42P02".to_owned(), "there is no parameter $1".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn prepare_execute_and_deallocate_work_on_the_session_s_statements() {
    with_session(async |mut client: Client, _| {
        assert_eq!(client.query("PREPARE p AS PARAM int8").await[0].text(), "PREPARE");
        let replies = client.query("EXECUTE p 42").await;
        assert_eq!(tags(&replies), "TDCZ");
        assert_eq!(replies[1].values(), [Some("42".to_owned())]);
        let replies = client.query("EXECUTE p x").await;
        assert_eq!(error(&replies).1, "invalid input syntax for type bigint: \"x\"");
        assert_eq!(error(&client.query("PREPARE p AS ROWS 1").await).0, "42P05");
        assert_eq!(client.query("DEALLOCATE ALL").await[0].text(), "DEALLOCATE ALL");
        assert_eq!(error(&client.query("EXECUTE p 42").await).0, "26000");
    })
    .await;
}

#[tokio::test]
async fn an_error_in_the_middle_of_rows_ends_them() {
    with_session(async |mut client: Client, _| {
        let replies = client.query("FAIL AFTER 2").await;
        assert_eq!(tags(&replies), "TDDEZ");
        assert_eq!(tags(&client.query("ROWS 1").await), "TDCZ");
    })
    .await;
}

#[tokio::test]
async fn statement_texts_have_a_limit_of_their_own() {
    let limits = SessionLimits { statement_bytes: 100, ..SessionLimits::default() };
    with_limits(limits, 1 << 16, async |mut client: Client, _| {
        let replies = client.query(&"x".repeat(101)).await;
        assert_eq!(tags(&replies), "EZ");
        assert_eq!(error(&replies).0, "54000");
        assert_eq!(tags(&client.query("ROWS 1").await), "TDCZ");
    })
    .await;
}
