use super::*;

#[test]
fn identifiers_are_quoted_like_postgresql() {
    for (name, printed) in [
        ("items", "items"),
        ("Items", "\"Items\""),
        ("1st", "\"1st\""),
        ("two words", "\"two words\""),
        ("a\"b", "\"a\"\"b\""),
        ("user", "\"user\""),
        ("char", "\"char\""),
        ("name", "name"),
        ("order", "\"order\""),
        ("", "\"\""),
    ] {
        assert_eq!(quote_identifier(name), printed);
    }
    assert_eq!(quote_literal("it's"), "'it''s'");
    assert_eq!(quote_literal("a\\b"), "E'a\\\\b'");
}

#[test]
fn qualified_names_are_read_back() {
    assert_eq!(split("public.Items"), Ok(vec!["public".to_owned(), "items".to_owned()]));
    assert_eq!(split(" \"A.b\" . c "), Ok(vec!["A.b".to_owned(), "c".to_owned()]));
    for name in ["plain", "With Space", "quo\"te", "select"] {
        assert_eq!(split(&quote_identifier(name)), Ok(vec![name.to_owned()]));
    }
    for bad in ["", "a.", ".a", "\"open", "a b", "\"\""] {
        assert_eq!(split(bad).map_err(|error| error.kind), Err(ErrorKind::InvalidName), "{bad:?}");
    }
}
