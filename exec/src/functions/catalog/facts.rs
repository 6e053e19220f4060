//! What tools ask about objects: visibility, owners, privileges, comments, encodings, quoting.
//!
//! What it is not: access control. One user owns everything, so every privilege is held; names and privilege
//! words are still checked as PostgreSQL checks them.

use proto::{ErrorKind, SqlError, TypeKind};

use super::builtin;
use super::names::{quote_identifier, quote_literal};
use super::relations;
use super::row::{Answer, Row, Value, evaluate, strict};
use super::types;
use crate::functions::overload::PgFunction;

/// Encoding names by PostgreSQL's number.
const ENCODINGS: [&str; 42] = [
    "SQL_ASCII",
    "EUC_JP",
    "EUC_CN",
    "EUC_KR",
    "EUC_TW",
    "EUC_JIS_2004",
    "UTF8",
    "MULE_INTERNAL",
    "LATIN1",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "LATIN10",
    "WIN1256",
    "WIN1258",
    "WIN866",
    "WIN874",
    "KOI8R",
    "WIN1251",
    "WIN1252",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "WIN1250",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1257",
    "KOI8U",
    "SJIS",
    "BIG5",
    "GBK",
    "UHC",
    "GB18030",
    "JOHAB",
    "SHIFT_JIS_2004",
];

/// The functions of this module.
pub(super) fn functions() -> Vec<PgFunction> {
    let mut functions = visibility();
    functions.extend(privileges());
    functions.extend(quoting());
    functions.extend([
        PgFunction::stable("pg_get_userbyid")
            .on("oid", "name", |call| strict(call, TypeKind::Name, user_by_id)),
        PgFunction::stable("pg_encoding_to_char")
            .on("int4", "name", |call| strict(call, TypeKind::Name, encoding_name)),
        PgFunction::stable("pg_char_to_encoding")
            .on("name", "int4", |call| strict(call, TypeKind::Int4, encoding_number)),
        PgFunction::stable("obj_description")
            .on("oid", "text", |call| strict(call, TypeKind::Text, object_comment))
            .on("oid,name", "text", |call| strict(call, TypeKind::Text, object_comment)),
        PgFunction::stable("shobj_description")
            .on("oid,name", "text", |call| strict(call, TypeKind::Text, object_comment)),
        PgFunction::stable("col_description")
            .on("oid,int4", "text", |call| strict(call, TypeKind::Text, column_comment)),
        PgFunction::stable("getdatabaseencoding")
            .on("", "name", |call| strict(call, TypeKind::Name, database_encoding)),
        PgFunction::stable("pg_relation_is_publishable")
            .on("regclass", "bool", |call| strict(call, TypeKind::Bool, is_user_table)),
        PgFunction::stable("row_security_active")
            .on("oid", "bool", |call| strict(call, TypeKind::Bool, no))
            .on("text", "bool", |call| strict(call, TypeKind::Bool, no)),
        PgFunction::stable("pg_is_in_recovery").on("", "bool", |call| strict(call, TypeKind::Bool, no)),
        PgFunction::stable("pg_my_temp_schema").on("", "oid", |call| strict(call, TypeKind::Oid, zero)),
        PgFunction::stable("pg_is_other_temp_schema")
            .on("oid", "bool", |call| strict(call, TypeKind::Bool, no)),
        PgFunction::stable("pg_tablespace_location")
            .on("oid", "text", |call| strict(call, TypeKind::Text, empty)),
    ]);
    functions
}

/// The comment on an object; the name of its catalog narrows it, when it is given.
fn object_comment(row: &Row<'_>) -> Answer {
    let oid = row.oid(0)?;
    let class = match row.given_text(1) {
        Some(name) => match row.scope.relation_in("pg_catalog", name) {
            Some(relation) => Some(relation.oid()),
            None => return Ok(None),
        },
        None => None,
    };
    let found = row.scope.catalog.comments.iter().find(|(about, _)| {
        about.object == oid && about.column == 0 && class.is_none_or(|class| class == about.class)
    });
    match found {
        Some((_, text)) => Ok(Some(Value::Text(text.to_string()))),
        None => description(row),
    }
}

fn column_comment(row: &Row<'_>) -> Answer {
    let (oid, column) = (row.oid(0)?, row.integer(1));
    let found = row.scope.catalog.comments.iter().find(|(about, _)| {
        about.object == oid && about.column != 0 && Some(i64::from(about.column)) == column
    });
    Ok(found.map(|(_, text)| Value::Text(text.to_string())))
}

