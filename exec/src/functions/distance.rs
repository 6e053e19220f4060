//! pgvector's distance functions; the operators are the same functions under their symbols.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use datafusion::logical_expr::{Expr, ScalarUDF};
use proto::{DistanceMetric, SqlError};

use super::overload::{Call, Compute, PgFunction};
use super::vectors::{check_same, pairs};

/// The distance between two vectors of equal dimensions, as the operator gives it.
#[must_use]
pub fn distance(metric: DistanceMetric, left: &[f32], right: &[f32]) -> f64 {
    segments::distance::distance(metric, left, right)
}

fn by_row(call: &Call<'_>, compute: impl Fn(&[f32], &[f32]) -> f64) -> Result<ArrayRef, SqlError> {
    let rows = pairs(call, |left, right| {
        check_same(left, right)?;
        Ok(compute(left, right))
    })?;
    Ok(Arc::new(Float64Array::from(rows)))
}

fn l2(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    by_row(call, |a, b| distance(DistanceMetric::L2, a, b))
}

fn negative_inner_product(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    by_row(call, |a, b| distance(DistanceMetric::InnerProduct, a, b))
}

fn cosine(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    by_row(call, |a, b| distance(DistanceMetric::Cosine, a, b))
}

fn l1(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    by_row(call, |a, b| distance(DistanceMetric::L1, a, b))
}

fn inner_product(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    by_row(call, |a, b| 0.0 - distance(DistanceMetric::InnerProduct, a, b))
}

fn l2_squared(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    by_row(call, |a, b| a.iter().zip(b).map(|(x, y)| f64::from(x - y) * f64::from(x - y)).sum())
}

/// Half the angle's share of a turn, of vectors that are normalised already.
fn spherical(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    by_row(call, |a, b| {
        let product = -distance(DistanceMetric::InnerProduct, a, b);
        product.clamp(-1.0, 1.0).acos() / std::f64::consts::PI
    })
}

/// The distance functions.
#[must_use]
pub(crate) fn functions() -> Vec<PgFunction> {
    let list: [(&'static str, Compute); 7] = [
        ("l2_distance", l2),
        ("vector_negative_inner_product", negative_inner_product),
        ("cosine_distance", cosine),
        ("l1_distance", l1),
        ("inner_product", inner_product),
        ("vector_l2_squared_distance", l2_squared),
        ("vector_spherical_distance", spherical),
    ];
    list.into_iter()
        .map(|(name, compute)| PgFunction::immutable(name).on("vector,vector", "float8", compute))
        .collect()
}

/// The function that computes what an operator of a metric does.
#[must_use]
pub fn operator_function(metric: DistanceMetric) -> Arc<ScalarUDF> {
    super::scalar_function(metric.operator_function())
}

/// The operator's entry: its function under its symbol.
#[must_use]
pub(super) fn operator(metric: DistanceMetric) -> super::Function {
    super::Function {
        name: metric.operator().to_owned(),
        kind: super::FunctionKind::Scalar(operator_function(metric)),
        signatures: vec![super::signature::Signature::parse("vector,vector", "float8")],
    }
}

/// The metric and operands of an expression that is one of the four operator functions.
#[must_use]
pub fn as_distance(expression: &Expr) -> Option<(DistanceMetric, &Expr, &Expr)> {
    let Expr::ScalarFunction(function) = expression else { return None };
    function.func.inner().downcast_ref::<PgFunction>()?;
    let metric =
        DistanceMetric::ALL.into_iter().find(|metric| metric.operator_function() == function.func.name())?;
    match function.args.as_slice() {
        [left, right] => Some((metric, left, right)),
        _ => None,
    }
}
