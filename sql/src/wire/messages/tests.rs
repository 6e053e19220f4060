use super::*;

fn decode(tag: u8, body: &[u8]) -> Result<Message, SqlError> {
    Message::decode(Frame { tag, body: Bytes::copy_from_slice(body) })
}

const BIND: &[u8] = b"p\0s\0\0\x02\0\x00\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\x01";

#[test]
fn messages_are_decoded() {
    assert_eq!(decode(b'Q', b"SELECT 1\0").unwrap(), Message::Query(Query::new("SELECT 1".to_owned())));
    assert_eq!(
        decode(b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17").unwrap(),
        Message::Parse(Parse::new(Some("s".to_owned()), "SELECT $1".to_owned(), vec![23]))
    );
    let Message::Bind(bind) = decode(b'B', BIND).unwrap() else { panic!("no bind") };
    assert_eq!(bind.portal_name.as_deref(), Some("p"));
    assert_eq!(bind.parameter_format_codes, [0, 1]);
    assert_eq!(bind.parameters, [Some(Bytes::from_static(b"x")), None]);
    assert_eq!(bind.result_column_format_codes, [1]);
    assert_eq!(decode(b'E', b"\0\0\0\0\x05").unwrap(), Message::Execute(Execute::new(None, 5)));
    assert_eq!(decode(b'd', b"\0\xff").unwrap(), Message::CopyData(Bytes::from_static(b"\0\xff")));
}

#[test]
fn a_body_cut_or_longer_than_its_message_is_refused_and_never_read_past() {
    for cut in 0..BIND.len() {
        assert_eq!(decode(b'B', &BIND[..cut]).unwrap_err().kind, ErrorKind::ProtocolViolation, "{cut}");
    }
    let mut longer = BIND.to_vec();
    longer.push(0);
    assert_eq!(decode(b'B', &longer).unwrap_err().message, "invalid message format");
    // A count that promises more than the frame holds must not be allocated.
    assert_eq!(decode(b'B', b"\0\0\xff\xff").unwrap_err().message, "insufficient data left in message");
    assert_eq!(decode(b'P', b"\0\0\xff\xff\0").unwrap_err().message, "insufficient data left in message");
    assert_eq!(
        decode(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0").unwrap_err().message,
        "invalid argument size in bind message"
    );
    assert_eq!(decode(b'D', b"X\0").unwrap_err().message, "invalid DESCRIBE message subtype 88");
}

#[test]
fn text_must_be_utf8() {
    for (bytes, shown) in [
        (&b"ab\xff\0"[..], "0xff"),
        (b"\xc3(\0", "0xc3 0x28"),
        (b"\xe2\x82\0", "0xe2 0x82"),
        (b"\xf0\x9f\x98x\0", "0xf0 0x9f 0x98 0x78"),
    ] {
        let error = decode(b'Q', bytes).unwrap_err();
        assert_eq!(error.kind, ErrorKind::CharacterNotInRepertoire);
        assert_eq!(error.message, format!("invalid byte sequence for encoding \"UTF8\": {shown}"));
    }
}
