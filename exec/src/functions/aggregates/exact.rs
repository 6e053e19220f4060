//! Sums, averages and spreads of integers, numeric and intervals, accumulated in 256 bits.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, FieldRef, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, i256,
};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::function::AccumulatorArgs;
use proto::{ErrorKind, SqlError, TypeKind};

use crate::error::{internal, raise};
use crate::functions::arithmetic::numeric::{integer_root, quotient};
use crate::functions::cast::integer_out_of_range;
use crate::functions::numerics::{Numerics, quotient_scale};
use crate::functions::overload::scale_of;
use crate::text::interval;
use crate::text::number::{rescale, to_i128};

/// Digits behind the point of an average of integers.
pub(super) const AVERAGE_SCALE: i8 = 16;

/// What is made of count, sum and sum of squares.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Finish {
    Sum,
    Average,
    Variance { sample: bool },
    Deviation { sample: bool },
}

#[derive(Debug)]
struct Exact {
    finish: Finish,
    /// The scale of `sum`; the widest so far where values bring their own.
    input_scale: i32,
    result: DataType,
    count: i64,
    sum: i256,
    squares: i256,
}

fn make(args: &AccumulatorArgs<'_>, finish: Finish) -> Box<dyn Accumulator> {
    Box::new(Exact {
        finish,
        input_scale: args.expr_fields.first().and_then(|f| scale_of(f.data_type())).map_or(0, i32::from),
        result: args.return_field.data_type().clone(),
        count: 0,
        sum: i256::ZERO,
        squares: i256::ZERO,
    })
}

pub(super) fn sum(args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    make(args, Finish::Sum)
}

pub(super) fn average(args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    make(args, Finish::Average)
}

pub(super) fn var_samp(args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    make(args, Finish::Variance { sample: true })
}

pub(super) fn var_pop(args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    make(args, Finish::Variance { sample: false })
}

pub(super) fn stddev_samp(args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    make(args, Finish::Deviation { sample: true })
}

pub(super) fn stddev_pop(args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    make(args, Finish::Deviation { sample: false })
}

pub(super) fn state(_input: &FieldRef, _result: &FieldRef) -> Vec<DataType> {
    vec![DataType::Int64, DataType::Decimal256(76, 0), DataType::Decimal256(76, 0), DataType::Int32]
}

pub(super) fn spread_state(input: &FieldRef, result: &FieldRef) -> Vec<DataType> {
    state(input, result)
}

fn overflow() -> SqlError {
    SqlError::new(ErrorKind::NumericValueOutOfRange, "value overflows numeric format")
}

/// Calls `each` with every non-null value, unscaled.
fn for_each(values: &ArrayRef, mut each: impl FnMut(i128)) -> DfResult<()> {
    macro_rules! walk {
        ($type:ty) => {{
            let array = values.as_primitive::<$type>();
            if array.null_count() == 0 {
                array.values().iter().for_each(|value| each(i128::from(*value)));
            } else {
                array.iter().flatten().for_each(|value| each(i128::from(value)));
            }
        }};
    }
    match values.data_type() {
        DataType::Int16 => walk!(Int16Type),
        DataType::Int32 => walk!(Int32Type),
        DataType::Int64 => walk!(Int64Type),
        DataType::Decimal128(..) => walk!(Decimal128Type),
        DataType::Null => {}
        other => return Err(internal(format!("no exact sum over {other}"))),
    }
    Ok(())
}

impl Exact {
    fn spread(&self) -> bool {
        matches!(self.finish, Finish::Variance { .. } | Finish::Deviation { .. })
    }

    /// Brings the sums to at least a scale.
    fn widen(&mut self, scale: i32) -> Result<(), SqlError> {
        if scale > self.input_scale {
            self.sum = rescale(self.sum, self.input_scale, scale)?;
            self.squares = rescale(self.squares, self.input_scale * 2, scale * 2)?;
            self.input_scale = scale;
        }
        Ok(())
    }

