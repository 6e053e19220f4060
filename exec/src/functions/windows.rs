//! Window functions: DataFusion's, with PostgreSQL's result types.
//!
//! `row_number`, `rank` and `dense_rank` count in bigint, `ntile` in integer; the aggregates serve as window
//! functions too.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::functions_window::{cume_dist, lead_lag, nth_value, ntile, rank, row_number};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{
    LimitEffect, PartitionEvaluator, Signature as DfSignature, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use proto::ColumnType;

use super::signature::{Parameter, Signature};
use super::{Function, FunctionKind};

/// A window function whose result is cast to the type PostgreSQL gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Counted {
    inner: Arc<WindowUDF>,
    result: ColumnType,
}

impl WindowUDFImpl for Counted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &DfSignature {
        self.inner.signature()
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> DfResult<Box<dyn PartitionEvaluator>> {
        let inner = self.inner.inner().partition_evaluator(args)?;
        Ok(Box::new(CastEvaluator { inner, result: self.result.data_type() }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> DfResult<FieldRef> {
        let field = self.inner.inner().field(args)?;
        Ok(self.result.arrow_field(field.name(), field.is_nullable()))
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.inner().sort_options()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(args)
    }
}

/// Casts what another evaluator computes.
#[derive(Debug)]
struct CastEvaluator {
    inner: Box<dyn PartitionEvaluator>,
    result: DataType,
}

impl PartitionEvaluator for CastEvaluator {
    fn memoize(&mut self, state: &mut WindowAggState) -> DfResult<()> {
        self.inner.memoize(state)
    }

    fn get_range(&self, row: usize, rows: usize) -> DfResult<Range<usize>> {
        self.inner.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DfResult<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all(values, rows)?, &self.result)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> DfResult<ScalarValue> {
        self.inner.evaluate(values, range)?.cast_to(&self.result)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> DfResult<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all_with_rank(rows, ranks)?, &self.result)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}

/// The window functions that are not aggregates.
#[must_use]
pub(super) fn functions() -> Vec<Function> {
    let shift = || {
        vec![
            Signature::parse("anyelement", "anyelement"),
            Signature::parse("anyelement,int4", "anyelement"),
            Signature::parse("anyelement,int4,anyelement", "anyelement"),
        ]
    };
    let of_any = || vec![Signature::parse("anyelement", "anyelement")];
    [
        (row_number::row_number_udwf(), vec![Signature::parse("", "int8")]),
        (rank::rank_udwf(), vec![Signature::parse("", "int8")]),
        (rank::dense_rank_udwf(), vec![Signature::parse("", "int8")]),
        (rank::percent_rank_udwf(), vec![Signature::parse("", "float8")]),
        (cume_dist::cume_dist_udwf(), vec![Signature::parse("", "float8")]),
        (ntile::ntile_udwf(), vec![Signature::parse("int4", "int4")]),
        (lead_lag::lag_udwf(), shift()),
        (lead_lag::lead_udwf(), shift()),
        (nth_value::first_value_udwf(), of_any()),
        (nth_value::last_value_udwf(), of_any()),
        (nth_value::nth_value_udwf(), vec![Signature::parse("anyelement,int4", "anyelement")]),
    ]
    .into_iter()
    .map(|(udf, signatures)| {
        let udf = match signatures[0].result {
            Parameter::Is(result) => Arc::new(WindowUDF::from(Counted { inner: udf, result })),
            _ => udf,
        };
        Function { name: udf.name().to_owned(), kind: FunctionKind::Window(udf), signatures }
    })
    .collect()
}

#[cfg(test)]
mod tests;
