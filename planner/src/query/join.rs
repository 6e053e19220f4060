//! Joins: kinds, ON, USING, NATURAL, and the columns that USING merges.

use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, Operator};
use exec::functions::resolve::common_type;
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, JoinConstraint, JoinOperator};

use super::from::{FromItem, check_aliases};
use crate::binder::{Binder, Bound};
use crate::calls;
use crate::environment::{Env, Outside, Place};
use crate::error::{At, Result, ambiguous_column, from_datafusion, syntax, unsupported};
use crate::expression::balanced;
use crate::names::fold;
use crate::scope::{Merged, Relations, Scope};

impl Binder<'_> {
    /// `left JOIN right`; `before` are the comma items to the left, which a lateral right side may name too.
    pub(super) fn join(
        &self,
        left: FromItem,
        join: &ast::Join,
        before: Option<&FromItem>,
        outside: Outside<'_>,
    ) -> Result<FromItem> {
        if join.global {
            return Err(syntax("syntax error at or near \"GLOBAL\""));
        }
        let (kind, constraint) = join_kind(&join.join_operator)?;
        let outer_join = kind == JoinType::Left;
        let right = self.factor(&join.relation, Some(&left), outer_join, outside)?;
        if right.joined {
            return self.lateral_condition(right, kind, constraint, outside);
        }
        let _ = before;
        check_aliases(&left.relations, &right.relations)?;
        match constraint {
            JoinConstraint::None => self.cross(left, right),
            JoinConstraint::On(condition) => {
                let relations = combined(&left.relations, &right.relations);
                let condition = {
                    let env = join_env(&relations, outside);
                    self.bind_condition(condition, "JOIN/ON", &env)?
                };
                connect(left, right, kind, condition, relations)
            }
            JoinConstraint::Using(names) => {
                let names = names.iter().map(using_name).collect::<Result<Vec<_>>>()?;
                self.join_using(left, right, kind, &names)
            }
            JoinConstraint::Natural => {
                let names = common_names(&left.relations, &right.relations);
                if names.is_empty() {
                    self.cross(left, right)
                } else {
                    self.join_using(left, right, kind, &names)
                }
            }
        }
    }

    /// `a, b` and CROSS JOIN.
    pub(super) fn cross(&self, left: FromItem, right: FromItem) -> Result<FromItem> {
        check_aliases(&left.relations, &right.relations)?;
        let relations = combined(&left.relations, &right.relations);
        let plan = LogicalPlanBuilder::from(left.plan)
            .cross_join(right.plan)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        Ok(FromItem { plan, relations, joined: left.joined })
    }

    /// The ON clause of a lateral item, which is joined already.
    fn lateral_condition(
        &self,
        item: FromItem,
        kind: JoinType,
        constraint: &JoinConstraint,
        outside: Outside<'_>,
    ) -> Result<FromItem> {
        let item = FromItem { joined: false, ..item };
        match constraint {
            JoinConstraint::None => Ok(item),
            JoinConstraint::On(condition) => {
                let condition = {
                    let env = join_env(&item.relations, outside);
                    self.bind_condition(condition, "JOIN/ON", &env)?
                };
                if is_true(&condition) {
                    return Ok(item);
                }
                if kind != JoinType::Inner {
                    return Err(unsupported("LEFT JOIN LATERAL with a condition other than true"));
                }
                Ok(FromItem { plan: super::filter(item.plan, condition)?, ..item })
            }
            _ => Err(unsupported("USING with LATERAL")),
        }
    }

    fn join_using(
        &self,
        left: FromItem,
        right: FromItem,
        kind: JoinType,
        names: &[String],
    ) -> Result<FromItem> {
        let mut conditions = Vec::with_capacity(names.len());
        let mut merged = Vec::with_capacity(names.len());
        for name in names {
            let (a, b) =
                (side_column(&left.relations, name, "left")?, side_column(&right.relations, name, "right")?);
            conditions.push(self.compare(a.0.clone(), Operator::Eq, b.0.clone())?.expr);
            merged.push(self.merge(name, kind, a, b)?);
        }
        let mut relations = combined(&left.relations, &right.relations);
        for relation in &mut relations.relations {
            for column in &mut relation.columns {
                column.hidden |= names.contains(&column.name);
            }
        }
        relations.merged.retain(|older| !names.contains(&older.name));
        merged.append(&mut relations.merged);
        relations.merged = merged;
        connect(left, right, kind, balanced(conditions, Operator::And), relations)
    }

    /// The one column that stands for both sides of USING.
    fn merge(&self, name: &str, kind: JoinType, left: Side, right: Side) -> Result<Merged> {
        let ty = common_type("JOIN/USING", &[Some(left.0.ty), Some(right.0.ty)])?;
        let origin = if kind == JoinType::Right { right.1 } else { left.1 };
        let (a, b) = (self.implicit(left.0, ty)?.expr, self.implicit(right.0, ty)?.expr);
        let expr = match kind {
            JoinType::Right => b,
            JoinType::Full => {
                let function =
                    calls::scalar("coalesce").ok_or_else(|| unsupported("FULL JOIN with USING"))?;
                calls::call(function, vec![a, b])
            }
            _ => a,
        };
        let origin = origin.filter(|_| kind != JoinType::Full);
        Ok(Merged { name: name.to_owned(), ty, expr, origin })
    }
}

