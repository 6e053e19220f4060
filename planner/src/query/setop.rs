//! UNION, INTERSECT and EXCEPT.

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use exec::functions::common_type;
use proto::ColumnType;
use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier};

use super::{Columns, Planned, QueryColumn, UniqueNames, Unknowns, project, typed_alias};
use crate::binder::{Binder, Bound};
use crate::environment::Outside;
use crate::error::{Result, from_datafusion, internal, syntax, unsupported};

impl Binder<'_> {
    pub(super) fn set_operation(
        &self,
        body: &SetExpr,
        outside: Outside<'_>,
        unknowns: Unknowns<'_>,
    ) -> Result<Planned> {
        let SetExpr::SetOperation { left, op, set_quantifier, right } = body else {
            return Err(internal("set operation without operator"));
        };
        let name = match op {
            SetOperator::Union => "UNION",
            SetOperator::Intersect => "INTERSECT",
            SetOperator::Except | SetOperator::Minus => "EXCEPT",
        };
        let all = match set_quantifier {
            SetQuantifier::All => true,
            SetQuantifier::None | SetQuantifier::Distinct => false,
            _ => return Err(unsupported(format!("{name} BY NAME"))),
        };
        let left = self.body(left, outside, Unknowns::Keep)?;
        let right = self.body(right, outside, Unknowns::Keep)?;
        if left.columns.len() != right.columns.len() {
            return Err(syntax(format!("each {name} query must have the same number of columns")));
        }
        let mut types = Vec::with_capacity(left.columns.len());
        for (position, (left, right)) in left.columns.iter().zip(&right.columns).enumerate() {
            let known = [known(left.ty), known(right.ty)];
            types.push(match unknowns {
                Unknowns::Wanted(wanted) if known == [None, None] && position < wanted.len() => {
                    wanted[position].without_typmod()
                }
                _ => common_type(name, &known)?,
            });
        }
        let names: Vec<String> = {
            let mut unique = UniqueNames::default();
            left.columns.iter().map(|column| unique.pick(&column.name)).collect()
        };
        let output: Vec<String> = left.columns.iter().map(|column| column.name.clone()).collect();
        let left = self.cast_columns(left, &types, &names)?;
        let right = self.cast_columns(right, &types, &names)?;
        let plan = combine(*op, all, left, right, self)?;
        let columns = columns_of(&plan, output, &types);
        Ok(Planned { plan, columns })
    }

    /// The columns in the given types under the given names.
    pub(crate) fn cast_columns(
        &self,
        planned: Planned,
        types: &[ColumnType],
        names: &[String],
    ) -> Result<LogicalPlan> {
        let expressions = planned
            .columns
            .into_iter()
            .zip(types)
            .zip(names)
            .map(|((column, ty), name)| {
                let bound = Bound::new(Expr::Column(column.column), column.ty);
                self.implicit(bound, *ty).map(|bound| typed_alias(bound.expr, *ty, name))
            })
            .collect::<Result<Vec<_>>>()?;
        project(planned.plan, expressions)
    }
}

fn known(ty: ColumnType) -> Option<ColumnType> {
    (ty.kind != proto::TypeKind::Unknown).then_some(ty)
}

fn combine(
    operator: SetOperator,
    all: bool,
    left: LogicalPlan,
    right: LogicalPlan,
    binder: &Binder<'_>,
) -> Result<LogicalPlan> {
    let plan = match operator {
        SetOperator::Union => {
            let union = LogicalPlanBuilder::from(left).union(right);
            if all { union } else { union.and_then(LogicalPlanBuilder::distinct) }
                .and_then(LogicalPlanBuilder::build)
        }
        SetOperator::Intersect | SetOperator::Except | SetOperator::Minus => {
            if all {
                return Err(unsupported("INTERSECT ALL and EXCEPT ALL"));
            }
            let side = |plan: LogicalPlan, name: &str| {
                LogicalPlanBuilder::from(plan)
                    .alias(binder.qualifier(name))
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(from_datafusion)
            };
            let (left, right) = (side(left, "__left")?, side(right, "__right")?);
            if operator == SetOperator::Intersect {
                LogicalPlanBuilder::intersect(left, right, false)
            } else {
                LogicalPlanBuilder::except(left, right, false)
            }
        }
    };
    plan.map_err(from_datafusion)
}

/// The first columns of a plan under PostgreSQL's names.
pub(super) fn columns_of(plan: &LogicalPlan, names: Vec<String>, types: &[ColumnType]) -> Columns {
    names
        .into_iter()
        .zip(types)
        .zip(plan.schema().columns())
        .map(|((name, ty), column): ((String, &ColumnType), Column)| QueryColumn {
            name,
            ty: *ty,
            column,
            origin: None,
        })
        .collect()
}
