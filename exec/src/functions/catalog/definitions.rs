//! Definitions printed back as SQL: indexes, constraints, defaults, types, names of objects.
//!
//! Invariant: texts are PostgreSQL's, character by character, for everything a table of ours can have.

use proto::catalog::{CheckConstraint, ForeignKey, KeyMeta, MatchType, ReferentialAction, TableMeta};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::builtin;
use super::names::{quote_identifier, quote_literal, quote_qualified};
use super::pretty::pretty;
use super::relations;
use super::row::{Answer, Row, Value, evaluate, strict};
use super::scope::{Index, Key, Relation, Scope};
use super::types;
use crate::functions::overload::PgFunction;

/// `pg_get_indexdef(index)`.
#[must_use]
pub fn index_definition(index: Index<'_>) -> String {
    let name = quote_identifier(index.name());
    let table = quote_qualified(&index.table().namespace, &index.table().name);
    let columns = column_list(index);
    match index {
        Index::Key(key) => {
            let nulls = if key.key.nulls_distinct { "" } else { " NULLS NOT DISTINCT" };
            format!("CREATE UNIQUE INDEX {name} ON {table} USING btree ({columns}){nulls}")
        }
        Index::Vector { index, .. } => {
            let method = index.method.name();
            // The class that the method would take by itself is not written.
            let class = if index.method.default_metric() == Some(index.metric) {
                String::new()
            } else {
                format!(" {}", index.metric.operator_class())
            };
            let options: Vec<String> = index
                .written_options
                .iter()
                .map(|option| match option.split_once('=') {
                    Some((name, value)) => format!("{name}={}", quote_literal(value)),
                    None => option.clone(),
                })
                .collect();
            let with =
                if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
            format!("CREATE INDEX {name} ON {table} USING {method} ({columns}{class}){with}")
        }
    }
}

/// `pg_get_constraintdef(constraint)` of a primary or other unique key.
#[must_use]
pub fn constraint_definition(key: Key<'_>) -> String {
    let kind = match key.key {
        KeyMeta { is_primary: true, .. } => "PRIMARY KEY",
        KeyMeta { nulls_distinct: false, .. } => "UNIQUE NULLS NOT DISTINCT",
        _ => "UNIQUE",
    };
    format!("{kind} ({})", column_list(Index::Key(key)))
}

/// `pg_get_constraintdef(constraint)` of a foreign key.
fn foreign_key_definition(scope: Scope<'_>, table: &TableMeta, key: &ForeignKey) -> Option<String> {
    let target = scope.tables().find(|target| target.id == key.target)?;
    let names = |table: &TableMeta, ids: &[u32]| {
        let positions = table.positions(ids).into_iter();
        let names: Vec<String> = positions.map(|at| quote_identifier(&table.columns[at].name)).collect();
        names.join(", ")
    };
    let full = if key.match_type == MatchType::Full { " MATCH FULL" } else { "" };
    let action = |event: &str, action: ReferentialAction| match action {
        ReferentialAction::NoAction => String::new(),
        ReferentialAction::Restrict => format!(" ON {event} RESTRICT"),
        ReferentialAction::Cascade => format!(" ON {event} CASCADE"),
        ReferentialAction::SetNull => format!(" ON {event} SET NULL"),
        ReferentialAction::SetDefault => format!(" ON {event} SET DEFAULT"),
    };
    Some(format!(
        "FOREIGN KEY ({}) REFERENCES {}({}){full}{}{}",
        names(table, &key.columns),
        scope.relation_text(Relation::Table(target)),
        names(target, &key.target_columns),
        action("UPDATE", key.on_update),
        action("DELETE", key.on_delete)
    ))
}

/// `pg_get_constraintdef(constraint, short)` of a CHECK.
fn check_definition(check: &CheckConstraint, short: bool) -> String {
    let expression = if short { pretty(&check.expression) } else { check.expression.clone() };
    format!("CHECK ({expression})")
}

fn column_list(index: Index<'_>) -> String {
    index.columns().map(|column| quote_identifier(&column.name)).collect::<Vec<_>>().join(", ")
}

