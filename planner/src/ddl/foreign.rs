//! Foreign keys: read from constraints, matched with a unique key of the table they refer to, and what depends on them.
//!
//! What it is not: no row is looked at here, and OIDs come later.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto::catalog::{Column, ForeignKey, MatchType, ReferentialAction, TableMeta};
use proto::{ColumnType, ErrorKind, Oid, SqlError, TableId, TypeKind};
use sqlparser::ast::{self, ConstraintReferenceMatchKind};

use super::columns::bounded_name;
use super::keys::{keys_over, refuse_deferrable};
use crate::context::PlanContext;
use crate::error::{At, Result, unsupported};
use crate::names::{NamedRelation, fold, qualified, relation};
use crate::plan::DdlNotice;

/// A foreign key as it was written.
pub(super) struct WrittenForeign {
    name: Option<String>,
    columns: Vec<ast::Ident>,
    target: ast::ObjectName,
    /// Empty for the primary key.
    target_columns: Vec<ast::Ident>,
    match_type: MatchType,
    on_delete: ReferentialAction,
    on_update: ReferentialAction,
}

impl WrittenForeign {
    /// Reads a constraint of the columns `columns`.
    pub(super) fn read(
        key: &ast::ForeignKeyConstraint,
        name: Option<&ast::Ident>,
        columns: &[ast::Ident],
    ) -> Result<Self> {
        refuse_deferrable(key.characteristics.as_ref())?;
        let match_type = match key.match_kind {
            None | Some(ConstraintReferenceMatchKind::Simple) => MatchType::Simple,
            Some(ConstraintReferenceMatchKind::Full) => MatchType::Full,
            Some(ConstraintReferenceMatchKind::Partial) => {
                return Err(SqlError::new(
                    ErrorKind::FeatureNotSupported,
                    "MATCH PARTIAL not yet implemented",
                ));
            }
        };
        Ok(Self {
            name: name.map(fold),
            columns: columns.to_vec(),
            target: key.foreign_table.clone(),
            target_columns: key.referred_columns.clone(),
            match_type,
            on_delete: action(key.on_delete.as_ref()),
            on_update: action(key.on_update.as_ref()),
        })
    }
}

const fn action(action: Option<&ast::ReferentialAction>) -> ReferentialAction {
    match action {
        None | Some(ast::ReferentialAction::NoAction) => ReferentialAction::NoAction,
        Some(ast::ReferentialAction::Restrict) => ReferentialAction::Restrict,
        Some(ast::ReferentialAction::Cascade) => ReferentialAction::Cascade,
        Some(ast::ReferentialAction::SetNull) => ReferentialAction::SetNull,
        Some(ast::ReferentialAction::SetDefault) => ReferentialAction::SetDefault,
    }
}

/// Adds a foreign key to a table. One that refers to a key of the same table which is new itself has an index of OID 0
/// until the key has one.
pub(super) fn add_foreign_key(
    table: &mut TableMeta,
    written: &WrittenForeign,
    context: &PlanContext,
) -> Result<()> {
    let target = target(table, &written.target, context)?;
    let columns = positions(table, &written.columns)?;
    let own = target.is_none();
    let target = target.unwrap_or_else(|| Arc::new(table.clone()));
    let target_positions = match written.target_columns.as_slice() {
        [] => target.primary_key.as_ref().map(|key| target.positions(&key.columns)).ok_or_else(|| {
            let message = format!("there is no primary key for referenced table \"{}\"", target.name);
            SqlError::new(ErrorKind::UndefinedObject, message)
        })?,
        named => positions(&target, named)?,
    };
    let disagree = "number of referencing and referenced columns for foreign key disagree";
    if columns.len() != target_positions.len() {
        return Err(SqlError::new(ErrorKind::InvalidForeignKey, disagree));
    }
    let distinct: BTreeSet<usize> = target_positions.iter().copied().collect();
    if distinct.len() < target_positions.len() {
        let message = "foreign key referenced-columns list must not contain duplicates";
        return Err(SqlError::new(ErrorKind::InvalidForeignKey, message));
    }
    let key = keys_over(&target, &distinct).next().ok_or_else(|| {
        let message = format!(
            "there is no unique constraint matching given keys for referenced table \"{}\"",
            target.name
        );
        SqlError::new(ErrorKind::InvalidForeignKey, message)
    })?;
    let name = constraint_name(table, written.name.as_deref(), &columns)?;
    for (column, target_column) in columns.iter().zip(&target_positions) {
        comparable(&name, &table.columns[*column], &target.columns[*target_column])?;
    }
    let foreign = ForeignKey {
        oid: Oid(0),
        columns: columns.iter().map(|&at| table.columns[at].id).collect(),
        target: if own { table.id } else { target.id },
        target_columns: target_positions.iter().map(|&at| target.columns[at].id).collect(),
        target_index: key.index_oid,
        match_type: written.match_type,
        on_delete: written.on_delete,
        on_update: written.on_update,
        name,
    };
    table.foreign_keys.push(foreign);
    Ok(())
}

