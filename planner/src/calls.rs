//! The few places where the planner reaches for exec's functions by name.

use std::sync::Arc;

use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ScalarUDF};
use exec::functions::{FunctionKind, find};

/// A scalar function of exec's list.
pub(crate) fn scalar(name: &str) -> Option<Arc<ScalarUDF>> {
    match &find(name)?.kind {
        FunctionKind::Scalar(function) => Some(Arc::clone(function)),
        _ => None,
    }
}

/// A call of a scalar function whose arguments have the right types already.
pub(crate) fn call(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func: function, args })
}

/// `ARRAY[…]` of elements of one type.
pub(crate) fn make_array(elements: Vec<Expr>) -> Expr {
    datafusion::functions_nested::expr_fn::make_array(elements)
}

/// `value = ANY (array)` and `value <> ALL (array)` over an array that is no list of literals.
pub(crate) fn quantified(symbol: &str, any: bool, value: Expr, array: Expr) -> Option<Expr> {
    let negated = match (symbol, any) {
        ("=", true) => false,
        ("<>", false) => true,
        _ => return None,
    };
    let contained = datafusion::functions_nested::expr_fn::array_has(array, value);
    Some(if negated { datafusion::logical_expr::not(contained) } else { contained })
}
