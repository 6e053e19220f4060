//! Errors at the border of DataFusion: ours go in as `External`, everything comes out as a `SqlError`.
//!
//! Invariant: a `SqlError` raised anywhere inside a plan leaves it word for word.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use proto::{Classify, ErrorKind, SqlError};

/// What this crate itself can fail with outside a running plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine could not be put together.
    #[error("query engine setup failed: {0}")]
    Setup(String),
    /// An error shaped like PostgreSQL's.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Setup(_) => ErrorKind::Internal,
            Self::Sql(error) => error.kind,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Setup(_) => None,
            Self::Sql(error) => error.detail.clone(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setup(_) => None,
            Self::Sql(error) => error.hint.clone(),
        }
    }
}

/// Wraps a PostgreSQL-shaped error for its way through DataFusion.
#[must_use]
pub fn raise(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Wraps any classified error (of `segments`) for its way through DataFusion, keeping kind and texts.
#[must_use]
pub fn raise_classified(error: &dyn Classify) -> DataFusionError {
    let mut sql = SqlError::new(error.kind(), error.to_string());
    sql.detail = error.detail();
    sql.hint = error.hint();
    raise(sql)
}

/// A failed invariant of ours (XX000).
#[must_use]
pub fn internal(message: impl Into<String>) -> DataFusionError {
    raise(SqlError::new(ErrorKind::Internal, message))
}

/// The PostgreSQL shape of any error that a plan can end with.
#[must_use]
pub fn to_sql_error(error: DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(inner) => from_external(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => to_sql_error(*inner),
        DataFusionError::Shared(inner) => from_reference(&inner),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => to_sql_error(first),
            None => SqlError::new(ErrorKind::Internal, "empty error collection"),
        },
        DataFusionError::ArrowError(inner, _) => from_arrow(*inner),
        DataFusionError::ResourcesExhausted(detail) => out_of_memory(detail),
        DataFusionError::SchemaError(inner, _) => from_schema(&inner),
        DataFusionError::NotImplemented(message) => SqlError::new(ErrorKind::FeatureNotSupported, message),
        DataFusionError::Plan(message) => from_plan(message),
        DataFusionError::Execution(message) => from_execution(message),
        DataFusionError::SQL(inner, _) => SqlError::new(ErrorKind::SyntaxError, inner.to_string()),
        DataFusionError::IoError(inner) => SqlError::new(ErrorKind::IoError, inner.to_string()),
        other => SqlError::new(ErrorKind::Internal, other.strip_backtrace()),
    }
}

/// 53200 as PostgreSQL words it.
#[must_use]
pub fn out_of_memory(detail: impl Into<String>) -> SqlError {
    SqlError::new(ErrorKind::OutOfMemory, "out of memory").with_detail(detail)
}

/// 57014 as PostgreSQL words it.
#[must_use]
pub fn canceled() -> SqlError {
    SqlError::new(ErrorKind::QueryCanceled, "canceling statement due to user request")
}

fn from_external(error: Box<dyn std::error::Error + Send + Sync>) -> SqlError {
    let error = match error.downcast::<SqlError>() {
        Ok(sql) => return *sql,
        Err(other) => other,
    };
    let error = match error.downcast::<DataFusionError>() {
        Ok(inner) => return to_sql_error(*inner),
        Err(other) => other,
    };
    match error.downcast::<ArrowError>() {
        Ok(inner) => from_arrow(*inner),
        Err(other) => {
            chained(other.as_ref()).unwrap_or_else(|| SqlError::new(ErrorKind::Internal, other.to_string()))
        }
    }
}

