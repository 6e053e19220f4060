//! Rows that came together, in the columns they were written with, whatever the table has become since.
//!
//! What it is not: merged by itself; `GrowingRows` joins neighbours, and only those of one schema version.
//!
//! Invariant: a chunk never changes; one value per column, commit timestamp and row id in every row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array, new_null_array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::Float32Type;
use proto::catalog::TableMeta;
use proto::record::batch_bytes;

use crate::bitmap;
use crate::error::Result;
use crate::index::VectorPart;
use crate::layout::{Origin, origin};

/// What a segment stores per row: a table column or one of the two hidden ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Column(usize),
    Ts,
    Row,
}

/// See the file header.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// The schema version that the rows were written at.
    pub(super) version: u64,
    /// The ids of the batch's columns.
    pub(super) ids: Arc<[u32]>,
    pub(super) batch: RecordBatch,
    pub(super) ts: UInt64Array,
    pub(super) rows: UInt64Array,
}

/// A column of a chunk.
pub(super) enum Values {
    /// One value per row.
    Rows(ArrayRef),
    /// One value for all rows.
    Every(ArrayRef),
}

impl Chunk {
    pub(super) fn len(&self) -> usize {
        self.ts.len()
    }

    /// Several chunks of one schema version as one.
    pub(super) fn join(chunks: &[&Self]) -> Result<Self> {
        let first = chunks[0];
        let ts: Vec<u64> = chunks.iter().flat_map(|chunk| chunk.ts.values().iter().copied()).collect();
        let rows: Vec<u64> = chunks.iter().flat_map(|chunk| chunk.rows.values().iter().copied()).collect();
        let batch = concat_batches(&first.batch.schema(), chunks.iter().map(|chunk| &chunk.batch))?;
        Ok(Self {
            version: first.version,
            ids: Arc::clone(&first.ids),
            batch,
            ts: ts.into(),
            rows: rows.into(),
        })
    }

    fn origin(&self, table: &TableMeta, column: usize) -> Origin {
        let held = self.ids.iter().zip(self.batch.columns());
        origin(table, column, self.version, held.map(|(id, array)| (*id, array.data_type())))
    }

    /// What rows have in a column of the table they are read as.
    pub(super) fn values(&self, table: &TableMeta, source: Source) -> Result<Values> {
        let column = match source {
            Source::Ts => return Ok(Values::Rows(Arc::new(self.ts.clone()))),
            Source::Row => return Ok(Values::Rows(Arc::new(self.rows.clone()))),
            Source::Column(column) => column,
        };
        Ok(match self.origin(table, column) {
            Origin::Held(position) => Values::Rows(Arc::clone(self.batch.column(position))),
            Origin::Missing => Values::Every(table.columns[column].missing_values(1)?),
            Origin::Gone => Values::Every(new_null_array(&table.columns[column].ty.data_type(), 1)),
        })
    }

    /// The same for rows `start..start + len`.
    pub(super) fn range(
        &self,
        table: &TableMeta,
        source: Source,
        start: usize,
        len: usize,
    ) -> Result<ArrayRef> {
        match self.values(table, source)? {
            Values::Rows(array) => Ok(array.slice(start, len)),
            Values::Every(value) => Ok(take(&value, &UInt32Array::from_value(0, len), None)?),
        }
    }

    /// The vectors of a `vector(n)` column of the table; `start` is the ordinal of the first.
    pub(super) fn vectors(
        &self,
        table: &TableMeta,
        column: usize,
        start: usize,
    ) -> Result<Option<VectorPart>> {
        let list = match self.values(table, Source::Column(column))? {
            Values::Rows(list) => list,
            // All-NULL columns have no elements.
            Values::Every(value) if value.is_null(0) => {
                let none = bitmap::from_words(vec![0; bitmap::word_count(self.len())], self.len());
                return Ok(Some(VectorPart::resident(start, self.len(), Vec::new().into(), Some(none))));
            }
            Values::Every(_) => self.range(table, Source::Column(column), 0, self.len())?,
        };
        let part = list.as_fixed_size_list_opt().and_then(|list| {
            let elements = list.values().as_primitive_opt::<Float32Type>()?.values().clone();
            let nulls = list.nulls().map(|nulls| nulls.inner().clone());
            Some(VectorPart::resident(start, list.len(), elements, nulls))
        });
        Ok(part)
    }

    /// Bytes of memory that the rows take.
    pub(super) fn bytes(&self) -> usize {
        // Slices of a larger batch count only what they show; the rest is freed with its other owners.
        batch_bytes(&self.batch) + self.len() * 16
    }
}
