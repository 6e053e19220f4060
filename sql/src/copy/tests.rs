use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Schema;
use proto::ColumnType;

use super::*;

fn decode(data: &[u8], options: CopyOptions, piece: usize) -> Result<Vec<Vec<Option<String>>>, SqlError> {
    let schema =
        Schema::new(vec![ColumnType::TEXT.arrow_field("a", true), ColumnType::TEXT.arrow_field("b", false)]);
    let copy =
        CopyIn { table: "t".to_owned(), schema: Arc::new(schema), options, progress: Default::default() };
    let mut decoder = CopyDecoder::new(copy, InputContext::default())?;
    let mut batches = Vec::new();
    for piece in data.chunks(piece) {
        decoder.push(piece)?;
        batches.extend(decoder.take_full()?);
    }
    batches.extend(decoder.finish()?);
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let value = |column: usize| {
                let texts = batch.column(column).as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            rows.push(vec![value(0), value(1)]);
        }
    }
    Ok(rows)
}

fn rows(data: &[u8], options: &CopyOptions) -> Result<Vec<Vec<Option<String>>>, SqlError> {
    let whole = decode(data, options.clone(), data.len().max(1));
    for piece in 1..data.len().min(12) {
        let cut = decode(data, options.clone(), piece);
        assert_eq!(cut.as_ref().ok(), whole.as_ref().ok(), "pieces of {piece}");
        assert_eq!(cut.err(), whole.clone().err(), "pieces of {piece}");
    }
    whole
}

fn row(a: Option<&str>, b: Option<&str>) -> Vec<Option<String>> {
    vec![a.map(str::to_owned), b.map(str::to_owned)]
}

fn text_options() -> CopyOptions {
    CopyOptions::of_format(CopyFormat::Text)
}

fn csv_options() -> CopyOptions {
    CopyOptions::of_format(CopyFormat::Csv)
}

#[test]
fn text_lines_end_as_the_first_one_does() {
    let expected = vec![row(Some("1"), Some("x")), row(Some("2"), Some("y"))];
    for data in [&b"1\tx\n2\ty\n"[..], b"1\tx\r\n2\ty\r\n", b"1\tx\r2\ty\r", b"1\tx\n2\ty"] {
        assert_eq!(rows(data, &text_options()).unwrap(), expected);
    }
    let error = rows(b"1\tx\n2\ty\r\n", &text_options()).unwrap_err();
    assert_eq!(error.message, "literal carriage return found in data");
    assert_eq!(error.context.unwrap(), "COPY t, line 2");
    let error = rows(b"1\tx\r\n2\ty\n", &text_options()).unwrap_err();
    assert_eq!(error.message, "literal newline found in data");
}

#[test]
fn text_escapes_and_the_end_mark() {
    assert_eq!(
        rows(b"a\\tb\\n\t\\N\n\\\\N\t\\101\\x4aq\\q\n", &text_options()).unwrap(),
        [row(Some("a\tb\n"), None), row(Some("\\N"), Some("AJqq"))]
    );
    // A backslash before the line's end makes it data.
    assert_eq!(rows(b"a\\\nb\tc\n", &text_options()).unwrap(), [row(Some("a\nb"), Some("c"))]);
    assert_eq!(rows(b"1\tx\n\\.\nrubbish", &text_options()).unwrap(), [row(Some("1"), Some("x"))]);
    let error = rows(b"\\377\tx\n", &text_options()).unwrap_err();
    assert_eq!(error.message, "invalid byte sequence for encoding \"UTF8\": 0xff");
    let options = CopyOptions { delimiter: b'|', null: "NULL".to_owned(), ..text_options() };
    assert_eq!(rows(b"a\\|b|NULL\n", &options).unwrap(), [row(Some("a|b"), None)]);
}

#[test]
fn headers_are_skipped_or_checked() {
    let present = CopyOptions { header: CopyHeader::Present, ..text_options() };
    assert_eq!(rows(b"anything\n1\tx\n", &present).unwrap(), [row(Some("1"), Some("x"))]);
    let matching = CopyOptions { header: CopyHeader::Match, ..csv_options() };
    assert_eq!(rows(b"a,b\n1,x\n", &matching).unwrap(), [row(Some("1"), Some("x"))]);
    let error = rows(b"a,c\n1,x\n", &matching).unwrap_err();
    assert_eq!(error.message, "column name mismatch in header line field 2: got \"c\", expected \"b\"");
    let error = rows(b"a\n1,x\n", &matching).unwrap_err();
    assert_eq!(error.message, "wrong number of fields in header line: got 1, expected 2");
}

#[test]
fn csv_quotes_nulls_and_lines() {
    assert_eq!(
        rows(b"\"a,\"\"b\"\"\",\n\"\",\"x\ny\"\n a\"b\"c ,z\n", &csv_options()).unwrap(),
        [row(Some("a,\"b\""), None), row(Some(""), Some("x\ny")), row(Some(" abc "), Some("z"))]
    );
    let error = rows(b"1,\"x\ny\"\n2\n", &csv_options()).unwrap_err();
    assert_eq!(error.message, "missing data for column \"b\"");
    assert_eq!(error.context.unwrap(), "COPY t, line 2: \"2\"");
    assert_eq!(rows(b"1,x\n\\.\nrubbish\"", &csv_options()).unwrap(), [row(Some("1"), Some("x"))]);
    let escaped = CopyOptions { escape: b'\\', ..csv_options() };
    assert_eq!(rows(b"\"a\\\"b\",\"c\\\\\"\n", &escaped).unwrap(), [row(Some("a\"b"), Some("c\\"))]);
    let options = CopyOptions {
        null: "NIL".to_owned(),
        force_null: CopyColumns::Named(vec!["a".to_owned()]),
        force_not_null: CopyColumns::Named(vec!["b".to_owned()]),
        ..csv_options()
    };
    assert_eq!(rows(b"\"NIL\",NIL\n", &options).unwrap(), [row(None, Some("NIL"))]);
    let error = rows(b"1,x\r\n2,y\n", &csv_options()).unwrap_err();
    assert_eq!(error.message, "unquoted newline found in data");
}

#[test]
fn empty_data_is_no_rows() {
    assert!(rows(b"", &text_options()).unwrap().is_empty());
    assert!(rows(b"", &csv_options()).unwrap().is_empty());
    assert_eq!(rows(b"\n", &text_options()).unwrap_err().message, "missing data for column \"b\"");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for (options, message) in [
        (
            CopyOptions { delimiter: b'\n', ..text_options() },
            "COPY delimiter cannot be newline or carriage return",
        ),
        (CopyOptions { delimiter: b'a', ..text_options() }, "COPY delimiter cannot be \"a\""),
        (CopyOptions { quote: b',', ..csv_options() }, "COPY delimiter and quote must be different"),
        (
            CopyOptions { null: "a,b".to_owned(), ..csv_options() },
            "COPY delimiter character must not appear in the NULL specification",
        ),
    ] {
        assert_eq!(options.check().unwrap_err().message, message);
    }
}

#[test]
fn long_values_are_cut_in_the_context_line() {
    let long = "x".repeat(300);
    let error = rows(format!("{long}\n").as_bytes(), &text_options()).unwrap_err();
    assert_eq!(error.context.unwrap(), format!("COPY t, line 1: \"{}...\"", "x".repeat(100)));
}
