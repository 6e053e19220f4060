//! The planner's errors: PostgreSQL's messages word for word, and the mapping of DataFusion's own.
//!
//! The planner speaks `SqlError` throughout, because each of its errors is one that PostgreSQL has; this file holds
//! the messages that several places share.

use datafusion::error::DataFusionError;
use proto::{Classify, ColumnType, ErrorKind, SqlError};
use sqlparser::tokenizer::Span;

/// A planning error, for callers that want an error type of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(#[from] pub SqlError);

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    fn detail(&self) -> Option<String> {
        self.0.detail.clone()
    }

    fn hint(&self) -> Option<String> {
        self.0.hint.clone()
    }
}

/// Result of everything in this crate.
pub(crate) type Result<T> = std::result::Result<T, SqlError>;

/// An error of DataFusion's plan building, as PostgreSQL would report it.
pub(crate) fn from_datafusion(error: DataFusionError) -> SqlError {
    exec::error::to_sql_error(error)
}

/// Adds the position of a span that the token pass wrote.
pub(crate) trait At {
    /// The error at the start of `span`, unless it has a position already.
    fn at(self, span: Span) -> Self;
}

impl At for SqlError {
    fn at(mut self, span: Span) -> Self {
        if self.position.is_none() && span.start.line > 0 {
            self.position = u32::try_from(span.start.column).ok();
        }
        self
    }
}

impl<T> At for Result<T> {
    fn at(self, span: Span) -> Self {
        self.map_err(|error| error.at(span))
    }
}

pub(crate) fn unsupported(what: impl std::fmt::Display) -> SqlError {
    SqlError::unsupported(what)
}

pub(crate) fn syntax(message: impl Into<String>) -> SqlError {
    SqlError::new(ErrorKind::SyntaxError, message)
}

pub(crate) fn internal(message: impl Into<String>) -> SqlError {
    SqlError::new(ErrorKind::Internal, message)
}

pub(crate) fn undefined_relation(name: &str) -> SqlError {
    SqlError::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

pub(crate) fn undefined_column(name: &str) -> SqlError {
    SqlError::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"))
}

pub(crate) fn undefined_column_of(relation: &str, name: &str) -> SqlError {
    SqlError::new(ErrorKind::UndefinedColumn, format!("column {relation}.{name} does not exist"))
}

pub(crate) fn undefined_table_column(table: &str, name: &str) -> SqlError {
    SqlError::new(
        ErrorKind::UndefinedColumn,
        format!("column \"{name}\" of relation \"{table}\" does not exist"),
    )
}

pub(crate) fn ambiguous_column(name: &str) -> SqlError {
    SqlError::new(ErrorKind::AmbiguousColumn, format!("column reference \"{name}\" is ambiguous"))
}

pub(crate) fn missing_from_entry(name: &str) -> SqlError {
    SqlError::new(ErrorKind::UndefinedTable, format!("missing FROM-clause entry for table \"{name}\""))
}

pub(crate) fn undefined_type(name: &str) -> SqlError {
    SqlError::new(ErrorKind::UndefinedObject, format!("type \"{name}\" does not exist"))
}

/// 42883 for an operator; a missing left type is a prefix operator.
pub(crate) fn undefined_operator(operator: &str, left: Option<ColumnType>, right: ColumnType) -> SqlError {
    let right = right.without_typmod().display();
    let shown = match left {
        Some(left) => format!("{} {operator} {right}", left.without_typmod().display()),
        None => format!("{operator} {right}"),
    };
    let hint = if left.is_some() {
        "No operator matches the given name and argument types. You might need to add explicit type casts."
    } else {
        "No operator matches the given name and argument type. You might need to add an explicit type cast."
    };
    SqlError::new(ErrorKind::UndefinedFunction, format!("operator does not exist: {shown}")).with_hint(hint)
}

/// 42883 for a function.
pub(crate) fn undefined_function(name: &str, arguments: &[ColumnType]) -> SqlError {
    SqlError::new(
        ErrorKind::UndefinedFunction,
        format!("function {name}({}) does not exist", type_list(arguments)),
    )
    .with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

fn type_list(types: &[ColumnType]) -> String {
    types.iter().map(|ty| ty.without_typmod().display()).collect::<Vec<_>>().join(", ")
}

pub(crate) fn datatype_mismatch(message: impl Into<String>) -> SqlError {
    SqlError::new(ErrorKind::DatatypeMismatch, message)
}

pub(crate) fn cannot_cast(from: ColumnType, to: ColumnType) -> SqlError {
    SqlError::new(
        ErrorKind::CannotCoerce,
        format!("cannot cast type {} to {}", from.without_typmod().display(), to.without_typmod().display()),
    )
}

pub(crate) fn grouping(message: impl Into<String>) -> SqlError {
    SqlError::new(ErrorKind::GroupingError, message)
}
