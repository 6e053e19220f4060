//! `sum` and `avg` of vectors, as pgvector computes them: sums in float4, averages in float8.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::function::AccumulatorArgs;
use proto::{ErrorKind, SqlError};

use crate::error::raise;
use crate::functions::vectors::{Vectors, vector_column};

#[derive(Debug)]
struct VectorSum {
    average: bool,
    result: DataType,
    count: i64,
    sums: Vec<f64>,
}

fn make(args: &AccumulatorArgs<'_>, average: bool) -> Box<dyn Accumulator> {
    let result = args.return_field.data_type().clone();
    Box::new(VectorSum { average, result, count: 0, sums: Vec::new() })
}

pub(super) fn sum(args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    make(args, false)
}

pub(super) fn average(args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    make(args, true)
}

fn list_type() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Float64, true)))
}

pub(super) fn state(_input: &FieldRef, _result: &FieldRef) -> Vec<DataType> {
    vec![DataType::Int64, list_type()]
}

impl VectorSum {
    fn add(&mut self, count: i64, elements: impl ExactSizeIterator<Item = f64>) -> Result<(), SqlError> {
        if self.count == 0 {
            self.count = count;
            self.sums = elements.collect();
            return Ok(());
        }
        if elements.len() != self.sums.len() {
            let message = if self.average {
                format!("expected {} dimensions, not {}", self.sums.len(), elements.len())
            } else {
                format!("different vector dimensions {} and {}", self.sums.len(), elements.len())
            };
            return Err(SqlError::new(ErrorKind::DataException, message));
        }
        self.count += count;
        for (sum, element) in self.sums.iter_mut().zip(elements) {
            *sum += element;
            // sum() adds in the vector's own precision.
            if !self.average {
                *sum = f64::from(*sum as f32);
            }
            if sum.is_infinite() {
                return Err(SqlError::new(ErrorKind::NumericValueOutOfRange, "value out of range: overflow"));
            }
        }
        Ok(())
    }
}

impl Accumulator for VectorSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        if *values[0].data_type() == DataType::Null {
            return Ok(());
        }
        let vectors = Vectors::of(values[0].as_ref()).map_err(raise)?;
        for row in (0..values[0].len()).filter(|row| !vectors.is_null(*row)) {
            self.add(1, vectors.row(row).iter().map(|element| f64::from(*element))).map_err(raise)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&self.result);
        }
        let divisor = if self.average { self.count as f64 } else { 1.0 };
        let elements = self.sums.iter().map(|sum| (sum / divisor) as f32).collect();
        let column = vector_column(&self.result, vec![Some(elements)]).map_err(raise)?;
        ScalarValue::try_from_array(&column, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sums.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let values = Arc::new(Float64Array::from(self.sums.clone()));
        let DataType::List(item) = list_type() else { return Ok(Vec::new()) };
        let list = ListArray::try_new(item, OffsetBuffer::from_lengths([values.len()]), values, None)?;
        Ok(vec![ScalarValue::Int64(Some(self.count)), ScalarValue::List(Arc::new(list))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let counts = states[0].as_primitive::<Int64Type>();
        let sums = states[1].as_list::<i32>();
        for row in (0..counts.len()).filter(|row| counts.value(*row) > 0) {
            let elements = sums.value(row);
            let elements = elements.as_primitive::<Float64Type>();
            self.add(counts.value(row), elements.values().iter().copied()).map_err(raise)?;
        }
        Ok(())
    }
}