fn visibility() -> Vec<PgFunction> {
    let mut functions = vec![
        PgFunction::stable("pg_table_is_visible")
            .on("oid", "bool", |call| strict(call, TypeKind::Bool, table_is_visible)),
        PgFunction::stable("pg_type_is_visible")
            .on("oid", "bool", |call| strict(call, TypeKind::Bool, type_is_visible)),
    ];
    // All rows of these catalogs stand in pg_catalog, or in public with the vector extension.
    for name in [
        "pg_function_is_visible",
        "pg_operator_is_visible",
        "pg_opclass_is_visible",
        "pg_opfamily_is_visible",
        "pg_collation_is_visible",
        "pg_conversion_is_visible",
        "pg_statistics_obj_is_visible",
        "pg_ts_config_is_visible",
        "pg_ts_dict_is_visible",
        "pg_ts_parser_is_visible",
        "pg_ts_template_is_visible",
    ] {
        functions.push(PgFunction::stable(name).on("oid", "bool", |call| strict(call, TypeKind::Bool, yes)));
    }
    functions
}

fn privileges() -> Vec<PgFunction> {
    let mut functions = Vec::new();
    for name in ["has_table_privilege", "has_any_column_privilege", "has_sequence_privilege"] {
        functions.push(
            PgFunction::stable(name)
                .on("oid,text", "bool", |call| strict(call, TypeKind::Bool, relation_privilege))
                .on("text,text", "bool", |call| strict(call, TypeKind::Bool, relation_privilege))
                .on("name,oid,text", "bool", |call| strict(call, TypeKind::Bool, relation_privilege_of))
                .on("name,text,text", "bool", |call| strict(call, TypeKind::Bool, relation_privilege_of)),
        );
    }
    functions.push(
        PgFunction::stable("acldefault")
            .on("\"char\",oid", "text", |call| strict(call, TypeKind::Text, default_privileges)),
    );
    functions.push(
        PgFunction::stable("has_column_privilege")
            .on("oid,text,text", "bool", |call| strict(call, TypeKind::Bool, relation_privilege))
            .on("oid,int2,text", "bool", |call| strict(call, TypeKind::Bool, relation_privilege))
            .on("text,text,text", "bool", |call| strict(call, TypeKind::Bool, relation_privilege))
            .on("text,int2,text", "bool", |call| strict(call, TypeKind::Bool, relation_privilege)),
    );
    for name in [
        "has_schema_privilege",
        "has_database_privilege",
        "has_function_privilege",
        "has_type_privilege",
        "has_language_privilege",
        "has_tablespace_privilege",
        "pg_has_role",
    ] {
        functions.push(
            PgFunction::stable(name)
                .on("oid,text", "bool", |call| strict(call, TypeKind::Bool, yes))
                .on("text,text", "bool", |call| strict(call, TypeKind::Bool, yes))
                .on("name,oid,text", "bool", |call| strict(call, TypeKind::Bool, yes))
                .on("name,text,text", "bool", |call| strict(call, TypeKind::Bool, yes)),
        );
    }
    functions
}

/// `acldefault(kind, owner)`: what an object without grants allows, in the text form of `aclitem[]`.
fn default_privileges(row: &Row<'_>) -> Answer {
    let owner = row.oid(1)?;
    let owner = if owner == builtin::OWNER_OID {
        row.scope.owner.to_owned()
    } else {
        let role = builtin::roles().iter().find(|role| role.oid == owner);
        role.map_or_else(|| owner.to_string(), |role| role.name.to_owned())
    };
    // What everybody may do, and what the owner may do.
    let (everybody, own) = match row.text(0) {
        "c" => return Ok(Some(Value::Text("{}".to_owned()))),
        "r" => ("", "arwdDxt"),
        "s" => ("", "rwU"),
        "d" => ("Tc", "CTc"),
        "f" => ("X", "X"),
        "l" | "T" => ("U", "U"),
        "L" => ("", "rw"),
        "n" => ("", "UC"),
        "t" => ("", "C"),
        "p" => ("", "sA"),
        "F" | "S" => ("", "U"),
        kind => {
            let message = format!("unrecognized object type abbreviation: {kind}");
            return Err(SqlError::new(ErrorKind::Internal, message));
        }
    };
    let everybody = if everybody.is_empty() { String::new() } else { format!("={everybody}/{owner},") };
    Ok(Some(Value::Text(format!("{{{everybody}{owner}={own}/{owner}}}"))))
}

fn quoting() -> Vec<PgFunction> {
    vec![
        PgFunction::immutable("quote_ident").on("text", "text", |call| {
            crate::functions::overload::text_unary(call, |text| Ok(quote_identifier(text)))
        }),
        PgFunction::immutable("quote_literal").on("text", "text", |call| {
            crate::functions::overload::text_unary(call, |text| Ok(quote_literal(text)))
        }),
        PgFunction::stable("quote_nullable")
            .on("text", "text", |call| evaluate(call, TypeKind::Text, Some(0), quote_nullable)),
    ]
}

