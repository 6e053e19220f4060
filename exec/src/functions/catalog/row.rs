//! Row-by-row evaluation: most functions over the catalogs are a look-up per row, not a computation.
//!
//! Invariant: a body never sees a NULL that it did not declare.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, StringArray, UInt32Array,
};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type, UInt32Type};
use proto::{ColumnType, SqlError, TypeKind};

use super::relations::resolve_reg_oid;
use super::scope::Scope;
use crate::functions::overload::{Call, cast_to};

/// An argument or a result.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
    Flag(bool),
}

/// What a body answers; `None` is NULL.
pub(super) type Answer = Result<Option<Value>, SqlError>;

/// The arguments of one row.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) scope: Scope<'a>,
    arguments: Vec<Option<Value>>,
}

impl Row<'_> {
    /// An argument that is text; the empty text where none stands.
    pub(super) fn text(&self, position: usize) -> &str {
        match self.arguments.get(position) {
            Some(Some(Value::Text(text))) => text,
            _ => "",
        }
    }

    /// An argument that is text, when it is there and not NULL.
    pub(super) fn given_text(&self, position: usize) -> Option<&str> {
        match self.arguments.get(position) {
            Some(Some(Value::Text(text))) => Some(text),
            _ => None,
        }
    }

    /// How many arguments were given.
    pub(super) fn len(&self) -> usize {
        self.arguments.len()
    }

    /// An argument that is a number, when it is there and not NULL.
    pub(super) fn integer(&self, position: usize) -> Option<i64> {
        match self.arguments.get(position) {
            Some(Some(Value::Integer(number))) => Some(*number),
            _ => None,
        }
    }

    /// An argument that is a flag and set.
    pub(super) fn is_set(&self, position: usize) -> bool {
        matches!(self.arguments.get(position), Some(Some(Value::Flag(true))))
    }

    /// An argument that is an OID, or names a relation.
    ///
    /// # Errors
    /// 42P01 when a relation is named that does not exist.
    pub(super) fn oid(&self, position: usize) -> Result<u32, SqlError> {
        match self.arguments.get(position) {
            Some(Some(Value::Integer(number))) => Ok(u32::try_from(*number).unwrap_or_default()),
            Some(Some(Value::Text(name))) => resolve_reg_oid(TypeKind::Regclass, name, self.scope),
            _ => Ok(0),
        }
    }
}

/// Evaluates a body for every row; a NULL argument gives NULL.
pub(super) fn strict(
    call: &Call<'_>,
    result: TypeKind,
    body: fn(&Row<'_>) -> Answer,
) -> Result<ArrayRef, SqlError> {
    evaluate(call, result, None, body)
}

/// Evaluates a body for every row; only the argument at `nullable` may be NULL.
pub(super) fn evaluate(
    call: &Call<'_>,
    result: TypeKind,
    nullable: Option<usize>,
    body: fn(&Row<'_>) -> Answer,
) -> Result<ArrayRef, SqlError> {
    let scope = Scope::from(call.session()?);
    let columns: Vec<ArrayRef> =
        (0..call.count()).map(|position| readable(&call.array(position)?)).collect::<Result<_, _>>()?;
    let mut answers = Vec::with_capacity(call.rows());
    for row in 0..call.rows() {
        let arguments: Vec<_> = columns.iter().map(|column| value_at(column, row)).collect();
        let missing =
            |(position, value): (usize, &Option<Value>)| value.is_none() && nullable != Some(position);
        if arguments.iter().enumerate().any(missing) {
            answers.push(None);
        } else {
            answers.push(body(&Row { scope, arguments })?);
        }
    }
    Ok(to_array(result, answers))
}

/// The array in one of the carriers that `value_at` reads.
fn readable(array: &ArrayRef) -> Result<ArrayRef, SqlError> {
    match array.data_type() {
        DataType::UInt32 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Ok(Arc::clone(array)),
        DataType::Boolean | DataType::Utf8 | DataType::Null => Ok(Arc::clone(array)),
        _ => cast_to(array, &DataType::Utf8),
    }
}

/// A cell as a body takes it.
fn value_at(column: &ArrayRef, row: usize) -> Option<Value> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::UInt32 => Some(Value::Integer(column.as_primitive::<UInt32Type>().value(row).into())),
        DataType::Int16 => Some(Value::Integer(column.as_primitive::<Int16Type>().value(row).into())),
        DataType::Int32 => Some(Value::Integer(column.as_primitive::<Int32Type>().value(row).into())),
        DataType::Int64 => Some(Value::Integer(column.as_primitive::<Int64Type>().value(row))),
        DataType::Boolean => Some(Value::Flag(column.as_boolean().value(row))),
        DataType::Utf8 => Some(Value::Text(column.as_string::<i32>().value(row).to_owned())),
        _ => None,
    }
}

/// The answers as the array of the declared result type.
fn to_array(result: TypeKind, answers: Vec<Option<Value>>) -> ArrayRef {
    let integer = |answer: Option<Value>| match answer {
        Some(Value::Integer(number)) => Some(number),
        _ => None,
    };
    let answers = answers.into_iter();
    match ColumnType::scalar(result).data_type() {
        DataType::Boolean => Arc::new(
            answers
                .map(|answer| match answer {
                    Some(Value::Flag(flag)) => Some(flag),
                    _ => None,
                })
                .collect::<BooleanArray>(),
        ),
        DataType::Int64 => Arc::new(answers.map(integer).collect::<Int64Array>()),
        DataType::Int32 => {
            let narrow = |answer| integer(answer).and_then(|number| i32::try_from(number).ok());
            Arc::new(answers.map(narrow).collect::<Int32Array>())
        }
        DataType::UInt32 => {
            let narrow = |answer| integer(answer).and_then(|number| u32::try_from(number).ok());
            Arc::new(answers.map(narrow).collect::<UInt32Array>())
        }
        _ => Arc::new(
            answers
                .map(|answer| match answer {
                    Some(Value::Text(text)) => Some(text),
                    _ => None,
                })
                .collect::<StringArray>(),
        ),
    }
}
