//! SELECT … FOR UPDATE and its kin: the rows in their order with their identities and keys, to be locked one by one
//! before LIMIT counts them. It is a step of its own: the query around it reads the rows that were locked.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode as _;
use datafusion::logical_expr::{Expr, LogicalPlan};
use proto::catalog::TableMeta;
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, JoinOperator, NonBlock, TableFactor};

use super::select::Item;
use super::{Planned, Unknowns, keyed, order};
use crate::binder::{Binder, Bound};
use crate::environment::Outside;
use crate::error::{At, Result, from_datafusion, unsupported};
use crate::names::fold;
use crate::plan::{LockWait, LockedRows, LockingQuery, RowLock, StepWork};
use crate::scope::{Relation, Relations};
use crate::syntax::read_locking;

/// `_segment`, `_ordinal`, `_row`.
const IDENTITY_COLUMNS: usize = 3;

/// A locking clause.
#[derive(Clone, Debug)]
pub(crate) struct Locking {
    strength: RowLock,
    of: Option<ast::Ident>,
    wait: LockWait,
}

/// What a SELECT adds to its columns for its locks.
#[derive(Debug, Default)]
pub(crate) struct LockedColumns {
    /// The number of columns before them.
    pub visible: usize,
    pub rows: Vec<LockedRows>,
}

impl Binder<'_> {
    /// A query with locking clauses.
    pub(super) fn locking_query(
        &self,
        query: &ast::Query,
        outside: Outside<'_>,
        unknowns: Unknowns<'_>,
    ) -> Result<Planned> {
        let clauses: Vec<Locking> = query.locks.iter().map(clause).collect();
        let strength = clauses.first().map_or(RowLock::Update, |clause| clause.strength);
        let select = match query.body.as_ref() {
            ast::SetExpr::Select(select) => select,
            ast::SetExpr::Values(_) => {
                return Err(unsupported_lock(strength, "cannot be applied to VALUES"));
            }
            _ => return Err(unsupported_lock(strength, "is not allowed with UNION/INTERSECT/EXCEPT")),
        };
        refuse_clauses(select, strength)?;
        let order_by = order::items(query.order_by.as_ref())?;
        let before = self.locking.replace(Some(clauses));
        let selected = self.select(select, order_by, outside, unknowns);
        self.locking.replace(before);
        let selected = selected?;
        let locked = self.locked.take().unwrap_or_default();
        let planned = selected.columns.finish(selected.plan)?;
        if planned.plan.contains_outer_reference() || has_aggregate(&planned.plan) {
            let what = if has_aggregate(&planned.plan) {
                "is not allowed with aggregate or window functions"
            } else {
                "of a query that names columns around it"
            };
            return Err(unsupported_lock(strength, what));
        }
        let (offset, limit) = self.row_counts(query, outside)?;
        let mut columns = planned.columns;
        columns.truncate(locked.visible);
        let work = LockingQuery {
            logical: keyed::keyed(planned.plan).map_err(from_datafusion)?,
            visible: locked.visible,
            limit,
            offset,
            rows: locked.rows,
        };
        self.step(StepWork::Lock(Box::new(work)), columns)
    }

    /// The columns that name the rows to lock, behind the items of a select list.
    pub(super) fn lock_items(
        &self,
        clauses: &[Locking],
        select: &ast::Select,
        relations: &Relations,
        items: &mut Vec<Item>,
    ) -> Result<LockedColumns> {
        let mut locked = LockedColumns { visible: items.len(), rows: Vec::new() };
        let strength = clauses.first().map_or(RowLock::Update, |clause| clause.strength);
        refuse_aggregates(items, strength)?;
        check_names(clauses, relations)?;
        let nullable = nullable_relations(select);
        for relation in &relations.relations {
            let covers =
                |clause: &&Locking| clause.of.as_ref().is_none_or(|name| fold(name) == relation.alias);
            let mut covering = clauses.iter().filter(covers);
            let Some(first) = covering.next() else { continue };
            let Some(table) = &relation.table else { continue };
            if nullable.contains(&relation.alias) {
                let what = "cannot be applied to the nullable side of an outer join";
                return Err(unsupported_lock(first.strength, what));
            }
            if relation.columns.len() != table.columns.len() + IDENTITY_COLUMNS {
                return Err(unsupported_lock(first.strength, "of a table at a past time"));
            }
            let (strength, wait) = covering
                .fold((first.strength, first.wait), |(s, w), next| (s.max(next.strength), w.max(next.wait)));
            let first = items.len();
            items.extend(identity_items(relation, table));
            locked.rows.push(LockedRows { table: Arc::clone(table), first, strength, wait });
        }
        Ok(locked)
    }
}

