//! UPDATE.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use exec::table::Columns;
use proto::catalog::TableMeta;
use sqlparser::ast::{self, TableFactor, UpdateTableFromKind};

use super::assignment::Assigned;
use super::{Dml, row_schema};
use crate::ddl::row_checks;
use crate::environment::{Env, Place};
use crate::error::{Result, internal, syntax, unsupported};
use crate::names::{fold, qualified, target_table};
use crate::plan::{Returning, UpdatePlan};
use crate::query::{FromItem, filter, project, required};
use crate::scope::Relations;

/// The target and everything it is joined with, filtered.
pub(super) struct Touched {
    pub table: Arc<TableMeta>,
    pub item: FromItem,
}

/// RETURNING, the columns only it reads, and how many those are.
pub(super) struct Extra {
    pub returning: Option<Returning>,
    pub columns: Vec<Expr>,
}

impl Dml<'_> {
    pub(crate) fn update(&self, update: &ast::Update) -> Result<UpdatePlan> {
        if update.or.is_some()
            || update.output.is_some()
            || !update.order_by.is_empty()
            || update.limit.is_some()
        {
            return Err(syntax("syntax error in UPDATE"));
        }
        if !update.table.joins.is_empty() {
            return Err(syntax("syntax error at or near \"JOIN\""));
        }
        let from: &[ast::TableWithJoins] = match &update.from {
            None => &[],
            Some(UpdateTableFromKind::AfterSet(from)) => from,
            Some(UpdateTableFromKind::BeforeSet(_)) => {
                return Err(syntax("syntax error at or near \"FROM\""));
            }
        };
        let Touched { table, item } = self.touched(&update.table.relation, from)?;
        let env = Env::new(&item.relations, self.ctes, Place::Update);
        let assigned = self.assignments(&table, &update.assignments, &env)?;
        let condition = update
            .selection
            .as_ref()
            .map(|selection| self.binder.bind_condition(selection, "WHERE", &env.at(Place::Where)))
            .transpose()?;
        let mut outputs = identity(&item.relations, &table)?;
        outputs.extend(new_values(&table, assigned, &item.relations)?);
        for (number, position) in table.tracked_positions().into_iter().enumerate() {
            outputs.push(column(&item.relations, position)?.alias(format!("__key_{number}")));
        }
        let extra = self.extra(update.returning.as_ref(), &item.relations, &table)?;
        let extra_count = extra.columns.len();
        outputs.extend(extra.columns);
        let plan = match condition {
            Some(condition) => filter(item.plan, condition)?,
            None => item.plan,
        };
        Ok(UpdatePlan {
            checks: row_checks(&table, self.binder)?,
            table,
            source: project(plan, outputs)?,
            extra: extra_count,
            returning: extra.returning,
            parameters: self.binder.parameter_types()?,
            tables: self.binder.tables(),
            steps: self.binder.steps(),
        })
    }

    /// The target table with row identities, crossed with the relations of FROM or USING.
    pub(super) fn touched(&self, target: &TableFactor, from: &[ast::TableWithJoins]) -> Result<Touched> {
        let TableFactor::Table { name, alias, args: None, version: None, sample: None, .. } = target else {
            return Err(unsupported("a target that is no table"));
        };
        let name = qualified(name, self.binder.context)?;
        let table = target_table(&name, self.binder.context)?;
        if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return Err(syntax("syntax error at or near \"(\""));
        }
        self.binder.add_relations(1)?;
        let shown = alias.as_ref().map_or_else(|| table.name.clone(), |alias| fold(&alias.name));
        let (plan, mut relation) = self.binder.table(&table, &shown, Columns::WithIdentity)?;
        if alias.is_none() {
            relation.schema = Some(table.namespace.clone());
        }
        let relations = Relations { relations: vec![relation], merged: Vec::new() };
        let start = FromItem { plan, relations, joined: false };
        let item = required(self.binder.beside_items(Some(start), from, self.outside())?)?;
        Ok(Touched { table, item })
    }

    /// RETURNING over the target's row and the joined relations.
    pub(super) fn extra(
        &self,
        returning: Option<&Vec<ast::SelectItem>>,
        relations: &Relations,
        table: &TableMeta,
    ) -> Result<Extra> {
        if returning.is_none() {
            return Ok(Extra { returning: None, columns: Vec::new() });
        }
        let mut relations = relations.clone();
        let target = relations.relations.first_mut().ok_or_else(|| internal("DML without a target"))?;
        target.columns.truncate(table.columns.len());
        let schema = row_schema(&relations.relations)?;
        let columns = relations.relations[1..]
            .iter()
            .flat_map(|relation| &relation.columns)
            .enumerate()
            .map(|(number, column)| Expr::Column(column.column.clone()).alias(format!("__extra_{number}")))
            .collect();
        let returning = self.returning(returning, &relations, &schema)?;
        Ok(Extra { returning, columns })
    }
}

/// The columns that say which row it is.
pub(super) fn identity(relations: &Relations, table: &TableMeta) -> Result<Vec<Expr>> {
    let target = relations.relations.first().ok_or_else(|| internal("DML without a target"))?;
    let identity: Vec<Expr> = target.columns[table.columns.len().min(target.columns.len())..]
        .iter()
        .map(|column| Expr::Column(column.column.clone()).alias(column.column.name.clone()))
        .collect();
    if identity.len() == 3 { Ok(identity) } else { Err(internal("DML target without row identity")) }
}

/// A column of the target.
pub(super) fn column(relations: &Relations, position: usize) -> Result<Expr> {
    relations
        .relations
        .first()
        .and_then(|target| target.columns.get(position))
        .map(|column| Expr::Column(column.column.clone()))
        .ok_or_else(|| internal("DML target without column"))
}

fn new_values(table: &TableMeta, assigned: Vec<Assigned>, relations: &Relations) -> Result<Vec<Expr>> {
    let mut values =
        (0..table.columns.len()).map(|position| column(relations, position)).collect::<Result<Vec<_>>>()?;
    for Assigned { position, value } in assigned {
        values[position] = value.expr;
    }
    Ok(super::named(table, values))
}
