//! CREATE, ALTER and DROP SEQUENCE.

use std::sync::Arc;

use proto::catalog::{CatalogChange, SequenceMeta};
use proto::{ColumnType, ErrorKind, SequenceId, SqlError, TableId, TypeKind};
use sqlparser::ast;

use super::columns::{sequence_of, with_options};
use crate::context::PlanContext;
use crate::error::{At, Result, undefined_relation, undefined_table_column};
use crate::names::{QualifiedName, creation_schema, fold, qualified, target_table};
use crate::plan::{DdlCommand, DdlNotice, NewSequence};
use crate::syntax::SequenceClauses;
use crate::types::column_type;

pub(crate) fn create_sequence(
    name: &ast::ObjectName,
    if_not_exists: bool,
    data_type: Option<&ast::DataType>,
    clauses: &SequenceClauses,
    context: &PlanContext,
) -> Result<DdlCommand> {
    const TAG: &str = "CREATE SEQUENCE";
    let name = qualified(name, context)?;
    let namespace = creation_schema(&name, context)?;
    if context.catalog.relation_exists(context.database, &namespace, &name.name) {
        let message = format!("relation \"{}\" already exists", name.name);
        if if_not_exists {
            let notice = DdlNotice { code: "42P07", message: format!("{message}, skipping") };
            return Ok(DdlCommand::Nothing { tag: TAG, notices: vec![notice] });
        }
        return Err(SqlError::new(ErrorKind::DuplicateTable, message));
    }
    let ty = data_type.map_or(Ok(ColumnType::INT8), column_type)?;
    if !matches!(ty.kind, TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8) || ty.array {
        return Err(SqlError::new(
            ErrorKind::InvalidParameterValue,
            "sequence type must be smallint, integer, or bigint",
        ));
    }
    if clauses.restart.is_some() {
        return Err(crate::error::syntax("syntax error at or near \"RESTART\""));
    }
    let made = with_options(NewSequence { name: name.name.clone(), ..sequence_of(ty) }, &clauses.options)?;
    let owned_by = owner(clauses, context)?.flatten();
    let sequence = SequenceMeta {
        id: SequenceId(0),
        database: context.database,
        namespace,
        name: name.name,
        ty,
        start: made.start,
        increment: made.increment,
        minimum: made.minimum,
        maximum: made.maximum,
        first: made.start,
        owned_by,
    };
    let changes = vec![CatalogChange::PutSequence(Arc::new(sequence))];
    Ok(DdlCommand::Catalog { tag: TAG, changes, notices: Vec::new() })
}

/// The column of OWNED BY.
fn owner(clauses: &SequenceClauses, context: &PlanContext) -> Result<Option<Option<(TableId, u32)>>> {
    let Some(owned_by) = &clauses.owned_by else { return Ok(None) };
    let Some(name) = owned_by else { return Ok(Some(None)) };
    let mut parts = name.0.clone();
    let (Some(ast::ObjectNamePart::Identifier(column)), false) = (parts.pop(), parts.is_empty()) else {
        return Err(crate::error::syntax("invalid OWNED BY option")
            .with_hint("Specify OWNED BY table.column or OWNED BY NONE."));
    };
    let table = target_table(&qualified(&ast::ObjectName(parts), context)?, context)?;
    let column = fold(&column);
    let position =
        table.column_position(&column).ok_or_else(|| undefined_table_column(&table.name, &column))?;
    Ok(Some(Some((table.id, table.columns[position].id))))
}

/// The sequence of a name under the search path.
pub(super) fn find(name: &QualifiedName, context: &PlanContext) -> Option<Arc<SequenceMeta>> {
    let within =
        |schema: &str| context.catalog.sequence(context.database, schema, &name.name).map(Arc::clone);
    match &name.schema {
        Some(schema) => within(schema),
        None => context.search_path.iter().find_map(|schema| within(schema)),
    }
}

/// The sequence to change; none when it may be missing and is.
fn target(
    name: &ast::ObjectName,
    if_exists: bool,
    context: &PlanContext,
) -> Result<std::result::Result<Arc<SequenceMeta>, DdlCommand>> {
    let name = qualified(name, context)?;
    if let Some(sequence) = find(&name, context) {
        return Ok(Ok(sequence));
    }
    if crate::names::relation(&name, context).is_ok() {
        return Err(SqlError::new(
            ErrorKind::WrongObjectType,
            format!("\"{}\" is not a sequence", name.name),
        ));
    }
    if !if_exists {
        return Err(undefined_relation(&name.display()).at(name.span));
    }
    let message = format!("relation \"{}\" does not exist, skipping", name.name);
    Ok(Err(DdlCommand::Nothing { tag: "ALTER SEQUENCE", notices: vec![DdlNotice::plain(message)] }))
}