type Side = (Bound, Option<(proto::TableId, u32)>);

fn side_column(relations: &Relations, name: &str, side: &str) -> Result<Side> {
    let mut found = relations.star().into_iter().filter(|column| column.name == name);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok((column.bound, column.origin)),
        (Some(_), Some(_)) => Err(SqlError {
            message: format!("common column name \"{name}\" appears more than once in {side} table"),
            ..ambiguous_column(name)
        }),
        (None, _) => Err(SqlError::new(
            ErrorKind::UndefinedColumn,
            format!("column \"{name}\" specified in USING clause does not exist in {side} table"),
        )),
    }
}

fn join_kind(operator: &JoinOperator) -> Result<(JoinType, &JoinConstraint)> {
    Ok(match operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (JoinType::Inner, constraint),
        JoinOperator::CrossJoin(constraint) => (JoinType::Inner, constraint),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinType::Left, constraint),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            (JoinType::Right, constraint)
        }
        JoinOperator::FullOuter(constraint) => (JoinType::Full, constraint),
        _ => return Err(syntax("syntax error at or near \"JOIN\"")),
    })
}

fn join_env<'s>(relations: &'s Relations, outside: Outside<'s>) -> Env<'s> {
    Env {
        scope: Scope { relations, outer: outside.scope },
        ctes: outside.ctes,
        place: Place::JoinCondition,
        windows: &[],
    }
}

fn combined(left: &Relations, right: &Relations) -> Relations {
    let mut all = left.clone();
    all.relations.extend(right.relations.iter().cloned());
    all.merged.extend(right.merged.iter().cloned());
    all
}

fn connect(
    left: FromItem,
    right: FromItem,
    kind: JoinType,
    condition: Expr,
    relations: Relations,
) -> Result<FromItem> {
    let builder = LogicalPlanBuilder::from(left.plan);
    let plan = if kind == JoinType::Inner && is_true(&condition) {
        builder.cross_join(right.plan)
    } else {
        builder.join_on(right.plan, kind, vec![condition])
    };
    let plan = plan.and_then(LogicalPlanBuilder::build).map_err(from_datafusion)?;
    Ok(FromItem { plan, relations, joined: left.joined })
}

fn is_true(condition: &Expr) -> bool {
    matches!(condition, Expr::Literal(datafusion::common::ScalarValue::Boolean(Some(true)), _))
}

fn using_name(name: &ast::ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(name)] => Ok(fold(name)),
        _ => Err(syntax("syntax error in USING").at(sqlparser::ast::Spanned::span(name))),
    }
}

fn common_names(left: &Relations, right: &Relations) -> Vec<String> {
    let right: Vec<String> = right.star().into_iter().map(|column| column.name).collect();
    left.star().into_iter().map(|column| column.name).filter(|name| right.contains(name)).collect()
}
