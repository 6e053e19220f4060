//! SELECT: the clauses in the order they mean something, from FROM to the select list and its sort.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::expr::{Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, Operator, WindowFrame, WindowFunctionDefinition, binary_expr, lit,
};
use exec::functions::{FunctionKind, find};
use proto::{ErrorKind, SqlError, TableId};
use sqlparser::ast::{self, Distinct, SelectItem, SelectItemQualifiedWildcardKind, Spanned};

use super::order::{directions, ordinal, output_named};
use super::{Columns, Planned, QueryColumn, UniqueNames, Unknowns, project};
use crate::binder::{Binder, Bound};
use crate::environment::{Env, Outside, Place};
use crate::error::{At, Result, from_datafusion, syntax, unsupported};
use crate::expression::output_name;
use crate::names::fold;
use crate::scope::{Found, Scope};

/// One output column before projection.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub name: String,
    pub bound: Bound,
    pub origin: Option<(TableId, u32)>,
}

/// A planned SELECT, sorted but not limited.
pub(super) struct Selected {
    pub plan: LogicalPlan,
    pub columns: SelectedColumns,
}

/// The output columns, and whether the plan has columns behind them that only the sort needed.
pub(super) struct SelectedColumns {
    columns: Columns,
    hidden: bool,
}

impl SelectedColumns {
    /// The query once its limit is on.
    pub(super) fn finish(self, plan: LogicalPlan) -> Result<Planned> {
        if !self.hidden {
            return Ok(Planned { plan, columns: self.columns });
        }
        let visible = self.columns.iter().map(|column| Expr::Column(column.column.clone())).collect();
        Ok(Planned { plan: project(plan, visible)?, columns: self.columns })
    }
}

/// A sort key: an output column, or an expression over the input.
struct SortKey {
    target: SortTarget,
    ascending: bool,
    nulls_first: bool,
}

enum SortTarget {
    Output(usize),
    Input(Expr),
}

/// Everything of a SELECT that is bound over the same input.
struct Parts {
    items: Vec<Item>,
    having: Option<Expr>,
    sort: Vec<SortKey>,
    distinct_on: Vec<Expr>,
}

impl Parts {
    fn expressions(&mut self) -> Vec<&mut Expr> {
        let items = self.items.iter_mut().map(|item| &mut item.bound.expr);
        let sort = self.sort.iter_mut().filter_map(|key| match &mut key.target {
            SortTarget::Input(expr) => Some(expr),
            SortTarget::Output(_) => None,
        });
        items.chain(sort).chain(&mut self.having).chain(&mut self.distinct_on).collect()
    }
}

