//! COPY: the target columns and defaults of FROM, the query of TO.

use datafusion::logical_expr::Expr;
use proto::catalog::TableMeta;
use proto::{ErrorKind, SqlError};
use sqlparser::ast;

use super::{Dml, repeated_column, target_column};
use crate::binder::Binder;
use crate::context::PlanContext;
use crate::ddl::row_checks;
use crate::environment::{Ctes, Outside};
use crate::error::{At, Result, unsupported};
use crate::names::{qualified, target_table};
use crate::plan::{CopyFrom, CopyPlan, QueryPlan};
use crate::query::{Planned, QueryColumn, finish, plan_query, project};
use crate::syntax::{CopySource, CopyStatement};

pub(crate) fn plan_copy(copy: &CopyStatement, context: &PlanContext) -> Result<CopyPlan> {
    let options = copy.options.clone();
    match (&copy.source, copy.to) {
        (CopySource::Query(statement), _) => match &**statement {
            ast::Statement::Query(query) => Ok(CopyPlan::To {
                query: Box::new(without_parameters(plan_query(query, context)?)?),
                table: None,
                options,
                file: copy.file.clone(),
            }),
            _ => Err(unsupported("COPY with a statement that is no query")),
        },
        (CopySource::Table { name, columns }, true) => {
            let query = Box::new(table_query(name, columns, context)?);
            let table = match query.tables.as_slice() {
                [table] => context.catalog.tables.get(table).cloned(),
                _ => None,
            };
            Ok(CopyPlan::To { query, table, options, file: copy.file.clone() })
        }
        (CopySource::Table { name, columns }, false) => copy_from(name, columns, copy, context),
    }
}

fn without_parameters(query: QueryPlan) -> Result<QueryPlan> {
    if query.parameters.is_empty() {
        return Ok(query);
    }
    Err(SqlError::new(ErrorKind::UndefinedParameter, "there is no parameter $1"))
}

fn copy_from(
    name: &ast::ObjectName,
    columns: &[ast::Ident],
    copy: &CopyStatement,
    context: &PlanContext,
) -> Result<CopyPlan> {
    let table = target_table(&qualified(name, context)?, context)?;
    let listed = !columns.is_empty();
    let columns = positions(&table, columns)?;
    let binder = Binder::new(context);
    let ctes = Ctes::default();
    let dml = Dml { binder: &binder, ctes: &ctes, overriding: None };
    let mut defaults = Vec::new();
    for (position, column) in table.columns.iter().enumerate() {
        if !columns.contains(&position)
            && let Some(default) = dml.default_expression(column)?
        {
            defaults.push((position, default.expr));
        }
    }
    let checks = row_checks(&table, &binder)?;
    let (options, file) = (copy.options.clone(), copy.file.clone());
    Ok(CopyPlan::From(Box::new(CopyFrom { table, columns, listed, defaults, checks, options, file })))
}

fn positions(table: &TableMeta, columns: &[ast::Ident]) -> Result<Vec<usize>> {
    if columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut positions: Vec<usize> = Vec::with_capacity(columns.len());
    for name in columns {
        let position = target_column(table, name)?;
        if positions.contains(&position) {
            return Err(repeated_column(&table.columns[position].name).at(name.span));
        }
        positions.push(position);
    }
    Ok(positions)
}

/// The rows of a table, or of a system relation.
fn table_query(name: &ast::ObjectName, columns: &[ast::Ident], context: &PlanContext) -> Result<QueryPlan> {
    let binder = Binder::new(context);
    let ctes = Ctes::default();
    let (plan, relations) = binder.named_relation(name, None, Outside { ctes: &ctes, scope: None })?;
    let star = relations.star();
    let mut chosen = Vec::with_capacity(star.len());
    if columns.is_empty() {
        chosen.extend(0..star.len());
    }
    for column in columns {
        let wanted = crate::names::fold(column);
        let position = star.iter().position(|found| found.name == wanted).ok_or_else(|| {
            let table = relations.relations.first().map_or("", |relation| relation.alias.as_str());
            crate::error::undefined_table_column(table, &wanted).at(column.span)
        })?;
        if chosen.contains(&position) {
            return Err(repeated_column(&wanted).at(column.span));
        }
        chosen.push(position);
    }
    let mut outputs = Vec::with_capacity(chosen.len());
    let mut described = Vec::with_capacity(chosen.len());
    for position in chosen {
        let found = &star[position];
        outputs.push(found.bound.expr.clone().alias(found.name.clone()));
        described.push(QueryColumn {
            name: found.name.clone(),
            ty: found.bound.ty,
            column: datafusion::common::Column::new_unqualified(found.name.clone()),
            origin: found.origin,
        });
    }
    let outputs: Vec<Expr> = outputs;
    finish(&binder, Planned { plan: project(plan, outputs)?, columns: described })
}
