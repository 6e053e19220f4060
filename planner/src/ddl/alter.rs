//! ALTER TABLE: the actions applied one after another to a copy of the table, and what has to be shown or written
//! before the copy may take the table's place.
//!
//! What it is not: nothing is changed here, no row is read.
//!
//! Invariants: columns keep their ids and order, new ones come last; a value that rows lack is either a constant
//! (kept in the catalog) or written into every row.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::Expr;
use proto::catalog::{Column, ForeignKey, FormerColumns, Identity, TableMeta};
use proto::{ErrorKind, Oid, SqlError};
use sqlparser::ast::{self, AlterColumnOperation, AlterTableOperation, RenameTableNameKind, TableConstraint};

use super::checks::{self, WrittenCheck, add_check};
use super::columns::{Columns, default_text};
use super::foreign::{Dependents, WrittenForeign, add_foreign_key, referring, without_foreign_keys};
use super::keys::{NamedKey, WrittenKey, add_key, add_unique, key_constraint, merged};
use super::rows::{self, Conversion};
use crate::context::PlanContext;
use crate::error::{At, Result, undefined_column, undefined_table_column, unsupported};
use crate::names::{NamedRelation, fold, qualified, relation};
use crate::plan::{AlterStatement, AlterTable, DdlCommand, DdlNotice, NewSequence};

/// The state of one ALTER TABLE.
pub(super) struct Alteration<'a> {
    context: &'a PlanContext,
    pub(super) before: Arc<TableMeta>,
    pub(super) after: TableMeta,
    /// Sequences that come with columns, by column id.
    pub(super) sequences: Vec<(u32, NewSequence)>,
    /// New columns whose default is to be filled into existing rows.
    pub(super) filled: Vec<u32>,
    /// Columns that must be shown to have no NULL.
    pub(super) not_null: Vec<u32>,
    /// Names of new CHECK constraints.
    pub(super) new_checks: Vec<String>,
    pub(super) new_key: bool,
    /// Names of unique keys whose values are to be shown to differ.
    proven_keys: Vec<String>,
    /// New foreign keys; the keys they refer to may come with the same statement.
    foreign_keys: Vec<WrittenForeign>,
    /// Foreign keys of other tables that CASCADE drops.
    released: Vec<(&'a TableMeta, &'a ForeignKey)>,
    /// Columns whose values change their type.
    pub(super) converted: BTreeMap<u32, Conversion>,
    notices: Vec<DdlNotice>,
}

pub(crate) fn alter_table(alter: &ast::AlterTable, context: &PlanContext) -> Result<DdlCommand> {
    if alter.location.is_some() || alter.on_cluster.is_some() || alter.table_type.is_some() {
        return Err(unsupported("this form of ALTER TABLE"));
    }
    let name = qualified(&alter.name, context)?;
    let table = match relation(&name, context) {
        Ok(NamedRelation::Table(table)) => table,
        Ok(NamedRelation::System(_)) => {
            return Err(SqlError::new(
                ErrorKind::InsufficientPrivilege,
                format!("permission denied: \"{}\" is a system catalog", name.name),
            ));
        }
        Err(_) if alter.if_exists => {
            let message = format!("relation \"{}\" does not exist, skipping", name.name);
            return Ok(DdlCommand::Nothing { tag: "ALTER TABLE", notices: vec![DdlNotice::plain(message)] });
        }
        Err(error) => return Err(error),
    };
    let mut alteration = Alteration::new(table, context);
    let mut operations: Vec<&AlterTableOperation> = alter.operations.iter().collect();
    operations.sort_by_key(|operation| pass(operation));
    for operation in operations {
        alteration.apply(operation)?;
    }
    alteration.finish().map(|altered| DdlCommand::AlterTable(Box::new(altered)))
}

