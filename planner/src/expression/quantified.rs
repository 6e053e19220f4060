//! `x op ANY (array)`, `x op ALL (array)` and the same over subqueries.

use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Expr, Operator, not};
use exec::functions::resolve::no_such_operator;
use proto::ColumnType;
use sqlparser::ast::{self, BinaryOperator, Spanned};

use super::operator::{comparison, symbol};
use crate::binder::{Binder, Bound};
use crate::calls;
use crate::environment::Env;
use crate::error::{At, Result, datatype_mismatch, unsupported};

impl Binder<'_> {
    pub(super) fn quantified(
        &self,
        left: &ast::Expr,
        operator: &BinaryOperator,
        right: &ast::Expr,
        any: bool,
        env: &Env<'_>,
    ) -> Result<Bound> {
        let span = left.span();
        let right = unwrapped(right);
        let value = self.bind(left, env)?;
        if let ast::Expr::Subquery(query) = right {
            return self.quantified_subquery(value, operator, query, any, env).at(span);
        }
        if let Some(elements) = self.spelled_elements(right, env)? {
            return self.quantified_list(value, operator, elements, any).at(span);
        }
        let array = self.bind(right, env)?;
        let array = self.as_array(array)?;
        self.quantified_array(value, operator, array, any).at(span)
    }

    /// Elements that the text spells out: IN, NOT IN or a chain of comparisons.
    fn quantified_list(
        &self,
        value: Bound,
        operator: &BinaryOperator,
        elements: Vec<Bound>,
        any: bool,
    ) -> Result<Bound> {
        match (operator, any) {
            (BinaryOperator::Eq, true) => return self.in_values(value, elements, false),
            (BinaryOperator::NotEq, false) => return self.in_values(value, elements, true),
            _ => {}
        }
        let terms = elements
            .into_iter()
            .map(|element| {
                let test = self.apply(operator, value.clone(), element)?;
                self.condition(test, "ANY")
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Bound::boolean(super::balanced(terms, if any { Operator::Or } else { Operator::And })))
    }

    fn quantified_array(
        &self,
        value: Bound,
        operator: &BinaryOperator,
        array: Bound,
        any: bool,
    ) -> Result<Bound> {
        if !array.is_unknown() && !array.ty.array {
            return Err(datatype_mismatch("op ANY/ALL (array) requires array on right side"));
        }
        let element = match (array.known(), value.known()) {
            (Some(array), _) => ColumnType { array: false, ..array },
            (None, Some(value)) => value.without_typmod(),
            (None, None) => ColumnType::TEXT,
        };
        let value = self.as_text_beside(value, Some(element))?;
        let no_such = || {
            let left = value.known();
            no_such_operator(&symbol(operator), &[left, Some(element)])
        };
        let common = exec::functions::resolve::common_type("ANY", &[value.known(), Some(element)])
            .map_err(|_| no_such())?
            .without_typmod();
        let array = self.implicit(array, ColumnType { array: true, ..common })?;
        let value = self.implicit(value, common)?;
        let symbol = symbol(operator);
        let call = calls::quantified(&symbol, any, value.expr, array.expr)
            .ok_or_else(|| unsupported(format!("operator {symbol} with ANY or ALL over this array")))?;
        Ok(Bound::boolean(call))
    }

    fn quantified_subquery(
        &self,
        value: Bound,
        operator: &BinaryOperator,
        query: &ast::Query,
        any: bool,
        env: &Env<'_>,
    ) -> Result<Bound> {
        let comparison = comparison(operator)
            .ok_or_else(|| unsupported(format!("operator {operator} with a subquery")))?;
        let (value, subquery) = self.compared_subquery(value, comparison, query, env)?;
        let expr = Box::new(value);
        Ok(Bound::boolean(match (comparison, any) {
            (Operator::Eq, true) => Expr::InSubquery(InSubquery { expr, subquery, negated: false }),
            (Operator::NotEq, false) => Expr::InSubquery(InSubquery { expr, subquery, negated: true }),
            (op, any) => {
                let quantifier = if any { SetQuantifier::Any } else { SetQuantifier::All };
                Expr::SetComparison(SetComparison { expr, subquery, op, quantifier })
            }
        }))
    }

    /// `x IN (query)`.
    pub(super) fn in_subquery(
        &self,
        value: &ast::Expr,
        query: &ast::Query,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound> {
        let span = value.span();
        if matches!(value, ast::Expr::Tuple(_)) {
            return Err(unsupported("a row compared with a subquery").at(span));
        }
        let value = self.bind(value, env)?;
        let (value, subquery) = self.compared_subquery(value, Operator::Eq, query, env).at(span)?;
        Ok(Bound::boolean(Expr::InSubquery(InSubquery { expr: Box::new(value), subquery, negated })))
    }

    /// EXISTS.
    pub(super) fn exists(&self, query: &ast::Query, negated: bool, env: &Env<'_>) -> Result<Bound> {
        let subquery = self.subquery(query, env)?.0;
        let exists = Expr::Exists(datafusion::logical_expr::expr::Exists { subquery, negated: false });
        Ok(Bound::boolean(if negated { not(exists) } else { exists }))
    }
}

fn unwrapped(expression: &ast::Expr) -> &ast::Expr {
    match expression {
        ast::Expr::Nested(inner) => unwrapped(inner),
        other => other,
    }
}
