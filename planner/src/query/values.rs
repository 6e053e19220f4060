//! VALUES lists.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Values, lit};
use exec::functions::common_type;
use proto::ColumnType;
use sqlparser::ast;

use super::{Planned, QueryColumn, Unknowns};
use crate::binder::{Binder, Bound};
use crate::environment::{Env, Outside, Place};
use crate::error::{Result, from_datafusion, syntax};
use crate::expression::{carried_alike, constant};
use crate::scope::{Relations, Scope};

/// Bound rows of equal length.
pub(crate) type ValueRows = Vec<Vec<Bound>>;

impl Binder<'_> {
    pub(super) fn values(
        &self,
        values: &ast::Values,
        outside: Outside<'_>,
        unknowns: Unknowns<'_>,
    ) -> Result<Planned> {
        let relations = Relations::default();
        let env = Env {
            scope: Scope { relations: &relations, outer: outside.scope },
            ctes: outside.ctes,
            place: Place::Values,
            windows: &[],
        };
        let mut rows: ValueRows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let row = row.iter().map(|cell| self.bind(cell, &env)).collect::<Result<Vec<_>>>()?;
            if rows.first().is_some_and(|first| first.len() != row.len()) {
                return Err(syntax("VALUES lists must all be the same length"));
            }
            rows.push(row);
        }
        let width = rows.first().map_or(0, Vec::len);
        let mut types = Vec::with_capacity(width);
        for position in 0..width {
            let known: Vec<_> = rows.iter().map(|row| row[position].known()).collect();
            let wanted = match unknowns {
                Unknowns::Wanted(wanted) => wanted.get(position).map(|ty| ty.without_typmod()),
                _ => None,
            };
            types.push(match wanted {
                Some(wanted) if known.iter().all(Option::is_none) => wanted,
                _ => common_type("VALUES", &known)?.without_typmod(),
            });
        }
        let mut rows = rows
            .into_iter()
            .map(|row| row.into_iter().zip(&types).map(|(cell, ty)| self.implicit(cell, *ty)).collect())
            .collect::<Result<ValueRows>>()?;
        for (position, ty) in types.iter().enumerate() {
            let cells = rows.iter_mut().map(|row| std::mem::take(&mut row[position].expr)).collect();
            for (row, cell) in rows.iter_mut().zip(carried_alike(cells, *ty)) {
                row[position].expr = cell;
            }
        }
        let names: Vec<String> = (1..=width).map(|number| format!("column{number}")).collect();
        let plan = self.value_rows(rows, &names)?;
        let columns = names
            .into_iter()
            .zip(types)
            .map(|(name, ty)| QueryColumn {
                column: Column::new_unqualified(name.clone()),
                name,
                ty,
                origin: None,
            })
            .collect();
        Ok(Planned { plan, columns })
    }

    /// `value_rows` that are computed before anything above them runs, unless they hold what only runs in a plan.
    pub(crate) fn computed_rows(&self, rows: ValueRows, names: &[String]) -> Result<LogicalPlan> {
        if rows.iter().flatten().all(|cell| is_simple(&cell.expr)) {
            return plain_rows(rows, names);
        }
        self.value_rows(rows, names)
    }

    /// A relation of rows whose cells of one column are of one type, with the given column names.
    pub(crate) fn value_rows(&self, rows: ValueRows, names: &[String]) -> Result<LogicalPlan> {
        let simple = rows.iter().flatten().all(|cell| is_simple(&cell.expr));
        if rows.len() > 1 && simple {
            return plain_rows(rows, names);
        }
        let mut plans = rows.into_iter().map(|row| single_row(row, names));
        let Some(first) = plans.next() else { return Err(syntax("VALUES without rows")) };
        plans.try_fold(first?, |plan, next| {
            LogicalPlanBuilder::from(plan)
                .union(next?)
                .and_then(LogicalPlanBuilder::build)
                .map_err(from_datafusion)
        })
    }
}

/// Whether an expression can stand in DataFusion's VALUES, which are computed while planning.
fn is_simple(expression: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    !expression.is_volatile()
        && !expression
            .exists(|node| {
                Ok(matches!(
                    node,
                    Expr::ScalarSubquery(_)
                        | Expr::Exists(_)
                        | Expr::InSubquery(_)
                        | Expr::SetComparison(_)
                        | Expr::OuterReferenceColumn(..)
                ))
            })
            .unwrap_or(true)
}

fn single_row(row: Vec<Bound>, names: &[String]) -> Result<LogicalPlan> {
    let expressions = if row.is_empty() {
        vec![lit(true).alias("__row")]
    } else {
        row.into_iter().zip(names).map(|(cell, name)| aliased(cell.expr, cell.ty, name)).collect()
    };
    LogicalPlanBuilder::empty(true)
        .project(expressions)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

fn plain_rows(rows: ValueRows, names: &[String]) -> Result<LogicalPlan> {
    let types: Vec<ColumnType> =
        rows.first().map_or_else(Vec::new, |row| row.iter().map(|cell| cell.ty).collect());
    let rows = rows.into_iter().map(|row| row.into_iter().map(|cell| cell.expr).collect()).collect();
    let values = values_plan(rows)?;
    let columns: Vec<Column> = values.schema().columns();
    let expressions = columns
        .into_iter()
        .zip(types)
        .zip(names)
        .map(|((column, ty), name)| aliased(Expr::Column(column), ty, name))
        .collect();
    super::project(values, expressions)
}

/// A VALUES node. DataFusion's builder wants equal metadata in all rows of a column, which a literal beside a
/// cast or a typed NULL does not have; the carriers are what must agree.
fn values_plan(rows: Vec<Vec<Expr>>) -> Result<LogicalPlan> {
    let nothing = DFSchema::empty();
    let carriers = |row: &Vec<Expr>| {
        row.iter().map(|cell| cell.get_type(&nothing)).collect::<datafusion::common::Result<Vec<_>>>()
    };
    let first = rows.first().map_or_else(|| Ok(Vec::new()), carriers).map_err(from_datafusion)?;
    for row in &rows {
        if carriers(row).map_err(from_datafusion)? != first {
            return LogicalPlanBuilder::values(rows)
                .and_then(LogicalPlanBuilder::build)
                .map_err(from_datafusion);
        }
    }
    let fields =
        (1..).zip(first).map(|(number, carrier)| Field::new(format!("column{number}"), carrier, true));
    let schema = DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>())).map_err(from_datafusion)?;
    Ok(LogicalPlan::Values(Values { schema: Arc::new(schema), values: rows }))
}

/// An alias that carries the type's metadata where the Arrow type alone does not tell it.
fn aliased(expression: Expr, ty: ColumnType, name: &str) -> Expr {
    if let Expr::Literal(value, None) = expression {
        return constant(value, ty).alias(name);
    }
    if ColumnType::of_data_type(&ty.data_type()) == ty {
        // DataFusion's decorrelation looks for the bare column, not for its alias.
        let same =
            matches!(&expression, Expr::Column(column) if column.relation.is_none() && column.name == name);
        return if same { expression } else { expression.alias(name) };
    }
    super::typed_alias(expression, ty, name)
}
