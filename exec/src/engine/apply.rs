//! Apply: runs a subquery once per distinct row of what it refers to outside, when nothing better is known.
//!
//! DataFusion turns subqueries into joins where it can and refuses the rest: scalar subqueries that could give
//! several rows, comparisons other than equality with outer columns, EXISTS and IN inside the select list.
//! Catalog queries are full of them, over small relations. Here such a subquery becomes an asynchronous function
//! of the outer columns it names: it is planned once with parameters in their place (`planned`), and that plan is
//! run.
//!
//! What it is not: fast. The engine plans without it first, and comes here only when DataFusion refuses.
//!
//! Invariants: equal outer values are computed once (up to a bound); a subquery in a branch of CASE runs only for
//! the rows of that branch; a scalar subquery that gives two rows is 21000;
//! the statement's cancel flag is looked at before every run.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use async_trait::async_trait;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use parking_lot::Mutex;
use proto::{ErrorKind, SqlError};

use crate::error::{internal, raise};

mod planned;
mod references;

use planned::PlannedSubquery;
use references::{free_references, subquery_of};

/// Outer values whose rows are kept.
const KNOWN_VALUES: usize = 4096;

/// Whether any expression of a plan holds a subquery.
pub(super) fn has_subqueries(plan: &LogicalPlan) -> DfResult<bool> {
    plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(|expression| {
            found |= expression.exists(|part| Ok(subquery_of(part).is_some()))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    })
}

/// The plan with its subqueries as functions; none when it has none that this helps.
pub(super) fn apply_subqueries(plan: LogicalPlan, state: &SessionState) -> DfResult<Option<LogicalPlan>> {
    let mut replaced = false;
    let plan = plan.transform_up(|node| {
        let names = NamePreserver::new(&node);
        let in_filter = matches!(node, LogicalPlan::Filter(_));
        let rewritten = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let applied = applied(expression, None, in_filter, state)?;
            Ok(applied.update_data(|expression| name.restore(expression)))
        })?;
        replaced |= rewritten.transformed;
        rewritten.map_data(|node| if replaced { node.recompute_schema() } else { Ok(node) })
    })?;
    Ok(replaced.then_some(plan.data))
}

/// An expression with its subqueries as functions. `guard` says on which rows its value matters at all.
fn applied(
    expression: Expr,
    guard: Option<&Expr>,
    in_filter: bool,
    state: &SessionState,
) -> DfResult<Transformed<Expr>> {
    if let Expr::Case(case) = expression {
        return branches_applied(case, guard, in_filter, state);
    }
    let parts = expression.map_children(|part| applied(part, guard, in_filter, state))?;
    parts.transform_data(|expression| as_function(expression, guard, in_filter, state))
}

/// A CASE whose branches run their subqueries only on the rows that come to them: asynchronous functions are
/// evaluated ahead of the expression around them, for every row.
fn branches_applied(
    mut case: Case,
    guard: Option<&Expr>,
    in_filter: bool,
    state: &SessionState,
) -> DfResult<Transformed<Expr>> {
    let mut changed = false;
    let mut step = |expression: Box<Expr>, guard: Option<&Expr>| -> DfResult<Box<Expr>> {
        let done = applied(*expression, guard, in_filter, state)?;
        changed |= done.transformed;
        Ok(Box::new(done.data))
    };
    let within = |condition: &Expr| match guard {
        Some(guard) => guard.clone().and(condition.clone()),
        None => condition.clone(),
    };
    case.expr = case.expr.map(|operand| step(operand, guard)).transpose()?;
    let mut rest: Option<Expr> = None;
    let mut guardable = true;
    for (when, then) in &mut case.when_then_expr {
        *when = step(std::mem::take(when), guard)?;
        let condition = match &case.expr {
            Some(operand) => operand.as_ref().clone().eq(when.as_ref().clone()),
            None => when.as_ref().clone(),
        };
        guardable &= !condition.is_volatile();
        let own = guardable.then(|| within(&condition));
        *then = step(std::mem::take(then), own.as_ref().or(guard))?;
        let missed = condition.is_not_true();
        rest = Some(rest.map_or_else(|| missed.clone(), |rest| rest.and(missed.clone())));
    }
    let rest = rest.filter(|_| guardable).map(|rest| within(&rest));
    case.else_expr = case.else_expr.map(|other| step(other, rest.as_ref().or(guard))).transpose()?;
    Ok(Transformed::new_transformed(Expr::Case(case), changed))
}

