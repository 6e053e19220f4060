use super::*;

const TEXT: &str = "# about this file\n\n# columns: id, name\nquery IT rowsort\nSELECT 1, 'a'\n----\n1 a\n\n\
    # message: division by zero\nstatement error (22012)\nSELECT 1/0\n\n# restart\n# tag: COMMIT\n\
    connection other\nstatement ok\nCOMMIT\n";

#[test]
fn comments_belong_to_the_record_below() {
    let steps = parse(TEXT, Path::new("x.slt")).unwrap();
    assert_eq!(steps.len(), 3);
    assert_eq!(steps[0].columns.as_deref(), Some("id, name"));
    assert_eq!(steps[0].expected, Expected::Rows { lines: vec!["1 a".to_owned()], sorted: true });
    assert_eq!(steps[0].line, 4);
    assert_eq!(steps[1].message.as_deref(), Some("division by zero"));
    assert_eq!(steps[1].expected, Expected::Error { code: "22012".to_owned() });
    assert_eq!(steps[1].columns, None);
    assert_eq!(steps[2].session, "other");
    assert_eq!(steps[2].tag.as_deref(), Some("COMMIT"));
    assert!(steps[2].restart && !steps[1].restart);
}

#[test]
fn what_the_runner_does_not_know_is_refused() {
    assert!(parse("sleep 1s\n", Path::new("x.slt")).is_err());
    assert!(parse("halt\n", Path::new("x.slt")).is_err());
}