/// A column default as PostgreSQL prints it: literals carry the type they were read as.
#[must_use]
pub fn default_text(default: &str, ty: ColumnType) -> String {
    let text = default.trim();
    if is_string_literal(text) {
        return format!("{text}::{}", ty.without_typmod().display());
    }
    if let Some(digits) = text.strip_prefix('-').map(str::trim_start) {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let kind = if digits.contains('.') {
            TypeKind::Numeric
        } else if digits.parse::<i32>().is_ok() {
            TypeKind::Int4
        } else {
            TypeKind::Int8
        };
        if is_number && !digits.is_empty() {
            return format!("'-{digits}'::{}", kind.display_name());
        }
    }
    let lower = text.to_lowercase();
    match lower.as_str() {
        "true" | "false" | "now()" | "gen_random_uuid()" => lower,
        "current_timestamp" | "current_date" | "current_user" | "localtimestamp" => text.to_uppercase(),
        _ => text.to_owned(),
    }
}

/// Whether a text is one string literal and nothing else.
fn is_string_literal(text: &str) -> bool {
    text.len() >= 2
        && text
            .strip_prefix('\'')
            .and_then(|rest| rest.strip_suffix('\''))
            .is_some_and(|inner| !inner.replace("''", "").contains('\''))
}

/// The functions of this module.
pub(super) fn functions() -> Vec<PgFunction> {
    let mut functions = vec![
        PgFunction::stable("format_type")
            .on("oid,int4", "text", |call| evaluate(call, TypeKind::Text, Some(1), format_type)),
        PgFunction::stable("to_regtype")
            .on("text", "regtype", |call| strict(call, TypeKind::Regtype, to_regtype)),
        PgFunction::stable("to_regclass")
            .on("text", "regclass", |call| strict(call, TypeKind::Regclass, to_regclass)),
        PgFunction::stable("to_regnamespace")
            .on("text", "regnamespace", |call| strict(call, TypeKind::Regnamespace, to_regnamespace)),
        PgFunction::stable("to_regrole")
            .on("text", "regrole", |call| strict(call, TypeKind::Regrole, to_regrole)),
        PgFunction::stable("to_regproc")
            .on("text", "regproc", |call| strict(call, TypeKind::Regproc, to_regproc)),
        PgFunction::stable("pg_get_expr")
            .on("pg_node_tree,oid", "text", |call| strict(call, TypeKind::Text, expression_text))
            .on("pg_node_tree,oid,bool", "text", |call| strict(call, TypeKind::Text, expression_text))
            .on("text,oid", "text", |call| strict(call, TypeKind::Text, expression_text))
            .on("text,oid,bool", "text", |call| strict(call, TypeKind::Text, expression_text)),
        PgFunction::stable("pg_get_indexdef")
            .on("oid", "text", |call| strict(call, TypeKind::Text, indexdef))
            .on("oid,int4,bool", "text", |call| strict(call, TypeKind::Text, indexdef)),
        PgFunction::stable("pg_get_constraintdef")
            .on("oid", "text", |call| strict(call, TypeKind::Text, constraintdef))
            .on("oid,bool", "text", |call| strict(call, TypeKind::Text, constraintdef)),
        PgFunction::stable("pg_get_serial_sequence")
            .on("text,text", "text", |call| strict(call, TypeKind::Text, serial_sequence)),
        PgFunction::stable("pg_get_viewdef")
            .on("oid", "text", |call| strict(call, TypeKind::Text, nothing))
            .on("oid,bool", "text", |call| strict(call, TypeKind::Text, nothing))
            .on("oid,int4", "text", |call| strict(call, TypeKind::Text, nothing)),
    ];
    // Objects of these kinds do not exist, so that no OID has a definition.
    for name in ["pg_get_triggerdef", "pg_get_ruledef"] {
        functions.push(
            PgFunction::stable(name).on("oid", "text", |call| strict(call, TypeKind::Text, nothing)).on(
                "oid,bool",
                "text",
                |call| strict(call, TypeKind::Text, nothing),
            ),
        );
    }
    for name in [
        "pg_get_partkeydef",
        "pg_get_statisticsobjdef",
        "pg_get_statisticsobjdef_columns",
        "pg_get_functiondef",
        "pg_get_function_sqlbody",
    ] {
        functions
            .push(PgFunction::stable(name).on("oid", "text", |call| strict(call, TypeKind::Text, nothing)));
    }
    for name in ["pg_get_function_arguments", "pg_get_function_identity_arguments"] {
        functions.push(
            PgFunction::stable(name)
                .on("oid", "text", |call| strict(call, TypeKind::Text, function_arguments)),
        );
    }
    functions.push(
        PgFunction::stable("pg_get_function_result")
            .on("oid", "text", |call| strict(call, TypeKind::Text, function_result)),
    );
    functions
}

