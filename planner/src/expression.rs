//! Expressions: from sqlparser's form to typed DataFusion expressions under PostgreSQL's rules.
//!
//! Binding goes bottom-up; each step gives a `Bound` with its PostgreSQL type, so that operators and functions are
//! chosen by PostgreSQL's rules and unknown literals take the type their neighbour asks for.
//!
//! Invariants: DataFusion never sees an untyped string where PostgreSQL would have converted it; every cast is
//! exec's; recursion grows the stack as needed.

use datafusion::logical_expr::{Expr, Operator, not};
use proto::ColumnType;
use sqlparser::ast::{self, BinaryOperator, CastKind, Spanned, UnaryOperator};

use crate::binder::{Binder, Bound};
use crate::environment::Env;
use crate::error::{At, Result, internal, unsupported};
use crate::types::column_type;

mod array;
mod case;
mod coerce;
mod deparse;
mod function;
mod keyword;
mod literal;
mod naming;
mod operator;
mod pattern;
mod quantified;
mod subquery;
mod window;

pub(crate) use coerce::{carried_alike, constant, typed_null};
pub(crate) use deparse::bare_name;
pub(crate) use function::{EXPAND_ARRAY, PARTITION_ANCESTORS, function_name};
pub(crate) use naming::output_name;
pub(crate) use subquery::as_subquery;

/// Grow the stack when less than this is left …
const RED_ZONE: usize = 256 * 1024;
/// … by this much.
const STACK_STEP: usize = 4 * 1024 * 1024;

