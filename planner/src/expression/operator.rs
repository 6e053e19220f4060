//! Operators: PostgreSQL's choice of the overload, then exec's function or DataFusion's comparison.

use std::sync::Arc;

use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, Expr, Operator, binary_expr, not};
use exec::functions::distance::operator_function;
use exec::functions::keys::comparison_key;
use exec::functions::resolve::{choose, common_type, no_such_operator};
use exec::functions::{Function, FunctionKind, find_operator, resolve_operator};
use proto::{ColumnType, DistanceMetric, TypeKind};
use sqlparser::ast::{self, BinaryOperator, Spanned};

use super::coerce::has_one_scale;
use super::pattern;
use crate::binder::{Binder, Bound};
use crate::calls;
use crate::environment::Env;
use crate::error::{At, Result, undefined_operator, unsupported};

impl Binder<'_> {
    pub(super) fn binary(
        &self,
        left: &ast::Expr,
        operator: &BinaryOperator,
        right: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound> {
        if let (ast::Expr::Tuple(left), ast::Expr::Tuple(right)) = (left, right) {
            return self.row_comparison(left, operator, right, env);
        }
        let span = left.span();
        let (left, right) = (self.bind(left, env)?, self.bind(right, env)?);
        self.apply(operator, left, right).at(span)
    }

    /// An infix operator on bound operands.
    pub(super) fn apply(&self, operator: &BinaryOperator, left: Bound, right: Bound) -> Result<Bound> {
        if let BinaryOperator::PGCustomBinaryOperator(parts) = operator
            && let Some(plain) = parts.last().and_then(|symbol| from_symbol(symbol))
        {
            return self.apply(&plain, left, right);
        }
        if let Some(comparison) = comparison(operator) {
            return self.compare(left, comparison, right);
        }
        if let Some((case_insensitive, negated)) = pattern::regex(operator) {
            return self.regex_match(left, right, case_insensitive, negated);
        }
        if let Some((case_insensitive, negated)) = pattern::like_operator(operator) {
            return self.like_bound(left, right, negated, case_insensitive);
        }
        let symbol = symbol(operator);
        if let Some(metric) = DistanceMetric::from_operator(&symbol) {
            return self.distance(metric, left, right);
        }
        self.named_operator(&symbol, left, right)
    }

    /// An operator that exec has a function of the same name for.
    fn named_operator(&self, symbol: &str, left: Bound, right: Bound) -> Result<Bound> {
        let (function, choice) = resolve_operator(symbol, &[left.known(), right.known()])?;
        self.call_chosen(function, &choice, vec![left, right])
    }

    /// One of pgvector's distances.
    fn distance(&self, metric: DistanceMetric, left: Bound, right: Bound) -> Result<Bound> {
        let symbol = metric.operator();
        let is_vector = |bound: &Bound| bound.ty.kind == TypeKind::Vector && !bound.ty.array;
        let fits = (is_vector(&left) || left.is_unknown()) && (is_vector(&right) || right.is_unknown());
        if !fits || left.is_unknown() && right.is_unknown() {
            return Err(no_such_operator(symbol, &[left.known(), right.known()]));
        }
        let vector = ColumnType::scalar(TypeKind::Vector);
        let (left, right) = (self.implicit(left, vector)?, self.implicit(right, vector)?);
        let call = calls::call(operator_function(metric), vec![left.expr, right.expr]);
        Ok(Bound::new(call, ColumnType::FLOAT8))
    }

    pub(super) fn prefix(&self, symbol: &str, operand: Bound) -> Result<Bound> {
        if symbol == "+"
            && matches!(
                operand.ty.kind,
                TypeKind::Int4 | TypeKind::Int8 | TypeKind::Numeric | TypeKind::Float8
            )
        {
            return Ok(operand);
        }
        let types = [operand.known()];
        let no_such = || undefined_operator(symbol, None, operand.ty);
        let Some(Function { kind: FunctionKind::Scalar(function), signatures, .. }) = find_operator(symbol)
        else {
            return Err(no_such());
        };
        let prefixes = signatures.iter().filter(|signature| signature.takes(1));
        let choice = choose(symbol, prefixes, &types).map_err(|_| no_such())?;
        self.call_chosen(Arc::clone(function), &choice, vec![operand])
    }

    /// A comparison of two values under PostgreSQL's common type.
    pub(crate) fn compare(&self, left: Bound, operator: Operator, right: Bound) -> Result<Bound> {
        let (of_left, of_right) = (left.known(), right.known());
        let (left, right) = (self.as_text_beside(left, of_right)?, self.as_text_beside(right, of_left)?);
        let types = [left.known(), right.known()];
        let symbol = || comparison_symbol(operator);
        let ty = common_type("comparison", &types).map_err(|_| no_such_operator(symbol(), &types))?;
        if ty.array && types.iter().flatten().any(|ty| !ty.array) {
            return Err(no_such_operator(symbol(), &types));
        }
        if matches!(ty.kind, TypeKind::Json | TypeKind::Record | TypeKind::Void) {
            return Err(no_such_operator(symbol(), &types));
        }
        let ty = ty.without_typmod();
        let (left, right) = (self.comparable(left, ty)?, self.comparable(right, ty)?);
        if ty.kind == TypeKind::Vector && !ty.array {
            return self.vector_comparison(left, operator, right);
        }
        if by_key(ty, &[&left, &right]) {
            let (left, right) = (comparison_key(left.expr), comparison_key(right.expr));
            return Ok(Bound::boolean(binary_expr(left, operator, right)));
        }
        Ok(Bound::boolean(binary_expr(left.expr, operator, right.expr)))
    }

    /// A value as it is compared with one of another type: "char" has no operator with varchar and is read as text.
    pub(super) fn as_text_beside(&self, value: Bound, other: Option<ColumnType>) -> Result<Bound> {
        let is_char = value.known().is_some_and(|ty| !ty.array && ty.kind == TypeKind::Char);
        let with_length =
            other.is_some_and(|ty| !ty.array && matches!(ty.kind, TypeKind::Varchar | TypeKind::Bpchar));
        if is_char && with_length { self.implicit(value, ColumnType::TEXT) } else { Ok(value) }
    }

    /// The value in the type it is compared in; numbers of one kind keep their own width.
    fn comparable(&self, bound: Bound, ty: ColumnType) -> Result<Bound> {
        let text = |ty: ColumnType| {
            matches!(ty.kind, TypeKind::Text | TypeKind::Varchar | TypeKind::Name) && !ty.array
        };
        if !bound.is_unknown() && text(bound.ty) && text(ty) {
            // Both are carried as strings; a cast would only hide the column from the scan.
            return Ok(bound);
        }
        self.implicit(bound, ty)
    }

    fn vector_comparison(&self, left: Bound, operator: Operator, right: Bound) -> Result<Bound> {
        let (name, negated) = match operator {
            Operator::Lt => ("vector_lt", false),
            Operator::LtEq => ("vector_le", false),
            Operator::Eq => ("vector_eq", false),
            Operator::NotEq => ("vector_ne", false),
            Operator::GtEq => ("vector_ge", false),
            Operator::Gt => ("vector_gt", false),
            Operator::IsDistinctFrom => ("vector_eq", true),
            Operator::IsNotDistinctFrom => ("vector_eq", false),
            other => return Err(unsupported(format!("operator {other} on vectors"))),
        };
        let function =
            calls::scalar(name).ok_or_else(|| undefined_operator(name, Some(left.ty), right.ty))?;
        let (a, b) = (left.expr.clone(), right.expr.clone());
        let call = calls::call(function, vec![left.expr, right.expr]);
        Ok(Bound::boolean(match operator {
            Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => {
                let both_null =
                    binary_expr(Expr::IsNull(Box::new(a)), Operator::And, Expr::IsNull(Box::new(b)));
                let equal = binary_expr(Expr::IsTrue(Box::new(call)), Operator::Or, both_null);
                if negated { not(equal) } else { equal }
            }
            _ => call,
        }))
    }

    pub(super) fn distinctness(
        &self,
        left: &ast::Expr,
        right: &ast::Expr,
        operator: Operator,
        env: &Env<'_>,
    ) -> Result<Bound> {
        let span = left.span();
        let (left, right) = (self.bind(left, env)?, self.bind(right, env)?);
        self.compare(left, operator, right).at(span)
    }

    pub(super) fn between(
        &self,
        value: &ast::Expr,
        low: &ast::Expr,
        high: &ast::Expr,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound> {
        let span = value.span();
        let value = self.bind(value, env)?;
        let (low, high) = (self.bind(low, env)?, self.bind(high, env)?);
        let types = [value.known(), low.known(), high.known()];
        let same = common_type("BETWEEN", &types).ok().filter(|ty| is_carried_comparable(*ty));
        if let Some(ty) = same {
            let ty = ty.without_typmod();
            let value = Box::new(self.comparable(value, ty)?.expr);
            let (low, high) =
                (Box::new(self.comparable(low, ty)?.expr), Box::new(self.comparable(high, ty)?.expr));
            return Ok(Bound::boolean(Expr::Between(Between { expr: value, negated, low, high })));
        }
        let above = self.compare(value.clone(), Operator::GtEq, low).at(span)?.expr;
        let below = self.compare(value, Operator::LtEq, high).at(span)?.expr;
        let inside = binary_expr(above, Operator::And, below);
        Ok(Bound::boolean(if negated { not(inside) } else { inside }))
    }

    pub(super) fn in_list(
        &self,
        value: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound> {
        if let ast::Expr::Tuple(left) = value {
            let mut terms = Vec::with_capacity(list.len());
            for row in list {
                let ast::Expr::Tuple(right) = row else {
                    return Err(unsupported("a row compared with a value"));
                };
                terms.push(self.row_comparison(left, &BinaryOperator::Eq, right, env)?.expr);
            }
            let any = super::balanced(terms, Operator::Or);
            return Ok(Bound::boolean(if negated { not(any) } else { any }));
        }
        let span = value.span();
        let value = self.bind(value, env)?;
        let list = list.iter().map(|item| self.bind(item, env)).collect::<Result<Vec<_>>>()?;
        self.in_values(value, list, negated).at(span)
    }

    /// `value IN (list)` on bound operands.
    pub(super) fn in_values(&self, value: Bound, list: Vec<Bound>, negated: bool) -> Result<Bound> {
        let types: Vec<_> = std::iter::once(&value).chain(&list).map(Bound::known).collect();
        let common = common_type("IN", &types).ok().filter(|ty| is_carried_comparable(*ty));
        let Some(ty) = common else {
            let terms = list
                .into_iter()
                .map(|item| self.compare(value.clone(), Operator::Eq, item).map(|bound| bound.expr))
                .collect::<Result<Vec<_>>>()?;
            let any = super::balanced(terms, Operator::Or);
            return Ok(Bound::boolean(if negated { not(any) } else { any }));
        };
        let ty = ty.without_typmod();
        let expr = Box::new(self.comparable(value, ty)?.expr);
        let list = list
            .into_iter()
            .map(|item| self.comparable(item, ty).map(|bound| bound.expr))
            .collect::<Result<Vec<_>>>()?;
        Ok(Bound::boolean(Expr::InList(InList { expr, list, negated })))
    }

    /// `(a, b) = (c, d)` and the lexicographic comparisons.
    fn row_comparison(
        &self,
        left: &[ast::Expr],
        operator: &BinaryOperator,
        right: &[ast::Expr],
        env: &Env<'_>,
    ) -> Result<Bound> {
        if left.len() != right.len() {
            return Err(crate::error::syntax("unequal number of entries in row expressions"));
        }
        let comparison =
            comparison(operator).ok_or_else(|| unsupported(format!("operator {operator} on rows")))?;
        let pairs = left
            .iter()
            .zip(right)
            .map(|(left, right)| Ok((self.bind(left, env)?, self.bind(right, env)?)))
            .collect::<Result<Vec<_>>>()?;
        if matches!(comparison, Operator::Eq | Operator::NotEq) {
            let terms = pairs
                .into_iter()
                .map(|(left, right)| self.compare(left, comparison, right).map(|bound| bound.expr))
                .collect::<Result<Vec<_>>>()?;
            let join = if comparison == Operator::Eq { Operator::And } else { Operator::Or };
            return Ok(Bound::boolean(super::balanced(terms, join)));
        }
        let strict = match comparison {
            Operator::LtEq => Operator::Lt,
            Operator::GtEq => Operator::Gt,
            other => other,
        };
        let mut result: Option<Expr> = None;
        for (left, right) in pairs.into_iter().rev() {
            let Some(rest) = result else {
                result = Some(self.compare(left, comparison, right)?.expr);
                continue;
            };
            let before = self.compare(left.clone(), strict, right.clone())?.expr;
            let equal = self.compare(left, Operator::Eq, right)?.expr;
            result = Some(binary_expr(before, Operator::Or, binary_expr(equal, Operator::And, rest)));
        }
        result.map(Bound::boolean).ok_or_else(|| unsupported("an empty row"))
    }
}

/// Whether values of a type compare as they are carried.
const fn is_carried_comparable(ty: ColumnType) -> bool {
    !ty.array && !matches!(ty.kind, TypeKind::Vector) && !ty.without_typmod().compares_by_key()
}

/// Whether values are compared by their keys.
pub(super) fn by_key(ty: ColumnType, values: &[&Bound]) -> bool {
    match (ty.kind, ty.array) {
        (_, true) => true,
        (TypeKind::Numeric, false) => !values.iter().all(|value| has_one_scale(&value.expr, value.ty)),
        _ => ty.compares_by_key(),
    }
}

/// DataFusion's operator of a comparison.
pub(super) const fn comparison(operator: &BinaryOperator) -> Option<Operator> {
    Some(match operator {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// A comparison as PostgreSQL writes it in messages.
const fn comparison_symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        _ => "=",
    }
}

/// The operator's symbol; `OPERATOR(schema.x)` loses its schema.
pub(super) fn symbol(operator: &BinaryOperator) -> String {
    match operator {
        BinaryOperator::Custom(symbol) => symbol.clone(),
        BinaryOperator::PGCustomBinaryOperator(parts) => parts.last().cloned().unwrap_or_default(),
        BinaryOperator::LtDashGt => "<->".to_owned(),
        BinaryOperator::Spaceship => "<=>".to_owned(),
        BinaryOperator::PGExp => "^".to_owned(),
        BinaryOperator::PGBitwiseXor => "#".to_owned(),
        other => other.to_string(),
    }
}

/// The operator of sqlparser that a symbol stands for, for `OPERATOR(pg_catalog.=)`.
fn from_symbol(symbol: &str) -> Option<BinaryOperator> {
    Some(match symbol {
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        _ => return None,
    })
}
