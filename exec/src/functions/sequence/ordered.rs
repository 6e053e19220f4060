//! Sequence calls of one select list that see each other: `SELECT currval('s'), nextval('s')`.
//!
//! DataFusion awaits one call for all rows of a batch and then the next, and evaluates calls that need no waiting
//! behind those. PostgreSQL evaluates row after row, and each row from left to right. So a list that both draws or sets
//! values and reads them is given to one function, which makes all the calls in that order and returns a struct of
//! their results. What it is not: a list of draws alone, which needs no order between its rows' calls.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, UInt32Type};
use async_trait::async_trait;
use datafusion::common::Column;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::logical_plan::Projection;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use proto::SqlError;

use super::{current_value, last_value, next_values, set_value};
use crate::error::{internal, raise};
use crate::statement::{StatementContext, of_config};

/// One call of the list: what is done with its arguments, and where they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Step {
    kind: StepKind,
    first_argument: usize,
    arguments: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum StepKind {
    Next,
    Set,
    Current,
    Last,
}

impl StepKind {
    fn of(function: &ScalarUDF) -> Option<Self> {
        match function.name() {
            "nextval" => Some(Self::Next),
            "setval" => Some(Self::Set),
            "currval" => Some(Self::Current),
            "lastval" => Some(Self::Last),
            _ => None,
        }
    }

    const fn reads(self) -> bool {
        matches!(self, Self::Current | Self::Last)
    }
}

/// The name of the column that holds what the calls gave.
const CALLS: &str = "sequence_calls";

/// A projection in which sequence calls that see each other are made in PostgreSQL's order: in a projection below, once.
///
/// # Errors
/// DataFusion's own, of walking through expressions.
pub fn project_in_order(plan: LogicalPlan, expressions: Vec<Expr>) -> DfResult<LogicalPlan> {
    let (calls, expressions) = in_order(expressions)?;
    let Some(calls) = calls else {
        return Projection::try_new(expressions, Arc::new(plan)).map(LogicalPlan::Projection);
    };
    let mut below: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    below.push(calls.alias(CALLS));
    let below = Projection::try_new(below, Arc::new(plan)).map(LogicalPlan::Projection)?;
    Projection::try_new(expressions, Arc::new(below)).map(LogicalPlan::Projection)
}

/// The function that makes the calls, when there is one, and the list that reads its column.
fn in_order(expressions: Vec<Expr>) -> DfResult<(Option<Expr>, Vec<Expr>)> {
    let (mut steps, mut arguments, mut nested) = (Vec::new(), Vec::new(), false);
    for expression in &expressions {
        expression.apply(|part| {
            let Some((kind, values)) = step_of(part) else { return Ok(TreeNodeRecursion::Continue) };
            for value in values {
                nested |= value.exists(|inner| Ok(step_of(inner).is_some()))?;
            }
            steps.push(Step { kind, first_argument: arguments.len(), arguments: values.len() });
            arguments.extend_from_slice(values);
            Ok(TreeNodeRecursion::Jump)
        })?;
    }
    let reads = steps.iter().filter(|step| step.kind.reads()).count();
    if nested || reads == 0 || reads == steps.len() {
        return Ok((None, expressions));
    }
    let calls = Expr::Column(Column::new_unqualified(CALLS));
    let mut made = 0;
    let replaced = expressions.into_iter().map(|expression| {
        let name = expression.schema_name().to_string();
        let aliased = matches!(expression, Expr::Alias(_));
        let changed = expression.transform_down(|part| {
            if step_of(&part).is_none() {
                return Ok(Transformed::no(part));
            }
            made += 1;
            Ok(Transformed::new(
                CallResult::function(made - 1).call(vec![calls.clone()]),
                true,
                TreeNodeRecursion::Jump,
            ))
        })?;
        Ok(if aliased || !changed.transformed { changed.data } else { changed.data.alias(name) })
    });
    let replaced: DfResult<Vec<Expr>> = replaced.collect();
    Ok((Some(OrderedCalls::function(steps).call(arguments)), replaced?))
}

fn step_of(expression: &Expr) -> Option<(StepKind, &[Expr])> {
    let Expr::ScalarFunction(call) = expression else { return None };
    StepKind::of(&call.func).map(|kind| (kind, call.args.as_slice()))
}

fn field_name(step: usize) -> String {
    format!("call_{step}")
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OrderedCalls {
    signature: Signature,
    steps: Vec<Step>,
}

impl OrderedCalls {
    fn function(steps: Vec<Step>) -> ScalarUDF {
        let signature = Signature::variadic_any(Volatility::Volatile);
        AsyncScalarUDF::new(Arc::new(Self { signature, steps })).into_scalar_udf()
    }

    fn fields(&self) -> Fields {
        (0..self.steps.len()).map(|step| Field::new(field_name(step), DataType::Int64, true)).collect()
    }
}

impl ScalarUDFImpl for OrderedCalls {
    fn name(&self) -> &str {
        CALLS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Struct(self.fields()))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(internal("sequence calls can only be awaited"))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for OrderedCalls {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let context = Arc::clone(of_config(&args.config_options)?);
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let mut columns = vec![Vec::with_capacity(rows); self.steps.len()];
        for row in 0..rows {
            for (step, column) in self.steps.iter().zip(&mut columns) {
                let arguments = &arrays[step.first_argument..step.first_argument + step.arguments];
                column.push(make(&context, step.kind, arguments, row).await.map_err(raise)?);
            }
        }
        let columns = columns.into_iter().map(|column| Arc::new(Int64Array::from(column)) as ArrayRef);
        Ok(ColumnarValue::Array(Arc::new(StructArray::new(self.fields(), columns.collect(), None))))
    }
}

/// What one of the calls gave. DataFusion's own access to a field would be moved below, to the function, which would then
/// be awaited once per field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CallResult {
    signature: Signature,
    step: usize,
}

impl CallResult {
    fn function(step: usize) -> ScalarUDF {
        ScalarUDF::from(Self { signature: Signature::any(1, Volatility::Volatile), step })
    }
}

impl ScalarUDFImpl for CallResult {
    fn name(&self) -> &str {
        "sequence_call_result"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let calls = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::clone(calls.as_struct().column(self.step))))
    }
}

/// One call for one row; NULL when an argument is.
async fn make(
    context: &StatementContext,
    kind: StepKind,
    arguments: &[ArrayRef],
    row: usize,
) -> Result<Option<i64>, SqlError> {
    if arguments.iter().any(|argument| argument.is_null(row)) {
        return Ok(None);
    }
    let session = &context.session;
    let oid = arguments.first().map_or(0, |oids| oids.as_primitive::<UInt32Type>().value(row));
    Ok(Some(match kind {
        StepKind::Next => next_values(context, &arguments[0].slice(row, 1)).await?.value(0),
        StepKind::Set => {
            let value = arguments[1].as_primitive::<Int64Type>().value(row);
            let is_called = arguments.get(2).is_none_or(|called| called.as_boolean().value(row));
            set_value(context, oid, value, is_called).await?;
            value
        }
        StepKind::Current => current_value(session, &session.sequence_values.lock(), oid)?,
        StepKind::Last => last_value(&session.sequence_values.lock())?,
    }))
}
