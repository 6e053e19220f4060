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
                AssignmentTarget::ColumnName(name) => vec![(name, &assignment.value)],
                AssignmentTarget::Tuple(names) => {
                    let values = row_values(&assignment.value)?;
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
        value: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Assigned> {
        let column = &table.columns[position];
        if is_default(value) {
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
        let bound = self.binder.bind(value, env)?;
        let value = self.binder.assign(bound, &column.name, column.ty).at(value.span())?;
        Ok(Assigned { position, value })
    }
}

/// The parts of `(x, y)` or `ROW(x, y)`.
fn row_values(value: &ast::Expr) -> Result<Vec<&ast::Expr>> {
    match value {
        ast::Expr::Tuple(values) => Ok(values.iter().collect()),
        ast::Expr::Nested(value) => Ok(vec![value.as_ref()]),
        ast::Expr::Subquery(_) => Err(unsupported("assigning a subquery to several columns")),
        ast::Expr::Function(function) => {
            let ast::FunctionArguments::List(list) = &function.args else {
                return Err(unsupported("assigning this value to several columns"));
            };
            list.args
                .iter()
                .map(|argument| match argument {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => Ok(value),
                    _ => Err(unsupported("assigning this value to several columns")),
                })
                .collect()
        }
        _ => Err(syntax("source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression")),
    }
}
