//! Rows on their way into a table: brought to its exact Arrow schema, checked, keyed.
//!
//! What it is not: it plans no casts (the planner did) and decides no visibility.
//!
//! Invariant: a batch that leaves `conform` has the table's schema and no NULL in a NOT NULL column.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{UInt32Type, UInt64Type};
use bytes::Bytes;
use exec::StatementContext;
use planner::RowChecks;
use proto::catalog::TableMeta;
use proto::record::RowRef;
use proto::{ErrorKind, RowId, SegmentId, SqlError};
use segments::{ScanColumn, TableSnapshot};

use super::display::failing_row;
use super::{rows_error, storage_error};

/// Gives `batch` the table's schema: same columns in the same order, carriers cast where DataFusion chose another.
///
/// # Errors
/// 23502 when a NOT NULL column holds NULL.
pub(crate) fn conform(batch: &RecordBatch, table: &TableMeta) -> Result<RecordBatch, SqlError> {
    let schema = table.arrow_schema();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if column.data_type() == field.data_type() {
            columns.push(Arc::clone(column));
        } else {
            let carried = cast(column, field.data_type()).map_err(|error| {
                SqlError::new(ErrorKind::Internal, format!("column \"{}\": {error}", field.name()))
            })?;
            columns.push(carried);
        }
    }
    for (position, column) in table.columns.iter().enumerate() {
        if !column.nullable && columns[position].null_count() > 0 {
            let row = (0..columns[position].len()).find(|&row| columns[position].is_null(row)).unwrap_or(0);
            return Err(SqlError::new(
                ErrorKind::NotNullViolation,
                format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, table.name
                ),
            )
            .with_detail(failing_row(&columns, table, row))
            .with_table(&table.namespace, &table.name)
            .with_column(&column.name));
        }
    }
    RecordBatch::try_new(schema, columns)
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("rows of table {}: {error}", table.name)))
}

/// Checks rows that `conform` gave against CHECK constraints, by row and then by constraint.
///
/// # Errors
/// 23514 for the first row that fails one.
pub(crate) fn check(
    batch: &RecordBatch,
    table: &TableMeta,
    checks: Option<&RowChecks>,
    context: &Arc<StatementContext>,
) -> Result<(), SqlError> {
    match checks.map(|checks| first_failing(batch, checks, context)).transpose()?.flatten() {
        Some((row, name)) => Err(check_violation(batch, table, row, name)),
        None => Ok(()),
    }
}

/// The first row that fails a check, and the name of the constraint.
///
/// # Errors
/// What evaluating a check raises.
pub(crate) fn first_failing<'a>(
    batch: &RecordBatch,
    checks: &'a RowChecks,
    context: &Arc<StatementContext>,
) -> Result<Option<(usize, &'a str)>, SqlError> {
    let met = exec::rows::evaluate(&checks.expressions, &checks.schema, batch, context)?;
    let failed = |array: &ArrayRef| {
        let values = array.as_boolean_opt()?;
        (0..values.len()).find(|&row| values.is_valid(row) && !values.value(row))
    };
    let first =
        met.iter().zip(&checks.names).filter_map(|(array, name)| Some((failed(array)?, name.as_str())));
    // The first of equals is kept: constraints come in their order.
    Ok(first.min_by_key(|(row, _)| *row))
}

/// 23514 for a row of a batch.
pub(crate) fn check_violation(batch: &RecordBatch, table: &TableMeta, row: usize, name: &str) -> SqlError {
    SqlError::new(
        ErrorKind::CheckViolation,
        format!("new row for relation \"{}\" violates check constraint \"{name}\"", table.name),
    )
    .with_detail(failing_row(batch.columns(), table, row))
    .with_table(&table.namespace, &table.name)
    .with_constraint(name)
}

