//! Functions that read the session: users, database, schemas, settings, version, types of values.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, UInt32Type};
use proto::{ErrorKind, SqlError};

use super::overload::{Call, PgFunction};

/// What `server_version` shows.
pub const SERVER_VERSION: &str = "16.14";
/// What `version()` prints.
pub const VERSION: &str = concat!("PostgreSQL 16.14 (Elanus ", env!("CARGO_PKG_VERSION"), "), 64-bit");

fn same(call: &Call<'_>, text: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![text; call.rows()]))
}

fn current_schema(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let first = call.session()?.search_path.first().cloned();
    Ok(Arc::new(StringArray::from(vec![first; call.rows()])))
}

fn current_schemas(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let implicit = call.boolean(0)?;
    let path = &call.session()?.search_path;
    let DataType::List(item) = call.result_type() else {
        return Err(SqlError::new(ErrorKind::Internal, "arrays are not carried by lists"));
    };
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(Field::clone(item));
    for row in 0..call.rows() {
        if implicit.is_null(row) {
            builder.append_null();
            continue;
        }
        if implicit.value(row) && !path.iter().any(|schema| schema == "pg_catalog") {
            builder.values().append_value("pg_catalog");
        }
        for schema in path {
            builder.values().append_value(schema);
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

fn current_setting(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let names = call.text(0)?;
    let lenient = if call.count() > 1 { Some(call.boolean(1)?) } else { None };
    let session = call.session()?;
    let mut out: Vec<Option<String>> = Vec::with_capacity(call.rows());
    for row in 0..call.rows() {
        if names.is_null(row) || lenient.as_ref().is_some_and(|lenient| lenient.is_null(row)) {
            out.push(None);
            continue;
        }
        let name = names.value(row).to_ascii_lowercase();
        let value = session.setting_sink.changed(&name).or_else(|| session.settings.get(&name).cloned());
        if value.is_none() && !lenient.as_ref().is_some_and(|lenient| lenient.value(row)) {
            return Err(SqlError::new(
                ErrorKind::UndefinedObject,
                format!("unrecognized configuration parameter \"{}\"", names.value(row)),
            ));
        }
        out.push(value);
    }
    Ok(Arc::new(StringArray::from(out)))
}

fn set_config(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (names, values, local) = (call.text(0)?, call.text(1)?, call.boolean(2)?);
    let sink = &call.session()?.setting_sink;
    let mut out = Vec::with_capacity(call.rows());
    for row in 0..call.rows() {
        if names.is_null(row) {
            return Err(SqlError::new(ErrorKind::NullValueNotAllowed, "SET requires parameter name"));
        }
        let value = (!values.is_null(row)).then(|| values.value(row));
        out.push(sink.set(names.value(row), value, !local.is_null(row) && local.value(row))?);
    }
    Ok(Arc::new(StringArray::from(out)))
}

fn backend_pid(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    Ok(Arc::new(Int32Array::from(vec![call.session()?.backend_pid; call.rows()])))
}

fn transaction_id(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    // Grows with time like PostgreSQL's; transactions that write have their own random identity.
    Ok(Arc::new(Int64Array::from(vec![call.session()?.transaction_micros / 1000; call.rows()])))
}

fn last_commit(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let ts = call.session()?.last_commit.load(std::sync::atomic::Ordering::Relaxed);
    // No commit, no timestamp.
    let ts = i64::try_from(ts).ok().filter(|ts| *ts > 0);
    Ok(Arc::new(Int64Array::from(vec![ts; call.rows()])))
}

fn pg_typeof(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let oid = call.argument_type(0).oid().0;
    Ok(Arc::new(arrow::array::PrimitiveArray::<UInt32Type>::from_value(oid, call.rows())))
}

/// The functions on the session.
#[must_use]
pub(super) fn functions() -> Vec<PgFunction> {
    let mut functions: Vec<PgFunction> = ["current_user", "user", "current_role"]
        .into_iter()
        .map(|name| PgFunction::stable(name).on("", "name", |call| Ok(same(call, &call.session()?.user))))
        .collect();
    functions.extend(["current_database", "current_catalog"].into_iter().map(|name| {
        PgFunction::stable(name).on("", "name", |call| Ok(same(call, &call.session()?.database)))
    }));
    functions.extend([
        PgFunction::stable("session_user")
            .on("", "name", |call| Ok(same(call, &call.session()?.session_user))),
        PgFunction::stable("current_schema").on("", "name", current_schema),
        PgFunction::stable("current_schemas").on("bool", "name[]", current_schemas),
        PgFunction::stable("current_setting").on("text", "text", current_setting).on(
            "text,bool",
            "text",
            current_setting,
        ),
        PgFunction::volatile("set_config").on("text,text,bool", "text", set_config),
        PgFunction::stable("pg_backend_pid").on("", "int4", backend_pid),
        PgFunction::volatile("last_commit_ts").on("", "int8", last_commit),
        PgFunction::stable("txid_current").on("", "int8", transaction_id),
        PgFunction::immutable("version").on("", "text", |call| Ok(same(call, VERSION))),
        PgFunction::stable("pg_typeof").on("any", "regtype", pg_typeof),
        PgFunction::stable("pg_is_in_recovery")
            .on("", "bool", |call| Ok(Arc::new(BooleanArray::from(vec![false; call.rows()])))),
    ]);
    functions
}

#[cfg(test)]
mod tests;