fn quote_nullable(row: &Row<'_>) -> Answer {
    Ok(Some(Value::Text(match row.given_text(0) {
        Some(text) => quote_literal(text),
        None => "NULL".to_owned(),
    })))
}

fn yes(_row: &Row<'_>) -> Answer {
    Ok(Some(Value::Flag(true)))
}

fn no(_row: &Row<'_>) -> Answer {
    Ok(Some(Value::Flag(false)))
}

fn zero(_row: &Row<'_>) -> Answer {
    Ok(Some(Value::Integer(0)))
}

fn empty(_row: &Row<'_>) -> Answer {
    Ok(Some(Value::Text(String::new())))
}

fn table_is_visible(row: &Row<'_>) -> Answer {
    let relation = row.scope.relation_of_oid(row.oid(0)?);
    Ok(relation.map(|relation| Value::Flag(row.scope.is_visible(relation))))
}

fn type_is_visible(row: &Row<'_>) -> Answer {
    let ty = types::of_oid(row.scope, row.oid(0)?);
    Ok(ty.map(|ty| Value::Flag(types::is_visible(row.scope, ty))))
}

fn is_user_table(row: &Row<'_>) -> Answer {
    let oid = row.oid(0)?;
    Ok(row.scope.relation_of_oid(oid).map(|_| Value::Flag(row.scope.table_of_oid(oid).is_some())))
}

fn user_by_id(row: &Row<'_>) -> Answer {
    let oid = row.oid(0)?;
    let name = relations::role_name(row.scope, oid).map(str::to_owned);
    Ok(Some(Value::Text(name.unwrap_or_else(|| format!("unknown (OID={oid})")))))
}

fn database_encoding(_row: &Row<'_>) -> Answer {
    Ok(Some(Value::Text("UTF8".to_owned())))
}

/// The comment on an object of the catalog that the second argument names, if there is one.
fn description(row: &Row<'_>) -> Answer {
    let object = row.oid(0)?;
    let catalog =
        row.given_text(1).map(|name| builtin::relation("pg_catalog", name).map_or(0, |found| found.oid));
    let mut found = builtin::descriptions().iter().filter(|described| {
        described.object == object && catalog.is_none_or(|catalog| described.catalog == catalog)
    });
    Ok(found.next().map(|described| Value::Text(described.text.to_owned())))
}

fn encoding_name(row: &Row<'_>) -> Answer {
    let name = row.integer(0).and_then(|number| usize::try_from(number).ok()).and_then(|n| ENCODINGS.get(n));
    Ok(Some(Value::Text(name.copied().unwrap_or_default().to_owned())))
}

fn encoding_number(row: &Row<'_>) -> Answer {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let wanted = plain(row.text(0));
    let wanted = if wanted == "unicode" { "utf8" } else { wanted.as_str() };
    let number = ENCODINGS.iter().position(|name| plain(name) == wanted);
    Ok(Some(Value::Integer(number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1))))
}

/// `has_table_privilege(relation, privilege)` for the current user.
fn relation_privilege(row: &Row<'_>) -> Answer {
    held(row, 0)
}

/// `has_table_privilege(user, relation, privilege)`.
fn relation_privilege_of(row: &Row<'_>) -> Answer {
    let user = row.text(0);
    if user != row.scope.owner && user != "public" {
        let message = format!("role \"{user}\" does not exist");
        return Err(SqlError::new(ErrorKind::UndefinedObject, message));
    }
    held(row, 1)
}

/// Whether the relation at a position exists; NULL for an OID that names none.
fn held(row: &Row<'_>, position: usize) -> Answer {
    check_privilege_words(row.text(row.len() - 1))?;
    match row.given_text(position) {
        Some(name) => relations::relation(row.scope, name).map(|_| Some(Value::Flag(true))),
        None => Ok(row.scope.relation_of_oid(row.oid(position)?).map(|_| Value::Flag(true))),
    }
}

/// # Errors
/// 22023 for a word that is no privilege.
fn check_privilege_words(words: &str) -> Result<(), SqlError> {
    const KNOWN: [&str; 9] =
        ["select", "insert", "update", "delete", "truncate", "references", "trigger", "usage", "rule"];
    for word in words.split(',') {
        let plain = word.trim().to_lowercase();
        let plain = plain.strip_suffix(" with grant option").unwrap_or(&plain);
        if !KNOWN.contains(&plain) {
            let message = format!("unrecognized privilege type: \"{}\"", word.trim());
            return Err(SqlError::new(ErrorKind::InvalidParameterValue, message));
        }
    }
    Ok(())
}