/// The table referred to; none for the table itself.
fn target(
    table: &TableMeta,
    name: &ast::ObjectName,
    context: &PlanContext,
) -> Result<Option<Arc<TableMeta>>> {
    let name = qualified(name, context)?;
    let is_new = table.id == TableId(0);
    let in_schema = match &name.schema {
        Some(schema) => *schema == table.namespace,
        None => context.search_path.contains(&table.namespace),
    };
    if is_new && in_schema && name.name == table.name {
        return Ok(None);
    }
    match relation(&name, context)? {
        NamedRelation::Table(target) if target.id == table.id => Ok(None),
        NamedRelation::Table(target) => Ok(Some(target)),
        NamedRelation::System(_) => Err(SqlError::new(
            ErrorKind::InsufficientPrivilege,
            format!("permission denied: \"{}\" is a system catalog", name.name),
        )
        .at(name.span)),
    }
}

fn positions(table: &TableMeta, names: &[ast::Ident]) -> Result<Vec<usize>> {
    let position = |name: &ast::Ident| {
        let folded = fold(name);
        table.column_position(&folded).ok_or_else(|| {
            let message = format!("column \"{folded}\" referenced in foreign key constraint does not exist");
            SqlError::new(ErrorKind::UndefinedColumn, message)
        })
    };
    names.iter().map(position).collect()
}

fn constraint_name(table: &TableMeta, given: Option<&str>, columns: &[usize]) -> Result<String> {
    if let Some(name) = given {
        if table.has_constraint(name) {
            let message = format!("constraint \"{name}\" for relation \"{}\" already exists", table.name);
            return Err(SqlError::new(ErrorKind::DuplicateObject, message));
        }
        return Ok(name.to_owned());
    }
    let names: Vec<&str> = columns.iter().map(|&at| table.columns[at].name.as_str()).collect();
    let wanted = bounded_name(&table.name, Some(&names.join("_")), "fkey");
    let numbered = (1_u32..).map(|number| format!("{wanted}{number}"));
    let mut names = std::iter::once(wanted.clone()).chain(numbered);
    Ok(names.find(|name| !table.has_constraint(name)).unwrap_or_default())
}

/// # Errors
/// 42804 for types that have no equality between them, 0A000 where PostgreSQL has one and there is none here.
fn comparable(constraint: &str, column: &Column, target: &Column) -> Result<()> {
    const INTEGERS: [TypeKind; 3] = [TypeKind::Int2, TypeKind::Int4, TypeKind::Int8];
    const FLOATS: [TypeKind; 2] = [TypeKind::Float4, TypeKind::Float8];
    const TEXTS: [TypeKind; 2] = [TypeKind::Text, TypeKind::Varchar];
    let (from, to) = (column.ty, target.ty);
    let both = |kinds: &[TypeKind]| kinds.contains(&from.kind) && kinds.contains(&to.kind);
    let same = from.kind == to.kind && from.data_type() == to.data_type();
    if from.array == to.array && (same || !from.array && (both(&INTEGERS) || both(&FLOATS) || both(&TEXTS))) {
        return Ok(());
    }
    let has_equality = both(&[TypeKind::Date, TypeKind::Timestamp, TypeKind::Timestamptz])
        || exec::functions::can_cast(from, to, exec::functions::CastContext::Implicit);
    let shown = |ty: ColumnType| ty.without_typmod().display();
    if has_equality {
        let what = format!("a foreign key from type {} to type {}", shown(from), shown(to));
        return Err(unsupported(what));
    }
    Err(SqlError::new(
        ErrorKind::DatatypeMismatch,
        format!("foreign key constraint \"{constraint}\" cannot be implemented"),
    )
    .with_detail(format!(
        "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
        column.name,
        target.name,
        shown(from),
        shown(to)
    )))
}

