//! GROUP BY, aggregates and window functions: collected from bound expressions, computed by a node of their own, and
//! replaced by the node's columns.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use proto::SqlError;
use sqlparser::ast::{self, GroupByExpr};

use super::order::ordinal;
use super::select::Item;
use crate::binder::Binder;
use crate::environment::{Env, Place};
use crate::error::{Result, from_datafusion, grouping, unsupported};
use crate::names::fold;
use crate::scope::Relations;

/// The most grouping sets of one query.
const MAX_GROUPING_SETS: usize = 4_096;

/// GROUP BY, bound.
pub(super) enum Groups {
    /// No clause.
    None,
    Plain(Vec<Expr>),
    Sets(Vec<Vec<Expr>>),
}

impl Binder<'_> {
    pub(super) fn group_by(&self, group_by: &GroupByExpr, items: &[Item], env: &Env<'_>) -> Result<Groups> {
        let GroupByExpr::Expressions(expressions, modifiers) = group_by else {
            return Err(unsupported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(unsupported("GROUP BY modifiers"));
        }
        if expressions.is_empty() {
            return Ok(Groups::None);
        }
        let mut sets: Vec<Vec<Expr>> = vec![Vec::new()];
        let mut plain = true;
        for expression in expressions {
            let choices = match expression {
                ast::Expr::Rollup(lists) => {
                    let lists = self.group_lists(lists, items, env)?;
                    (0..=lists.len()).rev().map(|count| lists[..count].concat()).collect()
                }
                ast::Expr::Cube(lists) => {
                    let lists = self.group_lists(lists, items, env)?;
                    subsets(&lists)?
                }
                ast::Expr::GroupingSets(lists) => self.group_lists(lists, items, env)?,
                ast::Expr::Tuple(list) => vec![self.group_list(list, items, env)?],
                other => vec![vec![self.group_item(other, items, env)?]],
            };
            plain &= choices.len() == 1;
            if sets.len().saturating_mul(choices.len()) > MAX_GROUPING_SETS {
                return Err(too_many_sets());
            }
            sets = sets
                .iter()
                .flat_map(|set| choices.iter().map(|choice| [set.as_slice(), choice].concat()))
                .collect();
        }
        if plain {
            let mut all = sets.pop().unwrap_or_default();
            dedupe(&mut all);
            return Ok(Groups::Plain(all));
        }
        sets.iter_mut().for_each(dedupe);
        Ok(Groups::Sets(sets))
    }

    fn group_lists(&self, lists: &[Vec<ast::Expr>], items: &[Item], env: &Env<'_>) -> Result<Vec<Vec<Expr>>> {
        lists.iter().map(|list| self.group_list(list, items, env)).collect()
    }

    fn group_list(&self, list: &[ast::Expr], items: &[Item], env: &Env<'_>) -> Result<Vec<Expr>> {
        list.iter().map(|item| self.group_item(item, items, env)).collect()
    }

    /// A position, an input column, an output name, else an expression.
    fn group_item(&self, expression: &ast::Expr, items: &[Item], env: &Env<'_>) -> Result<Expr> {
        let env = env.at(Place::GroupBy);
        let found = |item: &Item| match has_aggregate(&item.bound.expr) {
            true => Err(grouping("aggregate functions are not allowed in GROUP BY")),
            false => Ok(item.bound.expr.clone()),
        };
        if let Some(position) = ordinal(expression, "GROUP BY", items.len())? {
            return found(&items[position]);
        }
        match self.bind_any(expression, &env) {
            Err(error) if error.kind == proto::ErrorKind::UndefinedColumn => {
                let ast::Expr::Identifier(name) = expression else { return Err(error) };
                let wanted = fold(name);
                items.iter().find(|item| item.name == wanted).map_or(Err(error), found)
            }
            other => other,
        }
    }

    /// Puts an Aggregate node on the plan when the query needs one, and points the expressions at its columns.
    pub(super) fn aggregate(
        &self,
        plan: LogicalPlan,
        groups: Groups,
        having: bool,
        expressions: &mut [&mut Expr],
        relations: &Relations,
    ) -> Result<LogicalPlan> {
        let mut aggregates = Vec::new();
        for expression in expressions.iter() {
            collect(expression, &mut aggregates, |node| matches!(node, Expr::AggregateFunction(_)))?;
        }
        if aggregates.is_empty() && matches!(groups, Groups::None) && !having {
            return Ok(plan);
        }
        let named: Vec<Expr> =
            aggregates.iter().map(|aggregate| aggregate.clone().alias(self.column_name("agg"))).collect();
        let (keys, group_expr) = match groups {
            Groups::None => (Vec::new(), Vec::new()),
            Groups::Plain(mut keys) => {
                self.add_dependent(&mut keys, expressions, relations);
                let named = keys.iter().map(|key| self.group_key(key)).collect();
                (keys, named)
            }
            Groups::Sets(sets) => {
                let set = vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))];
                let keys =
                    grouping_set_to_exprlist(&set).map_err(from_datafusion)?.into_iter().cloned().collect();
                (keys, set)
            }
        };
        let plan = Aggregate::try_new(Arc::new(plan), group_expr, named).map_err(from_datafusion)?;
        let columns = plan.schema.columns();
        let first_aggregate = columns.len() - aggregates.len();
        let mut replacements: Vec<(Expr, Column)> = keys.into_iter().zip(columns.iter().cloned()).collect();
        replacements.extend(aggregates.into_iter().zip(columns[first_aggregate..].iter().cloned()));
        for expression in expressions.iter_mut() {
            let old = std::mem::take(*expression);
            **expression = regrouped(old, &replacements, relations)?;
        }
        Ok(LogicalPlan::Aggregate(plan))
    }

    /// A grouping key as the node computes it: plain columns keep their name.
    fn group_key(&self, key: &Expr) -> Expr {
        match key {
            Expr::Column(_) => key.clone(),
            other => other.clone().alias(self.column_name("group")),
        }
    }

    /// Columns of a table whose whole primary key is grouped by may be used as they are: they become keys too.
    fn add_dependent(&self, keys: &mut Vec<Expr>, expressions: &[&mut Expr], relations: &Relations) {
        for relation in &relations.relations {
            let Some(table) = &relation.table else { continue };
            let positions = table.key_positions();
            let grouped = |position: &usize| {
                let column =
                    relation.columns.get(*position).map(|column| Expr::Column(column.column.clone()));
                column.is_some_and(|column| keys.contains(&column))
            };
            if positions.is_empty() || !positions.iter().all(grouped) {
                continue;
            }
            for column in &relation.columns {
                let expr = Expr::Column(column.column.clone());
                let used =
                    expressions.iter().any(|expression| expression.column_refs().contains(&column.column));
                if used && !keys.contains(&expr) {
                    keys.push(expr);
                }
            }
        }
    }

    /// Puts Window nodes on the plan and points the expressions at their columns.
    pub(super) fn windows(&self, plan: LogicalPlan, expressions: &mut [&mut Expr]) -> Result<LogicalPlan> {
        let mut windows = Vec::new();
        for expression in expressions.iter() {
            collect(expression, &mut windows, |node| matches!(node, Expr::WindowFunction(_)))?;
        }
        if windows.is_empty() {
            return Ok(plan);
        }
        let plan = LogicalPlanBuilder::window_plan(plan, windows.clone()).map_err(from_datafusion)?;
        let replacements: Vec<(Expr, Column)> = windows
            .into_iter()
            .map(|window| {
                let column = Column::new_unqualified(window.schema_name().to_string());
                (window, column)
            })
            .collect();
        for expression in expressions.iter_mut() {
            let old = std::mem::take(*expression);
            **expression = replaced(old, &replacements)?;
        }
        Ok(plan)
    }
}

