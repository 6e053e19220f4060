//! Types by name and by OID: `format_type`, `to_regtype` and the `regtype` casts.
//!
//! Invariant: `find(scope, &display(scope, oid))` is `oid` for every type a session can see.

use proto::catalog::TableMeta;
use proto::{ErrorKind, SqlError};

use super::builtin::{self, BuiltinType};
use super::names::{quote_identifier, quote_qualified, split};
use super::scope::Scope;

/// `typsubscript` of true array types.
const ARRAY_SUBSCRIPT_HANDLER: u32 = 6179;

/// A type of either origin.
#[derive(Clone, Copy, Debug)]
pub enum AnyType<'a> {
    Builtin(&'static BuiltinType),
    /// The row type of a user table.
    Row(&'a TableMeta),
}

impl<'a> AnyType<'a> {
    /// `pg_type.oid`.
    #[must_use]
    pub const fn oid(self) -> u32 {
        match self {
            Self::Builtin(ty) => ty.oid,
            Self::Row(table) => table.type_oid.0,
        }
    }

    fn name(self) -> &'a str {
        match self {
            Self::Builtin(ty) => ty.name,
            Self::Row(table) => &table.name,
        }
    }

    fn namespace(self) -> &'a str {
        match self {
            Self::Builtin(ty) => ty.namespace,
            Self::Row(table) => &table.namespace,
        }
    }
}

/// Whether values are PostgreSQL arrays (int2vector and oidvector are not).
#[must_use]
pub fn is_array(ty: &BuiltinType) -> bool {
    ty.subscript == ARRAY_SUBSCRIPT_HANDLER && ty.element != 0 && ty.storage != "p"
}

/// The type of an OID.
#[must_use]
pub fn of_oid(scope: Scope<'_>, oid: u32) -> Option<AnyType<'_>> {
    builtin::type_of_oid(oid)
        .map(AnyType::Builtin)
        .or_else(|| scope.tables().find(|table| table.type_oid.0 == oid).map(AnyType::Row))
}

/// The type of a `pg_type` name in one schema.
fn in_namespace<'a>(scope: Scope<'a>, namespace: &str, name: &str) -> Option<AnyType<'a>> {
    builtin::type_of_name(namespace, name).map(AnyType::Builtin).or_else(|| {
        scope.tables().find(|table| table.name == name && table.namespace == namespace).map(AnyType::Row)
    })
}

/// Whether a bare name finds this type and no other first: `pg_type_is_visible`.
#[must_use]
pub fn is_visible(scope: Scope<'_>, ty: AnyType<'_>) -> bool {
    scope
        .schemas()
        .find_map(|namespace| in_namespace(scope, namespace, ty.name()))
        .is_some_and(|found| found.oid() == ty.oid())
}

/// What `format_type(oid, NULL)` and `regtype` print; `None` for an OID without a type.
#[must_use]
pub fn display(scope: Scope<'_>, oid: u32) -> Option<String> {
    formatted(scope, oid, None)
}

/// `format_type(oid, typmod)`: never fails, an unknown OID prints `???`.
#[must_use]
pub fn format_type(scope: Scope<'_>, oid: u32, typmod: Option<i32>) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    formatted(scope, oid, typmod).unwrap_or_else(|| "???".to_owned())
}

fn formatted(scope: Scope<'_>, oid: u32, typmod: Option<i32>) -> Option<String> {
    let found = of_oid(scope, oid)?;
    if let AnyType::Builtin(ty) = found {
        if is_array(ty) {
            return formatted(scope, ty.element, typmod).map(|element| format!("{element}[]"));
        }
        if let Some(text) = sql_spelling(ty, typmod) {
            return Some(text);
        }
    }
    let name = if is_visible(scope, found) {
        quote_identifier(found.name())
    } else {
        quote_qualified(found.namespace(), found.name())
    };
    Some(match typmod {
        Some(typmod) if typmod >= 0 => format!("{name}({typmod})"),
        _ => name,
    })
}

/// The spelling of types that the SQL standard names; others print their `pg_type` name.
fn sql_spelling(ty: &BuiltinType, typmod: Option<i32>) -> Option<String> {
    let given = typmod.filter(|&typmod| typmod >= 0);
    let precise = |before: &str, behind: &str| match given {
        Some(precision) => format!("{before}({precision}){behind}"),
        None => format!("{before}{behind}"),
    };
    let sized = |name: &str| match given {
        Some(typmod) => format!("{name}({})", typmod - 4),
        None => name.to_owned(),
    };
    Some(match ty.oid {
        16 => "boolean".to_owned(),
        20 => "bigint".to_owned(),
        21 => "smallint".to_owned(),
        23 => "integer".to_owned(),
        700 => "real".to_owned(),
        701 => "double precision".to_owned(),
        // With a modifier of -1 said aloud these two mean the type without any length.
        1042 if typmod == Some(-1) => return None,
        1560 if typmod == Some(-1) => return None,
        1042 => sized("character"),
        1043 => sized("character varying"),
        1083 => precise("time", " without time zone"),
        1114 => precise("timestamp", " without time zone"),
        1184 => precise("timestamp", " with time zone"),
        1266 => precise("time", " with time zone"),
        1186 => match given {
            Some(typmod) if typmod & 0xffff != 0xffff => format!("interval({})", typmod & 0xffff),
            _ => "interval".to_owned(),
        },
        1560 => precise("bit", ""),
        1562 => precise("bit varying", ""),
        1700 => match given {
            Some(typmod) if typmod >= 4 => {
                let scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
                format!("numeric({},{scale})", ((typmod - 4) >> 16) & 0xffff)
            }
            _ => "numeric".to_owned(),
        },
        _ => return None,
    })
}

