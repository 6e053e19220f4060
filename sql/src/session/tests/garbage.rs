//! Random, truncated and mutated bytes: the session ends or goes on, it never panics and never buffers what
//! it was only promised.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{bind, close, describe, execute, frame, parse, query, sync};
use super::*;

const SEEDS: u64 = 400;

fn valid(rng: &mut StdRng) -> Vec<u8> {
    let texts = [
        "ROWS 3",
        "PARAM int4",
        "PARAM vector",
        "PUT a",
        "BEGIN",
        "COMMIT",
        "FAIL",
        "COPY IN text",
        "COPY IN csv",
        "COPY IN binary",
        "",
        "PUT a; FAIL",
    ];
    let text = texts[rng.random_range(0..texts.len())];
    let names = ["", "s", "p"];
    let name = names[rng.random_range(0..names.len())];
    match rng.random_range(0..11) {
        0 => query(text),
        1 => parse(name, text, &[]),
        2 => bind(name, name, &[Some(b"1")], &[]),
        3 => bind(name, name, &[], &[]),
        4 => describe(if rng.random() { 'S' } else { 'P' }, name),
        5 => execute(name, rng.random_range(0..3)),
        6 => close('S', name),
        7 => frame('d', b"1\t[1,2,3]\tx\n"),
        8 => frame('c', &[]),
        9 => frame('f', b"no\0"),
        _ => sync(),
    }
}

/// A stream of messages, some of them damaged.
fn bytes_of(seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut bytes = Vec::new();
    for _ in 0..rng.random_range(1..40) {
        let mut message = valid(&mut rng);
        match rng.random_range(0..8) {
            0 => {
                let at = rng.random_range(0..message.len());
                message[at] = rng.random();
            }
            1 => message.truncate(rng.random_range(0..message.len())),
            2 => {
                // Inner lengths off by a little.
                let at = rng.random_range(5..=message.len().max(6)).min(message.len() - 1);
                message[at] = message[at].wrapping_add(rng.random_range(0..8));
            }
            3 if rng.random_ratio(1, 4) => {
                message = (0..rng.random_range(1..64)).map(|_| rng.random()).collect()
            }
            _ => {}
        }
        bytes.append(&mut message);
    }
    bytes
}

#[tokio::test]
async fn random_messages_never_take_a_session_down() {
    for seed in 0..SEEDS {
        let bytes = bytes_of(seed);
        let limits = SessionLimits { message_bytes: 1 << 20, statement_bytes: 1 << 16 };
        let (near, far) = tokio::io::duplex(1 << 20);
        let (reader, writer) = tokio::io::split(far);
        let cancel = CancelFlag::default();
        let log = Log::default();
        let executor = ScriptExecutor::new(Log::clone(&log), cancel.clone());
        let session = Session::new(executor, Gate::new(reader), Replies::new(writer), cancel, limits);
        let client = async {
            let (mut reader, mut writer) = tokio::io::split(near);
            // The session may close in the middle; then there is nobody left to write to.
            let _ = writer.write_all(&bytes).await;
            let _ = writer.shutdown().await;
            let mut replies = Vec::new();
            reader.read_to_end(&mut replies).await.unwrap();
            replies
        };
        let (replies, ()) = tokio::join!(client, session.run());
        assert!(log.lock().closed, "seed {seed}: the session did not end well");
        check_frames(seed, &replies);
    }
}

/// Whatever came in, what went out are whole messages.
fn check_frames(seed: u64, mut replies: &[u8]) {
    while !replies.is_empty() {
        assert!(replies.len() >= 5, "seed {seed}: half a message");
        let length = u32::from_be_bytes(replies[1..5].try_into().unwrap()) as usize;
        assert!(replies[0].is_ascii_alphanumeric() && length < replies.len(), "seed {seed}: not a message");
        replies = &replies[length + 1..];
    }
}