/// The argument types: the functions that are listed have neither names nor defaults.
fn function_arguments(row: &Row<'_>) -> Answer {
    let Some(procedure) = builtin::procedure_of_oid(row.oid(0)?) else { return Ok(None) };
    let types = procedure.arguments.iter().map(|&ty| types::format_type(row.scope, ty, None));
    Ok(Some(Value::Text(types.collect::<Vec<_>>().join(", "))))
}

fn function_result(row: &Row<'_>) -> Answer {
    let Some(procedure) = builtin::procedure_of_oid(row.oid(0)?) else { return Ok(None) };
    let set = if procedure.returns_set { "SETOF " } else { "" };
    let result = types::format_type(row.scope, procedure.result, None);
    Ok(Some(Value::Text(format!("{set}{result}"))))
}

fn format_type(row: &Row<'_>) -> Answer {
    let typmod = row.integer(1).and_then(|typmod| i32::try_from(typmod).ok());
    Ok(Some(Value::Text(types::format_type(row.scope, row.oid(0)?, typmod))))
}

fn to_regtype(row: &Row<'_>) -> Answer {
    Ok(types::to_regtype(row.scope, row.text(0))?.map(number))
}

fn to_regclass(row: &Row<'_>) -> Answer {
    Ok(relations::to_regclass(row.scope, row.text(0))?.map(number))
}

fn to_regnamespace(row: &Row<'_>) -> Answer {
    existing(row, TypeKind::Regnamespace)
}

fn to_regrole(row: &Row<'_>) -> Answer {
    existing(row, TypeKind::Regrole)
}

fn to_regproc(row: &Row<'_>) -> Answer {
    existing(row, TypeKind::Regproc)
}

/// The OID of a name, NULL when nothing has it.
fn existing(row: &Row<'_>, kind: TypeKind) -> Answer {
    match relations::resolve_reg_oid(kind, row.text(0), row.scope) {
        Ok(oid) => Ok(Some(number(oid))),
        Err(error) if error.kind == ErrorKind::InvalidName => Err(error),
        Err(_) => Ok(None),
    }
}

fn number(oid: u32) -> Value {
    Value::Integer(oid.into())
}

/// Expressions are kept as the text that is printed; the short form has fewer parentheses.
fn expression_text(row: &Row<'_>) -> Answer {
    let text = row.text(0);
    Ok(Some(Value::Text(if row.is_set(2) { pretty(text) } else { text.to_owned() })))
}

fn nothing(_row: &Row<'_>) -> Answer {
    Ok(None)
}

fn indexdef(row: &Row<'_>) -> Answer {
    let oid = row.oid(0)?;
    let Some(index) = row.scope.indexes().find(|index| index.oid() == oid) else { return Ok(None) };
    let text = match row.integer(1) {
        None | Some(0) => index_definition(index),
        Some(position) => {
            let position = usize::try_from(position - 1).unwrap_or(usize::MAX);
            index.columns().nth(position).map(|column| quote_identifier(&column.name)).unwrap_or_default()
        }
    };
    Ok(Some(Value::Text(text)))
}

fn constraintdef(row: &Row<'_>) -> Answer {
    let oid = row.oid(0)?;
    if let Some((_, check)) = row.scope.checks().find(|(_, check)| check.oid.0 == oid) {
        return Ok(Some(Value::Text(check_definition(check, row.is_set(1)))));
    }
    if let Some((table, key)) = row.scope.foreign_keys().find(|(_, key)| key.oid.0 == oid) {
        return Ok(foreign_key_definition(row.scope, table, key).map(Value::Text));
    }
    let key = row.scope.key_constraints().find(|(constraint, _)| *constraint == oid);
    Ok(key.map(|(_, key)| Value::Text(constraint_definition(key))))
}

fn serial_sequence(row: &Row<'_>) -> Answer {
    let scope: Scope<'_> = row.scope;
    let Relation::Table(table) = relations::relation(scope, row.text(0))? else { return Ok(None) };
    let name = row.text(1);
    let column = table.columns.iter().find(|column| column.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
        SqlError::new(ErrorKind::UndefinedColumn, message)
    })?;
    let owned = scope.sequences().find(|sequence| sequence.owned_by == Some((table.id, column.id)));
    Ok(owned.map(|sequence| Value::Text(quote_qualified(&sequence.namespace, &sequence.name))))
}

#[cfg(test)]
mod tests;