pub(crate) fn alter_sequence(
    name: &ast::ObjectName,
    if_exists: bool,
    clauses: &SequenceClauses,
    context: &PlanContext,
) -> Result<DdlCommand> {
    let known = match target(name, if_exists, context)? {
        Ok(known) => known,
        Err(nothing) => return Ok(nothing),
    };
    let before = NewSequence {
        name: known.name.clone(),
        ty: known.ty,
        start: known.start,
        increment: known.increment,
        minimum: known.minimum,
        maximum: known.maximum,
    };
    let starts = clauses.options.iter().any(|option| matches!(option, ast::SequenceOptions::StartWith(..)));
    let mut options = clauses.options.clone();
    if !starts {
        // Without START the value stays.
        let start = ast::Value::Number(known.start.to_string(), false).with_empty_span();
        options.push(ast::SequenceOptions::StartWith(ast::Expr::Value(start), true));
    }
    let made = with_options(before, &options)?;
    let sequence = SequenceMeta {
        start: made.start,
        increment: made.increment,
        minimum: made.minimum,
        maximum: made.maximum,
        owned_by: owner(clauses, context)?.unwrap_or(known.owned_by),
        ..SequenceMeta::clone(&known)
    };
    if let Some(restart) = clauses.restart {
        let next = restart.unwrap_or(sequence.start);
        if next < sequence.minimum || next > sequence.maximum {
            let (what, limit) = if next < sequence.minimum {
                ("less than MINVALUE", sequence.minimum)
            } else {
                ("greater than MAXVALUE", sequence.maximum)
            };
            return Err(SqlError::new(
                ErrorKind::InvalidParameterValue,
                format!("RESTART value ({next}) cannot be {what} ({limit})"),
            ));
        }
        return Ok(DdlCommand::RestartSequence { sequence: Arc::new(sequence), next });
    }
    let changes = vec![CatalogChange::PutSequence(Arc::new(sequence))];
    Ok(DdlCommand::Catalog { tag: "ALTER SEQUENCE", changes, notices: Vec::new() })
}

pub(crate) fn rename_sequence(
    name: &ast::ObjectName,
    if_exists: bool,
    new_name: &ast::Ident,
    context: &PlanContext,
) -> Result<DdlCommand> {
    let known = match target(name, if_exists, context)? {
        Ok(known) => known,
        Err(nothing) => return Ok(nothing),
    };
    let new_name = fold(new_name);
    if context.catalog.relation_exists(context.database, &known.namespace, &new_name) {
        return Err(SqlError::new(
            ErrorKind::DuplicateTable,
            format!("relation \"{new_name}\" already exists"),
        ));
    }
    let sequence = SequenceMeta { name: new_name, ..SequenceMeta::clone(&known) };
    let changes = vec![CatalogChange::PutSequence(Arc::new(sequence))];
    Ok(DdlCommand::Catalog { tag: "ALTER SEQUENCE", changes, notices: Vec::new() })
}

pub(super) fn drop_sequences(dropped: &super::Dropped<'_>, context: &PlanContext) -> Result<DdlCommand> {
    let mut changes = Vec::new();
    let mut notices = Vec::new();
    for name in dropped.names {
        let name = qualified(name, context)?;
        let Some(sequence) = find(&name, context) else {
            if crate::names::relation(&name, context).is_ok() {
                return Err(SqlError::new(
                    ErrorKind::WrongObjectType,
                    format!("\"{}\" is not a sequence", name.name),
                )
                .with_hint("Use DROP TABLE to remove a table."));
            }
            let message = format!("sequence \"{}\" does not exist", name.name);
            if !dropped.if_exists {
                return Err(SqlError::new(ErrorKind::UndefinedTable, message));
            }
            notices.push(DdlNotice::plain(format!("{message}, skipping")));
            continue;
        };
        refuse_used(&sequence, context)?;
        changes.push(CatalogChange::DropSequence(sequence.id));
    }
    Ok(DdlCommand::Catalog { tag: "DROP SEQUENCE", changes, notices })
}

/// A sequence that a column's default draws from stays.
fn refuse_used(sequence: &SequenceMeta, context: &PlanContext) -> Result<()> {
    let drawn = super::columns::drawn_from(&sequence.namespace, &sequence.name);
    let tables = context.catalog.tables.values().filter(|table| table.database == context.database);
    let mut users = tables.flat_map(|table| table.columns.iter().map(move |column| (table, column)));
    let Some((table, column)) = users.find(|(_, column)| column.default.as_deref() == Some(&drawn)) else {
        return Ok(());
    };
    if column.identity.is_some() {
        return Err(SqlError::new(
            ErrorKind::DependentObjectsStillExist,
            format!(
                "cannot drop sequence {} because column {} of table {} requires it",
                sequence.name, column.name, table.name
            ),
        )
        .with_hint(format!("You can drop column {} of table {} instead.", column.name, table.name)));
    }
    Err(SqlError::new(
        ErrorKind::DependentObjectsStillExist,
        format!("cannot drop sequence {} because other objects depend on it", sequence.name),
    )
    .with_detail(format!(
        "default value for column {} of table {} depends on sequence {}",
        column.name, table.name, sequence.name
    ))
    .with_hint("Use DROP ... CASCADE to drop the dependent objects too."))
}
