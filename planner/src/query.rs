//! Queries: WITH, SELECT, VALUES, set operations, ORDER BY, LIMIT, as logical plans.
//!
//! What it is not: no optimisation; the plans are as written, exec's engine rewrites them.
//!
//! Invariants: the columns of a planned query are the first columns of its plan, in order, each with a name that is
//! unique there; names of the text live only in `QueryColumn::name`.

use std::collections::{BTreeMap, HashSet};

use datafusion::common::Column;
use datafusion::common::metadata::FieldMetadata;
use datafusion::logical_expr::{Expr, LogicalPlan};
use proto::{ColumnType, TableId};
use sqlparser::ast;

use crate::binder::{Binder, Bound};
use crate::context::PlanContext;
use crate::environment::{Ctes, Outside};
use crate::error::{Result, from_datafusion, unsupported};
use crate::plan::{OutputColumn, QueryPlan, StepWork};
use exec::functions::sequence;

mod cte;
mod from;
mod group;
mod join;
mod keyed;
mod lateral;
mod limit;
mod locking;
mod order;
mod rows;
mod select;
mod setop;
mod values;

pub(crate) use from::{FromItem, required};
pub(crate) use limit::{negative_limit, negative_offset};
pub(crate) use locking::{LockedColumns, Locking};
pub(crate) use select::filter;
pub(crate) use values::ValueRows;

/// A column of a planned query.
#[derive(Clone, Debug)]
pub(crate) struct QueryColumn {
    /// PostgreSQL's name.
    pub name: String,
    pub ty: ColumnType,
    /// Where it is in the plan.
    pub column: Column,
    pub origin: Option<(TableId, u32)>,
}

/// The columns of a planned query.
pub(crate) type Columns = Vec<QueryColumn>;

/// A planned query.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub plan: LogicalPlan,
    pub columns: Columns,
}

/// What happens to output columns of unknown type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unknowns<'w> {
    /// They are text.
    Text,
    /// Literals keep their unknown type for the set operation above to decide.
    Keep,
    /// They take the types of the columns they will go to.
    Wanted(&'w [ColumnType]),
}

impl Unknowns<'_> {
    /// Gives an output its final type.
    pub(crate) fn settle(self, binder: &Binder<'_>, bound: Bound, position: usize) -> Result<Bound> {
        if !bound.is_unknown() {
            return Ok(bound);
        }
        match self {
            Self::Keep if matches!(bound.expr, Expr::Literal(..)) => Ok(bound),
            Self::Wanted(types) if position < types.len() => {
                binder.implicit(bound, types[position].without_typmod())
            }
            _ => binder.settle(bound),
        }
    }
}

/// Plans a query that is a part of another statement.
pub(crate) fn plan_query(query: &ast::Query, context: &PlanContext) -> Result<QueryPlan> {
    without_steps(plan_whole_query(query, context)?)
}

/// The query, when it runs in one step.
pub(crate) fn without_steps(query: QueryPlan) -> Result<QueryPlan> {
    match query.steps.first().map(|step| &step.work) {
        None => Ok(query),
        Some(StepWork::Lock(_)) => Err(unsupported("SELECT … FOR UPDATE or FOR SHARE in this statement")),
        Some(StepWork::Write(_)) => Err(unsupported("a data-modifying WITH query in this statement")),
    }
}

/// Plans a query statement.
pub(crate) fn plan_whole_query(query: &ast::Query, context: &PlanContext) -> Result<QueryPlan> {
    let binder = Binder::new(context);
    let ctes = Ctes::default();
    let planned = binder.query(query, Outside { ctes: &ctes, scope: None })?;
    finish(&binder, planned)
}

/// A planned query as a statement's plan.
pub(crate) fn finish(binder: &Binder<'_>, planned: Planned) -> Result<QueryPlan> {
    let columns = planned
        .columns
        .iter()
        .map(|column| OutputColumn { name: column.name.clone(), ty: column.ty, table: column.origin })
        .collect();
    Ok(QueryPlan {
        logical: keyed::keyed(planned.plan).map_err(from_datafusion)?,
        columns,
        parameters: binder.parameter_types()?,
        tables: binder.tables(),
        steps: binder.steps(),
    })
}

