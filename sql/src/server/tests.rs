use async_trait::async_trait;
use cluster::clock::SystemDice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::session::tests::{Log, ScriptExecutor};
use crate::wire::startup::packet;

/// Sessions of the small executor; one role, one database.
struct ScriptBackend(Log);

#[async_trait]
impl Backend for ScriptBackend {
    type Executor = ScriptExecutor;

    async fn connect(&self, request: ConnectRequest) -> Result<ScriptExecutor, SqlError> {
        if request.user != "elanus" {
            return Err(SqlError::new(
                ErrorKind::InvalidAuthorizationSpecification,
                format!("role \"{}\" does not exist", request.user),
            ));
        }
        let mut executor = ScriptExecutor::new(Log::clone(&self.0), request.cancel);
        for (name, value) in &request.settings {
            executor.settings_mut().set_start(name, value)?;
        }
        Ok(executor)
    }
}

async fn server(settings: ServerSettings) -> (Server, Log) {
    let log = Log::default();
    let registry = Arc::new(CancelRegistry::default());
    let backend = ScriptBackend(Log::clone(&log));
    let server = start(([127, 0, 0, 1], 0).into(), backend, registry, Arc::new(SystemDice), None, settings)
        .await
        .unwrap();
    (server, log)
}

/// Sends a startup packet; gives the stream and what came up to ReadyForQuery or the end.
async fn connect(server: &Server, parameters: &[(&str, &str)]) -> (TcpStream, Vec<(u8, Vec<u8>)>) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(&packet(parameters)).await.unwrap();
    let messages = messages(&mut stream).await;
    (stream, messages)
}

async fn messages(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    let mut head = [0; 5];
    while messages.last().is_none_or(|(tag, _)| *tag != b'Z') && stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        stream.read_exact(&mut body).await.unwrap();
        messages.push((head[0], body));
    }
    messages
}

fn said(messages: &[(u8, Vec<u8>)]) -> String {
    let (_, body) = messages.iter().find(|(tag, _)| *tag == b'E').expect("no error");
    String::from_utf8_lossy(body).replace('\0', " ")
}

#[tokio::test]
async fn a_session_starts_with_what_drivers_need() {
    let (server, _) = server(ServerSettings::default()).await;
    let (_stream, messages) =
        connect(&server, &[("user", "elanus"), ("application_name", "test"), ("options", "-c work_mem=8MB")])
            .await;
    assert_eq!(messages[0], (b'R', vec![0; 4]));
    let told: Vec<String> = messages
        .iter()
        .filter(|(tag, _)| *tag == b'S')
        .map(|(_, body)| String::from_utf8_lossy(body).trim_end_matches('\0').replace('\0', "="))
        .collect();
    for needed in [
        "server_encoding=UTF8",
        "client_encoding=UTF8",
        "DateStyle=ISO, MDY",
        "TimeZone=UTC",
        "IntervalStyle=postgres",
        "integer_datetimes=on",
        "standard_conforming_strings=on",
        "application_name=test",
        "is_superuser=on",
    ] {
        assert!(told.iter().any(|told| told == needed), "{needed} is missing in {told:?}");
    }
    assert!(told.iter().any(|told| told.starts_with("server_version=16.")));
    let tags: Vec<u8> = messages.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(&tags[tags.len() - 2..], b"KZ");
    server.drain().await;
}

#[tokio::test]
async fn refusals_are_told() {
    let settings = ServerSettings { max_connections: 1, ..ServerSettings::default() };
    let (server, _) = server(settings).await;
    let (_, messages) = connect(&server, &[("user", "nobody")]).await;
    assert_eq!(said(&messages), "SFATAL VFATAL C28000 Mrole \"nobody\" does not exist  ");
    let (_, messages) = connect(&server, &[("user", "elanus"), ("nosuch", "1")]).await;
    assert!(said(&messages).contains("C42704 Munrecognized configuration parameter \"nosuch\""));
    let (_first, _) = connect(&server, &[("user", "elanus")]).await;
    let (_, messages) = connect(&server, &[("user", "elanus")]).await;
    assert!(said(&messages).contains("C53300 Msorry, too many clients already"));
    server.drain().await;
}

