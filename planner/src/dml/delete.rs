//! DELETE.

use sqlparser::ast::{self, FromTable};

use super::Dml;
use super::update::{Touched, column, identity};
use crate::environment::{Env, Place};
use crate::error::{Result, syntax};
use crate::plan::DeletePlan;
use crate::query::{filter, project};

impl Dml<'_> {
    pub(crate) fn delete(&self, delete: &ast::Delete) -> Result<DeletePlan> {
        let foreign = !delete.tables.is_empty()
            || delete.output.is_some()
            || !delete.order_by.is_empty()
            || delete.limit.is_some();
        let (FromTable::WithFromKeyword(from), false) = (&delete.from, foreign) else {
            return Err(syntax("syntax error in DELETE"));
        };
        let [target] = from.as_slice() else { return Err(syntax("syntax error at or near \",\"")) };
        if !target.joins.is_empty() {
            return Err(syntax("syntax error at or near \"JOIN\""));
        }
        let using = delete.using.as_deref().unwrap_or_default();
        let Touched { table, item } = self.touched(&target.relation, using)?;
        let env = Env::new(&item.relations, self.ctes, Place::Where);
        let condition = delete
            .selection
            .as_ref()
            .map(|selection| self.binder.bind_condition(selection, "WHERE", &env))
            .transpose()?;
        let mut outputs = identity(&item.relations, &table)?;
        let columns = match &delete.returning {
            Some(_) => (0..table.columns.len()).collect(),
            None => table.tracked_positions(),
        };
        for &position in &columns {
            let value = column(&item.relations, position)?;
            outputs.push(value.alias(&table.columns[position].name));
        }
        let extra = self.extra(delete.returning.as_ref(), &item.relations, &table)?;
        let extra_count = extra.columns.len();
        outputs.extend(extra.columns);
        let plan = match condition {
            Some(condition) => filter(item.plan, condition)?,
            None => item.plan,
        };
        Ok(DeletePlan {
            table,
            source: project(plan, outputs)?,
            columns,
            extra: extra_count,
            returning: extra.returning,
            parameters: self.binder.parameter_types()?,
            tables: self.binder.tables(),
            steps: self.binder.steps(),
        })
    }
}
