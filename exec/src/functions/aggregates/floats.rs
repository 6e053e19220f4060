//! Sum and average of float4, accumulated in double precision, and the spread of floats after Youngs and Cramer,
//! as PostgreSQL computes it.

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

/// Count, sum, and sum of squared differences from the mean.
#[derive(Debug, Default)]
struct Spread {
    sample: bool,
    root: bool,
    count: f64,
    sum: f64,
    squares: f64,
}

fn spread(sample: bool, root: bool) -> Box<dyn Accumulator> {
    Box::new(Spread { sample, root, ..Spread::default() })
}

pub(super) fn var_samp(_args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    spread(true, false)
}

pub(super) fn var_pop(_args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    spread(false, false)
}

pub(super) fn stddev_samp(_args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    spread(true, true)
}

pub(super) fn stddev_pop(_args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    spread(false, true)
}

pub(super) fn spread_state(_input: &FieldRef, _result: &FieldRef) -> Vec<DataType> {
    vec![DataType::Float64, DataType::Float64, DataType::Float64]
}

impl Spread {
    /// Joins another part, as `float8_combine` does.
    fn combine(&mut self, count: f64, sum: f64, squares: f64) {
        if count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            (self.count, self.sum, self.squares) = (count, sum, squares);
            return;
        }
        let total = self.count + count;
        let apart = self.sum / self.count - sum / count;
        self.squares += squares + self.count * count * apart * apart / total;
        self.count = total;
        self.sum += sum;
    }
}

impl Accumulator for Spread {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let wide = arrow::compute::cast(&values[0], &DataType::Float64)?;
        for value in wide.as_primitive::<Float64Type>().iter().flatten() {
            self.count += 1.0;
            self.sum += value;
            if self.count > 1.0 {
                let apart = value * self.count - self.sum;
                self.squares += apart * apart / (self.count * (self.count - 1.0));
            } else if !value.is_finite() {
                self.squares = f64::NAN;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let degrees = if self.sample { self.count - 1.0 } else { self.count };
        if degrees <= 0.0 {
            return Ok(ScalarValue::Float64(None));
        }
        let variance = self.squares / degrees;
        Ok(ScalarValue::Float64(Some(if self.root { variance.sqrt() } else { variance })))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok([self.count, self.sum, self.squares].map(|value| ScalarValue::Float64(Some(value))).to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let columns: Vec<_> = states.iter().map(|state| state.as_primitive::<Float64Type>()).collect();
        for row in 0..columns[0].len() {
            self.combine(columns[0].value(row), columns[1].value(row), columns[2].value(row));
        }
        Ok(())
    }
}