/// The first message to a client of another machine.
async fn greeting_of_a_stranger(verifier: Option<Arc<Verifier>>) -> (u8, Vec<u8>) {
    let front = Front {
        backend: ScriptBackend(Log::default()),
        registry: Arc::new(CancelRegistry::default()),
        dice: Arc::new(SystemDice),
        verifier,
        settings: ServerSettings::default(),
    };
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let (reader, writer) = tokio::io::split(server);
    client.write_all(&packet(&[("user", "elanus")])).await.unwrap();
    let serving = front.serve(reader, writer, ([192, 0, 2, 1], 5000).into());
    let reading = async {
        let mut head = [0; 5];
        client.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        client.read_exact(&mut body).await.unwrap();
        drop(client);
        (head[0], body)
    };
    tokio::join!(serving, reading).1
}

#[tokio::test]
async fn other_machines_need_a_password() {
    let told = greeting_of_a_stranger(None).await;
    assert!(said(&[told]).contains("C28000 Mconnection from host \"192.0.2.1\" refused: no password is set"));
    let verifier = Arc::new(Verifier::of_password("secret", &SystemDice));
    let (tag, body) = greeting_of_a_stranger(Some(verifier)).await;
    assert_eq!((tag, body.as_slice()), (b'R', &b"\0\0\0\x0aSCRAM-SHA-256\0\0"[..]));
}

#[tokio::test]
async fn a_cancel_request_with_the_right_key_stops_the_statement() {
    let (server, log) = server(ServerSettings::default()).await;
    let (mut stream, opened) = connect(&server, &[("user", "elanus")]).await;
    let (_, key) = opened.iter().find(|(tag, _)| *tag == b'K').unwrap();
    stream.write_all(b"Q\0\0\0\x09HANG\0").await.unwrap();
    let mut wrong = key.clone();
    wrong[7] ^= 1;
    for key in [&wrong, key] {
        while !log.lock().ran.contains(&"HANG".to_owned()) {
            tokio::task::yield_now().await;
        }
        let mut request = b"\0\0\0\x10\x04\xd2\x16\x2e".to_vec();
        request.extend_from_slice(key);
        let mut other = TcpStream::connect(server.address()).await.unwrap();
        other.write_all(&request).await.unwrap();
        // The server closes when it has dealt with the request.
        assert_eq!(other.read(&mut [0; 1]).await.unwrap(), 0);
        if key == &wrong {
            assert!(log.lock().stopped.is_none(), "the wrong key stopped it");
        }
    }
    assert!(said(&messages(&mut stream).await).contains("C57014"));
    server.drain().await;
}

#[tokio::test]
async fn silence_before_the_session_ends_with_the_timeout() {
    let settings = ServerSettings { startup_timeout: Duration::from_millis(20), ..ServerSettings::default() };
    let (server, _) = server(settings).await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    silent.write_all(b"\0\0").await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    server.drain().await;
}

#[tokio::test]
async fn draining_ends_idle_sessions_and_waits_for_statements() {
    let settings = ServerSettings { drain_timeout: Duration::from_millis(50), ..ServerSettings::default() };
    let (server, _) = server(settings).await;
    let (mut idle, _) = connect(&server, &[("user", "elanus")]).await;
    let (mut busy, _) = connect(&server, &[("user", "elanus")]).await;
    busy.write_all(b"Q\0\0\0\x09HANG\0").await.unwrap();
    server.drain().await;
    assert!(said(&messages(&mut idle).await).contains("SFATAL VFATAL C57P01"));
    assert!(said(&messages(&mut busy).await).contains("C57P01"));
    assert!(TcpStream::connect(server.address()).await.is_err());
}
