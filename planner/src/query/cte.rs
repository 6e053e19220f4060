//! WITH, also recursive.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::Column;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier};

use super::{Planned, QueryColumn, UniqueNames, Unknowns};
use crate::binder::Binder;
use crate::dml::Dml;
use crate::environment::{Cte, Ctes, Outside};
use crate::error::{At, Result, datatype_mismatch, from_datafusion, unsupported};
use crate::names::fold;
use crate::plan::StepWork;

impl Binder<'_> {
    /// The CTEs that a query sees: those around it and its own, each seeing the earlier ones.
    pub(crate) fn with(&self, with: &ast::With, outside: Outside<'_>, is_outermost: bool) -> Result<Ctes> {
        self.outermost.set(false);
        let mut ctes = outside.ctes.clone();
        let mut seen = std::collections::HashSet::new();
        for cte in &with.cte_tables {
            let name = fold(&cte.alias.name);
            if !seen.insert(name.clone()) {
                return Err(SqlError::new(
                    ErrorKind::DuplicateAlias,
                    format!("WITH query name \"{name}\" specified more than once"),
                )
                .at(cte.alias.name.span));
            }
            let before = self.relation_count();
            let outside = Outside { ctes: &ctes, ..outside };
            let mut returns = true;
            let planned = if let SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement) = cte.query.body.as_ref()
            {
                if !is_outermost {
                    return Err(SqlError::new(
                        ErrorKind::FeatureNotSupported,
                        "WITH clause containing a data-modifying statement must be at the top level",
                    )
                    .at(cte.alias.name.span));
                }
                let written = self.writing(statement, &cte.query, outside)?;
                returns = !written.columns.is_empty();
                renamed(written, &cte.alias)?
            } else if with.recursive && names_itself(&cte.query, &name) {
                self.recursive(cte, &name, outside)?
            } else {
                renamed(self.query(&cte.query, outside)?, &cte.alias)?
            };
            let relations = self.relation_count() - before;
            ctes.push(Cte { name, plan: planned.plan, columns: planned.columns, relations, returns });
        }
        Ok(ctes)
    }

    /// A data-modifying WITH query, as the relation of what it returns.
    fn writing(
        &self,
        statement: &ast::Statement,
        query: &ast::Query,
        outside: Outside<'_>,
    ) -> Result<Planned> {
        let own;
        let ctes = match &query.with {
            Some(with) => {
                own = self.with(with, outside, false)?;
                &own
            }
            None => outside.ctes,
        };
        let steps = self.step_count();
        let plan = crate::plan_dml(statement, &Dml { binder: self, ctes, overriding: None })?;
        if self.step_count() > steps {
            return Err(unsupported("FOR UPDATE inside a data-modifying WITH query"));
        }
        let columns = plan.columns().unwrap_or_default().iter().map(|column| QueryColumn {
            name: column.name.clone(),
            ty: column.ty,
            column: Column::new_unqualified(column.name.clone()),
            origin: None,
        });
        let columns = columns.collect();
        self.step(StepWork::Write(Box::new(plan)), columns)
    }

    fn recursive(&self, cte: &ast::Cte, name: &str, outside: Outside<'_>) -> Result<Planned> {
        let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right } =
            cte.query.body.as_ref()
        else {
            return Err(SqlError::new(
                ErrorKind::InvalidObjectDefinition,
                format!(
                    "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
                ),
            ));
        };
        if cte.query.order_by.is_some() || cte.query.limit_clause.is_some() || cte.query.with.is_some() {
            return Err(unsupported("ORDER BY, LIMIT or WITH in a recursive query"));
        }
        let distinct = !matches!(set_quantifier, SetQuantifier::All);
        let start = renamed(self.body(left, outside, Unknowns::Text)?, &cte.alias)?;
        let mut unique = UniqueNames::default();
        let names: Vec<String> = start.columns.iter().map(|column| unique.pick(&column.name)).collect();
        let types: Vec<_> = start.columns.iter().map(|column| column.ty).collect();
        let output: Vec<String> = start.columns.iter().map(|column| column.name.clone()).collect();
        let start_plan = self.cast_columns(start, &types, &names)?;
        let work_name = self.qualifier(name);
        let schema: Arc<Schema> = Arc::new(start_plan.schema().as_arrow().clone());
        let source = provider_as_source(Arc::new(CteWorkTable::new(&work_name, schema)));
        let work = LogicalPlanBuilder::scan(work_name.clone(), source, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let columns = work.schema().columns();
        let columns = self_columns(&columns, &output, &types);
        let mut inner = outside.ctes.clone();
        inner.push(Cte { name: name.to_owned(), plan: work, columns, relations: 1, returns: true });
        let step = self.body(right, Outside { ctes: &inner, ..outside }, Unknowns::Wanted(&types))?;
        if step.columns.len() != types.len() {
            return Err(crate::error::syntax("each UNION query must have the same number of columns"));
        }
        for (position, (column, ty)) in step.columns.iter().zip(&types).enumerate() {
            if column.ty.without_typmod() != ty.without_typmod() {
                return Err(datatype_mismatch(format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    position + 1,
                    ty.without_typmod().display(),
                    column.ty.without_typmod().display()
                ))
                .with_hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        let step_plan = self.cast_columns(step, &types, &names)?;
        let plan = LogicalPlanBuilder::from(start_plan)
            .to_recursive_query(work_name, step_plan, distinct)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let columns = super::setop::columns_of(&plan, output, &types);
        Ok(Planned { plan, columns })
    }
}

fn self_columns(columns: &[Column], names: &[String], types: &[proto::ColumnType]) -> Vec<QueryColumn> {
    columns
        .iter()
        .zip(names)
        .zip(types)
        .map(|((column, name), ty)| QueryColumn {
            name: name.clone(),
            ty: *ty,
            column: column.clone(),
            origin: None,
        })
        .collect()
}

/// The query's columns under the names of `WITH name (a, b)`.
fn renamed(planned: Planned, alias: &ast::TableAlias) -> Result<Planned> {
    let mut planned = planned;
    if alias.columns.len() > planned.columns.len() {
        return Err(SqlError::new(
            ErrorKind::InvalidColumnReference,
            format!(
                "WITH query \"{}\" has {} columns available but {} columns specified",
                fold(&alias.name),
                planned.columns.len(),
                alias.columns.len()
            ),
        )
        .at(alias.name.span));
    }
    for (column, given) in planned.columns.iter_mut().zip(&alias.columns) {
        column.name = fold(&given.name);
    }
    Ok(planned)
}

/// Whether a query's FROM clauses mention a name.
fn names_itself(query: &ast::Query, name: &str) -> bool {
    use std::ops::ControlFlow;
    let found = ast::visit_relations(query, |relation| {
        let hit =
            matches!(relation.0.as_slice(), [ast::ObjectNamePart::Identifier(part)] if fold(part) == name);
        if hit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}