/// A subquery expression as a function; anything else, and what DataFusion does well, as it is.
fn as_function(
    expression: Expr,
    guard: Option<&Expr>,
    in_filter: bool,
    state: &SessionState,
) -> DfResult<Transformed<Expr>> {
    let (subquery, kind, searched) = match &expression {
        Expr::ScalarSubquery(subquery) => (subquery, Kind::Scalar, None),
        Expr::Exists(exists) => (&exists.subquery, Kind::Exists { negated: exists.negated }, None),
        Expr::InSubquery(search) => {
            (&search.subquery, Kind::In { negated: search.negated }, Some(search.expr.as_ref()))
        }
        _ => return Ok(Transformed::no(expression)),
    };
    let outer = free_references(&subquery.subquery)?;
    let stands_alone = !outer.iter().any(|(outer, _)| outer.is_column());
    let is_plain = stands_alone && (in_filter || kind == Kind::Scalar);
    if is_plain {
        return Ok(Transformed::no(expression));
    }
    let values = outer.iter().map(|(outer, field)| outer.in_enclosing_query(field));
    let arguments: Vec<Expr> = guard.into_iter().chain(searched).cloned().chain(values).collect();
    let result = match kind {
        Kind::Scalar => Arc::clone(&subquery.subquery.schema().fields()[0]),
        _ => proto::ColumnType::BOOL.arrow_field("exists", true),
    };
    let signature = if arguments.is_empty() {
        Signature::nullary(Volatility::Volatile)
    } else {
        Signature::variadic_any(Volatility::Volatile)
    };
    let function = ApplyFunction {
        subquery: PlannedSubquery::new(Arc::clone(&subquery.subquery), outer, state),
        guarded: guard.is_some(),
        known: Mutex::default(),
        kind,
        result,
        signature,
    };
    let function = ScalarUDF::new_from_impl(AsyncScalarUDF::new(Arc::new(function)));
    Ok(Transformed::yes(function.call(arguments)))
}

/// What is asked of the subquery's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// The one value.
    Scalar,
    /// Whether there is a row.
    Exists { negated: bool },
    /// Whether the first argument is among the values.
    In { negated: bool },
}

/// A subquery as a function of the outer columns it names.
#[derive(Debug)]
struct ApplyFunction {
    subquery: PlannedSubquery,
    /// Whether the first argument says on which rows the subquery is wanted.
    guarded: bool,
    /// The rows for outer values that came before; a function lives no longer than its statement.
    known: Mutex<HashMap<Vec<ScalarValue>, ArrayRef>>,
    kind: Kind,
    result: FieldRef,
    signature: Signature,
}

impl PartialEq for ApplyFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.guarded == other.guarded
            && self.subquery.plan() == other.subquery.plan()
    }
}

impl Eq for ApplyFunction {}

impl Hash for ApplyFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.subquery.plan().hash(state);
    }
}

impl ScalarUDFImpl for ApplyFunction {
    fn name(&self) -> &str {
        "subquery"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(self.result.data_type().clone())
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(self.result.as_ref().clone().with_nullable(true)))
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(internal("a subquery runs asynchronously"))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for ApplyFunction {
    async fn invoke_async_with_args(&self, arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let columns = arguments
            .args
            .iter()
            .map(|value| value.to_array(arguments.number_rows))
            .collect::<DfResult<Vec<_>>>()?;
        let guards = usize::from(self.guarded);
        let searched = guards + usize::from(matches!(self.kind, Kind::In { .. }));
        let mut answers = Vec::with_capacity(arguments.number_rows);
        for row in 0..arguments.number_rows {
            let values = columns
                .iter()
                .map(|column| ScalarValue::try_from_array(column, row))
                .collect::<DfResult<Vec<_>>>()?;
            if self.guarded && values.first() != Some(&ScalarValue::Boolean(Some(true))) {
                answers.push(ScalarValue::try_from(self.result.data_type())?);
                continue;
            }
            let rows = self.rows_for(values.get(searched..).unwrap_or_default()).await?;
            answers.push(self.answer(&rows, values.get(guards))?);
        }
        if answers.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(self.result.data_type())));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(answers)?))
    }
}

impl ApplyFunction {
    /// The subquery's rows for some outer values, run for them once.
    async fn rows_for(&self, outer: &[ScalarValue]) -> DfResult<ArrayRef> {
        if let Some(rows) = self.known.lock().get(outer) {
            return Ok(Arc::clone(rows));
        }
        let rows = self.subquery.run(outer).await?;
        let mut known = self.known.lock();
        if known.len() < KNOWN_VALUES {
            known.insert(outer.to_vec(), Arc::clone(&rows));
        }
        Ok(rows)
    }

    fn answer(&self, rows: &ArrayRef, searched: Option<&ScalarValue>) -> DfResult<ScalarValue> {
        match self.kind {
            Kind::Scalar if rows.len() > 1 => Err(raise(SqlError::new(
                ErrorKind::CardinalityViolation,
                "more than one row returned by a subquery used as an expression",
            ))),
            Kind::Scalar if rows.is_empty() => ScalarValue::try_from(self.result.data_type()),
            Kind::Scalar => ScalarValue::try_from_array(rows, 0)?.cast_to(self.result.data_type()),
            Kind::Exists { negated } => Ok(ScalarValue::Boolean(Some(rows.is_empty() == negated))),
            Kind::In { negated } => {
                let searched = searched.ok_or_else(|| internal("IN without a value"))?;
                Ok(ScalarValue::Boolean(is_among(rows, searched)?.map(|found| found != negated)))
            }
        }
    }
}

/// SQL's IN: unknown when it is not found and a NULL is in the way.
fn is_among(rows: &ArrayRef, searched: &ScalarValue) -> DfResult<Option<bool>> {
    if rows.is_empty() {
        return Ok(Some(false));
    }
    if searched.is_null() {
        return Ok(None);
    }
    let searched = searched.cast_to(rows.data_type())?;
    for row in 0..rows.len() {
        if !rows.is_null(row) && ScalarValue::try_from_array(rows, row)? == searched {
            return Ok(Some(true));
        }
    }
    Ok((rows.null_count() == 0).then_some(false))
}

#[cfg(test)]
mod tests;
