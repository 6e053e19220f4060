//! Plants `KnnScan` where `ORDER BY column <op> query LIMIT k` reads one table.
//!
//! The Sort stays: the leaf gives the k nearest rows among those that pass its filters, the Sort computes the distance
//! of those rows once more and decides the final order. The rule looks through projections and aliases only.
//!
//! Invariants: no rewrite when a filter, join, aggregate or limit stands between, when the order is not ascending with
//! NULLs last, or when there is a second sort key, because then rows that tie at the k-th place matter.

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::logical_plan::{Projection, Sort, TableScan};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use exec::functions::distance::as_distance;
use exec::knn::{KnnScan, KnnScanSpec};
use exec::table::{is_pushable, with_segment_table};
use proto::TypeKind;
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(super) struct PlantKnnScan;

impl OptimizerRule for PlantKnnScan {
    fn name(&self) -> &'static str {
        "plant_knn_scan"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(sort) = &plan else { return Ok(Transformed::no(plan)) };
        match planted(sort)? {
            Some(input) => {
                let sort = Sort { input: Arc::new(input), ..sort.clone() };
                Ok(Transformed::yes(LogicalPlan::Sort(sort)))
            }
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// The sort's input with a `KnnScan` in the place of its table scan.
fn planted(sort: &Sort) -> DfResult<Option<LogicalPlan>> {
    let (Some(k), [key]) = (sort.fetch, sort.expr.as_slice()) else { return Ok(None) };
    if k == 0 || !key.asc || key.nulls_first {
        return Ok(None);
    }
    descend(&sort.input, key.expr.clone(), k)
}

/// Follows the sort key down to the scan; `None` when anything but projections and aliases stands between.
fn descend(plan: &LogicalPlan, key: Expr, k: usize) -> DfResult<Option<LogicalPlan>> {
    let input = match plan {
        LogicalPlan::Projection(projection) => {
            let key = through_projection(key, projection)?;
            descend(&projection.input, key, k)?
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let key = through_schema(key, plan.schema(), alias.input.schema())?;
            descend(&alias.input, key, k)?
        }
        LogicalPlan::TableScan(scan) => return leaf(scan, &key, k),
        _ => None,
    };
    input.map(|input| plan.with_new_exprs(plan.expressions(), vec![input])).transpose()
}

/// The key over a projection's input.
fn through_projection(key: Expr, projection: &Projection) -> DfResult<Expr> {
    key.transform(|node| {
        let Expr::Column(column) = &node else { return Ok(Transformed::no(node)) };
        let position = projection.schema.index_of_column(column)?;
        Ok(Transformed::yes(projection.expr[position].clone().unalias_nested().data))
    })
    .map(|transformed| transformed.data)
}

/// The key with columns of one schema as the columns in the same places of another.
fn through_schema(key: Expr, from: &DFSchema, to: &DFSchema) -> DfResult<Expr> {
    key.transform(|node| {
        let Expr::Column(column) = &node else { return Ok(Transformed::no(node)) };
        let position = from.index_of_column(column)?;
        Ok(Transformed::yes(Expr::Column(Column::from(to.qualified_field(position)))))
    })
    .map(|transformed| transformed.data)
}

/// The scan as a search, behind a projection that restores the scan's columns.
fn leaf(scan: &TableScan, key: &Expr, k: usize) -> DfResult<Option<LogicalPlan>> {
    let key = unaliased(key);
    let Some((metric, left, right)) = as_distance(key) else { return Ok(None) };
    let (column, query) = match (unaliased(left), unaliased(right)) {
        (Expr::Column(column), query) if is_constant(query) => (column, query),
        (query, Expr::Column(column)) if is_constant(query) => (column, query),
        _ => return Ok(None),
    };
    if scan.fetch.is_some() || !scan.filters.iter().all(is_pushable) {
        return Ok(None);
    }
    let found = with_segment_table(&scan.source, |table| {
        let vector = table.meta().column_position(&column.name)?;
        if table.meta().columns[vector].ty.kind != TypeKind::Vector {
            return None;
        }
        let all: Vec<usize> = (0..table.columns().len()).collect();
        let projection = scan.projection.as_ref().unwrap_or(&all);
        let columns = projection
            .iter()
            .map(|&position| table.columns().get(position).copied())
            .collect::<Option<_>>()?;
        Some(KnnScanSpec {
            table: Arc::clone(table.meta()),
            at: table.at(),
            qualifier: scan.table_name.clone(),
            columns,
            filters: scan.filters.clone(),
            vector,
            metric,
            query: query.clone(),
            k,
        })
    });
    let Some(Some(spec)) = found else { return Ok(None) };
    let search = KnnScan::try_new(spec)?.into_plan();
    let columns = scan.projected_schema.columns().into_iter().map(Expr::Column).collect();
    Projection::try_new(columns, Arc::new(search)).map(|plan| Some(LogicalPlan::Projection(plan)))
}

/// Whether an expression has one value for the whole statement.
fn is_constant(expression: &Expr) -> bool {
    let correlated = |node: &Expr| match node {
        Expr::OuterReferenceColumn(..) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
            true
        }
        Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
        _ => false,
    };
    expression.column_refs().is_empty()
        && !expression.is_volatile()
        && !expression.exists(|node| Ok(correlated(node))).unwrap_or(true)
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
