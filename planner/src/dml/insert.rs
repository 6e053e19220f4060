//! INSERT.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use proto::catalog::{Identity, TableMeta};
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, SetExpr, Spanned, TableObject};

use super::{Dml, is_default, named, repeated_column, row_relation, row_schema, target_column, target_name};
use crate::binder::Bound;
use crate::ddl::row_checks;
use crate::environment::{Env, Place};
use crate::error::{At, Result, from_datafusion, syntax};
use crate::names::{fold, qualified, target_table};
use crate::plan::InsertPlan;
use crate::query::{Unknowns, ValueRows, project};
use crate::scope::Relations;
use crate::syntax::Overriding;

impl Dml<'_> {
    pub(crate) fn insert(&self, insert: &ast::Insert) -> Result<InsertPlan> {
        refuse_foreign_clauses(insert)?;
        let TableObject::TableName(name) = &insert.table else {
            return Err(syntax("syntax error in INSERT"));
        };
        let table = target_table(&qualified(name, self.binder.context)?, self.binder.context)?;
        self.binder.use_table(table.id);
        let targets = targets(&table, &insert.columns)?;
        let explicit = !insert.columns.is_empty();
        let source = match &insert.source {
            None => self.default_row(&table)?,
            Some(query) => self.source(&table, targets, explicit, query)?,
        };
        let alias =
            insert.table_alias.as_ref().map_or_else(|| table.name.clone(), |alias| fold(&alias.alias));
        let conflict = insert.on.as_ref().map(|on| self.conflict(&table, &alias, on)).transpose()?;
        let relation = row_relation(&table, &alias);
        let schema = row_schema([&relation])?;
        let relations = Relations { relations: vec![relation], merged: Vec::new() };
        let returning = self.returning(insert.returning.as_ref(), &relations, &schema)?;
        Ok(InsertPlan {
            checks: row_checks(&table, self.binder)?,
            table,
            source,
            conflict,
            returning,
            parameters: self.binder.parameter_types()?,
            tables: self.binder.tables(),
            steps: self.binder.steps(),
        })
    }

    /// `DEFAULT VALUES`.
    fn default_row(&self, table: &TableMeta) -> Result<LogicalPlan> {
        let values = table
            .columns
            .iter()
            .map(|column| self.default_value(column).map(|bound| bound.expr))
            .collect::<Result<Vec<_>>>()?;
        one_row(named(table, values))
    }

    fn source(
        &self,
        table: &Arc<TableMeta>,
        targets: Vec<usize>,
        explicit: bool,
        query: &ast::Query,
    ) -> Result<LogicalPlan> {
        let plain = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
        match query.body.as_ref() {
            SetExpr::Values(values) if plain && query.fetch.is_none() => {
                self.values_source(table, targets, explicit, values)
            }
            _ => self.query_source(table, targets, explicit, query),
        }
    }

    fn query_source(
        &self,
        table: &TableMeta,
        mut targets: Vec<usize>,
        explicit: bool,
        query: &ast::Query,
    ) -> Result<LogicalPlan> {
        let types: Vec<_> = targets.iter().map(|&position| table.columns[position].ty).collect();
        let planned = self.binder.query_with(query, self.outside(), Unknowns::Wanted(&types))?;
        check_width(planned.columns.len(), &mut targets, explicit).at(query.span())?;
        let mut given: Vec<Option<Expr>> = vec![None; table.columns.len()];
        for (&position, column) in targets.iter().zip(planned.columns) {
            let meta = &table.columns[position];
            if self.left_to_sequence(table, position)? {
                continue;
            }
            let bound = Bound::new(Expr::Column(column.column), column.ty);
            given[position] = Some(self.binder.assign(bound, &meta.name, meta.ty)?.expr);
        }
        self.complete(table, planned.plan, given)
    }

    fn values_source(
        &self,
        table: &TableMeta,
        mut targets: Vec<usize>,
        explicit: bool,
        values: &ast::Values,
    ) -> Result<LogicalPlan> {
        let width = values.rows.first().map_or(0, |row| row.len());
        if values.rows.iter().any(|row| row.len() != width) {
            return Err(syntax("VALUES lists must all be the same length"));
        }
        let extra = values.rows.first().and_then(|row| row.get(targets.len()));
        let span =
            extra.map_or_else(|| values.rows[0].first().map(Spanned::span), |extra| Some(extra.span()));
        check_width(width, &mut targets, explicit)
            .at(span.unwrap_or_else(sqlparser::tokenizer::Span::empty))?;
        // A column that is DEFAULT in every row is as good as not given.
        let all_default: Vec<bool> =
            (0..width).map(|at| values.rows.iter().all(|row| is_default(&row[at]))).collect();
        let mut rows: ValueRows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let mut cells = Vec::with_capacity(width);
            for (at, cell) in row.iter().enumerate().filter(|(at, _)| !all_default[*at]) {
                cells.push(self.cell(table, targets[at], cell)?);
            }
            rows.push(cells);
        }
        let given: Vec<usize> = (0..width).filter(|at| !all_default[*at]).map(|at| targets[at]).collect();
        let names: Vec<String> = given.iter().map(|&position| table.columns[position].name.clone()).collect();
        if names.is_empty() && rows.len() == 1 {
            return self.default_row(table);
        }
        if names.is_empty() {
            let plan = self.default_row(table)?;
            return repeated(&plan, rows.len());
        }
        let plan = if self.draws_defaults(table, &given)? {
            self.binder.computed_rows(rows, &names)?
        } else {
            self.binder.value_rows(rows, &names)?
        };
        let mut values: Vec<Option<Expr>> = vec![None; table.columns.len()];
        for (position, column) in given.into_iter().zip(plan.schema().columns()) {
            values[position] = Some(Expr::Column(column));
        }
        self.complete(table, plan, values)
    }

    /// Whether a column that is not given draws from a sequence: a value that cannot be must fail before it does.
    fn draws_defaults(&self, table: &TableMeta, given: &[usize]) -> Result<bool> {
        for (position, column) in table.columns.iter().enumerate() {
            if !given.contains(&position) && self.default_value(column)?.expr.is_volatile() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One value of a VALUES row in its column's type.
    fn cell(&self, table: &TableMeta, position: usize, cell: &ast::Expr) -> Result<Bound> {
        let column = &table.columns[position];
        if is_default(cell) || self.left_to_sequence(table, position)? {
            return self.default_value(column);
        }
        let nothing = Relations::default();
        let env = Env::new(&nothing, self.ctes, Place::Values);
        let bound = self.binder.bind(cell, &env)?;
        self.binder.assign(bound, &column.name, column.ty).at(cell.span())
    }

    /// Whether a value given for a column is left out: OVERRIDING USER VALUE leaves identity to its sequence.
    fn left_to_sequence(&self, table: &TableMeta, position: usize) -> Result<bool> {
        match self.overriding {
            Some(Overriding::System) => Ok(false),
            Some(Overriding::User) => Ok(table.columns[position].identity.is_some()),
            None => refuse_generated(table, position),
        }
    }

    /// The given columns and the defaults of the others, in table order.
    fn complete(
        &self,
        table: &TableMeta,
        plan: LogicalPlan,
        given: Vec<Option<Expr>>,
    ) -> Result<LogicalPlan> {
        let values = given
            .into_iter()
            .zip(&table.columns)
            .map(|(value, column)| match value {
                Some(value) => Ok(value),
                None => self.default_value(column).map(|bound| bound.expr),
            })
            .collect::<Result<Vec<_>>>()?;
        project(plan, named(table, values))
    }
}

/// Positions of the columns that values go to: the list, else all in order.
fn targets(table: &TableMeta, columns: &[ast::ObjectName]) -> Result<Vec<usize>> {
    if columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut targets: Vec<usize> = Vec::with_capacity(columns.len());
    for name in columns {
        let name = target_name(table, name)?;
        let position = target_column(table, &name)?;
        if targets.contains(&position) {
            return Err(repeated_column(&table.columns[position].name).at(name.span));
        }
        targets.push(position);
    }
    Ok(targets)
}

fn check_width(width: usize, targets: &mut Vec<usize>, explicit: bool) -> Result<()> {
    if width > targets.len() {
        return Err(syntax("INSERT has more expressions than target columns"));
    }
    if width < targets.len() && explicit {
        return Err(syntax("INSERT has more target columns than expressions"));
    }
    targets.truncate(width);
    Ok(())
}

/// 428C9 for a value given for a column that only its sequence may fill.
fn refuse_generated(table: &TableMeta, position: usize) -> Result<bool> {
    let column = &table.columns[position];
    if column.identity != Some(Identity::Always) {
        return Ok(false);
    }
    Err(SqlError::new(
        ErrorKind::GeneratedAlways,
        format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name),
    )
    .with_detail(format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name))
    .with_hint("Use OVERRIDING SYSTEM VALUE to override."))
}

fn one_row(values: Vec<Expr>) -> Result<LogicalPlan> {
    LogicalPlanBuilder::empty(true)
        .project(values)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

fn repeated(plan: &LogicalPlan, times: usize) -> Result<LogicalPlan> {
    let mut builder = LogicalPlanBuilder::from(plan.clone());
    for _ in 1..times {
        builder = builder.union(plan.clone()).map_err(from_datafusion)?;
    }
    builder.build().map_err(from_datafusion)
}

fn refuse_foreign_clauses(insert: &ast::Insert) -> Result<()> {
    let foreign = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || insert.replace_into
        || !insert.assignments.is_empty()
        || insert.partitioned.is_some()
        || !insert.after_columns.is_empty()
        || insert.insert_alias.is_some()
        || insert.output.is_some()
        || insert.multi_table_insert_type.is_some();
    if foreign { Err(syntax("syntax error in INSERT")) } else { Ok(()) }
}
