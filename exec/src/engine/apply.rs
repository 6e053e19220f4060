//! Apply: runs a subquery once per distinct row of what it refers to outside, when nothing better is known.
//!
//! DataFusion turns subqueries into joins where it can and refuses the rest: scalar subqueries that could give
//! several rows, comparisons other than equality with outer columns, EXISTS and IN inside the select list.
//! Catalog queries are full of them, over small relations. Here such a subquery becomes an asynchronous function
//! of the outer columns it names: they are put into its plan as literals, and the plan is run.
//!
//! What it is not: fast. The engine plans without it first, and comes here only when DataFusion refuses.
//!
//! Invariants: equal outer values are computed once (up to a bound); a subquery in a branch of CASE runs only for
//! the rows of that branch; a scalar subquery that gives two rows is 21000;
//! the statement's cancel flag is looked at before every run.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use async_trait::async_trait;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result as DfResult, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_plan::collect;
use parking_lot::Mutex;
use proto::{ErrorKind, SqlError};

use crate::error::{internal, raise};
use crate::statement::of_config;

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
    let is_plain = outer.is_empty() && (in_filter || kind == Kind::Scalar);
    if is_plain {
        return Ok(Transformed::no(expression));
    }
    let columns = outer.iter().map(|(_, column)| Expr::Column(column.clone()));
    let arguments: Vec<Expr> = guard.into_iter().chain(searched).cloned().chain(columns).collect();
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
        plan: Arc::clone(&subquery.subquery),
        guarded: guard.is_some(),
        known: Mutex::default(),
        outer: outer.into_iter().map(|(_, column)| column).collect(),
        kind,
        result,
        state: Arc::new(state.clone()),
        signature,
    };
    let function = ScalarUDF::new_from_impl(AsyncScalarUDF::new(Arc::new(function)));
    Ok(Transformed::yes(function.call(arguments)))
}

/// The columns of enclosing queries that a plan refers to, each once, those that its own subqueries find in it
/// left out.
fn free_references(plan: &LogicalPlan) -> DfResult<Vec<(FieldRef, Column)>> {
    let mut found: Vec<(FieldRef, Column)> = Vec::new();
    let mut seen = HashSet::new();
    plan.apply(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                let references = match part {
                    Expr::OuterReferenceColumn(field, column) => vec![(Arc::clone(field), column.clone())],
                    _ => match subquery_of(part) {
                        Some(subquery) => free_references(&subquery.subquery)?
                            .into_iter()
                            .filter(|(_, column)| !sees(node, column))
                            .collect(),
                        None => Vec::new(),
                    },
                };
                found.extend(references.into_iter().filter(|(_, column)| seen.insert(column.clone())));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// The subquery inside an expression node.
const fn subquery_of(expression: &Expr) -> Option<&Subquery> {
    match expression {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(search) => Some(&search.subquery),
        _ => None,
    }
}

/// Whether a column is one of those that a node's expressions can name.
fn sees(node: &LogicalPlan, column: &Column) -> bool {
    node.inputs().iter().any(|input| input.schema().has_column(column))
}

/// The plan with outer columns replaced by their values.
fn substitute(plan: LogicalPlan, values: &HashMap<Column, Expr>) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up(|node| {
        let names = NamePreserver::new(&node);
        let visible: HashMap<Column, Expr> = values
            .iter()
            .filter(|(column, _)| !sees(&node, column))
            .map(|(column, value)| (column.clone(), value.clone()))
            .collect();
        let rewritten = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let put = expression.transform_up(|part| substitute_in(part, values, &visible))?;
            Ok(put.update_data(|expression| name.restore(expression)))
        })?;
        rewritten.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(plan.data)
}

/// One expression node with its values put in; `inner` are the values that nested subqueries may take.
fn substitute_in(
    expression: Expr,
    values: &HashMap<Column, Expr>,
    inner: &HashMap<Column, Expr>,
) -> DfResult<Transformed<Expr>> {
    let nested = |subquery: Subquery| -> DfResult<Subquery> {
        let plan = substitute(subquery.subquery.as_ref().clone(), inner)?;
        let outer_ref_columns = free_references(&plan)?
            .into_iter()
            .map(|(field, column)| Expr::OuterReferenceColumn(field, column));
        Ok(Subquery { outer_ref_columns: outer_ref_columns.collect(), subquery: Arc::new(plan), ..subquery })
    };
    Ok(match expression {
        Expr::OuterReferenceColumn(field, column) => match values.get(&column) {
            Some(value) => Transformed::yes(value.clone()),
            None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
        },
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(nested(subquery)?)),
        Expr::Exists(mut exists) => {
            exists.subquery = nested(exists.subquery)?;
            Transformed::yes(Expr::Exists(exists))
        }
        Expr::InSubquery(mut search) => {
            search.subquery = nested(search.subquery)?;
            Transformed::yes(Expr::InSubquery(search))
        }
        other => Transformed::no(other),
    })
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
    plan: Arc<LogicalPlan>,
    /// Whether the first argument says on which rows the subquery is wanted.
    guarded: bool,
    /// The rows for outer values that came before; a function lives no longer than its statement.
    known: Mutex<HashMap<Vec<ScalarValue>, ArrayRef>>,
    outer: Vec<Column>,
    kind: Kind,
    result: FieldRef,
    state: Arc<SessionState>,
    signature: Signature,
}

impl PartialEq for ApplyFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.guarded == other.guarded && self.plan == other.plan
    }
}

impl Eq for ApplyFunction {}

impl Hash for ApplyFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.plan.hash(state);
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
        let rows = self.run(outer).await?;
        let mut known = self.known.lock();
        if known.len() < KNOWN_VALUES {
            known.insert(outer.to_vec(), Arc::clone(&rows));
        }
        Ok(rows)
    }

    /// The first column of the subquery's rows for some outer values.
    async fn run(&self, outer: &[ScalarValue]) -> DfResult<ArrayRef> {
        of_config(self.state.config_options())?.cancel.check()?;
        let literals: HashMap<Column, Expr> = self
            .outer
            .iter()
            .zip(outer)
            .map(|(column, value)| (column.clone(), Expr::Literal(value.clone(), None)))
            .collect();
        let plan = substitute(self.plan.as_ref().clone(), &literals)?;
        // A future that contains itself needs a box.
        let physical = Box::pin(super::physical_plan(&self.state, plan)).await?;
        let schema = physical.schema();
        let batches = collect(physical, self.state.task_ctx()).await?;
        if schema.fields().is_empty() {
            let rows = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
            return Ok(arrow::array::new_null_array(&DataType::Null, rows));
        }
        Ok(Arc::clone(arrow::compute::concat_batches(&schema, &batches)?.column(0)))
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
