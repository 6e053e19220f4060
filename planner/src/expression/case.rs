//! CASE and NULLIF.

use datafusion::logical_expr::{Case, Expr, Operator};
use proto::ColumnType;
use sqlparser::ast;

use crate::binder::{Binder, Bound};
use crate::environment::Env;
use crate::error::{Result, internal, unsupported};

/// Each further argument of GREATEST repeats those before it.
const MAX_EXTREME_ARGUMENTS: usize = 6;

impl Binder<'_> {
    /// CASE; the form with an operand compares it with every WHEN value.
    pub(super) fn case(
        &self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        else_result: Option<&ast::Expr>,
        env: &Env<'_>,
    ) -> Result<Bound> {
        let operand = operand.map(|operand| self.bind(operand, env)).transpose()?;
        let mut tests = Vec::with_capacity(conditions.len());
        for condition in conditions {
            tests.push(match &operand {
                Some(operand) => {
                    let value = self.bind(&condition.condition, env)?;
                    self.compare(operand.clone(), Operator::Eq, value)?.expr
                }
                None => self.bind_condition(&condition.condition, "CASE/WHEN", env)?,
            });
        }
        let mut results = conditions
            .iter()
            .map(|condition| self.bind(&condition.result, env))
            .collect::<Result<Vec<_>>>()?;
        // PostgreSQL looks at ELSE first when it finds the common type.
        results.insert(0, else_result.map_or_else(|| Ok(Bound::null()), |result| self.bind(result, env))?);
        let (mut results, ty) = self.unify("CASE", results)?;
        let otherwise = results.remove(0);
        let branches =
            tests.into_iter().zip(results).map(|(test, result)| (Box::new(test), Box::new(result)));
        let case = Case::new(None, branches.collect(), Some(Box::new(otherwise)));
        Ok(Bound::new(Expr::Case(case), ty))
    }

    /// NULLIF(a, b).
    pub(super) fn nullif(&self, values: Vec<Bound>) -> Result<Bound> {
        let mut values = values.into_iter();
        let (Some(left), Some(right)) = (values.next(), values.next()) else {
            return Err(internal("NULLIF without two arguments"));
        };
        let left = self.settle_beside(left, &right)?;
        let ty = left.ty;
        let test = self.compare(left.clone(), Operator::Eq, right)?.expr;
        let null = super::coerce::typed_null(ty)?;
        let case = Case::new(None, vec![(Box::new(test), Box::new(null))], Some(Box::new(left.expr)));
        Ok(Bound::new(Expr::Case(case), ty))
    }

    /// GREATEST or LEAST of values that compare by a key; NULLs are passed over.
    pub(super) fn extreme(&self, name: &str, values: Vec<Expr>, ty: ColumnType) -> Result<Bound> {
        if values.len() > MAX_EXTREME_ARGUMENTS {
            let type_name = ty.without_typmod().display();
            return Err(unsupported(format!("{name} of so many values of type {type_name}")));
        }
        let operator = if name == "greatest" { Operator::GtEq } else { Operator::LtEq };
        let mut values = values.into_iter();
        let mut best = values.next().ok_or_else(|| internal("GREATEST without arguments"))?;
        for value in values {
            let left = Bound::new(best.clone(), ty);
            let wins = self.compare(left, operator, Bound::new(value.clone(), ty))?.expr;
            let branches = vec![
                (Box::new(value.clone().is_null()), Box::new(best.clone())),
                (Box::new(best.clone().is_null()), Box::new(value.clone())),
                (Box::new(wins), Box::new(best)),
            ];
            best = Expr::Case(Case::new(None, branches, Some(Box::new(value))));
        }
        Ok(Bound::new(best, ty))
    }

    fn settle_beside(&self, value: Bound, other: &Bound) -> Result<Bound> {
        match other.known() {
            Some(ty) if value.is_unknown() => self.implicit(value, ty.without_typmod()),
            _ => self.settle(value),
        }
    }
}
