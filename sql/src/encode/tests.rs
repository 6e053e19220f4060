use std::sync::Arc;

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray,
    FixedSizeListArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, NullArray, StringArray, StringViewArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{Float32Type, Int32Type, IntervalMonthDayNano};
use proto::TypeKind;

use super::*;

fn encoded(array: impl Array + 'static, ty: impl Into<ColumnType>, format: Format) -> Vec<u8> {
    let array: ArrayRef = Arc::new(array);
    let writer = ColumnWriter::new(&array, ty.into(), format, &EncodeContext::default()).unwrap();
    let mut out = Vec::new();
    writer.write(0, &mut out);
    out
}

fn text(array: impl Array + 'static, ty: impl Into<ColumnType>) -> String {
    String::from_utf8(encoded(array, ty, Format::Text)).unwrap()
}

fn hex(array: impl Array + 'static, ty: impl Into<ColumnType>) -> String {
    encoded(array, ty, Format::Binary).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 2024-02-29 12:34:56.789 UTC in microseconds since 1970.
const LEAP: i64 = 1_709_210_096_789_000;

#[test]
fn text_forms_are_postgresql_s() {
    assert_eq!(text(BooleanArray::from(vec![true]), TypeKind::Bool), "t");
    assert_eq!(text(Int16Array::from(vec![-7]), TypeKind::Int2), "-7");
    assert_eq!(text(Int64Array::from(vec![i64::MIN]), TypeKind::Int8), "-9223372036854775808");
    assert_eq!(text(Float32Array::from(vec![0.1]), TypeKind::Float4), "0.1");
    assert_eq!(text(Float64Array::from(vec![1e21]), TypeKind::Float8), "1e+21");
    assert_eq!(text(Float64Array::from(vec![f64::NEG_INFINITY]), TypeKind::Float8), "-Infinity");
    assert_eq!(
        text(Decimal128Array::from(vec![-1050]).with_precision_and_scale(10, 2).unwrap(), TypeKind::Numeric),
        "-10.50"
    );
    assert_eq!(text(BinaryArray::from(vec![&b"\x00\xab"[..]]), TypeKind::Bytea), "\\x00ab");
    assert_eq!(text(Date32Array::from(vec![19_782]), TypeKind::Date), "2024-02-29");
    assert_eq!(text(Date32Array::from(vec![-719_163]), TypeKind::Date), "0001-12-31 BC");
    assert_eq!(text(Date32Array::from(vec![i32::MAX]), TypeKind::Date), "infinity");
    assert_eq!(text(Time64MicrosecondArray::from(vec![45_296_500_000]), TypeKind::Time), "12:34:56.5");
    assert_eq!(
        text(TimestampMicrosecondArray::from(vec![LEAP]), TypeKind::Timestamp),
        "2024-02-29 12:34:56.789"
    );
    assert_eq!(
        text(
            IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(14, 3, 14_706_789_000_000)]),
            TypeKind::Interval
        ),
        "1 year 2 mons 3 days 04:05:06.789"
    );
    let uuid = FixedSizeBinaryArray::try_from_iter([[0xab_u8; 16]].iter()).unwrap();
    assert_eq!(text(uuid, TypeKind::Uuid), "abababab-abab-abab-abab-abababababab");
    assert_eq!(text(UInt32Array::from(vec![4_000_000_000]), TypeKind::Oid), "4000000000");
    assert_eq!(text(StringArray::from(vec!["pg_class"]), TypeKind::Regclass), "pg_class");
    assert_eq!(text(StringArray::from(vec!["{\"a\": 1}"]), TypeKind::Jsonb), "{\"a\": 1}");
}

