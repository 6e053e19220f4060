//! Casts between names and `regclass`, which need the catalog.
//!
//! Relations of `pg_catalog` are not in the catalog snapshot: the planner resolves constants that name them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array};
use arrow::datatypes::{DataType, UInt32Type};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use crate::statement::SessionValues;

/// Converts when the catalog is needed for it; none otherwise.
pub(super) fn convert(
    array: &ArrayRef,
    from: ColumnType,
    to: ColumnType,
    session: &SessionValues,
) -> Result<Option<ArrayRef>, SqlError> {
    if from.array || to.array || *array.data_type() == DataType::Null {
        return Ok(None);
    }
    if to.kind == TypeKind::Regclass && from.is_textual() {
        let Some(names) = array.as_string_opt::<i32>() else { return Ok(None) };
        let oids = names
            .iter()
            .map(|name| name.map(|name| relation_oid(name, session)).transpose())
            .collect::<Result<UInt32Array, SqlError>>()?;
        return Ok(Some(Arc::new(oids)));
    }
    if from.kind == TypeKind::Regclass && to.is_textual() {
        let oids = array.as_primitive::<UInt32Type>();
        let names: StringArray = oids.iter().map(|oid| oid.map(|oid| relation_name(oid, session))).collect();
        return Ok(Some(Arc::new(names)));
    }
    Ok(None)
}

fn relation_oid(text: &str, session: &SessionValues) -> Result<u32, SqlError> {
    if let Ok(oid) = text.trim().parse::<u32>() {
        return Ok(oid);
    }
    let (schema, name) = split_name(text);
    let schemas: Vec<&str> = match &schema {
        Some(schema) => vec![schema],
        None => session.search_path.iter().map(String::as_str).collect(),
    };
    schemas.iter().find_map(|schema| oid_in(schema, &name, session)).ok_or_else(|| {
        SqlError::new(ErrorKind::UndefinedTable, format!("relation \"{text}\" does not exist"))
    })
}

fn oid_in(schema: &str, name: &str, session: &SessionValues) -> Option<u32> {
    let (catalog, database) = (&session.catalog, session.database_id);
    if let Some(table) = catalog.table(database, schema, name) {
        return Some(table.id.oid().0);
    }
    if let Some(sequence) = catalog.sequence(database, schema, name) {
        return Some(sequence.id.oid().0);
    }
    catalog
        .tables
        .values()
        .filter(|table| table.database == database && table.namespace == schema)
        .filter_map(|table| table.primary_key.as_ref())
        .find(|key| key.name == name)
        .map(|key| key.index_oid.0)
}

/// Schema and name of a possibly quoted, possibly qualified identifier.
pub(crate) fn split_name(text: &str) -> (Option<String>, String) {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for character in text.trim().chars() {
        match character {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            _ => {
                if let Some(last) = parts.last_mut() {
                    if quoted {
                        last.push(character);
                    } else {
                        last.extend(character.to_lowercase());
                    }
                }
            }
        }
    }
    let name = parts.pop().unwrap_or_default();
    (parts.pop(), name)
}

fn relation_name(oid: u32, session: &SessionValues) -> String {
    let catalog = &session.catalog;
    let named = catalog
        .tables
        .values()
        .find_map(|table| {
            if table.id.oid().0 == oid {
                return Some((table.namespace.as_str(), table.name.as_str()));
            }
            let key = table.primary_key.as_ref().filter(|key| key.index_oid.0 == oid)?;
            Some((table.namespace.as_str(), key.name.as_str()))
        })
        .or_else(|| {
            let sequence = catalog.sequences.values().find(|sequence| sequence.id.oid().0 == oid)?;
            Some((sequence.namespace.as_str(), sequence.name.as_str()))
        });
    match named {
        Some((schema, name)) if session.search_path.iter().any(|path| path == schema) => quote(name),
        Some((schema, name)) => format!("{}.{}", quote(schema), quote(name)),
        None if oid == 0 => "-".to_owned(),
        None => oid.to_string(),
    }
}

/// A name as SQL text needs it.
pub(crate) fn quote(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
