//! Relations, functions, schemas, roles and collations by name and by OID: the `reg*` casts.
//!
//! Invariant: what `resolve_reg_name` prints, `resolve_reg_oid` reads back in the same session.

use proto::{ErrorKind, SqlError, TypeKind};

use super::builtin::{self, Procedure};
use super::names::{quote_identifier, quote_qualified, split};
use super::scope::{Relation, Scope};
use super::types;

/// The text of a value of a `reg*` type; what names nothing prints its number, 0 prints `-`.
#[must_use]
pub fn resolve_reg_name(kind: TypeKind, oid: u32, scope: Scope<'_>) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let name = match kind {
        TypeKind::Regclass => scope.relation_of_oid(oid).map(|relation| scope.relation_text(relation)),
        TypeKind::Regtype => types::display(scope, oid),
        TypeKind::Regproc => builtin::procedure_of_oid(oid).map(procedure_text),
        TypeKind::Regprocedure => builtin::procedure_of_oid(oid).map(|procedure| {
            let arguments: Vec<String> =
                procedure.arguments.iter().map(|&ty| types::format_type(scope, ty, None)).collect();
            format!("{}({})", quote_identifier(procedure.name), arguments.join(","))
        }),
        TypeKind::Regnamespace => scope.namespace_name(oid).map(quote_identifier),
        TypeKind::Regrole => role_name(scope, oid).map(quote_identifier),
        _ => None,
    };
    name.unwrap_or_else(|| oid.to_string())
}

/// The OID that a text means as a value of a `reg*` type.
///
/// # Errors
/// 42P01, 42704, 42883, 42725, 3F000 for what does not exist, 42602 for what is no name.
pub fn resolve_reg_oid(kind: TypeKind, text: &str, scope: Scope<'_>) -> Result<u32, SqlError> {
    match kind {
        TypeKind::Regtype => types::resolve(scope, text),
        _ if text == "-" => Ok(0),
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => oid_from_digits(text),
        TypeKind::Regclass => relation(scope, text).map(Relation::oid),
        TypeKind::Regproc | TypeKind::Regprocedure => procedure(text).map(|procedure| procedure.oid),
        TypeKind::Regnamespace => {
            let name = single_name(text)?;
            scope.namespace_oid(&name).ok_or_else(|| missing_schema(&name))
        }
        TypeKind::Regrole => {
            let name = single_name(text)?;
            role_oid(scope, &name).ok_or_else(|| {
                SqlError::new(ErrorKind::UndefinedObject, format!("role \"{name}\" does not exist"))
            })
        }
        _ => Err(SqlError::unsupported(format!("input of type {}", kind.name()))),
    }
}

/// The name of a role.
pub(super) fn role_name<'a>(scope: Scope<'a>, oid: u32) -> Option<&'a str> {
    if oid == builtin::OWNER_OID {
        return Some(scope.owner);
    }
    builtin::roles().iter().find(|role| role.oid == oid).map(|role| role.name)
}

fn role_oid(scope: Scope<'_>, name: &str) -> Option<u32> {
    if name == scope.owner {
        return Some(builtin::OWNER_OID);
    }
    builtin::roles().iter().find(|role| role.name == name).map(|role| role.oid)
}

/// An OID in digits.
///
/// # Errors
/// 22003 beyond 32 bits.
pub(super) fn oid_from_digits(text: &str) -> Result<u32, SqlError> {
    text.parse().map_err(|_| {
        SqlError::new(
            ErrorKind::NumericValueOutOfRange,
            format!("value \"{text}\" is out of range for type oid"),
        )
    })
}

/// The relation that a text names.
///
/// # Errors
/// 42P01, 42602, 0A000 for another database.
pub fn relation<'a>(scope: Scope<'a>, text: &str) -> Result<Relation<'a>, SqlError> {
    let parts = split(text)?;
    let found = match parts.as_slice() {
        [name] => scope.relation_named(name),
        [namespace, name] => scope.relation_in(namespace, name),
        [database, namespace, name] => {
            let known =
                scope.catalog.databases.get(&scope.database).is_some_and(|meta| meta.name == *database);
            if !known {
                let shown = parts.join(".");
                return Err(SqlError::new(
                    ErrorKind::FeatureNotSupported,
                    format!("cross-database references are not implemented: \"{shown}\""),
                ));
            }
            scope.relation_in(namespace, name)
        }
        _ => {
            let message = format!("improper relation name (too many dotted names): {}", parts.join("."));
            return Err(SqlError::new(ErrorKind::SyntaxError, message));
        }
    };
    found.ok_or_else(|| {
        let shown = parts.join(".");
        SqlError::new(ErrorKind::UndefinedTable, format!("relation \"{shown}\" does not exist"))
    })
}

/// `to_regclass(text)`: NULL for a relation that does not exist.
///
/// # Errors
/// 42602 for what is no name.
pub fn to_regclass(scope: Scope<'_>, text: &str) -> Result<Option<u32>, SqlError> {
    match resolve_reg_oid(TypeKind::Regclass, text, scope) {
        Ok(oid) => Ok(Some(oid)),
        Err(error) if error.kind == ErrorKind::UndefinedTable => Ok(None),
        Err(error) => Err(error),
    }
}

/// The function that a text names, with or without its arguments.
fn procedure(text: &str) -> Result<&'static Procedure, SqlError> {
    let (name, arguments) = match text.split_once('(') {
        Some((name, arguments)) => (name, Some(arguments)),
        None => (text, None),
    };
    let parts = split(name)?;
    let missing =
        || SqlError::new(ErrorKind::UndefinedFunction, format!("function \"{text}\" does not exist"));
    let Some(last) = parts.last() else { return Err(missing()) };
    let mut found = builtin::procedures().iter().filter(|procedure| {
        procedure.name == last && (parts.len() < 2 || parts.first().is_some_and(|s| s == procedure.namespace))
    });
    match (found.next(), found.next(), arguments) {
        (None, _, _) => Err(missing()),
        (Some(only), None, _) => Ok(only),
        (Some(_), Some(_), _) => Err(SqlError::new(
            ErrorKind::AmbiguousFunction,
            format!("more than one function named \"{last}\""),
        )),
    }
}

/// A function's name, with its schema when the bare name would not find it alone.
fn procedure_text(procedure: &Procedure) -> String {
    let same_name = builtin::procedures().iter().filter(|other| other.name == procedure.name).count();
    if same_name == 1 {
        quote_identifier(procedure.name)
    } else {
        quote_qualified(procedure.namespace, procedure.name)
    }
}

fn single_name(text: &str) -> Result<String, SqlError> {
    match <[String; 1]>::try_from(split(text)?) {
        Ok([name]) => Ok(name),
        Err(_) => Err(SqlError::new(ErrorKind::InvalidName, "invalid name syntax")),
    }
}

fn missing_schema(name: &str) -> SqlError {
    SqlError::new(ErrorKind::InvalidSchemaName, format!("schema \"{name}\" does not exist"))
}

#[cfg(test)]
mod tests;
