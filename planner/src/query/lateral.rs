//! LATERAL subqueries as joins.
//!
//! DataFusion cannot decorrelate a lateral subquery with a limit, so the subquery is applied here: its relations are
//! crossed with the rows to the left (each with a number of its own), its outer references become columns, and a
//! limit becomes `row_number() OVER (PARTITION BY the left row ORDER BY …)`.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::logical_expr::expr::{Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Case, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, WindowFrame, WindowFunctionDefinition,
    binary_expr, lit,
};
use exec::functions::{FunctionKind, find};
use sqlparser::ast;

use super::from::{FromItem, check_aliases};
use super::project;
use crate::binder::Binder;
use crate::environment::Outside;
use crate::error::{Result, from_datafusion, unsupported};
use crate::names::fold;
use crate::scope::{Relation, Relations, Scope, ScopeColumn};

impl Binder<'_> {
    /// `left, LATERAL (subquery)`: the joined item when the subquery looks at `left`, else the subquery alone.
    pub(super) fn lateral(
        &self,
        left: &FromItem,
        subquery: &ast::Query,
        alias: Option<&ast::TableAlias>,
        outer_join: bool,
        outside: Outside<'_>,
    ) -> Result<FromItem> {
        let scope = Scope { relations: &left.relations, outer: outside.scope };
        let planned = self.query(subquery, Self::beside(&scope, outside))?;
        let name = alias.map_or_else(String::new, |alias| fold(&alias.name));
        if !has_outer_reference(&planned.plan) {
            return self.derived_as(planned, name, alias);
        }
        let number = self.column_name("lateral");
        let numbered = numbered(left.plan.clone(), &number)?;
        let mut kept: Vec<Column> = numbered.schema().columns();
        let marker = outer_join.then(|| self.column_name("match"));
        kept.extend(marker.iter().map(Column::new_unqualified));
        let apply = Apply { left: &numbered, kept: &kept, number: &number, marker: marker.as_deref() };
        let applied = apply.apply(&planned.plan)?;
        let qualifier = self.qualifier(if name.is_empty() { "unnamed_subquery" } else { &name });
        let reference = TableReference::bare(qualifier);
        let mut outputs: Vec<Expr> = left.plan.schema().columns().into_iter().map(Expr::Column).collect();
        let mut unique = super::UniqueNames::default();
        let mut columns = Vec::with_capacity(planned.columns.len());
        for column in planned.columns {
            let internal = unique.pick(&column.column.name);
            let value = matched(Expr::Column(column.column), marker.as_deref());
            outputs.push(value.alias_qualified(Some(reference.clone()), internal.clone()));
            columns.push(ScopeColumn {
                name: column.name,
                ty: column.ty,
                column: Column::new(Some(reference.clone()), internal),
                origin: None,
                hidden: false,
            });
        }
        let mut relation = Relation { alias: name, schema: None, columns, table: None };
        super::from::rename(&mut relation, alias)?;
        let mut relations = left.relations.clone();
        let own = Relations { relations: vec![relation], merged: Vec::new() };
        check_aliases(&relations, &own)?;
        relations.relations.extend(own.relations);
        Ok(FromItem { plan: project(applied, outputs)?, relations, joined: true })
    }
}

/// The value, NULL for left rows that the subquery had no row for.
fn matched(value: Expr, marker: Option<&str>) -> Expr {
    let Some(marker) = marker else { return value };
    let found = Expr::IsNotNull(Box::new(Expr::Column(Column::new_unqualified(marker))));
    Expr::Case(Case::new(None, vec![(Box::new(found), Box::new(value))], None))
}

/// The plan with a column that numbers its rows.
fn numbered(plan: LogicalPlan, name: &str) -> Result<LogicalPlan> {
    let window = row_number(Vec::new(), Vec::new())?;
    let column = Column::new_unqualified(window.schema_name().to_string());
    let mut outputs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let plan = LogicalPlanBuilder::window_plan(plan, [window]).map_err(from_datafusion)?;
    outputs.push(Expr::Column(column).alias(name));
    project(plan, outputs)
}

/// `row_number()` over a window.
pub(super) fn row_number(partition_by: Vec<Expr>, order_by: Vec<Sort>) -> Result<Expr> {
    let Some(FunctionKind::Window(function)) = find("row_number").map(|function| &function.kind) else {
        return Err(unsupported("row_number"));
    };
    let window_frame = WindowFrame::new((!order_by.is_empty()).then_some(true));
    Ok(Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(Arc::clone(function)),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by,
            order_by,
            window_frame,
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    })))
}

fn has_outer_reference(plan: &LogicalPlan) -> bool {
    !plan.all_out_ref_exprs().is_empty()
}

