//! Window functions: OVER clauses, named windows, frames.

use std::sync::Arc;

use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr, WindowFrame, WindowFunctionDefinition};
use exec::functions::{Function, FunctionKind};
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, NamedWindowExpr, WindowSpec, WindowType};

use super::function::Call;
use crate::binder::{Binder, Bound};
use crate::environment::{Env, Place};
use crate::error::{Result, from_datafusion, undefined_function, unsupported};
use crate::names::fold;

/// A call with OVER, and the function it names.
pub(super) struct WindowCall {
    pub call: Call,
    pub found: Option<&'static Function>,
}

impl Binder<'_> {
    pub(super) fn window_call(&self, window: WindowCall, over: &WindowType, env: &Env<'_>) -> Result<Bound> {
        let WindowCall { call, found } = window;
        let types = || call.arguments.iter().map(|argument| argument.ty).collect::<Vec<_>>();
        let fun = match found.map(|found| &found.kind) {
            Some(FunctionKind::Aggregate(udf)) => WindowFunctionDefinition::AggregateUDF(Arc::clone(udf)),
            Some(FunctionKind::Window(udf)) => WindowFunctionDefinition::WindowUDF(Arc::clone(udf)),
            Some(_) => {
                return Err(SqlError::new(
                    ErrorKind::WrongObjectType,
                    format!(
                        "OVER specified, but {} is not a window function nor an aggregate function",
                        call.name
                    ),
                ));
            }
            None => return Err(undefined_function(&call.name, &types())),
        };
        if call.distinct {
            return Err(unsupported("DISTINCT for window functions"));
        }
        if !call.order_by.is_empty() {
            return Err(unsupported("aggregate ORDER BY for window functions"));
        }
        let (args, ty) = self.aggregate_arguments(found, &call)?;
        let spec = resolve_spec(over, env)?;
        let inner = env.at(Place::Window);
        let partition_by =
            spec.partition_by.iter().map(|item| self.bind_any(item, &inner)).collect::<Result<Vec<_>>>()?;
        let mut order_by = self.sort_items(&spec.order_by, &inner)?;
        let window_frame = match &spec.window_frame {
            Some(frame) => WindowFrame::try_from(frame.clone()).map_err(from_datafusion)?,
            None => WindowFrame::new((!order_by.is_empty()).then_some(false)),
        };
        window_frame.regularize_order_bys(&mut order_by).map_err(from_datafusion)?;
        let params = WindowFunctionParams {
            args,
            partition_by,
            order_by,
            window_frame,
            filter: call.filter.map(Box::new),
            null_treatment: call.null_treatment,
            distinct: false,
        };
        Ok(Bound::new(Expr::WindowFunction(Box::new(WindowFunction { fun, params })), ty))
    }
}

/// The OVER clause with named windows put in.
fn resolve_spec(over: &WindowType, env: &Env<'_>) -> Result<WindowSpec> {
    match over {
        WindowType::NamedWindow(name) => named(name, env, 0),
        WindowType::WindowSpec(spec) => complete(spec, env, 0),
    }
}

fn named(name: &ast::Ident, env: &Env<'_>, depth: usize) -> Result<WindowSpec> {
    let wanted = fold(name);
    let found = env.windows.iter().find(|definition| fold(&definition.0) == wanted);
    let Some(definition) = found.filter(|_| depth <= env.windows.len()) else {
        return Err(SqlError::new(ErrorKind::UndefinedObject, format!("window \"{wanted}\" does not exist")));
    };
    match &definition.1 {
        NamedWindowExpr::NamedWindow(name) => named(name, env, depth + 1),
        NamedWindowExpr::WindowSpec(spec) => complete(spec, env, depth + 1),
    }
}

fn complete(spec: &WindowSpec, env: &Env<'_>, depth: usize) -> Result<WindowSpec> {
    let Some(base) = &spec.window_name else { return Ok(spec.clone()) };
    let base = named(base, env, depth)?;
    if !spec.partition_by.is_empty() {
        return Err(SqlError::new(ErrorKind::GroupingError, "cannot override PARTITION BY clause of window"));
    }
    let order_by = if spec.order_by.is_empty() { base.order_by } else { spec.order_by.clone() };
    Ok(WindowSpec {
        window_name: None,
        partition_by: base.partition_by,
        order_by,
        window_frame: spec.window_frame.clone().or(base.window_frame),
    })
}
