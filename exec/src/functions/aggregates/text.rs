//! `string_agg`: each value's delimiter stands before it, except before the first. With ORDER BY or DISTINCT
//! DataFusion's own does the work, which keeps the order over partial results.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::Accumulator;

/// The text so far, beginning with the first value's delimiter, whose length is kept: merging partial results
/// needs it.
#[derive(Debug, Default)]
struct Joined {
    text: Option<String>,
    first_delimiter: usize,
}

pub(super) fn joined() -> Box<dyn Accumulator> {
    Box::new(Joined::default())
}

pub(super) fn state() -> Vec<DataType> {
    vec![DataType::Utf8, DataType::Int64]
}

/// DataFusion's result as the text type that we carry.
#[derive(Debug)]
pub(super) struct AsText(pub(super) Box<dyn Accumulator>);

impl Accumulator for AsText {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.0.update_batch(values)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        self.0.evaluate()?.cast_to(&DataType::Utf8)
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.0.merge_batch(states)
    }
}

impl Joined {
    fn push(&mut self, delimiter: &str, value: &str) {
        match &mut self.text {
            Some(text) => {
                text.push_str(delimiter);
                text.push_str(value);
            }
            None => {
                self.first_delimiter = delimiter.len();
                self.text = Some(format!("{delimiter}{value}"));
            }
        }
    }
}

impl Accumulator for Joined {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let texts = cast(&values[0], &DataType::Utf8)?;
        let delimiters = cast(&values[1], &DataType::Utf8)?;
        let (texts, delimiters) = (texts.as_string::<i32>(), delimiters.as_string::<i32>());
        for row in (0..texts.len()).filter(|row| texts.is_valid(*row)) {
            let delimiter = if delimiters.is_valid(row) { delimiters.value(row) } else { "" };
            self.push(delimiter, texts.value(row));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(ScalarValue::Utf8(self.text.as_ref().map(|text| text[self.first_delimiter..].to_owned())))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.text.as_ref().map_or(0, String::capacity)
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Utf8(self.text.clone()), ScalarValue::Int64(Some(self.first_delimiter as i64))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let texts = states[0].as_string::<i32>();
        let lengths = states[1].as_primitive::<arrow::datatypes::Int64Type>();
        for row in (0..texts.len()).filter(|row| texts.is_valid(*row)) {
            let (delimiter, value) = texts.value(row).split_at(lengths.value(row) as usize);
            self.push(delimiter, value);
        }
        Ok(())
    }
}
