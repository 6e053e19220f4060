//! `min` and `max` of types whose values compare by a key: numeric, interval, character(n), arrays of them.
//!
//! Of equal values the last one is shown, as in PostgreSQL, of character(n) the first.

use std::sync::Arc;

use std::cmp::Ordering;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::function::AccumulatorArgs;
use proto::{ColumnType, TypeKind};

use crate::error::raise;
use crate::functions::keys::key_bytes;

#[derive(Debug)]
struct Extreme {
    greatest: bool,
    ty: ColumnType,
    field: FieldRef,
    best: Option<(Box<[u8]>, ScalarValue)>,
}

pub(super) fn accumulator(name: &str, args: &AccumulatorArgs<'_>) -> Box<dyn Accumulator> {
    let ty = args.expr_fields.first().map_or(ColumnType::TEXT, |field| ColumnType::of_field(field));
    Box::new(Extreme { greatest: name == "max", ty, field: Arc::clone(&args.return_field), best: None })
}

impl Accumulator for Extreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let keys = key_bytes(&values[0], self.ty).map_err(raise)?;
        let keys = keys.as_binary::<i32>();
        for (row, key) in keys.iter().enumerate() {
            let Some(key) = key else { continue };
            let better = match &self.best {
                None => true,
                Some((best, _)) => match key.cmp(best.as_ref()) {
                    Ordering::Equal => self.ty.kind != TypeKind::Bpchar || self.ty.array,
                    order => (order == Ordering::Greater) == self.greatest,
                },
            };
            if better {
                self.best = Some((key.into(), ScalarValue::try_from_array(&values[0], row)?));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        match &self.best {
            Some((_, value)) => Ok(value.clone()),
            None => ScalarValue::try_from(self.field.data_type()),
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.best.as_ref().map_or(0, |(key, value)| key.len() + value.size())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        debug_assert_ne!(*states[0].data_type(), DataType::Null, "states have the result's type");
        self.update_batch(states)
    }
}
