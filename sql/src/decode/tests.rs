use std::sync::Arc;

use super::*;
use crate::encode::{ColumnWriter, EncodeContext};

fn text_parameter(text: &str, ty: impl Into<ColumnType>) -> Result<ScalarValue, SqlError> {
    parameter(Some(text.as_bytes()), Format::Text, ty.into(), &InputContext::default(), 1).map(|p| p.value)
}

/// Values of every type in text, as they are printed back.
const VALUES: &[(TypeKind, &str)] = &[
    (TypeKind::Bool, "t"),
    (TypeKind::Int2, "-32768"),
    (TypeKind::Int4, "2147483647"),
    (TypeKind::Int8, "-9223372036854775808"),
    (TypeKind::Float4, "1.5e+38"),
    (TypeKind::Float8, "-0.1"),
    (TypeKind::Text, "tab\t'quote' é"),
    (TypeKind::Varchar, ""),
    (TypeKind::Bytea, "\\x00ff10"),
    (TypeKind::Date, "2024-02-29"),
    (TypeKind::Time, "23:59:59.999999"),
    (TypeKind::Timestamp, "1999-12-31 23:59:59.5"),
    (TypeKind::Timestamptz, "2024-02-29 12:34:56.789+00"),
    (TypeKind::Interval, "1 year 2 mons 3 days 04:05:06.7"),
    (TypeKind::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    (TypeKind::Json, "{\"a\": 1}"),
    (TypeKind::Jsonb, "[1, 2]"),
    (TypeKind::Oid, "4294967295"),
    (TypeKind::Vector, "[1,2.5,-3]"),
];

#[test]
fn what_is_sent_in_either_form_comes_back_the_same() {
    let context = EncodeContext::default();
    let types = VALUES.iter().map(|&(kind, text)| (ColumnType::scalar(kind), text.to_owned()));
    let arrays = VALUES
        .iter()
        .filter(|(kind, text)| {
            !matches!(kind, TypeKind::Vector) && !text.contains(['\t', '"', ' ', '\\', ','])
        })
        .map(|&(kind, text)| {
            let shown = if text.is_empty() { "\"\"" } else { text };
            (ColumnType::array_of(kind), format!("{{{shown},NULL}}"))
        });
    for (ty, text) in types.chain(arrays) {
        let value = text_parameter(&text, ty).unwrap_or_else(|error| panic!("{ty:?}: {error}"));
        let array = value.to_array().unwrap();
        for format in [Format::Text, Format::Binary] {
            let writer = ColumnWriter::new(&array, ty, format, &context).unwrap();
            let mut bytes = Vec::new();
            writer.write(0, &mut bytes);
            if format == Format::Text {
                assert_eq!(String::from_utf8(bytes.clone()).unwrap(), text);
            }
            let again = parameter(Some(&bytes), format, ty, &InputContext::default(), 1).unwrap();
            assert_eq!(again.value, value, "{ty:?} {format:?}");
        }
    }
}

#[test]
fn every_storable_type_takes_both_formats() {
    for &kind in TypeKind::ALL {
        let ty = ColumnType::scalar(kind);
        if ty.is_storable() {
            let null = parameter(None, Format::Binary, ty, &InputContext::default(), 1).unwrap();
            assert!(null.value.is_null());
            assert_eq!(null.value.data_type(), ty.data_type());
            assert!(binary::column(ty, 1, InputContext::default()).is_ok());
        }
    }
}

#[test]
fn binary_lengths_are_checked() {
    let read = |bytes: &[u8], ty: ColumnType| {
        parameter(Some(bytes), Format::Binary, ty, &InputContext::default(), 3).unwrap_err()
    };
    assert_eq!(read(&[1, 2, 3], ColumnType::INT4).kind, ErrorKind::ProtocolViolation);
    let error = read(&[0; 5], ColumnType::INT4);
    assert_eq!(error.message, "incorrect binary data format in bind parameter 3");
    assert_eq!(error.kind, ErrorKind::InvalidBinaryRepresentation);
    assert_eq!(
        read(b"\0\x01\0\x01", ColumnType::scalar(TypeKind::Vector)).message,
        "expected unused to be 0, not 1"
    );
    assert_eq!(read(b"\xc3", ColumnType::TEXT).kind, ErrorKind::CharacterNotInRepertoire);
    assert_eq!(read(b"a\0b", ColumnType::TEXT).message, "invalid byte sequence for encoding \"UTF8\": 0x00");
    let ints = ColumnType::array_of(TypeKind::Int4);
    let good = b"\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\0\0\x07";
    assert!(parameter(Some(good), Format::Binary, ints, &InputContext::default(), 1).is_ok());
    for cut in 0..good.len() {
        assert_eq!(read(&good[..cut], ints).kind, ErrorKind::ProtocolViolation, "{cut}");
    }
    let mut wrong = *good;
    wrong[11] = 20;
    assert_eq!(read(&wrong, ints).kind, ErrorKind::DatatypeMismatch);
}

#[test]
fn a_refused_value_leaves_a_column_as_it_was() {
    for ty in
        [ColumnType::vector(2), ColumnType::INT4, ColumnType::array_of(TypeKind::Int4), ColumnType::TEXT]
    {
        let mut column = binary::column(ty, 2, InputContext::default()).unwrap();
        column.append_null();
        assert!(column.append(b"\0\x03\0\0\xff\xff").is_err());
        column.append_null();
        let array = column.finish().unwrap();
        assert_eq!((array.len(), array.null_count()), (2, 2), "{ty:?}");
    }
}

#[test]
fn text_errors_are_the_type_s() {
    let error = text_parameter("1x", ColumnType::INT4).unwrap_err();
    assert_eq!(error.message, "invalid input syntax for type integer: \"1x\"");
    let error = text_parameter("[1,2]", ColumnType::vector(3)).unwrap_err();
    assert_eq!(error.message, "expected 3 dimensions, not 2");
}

#[test]
fn columns_of_tables_refuse_what_is_too_long() {
    let texts = StringArray::from(vec!["abc"]);
    let ty = ColumnType { kind: TypeKind::Varchar, array: false, typmod: 6 };
    let error = column_of_texts(&texts, ty, &InputContext::default()).unwrap_err();
    assert_eq!(error.message, "value too long for type character varying(2)");
    assert!(column_of_texts(&texts, ColumnType { typmod: 7, ..ty }, &InputContext::default()).is_ok());
}

#[test]
fn execute_s_values_are_fitted() {
    let unknown = Parameter {
        value: ScalarValue::Utf8(Some("[1,2]".to_owned())),
        ty: ColumnType::scalar(TypeKind::Unknown),
    };
    let fitted = fit(unknown, ColumnType::scalar(TypeKind::Vector), &InputContext::default()).unwrap();
    assert!(matches!(&fitted.value, ScalarValue::List(list) if Arc::clone(list).value_length(0) == 2));
    let number = Parameter { value: ScalarValue::Int32(Some(5)), ty: ColumnType::INT4 };
    let fitted = fit(number, ColumnType::INT8, &InputContext::default()).unwrap();
    assert_eq!(fitted.value, ScalarValue::Int64(Some(5)));
}