#[test]
fn instants_are_shown_in_the_session_s_zone() {
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![LEAP]).with_timezone("UTC"));
    for (zone, shown) in [
        ("UTC", "2024-02-29 12:34:56.789+00"),
        ("Europe/Berlin", "2024-02-29 13:34:56.789+01"),
        ("Asia/Kolkata", "2024-02-29 18:04:56.789+05:30"),
        ("-7", "2024-02-29 05:34:56.789-07"),
    ] {
        let context = EncodeContext { zone: crate::settings::value::zone_of(zone), bytea_escape: false };
        let writer = ColumnWriter::new(&array, ColumnType::TIMESTAMPTZ, Format::Text, &context).unwrap();
        let mut out = Vec::new();
        writer.write(0, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), shown);
    }
}

#[test]
fn vectors_have_both_forms_in_either_list() {
    let fixed =
        || FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([Some([Some(1.0), Some(-0.5)])], 2);
    let list = || ListArray::from_iter_primitive::<Float32Type, _, _>([Some([Some(1.0), Some(-0.5)])]);
    assert_eq!(text(fixed(), ColumnType::vector(2)), "[1,-0.5]");
    assert_eq!(text(list(), TypeKind::Vector), "[1,-0.5]");
    assert_eq!(hex(fixed(), ColumnType::vector(2)), "000200003f800000bf000000");
    assert_eq!(hex(list(), TypeKind::Vector), "000200003f800000bf000000");
    assert_eq!(text(fixed().slice(0, 1), TypeKind::Vector), "[1,-0.5]");
}

#[test]
fn arrays_are_quoted_in_text_and_typed_in_binary() {
    let texts = ListArray::from_nested_iter::<arrow::array::StringBuilder, _, _, _>([Some([
        Some("a b"),
        None,
        Some("NULL"),
        Some("q\"\\"),
        Some(""),
        Some("plain"),
    ])]);
    assert_eq!(text(texts, ColumnType::array_of(TypeKind::Text)), r#"{"a b",NULL,"NULL","q\"\\","",plain}"#);
    let ints = || ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
    assert_eq!(text(ints(), ColumnType::array_of(TypeKind::Int4)), "{1,NULL}");
    assert_eq!(
        hex(ints(), ColumnType::array_of(TypeKind::Int4)),
        "000000010000000100000017000000020000000100000004 00000001ffffffff".replace(' ', "")
    );
    let empty = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(Vec::<Option<i32>>::new())]);
    assert_eq!(hex(empty, ColumnType::array_of(TypeKind::Int4)), "000000000000000000000017");
    let vector =
        ListArray::from_iter_primitive::<arrow::datatypes::Int16Type, _, _>([Some([Some(1), Some(2)])]);
    assert_eq!(text(vector.clone(), TypeKind::Int2vector), "1 2");
    assert_eq!(
        hex(vector, TypeKind::Int2vector),
        "0000000100000000000000150000000200000000000000020001000000020002"
    );
}

#[test]
fn binary_forms_are_postgresql_s() {
    assert_eq!(hex(BooleanArray::from(vec![true]), TypeKind::Bool), "01");
    assert_eq!(hex(Int32Array::from(vec![-2]), TypeKind::Int4), "fffffffe");
    assert_eq!(hex(Float64Array::from(vec![1.5]), TypeKind::Float8), "3ff8000000000000");
    assert_eq!(hex(Date32Array::from(vec![10_957]), TypeKind::Date), "00000000");
    assert_eq!(hex(Date32Array::from(vec![i32::MIN]), TypeKind::Date), "80000000");
    assert_eq!(
        hex(TimestampMicrosecondArray::from(vec![EPOCH_MICROS + 1]), TypeKind::Timestamp),
        "0000000000000001"
    );
    assert_eq!(
        hex(
            IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3_000)]),
            TypeKind::Interval
        ),
        "00000000000000030000000200000001"
    );
    assert_eq!(hex(StringArray::from(vec!["{}"]), TypeKind::Jsonb), "017b7d");
    assert_eq!(hex(StringArray::from(vec!["é"]), TypeKind::Text), "c3a9");
    let numeric = |unscaled: i128, scale: i8| {
        hex(
            Decimal128Array::from(vec![unscaled]).with_precision_and_scale(38, scale).unwrap(),
            TypeKind::Numeric,
        )
    };
    // ndigits, weight, sign, dscale, digits: as numeric_send gives them.
    assert_eq!(numeric(0, 0), "0000000000000000");
    assert_eq!(numeric(1, 0), "00010000000000000001");
    assert_eq!(numeric(-123_456_789, 4), "0003000140000004000109291a85");
    assert_eq!(numeric(10_000, 0), "00010001000000000001");
    assert_eq!(numeric(5, 5), "0001fffe000000051388");
}