impl Binder<'_> {
    /// Binds an expression; its type may be unknown.
    pub(crate) fn bind(&self, expression: &ast::Expr, env: &Env<'_>) -> Result<Bound> {
        stacker::maybe_grow(RED_ZONE, STACK_STEP, || self.bind_here(expression, env))
    }

    /// Binds an expression whose type the place decides.
    pub(crate) fn bind_to(&self, expression: &ast::Expr, ty: ColumnType, env: &Env<'_>) -> Result<Bound> {
        let bound = self.bind(expression, env)?;
        self.implicit(bound, ty)
    }

    /// Binds a condition, with PostgreSQL's message when it is no boolean.
    pub(crate) fn bind_condition(&self, expression: &ast::Expr, what: &str, env: &Env<'_>) -> Result<Expr> {
        let bound = self.bind(expression, env)?;
        self.condition(bound, what).at(expression.span())
    }

    fn bind_here(&self, expression: &ast::Expr, env: &Env<'_>) -> Result<Bound> {
        use ast::Expr as E;
        match expression {
            E::Identifier(name) => {
                Ok(env.scope.resolve(std::slice::from_ref(name)).map(|found| found.bound)?)
            }
            E::CompoundIdentifier(parts) => Ok(env.scope.resolve(parts)?.bound),
            E::Value(value) => self.literal(value),
            E::Nested(inner) => self.bind(inner, env),
            E::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } => {
                self.connective(expression, env)
            }
            E::BinaryOp { left, op, right } => self.binary(left, op, right, env),
            E::UnaryOp { op, expr } => self.unary(*op, expr, env),
            E::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None, ..
            } => {
                let target = column_type(data_type).at(expr.span())?;
                if let ast::Expr::Array(array) = expr.as_ref()
                    && array.elem.is_empty()
                    && target.array
                {
                    return Ok(Bound::new(array::empty_array(target), target));
                }
                let bound = self.bind(expr, env)?;
                self.explicit(bound, target).at(expr.span())
            }
            E::TypedString(typed) => {
                let target = column_type(&typed.data_type)?;
                let bound = self.literal(&typed.value)?;
                self.explicit(bound, target)
            }
            E::Interval(interval) => self.interval(interval, env),
            E::Function(function) => self.function(function, env),
            E::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), env)
            }
            E::Subquery(query) => self.scalar_subquery(query, env),
            E::Exists { subquery, negated } => self.exists(subquery, *negated, env),
            E::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated, env),
            E::InList { expr, list, negated } => self.in_list(expr, list, *negated, env),
            E::Between { expr, negated, low, high } => self.between(expr, low, high, *negated, env),
            E::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, true, env),
            E::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, false, env),
            E::Array(array) => self.array(&array.elem, env),
            E::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, env),
            E::Collate { expr, collation } => self.collate(expr, collation, env),
            E::Tuple(_) => Err(unsupported("a row value here")),
            other => self.bind_predicate(other, env),
        }
    }

    fn bind_predicate(&self, expression: &ast::Expr, env: &Env<'_>) -> Result<Bound> {
        use ast::Expr as E;
        match expression {
            E::IsNull(inner) => Ok(Bound::boolean(Expr::IsNull(Box::new(self.bind_any(inner, env)?)))),
            E::IsNotNull(inner) => Ok(Bound::boolean(Expr::IsNotNull(Box::new(self.bind_any(inner, env)?)))),
            E::IsTrue(inner) => self.truth(inner, "IS TRUE", Expr::IsTrue, env),
            E::IsNotTrue(inner) => self.truth(inner, "IS NOT TRUE", Expr::IsNotTrue, env),
            E::IsFalse(inner) => self.truth(inner, "IS FALSE", Expr::IsFalse, env),
            E::IsNotFalse(inner) => self.truth(inner, "IS NOT FALSE", Expr::IsNotFalse, env),
            E::IsUnknown(inner) => self.truth(inner, "IS UNKNOWN", Expr::IsUnknown, env),
            E::IsNotUnknown(inner) => self.truth(inner, "IS NOT UNKNOWN", Expr::IsNotUnknown, env),
            E::IsDistinctFrom(left, right) => self.distinctness(left, right, Operator::IsDistinctFrom, env),
            E::IsNotDistinctFrom(left, right) => {
                self.distinctness(left, right, Operator::IsNotDistinctFrom, env)
            }
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, *negated, false, escape_char.as_ref(), env)
            }
            E::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, *negated, true, escape_char.as_ref(), env)
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar(expr, pattern, *negated, escape_char.as_ref(), env)
            }
            other => self.keyword_call(other, env),
        }
    }

    /// An operand whose type does not matter; unknown literals become text.
    pub(crate) fn bind_any(&self, expression: &ast::Expr, env: &Env<'_>) -> Result<Expr> {
        let bound = self.bind(expression, env)?;
        Ok(self.settle(bound)?.expr)
    }

    fn truth(
        &self,
        inner: &ast::Expr,
        what: &str,
        build: fn(Box<Expr>) -> Expr,
        env: &Env<'_>,
    ) -> Result<Bound> {
        Ok(Bound::boolean(build(Box::new(self.bind_condition(inner, what, env)?))))
    }

    /// AND and OR: the left-deep chain of the text becomes a balanced tree.
    fn connective(&self, expression: &ast::Expr, env: &Env<'_>) -> Result<Bound> {
        let ast::Expr::BinaryOp { op, .. } = expression else {
            return Err(internal("connective without operator"));
        };
        let (operator, name) = match op {
            BinaryOperator::And => (Operator::And, "AND"),
            _ => (Operator::Or, "OR"),
        };
        let mut terms = Vec::new();
        let mut rest = expression;
        while let ast::Expr::BinaryOp { left, op: next, right } = rest
            && next == op
        {
            terms.push(right.as_ref());
            rest = left;
        }
        terms.push(rest);
        let terms = terms
            .into_iter()
            .rev()
            .map(|term| self.bind_condition(term, name, env))
            .collect::<Result<Vec<_>>>()?;
        Ok(Bound::boolean(balanced(terms, operator)))
    }

    fn unary(&self, operator: UnaryOperator, inner: &ast::Expr, env: &Env<'_>) -> Result<Bound> {
        match operator {
            UnaryOperator::Not => {
                let condition = self.bind_condition(inner, "NOT", env)?;
                Ok(Bound::boolean(not(condition)))
            }
            UnaryOperator::Minus => {
                if let ast::Expr::Value(value) = inner
                    && let Some(negated) = literal::negative(value)?
                {
                    return Ok(negated);
                }
                let operand = self.bind(inner, env)?;
                self.prefix("-", operand).at(inner.span())
            }
            UnaryOperator::Plus => {
                let operand = self.bind(inner, env)?;
                self.prefix("+", operand).at(inner.span())
            }
            UnaryOperator::BitwiseNot => self.prefix_of("~", inner, env),
            UnaryOperator::PGAbs => self.prefix_of("@", inner, env),
            UnaryOperator::PGSquareRoot => self.prefix_of("|/", inner, env),
            UnaryOperator::PGCubeRoot => self.prefix_of("||/", inner, env),
            other => Err(unsupported(format!("operator {other}"))),
        }
    }

    fn prefix_of(&self, operator: &str, inner: &ast::Expr, env: &Env<'_>) -> Result<Bound> {
        let operand = self.bind(inner, env)?;
        self.prefix(operator, operand).at(inner.span())
    }

    fn collate(&self, inner: &ast::Expr, collation: &ast::ObjectName, env: &Env<'_>) -> Result<Bound> {
        let name = match collation.0.last() {
            Some(ast::ObjectNamePart::Identifier(name)) => crate::names::fold(name),
            _ => String::new(),
        };
        match name.as_str() {
            "default" | "c" | "C" | "posix" | "POSIX" | "ucs_basic" => {
                let bound = self.bind(inner, env)?;
                self.settle(bound)
            }
            _ => Err(unsupported(format!("collation \"{name}\""))),
        }
    }
}

/// Joins conditions pairwise, so that the tree is as shallow as it can be.
pub(crate) fn balanced(mut terms: Vec<Expr>, operator: Operator) -> Expr {
    while terms.len() > 1 {
        let mut next = Vec::with_capacity(terms.len().div_ceil(2));
        let mut pairs = terms.into_iter();
        while let Some(left) = pairs.next() {
            next.push(match pairs.next() {
                Some(right) => datafusion::logical_expr::binary_expr(left, operator, right),
                None => left,
            });
        }
        terms = next;
    }
    terms.pop().unwrap_or_else(|| datafusion::logical_expr::lit(operator == Operator::And))
}
