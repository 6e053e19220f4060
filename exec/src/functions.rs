//! Every SQL function, operator and cast that exists, by PostgreSQL name and overload.
//!
//! What it is not: no parsing and no planning. The planner finds a function here, lets `resolve` pick the
//! overload, casts the arguments and builds the expression; what is not found is 42883.
//!
//! Invariants: names are PostgreSQL's; a function's results, types and errors are PostgreSQL's.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use proto::{ColumnType, SqlError};

mod advisory;
pub mod aggregates;
pub mod arithmetic;
pub mod arrays;
mod bytes;
pub mod cast;
pub mod catalog;
mod conditional;
pub mod datetime;
pub mod distance;
mod format;
mod json;
pub mod keys;
mod math;
pub(crate) mod numerics;
pub mod overload;
pub mod resolve;
pub mod sequence;
pub mod series;
pub mod session;
pub mod signature;
mod strings;
pub mod vectors;
pub mod windows;

pub use cast::{CastFunction, cast, cast_array, cast_function};
pub use resolve::{CastContext, Choice, can_cast, cast_context, common_type};
use signature::Signature;

/// What a function is.
#[derive(Clone, Debug)]
pub enum FunctionKind {
    Scalar(Arc<ScalarUDF>),
    Aggregate(Arc<AggregateUDF>),
    Window(Arc<WindowUDF>),
    /// Returns rows: `series::series_provider` and the planner build the relation.
    Table,
}

/// A function of the list with its signatures.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: String,
    pub kind: FunctionKind,
    pub signatures: Vec<Signature>,
}

impl Function {
    /// Picks the overload for argument types; none stands for an unknown literal, NULL or untyped parameter.
    ///
    /// # Errors
    /// 42883 when nothing fits, 42725 when several fit equally well.
    pub fn resolve(&self, types: &[Option<ColumnType>]) -> Result<Choice, SqlError> {
        resolve::choose(&self.name, self.signatures.iter(), types)
    }
}

static FUNCTIONS: LazyLock<HashMap<String, Function>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    let mut add = |function: Function| {
        all.insert(function.name.clone(), function);
    };
    for function in pg_functions() {
        add(scalar_entry(function));
    }
    conditional::functions().into_iter().for_each(&mut add);
    aggregates::functions().into_iter().for_each(&mut add);
    windows::functions().into_iter().for_each(&mut add);
    sequence::functions().into_iter().for_each(&mut add);
    advisory::functions().into_iter().for_each(&mut add);
    add(series::function());
    all
});

static OPERATORS: LazyLock<HashMap<String, Function>> = LazyLock::new(|| {
    let distances = proto::DistanceMetric::ALL.into_iter().map(distance::operator);
    arithmetic::operators()
        .into_iter()
        .map(scalar_entry)
        .chain(distances)
        .map(|function| (function.name.clone(), function))
        .collect()
});

fn pg_functions() -> Vec<overload::PgFunction> {
    [
        vectors::functions(),
        distance::functions(),
        math::functions(),
        strings::functions(),
        format::functions(),
        json::functions(),
        datetime::functions(),
        session::functions(),
        arrays::functions(),
        bytes::functions(),
        catalog::functions(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn scalar_entry(function: overload::PgFunction) -> Function {
    let signatures = function.signatures().cloned().collect();
    let udf = function.build();
    Function { name: udf.name().to_owned(), kind: FunctionKind::Scalar(udf), signatures }
}

/// The function of a name in lower case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

/// The function behind an operator (`+ - * / % ^ || & | # ~ << >>`, prefix forms included, and the distance
/// operators); comparisons are DataFusion's.
#[must_use]
pub fn find_operator(operator: &str) -> Option<&'static Function> {
    OPERATORS.get(operator)
}

/// Picks an operator's overload.
///
/// # Errors
/// 42883 and 42725 in PostgreSQL's words for operators.
pub fn resolve_operator(
    operator: &str,
    types: &[Option<ColumnType>],
) -> Result<(Arc<ScalarUDF>, Choice), SqlError> {
    let missing = || resolve::no_such_operator(operator, types);
    let function = find_operator(operator).ok_or_else(missing)?;
    let FunctionKind::Scalar(udf) = &function.kind else { return Err(missing()) };
    let choice = resolve::choose_operator(operator, function.signatures.iter(), types)?;
    Ok((Arc::clone(udf), choice))
}

/// A scalar function that this crate's own tables name.
///
/// # Panics
/// When the name is not in the tables, which a test rules out for every caller.
#[must_use]
pub(crate) fn scalar_function(name: &str) -> Arc<ScalarUDF> {
    match find(name).map(|function| &function.kind) {
        Some(FunctionKind::Scalar(udf)) => Arc::clone(udf),
        _ => unreachable!("{name} is not a scalar function of ours"),
    }
}

/// All scalar functions and operators.
#[must_use]
pub fn scalar() -> Vec<Arc<ScalarUDF>> {
    FUNCTIONS
        .values()
        .chain(OPERATORS.values())
        .filter_map(|function| match &function.kind {
            FunctionKind::Scalar(udf) => Some(Arc::clone(udf)),
            _ => None,
        })
        .collect()
}

/// All aggregates.
#[must_use]
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    FUNCTIONS
        .values()
        .filter_map(|function| match &function.kind {
            FunctionKind::Aggregate(udf) => Some(Arc::clone(udf)),
            _ => None,
        })
        .collect()
}

/// All window functions that are not aggregates.
#[must_use]
pub fn windows() -> Vec<Arc<WindowUDF>> {
    FUNCTIONS
        .values()
        .filter_map(|function| match &function.kind {
            FunctionKind::Window(udf) => Some(Arc::clone(udf)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