fn identity_items<'r>(relation: &'r Relation, table: &'r TableMeta) -> impl Iterator<Item = Item> + 'r {
    let identity = table.columns.len()..relation.columns.len();
    identity.chain(table.key_positions()).map(|position| {
        let column = &relation.columns[position];
        let bound = Bound::new(Expr::Column(column.column.clone()), column.ty);
        Item { name: format!("__lock_{}", column.column.name), bound, origin: None }
    })
}

fn clause(clause: &ast::LockClause) -> Locking {
    let (strength, of) = read_locking(clause);
    let wait = match clause.nonblock {
        None => LockWait::Wait,
        Some(NonBlock::SkipLocked) => LockWait::Skip,
        Some(NonBlock::Nowait) => LockWait::Refuse,
    };
    Locking { strength, of, wait }
}

fn unsupported_lock(strength: RowLock, what: &str) -> SqlError {
    SqlError::new(ErrorKind::FeatureNotSupported, format!("{} {what}", strength.clause()))
}

fn refuse_clauses(select: &ast::Select, strength: RowLock) -> Result<()> {
    let grouped = match &select.group_by {
        ast::GroupByExpr::All(_) => true,
        ast::GroupByExpr::Expressions(expressions, _) => !expressions.is_empty(),
    };
    let refused = if select.distinct.is_some() {
        "is not allowed with DISTINCT clause"
    } else if grouped {
        "is not allowed with GROUP BY clause"
    } else if select.having.is_some() {
        "is not allowed with HAVING clause"
    } else if all_factors(select).any(|factor| matches!(factor, TableFactor::Derived { .. })) {
        return Err(unsupported(format!("{} of a subquery in FROM", strength.clause())));
    } else {
        return Ok(());
    };
    Err(unsupported_lock(strength, refused))
}

fn refuse_aggregates(items: &[Item], strength: RowLock) -> Result<()> {
    let has = |wanted: fn(&Expr) -> bool| {
        items.iter().any(|item| item.bound.expr.exists(|part| Ok(wanted(part))).unwrap_or(true))
    };
    if has(|part| matches!(part, Expr::AggregateFunction(_))) {
        return Err(unsupported_lock(strength, "is not allowed with aggregate functions"));
    }
    if has(|part| matches!(part, Expr::WindowFunction(_))) {
        return Err(unsupported_lock(strength, "is not allowed with window functions"));
    }
    Ok(())
}

/// Whether the query itself, without its relations, aggregates.
fn has_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => true,
        LogicalPlan::Projection(node) => has_aggregate(&node.input),
        LogicalPlan::Sort(node) => has_aggregate(&node.input),
        LogicalPlan::Filter(node) => has_aggregate(&node.input),
        _ => false,
    }
}

fn all_factors(select: &ast::Select) -> impl Iterator<Item = &TableFactor> {
    let joined = select.from.iter().flat_map(|table| table.joins.iter().map(|join| &join.relation));
    select.from.iter().map(|table| &table.relation).chain(joined)
}

/// The aliases on the nullable side of outer joins.
fn nullable_relations(select: &ast::Select) -> Vec<String> {
    let mut nullable = Vec::new();
    for table in &select.from {
        let mut before = vec![alias_of(&table.relation)];
        for join in &table.joins {
            let own = alias_of(&join.relation);
            let (left, right) = match join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
                JoinOperator::FullOuter(_) => (true, true),
                _ => (false, false),
            };
            if left {
                nullable.extend(before.iter().flatten().cloned());
            }
            if right {
                nullable.extend(own.clone());
            }
            before.push(own);
        }
    }
    nullable
}

fn alias_of(factor: &TableFactor) -> Option<String> {
    let TableFactor::Table { name, alias, .. } = factor else { return None };
    if let Some(alias) = alias {
        return Some(fold(&alias.name));
    }
    match name.0.last() {
        Some(ast::ObjectNamePart::Identifier(name)) => Some(fold(name)),
        _ => None,
    }
}

/// # Errors
/// 42P01 for a name that is no relation of the FROM clause, 0A000 for one that has no rows to lock.
fn check_names(clauses: &[Locking], relations: &Relations) -> Result<()> {
    for clause in clauses {
        let Some(name) = &clause.of else { continue };
        let folded = fold(name);
        let Some(relation) = relations.relations.iter().find(|relation| relation.alias == folded) else {
            let message = format!(
                "relation \"{folded}\" in {} clause not found in FROM clause",
                clause.strength.clause()
            );
            return Err(SqlError::new(ErrorKind::UndefinedTable, message).at(name.span));
        };
        if relation.table.is_none() {
            return Err(unsupported_lock(clause.strength, "cannot be applied to a WITH query"));
        }
    }
    Ok(())
}
