//! `SET a = …, (b, c) = (…)` of UPDATE and ON CONFLICT.

use proto::catalog::{Identity, TableMeta};
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, AssignmentTarget, Spanned};

use super::{Dml, is_default, target_column, target_name};
use crate::binder::Bound;
use crate::environment::Env;
use crate::error::{At, Result, syntax, unsupported};

/// A column's new value, in the column's type.
pub(super) struct Assigned {
    pub position: usize,
    pub value: Bound,
}

/// Where a column's new value comes from.
enum Source<'a> {
    Written(&'a ast::Expr),
    /// A column of the sub-SELECT that fills several columns.
    Selected(Bound, &'a ast::Expr),
}

impl Dml<'_> {
    pub(super) fn assignments(
        &self,
        table: &TableMeta,
        assignments: &[ast::Assignment],
        env: &Env<'_>,
    ) -> Result<Vec<Assigned>> {
        let mut assigned: Vec<Assigned> = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let pairs = match &assignment.target {
                AssignmentTarget::ColumnName(name) => vec![(name, Source::Written(&assignment.value))],
                AssignmentTarget::Tuple(names) => {
                    let values = self.row_values(&assignment.value, env)?;
                    if names.len() != values.len() {
                        return Err(syntax("number of columns does not match number of values")
                            .at(assignment.value.span()));
                    }
                    names.iter().zip(values).collect()
                }
            };
            for (name, value) in pairs {
                let name = target_name(table, name)?;
                let position = target_column(table, &name)?;
                if assigned.iter().any(|before| before.position == position) {
                    return Err(SqlError::new(
                        ErrorKind::SyntaxError,
                        format!("multiple assignments to same column \"{}\"", table.columns[position].name),
                    )
                    .at(name.span));
                }
                assigned.push(self.assignment(table, position, value, env)?);
            }
        }
        Ok(assigned)
    }

    fn assignment(
        &self,
        table: &TableMeta,
        position: usize,
        source: Source<'_>,
        env: &Env<'_>,
    ) -> Result<Assigned> {
        let column = &table.columns[position];
        if let Source::Written(value) = source
            && is_default(value)
        {
            return Ok(Assigned { position, value: self.default_value(column)? });
        }
        if column.identity == Some(Identity::Always) {
            return Err(SqlError::new(
                ErrorKind::GeneratedAlways,
                format!("column \"{}\" can only be updated to DEFAULT", column.name),
            )
            .with_detail(format!(
                "Column \"{}\" is an identity column defined as GENERATED ALWAYS.",
                column.name
            )));
        }
        let (bound, value) = match source {
            Source::Written(value) => (self.binder.bind(value, env)?, value),
            Source::Selected(bound, value) => (bound, value),
        };
        let value = self.binder.assign(bound, &column.name, column.ty).at(value.span())?;
        Ok(Assigned { position, value })
    }

    /// The parts of `(x, y)`, `ROW(x, y)` or `(SELECT x, y …)`.
    fn row_values<'a>(&self, value: &'a ast::Expr, env: &Env<'_>) -> Result<Vec<Source<'a>>> {
        match value {
            ast::Expr::Tuple(values) => Ok(values.iter().map(Source::Written).collect()),
            ast::Expr::Nested(inner) => match inner.as_ref() {
                ast::Expr::Subquery(_) => self.row_values(inner, env),
                inner => Ok(vec![Source::Written(inner)]),
            },
            ast::Expr::Subquery(query) => {
                let columns = self.binder.row_subquery(query, env)?;
                Ok(columns.into_iter().map(|bound| Source::Selected(bound, value)).collect())
            }
            ast::Expr::Function(function) => {
                let ast::FunctionArguments::List(list) = &function.args else {
                    return Err(unsupported("assigning this value to several columns"));
                };
                let argument = |argument: &'a ast::FunctionArg| match argument {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => {
                        Ok(Source::Written(value))
                    }
                    _ => Err(unsupported("assigning this value to several columns")),
                };
                list.args.iter().map(argument).collect()
            }
            _ => Err(syntax(
                "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression",
            )),
        }
    }
}
