use super::client::{error, frame, query, tags};
use super::*;

#[tokio::test]
async fn a_panic_is_an_error_of_its_statement() {
    with_session(async |mut client: Client, _| {
        let replies = client.query("PANIC").await;
        assert_eq!(tags(&replies), "EZ");
        assert_eq!(error(&replies), ("XX000".to_owned(), "internal error: as asked".to_owned()));
        assert_eq!(tags(&client.query("ROWS 1").await), "TDCZ");
    })
    .await;
}

#[tokio::test]
async fn a_cancel_request_ends_the_running_statement_only() {
    with_session(async |mut client: Client, log: Log| {
        let cancel = log.lock().cancel.clone().unwrap();
        // Nobody runs: the request is for nothing.
        cancel.cancel(CancelReason::User);
        assert_eq!(tags(&client.query("ROWS 1").await), "TDCZ");
        client.send(&[query("HANG")]).await;
        while !log.lock().ran.contains(&"HANG".to_owned()) {
            tokio::task::yield_now().await;
        }
        cancel.cancel(CancelReason::User);
        let replies = client.until_ready().await;
        assert_eq!(
            error(&replies),
            ("57014".to_owned(), "canceling statement due to user request".to_owned())
        );
        assert_eq!(tags(&client.query("ROWS 1").await), "TDCZ");
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_cancelled() {
    with_session(async |mut client: Client, _| {
        client.query("SET statement_timeout 5").await;
        let replies = client.query("HANG").await;
        assert_eq!(
            error(&replies),
            ("57014".to_owned(), "canceling statement due to statement timeout".to_owned())
        );
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_statement() {
    let log = with_session(async |mut client: Client, log: Log| {
        client.send(&[query("HANG")]).await;
        log
    })
    .await;
    assert_eq!(log.lock().stopped, Some(CancelReason::Disconnected));
}

#[tokio::test]
async fn a_slow_client_stops_the_stream_not_the_memory() {
    let limits = SessionLimits::default();
    with_limits(limits, 1 << 12, async |mut client: Client, log: Log| {
        client.send(&[query("ROWS 1000000")]).await;
        // As far as the session gets without the client reading: the pipe is full, the buffer is.
        let mut before = usize::MAX;
        while before != log.lock().produced || before == 0 {
            before = log.lock().produced;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        assert!(before < 20, "{before} batches of 1000 rows were made for a client that reads nothing");
        let replies = client.until_ready().await;
        assert_eq!(replies.len(), 1_000_003);
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_ends_idle_sessions_with_its_reason() {
    with_session(async |mut client: Client, log: Log| {
        let cancel = log.lock().cancel.clone().unwrap();
        cancel.cancel(CancelReason::Shutdown);
        let replies = client.until_closed().await;
        assert_eq!(replies[0].field('S').unwrap(), "FATAL");
        assert_eq!(
            error(&replies),
            ("57P01".to_owned(), "terminating connection due to administrator command".to_owned())
        );
    })
    .await;
}

#[tokio::test]
async fn messages_that_are_none_close_the_connection_with_a_reason() {
    for (bytes, code) in [
        (b"!\0\0\0\x04".to_vec(), "08P01"),
        (b"Q\0\0\0\x03".to_vec(), "08P01"),
        (b"Q\xff\xff\xff\xff".to_vec(), "54000"),
        (b"S\0\0\x40\0".to_vec(), "54000"),
        (frame('p', b"secret\0"), "08P01"),
    ] {
        with_session(async |mut client: Client, _| {
            client.send(std::slice::from_ref(&bytes)).await;
            let replies = client.until_closed().await;
            assert_eq!(tags(&replies), "E", "{bytes:?}");
            assert_eq!(replies[0].field('S').unwrap(), "FATAL");
            assert_eq!(error(&replies).0, code, "{bytes:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn bodies_that_make_no_sense_are_errors_and_the_session_goes_on() {
    with_session(async |mut client: Client, _| {
        for body in [&b"no end"[..], b"text\0more\0", b"\xff\0"] {
            client.send(&[frame('Q', body)]).await;
            assert_eq!(tags(&client.until_ready().await), "EZ");
        }
        client.send(&[frame('B', b"\0\0\0\xff"), frame('S', &[])]).await;
        assert_eq!(tags(&client.until_ready().await), "EZ");
        client.send(&[frame('F', &[0; 12])]).await;
        assert_eq!(error(&client.until_ready().await).0, "0A000");
        assert_eq!(tags(&client.query("ROWS 1").await), "TDCZ");
    })
    .await;
}
