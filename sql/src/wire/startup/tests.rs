use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

use super::*;

/// Sends packets; gives the opening and what was answered.
async fn opening(packets: &[&[u8]]) -> (Result<Opening, GateError>, Vec<u8>) {
    let (near, far) = duplex(1 << 16);
    let (mut near_reader, mut near_writer) = split(near);
    near_writer.write_all(&packets.concat()).await.unwrap();
    near_writer.shutdown().await.unwrap();
    let (reader, writer) = split(far);
    let (mut gate, mut replies) = (Gate::new(reader), Replies::new(writer));
    let opening = open(&mut gate, &mut replies).await;
    replies.flush().await.unwrap();
    replies.shut_down().await;
    let mut answered = Vec::new();
    near_reader.read_to_end(&mut answered).await.unwrap();
    (opening, answered)
}

fn session(opening: Result<Opening, GateError>) -> Startup {
    match opening {
        Ok(Opening::Session(startup)) => startup,
        other => panic!("no session: {other:?}"),
    }
}

fn refusal(opening: Result<Opening, GateError>) -> SqlError {
    match opening {
        Err(GateError::Refused(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

/// A packet of any version.
fn versioned(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = packet(parameters).to_vec();
    bytes[4..8].copy_from_slice(&version.to_be_bytes());
    bytes
}

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

#[tokio::test]
async fn encryption_is_refused_in_either_order_once_each() {
    let start = packet(&[("user", "elanus")]);
    for order in [[GSS, SSL], [SSL, GSS]] {
        let (opening, answered) = opening(&[order[0], order[1], &start]).await;
        assert_eq!(session(opening).database, "elanus", "the database is named like the user");
        assert_eq!(answered, b"NN");
    }
    let (opening, _) = opening(&[SSL, SSL]).await;
    assert_eq!(
        refusal(opening).message,
        "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.0"
    );
}

#[tokio::test]
async fn settings_come_from_options_first() {
    let (opening, answered) = opening(&[&packet(&[
        ("user", "u"),
        ("database", "d"),
        ("application_name", "psql"),
        ("options", "-c hnsw.ef_search=100 --work-mem=8MB -csearch_path=a\\ b"),
    ])])
    .await;
    let startup = session(opening);
    assert_eq!((startup.user.as_str(), startup.database.as_str()), ("u", "d"));
    let expected = [
        ("hnsw.ef_search", "100"),
        ("work_mem", "8MB"),
        ("search_path", "a b"),
        ("application_name", "psql"),
    ];
    assert_eq!(startup.settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(answered.is_empty());
}

#[tokio::test]
async fn newer_protocols_and_unknown_options_are_negotiated_down() {
    let (opening, answered) =
        opening(&[&versioned((3 << 16) | 2, &[("user", "u"), ("_pq_.command_tag", "on")])]).await;
    assert!(session(opening).settings.is_empty());
    assert_eq!(answered, b"v\0\0\0\x1d\0\x03\0\0\0\0\0\x01_pq_.command_tag\0");
    let (opening, _) = self::opening(&[&versioned(2 << 16, &[("user", "u")])]).await;
    let error = refusal(opening);
    assert_eq!(error.message, "unsupported frontend protocol 2.0: server supports 3.0 to 3.0");
    assert_eq!(error.kind, ErrorKind::FeatureNotSupported);
}

#[tokio::test]
async fn cancel_requests_carry_their_key() {
    let (opening, _) = opening(&[b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\xff\xff\xff\xfe"]).await;
    assert_eq!(opening.unwrap(), Opening::Cancel(CancelKey { pid: 7, secret: -2 }));
    let (opening, _) = self::opening(&[b"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\x07"]).await;
    assert_eq!(refusal(opening).kind, ErrorKind::ProtocolViolation);
}

#[tokio::test]
async fn broken_packets_are_refused() {
    let (opening, _) = opening(&[&packet(&[("database", "d")])]).await;
    assert_eq!(refusal(opening).message, "no PostgreSQL user name specified in startup packet");
    let mut unterminated = packet(&[("user", "u")]).to_vec();
    unterminated.pop();
    let length = unterminated.len() as u32;
    unterminated[..4].copy_from_slice(&length.to_be_bytes());
    let (opening, _) = self::opening(&[&unterminated]).await;
    assert_eq!(refusal(opening).message, "invalid startup packet layout: expected terminator as last byte");
    let (opening, _) = self::opening(&[&packet(&[("user", "u"), ("options", "-x")])]).await;
    assert_eq!(refusal(opening).message, "invalid command-line argument for server process: -x");
    let (opening, _) = self::opening(&[&packet(&[("user", "u"), ("replication", "database")])]).await;
    assert_eq!(refusal(opening).kind, ErrorKind::FeatureNotSupported);
}
