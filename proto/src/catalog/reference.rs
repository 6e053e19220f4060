//! A foreign key together with the two tables it is about: which key a row refers to, in that key's bytes.
//!
//! What it is not: no row is looked for here.
//!
//! Invariant: the bytes are those of the key referred to, so that a row refers to a key when they are equal.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, Schema};
use arrow::error::ArrowError;

use super::{CatalogSnapshot, ForeignKey, KeyMeta, TableMeta};
use crate::error::{ErrorKind, SqlError};
use crate::key::encode_unique_keys;

/// See the file header.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    pub foreign: &'a ForeignKey,
    /// The table whose rows refer.
    pub table: &'a Arc<TableMeta>,
    /// The table referred to.
    pub target: &'a Arc<TableMeta>,
    /// Its key.
    pub key: KeyMeta<'a>,
}

impl Reference<'_> {
    /// Positions of the referring columns, in the order of the key.
    #[must_use]
    pub fn positions(&self) -> Vec<usize> {
        let beside = |id: &u32| self.foreign.target_columns.iter().position(|target| target == id);
        let ids: Vec<u32> =
            self.key.columns.iter().filter_map(|id| Some(self.foreign.columns[beside(id)?])).collect();
        self.table.positions(&ids)
    }

    /// The key that each row refers to, from the columns of `batch` at `places`, which are the referring ones in the order
    /// of the key. `None` for a row with a NULL among them. A value that the key's type does not have gives bytes that
    /// are no key's.
    ///
    /// # Errors
    /// 0A000 for a type that cannot be a key, XX000 when a value cannot be converted; both are refused when the
    /// constraint is made.
    pub fn encode(&self, batch: &RecordBatch, places: &[usize]) -> Result<Vec<Option<Box<[u8]>>>, SqlError> {
        let internal =
            |error: ArrowError| SqlError::new(ErrorKind::Internal, format!("key columns: {error}"));
        let positions = self.target.positions(self.key.columns);
        let mut fields: Vec<FieldRef> = Vec::with_capacity(places.len());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(places.len());
        for (place, position) in places.iter().zip(positions) {
            let column = &self.target.columns[position];
            let field = column.ty.arrow_field(&column.name, true);
            columns.push(cast(batch.column(*place), field.data_type()).map_err(internal)?);
            fields.push(field);
        }
        let cast = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(internal)?;
        let all: Vec<usize> = (0..places.len()).collect();
        let keys = encode_unique_keys(&cast, &all, self.key.nulls_distinct)?;
        let is_null = |row: usize| places.iter().any(|place| batch.column(*place).is_null(row));
        let is_lost = |row: usize| all.iter().any(|column| cast.column(*column).is_null(row));
        Ok(keys
            .into_iter()
            .enumerate()
            .map(|(row, key)| match key {
                _ if is_null(row) => None,
                _ if is_lost(row) => Some(Box::default()),
                key => key,
            })
            .collect())
    }
}

impl CatalogSnapshot {
    /// A foreign key of a table with what it refers to.
    #[must_use]
    pub fn reference<'a>(
        &'a self,
        table: &'a Arc<TableMeta>,
        foreign: &'a ForeignKey,
    ) -> Option<Reference<'a>> {
        let target = self.tables.get(&foreign.target)?;
        let key = target.key(foreign.target_index)?;
        Some(Reference { foreign, table, target, key })
    }

    /// The foreign keys of a table with what they refer to.
    pub fn references_of<'a>(&'a self, table: &'a Arc<TableMeta>) -> impl Iterator<Item = Reference<'a>> {
        table.foreign_keys.iter().filter_map(|foreign| self.reference(table, foreign))
    }

    /// The foreign keys that refer to a table, its own among them.
    pub fn references_to<'a>(&'a self, target: &'a TableMeta) -> impl Iterator<Item = Reference<'a>> {
        let tables = self.tables.values().filter(|table| !table.foreign_keys.is_empty());
        tables
            .flat_map(|table| self.references_of(table))
            .filter(move |reference| reference.target.id == target.id)
    }
}
