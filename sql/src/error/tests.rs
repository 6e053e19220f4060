use super::*;

/// The doc comments of the kinds begin with the SQLSTATE they mean; the table must say the same.
#[test]
fn table_agrees_with_the_documented_codes() {
    let source = include_str!("../../../proto/src/error.rs");
    let mut documented = Vec::new();
    let mut code = None;
    let listed = source.split("error_kinds! {\n    ///").nth(1).unwrap();
    for line in format!("    ///{listed}").lines().map(str::trim) {
        if line == "}" {
            break;
        }
        if let Some(comment) = line.strip_prefix("/// ") {
            code = Some(comment[..5].to_owned());
        } else if let Some(name) = line.strip_suffix(',') {
            documented.push((name.to_owned(), code.take().unwrap()));
        }
    }
    assert_eq!(documented.len(), ErrorKind::ALL.len());
    for (&kind, (name, code)) in ErrorKind::ALL.iter().zip(&documented) {
        assert_eq!(format!("{kind:?}"), *name);
        assert_eq!(sqlstate(kind), code, "{name}");
    }
}

#[test]
fn codes_are_unique() {
    let mut codes: Vec<_> = ErrorKind::ALL.iter().map(|&kind| sqlstate(kind)).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), ErrorKind::ALL.len());
}

#[test]
fn fields_carry_everything_the_error_knows() {
    let error = SqlError::new(ErrorKind::UniqueViolation, "m")
        .with_detail("d")
        .with_hint("h")
        .with_position(7)
        .with_context("w")
        .with_table("public", "t")
        .with_column("c")
        .with_constraint("t_pkey");
    let fields = error_fields(ErrorSeverity::Error, &error);
    let text: Vec<String> =
        fields.iter().map(|(tag, value)| format!("{}={value}", char::from(*tag))).collect();
    assert_eq!(text.join(" "), "S=ERROR V=ERROR C=23505 M=m D=d H=h P=7 W=w s=public t=t c=c n=t_pkey");
}
