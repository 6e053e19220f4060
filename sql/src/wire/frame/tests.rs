use tokio::io::{AsyncWriteExt, duplex};

use super::*;

/// Feeds bytes to a gate and closes.
async fn gate_over(bytes: &[u8]) -> Gate<tokio::io::DuplexStream> {
    let (mut near, far) = duplex(bytes.len().max(1));
    near.write_all(bytes).await.unwrap();
    Gate::new(far)
}

#[tokio::test]
async fn frames_are_cut_exactly() {
    let mut gate = gate_over(b"Q\0\0\0\x06a\0S\0\0\0\x04X").await;
    assert_eq!(gate.frame(100).await.unwrap(), Frame { tag: b'Q', body: Bytes::from_static(b"a\0") });
    assert_eq!(gate.buffered_tag(), Some(b'S'));
    assert_eq!(gate.frame(100).await.unwrap(), Frame { tag: b'S', body: Bytes::new() });
    assert_eq!(gate.buffered_tag(), None);
    assert!(matches!(gate.frame(100).await, Err(GateError::Broken(_))), "half a frame at the end");
    let mut gate = gate_over(b"").await;
    assert!(matches!(gate.frame(100).await, Err(GateError::Closed)));
}

#[tokio::test]
async fn a_promised_length_is_not_allocated() {
    let mut bytes = vec![b'Q'];
    bytes.extend_from_slice(&(200_u32 << 20).to_be_bytes());
    bytes.extend_from_slice(&[b'x'; 1000]);
    let mut gate = gate_over(&bytes).await;
    gate.open_up();
    assert!(matches!(gate.frame(DEFAULT_LIMIT).await, Err(GateError::Broken(_))));
    assert!(gate.buffer.capacity() <= 4 << 20, "{} bytes for a promise", gate.buffer.capacity());
}

#[tokio::test]
async fn lengths_are_limited_by_type() {
    for (bytes, refusal) in [
        (&b"Q\0\0\0\x65"[..], "message of 101 bytes exceeds the limit of 100 bytes"),
        (b"E\0\0\x40\0", "message of 16384 bytes exceeds the limit of 100 bytes"),
        (b"Q\0\0\0\x03", "invalid message length"),
        (b"?\0\0\0\x04", "invalid frontend message type 63"),
    ] {
        let Err(GateError::Refused(error)) = gate_over(bytes).await.frame(100).await else {
            panic!("{bytes:?} was taken");
        };
        assert_eq!(error.message, refusal);
    }
}

#[tokio::test]
async fn startup_packets_have_postgresql_s_bounds() {
    for bytes in [&b"\0\0\0\x07"[..], b"\0\0\x27\x11", b"\x16\x03\x01\x02", b"\xff\xff\xff\xff"] {
        let Err(GateError::Refused(error)) = gate_over(bytes).await.startup_packet().await else {
            panic!("{bytes:?} was taken");
        };
        assert_eq!(error.message, "invalid length of startup packet");
    }
    let mut gate = gate_over(b"\0\0\0\x08\x04\xd2\x16\x2f").await;
    assert_eq!(gate.startup_packet().await.unwrap(), &b"\x04\xd2\x16\x2f"[..]);
    assert!(gate.buffer.capacity() <= 4096);
}

#[tokio::test]
async fn watching_takes_in_a_bounded_amount_and_notices_the_end() {
    let (mut near, far) = duplex(1 << 16);
    let mut gate = Gate::new(far);
    gate.open_up();
    let flood = async {
        let chunk = vec![b'd'; 1 << 16];
        loop {
            near.write_all(&chunk).await.unwrap();
        }
    };
    tokio::select! {
        () = gate.watch() => panic!("the client is not gone"),
        () = flood => {}
        () = async { for _ in 0..10_000 { tokio::task::yield_now().await } } => {}
    }
    assert!(gate.buffer.len() <= WATCH_LIMIT + READ_STEP * 2);
    let (near, far) = duplex(16);
    let mut gate = Gate::new(far);
    drop(near);
    gate.watch().await;
}
