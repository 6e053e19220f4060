//! The DETAIL line of a duplicate key, as PostgreSQL writes it: `Key (a, b)=(1, x) already exists.`
//!
//! Values appear as the types' output functions print them in the UTC time zone.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use chrono::{DateTime, Days, NaiveDate};
use proto::TypeKind;
use proto::catalog::TableMeta;

use crate::error::Result;

/// The line for one row of a batch in the table's column order.
pub(super) fn key_detail(meta: &TableMeta, batch: &RecordBatch, row: usize) -> Result<String> {
    let mut names = Vec::new();
    let mut values = Vec::new();
    for position in meta.key_positions() {
        let column = &meta.columns[position];
        names.push(quoted(&column.name));
        let array = batch.column(position);
        values.push(value_text(array.as_ref(), row, column.ty.kind));
    }
    Ok(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
}

/// An identifier as PostgreSQL prints it: quoted when it would not read back as it is.
fn quoted(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn value_text(array: &dyn Array, row: usize, kind: TypeKind) -> String {
    if array.is_null(row) {
        return "null".into();
    }
    match array.data_type() {
        DataType::Boolean => if array.as_boolean().value(row) { "t" } else { "f" }.into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => float_text(f64::from(array.as_primitive::<Float32Type>().value(row)), |value| {
            (value as f32).to_string()
        }),
        DataType::Float64 => {
            float_text(array.as_primitive::<Float64Type>().value(row), |value| value.to_string())
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Date32 => date_text(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(_, _) => {
            let zone = if kind == TypeKind::Timestamptz { "+00" } else { "" };
            timestamp_text(array.as_primitive::<TimestampMicrosecondType>().value(row), zone)
        }
        // The table could not have been created with another key type.
        other => format!("<{other}>"),
    }
}

fn float_text(value: f64, finite: impl FnOnce(f64) -> String) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => finite(value),
    }
}

fn date_text(days: i32) -> String {
    let date = NaiveDate::from_ymd_opt(1970, 1, 1).and_then(|epoch| {
        let distance = Days::new(u64::from(days.unsigned_abs()));
        if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) }
    });
    date.map_or_else(|| days.to_string(), |date| date.format("%Y-%m-%d").to_string())
}

fn timestamp_text(micros: i64, zone: &str) -> String {
    let Some(instant) = DateTime::from_timestamp_micros(micros) else { return micros.to_string() };
    let mut text = instant.format("%Y-%m-%d %H:%M:%S").to_string();
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text + zone
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn values_read_as_postgresql_prints_them() {
        let text = |array: Arc<dyn Array>, kind| value_text(array.as_ref(), 0, kind);
        assert_eq!(text(Arc::new(BooleanArray::from(vec![true])), TypeKind::Bool), "t");
        assert_eq!(text(Arc::new(Float64Array::from(vec![1.5])), TypeKind::Float8), "1.5");
        assert_eq!(text(Arc::new(Float64Array::from(vec![2.0])), TypeKind::Float8), "2");
        assert_eq!(text(Arc::new(StringArray::from(vec!["it's"])), TypeKind::Text), "it's");
        let instant: Arc<dyn Array> = Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]));
        assert_eq!(text(Arc::clone(&instant), TypeKind::Timestamptz), "1970-01-01 00:00:01.5+00");
        assert_eq!(text(instant, TypeKind::Timestamp), "1970-01-01 00:00:01.5");
        assert_eq!(date_text(-1), "1969-12-31");
        assert_eq!(quoted("id"), "id");
        assert_eq!(quoted("Id"), "\"Id\"");
    }
}