/// Collects the outermost nodes that a test accepts, each once.
pub(super) fn collect(expression: &Expr, into: &mut Vec<Expr>, test: fn(&Expr) -> bool) -> Result<()> {
    expression
        .apply(|node| {
            if !test(node) {
                return Ok(TreeNodeRecursion::Continue);
            }
            if !into.contains(node) {
                into.push(node.clone());
            }
            Ok(TreeNodeRecursion::Jump)
        })
        .map(|_| ())
        .map_err(from_datafusion)
}

/// The expression with nodes replaced by columns.
pub(super) fn replaced(expression: Expr, replacements: &[(Expr, Column)]) -> Result<Expr> {
    expression
        .transform_down(|node| {
            let hit = replacements.iter().find(|(old, _)| *old == node);
            Ok(match hit {
                Some((_, column)) => {
                    Transformed::new(Expr::Column(column.clone()), true, TreeNodeRecursion::Jump)
                }
                None => Transformed::no(node),
            })
        })
        .map(|transformed| transformed.data)
        .map_err(from_datafusion)
}

/// Like `replaced`, and refuses columns that are neither grouped nor inside an aggregate.
fn regrouped(expression: Expr, replacements: &[(Expr, Column)], relations: &Relations) -> Result<Expr> {
    let mut refused: Option<SqlError> = None;
    let result = expression
        .transform_down(|node| {
            if let Some((_, column)) = replacements.iter().find(|(old, _)| *old == node) {
                return Ok(Transformed::new(Expr::Column(column.clone()), true, TreeNodeRecursion::Jump));
            }
            if let Expr::Column(column) = &node {
                refused.get_or_insert_with(|| ungrouped(column, relations));
                return Ok(Transformed::new(node, false, TreeNodeRecursion::Stop));
            }
            Ok(Transformed::no(node))
        })
        .map_err(from_datafusion)?;
    match refused {
        Some(error) => Err(error),
        None => Ok(result.data),
    }
}

fn ungrouped(column: &Column, relations: &Relations) -> SqlError {
    let shown = relations
        .relations
        .iter()
        .find_map(|relation| {
            let found = relation.columns.iter().find(|candidate| candidate.column == *column)?;
            Some(format!("{}.{}", relation.alias, found.name))
        })
        .unwrap_or_else(|| column.name.clone());
    grouping(format!(
        "column \"{shown}\" must appear in the GROUP BY clause or be used in an aggregate function"
    ))
}

fn has_aggregate(expression: &Expr) -> bool {
    expression.exists(|node| Ok(matches!(node, Expr::AggregateFunction(_)))).unwrap_or(true)
}

fn dedupe(expressions: &mut Vec<Expr>) {
    let mut seen: Vec<Expr> = Vec::with_capacity(expressions.len());
    expressions.retain(|expression| {
        let new = !seen.contains(expression);
        if new {
            seen.push(expression.clone());
        }
        new
    });
}

fn subsets(lists: &[Vec<Expr>]) -> Result<Vec<Vec<Expr>>> {
    if lists.len() > MAX_GROUPING_SETS.ilog2() as usize {
        return Err(too_many_sets());
    }
    let chosen = |mask: usize| {
        let picked = lists.iter().enumerate().filter(|(position, _)| mask & (1 << position) != 0);
        picked.flat_map(|(_, list)| list.iter().cloned()).collect::<Vec<_>>()
    };
    Ok((0..1_usize << lists.len()).rev().map(chosen).collect())
}

fn too_many_sets() -> SqlError {
    SqlError::new(
        proto::ErrorKind::StatementTooComplex,
        format!("too many grouping sets present (maximum {MAX_GROUPING_SETS})"),
    )
}