impl Binder<'_> {
    pub(super) fn select(
        &self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
        outside: Outside<'_>,
        unknowns: Unknowns<'_>,
    ) -> Result<Selected> {
        refuse_foreign_clauses(select)?;
        let locking = self.locking.take();
        let outer = self.identified.replace(locking.is_some());
        let from = self.relations_of(&select.from, outside);
        self.identified.set(outer);
        let (mut plan, relations) = from?;
        let env = Env {
            scope: Scope { relations: &relations, outer: outside.scope },
            ctes: outside.ctes,
            place: Place::Select,
            windows: &select.named_window,
        };
        if let Some(selection) = &select.selection {
            let condition = self.bind_condition(selection, "WHERE", &env.at(Place::Where))?;
            plan = filter(plan, condition)?;
        }
        let mut items = self.select_items(&select.projection, &env)?;
        for (position, item) in items.iter_mut().enumerate() {
            item.bound = unknowns.settle(self, item.bound.clone(), position)?;
        }
        let locked = match &locking {
            Some(clauses) => Some(self.lock_items(clauses, select, &relations, &mut items)?),
            None => None,
        };
        let groups = self.group_by(&select.group_by, &items, &env)?;
        let having = select
            .having
            .as_ref()
            .map(|having| self.bind_condition(having, "HAVING", &env.at(Place::Having)))
            .transpose()?;
        let sort = self.sort_keys(order_by, &items, &env)?;
        let distinct_on = self.distinct_on(select.distinct.as_ref(), &items, &env)?;
        let mut parts = Parts { items, having, sort, distinct_on };
        plan = self.aggregate(plan, groups, parts.having.is_some(), &mut parts.expressions(), &relations)?;
        if let Some(having) = parts.having.take() {
            plan = filter(plan, having)?;
        }
        plan = self.windows(plan, &mut parts.expressions())?;
        plan = self.rows_of_lists(plan, &mut parts.expressions())?;
        let selected = self.finish_select(plan, parts, select.distinct.as_ref())?;
        if locked.is_some() {
            self.locked.replace(locked);
        }
        Ok(selected)
    }

    /// The select list with `*` expanded; types may still be unknown.
    pub(crate) fn select_items(&self, projection: &[SelectItem], env: &Env<'_>) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(projection.len());
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expression) => items.push(self.item(expression, None, env)?),
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(self.item(expr, Some(fold(alias)), env)?)
                }
                SelectItem::ExprWithAliases { .. } => return Err(syntax("syntax error in select list")),
                SelectItem::Wildcard(options) => {
                    refuse_wildcard_options(options)?;
                    let star = env.scope.relations.star();
                    if env.scope.relations.relations.is_empty() {
                        let span = options.wildcard_token.0.span;
                        return Err(syntax("SELECT * with no tables specified is not valid").at(span));
                    }
                    items.extend(star.into_iter().map(item_of));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    refuse_wildcard_options(options)?;
                    items.extend(self.qualified_star(name, env)?.into_iter().map(item_of));
                }
                SelectItem::QualifiedWildcard(..) => return Err(unsupported("the columns of a row value")),
            }
        }
        Ok(items)
    }

    fn item(&self, expression: &ast::Expr, alias: Option<String>, env: &Env<'_>) -> Result<Item> {
        let name = alias.unwrap_or_else(|| output_name(expression));
        let (bound, origin) = match expression {
            ast::Expr::Identifier(identifier) => {
                let found = env.scope.resolve(std::slice::from_ref(identifier))?;
                (found.bound, found.origin)
            }
            ast::Expr::CompoundIdentifier(parts) => {
                let found = env.scope.resolve(parts)?;
                (found.bound, found.origin)
            }
            other => (self.bind(other, env)?, None),
        };
        Ok(Item { name, bound, origin })
    }

    fn qualified_star(&self, name: &ast::ObjectName, env: &Env<'_>) -> Result<Vec<Found>> {
        let name = crate::names::qualified(name, self.context)?;
        let mut scope: Option<&Scope<'_>> = Some(&env.scope);
        while let Some(here) = scope {
            if let Some(columns) = here.relations.star_of(name.schema.as_deref(), &name.name) {
                return Ok(columns);
            }
            scope = here.outer;
        }
        Err(crate::error::missing_from_entry(&name.name).at(name.span))
    }

    fn sort_keys(
        &self,
        order_by: &[ast::OrderByExpr],
        items: &[Item],
        env: &Env<'_>,
    ) -> Result<Vec<SortKey>> {
        let env = env.at(Place::OrderBy);
        order_by
            .iter()
            .map(|item| {
                let (ascending, nulls_first) = directions(item);
                let target = self.sort_target(&item.expr, "ORDER BY", items, &env)?;
                Ok(SortKey { target, ascending, nulls_first })
            })
            .collect()
    }

    /// A position, an output name, else an expression over the input.
    fn sort_target(
        &self,
        expression: &ast::Expr,
        clause: &str,
        items: &[Item],
        env: &Env<'_>,
    ) -> Result<SortTarget> {
        if let Some(position) = ordinal(expression, clause, items.len())? {
            return Ok(SortTarget::Output(position));
        }
        let names = items.iter().map(|item| (item.name.clone(), &item.bound.expr));
        if let Some(position) = output_named(expression, names)? {
            return Ok(SortTarget::Output(position));
        }
        let expr = self.bind_any(expression, env)?;
        Ok(match items.iter().position(|item| item.bound.expr == expr) {
            Some(position) => SortTarget::Output(position),
            None => SortTarget::Input(expr),
        })
    }

    fn distinct_on(&self, distinct: Option<&Distinct>, items: &[Item], env: &Env<'_>) -> Result<Vec<Expr>> {
        let Some(Distinct::On(expressions)) = distinct else { return Ok(Vec::new()) };
        let env = env.at(Place::DistinctOn);
        expressions
            .iter()
            .map(|expression| {
                Ok(match self.sort_target(expression, "DISTINCT ON", items, &env)? {
                    SortTarget::Output(position) => items[position].bound.expr.clone(),
                    SortTarget::Input(expr) => expr,
                })
            })
            .collect()
    }

    fn finish_select(
        &self,
        plan: LogicalPlan,
        parts: Parts,
        distinct: Option<&Distinct>,
    ) -> Result<Selected> {
        let mut unique = UniqueNames::default();
        let mut columns = Columns::with_capacity(parts.items.len());
        let mut outputs = Vec::with_capacity(parts.items.len());
        for item in &parts.items {
            let name = unique.pick(&item.name);
            outputs.push(item.bound.expr.clone().alias(name.clone()));
            columns.push(QueryColumn {
                name: item.name.clone(),
                ty: item.bound.ty,
                column: Column::new_unqualified(name),
                origin: item.origin,
            });
        }
        let plan = if parts.distinct_on.is_empty() { plan } else { first_of_each(plan, &parts)? };
        let is_distinct = matches!(distinct, Some(Distinct::Distinct));
        let visible = outputs.len();
        let mut sorts = Vec::with_capacity(parts.sort.len());
        for key in parts.sort {
            let column = match key.target {
                SortTarget::Output(position) => columns[position].column.clone(),
                SortTarget::Input(_) if is_distinct => {
                    return Err(SqlError::new(
                        ErrorKind::InvalidColumnReference,
                        "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                    ));
                }
                SortTarget::Input(expr) => {
                    let name = unique.pick("__sort");
                    outputs.push(expr.alias(name.clone()));
                    Column::new_unqualified(name)
                }
            };
            sorts.push(Sort::new(Expr::Column(column), key.ascending, key.nulls_first));
        }
        let hidden = outputs.len() > visible;
        let mut builder = LogicalPlanBuilder::from(project(plan, outputs)?);
        if is_distinct {
            builder = builder.distinct().map_err(from_datafusion)?;
        }
        if !sorts.is_empty() {
            builder = builder.sort(sorts).map_err(from_datafusion)?;
        }
        let plan = builder.build().map_err(from_datafusion)?;
        Ok(Selected { plan, columns: SelectedColumns { columns, hidden } })
    }
}

/// DISTINCT ON: the first row of each group under the full sort, which must start with the group's expressions.
fn first_of_each(plan: LogicalPlan, parts: &Parts) -> Result<LogicalPlan> {
    let sorts: Vec<Sort> = parts
        .sort
        .iter()
        .map(|key| {
            let expr = match &key.target {
                SortTarget::Output(position) => parts.items[*position].bound.expr.clone(),
                SortTarget::Input(expr) => expr.clone(),
            };
            Sort::new(expr, key.ascending, key.nulls_first)
        })
        .collect();
    let leading = sorts.len().min(parts.distinct_on.len());
    if sorts[..leading].iter().any(|sort| !parts.distinct_on.contains(&sort.expr)) {
        return Err(SqlError::new(
            ErrorKind::InvalidColumnReference,
            "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
        ));
    }
    let window = row_number(parts.distinct_on.clone(), sorts)?;
    let rank = Expr::Column(Column::new_unqualified(window.schema_name().to_string()));
    let plan = LogicalPlanBuilder::window_plan(plan, [window]).map_err(from_datafusion)?;
    filter(plan, binary_expr(rank, Operator::Eq, lit(1_u64)))
}

/// A filter whose condition may be anything boolean.
pub(crate) fn filter(plan: LogicalPlan, condition: Expr) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan)
        .filter(condition)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

fn item_of(found: Found) -> Item {
    Item { name: found.name, bound: found.bound, origin: found.origin }
}

fn refuse_wildcard_options(options: &ast::WildcardAdditionalOptions) -> Result<()> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none();
    if plain { Ok(()) } else { Err(syntax("syntax error after \"*\"").at(options.wildcard_token.0.span)) }
}

fn refuse_foreign_clauses(select: &ast::Select) -> Result<()> {
    if select.into.is_some() {
        return Err(unsupported("SELECT INTO"));
    }
    let foreign = select.top.is_some()
        || select.exclude.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.qualify.is_some()
        || select.value_table_mode.is_some();
    if foreign { Err(syntax("syntax error in SELECT").at(select.span())) } else { Ok(()) }
}

/// `row_number()` over a window.
fn row_number(partition_by: Vec<Expr>, order_by: Vec<Sort>) -> Result<Expr> {
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
