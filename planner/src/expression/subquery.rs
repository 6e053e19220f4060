//! Subqueries inside expressions.

use std::sync::Arc;

use arrow::array::ListArray;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, Spans};
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator};
use exec::functions::keys::comparison_key;
use exec::functions::resolve::{common_type, no_such_operator};
use exec::functions::{self, FunctionKind};
use proto::ColumnType;
use sqlparser::ast;

use crate::binder::{Binder, Bound};
use crate::calls;
use crate::environment::{Env, Outside};
use crate::error::{Result, from_datafusion, syntax, unsupported};
use crate::query::{Planned, QueryColumn};
use crate::syntax::too_deep;

/// Subqueries inside each other's expressions; DataFusion's work doubles with every level.
const MAX_NESTED_SUBQUERIES: usize = 8;

impl Binder<'_> {
    /// Plans a query inside an expression; columns of the enclosing query become outer references.
    pub(super) fn subquery(&self, query: &ast::Query, env: &Env<'_>) -> Result<(Subquery, Planned)> {
        env.place.check_subquery()?;
        if env.scope.depth() > MAX_NESTED_SUBQUERIES {
            return Err(too_deep());
        }
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

    /// `(SELECT a, b)` as values, one for each of its columns.
    pub(crate) fn row_subquery(&self, query: &ast::Query, env: &Env<'_>) -> Result<Vec<Bound>> {
        let (_, planned) = self.subquery(query, env)?;
        let value = |column: &QueryColumn| {
            let selected = Expr::Column(column.column.clone());
            let plan = crate::query::project(planned.plan.clone(), vec![selected])?;
            Ok(Bound::new(Expr::ScalarSubquery(as_subquery(plan)), column.ty))
        };
        planned.columns.iter().map(value).collect()
    }

    /// `ARRAY(SELECT …)`: the rows of the one column in their order, an empty array without rows.
    pub(super) fn array_subquery(&self, query: &ast::Query, env: &Env<'_>) -> Result<Bound> {
        let (_, planned) = self.subquery(query, env)?;
        let [column] = planned.columns.as_slice() else {
            return Err(syntax("subquery must return only one column"));
        };
        let ty = ColumnType { array: true, ..column.ty };
        let (Some(FunctionKind::Aggregate(collect)), Some(coalesce)) =
            (functions::find("array_agg").map(|function| &function.kind), calls::scalar("coalesce"))
        else {
            return Err(unsupported("ARRAY(subquery)"));
        };
        let collected = collect.call(vec![Expr::Column(column.column.clone())]);
        let name = self.column_name("array");
        let plan = LogicalPlanBuilder::from(planned.plan)
            .aggregate(Vec::<Expr>::new(), [collected.alias(&name)])
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let element = plan.schema().field(0).data_type().clone();
        let DataType::List(item) = &element else { return Err(unsupported("ARRAY(subquery) of this type")) };
        let empty = ListArray::new_null(Arc::clone(item), 0);
        let empty = ListArray::new(
            Arc::clone(item),
            OffsetBuffer::from_lengths([0]),
            Arc::clone(empty.values()),
            None,
        );
        let empty = Expr::Literal(ScalarValue::List(Arc::new(empty)), None);
        let array = coalesce.call(vec![Expr::ScalarSubquery(as_subquery(plan)), empty]);
        Ok(Bound::new(array, ty))
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
        let mut value = value;
        let mut cast = self.implicit(found, ty)?;
        if super::operator::by_key(ty, &[&value, &cast]) {
            value.expr = comparison_key(value.expr);
            cast.expr = comparison_key(cast.expr);
        }
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
