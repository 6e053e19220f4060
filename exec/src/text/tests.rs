//! Time zones and round trips of text forms.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use super::*;
use crate::functions::cast_array;

fn shown(instant: &str, zone: &str) -> String {
    let context = InputContext { zone: TimeZone::parse(zone).expect("a zone"), now_micros: 0 };
    let texts = StringArray::from(vec![instant]);
    let parsed = parse_column(&texts, ColumnType::TIMESTAMPTZ, &context).expect("an instant");
    let mut out = String::new();
    write_value(parsed.as_ref(), 0, ColumnType::TIMESTAMPTZ, &context.zone, &mut out).expect("text");
    out
}

#[test]
fn instants_print_in_the_sessions_zone() {
    // SET TIME ZONE …; SELECT '…'::timestamptz
    let cases = [
        ("2026-01-01 00:00:00+00", "UTC", "2026-01-01 00:00:00+00"),
        ("2026-01-01 00:00:00+00", "Europe/Berlin", "2026-01-01 01:00:00+01"),
        ("2026-07-01 00:00:00", "Europe/Berlin", "2026-07-01 00:00:00+02"),
        ("2026-01-01 00:00:00+00", "Asia/Kolkata", "2026-01-01 05:30:00+05:30"),
        ("2026-01-01 00:00:00+00", "america/new_york", "2025-12-31 19:00:00-05"),
        ("2026-01-01 00:00:00+00", "-03:30", "2025-12-31 20:30:00-03:30"),
        // The hour that does not exist, and the one that exists twice.
        ("2026-03-29 02:30:00", "Europe/Berlin", "2026-03-29 03:30:00+02"),
        ("2026-10-25 02:30:00", "Europe/Berlin", "2026-10-25 02:30:00+01"),
    ];
    for (instant, zone, expected) in cases {
        assert_eq!(shown(instant, zone), expected, "{instant} in {zone}");
    }
    assert_eq!(TimeZone::parse("nosuch/zone"), None);
    assert_eq!(TimeZone::parse("+99"), None);
}

#[test]
fn what_is_printed_reads_back() {
    let cases = [
        ("bool", "t"),
        ("int2", "-32768"),
        ("int8", "9223372036854775807"),
        ("float4", "3.4028235e+38"),
        ("float8", "1e-300"),
        ("text", " spaced "),
        ("date", "0044-03-15 BC"),
        ("timestamp", "2026-01-01 10:20:30.000001"),
        ("timestamptz", "1969-12-31 23:59:59.999999+00"),
        ("time", "24:00:00"),
        ("interval", "-1 years -2 mons +3 days -04:05:06.7"),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("bytea", "\\xdeadbeef"),
        ("vector", "[1,-0,1.5e+38]"),
        ("int4[]", "{1,NULL,3}"),
        ("text[]", "{a,\"b c\",\"NULL\",NULL,\"\",\"quo\\\"te\"}"),
        ("vector[]", "{\"[1,2]\",\"[3,4]\"}"),
    ];
    for (name, text) in cases {
        let ty = ColumnType::from_name(name).expect(name);
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let parsed = cast_array(&column, ColumnType::TEXT, ty, true, &InputContext::default()).expect(name);
        let mut out = String::new();
        write_value(parsed.as_ref(), 0, ty, &TimeZone::UTC, &mut out).expect(name);
        assert_eq!(out, text, "{name}");
    }
}