/// Rewrites a subquery's plan over the rows to its left.
struct Apply<'a> {
    left: &'a LogicalPlan,
    /// The columns that every step keeps: the left row's, its number, and the marker of a LEFT JOIN.
    kept: &'a [Column],
    number: &'a str,
    /// LEFT JOIN: the name of a column that is NULL where the subquery has no row.
    marker: Option<&'a str>,
}

impl Apply<'_> {
    /// The left rows beside the rows of a plan that does not look at them.
    fn base(&self, plan: &LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
        let left = LogicalPlanBuilder::from(self.left.clone());
        let joined = match self.marker {
            None => left.cross_join(plan.clone()),
            Some(marker) => {
                let mut outputs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
                outputs.push(lit(true).alias(marker));
                left.join_on(project(plan.clone(), outputs)?, JoinType::Left, conditions.clone())
            }
        };
        let joined = joined.and_then(LogicalPlanBuilder::build).map_err(from_datafusion)?;
        if self.marker.is_some() {
            return Ok(joined);
        }
        conditions.into_iter().try_fold(joined, super::filter)
    }

    fn apply(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        if !has_outer_reference(plan) {
            return self.base(plan, Vec::new());
        }
        match plan {
            LogicalPlan::Filter(node) if !has_outer_reference(&node.input) => {
                self.base(&node.input, vec![inward(node.predicate.clone())?])
            }
            LogicalPlan::Filter(_) if self.marker.is_some() => {
                Err(unsupported("LEFT JOIN LATERAL over a subquery of this form"))
            }
            LogicalPlan::Projection(node) => {
                let input = self.apply(&node.input)?;
                self.keep(input, node.expr.iter().cloned().map(inward).collect::<Result<Vec<_>>>()?)
            }
            LogicalPlan::Filter(node) => {
                let input = self.apply(&node.input)?;
                super::filter(input, inward(node.predicate.clone())?)
            }
            LogicalPlan::SubqueryAlias(node) => {
                let input = self.apply(&node.input)?;
                let outputs = node
                    .input
                    .schema()
                    .columns()
                    .into_iter()
                    .map(|column| {
                        let name = column.name.clone();
                        Expr::Column(column).alias_qualified(Some(node.alias.clone()), name)
                    })
                    .collect();
                self.keep(input, outputs)
            }
            LogicalPlan::Sort(node) => self.apply(&node.input),
            LogicalPlan::Limit(node) => {
                let count = |count: &Option<Box<Expr>>| match count.as_deref() {
                    None => Ok(None),
                    Some(Expr::Literal(ScalarValue::Int64(Some(number)), _)) => Ok(Some(*number)),
                    Some(_) => Err(unsupported("LATERAL with a limit that is no constant")),
                };
                let (skip, fetch) = (count(&node.skip)?.unwrap_or(0), count(&node.fetch)?);
                self.limit(&node.input, skip, fetch)
            }
            _ => Err(unsupported("a LATERAL subquery of this form")),
        }
    }

    /// The left row's columns and some more.
    fn keep(&self, input: LogicalPlan, more: Vec<Expr>) -> Result<LogicalPlan> {
        project(input, self.kept.iter().cloned().map(Expr::Column).chain(more).collect())
    }

    fn limit(&self, input: &LogicalPlan, skip: i64, fetch: Option<i64>) -> Result<LogicalPlan> {
        if self.marker.is_some() && (skip > 0 || fetch == Some(0)) {
            return Err(unsupported("LEFT JOIN LATERAL with OFFSET"));
        }
        let sorts = match input {
            LogicalPlan::Sort(sort) => sort
                .expr
                .iter()
                .map(|key| Ok(Sort::new(inward(key.expr.clone())?, key.asc, key.nulls_first)))
                .collect::<Result<Vec<_>>>()?,
            _ => Vec::new(),
        };
        let outputs = input.schema().columns().into_iter().map(Expr::Column).collect();
        let applied = self.apply(input)?;
        let window = row_number(vec![Expr::Column(Column::new_unqualified(self.number))], sorts)?;
        let rank = Expr::Column(Column::new_unqualified(window.schema_name().to_string()));
        let mut plan = LogicalPlanBuilder::window_plan(applied, [window]).map_err(from_datafusion)?;
        if skip > 0 {
            plan = super::filter(plan, binary_expr(rank.clone(), Operator::Gt, lit(skip.unsigned_abs())))?;
        }
        if let Some(fetch) = fetch {
            let last = skip.saturating_add(fetch).unsigned_abs();
            plan = super::filter(plan, binary_expr(rank, Operator::LtEq, lit(last)))?;
        }
        self.keep(plan, outputs)
    }
}

/// Outer references as the columns they are once the subquery stands beside its outer query.
fn inward(expression: Expr) -> Result<Expr> {
    expression
        .transform(|node| {
            Ok(match node {
                Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                other => Transformed::no(other),
            })
        })
        .map(|transformed| transformed.data)
        .map_err(from_datafusion)
}
