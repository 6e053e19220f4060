//! Rows of one schema version as rows of a later one: columns are found by their id, dropped ones fall away, and
//! those added since get their missing value.
//!
//! What it is not: it changes no values. When all rows are written anew (another type, another key), those of before
//! have ended, and stand in as NULLs.
//!
//! Invariant: versions only go forward; what an older version had and a newer one has not cannot be got back.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use proto::catalog::TableMeta;

use crate::error::{Error, Result};

/// Columns with the ids `from`, of rows of `schema_version`, as the columns of `table`.
pub(crate) fn columns(
    table: &TableMeta,
    schema_version: u64,
    from: &[u32],
    arrays: &[ArrayRef],
    rows: usize,
) -> Result<Vec<ArrayRef>> {
    if from.len() != arrays.len() {
        let reason = format!("{} columns instead of {}", arrays.len(), from.len());
        return Err(Error::RowShape { table: table.name.clone(), reason });
    }
    if schema_version < table.rewritten {
        return Ok(table.columns.iter().map(|column| new_null_array(&column.ty.data_type(), rows)).collect());
    }
    let place = |id: u32| from.iter().position(|known| *known == id);
    let columns = table.columns.iter();
    columns
        .map(|column| match place(column.id) {
            Some(position) => Ok(Arc::clone(&arrays[position])),
            None => Ok(column.missing_values(rows)?),
        })
        .collect()
}

/// Rows that were written at `schema_version` as rows of `table`.
pub(crate) fn forward(table: &TableMeta, schema_version: u64, batch: &RecordBatch) -> Result<RecordBatch> {
    let from = table.column_ids_at(schema_version);
    let arrays = columns(table, schema_version, &from, batch.columns(), batch.num_rows())?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(table.stored_schema(), arrays, &options)?)
}

#[cfg(test)]
mod tests;
