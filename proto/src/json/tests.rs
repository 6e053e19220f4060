use super::{append_key, canonical, validate};
use crate::ErrorKind;

#[test]
fn canonical_texts_are_postgresqls() {
    for (given, shown) in [
        (r#" {"bb":1,"a":2,"bb":3} "#, r#"{"a": 2, "bb": 3}"#),
        ("[1e2, 1.50, -0, -0.0, 1E-3, 12e-1]", "[100, 1.50, 0, 0.0, 0.001, 1.2]"),
        (r#""\u00e9\t\u0001\ud83d\ude00""#, "\"\u{e9}\\t\\u0001\u{1f600}\""),
        ("[ ]", "[]"),
        ("{ }", "{}"),
        ("true", "true"),
    ] {
        let once = canonical(given).unwrap();
        assert_eq!(once, shown);
        assert_eq!(canonical(&once).unwrap(), once);
        validate(given).unwrap();
    }
}

#[test]
fn errors_are_postgresqls() {
    for (given, detail) in [
        ("", "The input string ended unexpectedly."),
        ("{", "The input string ended unexpectedly."),
        ("[1,]", "Expected JSON value, but found \"]\"."),
        ("{a:1}", "Token \"a\" is invalid."),
        ("{1:1}", "Expected string or \"}\", but found \"1\"."),
        ("{\"a\" 1}", "Expected \":\", but found \"1\"."),
        ("{\"a\":1,}", "Expected string, but found \"}\"."),
        ("[1 2]", "Expected \",\" or \"]\", but found \"2\"."),
        ("1 2", "Expected end of input, but found \"2\"."),
        ("01", "Token \"01\" is invalid."),
        ("1.", "Token \"1.\" is invalid."),
        ("\"\\x\"", "Escape sequence \"\\x\" is invalid."),
        ("\"a\nb\"", "Character with value 0x0a must be escaped."),
        ("\"a", "Token \"\"a\" is invalid."),
    ] {
        let error = validate(given).unwrap_err();
        assert_eq!(error.message, "invalid input syntax for type json");
        assert_eq!(error.detail.as_deref(), Some(detail), "{given}");
    }
    assert_eq!(canonical("\"\\u0000\"").unwrap_err().kind, ErrorKind::UntranslatableCharacter);
    validate("\"\\u0000\"").unwrap();
    assert!(canonical("\"\\ud800\"").is_err());
    assert!(validate(&"[".repeat(100_000)).is_err());
}

#[test]
fn keys_order_as_jsonb_does() {
    let sorted = [
        "null",
        "\"a\"",
        "\"b\"",
        "-10",
        "-1.5",
        "0",
        "0.001",
        "1.5",
        "10",
        "false",
        "true",
        "[1]",
        "[2]",
        "[1, 2]",
        "{}",
        "{\"a\": 1}",
        "{\"b\": 1}",
        "{\"a\": 1, \"b\": 1}",
    ];
    let keys: Vec<Vec<u8>> = sorted
        .iter()
        .map(|text| {
            let mut key = Vec::new();
            append_key(text, &mut key);
            key
        })
        .collect();
    assert!(keys.is_sorted());
    let key = |text: &str| {
        let mut key = Vec::new();
        append_key(text, &mut key);
        key
    };
    assert_eq!(key("[1.50, 100]"), key("[1.5, 100.0]"));
}