/// A table with a unique index more.
pub(super) fn with_unique_index(
    table: Arc<TableMeta>,
    key: WrittenKey,
    concurrently: bool,
    context: &PlanContext,
) -> Result<DdlCommand> {
    let mut alteration = Alteration::new(table, context);
    add_unique(&mut alteration.after, key, None, "idx", context)?;
    alteration.proven_keys.extend(alteration.after.uniques.last().map(|key| key.name.clone()));
    let altered = alteration.finish()?;
    let statement = AlterStatement::CreateUniqueIndex { concurrently };
    Ok(DdlCommand::AlterTable(Box::new(AlterTable { statement, ..altered })))
}

/// PostgreSQL's order of the actions of one statement: what goes, what changes, what comes, what must hold.
const fn pass(operation: &AlterTableOperation) -> u8 {
    match operation {
        AlterTableOperation::DropColumn { .. } | AlterTableOperation::DropConstraint { .. } => 0,
        AlterTableOperation::AlterColumn { op: AlterColumnOperation::SetDataType { .. }, .. } => 1,
        AlterTableOperation::AddColumn { .. } => 2,
        AlterTableOperation::AddConstraint { .. } => 4,
        _ => 3,
    }
}

impl<'a> Alteration<'a> {
    fn new(before: Arc<TableMeta>, context: &'a PlanContext) -> Self {
        let after = TableMeta::clone(&before);
        Self {
            context,
            before,
            after,
            sequences: Vec::new(),
            filled: Vec::new(),
            not_null: Vec::new(),
            new_checks: Vec::new(),
            new_key: false,
            proven_keys: Vec::new(),
            foreign_keys: Vec::new(),
            released: Vec::new(),
            converted: BTreeMap::new(),
            notices: Vec::new(),
        }
    }

