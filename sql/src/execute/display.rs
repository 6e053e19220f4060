//! Values inside error details, as PostgreSQL shows them.

use arrow::array::{Array, ArrayRef};
use exec::text::{TimeZone, write_value};
use proto::ColumnType;
use proto::catalog::TableMeta;

/// PostgreSQL cuts each value of a failing row to this many bytes.
const SHOWN_BYTES: usize = 64;

/// One value as text; `null` for NULL.
pub(super) fn value_text(array: &ArrayRef, ty: ColumnType, row: usize) -> String {
    if array.is_null(row) {
        return "null".to_owned();
    }
    let mut text = String::new();
    if write_value(array.as_ref(), row, ty, &TimeZone::UTC, &mut text).is_err() {
        text.push('?');
    }
    text
}

/// `Failing row contains (…).` for row `row` of columns in the table's order.
pub(super) fn failing_row(columns: &[ArrayRef], table: &TableMeta, row: usize) -> String {
    let values: Vec<String> = columns
        .iter()
        .zip(&table.columns)
        .map(|(array, column)| shortened(value_text(array, column.ty, row)))
        .collect();
    format!("Failing row contains ({}).", values.join(", "))
}

fn shortened(mut text: String) -> String {
    if text.len() > SHOWN_BYTES {
        let end = text.floor_char_boundary(SHOWN_BYTES);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(shortened("short".to_owned()), "short");
        let cut = shortened("ä".repeat(40));
        assert_eq!(cut, format!("{}...", "ä".repeat(32)));
    }
}
