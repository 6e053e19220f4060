//! The one table from error kind to SQLSTATE, and the fields of ErrorResponse.
//!
//! Invariants: the match is exhaustive, so a new kind does not compile until it has its code; every error of
//! another crate reaches the client through `Classify` and nothing else.

use proto::{Classify, ErrorKind, SqlError};

/// The SQLSTATE of a kind.
#[must_use]
pub const fn sqlstate(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::FeatureNotSupported => "0A000",
        ErrorKind::ProtocolViolation => "08P01",
        ErrorKind::ConnectionFailure => "08006",
        ErrorKind::TransactionResolutionUnknown => "08007",
        ErrorKind::CardinalityViolation => "21000",
        ErrorKind::DataException => "22000",
        ErrorKind::StringDataRightTruncation => "22001",
        ErrorKind::NumericValueOutOfRange => "22003",
        ErrorKind::NullValueNotAllowed => "22004",
        ErrorKind::InvalidDatetimeFormat => "22007",
        ErrorKind::DatetimeFieldOverflow => "22008",
        ErrorKind::SubstringError => "22011",
        ErrorKind::DivisionByZero => "22012",
        ErrorKind::InvalidArgumentForLogarithm => "2201E",
        ErrorKind::InvalidArgumentForPowerFunction => "2201F",
        ErrorKind::InvalidRowCountInLimit => "2201W",
        ErrorKind::InvalidRowCountInOffset => "2201X",
        ErrorKind::CharacterNotInRepertoire => "22021",
        ErrorKind::InvalidParameterValue => "22023",
        ErrorKind::InvalidEscapeSequence => "22025",
        ErrorKind::ArraySubscriptError => "2202E",
        ErrorKind::InvalidTextRepresentation => "22P02",
        ErrorKind::InvalidBinaryRepresentation => "22P03",
        ErrorKind::BadCopyFileFormat => "22P04",
        ErrorKind::InvalidRegularExpression => "2201B",
        ErrorKind::NotNullViolation => "23502",
        ErrorKind::ForeignKeyViolation => "23503",
        ErrorKind::UniqueViolation => "23505",
        ErrorKind::CheckViolation => "23514",
        ErrorKind::InvalidCursorState => "24000",
        ErrorKind::ActiveSqlTransaction => "25001",
        ErrorKind::ReadOnlySqlTransaction => "25006",
        ErrorKind::NoActiveSqlTransaction => "25P01",
        ErrorKind::InFailedSqlTransaction => "25P02",
        ErrorKind::InvalidSqlStatementName => "26000",
        ErrorKind::InvalidAuthorizationSpecification => "28000",
        ErrorKind::InvalidPassword => "28P01",
        ErrorKind::DependentObjectsStillExist => "2BP01",
        ErrorKind::InvalidCursorName => "34000",
        ErrorKind::InvalidSavepointSpecification => "3B001",
        ErrorKind::InvalidCatalogName => "3D000",
        ErrorKind::InvalidSchemaName => "3F000",
        ErrorKind::SerializationFailure => "40001",
        ErrorKind::DeadlockDetected => "40P01",
        ErrorKind::InsufficientPrivilege => "42501",
        ErrorKind::SyntaxError => "42601",
        ErrorKind::InvalidName => "42602",
        ErrorKind::InvalidColumnDefinition => "42611",
        ErrorKind::NameTooLong => "42622",
        ErrorKind::DuplicateColumn => "42701",
        ErrorKind::AmbiguousColumn => "42702",
        ErrorKind::UndefinedColumn => "42703",
        ErrorKind::UndefinedObject => "42704",
        ErrorKind::DuplicateObject => "42710",
        ErrorKind::DuplicateAlias => "42712",
        ErrorKind::DuplicateFunction => "42723",
        ErrorKind::AmbiguousFunction => "42725",
        ErrorKind::GroupingError => "42803",
        ErrorKind::DatatypeMismatch => "42804",
        ErrorKind::WrongObjectType => "42809",
        ErrorKind::InvalidForeignKey => "42830",
        ErrorKind::CannotCoerce => "42846",
        ErrorKind::UndefinedFunction => "42883",
        ErrorKind::UndefinedTable => "42P01",
        ErrorKind::UndefinedParameter => "42P02",
        ErrorKind::DuplicateCursor => "42P03",
        ErrorKind::DuplicateDatabase => "42P04",
        ErrorKind::DuplicatePreparedStatement => "42P05",
        ErrorKind::DuplicateSchema => "42P06",
        ErrorKind::DuplicateTable => "42P07",
        ErrorKind::AmbiguousParameter => "42P08",
        ErrorKind::InvalidColumnReference => "42P10",
        ErrorKind::InvalidTableDefinition => "42P16",
        ErrorKind::InvalidObjectDefinition => "42P17",
        ErrorKind::IndeterminateDatatype => "42P18",
        ErrorKind::GeneratedAlways => "428C9",
        ErrorKind::DiskFull => "53100",
        ErrorKind::OutOfMemory => "53200",
        ErrorKind::TooManyConnections => "53300",
        ErrorKind::ProgramLimitExceeded => "54000",
        ErrorKind::StatementTooComplex => "54001",
        ErrorKind::TooManyColumns => "54011",
        ErrorKind::ObjectNotInPrerequisiteState => "55000",
        ErrorKind::ObjectInUse => "55006",
        ErrorKind::CantChangeRuntimeParam => "55P02",
        ErrorKind::LockNotAvailable => "55P03",
        ErrorKind::QueryCanceled => "57014",
        ErrorKind::AdminShutdown => "57P01",
        ErrorKind::CannotConnectNow => "57P03",
        ErrorKind::IoError => "58030",
        ErrorKind::SnapshotTooOld => "72000",
        ErrorKind::Internal => "XX000",
        ErrorKind::DataCorrupted => "XX001",
    }
}

/// How bad an error is for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorSeverity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
}

impl ErrorSeverity {
    /// The word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// Any error of ours in PostgreSQL's shape.
#[must_use]
pub fn classified(error: &dyn Classify) -> SqlError {
    let mut sql = SqlError::new(error.kind(), error.to_string());
    sql.detail = error.detail();
    sql.hint = error.hint();
    sql
}

/// The fields of ErrorResponse, in PostgreSQL's order.
#[must_use]
pub fn error_fields(severity: ErrorSeverity, error: &SqlError) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.name().to_owned()),
        (b'V', severity.name().to_owned()),
        (b'C', sqlstate(error.kind).to_owned()),
        (b'M', error.message.clone()),
    ];
    let optional = [
        (b'D', error.detail.clone()),
        (b'H', error.hint.clone()),
        (b'P', error.position.map(|position| position.to_string())),
        (b'W', error.context.clone()),
        (b's', error.schema.clone()),
        (b't', error.table.clone()),
        (b'c', error.column.clone()),
        (b'n', error.constraint.clone()),
    ];
    fields.extend(optional.into_iter().filter_map(|(tag, value)| Some((tag, value?))));
    fields
}

#[cfg(test)]
mod tests;