    fn apply(&mut self, operation: &AlterTableOperation) -> Result<()> {
        match operation {
            AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
                self.add_column(column_def, *if_not_exists)
            }
            AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
                let cascade = *drop_behavior == Some(ast::DropBehavior::Cascade);
                column_names.iter().try_for_each(|name| self.drop_column(name, *if_exists, cascade))
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                self.rename_column(old_column_name, new_column_name)
            }
            AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(name) } => {
                self.rename(name)
            }
            AlterTableOperation::AlterColumn { column_name, op } => self.alter_column(column_name, op),
            AlterTableOperation::AddConstraint { constraint, not_valid: false } => {
                self.add_constraint(constraint)
            }
            AlterTableOperation::AddConstraint { .. } => Err(unsupported("a NOT VALID constraint")),
            AlterTableOperation::DropConstraint { if_exists, name, drop_behavior } => {
                let cascade = *drop_behavior == Some(ast::DropBehavior::Cascade);
                self.drop_constraint(name, *if_exists, cascade)
            }
            AlterTableOperation::RenameConstraint { old_name, new_name } => {
                self.rename_constraint(old_name, new_name)
            }
            AlterTableOperation::OwnerTo { new_owner } => self.own(new_owner),
            AlterTableOperation::SetOptionsParens { options } => {
                super::options::set_options(&mut self.after.options, options)
            }
            other => {
                let text = other.to_string();
                let words: Vec<&str> = text.split_whitespace().take(2).collect();
                Err(unsupported(format!("ALTER TABLE ... {}", words.join(" ").to_uppercase())))
            }
        }
    }

    /// Only one role exists.
    fn own(&self, owner: &ast::Owner) -> Result<()> {
        match owner {
            ast::Owner::Ident(name) if fold(name) != self.context.session.user => Err(SqlError::new(
                ErrorKind::UndefinedObject,
                format!("role \"{}\" does not exist", fold(name)),
            )),
            _ => Ok(()),
        }
    }

    fn position(&self, name: &ast::Ident) -> Result<usize> {
        let folded = fold(name);
        self.after
            .column_position(&folded)
            .ok_or_else(|| undefined_table_column(&self.after.name, &folded).at(name.span))
    }

    fn add_column(&mut self, definition: &ast::ColumnDef, if_not_exists: bool) -> Result<()> {
        let name = fold(&definition.name);
        let exists = format!("column \"{name}\" of relation \"{}\" already exists", self.after.name);
        if self.after.column_position(&name).is_some() {
            if if_not_exists {
                self.notices.push(DdlNotice { code: "42701", message: format!("{exists}, skipping") });
                return Ok(());
            }
            return Err(SqlError::new(ErrorKind::DuplicateColumn, exists));
        }
        let mut columns = Columns::new(self.context, &self.after.namespace, &self.after.name);
        columns.add(definition)?;
        let finished = columns.finish();
        let id = self.after.next_column_id;
        self.after.next_column_id += 1;
        for new in finished.columns {
            let volatile = new.sequence.is_some();
            if new.default.is_some() {
                self.filled.push(id);
            }
            if !new.nullable && !volatile {
                self.not_null.push(id);
            }
            self.after.columns.push(Column {
                id,
                name: new.name,
                ty: new.ty,
                nullable: new.nullable,
                default: new.default,
                identity: new.identity,
                missing: None,
            });
            self.sequences.extend(new.sequence.map(|sequence| (id, sequence)));
        }
        for check in finished.checks {
            self.add_check(check)?;
        }
        let position = self.after.columns.len() - 1;
        self.foreign_keys.extend(finished.foreign_keys);
        for key in merged(finished.keys) {
            self.add_key(WrittenKey { columns: vec![position], ..key })?;
        }
        Ok(())
    }

    fn add_check(&mut self, check: WrittenCheck) -> Result<()> {
        add_check(&mut self.after, check, self.context)?;
        self.new_checks.extend(self.after.checks.last().map(|check| check.name.clone()));
        Ok(())
    }

    fn add_key(&mut self, key: WrittenKey) -> Result<()> {
        if !key.is_primary {
            add_key(&mut self.after, key, self.context)?;
            self.proven_keys.extend(self.after.uniques.last().map(|key| key.name.clone()));
            return Ok(());
        }
        if self.after.primary_key.is_some() {
            return Err(SqlError::new(
                ErrorKind::InvalidTableDefinition,
                format!("multiple primary keys for table \"{}\" are not allowed", self.after.name),
            ));
        }
        let positions = key.columns.clone();
        add_key(&mut self.after, key, self.context)?;
        for position in positions {
            let column = &mut self.after.columns[position];
            column.nullable = false;
            self.not_null.push(column.id);
        }
        self.new_key = true;
        Ok(())
    }

    fn drop_column(&mut self, name: &ast::Ident, if_exists: bool, cascade: bool) -> Result<()> {
        let position = match self.position(name) {
            Ok(position) => position,
            Err(error) if if_exists => {
                self.notices.push(DdlNotice::plain(format!("{}, skipping", error.message)));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if self.after.columns.len() == 1 {
            return Err(unsupported("a table without columns"));
        }
        let id = self.after.columns[position].id;
        let column = format!("column {} of table {}", fold(name), self.after.name);
        self.after.foreign_keys.retain(|key| !key.columns.contains(&id));
        self.release(cascade, column.clone(), column, |key| key.target_columns.contains(&id))?;
        self.after.columns.remove(position);
        self.after.checks.retain(|check| !check.columns.contains(&id));
        self.after.indexes.retain(|index| index.column != id);
        if self.after.primary_key.as_ref().is_some_and(|key| key.columns.contains(&id)) {
            self.after.primary_key = None;
        }
        self.after.uniques.retain(|key| !key.columns.contains(&id));
        Ok(())
    }

    /// Lets go of foreign keys, its own among them, that refer to what is dropped.
    fn release(
        &mut self,
        cascade: bool,
        dropped: String,
        on: String,
        picks: impl Fn(&ForeignKey) -> bool,
    ) -> Result<()> {
        let kept = |key: &ForeignKey| self.after.foreign_keys.iter().any(|known| known.oid == key.oid);
        let mut constraints = referring(self.before.id, &[], self.context, picks);
        constraints.retain(|(table, key)| table.id != self.before.id || kept(key));
        let dependents = Dependents { dropped: Some(dropped), on, constraints };
        self.notices.extend(dependents.release(cascade, self.context)?);
        for (table, key) in dependents.constraints {
            if table.id == self.before.id {
                self.after.foreign_keys.retain(|known| known.oid != key.oid);
            } else {
                self.released.push((table, key));
            }
        }
        Ok(())
    }

    fn rename_column(&mut self, old: &ast::Ident, new: &ast::Ident) -> Result<()> {
        let (from, to) = (fold(old), fold(new));
        let position = self.after.column_position(&from).ok_or_else(|| undefined_column(&from))?;
        if self.after.column_position(&to).is_some() {
            return Err(SqlError::new(
                ErrorKind::DuplicateColumn,
                format!("column \"{to}\" of relation \"{}\" already exists", self.after.name),
            ));
        }
        super::columns::refuse_reserved(&to)?;
        let column = &mut self.after.columns[position];
        column.name.clone_from(&to);
        let id = column.id;
        for check in self.after.checks.iter_mut().filter(|check| check.columns.contains(&id)) {
            check.expression = checks::renamed(&check.expression, &from, &to)?;
        }
        Ok(())
    }

    fn rename(&mut self, name: &ast::ObjectName) -> Result<()> {
        let name = qualified(name, self.context)?;
        let catalog = &self.context.catalog;
        if catalog.relation_exists(self.context.database, &self.after.namespace, &name.name) {
            return Err(SqlError::new(
                ErrorKind::DuplicateTable,
                format!("relation \"{}\" already exists", name.name),
            ));
        }
        self.after.name = name.name;
        Ok(())
    }

    fn alter_column(&mut self, name: &ast::Ident, operation: &AlterColumnOperation) -> Result<()> {
        let position = self.position(name)?;
        let id = self.after.columns[position].id;
        match operation {
            AlterColumnOperation::SetNotNull => {
                let column = &mut self.after.columns[position];
                if column.nullable {
                    column.nullable = false;
                    self.not_null.push(id);
                }
                Ok(())
            }
            AlterColumnOperation::DropNotNull => self.drop_not_null(position),
            AlterColumnOperation::SetDefault { value } => {
                self.refuse_identity(position)?;
                let column = &self.after.columns[position];
                let text = default_text(self.context, &column.name, column.ty, value)?;
                self.after.columns[position].default = text;
                Ok(())
            }
            AlterColumnOperation::DropDefault => {
                self.refuse_identity(position)?;
                self.after.columns[position].default = None;
                Ok(())
            }
            AlterColumnOperation::SetDataType { data_type, using, .. } => {
                self.convert(position, data_type, using.as_ref()).at(name.span)
            }
            AlterColumnOperation::AddGenerated { generated_as, sequence_options } => {
                let options = sequence_options.as_deref().unwrap_or_default();
                self.add_identity(position, *generated_as, options)
            }
        }
    }

    fn refuse_identity(&self, position: usize) -> Result<()> {
        let column = &self.after.columns[position];
        if column.identity.is_none() {
            return Ok(());
        }
        Err(SqlError::new(
            ErrorKind::SyntaxError,
            format!("column \"{}\" of relation \"{}\" is an identity column", column.name, self.after.name),
        ))
    }

    fn drop_not_null(&mut self, position: usize) -> Result<()> {
        self.refuse_identity(position)?;
        let column = &mut self.after.columns[position];
        if self.after.primary_key.as_ref().is_some_and(|key| key.columns.contains(&column.id)) {
            return Err(SqlError::new(
                ErrorKind::InvalidTableDefinition,
                format!("column \"{}\" is in a primary key", column.name),
            ));
        }
        column.nullable = true;
        Ok(())
    }

    fn add_identity(
        &mut self,
        position: usize,
        generated: Option<ast::GeneratedAs>,
        options: &[ast::SequenceOptions],
    ) -> Result<()> {
        let column = &self.after.columns[position];
        let refused = if column.identity.is_some() {
            Some("is already an identity column")
        } else if column.default.is_some() {
            Some("already has a default value")
        } else if column.nullable {
            Some("must be declared NOT NULL before identity can be added")
        } else {
            None
        };
        if let Some(reason) = refused {
            return Err(SqlError::new(
                ErrorKind::ObjectNotInPrerequisiteState,
                format!("column \"{}\" of relation \"{}\" {reason}", column.name, self.after.name),
            ));
        }
        let (name, ty, id) = (column.name.clone(), column.ty, column.id);
        let columns = Columns::new(self.context, &self.after.namespace, &self.after.name);
        let sequence = columns.identity_sequence(&name, ty, options)?;
        let column = &mut self.after.columns[position];
        column.identity = Some(match generated {
            Some(ast::GeneratedAs::Always) => Identity::Always,
            _ => Identity::ByDefault,
        });
        column.default = Some(super::columns::drawn_from(&self.after.namespace, &sequence.name));
        self.sequences.push((id, sequence));
        Ok(())
    }

    fn convert(&mut self, position: usize, ty: &ast::DataType, using: Option<&ast::Expr>) -> Result<()> {
        let id = self.after.columns[position].id;
        let own = self.after.foreign_keys.iter().any(|key| key.columns.contains(&id));
        let picks = |key: &ForeignKey| key.target_columns.contains(&id);
        if own || !referring(self.before.id, &[], self.context, picks).is_empty() {
            return Err(unsupported("another type for a column of a foreign key"));
        }
        let conversion =
            rows::conversion(self.context, &self.before, &self.after.columns[position], ty, using)?;
        let column = &mut self.after.columns[position];
        let new = conversion.ty;
        if self.after.primary_key.as_ref().is_some_and(|key| key.columns.contains(&column.id)) {
            self.new_key = true;
        }
        let over_it = self.after.uniques.iter().filter(|key| key.columns.contains(&column.id));
        self.proven_keys.extend(over_it.map(|key| key.name.clone()));
        column.ty = new;
        let text = column.default.clone().filter(|_| column.identity.is_none());
        if let Some(text) = text {
            let parsed = crate::syntax::parse_expression(&text)?;
            let name = column.name.clone();
            column.default =
                default_text(self.context, &name, new, &parsed).map_err(|error| match error.kind {
                    ErrorKind::DatatypeMismatch => SqlError::new(
                        ErrorKind::DatatypeMismatch,
                        format!(
                            "default for column \"{name}\" cannot be cast automatically to type {}",
                            new.display()
                        ),
                    ),
                    _ => error,
                })?;
        }
        self.converted.insert(self.after.columns[position].id, conversion);
        Ok(())
    }

    fn add_constraint(&mut self, constraint: &TableConstraint) -> Result<()> {
        if let TableConstraint::Check(check) = constraint {
            let name = check.name.as_ref().map(fold);
            return self.add_check(WrittenCheck { name, condition: (*check.expr).clone() });
        }
        if let TableConstraint::ForeignKey(key) = constraint {
            self.foreign_keys.push(WrittenForeign::read(key, key.name.as_ref(), &key.columns)?);
            return Ok(());
        }
        let key = key_constraint(constraint)?;
        let mut columns = Vec::with_capacity(key.columns.len());
        for column in &key.columns {
            let wanted = fold(column);
            let position = self.after.column_position(&wanted).ok_or_else(|| {
                let message = format!("column \"{wanted}\" named in key does not exist");
                SqlError::new(ErrorKind::UndefinedColumn, message).at(column.span)
            })?;
            if columns.contains(&position) {
                let message = format!("column \"{wanted}\" appears twice in {} constraint", key.kind());
                return Err(SqlError::new(ErrorKind::DuplicateColumn, message).at(column.span));
            }
            columns.push(position);
        }
        let NamedKey { name, is_primary, nulls_distinct, .. } = key;
        self.add_key(WrittenKey { name, columns, is_primary, nulls_distinct })
    }

    fn drop_constraint(&mut self, name: &ast::Ident, if_exists: bool, cascade: bool) -> Result<()> {
        let name = fold(name);
        let key = self.after.keys().find(|key| key.constraint.is_some() && key.name == name);
        if let Some(index) = key.map(|key| key.index_oid) {
            let dropped = format!("constraint {name} on table {}", self.after.name);
            self.release(cascade, dropped, format!("index {name}"), |key| key.target_index == index)?;
        }
        if self.after.primary_key.as_ref().is_some_and(|key| key.name == name) {
            self.after.primary_key = None;
            return Ok(());
        }
        let constraints =
            |table: &TableMeta| table.checks.len() + table.uniques.len() + table.foreign_keys.len();
        let before = constraints(&self.after);
        self.after.checks.retain(|check| check.name != name);
        self.after.uniques.retain(|key| key.constraint.is_none() || key.name != name);
        self.after.foreign_keys.retain(|key| key.name != name);
        if constraints(&self.after) < before {
            return Ok(());
        }
        let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", self.after.name);
        if if_exists {
            self.notices.push(DdlNotice::plain(format!("{message}, skipping")));
            return Ok(());
        }
        Err(SqlError::new(ErrorKind::UndefinedObject, message))
    }

    fn rename_constraint(&mut self, old: &ast::Ident, new: &ast::Ident) -> Result<()> {
        let (from, to) = (fold(old), fold(new));
        let table = &mut self.after;
        if !table.has_constraint(&from) {
            return Err(SqlError::new(
                ErrorKind::UndefinedObject,
                format!("constraint \"{from}\" for table \"{}\" does not exist", table.name),
            ));
        }
        if table.has_constraint(&to) {
            return Err(SqlError::new(
                ErrorKind::DuplicateObject,
                format!("constraint \"{to}\" for relation \"{}\" already exists", table.name),
            ));
        }
        if let Some(check) = table.checks.iter_mut().find(|check| check.name == from) {
            check.name = to;
        } else if let Some(key) = table.foreign_keys.iter_mut().find(|key| key.name == from) {
            key.name = to;
        } else {
            if self.context.catalog.relation_exists(self.context.database, &table.namespace, &to) {
                return Err(SqlError::new(
                    ErrorKind::DuplicateTable,
                    format!("relation \"{to}\" already exists"),
                ));
            }
            let unique = table.uniques.iter_mut().find(|key| key.name == from).map(|key| &mut key.name);
            let name = unique.or_else(|| table.primary_key.as_mut().map(|key| &mut key.name));
            name.into_iter().for_each(|name| name.clone_from(&to));
        }
        Ok(())
    }

    /// Whether a column takes its values from a sequence that comes with it.
    pub(super) fn draws(&self, id: u32) -> bool {
        self.sequences.iter().any(|(column, _)| *column == id)
    }

    fn finish(mut self) -> Result<AlterTable> {
        for key in std::mem::take(&mut self.foreign_keys) {
            add_foreign_key(&mut self.after, &key, self.context)?;
        }
        let ids = |table: &TableMeta| table.columns.iter().map(|column| column.id).collect::<Vec<_>>();
        let former = ids(&self.before);
        self.after.schema_version = self.before.schema_version + 1;
        if former != ids(&self.after) {
            self.after.former.push(FormerColumns { until: self.before.schema_version, columns: former });
        }
        let kept = ids(&self.after);
        let gone = |id: u32| !kept.contains(&id);
        let sequences = self.context.catalog.sequences.values();
        let dropped_sequences = sequences
            .filter(|sequence| {
                sequence.owned_by.is_some_and(|(table, id)| table == self.before.id && gone(id))
            })
            .map(|sequence| sequence.id)
            .collect();
        let rows = rows::effects(&self, self.context)?;
        if rows.rewrite.is_some() {
            self.after.rewritten = self.after.schema_version;
        }
        let proven_foreign_keys = new_foreign_keys(&self.after);
        Ok(AlterTable {
            statement: AlterStatement::AlterTable,
            before: self.before,
            after: self.after,
            sequences: self.sequences,
            dropped_sequences,
            missing: rows.missing,
            proofs: rows.proofs,
            proven_keys: self.proven_keys,
            proven_foreign_keys,
            released: without_foreign_keys(&self.released),
            rewrite: rows.rewrite,
            notices: self.notices,
        })
    }
}

fn new_foreign_keys(table: &TableMeta) -> Vec<String> {
    let new = table.foreign_keys.iter().filter(|key| key.oid == Oid(0));
    new.map(|key| key.name.clone()).collect()
}

/// A value that every existing row gets in a new column.
pub(super) type Missing = (u32, Expr);
