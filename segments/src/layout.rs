//! Rows of one schema version as rows of another, later or earlier: columns are found by their id, those that the rows
//! were written without have their missing value.
//!
//! What it is not: it changes no values and forgets none. Rows keep the columns they were written with; what a table
//! reads of them is its own.
//!
//! Invariant: rows that ended when all rows were written anew (another type, another key) are NULLs to the table
//! since, and whole to the table of before.

use arrow::datatypes::DataType;
use proto::catalog::TableMeta;

/// Where the values of a table's column are, in rows that have columns of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The position among the columns of the rows.
    Held(usize),
    /// The rows were written without it: its missing value.
    Missing,
    /// Nobody sees these rows in the table; NULLs stand in for them.
    Gone,
}

/// Where a column of `table` is in rows of `version` that have columns of these ids and types.
pub(crate) fn origin<'a>(
    table: &TableMeta,
    column: usize,
    version: u64,
    held: impl IntoIterator<Item = (u32, &'a DataType)>,
) -> Origin {
    if version < table.rewritten {
        return Origin::Gone;
    }
    let column = &table.columns[column];
    let mut held = held.into_iter().enumerate();
    match held.find(|(_, (id, _))| *id == column.id) {
        Some((position, (_, data_type))) if *data_type == column.ty.data_type() => Origin::Held(position),
        // Rows written anew later, for a type that the table does not have yet.
        Some(_) => Origin::Gone,
        None => Origin::Missing,
    }
}

#[cfg(test)]
mod tests;
