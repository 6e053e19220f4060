//! How errors are classified: a closed set of kinds, one trait, and the carrier for PostgreSQL-shaped errors.
//!
//! Each crate has its own `thiserror` enum with data and implements `Classify`; `sql` owns the one table from
//! kind to SQLSTATE. `SqlError` is for the rooms that speak PostgreSQL's messages word for word (exec,
//! planner, sql) and survives inside `DataFusionError::External`.

use std::fmt;

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What went wrong, in the vocabulary that has one SQLSTATE each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[$doc])* $name,)* }

        impl ErrorKind {
            /// Every kind once: the SQLSTATE table's test walks it.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

error_kinds! {
    /// 0A000
    FeatureNotSupported,
    /// 08P01
    ProtocolViolation,
    /// 08006
    ConnectionFailure,
    /// 08007: the outcome of a commit is unknown.
    TransactionResolutionUnknown,
    /// 21000
    CardinalityViolation,
    /// 22000
    DataException,
    /// 22001
    StringDataRightTruncation,
    /// 22003
    NumericValueOutOfRange,
    /// 22004
    NullValueNotAllowed,
    /// 22007
    InvalidDatetimeFormat,
    /// 22008
    DatetimeFieldOverflow,
    /// 22011
    SubstringError,
    /// 22012
    DivisionByZero,
    /// 2201E
    InvalidArgumentForLogarithm,
    /// 2201F
    InvalidArgumentForPowerFunction,
    /// 2201W
    InvalidRowCountInLimit,
    /// 2201X
    InvalidRowCountInOffset,
    /// 22021
    CharacterNotInRepertoire,
    /// 22023
    InvalidParameterValue,
    /// 22P05
    UntranslatableCharacter,
    /// 22025
    InvalidEscapeSequence,
    /// 2202E
    ArraySubscriptError,
    /// 22P02
    InvalidTextRepresentation,
    /// 22P03
    InvalidBinaryRepresentation,
    /// 22P04
    BadCopyFileFormat,
    /// 2201B
    InvalidRegularExpression,
    /// 23502
    NotNullViolation,
    /// 23503
    ForeignKeyViolation,
    /// 23505
    UniqueViolation,
    /// 23514
    CheckViolation,
    /// 24000
    InvalidCursorState,
    /// 25001
    ActiveSqlTransaction,
    /// 25006
    ReadOnlySqlTransaction,
    /// 25P01
    NoActiveSqlTransaction,
    /// 25P02
    InFailedSqlTransaction,
    /// 25P03
    IdleInTransactionSessionTimeout,
    /// 26000
    InvalidSqlStatementName,
    /// 28000
    InvalidAuthorizationSpecification,
    /// 28P01
    InvalidPassword,
    /// 2BP01
    DependentObjectsStillExist,
    /// 34000
    InvalidCursorName,
    /// 3B001
    InvalidSavepointSpecification,
    /// 3D000
    InvalidCatalogName,
    /// 3F000
    InvalidSchemaName,
    /// 40001
    SerializationFailure,
    /// 40P01
    DeadlockDetected,
    /// 42501
    InsufficientPrivilege,
    /// 42601
    SyntaxError,
    /// 42602
    InvalidName,
    /// 42611
    InvalidColumnDefinition,
    /// 42622
    NameTooLong,
    /// 42701
    DuplicateColumn,
    /// 42702
    AmbiguousColumn,
    /// 42703
    UndefinedColumn,
    /// 42704
    UndefinedObject,
    /// 42710
    DuplicateObject,
    /// 42712
    DuplicateAlias,
    /// 42723
    DuplicateFunction,
    /// 42725
    AmbiguousFunction,
    /// 42803
    GroupingError,
    /// 42804
    DatatypeMismatch,
    /// 42809
    WrongObjectType,
    /// 42830
    InvalidForeignKey,
    /// 42846
    CannotCoerce,
    /// 42883
    UndefinedFunction,
    /// 42P01
    UndefinedTable,
    /// 42P02
    UndefinedParameter,
    /// 42P03
    DuplicateCursor,
    /// 42P04
    DuplicateDatabase,
    /// 42P05
    DuplicatePreparedStatement,
    /// 42P06
    DuplicateSchema,
    /// 2200H
    SequenceGeneratorLimitExceeded,
    /// 42939
    ReservedName,
    /// 42P07
    DuplicateTable,
    /// 42P08
    AmbiguousParameter,
    /// 42P10
    InvalidColumnReference,
    /// 42P16
    InvalidTableDefinition,
    /// 42P17
    InvalidObjectDefinition,
    /// 42P18
    IndeterminateDatatype,
    /// 428C9
    GeneratedAlways,
    /// 53100
    DiskFull,
    /// 53200
    OutOfMemory,
    /// 53300
    TooManyConnections,
    /// 54000
    ProgramLimitExceeded,
    /// 54001
    StatementTooComplex,
    /// 54011
    TooManyColumns,
    /// 55000
    ObjectNotInPrerequisiteState,
    /// 55006
    ObjectInUse,
    /// 55P02
    CantChangeRuntimeParam,
    /// 55P03
    LockNotAvailable,
    /// 57014
    QueryCanceled,
    /// 57P01
    AdminShutdown,
    /// 57P05
    IdleSessionTimeout,
    /// 57P03
    CannotConnectNow,
    /// 58030
    IoError,
    /// 58P01
    UndefinedFile,
    /// 72000
    SnapshotTooOld,
    /// XX000
    Internal,
    /// XX001
    DataCorrupted,
}

/// What `sql` needs to know of any error of ours; the message is the error's `Display`.
pub trait Classify: std::error::Error {
    /// The kind, which decides the SQLSTATE.
    fn kind(&self) -> ErrorKind;
    /// PostgreSQL's DETAIL line.
    fn detail(&self) -> Option<String> {
        None
    }
    /// PostgreSQL's HINT line.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// An error shaped like PostgreSQL's: message, detail, hint, position and object names, word for word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    pub kind: ErrorKind,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// PostgreSQL's CONTEXT line (`COPY t, line 3, column v: "…"`).
    pub context: Option<String>,
    /// Character position in the statement's text, counted from 1.
    pub position: Option<u32>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

impl SqlError {
    /// An error with only a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
            position: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        }
    }

    /// 0A000 with PostgreSQL's usual ending: `<what> is not supported`.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::FeatureNotSupported, format!("{what} is not supported"))
    }

    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    #[must_use]
    pub const fn with_position(mut self, position: u32) -> Self {
        self.position = Some(position);
        self
    }

    #[must_use]
    pub fn with_table(mut self, schema: impl Into<String>, table: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self.table = Some(table.into());
        self
    }

    #[must_use]
    pub fn with_column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    #[must_use]
    pub fn with_constraint(mut self, constraint: impl Into<String>) -> Self {
        self.constraint = Some(constraint.into());
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for SqlError {}

impl Classify for SqlError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn detail(&self) -> Option<String> {
        self.detail.clone()
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}
