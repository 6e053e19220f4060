//! Parameters in physical plans: a nullary function stands for `$n` until a run puts the value in its place.
//!
//! The optimizer sees DataFusion's placeholders, which it never folds; physical plans have none, so they become
//! these functions on the way down. Operators that take no values before a run (`apply` plans whatever a subquery
//! holds) leave the functions where they are: those look up their value in `PresentValues`.
//!
//! Invariant: `values_in` leaves no parameter behind, and gives functions that look at the session the running
//! statement's one.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::metadata::{FieldMetadata, ScalarAndMetadata};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use parking_lot::Mutex;
use proto::ColumnType;

use super::value::ParameterExpr;
use crate::error::internal;

/// The value of a parameter, of the type that the plan gives it.
#[derive(Clone, Debug)]
pub struct ParameterValue {
    pub value: ScalarValue,
    pub ty: ColumnType,
}

impl ParameterValue {
    /// The value with the metadata that names its type.
    #[must_use]
    pub fn with_metadata(&self) -> ScalarAndMetadata {
        ScalarAndMetadata::new(self.value.clone(), Some(FieldMetadata::from(self.ty.metadata())))
    }
}

/// The values of a plan's parameters in the run at hand; the plan is run by one at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct PresentValues(Arc<Mutex<Vec<ScalarValue>>>);

impl PresentValues {
    pub(super) fn set(&self, values: Vec<ScalarValue>) {
        *self.0.lock() = values;
    }
}

/// The function that stands for `$n`.
#[derive(Debug)]
struct Parameter {
    id: String,
    /// From 0.
    index: usize,
    field: FieldRef,
    /// None where a run puts the value into the plan.
    present: Option<PresentValues>,
    signature: Signature,
}

impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.field == other.field
    }
}

impl Eq for Parameter {}

impl Hash for Parameter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}

impl ScalarUDFImpl for Parameter {
    fn name(&self) -> &str {
        &self.id
    }

    fn display_name(&self, _args: &[Expr]) -> DfResult<String> {
        Ok(self.id.clone())
    }

    fn schema_name(&self, _args: &[Expr]) -> DfResult<String> {
        Ok(self.id.clone())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::clone(&self.field))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let value = self.present.as_ref().and_then(|present| present.0.lock().get(self.index).cloned());
        value
            .map(ColumnarValue::Scalar)
            .ok_or_else(|| internal(format!("parameter {} has no value", self.id)))
    }
}

/// The expression with functions in the place of placeholders, for values that a run puts in.
pub(crate) fn as_functions(expression: Expr) -> DfResult<Transformed<Expr>> {
    functions_in(expression, None)
}

fn functions_in(expression: Expr, present: Option<&PresentValues>) -> DfResult<Transformed<Expr>> {
    expression.transform_up(|node| {
        let Expr::Placeholder(Placeholder { id, field }) = &node else { return Ok(Transformed::no(node)) };
        let (Some(index), Some(field)) = (index_of(id), field) else {
            return Err(internal(format!("parameter {id} has no type")));
        };
        let signature = Signature::nullary(Volatility::Stable);
        let present = present.cloned();
        let parameter = Parameter { id: id.clone(), index, field: Arc::clone(field), present, signature };
        Ok(Transformed::yes(ScalarUDF::from(parameter).call(Vec::new())))
    })
}

/// The same for every expression of a plan, subqueries' too.
pub(super) fn plan_with_functions(
    plan: LogicalPlan,
    present: Option<&PresentValues>,
) -> DfResult<LogicalPlan> {
    let functions = |node: LogicalPlan| node.map_expressions(|expression| functions_in(expression, present));
    Ok(plan.transform_up_with_subqueries(functions)?.data)
}

/// The name of the parameter at a position, from 0.
pub(super) fn id_of(index: usize) -> String {
    format!("${}", index + 1)
}

fn parameter_of(call: &ScalarFunctionExpr) -> Option<&Parameter> {
    call.fun().inner().downcast_ref::<Parameter>()
}

/// Whether a physical expression has parts that a run must put in: parameters, or functions of the session.
pub(super) fn is_open(expression: &Arc<dyn PhysicalExpr>) -> DfResult<bool> {
    let mut open = false;
    expression.apply(|node| {
        open = node.downcast_ref::<ScalarFunctionExpr>().is_some_and(is_stable);
        Ok(if open { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(open)
}

/// Whether a physical expression calls a function that looks at the session.
pub(super) fn reads_session(expression: &Arc<dyn PhysicalExpr>) -> DfResult<bool> {
    let mut reads = false;
    expression.apply(|node| {
        let call = node.downcast_ref::<ScalarFunctionExpr>();
        reads = call.is_some_and(|call| is_stable(call) && parameter_of(call).is_none());
        Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(reads)
}

fn is_stable(call: &ScalarFunctionExpr) -> bool {
    call.fun().signature().volatility != Volatility::Immutable
}

/// The types that the plan gives its parameters, by position; none where it has no such parameter.
pub(super) fn types_in(plan: &LogicalPlan) -> DfResult<Vec<Option<DataType>>> {
    let mut types: Vec<Option<DataType>> = Vec::new();
    plan.apply(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::Placeholder(Placeholder { id, field: Some(field) }) = part
                    && let Some(index) = index_of(id)
                {
                    types.resize(types.len().max(index + 1), None);
                    types[index] = Some(field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
}

/// The position of `$n`, from 0.
fn index_of(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// What a run puts into expressions.
pub(crate) struct Values<'a> {
    pub(super) parameters: &'a [ParameterValue],
    /// Options that carry the running statement.
    pub(super) options: &'a Arc<ConfigOptions>,
}

impl Values<'_> {
    /// The expression with its parameters' values, and functions of the session in the running statement.
    pub(crate) fn values_in(&self, expression: &Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
        let bound = Arc::clone(expression).transform_up(|node| {
            let Some(call) = node.downcast_ref::<ScalarFunctionExpr>().filter(|call| is_stable(call)) else {
                return Ok(Transformed::no(node));
            };
            let replaced: Arc<dyn PhysicalExpr> = match parameter_of(call) {
                Some(parameter) => {
                    let given = self
                        .parameters
                        .get(parameter.index)
                        .ok_or_else(|| internal(format!("parameter {} is missing", parameter.id)))?;
                    Arc::new(ParameterExpr {
                        id: parameter.id.clone(),
                        value: given.value.clone(),
                        field: Arc::clone(&parameter.field),
                    })
                }
                None => Arc::new(ScalarFunctionExpr::new(
                    call.name(),
                    Arc::new(call.fun().clone()),
                    call.args().to_vec(),
                    call.return_field(&arrow::datatypes::Schema::empty())?,
                    Arc::clone(self.options),
                )),
            };
            Ok(Transformed::yes(replaced))
        })?;
        Ok(bound.data)
    }
}
