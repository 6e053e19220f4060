//! Decoding parameters: text and binary forms of Bind to typed scalars.
//!
//! Text goes through the one text input of `exec::text`, binary through the columns that COPY uses too.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use exec::text::{InputContext, input, parse_column};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use crate::encode::Format;
use crate::session::Parameter;
use crate::settings::SessionSettings;
use crate::wire::body::utf8;

pub mod binary;

/// What reading dates depends on in a session.
#[must_use]
pub fn input_context(settings: &SessionSettings, now_micros: i64) -> InputContext {
    InputContext { zone: settings.time_zone(), now_micros }
}

/// Decodes the parameter `$number`.
///
/// # Errors
/// The type's input error; 22P03 for bytes left over, 08P01 for too few, 22021 for text that is not UTF-8.
pub fn parameter(
    bytes: Option<&[u8]>,
    format: Format,
    ty: ColumnType,
    context: &InputContext,
    number: usize,
) -> Result<Parameter, SqlError> {
    let Some(bytes) = bytes else {
        return Ok(Parameter { value: null(ty)?, ty });
    };
    let value = match (format, ty.kind) {
        (Format::Text, TypeKind::Text | TypeKind::Varchar | TypeKind::Unknown) if !ty.array => {
            ScalarValue::Utf8(Some(text(bytes)?.to_owned()))
        }
        (Format::Text, _) => {
            let texts = StringArray::from(vec![text(bytes)?]);
            scalar(&parse_column(&texts, ty, context)?)?
        }
        (Format::Binary, _) => {
            let mut column = binary::column(ty, 1, *context)?;
            column.append(bytes).map_err(|error| named(error, number))?;
            scalar(&column.finish()?)?
        }
    };
    Ok(Parameter { value, ty })
}

/// The value of EXECUTE's argument as the parameter's type.
///
/// # Errors
/// The input error of a literal, 42804 for a value of a type that does not fit.
pub fn fit(parameter: Parameter, ty: ColumnType, context: &InputContext) -> Result<Parameter, SqlError> {
    let Parameter { value, ty: given } = parameter;
    if given.without_typmod() == ty.without_typmod() {
        return Ok(Parameter { value, ty });
    }
    if value.is_null() {
        return Ok(Parameter { value: null(ty)?, ty });
    }
    if given.is_textual()
        && let Some(text) = value.try_as_str().flatten()
    {
        let texts = StringArray::from(vec![text]);
        return Ok(Parameter { value: scalar(&parse_column(&texts, ty, context)?)?, ty });
    }
    // A numeric that brings its own scale is read from digits.
    if ty.kind == TypeKind::Numeric
        && !ty.array
        && !given.is_textual()
        && let Ok(digits) = value.cast_to(&DataType::Utf8)
        && let Some(text) = digits.try_as_str().flatten()
    {
        let texts = StringArray::from(vec![text]);
        return Ok(Parameter { value: scalar(&parse_column(&texts, ty, context)?)?, ty });
    }
    let value = value.cast_to(&ty.data_type()).map_err(|_| {
        SqlError::new(
            ErrorKind::DatatypeMismatch,
            format!(
                "parameter of type {} cannot be coerced to the expected type {}",
                given.display(),
                ty.display()
            ),
        )
        .with_hint("You will need to rewrite or cast the expression.")
    })?;
    Ok(Parameter { value, ty })
}

/// Reads a column of texts for a table's column: what does not fit `varchar(n)` is an error, not cut.
///
/// # Errors
/// The type's input error.
pub fn column_of_texts(
    texts: &StringArray,
    ty: ColumnType,
    context: &InputContext,
) -> Result<ArrayRef, SqlError> {
    match ty.kind {
        TypeKind::Varchar | TypeKind::Bpchar if !ty.array => Ok(Arc::new(input::fit_text(texts, ty, false)?)),
        _ => parse_column(texts, ty, context),
    }
}

/// The text of bytes from a client.
///
/// # Errors
/// 22021 for bytes that are not UTF-8, and for NUL, which no text can hold.
pub fn text(bytes: &[u8]) -> Result<&str, SqlError> {
    let text = utf8(bytes)?;
    if bytes.contains(&0) {
        return Err(SqlError::new(
            ErrorKind::CharacterNotInRepertoire,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    Ok(text)
}

fn null(ty: ColumnType) -> Result<ScalarValue, SqlError> {
    ScalarValue::try_from(&ty.data_type()).map_err(internal)
}

fn scalar(array: &ArrayRef) -> Result<ScalarValue, SqlError> {
    ScalarValue::try_from_array(array, 0).map_err(internal)
}

#[expect(clippy::needless_pass_by_value, reason = "shape of map_err")]
fn internal(error: datafusion::error::DataFusionError) -> SqlError {
    SqlError::new(ErrorKind::Internal, error.to_string())
}

/// Adds the parameter's number to the message that has a place for it.
fn named(error: SqlError, number: usize) -> SqlError {
    if error.message == binary::LEFT_OVER {
        return SqlError { message: format!("{} in bind parameter {number}", binary::LEFT_OVER), ..error };
    }
    error
}

#[cfg(test)]
mod tests;
