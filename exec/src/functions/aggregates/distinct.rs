//! DISTINCT for our own aggregates: every different row once, handed on at the end. Values that compare by a key are
//! different when their keys are; the first of equals is handed on.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::Accumulator;
use proto::ColumnType;

use crate::error::raise;
use crate::functions::keys::{is_keyed, key_bytes};

/// Collects the different argument rows in first-seen order.
#[derive(Debug)]
pub(super) struct Distinct {
    inner: Box<dyn Accumulator>,
    seen: HashSet<Vec<ScalarValue>>,
    order: Vec<Vec<ScalarValue>>,
    types: Vec<DataType>,
    /// The type of an argument that compares by a key.
    keyed: Vec<Option<ColumnType>>,
}

impl Distinct {
    pub(super) fn new(inner: Box<dyn Accumulator>, fields: &[FieldRef]) -> Self {
        let types = fields.iter().map(|field| field.data_type().clone()).collect();
        let keyed = fields.iter().map(|field| is_keyed(field).then(|| ColumnType::of_field(field))).collect();
        Self { inner, seen: HashSet::new(), order: Vec::new(), types, keyed }
    }

    fn insert(&mut self, columns: &[ArrayRef]) -> DfResult<()> {
        let key = |(column, ty): (&ArrayRef, &Option<ColumnType>)| match ty {
            Some(ty) => key_bytes(column, *ty).map_err(raise),
            None => Ok(Arc::clone(column)),
        };
        let keys = columns.iter().zip(&self.keyed).map(key).collect::<DfResult<Vec<_>>>()?;
        let values_of = |columns: &[ArrayRef], row: usize| {
            columns
                .iter()
                .map(|column| ScalarValue::try_from_array(column, row))
                .collect::<DfResult<Vec<_>>>()
        };
        for row in 0..columns[0].len() {
            if columns[0].is_valid(row) && self.seen.insert(values_of(&keys, row)?) {
                self.order.push(values_of(columns, row)?);
            }
        }
        Ok(())
    }

    fn columns(&self) -> DfResult<Vec<ArrayRef>> {
        (0..self.types.len())
            .map(|position| ScalarValue::iter_to_array(self.order.iter().map(|row| row[position].clone())))
            .collect()
    }
}

/// The state: one list per argument.
pub(super) fn state_fields(name: &str, inputs: &[FieldRef]) -> Vec<FieldRef> {
    inputs
        .iter()
        .enumerate()
        .map(|(position, input)| {
            Arc::new(Field::new(format!("{name}[distinct {position}]"), list_of(input.data_type()), true))
        })
        .collect()
}

fn list_of(data_type: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", data_type.clone(), true)))
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.insert(values)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        if !self.order.is_empty() {
            let columns = self.columns()?;
            self.inner.update_batch(&columns)?;
            self.order.clear();
        }
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        let row = self.types.len() * size_of::<ScalarValue>() + size_of::<Vec<ScalarValue>>();
        let values: usize = self.order.iter().flatten().map(ScalarValue::size).sum();
        size_of::<Self>() + 2 * (self.order.capacity() * row + values)
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let columns = if self.order.is_empty() {
            self.types.iter().map(arrow::array::new_empty_array).collect()
        } else {
            self.columns()?
        };
        columns
            .into_iter()
            .zip(&self.types)
            .map(|(values, data_type)| {
                let item = Arc::new(Field::new("item", data_type.clone(), true));
                let list =
                    ListArray::try_new(item, OffsetBuffer::from_lengths([values.len()]), values, None)?;
                Ok(ScalarValue::List(Arc::new(list)))
            })
            .collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for row in 0..states[0].len() {
            let columns: Vec<ArrayRef> =
                states.iter().map(|state| state.as_list::<i32>().value(row)).collect();
            self.insert(&columns)?;
        }
        Ok(())
    }
}