/// Reads the three identity columns that a DML source plan puts first.
///
/// # Errors
/// XX000 when the plan does not carry them: a planner defect.
pub(crate) fn identities(batch: &RecordBatch) -> Result<Vec<RowRef>, SqlError> {
    let wrong = || SqlError::new(ErrorKind::Internal, "write plan without row identities");
    let segments = batch.column(0).as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
    let ordinals = batch.column(1).as_primitive_opt::<UInt32Type>().ok_or_else(wrong)?;
    let rows = batch.column(2).as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
    Ok((0..batch.num_rows())
        .map(|row| RowRef {
            segment: SegmentId(segments.value(row)),
            ordinal: ordinals.value(row),
            row: RowId(rows.value(row)),
        })
        .collect())
}

/// The key bytes of every row from the columns at `positions`; empty keys for a table without a primary key.
///
/// # Errors
/// 0A000 for a column type that cannot be a key.
pub(crate) fn keys(batch: &RecordBatch, positions: &[usize]) -> Result<Vec<Box<[u8]>>, SqlError> {
    if positions.is_empty() {
        return Ok(vec![Box::default(); batch.num_rows()]);
    }
    proto::key::encode_keys(batch, positions)
}

/// Every row of a batch.
pub(crate) fn all(batch: &RecordBatch) -> Vec<u32> {
    (0..batch.num_rows() as u32).collect()
}

/// Key bytes as a delete record carries them.
pub(crate) fn delete_key(key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(key)
}

/// The rows of `batch` at `wanted`, in that order.
///
/// # Errors
/// XX000 when Arrow refuses.
pub(crate) fn take_rows(batch: &RecordBatch, wanted: &[u32]) -> Result<RecordBatch, SqlError> {
    if wanted.len() == batch.num_rows() && wanted.iter().zip(0_u32..).all(|(&row, position)| row == position)
    {
        return Ok(batch.clone());
    }
    arrow::compute::take_record_batch(batch, &UInt32Array::from(wanted.to_vec()))
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("take rows: {error}")))
}

/// Columns of rows wherever they are in a snapshot, in the order of the rows.
///
/// # Errors
/// `Corrupted` for damaged bytes.
pub(crate) fn read_rows(
    snapshot: &TableSnapshot,
    targets: &[RowRef],
    positions: &[usize],
) -> Result<RecordBatch, SqlError> {
    let columns: Vec<ScanColumn> = positions.iter().copied().map(ScanColumn::Column).collect();
    let mut wanted: HashMap<SegmentId, Vec<usize>> = HashMap::new();
    for (position, target) in targets.iter().enumerate() {
        wanted.entry(target.segment).or_default().push(position);
    }
    let mut pieces = Vec::new();
    let mut place = vec![0_u32; targets.len()];
    let mut read = 0_u32;
    for view in &snapshot.segments {
        let Some(positions) = wanted.get(&view.id()) else { continue };
        let ordinals: Vec<u32> = positions.iter().map(|&position| targets[position].ordinal).collect();
        pieces.push(view.read_rows(&columns, &ordinals).map_err(|error| storage_error(&error))?);
        for &position in positions {
            place[position] = read;
            read += 1;
        }
    }
    let schema = snapshot.table.stored_schema().project(positions).map_err(rows_error("a table"))?;
    let schema = pieces.first().map_or_else(|| Arc::new(schema), RecordBatch::schema);
    let together = arrow::compute::concat_batches(&schema, &pieces).map_err(rows_error("a table"))?;
    let order = UInt32Array::from(place);
    let arrays = together.columns().iter().map(|column| arrow::compute::take(column, &order, None));
    let arrays = arrays.collect::<Result<Vec<_>, _>>().map_err(rows_error("a table"))?;
    let options = RecordBatchOptions::new().with_row_count(Some(targets.len()));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(rows_error("a table"))
}

/// The columns of a batch at `positions`, in that order.
///
/// # Errors
/// XX000 when the batch has no such column: a planner defect.
pub(crate) fn project(batch: &RecordBatch, positions: &[usize]) -> Result<RecordBatch, SqlError> {
    batch
        .project(positions)
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("project rows: {error}")))
}
