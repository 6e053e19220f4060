//! Subqueries inside expressions.

use std::sync::Arc;

use datafusion::common::Spans;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use exec::functions::resolve::{common_type, no_such_operator};
use sqlparser::ast;

use crate::binder::{Binder, Bound};
use crate::environment::{Env, Outside};
use crate::error::{Result, syntax};
use crate::query::Planned;

impl Binder<'_> {
    /// Plans a query inside an expression; columns of the enclosing query become outer references.
    pub(super) fn subquery(&self, query: &ast::Query, env: &Env<'_>) -> Result<(Subquery, Planned)> {
        env.place.check_subquery()?;
        let outside = Outside { ctes: env.ctes, scope: Some(&env.scope) };
        let planned = self.query(query, outside)?;
        Ok((as_subquery(planned.plan.clone()), planned))
    }

    /// `(SELECT …)` as a value.
    pub(super) fn scalar_subquery(&self, query: &ast::Query, env: &Env<'_>) -> Result<Bound> {
        let (subquery, planned) = self.subquery(query, env)?;
        let [column] = planned.columns.as_slice() else {
            return Err(syntax("subquery must return only one column"));
        };
        Ok(Bound::new(Expr::ScalarSubquery(subquery), column.ty))
    }

    /// A value and a one-column subquery, both in the type they are compared in.
    pub(super) fn compared_subquery(
        &self,
        value: Bound,
        operator: Operator,
        query: &ast::Query,
        env: &Env<'_>,
    ) -> Result<(Expr, Subquery)> {
        let (subquery, planned) = self.subquery(query, env)?;
        let [column] = planned.columns.as_slice() else {
            return Err(syntax(if planned.columns.is_empty() {
                "subquery has too few columns"
            } else {
                "subquery has too many columns"
            }));
        };
        let types = [value.known(), Some(column.ty)];
        let ty = common_type("IN", &types)
            .map_err(|_| no_such_operator(&operator.to_string(), &types))?
            .without_typmod();
        let value = self.implicit(value, ty)?;
        let found = Bound::new(Expr::Column(column.column.clone()), column.ty);
        let cast = self.implicit(found, ty)?;
        if matches!(cast.expr, Expr::Column(_)) {
            return Ok((value.expr, subquery));
        }
        let name = self.column_name("value");
        let plan = crate::query::project(planned.plan, vec![cast.expr.alias(name)])?;
        Ok((value.expr, as_subquery(plan)))
    }
}

/// A plan as DataFusion's subquery.
pub(crate) fn as_subquery(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() }
}
