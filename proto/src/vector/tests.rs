use super::*;

fn parse(text: &str) -> Result<Vec<f32>, (ErrorKind, String, Option<String>)> {
    let mut out = vec![7.0];
    match parse_text(text, &mut out) {
        Ok(count) => {
            assert_eq!(count, out.len() - 1);
            Ok(out.split_off(1))
        }
        Err(error) => {
            assert_eq!(out, [7.0], "an error leaves nothing behind");
            Err((error.kind, error.message, error.detail))
        }
    }
}

fn print(value: f32) -> String {
    let mut out = String::new();
    write_float4(value, &mut out);
    out
}

#[test]
fn text_with_space_and_odd_numbers() {
    assert_eq!(parse(" [ 1. ,\t2.5e0, -3 ] "), Ok(vec![1.0, 2.5, -3.0]));
    assert_eq!(parse("[1e-46]"), Ok(vec![0.0]));
}

#[test]
fn text_errors_are_pgvectors() {
    let detail = |text: &str| parse(text).map_err(|(kind, _, detail)| (kind, detail.unwrap_or_default()));
    let syntax = ErrorKind::InvalidTextRepresentation;
    assert_eq!(detail("1,2"), Err((syntax, "Vector contents must start with \"[\".".into())));
    assert_eq!(detail("[1,2"), Err((syntax, "Unexpected end of input.".into())));
    assert_eq!(detail("[1]x"), Err((syntax, "Junk after closing right brace.".into())));
    assert_eq!(detail("[]"), Err((ErrorKind::DataException, String::new())));
    assert_eq!(detail("[nan]"), Err((ErrorKind::DataException, String::new())));
    assert_eq!(detail("[-Infinity]"), Err((ErrorKind::DataException, String::new())));
    assert_eq!(
        parse("[4e38]"),
        Err((ErrorKind::NumericValueOutOfRange, "\"4e38\" is out of range for type vector".into(), None))
    );
    assert_eq!(detail("[1,,2]"), Err((syntax, String::new())));
    assert_eq!(detail("[a]"), Err((syntax, String::new())));
}

#[test]
fn numbers_print_like_postgresql() {
    assert_eq!(print(1.5e38), "1.5e+38");
    assert_eq!(print(-0.0), "-0");
    assert_eq!(print(0.1), "0.1");
    assert_eq!(print(1e-5), "1e-05");
    assert_eq!(print(0.0001), "0.0001");
    assert_eq!(print(123_456.0), "123456");
    assert_eq!(print(1_234_567.0), "1.234567e+06");
    let mut out = String::new();
    write_float8(0.057_190_958_417_936_53, &mut out);
    write_float8(1e15, &mut out);
    assert_eq!(out, "0.057190958417936531e+15");
}

#[test]
fn binary_goes_there_and_back() {
    let mut bytes = Vec::new();
    write_binary(&[1.0, -2.5], &mut bytes);
    let mut out = Vec::new();
    assert_eq!(parse_binary(&bytes, &mut out), Ok(2));
    assert_eq!(out, [1.0, -2.5]);
    bytes[3] = 1;
    assert_eq!(
        parse_binary(&bytes, &mut out).map_err(|e| e.message),
        Err("expected unused to be 0, not 1".into())
    );
    assert_eq!(parse_binary(&[0], &mut out).map_err(|e| e.kind), Err(ErrorKind::InvalidBinaryRepresentation));
}