/// `text::regtype`: a name in any SQL spelling, or an OID in digits.
///
/// # Errors
/// 42704, 3F000 for a schema that does not exist, 42601 for what is no type name.
pub fn resolve(scope: Scope<'_>, text: &str) -> Result<u32, SqlError> {
    let trimmed = text.trim();
    if trimmed == "-" {
        return Ok(0);
    }
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        return super::relations::oid_from_digits(trimmed);
    }
    let name = TypeName::parse(text)?;
    if let Some(schema) = name.parts.len().checked_sub(2).and_then(|position| name.parts.get(position))
        && builtin::namespace_oid(schema).is_none()
    {
        return Err(SqlError::new(
            ErrorKind::InvalidSchemaName,
            format!("schema \"{schema}\" does not exist"),
        ));
    }
    name.find(scope).ok_or_else(|| {
        let shown = name.written.as_str();
        SqlError::new(ErrorKind::UndefinedObject, format!("type \"{shown}\" does not exist"))
    })
}

/// `to_regtype(text)`: NULL for a type that does not exist.
///
/// # Errors
/// 42601 for what is no type name, 0A000 for a name of three parts.
pub fn to_regtype(scope: Scope<'_>, text: &str) -> Result<Option<u32>, SqlError> {
    match resolve(scope, text) {
        Ok(oid) => Ok(Some(oid)),
        Err(error) if matches!(error.kind, ErrorKind::UndefinedObject | ErrorKind::InvalidSchemaName) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A type name taken apart.
struct TypeName {
    /// Schema and name, or the name alone; the name in `pg_type`'s spelling.
    parts: Vec<String>,
    /// How errors print it.
    written: String,
    array: bool,
    is_sql_spelling: bool,
}

impl TypeName {
    fn parse(text: &str) -> Result<Self, SqlError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(SqlError::new(ErrorKind::SyntaxError, format!("invalid type name \"{text}\"")));
        }
        let mut array = false;
        while let Some(open) = rest.strip_suffix(']').and_then(|inner| inner.rfind('[')) {
            array = true;
            rest = rest.get(..open).unwrap_or_default().trim_end();
        }
        let bare = without_modifier(rest);
        let words: Vec<String> = bare.split_whitespace().map(str::to_lowercase).collect();
        let spelling = if bare.contains('"') { None } else { sql_name(&words.join(" ")) };
        if let Some(name) = spelling {
            let parts = vec![name.to_owned()];
            return Ok(Self { parts, written: name.to_owned(), array, is_sql_spelling: true });
        }
        if let (false, Some(second)) = (bare.contains('"'), words.get(1)) {
            return Err(SqlError::new(
                ErrorKind::SyntaxError,
                format!("syntax error at or near \"{second}\""),
            )
            .with_context(format!("invalid type name \"{text}\"")));
        }
        let parts = split(&bare)
            .map_err(|_| SqlError::new(ErrorKind::SyntaxError, format!("invalid type name \"{text}\"")))?;
        let written = parts.join(".");
        if parts.len() > 2 {
            let message = format!("cross-database references are not implemented: {written}");
            return Err(SqlError::new(ErrorKind::FeatureNotSupported, message));
        }
        Ok(Self { parts, written, array, is_sql_spelling: false })
    }

    fn find(&self, scope: Scope<'_>) -> Option<u32> {
        let found = match self.parts.as_slice() {
            [name] if self.is_sql_spelling => in_namespace(scope, "pg_catalog", name),
            [name] => scope.schemas().find_map(|namespace| in_namespace(scope, namespace, name)),
            [namespace, name] => in_namespace(scope, namespace, name),
            _ => None,
        }?;
        match (self.array, found) {
            (false, found) => Some(found.oid()),
            (true, AnyType::Builtin(ty)) if is_array(ty) => Some(ty.oid),
            (true, AnyType::Builtin(ty)) => Some(ty.array).filter(|&oid| oid != 0),
            (true, AnyType::Row(_)) => None,
        }
    }
}

/// A type name without its `(modifier)`, wherever that stands.
fn without_modifier(text: &str) -> String {
    match (text.find('('), text.find(')')) {
        (Some(open), Some(close)) if open < close && !text.contains('"') => {
            let before = text.get(..open).unwrap_or_default();
            let behind = text.get(close + 1..).unwrap_or_default();
            format!("{before} {behind}").trim().to_owned()
        }
        _ => text.to_owned(),
    }
}

/// The `pg_type` name of a spelling that the grammar knows.
fn sql_name(words: &str) -> Option<&'static str> {
    Some(match words {
        "boolean" => "bool",
        "smallint" => "int2",
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "float" | "double precision" => "float8",
        "dec" | "decimal" | "numeric" => "numeric",
        "char" | "character" | "nchar" | "national char" | "national character" => "bpchar",
        "character varying" | "char varying" | "varchar" | "national character varying" => "varchar",
        "bit" => "bit",
        "bit varying" => "varbit",
        "time" | "time without time zone" => "time",
        "time with time zone" => "timetz",
        "timestamp" | "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "interval" => "interval",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
