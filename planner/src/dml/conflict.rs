//! ON CONFLICT.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto::catalog::TableMeta;
use proto::{ErrorKind, Oid, SqlError};
use sqlparser::ast::{self, OnConflictAction, OnInsert};

use super::assignment::Assigned;
use super::{Dml, row_relation, row_schema};
use crate::ddl::keys_over;
use crate::environment::{Env, Place};
use crate::error::{At, Result, syntax, undefined_column, unsupported};
use crate::names::{fold, qualified};
use crate::plan::{ConflictAction, ConflictPlan, ConflictTarget};
use crate::scope::Relations;

impl Dml<'_> {
    pub(super) fn conflict(
        &self,
        table: &Arc<TableMeta>,
        alias: &str,
        on: &OnInsert,
    ) -> Result<ConflictPlan> {
        let OnInsert::OnConflict(conflict) = on else {
            return Err(syntax("syntax error at or near \"DUPLICATE\""));
        };
        let target = match &conflict.conflict_target {
            None => ConflictTarget::Any,
            Some(ast::ConflictTarget::Columns(columns)) => key_of_columns(table, columns)?,
            Some(ast::ConflictTarget::OnConstraint(name)) => {
                let name = qualified(name, self.binder.context)?;
                key_of_constraint(table, &name.name).at(name.span)?
            }
        };
        let action = match &conflict.action {
            OnConflictAction::DoNothing => ConflictAction::Nothing,
            OnConflictAction::DoUpdate(_) if target == ConflictTarget::Any => {
                return Err(syntax(
                    "ON CONFLICT DO UPDATE requires inference specification or constraint name",
                )
                .with_hint("For example, ON CONFLICT (column_name)."));
            }
            OnConflictAction::DoUpdate(update) => self.conflict_update(table, alias, update)?,
        };
        Ok(ConflictPlan { target, action })
    }

    fn conflict_update(
        &self,
        table: &Arc<TableMeta>,
        alias: &str,
        update: &ast::DoUpdate,
    ) -> Result<ConflictAction> {
        if alias == "excluded" {
            return Err(unsupported("a target table called excluded"));
        }
        let relations = Relations {
            relations: vec![row_relation(table, alias), row_relation(table, "excluded")],
            merged: Vec::new(),
        };
        let schema = row_schema(&relations.relations)?;
        let env = Env::new(&relations, self.ctes, Place::ConflictUpdate);
        let assignments = self
            .assignments(table, &update.assignments, &env)?
            .into_iter()
            .map(|Assigned { position, value }| (position, value.expr))
            .collect();
        let filter = update
            .selection
            .as_ref()
            .map(|selection| self.binder.bind_condition(selection, "WHERE", &env))
            .transpose()?;
        Ok(ConflictAction::Update { assignments, filter, schema })
    }
}

/// The key of a constraint.
fn key_of_constraint(table: &TableMeta, name: &str) -> Result<ConflictTarget> {
    let mut keys = table.keys().filter(|key| key.constraint.is_some());
    match keys.find(|key| key.name == name) {
        Some(key) => Ok(ConflictTarget::Keys(vec![key.index_oid])),
        None if table.has_constraint(name) => Err(SqlError::new(
            ErrorKind::WrongObjectType,
            "constraint in ON CONFLICT clause has no associated index",
        )),
        None => Err(SqlError::new(
            ErrorKind::UndefinedObject,
            format!("constraint \"{name}\" for table \"{}\" does not exist", table.name),
        )),
    }
}

/// The keys over exactly these columns, in any order.
fn key_of_columns(table: &TableMeta, columns: &[ast::Ident]) -> Result<ConflictTarget> {
    let mut named = BTreeSet::new();
    for column in columns {
        let name = fold(column);
        let position = table.column_position(&name).ok_or_else(|| undefined_column(&name).at(column.span))?;
        named.insert(position);
    }
    let keys: Vec<Oid> = keys_over(table, &named).map(|key| key.index_oid).collect();
    if keys.is_empty() {
        return Err(SqlError::new(
            ErrorKind::InvalidColumnReference,
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        ));
    }
    Ok(ConflictTarget::Keys(keys))
}
