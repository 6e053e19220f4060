//! The one table from error kind to SQLSTATE, and the fields of ErrorResponse.
//!
//! Invariants: the match is exhaustive, so a new kind does not compile until it has its code; every error of
//! another crate reaches the client through `Classify` and nothing else.

use proto::{Classify, ErrorKind, SqlError};

macro_rules! sqlstates {
    ($($kind:ident $code:literal)*) => {
        /// The SQLSTATE of a kind.
        #[must_use]
        pub const fn sqlstate(kind: ErrorKind) -> &'static str {
            match kind { $(ErrorKind::$kind => $code,)* }
        }
    };
}

sqlstates! {
    FeatureNotSupported "0A000"
    ProtocolViolation "08P01"
    ConnectionFailure "08006"
    TransactionResolutionUnknown "08007"
    CardinalityViolation "21000"
    DataException "22000"
    StringDataRightTruncation "22001"
    NumericValueOutOfRange "22003"
    NullValueNotAllowed "22004"
    InvalidDatetimeFormat "22007"
    DatetimeFieldOverflow "22008"
    SubstringError "22011"
    DivisionByZero "22012"
    InvalidArgumentForLogarithm "2201E"
    InvalidArgumentForPowerFunction "2201F"
    InvalidRowCountInLimit "2201W"
    InvalidRowCountInOffset "2201X"
    CharacterNotInRepertoire "22021"
    InvalidParameterValue "22023"
    UntranslatableCharacter "22P05"
    InvalidEscapeSequence "22025"
    ArraySubscriptError "2202E"
    InvalidTextRepresentation "22P02"
    InvalidBinaryRepresentation "22P03"
    BadCopyFileFormat "22P04"
    InvalidRegularExpression "2201B"
    NotNullViolation "23502"
    ForeignKeyViolation "23503"
    UniqueViolation "23505"
    CheckViolation "23514"
    InvalidCursorState "24000"
    ActiveSqlTransaction "25001"
    ReadOnlySqlTransaction "25006"
    NoActiveSqlTransaction "25P01"
    InFailedSqlTransaction "25P02"
    IdleInTransactionSessionTimeout "25P03"
    InvalidSqlStatementName "26000"
    InvalidAuthorizationSpecification "28000"
    InvalidPassword "28P01"
    DependentObjectsStillExist "2BP01"
    InvalidCursorName "34000"
    InvalidSavepointSpecification "3B001"
    InvalidCatalogName "3D000"
    InvalidSchemaName "3F000"
    SerializationFailure "40001"
    DeadlockDetected "40P01"
    InsufficientPrivilege "42501"
    SyntaxError "42601"
    InvalidName "42602"
    InvalidColumnDefinition "42611"
    NameTooLong "42622"
    DuplicateColumn "42701"
    AmbiguousColumn "42702"
    UndefinedColumn "42703"
    UndefinedObject "42704"
    DuplicateObject "42710"
    DuplicateAlias "42712"
    DuplicateFunction "42723"
    AmbiguousFunction "42725"
    GroupingError "42803"
    DatatypeMismatch "42804"
    WrongObjectType "42809"
    InvalidForeignKey "42830"
    CannotCoerce "42846"
    UndefinedFunction "42883"
    UndefinedTable "42P01"
    UndefinedParameter "42P02"
    DuplicateCursor "42P03"
    DuplicateDatabase "42P04"
    DuplicatePreparedStatement "42P05"
    DuplicateSchema "42P06"
    ReservedName "42939"
    SequenceGeneratorLimitExceeded "2200H"
    DuplicateTable "42P07"
    AmbiguousParameter "42P08"
    InvalidColumnReference "42P10"
    InvalidTableDefinition "42P16"
    InvalidObjectDefinition "42P17"
    IndeterminateDatatype "42P18"
    GeneratedAlways "428C9"
    DiskFull "53100"
    OutOfMemory "53200"
    TooManyConnections "53300"
    ProgramLimitExceeded "54000"
    StatementTooComplex "54001"
    TooManyColumns "54011"
    ObjectNotInPrerequisiteState "55000"
    ObjectInUse "55006"
    CantChangeRuntimeParam "55P02"
    LockNotAvailable "55P03"
    QueryCanceled "57014"
    AdminShutdown "57P01"
    CannotConnectNow "57P03"
    IdleSessionTimeout "57P05"
    IoError "58030"
    UndefinedFile "58P01"
    SnapshotTooOld "72000"
    Internal "XX000"
    DataCorrupted "XX001"
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