/// Constraints of other tables, each as its table and its name, that depend on something.
pub(super) struct Dependents<'a> {
    /// What the command drops, for the message; none when it is several objects.
    pub dropped: Option<String>,
    /// What the constraints depend on.
    pub on: String,
    pub constraints: Vec<(&'a TableMeta, &'a ForeignKey)>,
}

impl Dependents<'_> {
    /// The notices of CASCADE.
    ///
    /// # Errors
    /// 2BP01 without CASCADE.
    pub(super) fn release(&self, cascade: bool, context: &PlanContext) -> Result<Vec<DdlNotice>> {
        let shown = |(table, key): &(&TableMeta, &ForeignKey)| {
            format!("constraint {} on table {}", key.name, shown_name(table, context))
        };
        let objects: Vec<String> = self.constraints.iter().map(shown).collect();
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        if !cascade {
            let lines: Vec<String> =
                objects.iter().map(|object| format!("{object} depends on {}", self.on)).collect();
            return Err(SqlError::new(
                ErrorKind::DependentObjectsStillExist,
                match &self.dropped {
                    Some(dropped) => format!("cannot drop {dropped} because other objects depend on it"),
                    None => "cannot drop desired object(s) because other objects depend on them".to_owned(),
                },
            )
            .with_detail(lines.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        Ok(vec![DdlNotice::plain(match objects.as_slice() {
            [only] => format!("drop cascades to {only}"),
            many => format!("drop cascades to {} other objects", many.len()),
        })])
    }
}

/// A table's name as messages show it: with its schema when a bare name does not find it.
pub(super) fn shown_name(table: &TableMeta, context: &PlanContext) -> String {
    let name = exec::functions::catalog::names::quote_identifier(&table.name);
    if context.search_path.contains(&table.namespace) {
        return name;
    }
    format!("{}.{name}", exec::functions::catalog::names::quote_identifier(&table.namespace))
}

/// The foreign keys of other tables than `without` that a predicate picks among those which refer to `target`.
pub(super) fn referring<'a>(
    target: TableId,
    without: &[TableId],
    context: &'a PlanContext,
    picks: impl Fn(&ForeignKey) -> bool,
) -> Vec<(&'a TableMeta, &'a ForeignKey)> {
    let tables = context.catalog.tables.values().filter(|table| !without.contains(&table.id));
    let keys = tables.flat_map(|table| table.foreign_keys.iter().map(move |key| (table.as_ref(), key)));
    keys.filter(|(_, key)| key.target == target && picks(key)).collect()
}

/// Tables in their next versions, without foreign keys that are dropped with what they refer to.
pub(super) fn without_foreign_keys(constraints: &[(&TableMeta, &ForeignKey)]) -> Vec<Arc<TableMeta>> {
    let mut changed: Vec<TableMeta> = Vec::new();
    for (table, key) in constraints {
        let place = changed.iter().position(|known| known.id == table.id).unwrap_or_else(|| {
            let schema_version = table.schema_version + 1;
            changed.push(TableMeta { schema_version, ..TableMeta::clone(table) });
            changed.len() - 1
        });
        changed[place].foreign_keys.retain(|known| known.oid != key.oid);
    }
    changed.into_iter().map(Arc::new).collect()
}
