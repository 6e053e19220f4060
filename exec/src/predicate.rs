//! A predicate over stored rows: read only the columns it needs, evaluate it on visible rows only.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::reassign_expr_columns;
use segments::{ScanColumn, SegmentView};

use crate::engine::Values;
use crate::error::internal;
use crate::scan::{columns_of, read_selected};

/// A compiled predicate.
#[derive(Debug)]
pub struct RowFilter {
    /// Over the columns below, in their order.
    predicate: Arc<dyn PhysicalExpr>,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
}

impl RowFilter {
    /// A predicate over a table's shown schema, whose columns are `columns`.
    ///
    /// # Errors
    /// XX000 when the predicate names columns that the schema does not have.
    pub fn new(
        predicate: Arc<dyn PhysicalExpr>,
        columns: &[ScanColumn],
        schema: &SchemaRef,
    ) -> DfResult<Self> {
        let positions = columns_of(&predicate);
        let schema = Arc::new(schema.project(&positions)?);
        let predicate = reassign_expr_columns(predicate, &schema)?;
        let columns = positions.iter().map(|position| columns[*position]).collect();
        Ok(Self { predicate, columns, schema })
    }

    /// The same predicate with a run's values in it.
    ///
    /// # Errors
    /// XX000 when a parameter has no value.
    pub(crate) fn with_values(&self, values: &Values<'_>) -> DfResult<Self> {
        Ok(Self {
            predicate: values.values_in(&self.predicate)?,
            columns: self.columns.clone(),
            schema: Arc::clone(&self.schema),
        })
    }

    /// The predicate over its own columns.
    #[must_use]
    pub fn predicate(&self) -> &Arc<dyn PhysicalExpr> {
        &self.predicate
    }

    /// The columns that it reads.
    #[must_use]
    pub fn columns(&self) -> &[ScanColumn] {
        &self.columns
    }

    /// Which rows of a range pass, of those that are visible; one bit per row of the range.
    ///
    /// # Errors
    /// Whatever the predicate raises for a visible row, or reading stored bytes.
    pub fn admitted(
        &self,
        view: &SegmentView,
        rows: &Range<usize>,
        visible: &BooleanBuffer,
    ) -> DfResult<BooleanBuffer> {
        let Some(batch) = read_selected(view, &self.columns, rows.clone(), visible)? else {
            return Ok(BooleanBuffer::new_unset(rows.len()));
        };
        let passed = self.passed(&batch)?;
        if passed.len() == rows.len() {
            return Ok(passed);
        }
        // Spread the answers for visible rows over the whole range.
        let mut bits = arrow::array::BooleanBufferBuilder::new(rows.len());
        bits.append_n(rows.len(), false);
        for (answer, at) in visible.set_indices().enumerate() {
            if passed.value(answer) {
                bits.set_bit(at, true);
            }
        }
        Ok(bits.finish())
    }

    fn passed(&self, batch: &RecordBatch) -> DfResult<BooleanBuffer> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let typed =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options)?;
        let answers = self.predicate.evaluate(&typed)?.into_array(batch.num_rows())?;
        let answers: &BooleanArray =
            answers.as_boolean_opt().ok_or_else(|| internal("a predicate must give booleans"))?;
        Ok(match answers.nulls() {
            Some(nulls) => answers.values() & nulls.inner(),
            None => answers.values().clone(),
        })
    }
}

impl fmt::Display for RowFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.predicate.fmt(formatter)
    }
}