    /// Values that bring their own scale.
    fn apply_own_scales(&mut self, values: &ArrayRef, sign: i64) -> Result<(), SqlError> {
        let numbers = Numerics::of(values)?;
        for row in (0..numbers.len()).filter(|&row| !numbers.is_null(row)) {
            let (value, scale) = numbers.value(row);
            self.widen(scale)?;
            let value = rescale(value, scale, self.input_scale)?;
            let value = if sign < 0 { value.wrapping_neg() } else { value };
            self.count += sign;
            self.sum = self.sum.checked_add(value).ok_or_else(overflow)?;
            if self.spread() {
                let square = value.checked_mul(value).ok_or_else(overflow)?;
                let square = if sign < 0 { square.wrapping_neg() } else { square };
                self.squares = self.squares.checked_add(square).ok_or_else(overflow)?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, values: &ArrayRef, sign: i64) -> DfResult<()> {
        if proto::numeric::is_carrier(values.data_type()) {
            return self.apply_own_scales(values, sign).map_err(raise);
        }
        let (mut count, mut batch) = (0_i64, i256::ZERO);
        let mut partial = 0_i128;
        let mut squares = i256::ZERO;
        let spread = self.spread();
        for_each(values, |value| {
            count += 1;
            match partial.checked_add(value) {
                Some(sum) => partial = sum,
                None => {
                    batch = batch.wrapping_add(i256::from_i128(partial));
                    partial = value;
                }
            }
            if spread {
                let wide = i256::from_i128(value);
                squares = squares.wrapping_add(wide.wrapping_mul(wide));
            }
        })?;
        batch = batch.wrapping_add(i256::from_i128(partial));
        self.count += sign * count;
        let signed = |value: i256| if sign < 0 { value.wrapping_neg() } else { value };
        self.sum = self.sum.checked_add(signed(batch)).ok_or_else(|| raise(overflow()))?;
        self.squares = self.squares.checked_add(signed(squares)).ok_or_else(|| raise(overflow()))?;
        Ok(())
    }

    fn finished(&self) -> Result<ScalarValue, SqlError> {
        let own = proto::numeric::is_carrier(&self.result);
        let scale = match scale_of(&self.result) {
            Some(scale) => i32::from(scale),
            None if self.finish == Finish::Sum => self.input_scale,
            None if self.finish == Finish::Average => {
                let count = i256::from_i128(i128::from(self.count));
                quotient_scale((self.sum, self.input_scale), (count, 0))
            }
            None => self.input_scale.max(i32::from(AVERAGE_SCALE)),
        };
        let numeric = |value: i256| -> Result<ScalarValue, SqlError> {
            if own {
                let bytes = proto::numeric::pack(value, scale)?.to_vec();
                return Ok(ScalarValue::FixedSizeBinary(proto::numeric::WIDTH, Some(bytes)));
            }
            Ok(ScalarValue::Decimal128(Some(to_i128(value)?), proto::types::NUMERIC_PRECISION, scale as i8))
        };
        match self.finish {
            Finish::Sum if self.result == DataType::Int64 => {
                let value = self.sum.to_i128().and_then(|value| i64::try_from(value).ok());
                value.map(|v| ScalarValue::Int64(Some(v))).ok_or_else(|| integer_out_of_range(TypeKind::Int8))
            }
            Finish::Sum => numeric(rescale(self.sum, self.input_scale, scale)?),
            Finish::Average => {
                let count = i256::from_i128(i128::from(self.count));
                numeric(quotient(self.sum, self.input_scale, count, 0, scale)?)
            }
            Finish::Variance { sample } => numeric(self.variance(sample, scale)?),
            Finish::Deviation { sample } => numeric(integer_root(self.variance(sample, scale * 2)?)),
        }
    }

    /// (n * sum of squares - square of sum) / (n * (n - 1)), or / n².
    fn variance(&self, sample: bool, scale: i32) -> Result<i256, SqlError> {
        let count = i256::from_i128(i128::from(self.count));
        let divisor = if sample { i256::from_i128(i128::from(self.count - 1)) } else { count };
        let square = self.sum.checked_mul(self.sum).ok_or_else(overflow)?;
        let scaled = self.squares.checked_mul(count).ok_or_else(overflow)?;
        let numerator = scaled.checked_sub(square).ok_or_else(overflow)?;
        quotient(numerator, self.input_scale * 2, count.wrapping_mul(divisor), 0, scale)
    }
}

impl Accumulator for Exact {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.apply(&values[0], 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.apply(&values[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let sample =
            matches!(self.finish, Finish::Variance { sample: true } | Finish::Deviation { sample: true });
        if self.count == 0 || (sample && self.count == 1) {
            return ScalarValue::try_from(&self.result);
        }
        self.finished().map_err(raise)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Int64(Some(self.count)),
            ScalarValue::Decimal256(Some(self.sum), 76, 0),
            ScalarValue::Decimal256(Some(self.squares), 76, 0),
            ScalarValue::Int32(Some(self.input_scale)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let counts = states[0].as_primitive::<Int64Type>();
        let sums = states[1].as_primitive::<Decimal256Type>();
        let squares = states[2].as_primitive::<Decimal256Type>();
        let scales = states[3].as_primitive::<Int32Type>();
        for row in 0..counts.len() {
            let scale = scales.value(row);
            self.widen(scale).map_err(raise)?;
            let sum = rescale(sums.value(row), scale, self.input_scale).map_err(raise)?;
            let square = rescale(squares.value(row), scale * 2, self.input_scale * 2).map_err(raise)?;
            self.count += counts.value(row);
            self.sum = self.sum.checked_add(sum).ok_or_else(|| raise(overflow()))?;
            self.squares = self.squares.checked_add(square).ok_or_else(|| raise(overflow()))?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Intervals {
    average: bool,
    count: i64,
    months: i64,
    days: i64,
    nanos: i64,
}

pub(super) fn interval_sum(_args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    Box::new(Intervals::default())
}

pub(super) fn interval_average(_args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    Box::new(Intervals { average: true, ..Intervals::default() })
}

pub(super) fn interval_state(_input: &FieldRef, _result: &FieldRef) -> Vec<DataType> {
    vec![DataType::Int64, DataType::Int64, DataType::Int64, DataType::Int64]
}

impl Intervals {
    fn add(&mut self, count: i64, months: i64, days: i64, nanos: i64) -> DfResult<()> {
        self.count += count;
        self.months += months;
        self.days += days;
        self.nanos = self.nanos.checked_add(nanos).ok_or_else(|| raise(interval::out_of_range()))?;
        Ok(())
    }

    fn apply(&mut self, values: &ArrayRef, sign: i64) -> DfResult<()> {
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            let (months, days) = (i64::from(value.months), i64::from(value.days));
            self.add(sign, sign * months, sign * days, sign * value.nanoseconds)?;
        }
        Ok(())
    }
}

impl Accumulator for Intervals {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.apply(&values[0], 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.apply(&values[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&DataType::Interval(IntervalUnit::MonthDayNano));
        }
        let by = if self.average { self.count } else { 1 };
        let month_days = (self.months % by) * 30;
        let days = self.days + month_days / by;
        let day_rest = (self.days % by + month_days % by) as f64 / by as f64;
        let (months, days) =
            (self.months / by, if by == 1 { days } else { self.days / by + month_days / by });
        let nanos = self.nanos / by + (day_rest * 86_400e9 * f64::from(u8::from(by != 1))) as i64;
        let narrow = |value: i64| i32::try_from(value).map_err(|_| raise(interval::out_of_range()));
        let value = IntervalMonthDayNano::new(narrow(months)?, narrow(days)?, nanos - nanos % 1000);
        Ok(ScalarValue::IntervalMonthDayNano(Some(value)))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok([self.count, self.months, self.days, self.nanos].map(|v| ScalarValue::Int64(Some(v))).to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let columns: Vec<_> = states.iter().map(|state| state.as_primitive::<Int64Type>()).collect();
        for row in 0..columns[0].len() {
            self.add(
                columns[0].value(row),
                columns[1].value(row),
                columns[2].value(row),
                columns[3].value(row),
            )?;
        }
        Ok(())
    }
}
