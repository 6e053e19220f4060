//! Sizes of objects, and how sizes are printed.
//!
//! What it is not: measured. Rows of all tables share log and object store; until tables are accounted for one
//! by one, an existing object answers 0 and a missing one NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use proto::{SqlError, TypeKind};

use super::row::{Answer, Row, Value, strict};
use crate::functions::overload::{Call, PgFunction};
use crate::text::number::{rescale, to_i128};

/// The functions of this module.
pub(super) fn functions() -> Vec<PgFunction> {
    let mut functions = vec![
        PgFunction::volatile("pg_relation_size")
            .on("regclass", "int8", |call| strict(call, TypeKind::Int8, relation_size))
            .on("regclass,text", "int8", |call| strict(call, TypeKind::Int8, relation_size)),
        PgFunction::volatile("pg_database_size")
            .on("oid", "int8", |call| strict(call, TypeKind::Int8, no_size))
            .on("name", "int8", |call| strict(call, TypeKind::Int8, no_size)),
        PgFunction::volatile("pg_tablespace_size")
            .on("oid", "int8", |call| strict(call, TypeKind::Int8, no_size))
            .on("name", "int8", |call| strict(call, TypeKind::Int8, no_size)),
        PgFunction::immutable("pg_size_pretty").on("int8", "text", pretty).on(
            "numeric",
            "text",
            pretty_numeric,
        ),
    ];
    for name in ["pg_table_size", "pg_total_relation_size", "pg_indexes_size"] {
        functions.push(
            PgFunction::volatile(name)
                .on("regclass", "int8", |call| strict(call, TypeKind::Int8, relation_size)),
        );
    }
    functions
}

fn relation_size(row: &Row<'_>) -> Answer {
    Ok(row.scope.relation_of_oid(row.oid(0)?).map(|_| Value::Integer(0)))
}

fn no_size(_row: &Row<'_>) -> Answer {
    Ok(Some(Value::Integer(0)))
}

fn pretty(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let sizes = call.primitive::<arrow::datatypes::Int64Type>(0)?;
    Ok(Arc::new(sizes.iter().map(|size| size.map(|size| size_text(size.into()))).collect::<StringArray>()))
}

fn pretty_numeric(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let sizes = call.numerics(0)?;
    let text = |row: usize| {
        if sizes.is_null(row) {
            return Ok(None);
        }
        let (size, scale) = sizes.value(row);
        let unit = rescale(arrow::datatypes::i256::ONE, 0, scale)?;
        to_i128(size.wrapping_div(unit)).map(|whole| Some(size_text(whole)))
    };
    Ok(Arc::new((0..call.rows()).map(text).collect::<Result<StringArray, SqlError>>()?))
}

/// `pg_size_pretty`: the largest unit in which the number has at most five digits, rounded half away from 0.
fn size_text(bytes: i128) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut size = bytes;
    let mut units = UNITS.iter().enumerate().peekable();
    while let Some((position, unit)) = units.next() {
        let limit = if position == 0 { 10 * 1024 } else { 20 * 1024 - 1 };
        if size.abs() < limit || units.peek().is_none() {
            // Past bytes one bit more is kept, to round by.
            let shown = if position == 0 { size } else { (size + size.signum()) / 2 };
            return format!("{shown} {unit}");
        }
        size /= if position == 0 { 512 } else { 1024 };
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests;
