//! LATERAL subqueries as joins.
//!
//! A subquery of projections, filters and aliases is applied here: its relations are joined with the rows to the left,
//! its outer references become columns. Every other one (with a limit: the k nearest of each row) is asked once per left
//! row, through `exec`'s apply: its rows come as one list of structs, which is unfolded again.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullHandling, TableReference};
use datafusion::functions::core::expr_fn::{get_field, named_struct};
use datafusion::logical_expr::{Case, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, lit};
use exec::functions::{FunctionKind, find};
use sqlparser::ast;

use super::from::{FromItem, check_aliases};
use super::{Planned, QueryColumn, project};
use crate::binder::Binder;
use crate::environment::Outside;
use crate::error::{Result, from_datafusion, unsupported};
use crate::expression::as_subquery;
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
        let marker = outer_join.then(|| self.column_name("match"));
        let mut kept: Vec<Column> = left.plan.schema().columns();
        kept.extend(marker.iter().map(Column::new_unqualified));
        let apply = Apply { left: &left.plan, kept: &kept, marker: marker.as_deref() };
        let (applied, values) = match apply.apply(&planned.plan) {
            Ok(joined) => {
                let value =
                    |column: &QueryColumn| matched(Expr::Column(column.column.clone()), marker.as_deref());
                (joined, planned.columns.iter().map(value).collect())
            }
            // Not of a form that is a join.
            Err(_) => self.row_by_row(left, &planned, outer_join)?,
        };
        let qualifier = self.qualifier(if name.is_empty() { "unnamed_subquery" } else { &name });
        let reference = TableReference::bare(qualifier);
        let mut outputs: Vec<Expr> = left.plan.schema().columns().into_iter().map(Expr::Column).collect();
        let mut unique = super::UniqueNames::default();
        let mut columns = Vec::with_capacity(planned.columns.len());
        for (column, value) in planned.columns.into_iter().zip(values) {
            let internal = unique.pick(&column.column.name);
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

    /// The left rows, each as often as the subquery has rows for it, and how to read the subquery's columns there.
    fn row_by_row(
        &self,
        left: &FromItem,
        planned: &Planned,
        outer_join: bool,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        let Some(FunctionKind::Aggregate(collect)) = find("array_agg").map(|function| &function.kind) else {
            return Err(unsupported("a LATERAL subquery of this form"));
        };
        let field = |position: usize| format!("column{position}");
        let mut parts = vec![lit("row"), lit(true)];
        for (position, column) in planned.columns.iter().enumerate() {
            parts.extend([lit(field(position)), Expr::Column(column.column.clone())]);
        }
        let rows = self.column_name("rows");
        let collected = collect.call(vec![named_struct(parts)]).alias(&rows);
        let list = LogicalPlanBuilder::from(planned.plan.clone())
            .aggregate(Vec::<Expr>::new(), [collected])
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let mut outputs: Vec<Expr> = left.plan.schema().columns().into_iter().map(Expr::Column).collect();
        outputs.push(Expr::ScalarSubquery(as_subquery(list)).alias(&rows));
        let handling = if outer_join { NullHandling::Preserve } else { NullHandling::Drop };
        let column = Column::new_unqualified(&rows);
        let plan = super::rows::unnest(project(left.plan.clone(), outputs)?, vec![column.clone()], handling)?;
        let values = (0..planned.columns.len())
            .map(|position| get_field(Expr::Column(column.clone()), field(position)))
            .collect();
        Ok((plan, values))
    }
}

/// The value, NULL for left rows that the subquery had no row for.
fn matched(value: Expr, marker: Option<&str>) -> Expr {
    let Some(marker) = marker else { return value };
    let found = Expr::IsNotNull(Box::new(Expr::Column(Column::new_unqualified(marker))));
    Expr::Case(Case::new(None, vec![(Box::new(found), Box::new(value))], None))
}

fn has_outer_reference(plan: &LogicalPlan) -> bool {
    !plan.all_out_ref_exprs().is_empty()
}

/// Rewrites a subquery's plan over the rows to its left.
struct Apply<'a> {
    left: &'a LogicalPlan,
    /// The columns that every step keeps: the left row's, and the marker of a LEFT JOIN.
    kept: &'a [Column],
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
            _ => Err(unsupported("a LATERAL subquery of this form")),
        }
    }

    /// The left row's columns and some more.
    fn keep(&self, input: LogicalPlan, more: Vec<Expr>) -> Result<LogicalPlan> {
        project(input, self.kept.iter().cloned().map(Expr::Column).chain(more).collect())
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