#[test]
fn numeric_binary_reads_back() {
    for (unscaled, scale, text) in [
        ("0", 0, "0"),
        ("150", 2, "1.50"),
        ("-123456789", 4, "-12345.6789"),
        ("5", 5, "0.00005"),
        ("10000", 0, "10000"),
    ] {
        let mut bytes = Vec::new();
        numeric::write_binary(unscaled, scale, &mut bytes);
        let read = numeric::text_of_binary(&bytes).unwrap();
        let sign = if read.starts_with('-') { "-" } else { "" };
        let digits = read.trim_start_matches('-').trim_start_matches('0');
        let digits = if digits.is_empty() || digits.starts_with('.') {
            format!("0{digits}")
        } else {
            digits.to_owned()
        };
        assert_eq!(format!("{sign}{digits}"), text);
    }
    for bytes in [&b""[..], b"\0\x01\0\0\0\0\0\0", b"\0\0\0\0\x12\x34\0\0", b"\0\x01\0\0\0\0\0\0\x27\x10"] {
        assert_eq!(numeric::text_of_binary(bytes).unwrap_err().kind, ErrorKind::InvalidBinaryRepresentation);
    }
}

#[test]
fn other_carriers_are_brought_into_form() {
    assert_eq!(text(StringViewArray::from(vec!["v"]), TypeKind::Text), "v");
    let dictionary: DictionaryArray<Int32Type> = vec!["d"].into_iter().collect();
    assert_eq!(text(dictionary, TypeKind::Text), "d");
    assert_eq!(text(Int64Array::from(vec![5]), TypeKind::Int4), "5");
    assert_eq!(text(Int64Array::from(vec![5]), TypeKind::Numeric), "5");
    let array: ArrayRef = Arc::new(NullArray::new(2));
    for format in [Format::Text, Format::Binary] {
        let writer =
            ColumnWriter::new(&array, ColumnType::vector(3), format, &EncodeContext::default()).unwrap();
        let mut out = Vec::new();
        writer.write_field(1, &mut out);
        assert_eq!(out, [255; 4]);
    }
    let array: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let error = ColumnWriter::new(&array, ColumnType::BOOL, Format::Binary, &EncodeContext::default());
    assert_eq!(error.unwrap_err().kind, ErrorKind::Internal);
}

#[test]
fn nulls_are_minus_one_and_rows_are_messages() {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("a", Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef, true),
        ("b", Arc::new(StringArray::from(vec!["x", "yz"])) as ArrayRef, false),
    ])
    .unwrap();
    let columns =
        [ResultColumn::computed("a", ColumnType::INT4), ResultColumn::computed("b", ColumnType::TEXT)];
    let writer = RowWriter::new(
        &batch,
        &columns,
        |column| if column == 0 { Format::Binary } else { Format::Text },
        &EncodeContext::default(),
    )
    .unwrap();
    let mut out = Vec::new();
    writer.write_row(0, &mut out).unwrap();
    assert_eq!(out, b"D\0\0\0\x13\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x01x");
    out.clear();
    writer.write_row(1, &mut out).unwrap();
    assert_eq!(out, b"D\0\0\0\x10\0\x02\xff\xff\xff\xff\0\0\0\x02yz");
    assert!(RowWriter::new(&batch, &columns[..1], |_| Format::Text, &EncodeContext::default()).is_err());
}
