//! LIMIT, OFFSET and FETCH FIRST: int8 expressions without columns of their own query.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use proto::{ColumnType, ErrorKind, SqlError};
use sqlparser::ast;

use crate::binder::Binder;
use crate::environment::{Env, Outside, Place};
use crate::error::{At, Result, from_datafusion, syntax, unsupported};
use crate::scope::Relations;

/// 2201W.
pub(crate) fn negative_limit() -> SqlError {
    SqlError::new(ErrorKind::InvalidRowCountInLimit, "LIMIT must not be negative")
}

/// 2201X.
pub(crate) fn negative_offset() -> SqlError {
    SqlError::new(ErrorKind::InvalidRowCountInOffset, "OFFSET must not be negative")
}

impl Binder<'_> {
    pub(super) fn limit(
        &self,
        plan: LogicalPlan,
        query: &ast::Query,
        outside: Outside<'_>,
    ) -> Result<LogicalPlan> {
        let (skip, fetch) = self.row_counts(query, outside)?;
        if fetch.is_none() && skip.is_none() {
            return Ok(plan);
        }
        LogicalPlanBuilder::from(plan)
            .limit_by_expr(skip, fetch)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)
    }

    /// How many rows are left out and how many are given.
    pub(super) fn row_counts(
        &self,
        query: &ast::Query,
        outside: Outside<'_>,
    ) -> Result<(Option<Expr>, Option<Expr>)> {
        let (mut limit, offset) = match &query.limit_clause {
            None => (None, None),
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(syntax("syntax error at or near \"BY\""));
                }
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(ast::LimitClause::OffsetCommaLimit { .. }) => {
                return Err(syntax("LIMIT #,# syntax is not supported")
                    .with_hint("Use separate LIMIT and OFFSET clauses."));
            }
        };
        let one = ast::Expr::value(ast::Value::Number("1".to_owned(), false));
        if let Some(fetch) = &query.fetch {
            if fetch.with_ties || fetch.percent {
                return Err(unsupported("FETCH FIRST with PERCENT or WITH TIES"));
            }
            limit = Some(fetch.quantity.as_ref().unwrap_or(&one));
        }
        let fetch = limit.map(|limit| self.row_count(limit, Place::Limit, outside)).transpose()?.flatten();
        let skip = offset.map(|offset| self.row_count(offset, Place::Offset, outside)).transpose()?.flatten();
        let skip = skip.filter(|skip| !matches!(skip, Expr::Literal(ScalarValue::Int64(Some(0)), _)));
        Ok((skip, fetch))
    }

    /// The expression of a row count; none when it is NULL, which means no limit.
    fn row_count(&self, expression: &ast::Expr, place: Place, outside: Outside<'_>) -> Result<Option<Expr>> {
        if let ast::Expr::Identifier(word) = expression
            && word.quote_style.is_none()
            && word.value.eq_ignore_ascii_case("all")
        {
            return Ok(None);
        }
        let relations = Relations::default();
        let mut env = Env::new(&relations, outside.ctes, place);
        env.scope.outer = outside.scope;
        let bound = self.bind(expression, &env)?;
        let span = sqlparser::ast::Spanned::span(expression);
        let count = self.assign(bound, "LIMIT", ColumnType::INT8).at(span)?;
        match &count.expr {
            Expr::Literal(value, _) if value.is_null() => Ok(None),
            Expr::Literal(ScalarValue::Int64(Some(number)), _) if *number < 0 => Err(match place {
                Place::Limit => negative_limit(),
                _ => negative_offset(),
            }),
            _ => Ok(Some(count.expr)),
        }
    }
}
