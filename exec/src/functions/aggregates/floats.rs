//! Sum and average of float4: accumulated in double precision; the sum comes back as float4.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type, Int64Type};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::function::AccumulatorArgs;

#[derive(Debug, Default)]
struct Floats {
    average: bool,
    count: i64,
    sum: f64,
}

pub(super) fn sum(_args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    Box::new(Floats::default())
}

pub(super) fn average(_args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    Box::new(Floats { average: true, ..Floats::default() })
}

pub(super) fn state(_input: &FieldRef, _result: &FieldRef) -> Vec<DataType> {
    vec![DataType::Int64, DataType::Float64]
}

impl Accumulator for Floats {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        for value in values[0].as_primitive::<Float32Type>().iter().flatten() {
            self.count += 1;
            self.sum += f64::from(value);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let value = (self.count > 0).then_some(self.sum);
        Ok(if self.average {
            ScalarValue::Float64(value.map(|sum| sum / self.count as f64))
        } else {
            ScalarValue::Float32(value.map(|sum| sum as f32))
        })
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(self.count)), ScalarValue::Float64(Some(self.sum))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let counts = states[0].as_primitive::<Int64Type>();
        let sums = states[1].as_primitive::<Float64Type>();
        for row in 0..counts.len() {
            self.count += counts.value(row);
            self.sum += sums.value(row);
        }
        Ok(())
    }
}