impl Binder<'_> {
    /// Plans a query inside `outside`.
    pub(crate) fn query(&self, query: &ast::Query, outside: Outside<'_>) -> Result<Planned> {
        self.query_with(query, outside, Unknowns::Text)
    }

    /// Plans a query whose columns of unknown type the caller has an opinion on.
    pub(crate) fn query_with(
        &self,
        query: &ast::Query,
        outside: Outside<'_>,
        unknowns: Unknowns<'_>,
    ) -> Result<Planned> {
        stacker::maybe_grow(512 * 1024, 8 * 1024 * 1024, || self.query_here(query, outside, unknowns))
    }

    fn query_here(
        &self,
        query: &ast::Query,
        outside: Outside<'_>,
        unknowns: Unknowns<'_>,
    ) -> Result<Planned> {
        if !query.locks.is_empty() {
            crate::instants::refuse_locks(self.context)?;
        }
        refuse_foreign_clauses(query)?;
        let ctes;
        let is_outermost = self.outermost.replace(false);
        let outside = match &query.with {
            Some(with) => {
                ctes = self.with(with, outside, is_outermost)?;
                Outside { ctes: &ctes, ..outside }
            }
            None => outside,
        };
        if !query.locks.is_empty() {
            return self.locking_query(query, outside, unknowns);
        }
        let order_by = order::items(query.order_by.as_ref())?;
        if let ast::SetExpr::Select(select) = query.body.as_ref() {
            let selected = self.select(select, order_by, outside, unknowns)?;
            let limited = self.limit(selected.plan, query, outside)?;
            return selected.columns.finish(limited);
        }
        let unknowns = if order_by.is_empty() { unknowns } else { Unknowns::Text };
        let planned = self.body(&query.body, outside, unknowns)?;
        let plan = self.order_by_output(planned.plan, &planned.columns, order_by)?;
        let plan = self.limit(plan, query, outside)?;
        Ok(Planned { plan, columns: planned.columns })
    }

    /// The part of a query between WITH and ORDER BY.
    pub(crate) fn body(
        &self,
        body: &ast::SetExpr,
        outside: Outside<'_>,
        unknowns: Unknowns<'_>,
    ) -> Result<Planned> {
        match body {
            ast::SetExpr::Select(select) => {
                let selected = self.select(select, &[], outside, unknowns)?;
                selected.columns.finish(selected.plan)
            }
            ast::SetExpr::Query(query) => self.query_with(query, outside, unknowns),
            ast::SetExpr::Values(values) => self.values(values, outside, unknowns),
            ast::SetExpr::SetOperation { .. } => stacker::maybe_grow(512 * 1024, 8 * 1024 * 1024, || {
                self.set_operation(body, outside, unknowns)
            }),
            ast::SetExpr::Table(table) => self.whole_table(table, outside),
            ast::SetExpr::Insert(_)
            | ast::SetExpr::Update(_)
            | ast::SetExpr::Delete(_)
            | ast::SetExpr::Merge(_) => Err(crate::error::syntax("syntax error in query")),
        }
    }

    /// `TABLE name`.
    fn whole_table(&self, table: &ast::Table, outside: Outside<'_>) -> Result<Planned> {
        let parts = [table.schema_name.as_ref(), table.table_name.as_ref()];
        let name = ast::ObjectName(
            parts
                .into_iter()
                .flatten()
                .map(|part| ast::ObjectNamePart::Identifier(ast::Ident::new(part.clone())))
                .collect(),
        );
        let (plan, relations) = self.named_relation(&name, None, outside)?;
        let star = relations.star();
        let columns = star.into_iter().filter_map(|found| match found.bound.expr {
            Expr::Column(column) => {
                Some(QueryColumn { name: found.name, ty: found.bound.ty, column, origin: found.origin })
            }
            _ => None,
        });
        let columns = columns.collect();
        Ok(Planned { plan, columns })
    }
}

fn refuse_foreign_clauses(query: &ast::Query) -> Result<()> {
    if query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty()
    {
        return Err(crate::error::syntax("syntax error in query"));
    }
    Ok(())
}

/// A projection.
pub(crate) fn project(plan: LogicalPlan, expressions: Vec<Expr>) -> Result<LogicalPlan> {
    sequence::project_in_order(plan, expressions).map_err(from_datafusion)
}

/// An alias that carries the type's metadata.
pub(crate) fn typed_alias(expression: Expr, ty: ColumnType, name: &str) -> Expr {
    let metadata = ty.metadata().into_iter().collect::<BTreeMap<_, _>>();
    expression.alias_with_metadata(name, Some(FieldMetadata::from(metadata)))
}

/// Names for columns, each handed out once.
#[derive(Default)]
pub(crate) struct UniqueNames(HashSet<String>);

impl UniqueNames {
    /// The wanted name, or it with a number behind.
    pub(crate) fn pick(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 0_usize;
        while !self.0.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        name
    }
}