/// The same for an error that is shared and can only be looked at.
fn from_reference(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(inner) => {
            chained(inner.as_ref()).unwrap_or_else(|| SqlError::new(ErrorKind::Internal, inner.to_string()))
        }
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_reference(inner),
        DataFusionError::Shared(inner) => from_reference(inner),
        DataFusionError::Collection(errors) => errors
            .first()
            .map_or_else(|| SqlError::new(ErrorKind::Internal, "empty error collection"), from_reference),
        DataFusionError::ArrowError(inner, _) => arrow_reference(inner),
        DataFusionError::ResourcesExhausted(detail) => out_of_memory(detail.clone()),
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        DataFusionError::NotImplemented(message) => {
            SqlError::new(ErrorKind::FeatureNotSupported, message.clone())
        }
        DataFusionError::Plan(message) => from_plan(message.clone()),
        DataFusionError::Execution(message) => from_execution(message.clone()),
        other => SqlError::new(ErrorKind::Internal, other.strip_backtrace()),
    }
}

/// The first `SqlError` on an error's source chain.
fn chained(error: &(dyn std::error::Error + 'static)) -> Option<SqlError> {
    let mut current = Some(error);
    while let Some(at) = current {
        if let Some(sql) = at.downcast_ref::<SqlError>() {
            return Some(sql.clone());
        }
        if let Some(inner) = at.downcast_ref::<DataFusionError>() {
            return Some(from_reference(inner));
        }
        current = at.source();
    }
    None
}

fn from_arrow(error: ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => from_external(inner),
        other => arrow_reference(&other),
    }
}

fn arrow_reference(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => {
            chained(inner.as_ref()).unwrap_or_else(|| SqlError::new(ErrorKind::Internal, inner.to_string()))
        }
        ArrowError::DivideByZero => SqlError::new(ErrorKind::DivisionByZero, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => {
            SqlError::new(ErrorKind::NumericValueOutOfRange, "integer out of range")
        }
        ArrowError::MemoryError(detail) => out_of_memory(detail.clone()),
        ArrowError::OffsetOverflowError(_) => {
            SqlError::new(ErrorKind::ProgramLimitExceeded, "array size exceeds the maximum allowed")
        }
        ArrowError::NotYetImplemented(message) => {
            SqlError::new(ErrorKind::FeatureNotSupported, message.clone())
        }
        ArrowError::CastError(message) if message.contains("overflow") || message.contains("Can't cast") => {
            SqlError::new(ErrorKind::NumericValueOutOfRange, "integer out of range")
        }
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            SqlError::new(ErrorKind::InvalidTextRepresentation, message.clone())
        }
        other => SqlError::new(ErrorKind::Internal, other.to_string()),
    }
}

fn from_schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, .. } => {
            SqlError::new(ErrorKind::UndefinedColumn, format!("column {} does not exist", spelled(field)))
        }
        SchemaError::AmbiguousReference { field } => SqlError::new(
            ErrorKind::AmbiguousColumn,
            format!("column reference \"{}\" is ambiguous", field.name),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            SqlError::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
        }
    }
}

/// PostgreSQL quotes a bare column and prints a qualified one as it stands.
fn spelled(column: &datafusion::common::Column) -> String {
    match &column.relation {
        Some(relation) => format!("{}.{}", relation.table(), column.name),
        None => format!("\"{}\"", column.name),
    }
}

/// DataFusion's plan errors have no code: the few that a user can provoke are told apart by their text.
fn from_plan(message: String) -> SqlError {
    let kind = if message.contains("must appear in the GROUP BY clause")
        || message.contains("must be in GROUP BY")
        || message.contains("could not be resolved from available columns")
    {
        ErrorKind::GroupingError
    } else if message.contains("Invalid function") {
        ErrorKind::UndefinedFunction
    } else if message.contains("Cannot coerce") || message.contains("cannot be coerced") {
        ErrorKind::DatatypeMismatch
    } else if message.contains("not supported") || message.contains("unsupported") {
        ErrorKind::FeatureNotSupported
    } else {
        ErrorKind::Internal
    };
    SqlError::new(kind, message)
}

fn from_execution(message: String) -> SqlError {
    if message.contains("returned more than one row") {
        return SqlError::new(
            ErrorKind::CardinalityViolation,
            "more than one row returned by a subquery used as an expression",
        );
    }
    if message.contains("step can't be 0") {
        return SqlError::new(ErrorKind::InvalidParameterValue, "step size cannot equal zero");
    }
    SqlError::new(ErrorKind::Internal, message)
}

#[cfg(test)]
mod tests;
