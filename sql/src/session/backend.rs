//! The boundary between the session loop and the executor: what the loop asks for, and what it gets back.
//!
//! The loop owns the protocol: messages, prepared statements by name, portals, row limits, COPY decoding,
//! skipping to Sync after an error. The executor owns meaning: parsing, planning, transactions, settings.
//! One executor serves one session and is called by one task at a time.
//!
//! Invariants: the executor never sees a socket, the loop never sees a plan. After any `Err` the loop calls
//! `statement_failed` exactly once before it asks for anything else.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use futures::stream::BoxStream;
use proto::{ColumnType, SqlError};

use crate::copy::CopyOptions;
use crate::copy::progress::CopyProgress;
use crate::session::cancel::CancelFlag;
use crate::settings::SessionSettings;

/// One column of a result, as RowDescription announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    pub name: String,
    pub ty: ColumnType,
    /// OID of the table a plain column comes from; 0 otherwise.
    pub table_oid: u32,
    /// The column's attnum in that table; 0 otherwise.
    pub attnum: i16,
}

impl ResultColumn {
    /// A computed column, which belongs to no table.
    #[must_use]
    pub fn computed(name: impl Into<String>, ty: ColumnType) -> Self {
        Self { name: name.into(), ty, table_oid: 0, attnum: 0 }
    }
}

/// What Describe tells about a prepared statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The type of every parameter, `$1` first; client-given types win over inferred ones.
    pub parameters: Vec<ColumnType>,
    /// The result columns; `None` when the statement returns no rows.
    pub columns: Option<Vec<ResultColumn>>,
}

/// A bound parameter, decoded to its declared type. NULL is the typed null of the scalar.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub value: ScalarValue,
    pub ty: ColumnType,
}

/// How the command tag of a statement with rows is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsTag {
    Select,
    Insert,
    Update,
    Delete,
    Fetch,
    Show,
    Explain,
    Call,
}

impl RowsTag {
    /// The tag of CommandComplete after `rows` rows.
    #[must_use]
    pub fn complete(self, rows: u64) -> String {
        match self {
            Self::Select => format!("SELECT {rows}"),
            Self::Insert => format!("INSERT 0 {rows}"),
            Self::Update => format!("UPDATE {rows}"),
            Self::Delete => format!("DELETE {rows}"),
            Self::Fetch => format!("FETCH {rows}"),
            Self::Show => "SHOW".to_owned(),
            Self::Explain => "EXPLAIN".to_owned(),
            Self::Call => "CALL".to_owned(),
        }
    }
}

/// A stream of result batches. Dropping it ends the query.
pub type RowStream = BoxStream<'static, Result<RecordBatch, SqlError>>;

/// What a statement does next, in the loop's terms.
pub enum Outcome<S> {
    /// Rows to send; the batch columns are in the order of `columns`. A statement that writes (RETURNING)
    /// has finished writing before this is returned.
    Rows { columns: Arc<[ResultColumn]>, rows: RowStream, tag: RowsTag },
    /// Nothing to send but the command tag.
    Done { tag: String },
    /// COPY … FROM STDIN: the loop decodes the client's data and calls `copy_rows`, then `copy_finish`.
    CopyIn(CopyIn),
    /// COPY … TO STDOUT.
    CopyOut(CopyOut),
    /// A statement about the session's own prepared statements; the loop carries it out.
    Session(SessionRequest<S>),
    /// An empty statement.
    Empty,
}

impl<S> fmt::Debug for Outcome<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows { columns, tag, .. } => formatter
                .debug_struct("Rows")
                .field("columns", columns)
                .field("tag", tag)
                .finish_non_exhaustive(),
            Self::Done { tag } => formatter.debug_struct("Done").field("tag", tag).finish(),
            Self::CopyIn(copy) => formatter.debug_tuple("CopyIn").field(copy).finish(),
            Self::CopyOut(copy) => formatter.debug_tuple("CopyOut").field(copy).finish(),
            Self::Session(_) => formatter.write_str("Session"),
            Self::Empty => formatter.write_str("Empty"),
        }
    }
}

/// Statements whose subject is the loop's table of prepared statements.
#[derive(Debug)]
pub enum SessionRequest<S> {
    /// `PREPARE name (types) AS statement`.
    Prepare { name: String, statement: Arc<S>, parameter_types: Vec<Option<ColumnType>> },
    /// `EXECUTE name (values)`: the values are evaluated, the loop runs the named statement with them.
    Execute { name: String, parameters: Vec<Parameter> },
    /// `DEALLOCATE name`, or all of them. `tag` is the command tag (`DEALLOCATE`, `DEALLOCATE ALL`,
    /// `DISCARD ALL`).
    Deallocate { name: Option<String>, tag: String },
}

/// A COPY … FROM STDIN that is ready to take data.
#[derive(Clone, Debug)]
pub struct CopyIn {
    /// The table's name as PostgreSQL's CONTEXT line shows it.
    pub table: String,
    /// The columns that the data names, in data order, with the table's types.
    pub schema: SchemaRef,
    pub options: CopyOptions,
    /// Counts the bytes; rows are counted as the executor takes them.
    pub progress: CopyProgress,
}

/// A COPY … TO STDOUT.
pub struct CopyOut {
    pub columns: Arc<[ResultColumn]>,
    pub rows: RowStream,
    pub options: CopyOptions,
    /// Counts what is sent.
    pub progress: CopyProgress,
}

impl fmt::Debug for CopyOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CopyOut")
            .field("columns", &self.columns)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The status byte of ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No explicit transaction.
    Idle,
    /// Inside BEGIN … COMMIT.
    InTransaction,
    /// Inside a transaction that an error has ended; only ROLLBACK is accepted.
    Failed,
}

/// The severity of a notice, in PostgreSQL's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Debug,
    Log,
    Notice,
    Warning,
    Info,
}

impl Severity {
    /// The word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Log => "LOG",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
        }
    }
}

/// A NoticeResponse to be sent before the statement's next reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub severity: Severity,
    /// SQLSTATE, `00000` for plain notices.
    pub code: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Notice {
    /// A NOTICE with only a message.
    #[expect(clippy::self_named_constructors, reason = "notice and warning are PostgreSQL's words")]
    #[must_use]
    pub fn notice(message: impl Into<String>) -> Self {
        Self { severity: Severity::Notice, code: "00000", message: message.into(), detail: None, hint: None }
    }

    /// A WARNING with its SQLSTATE.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, code, message: message.into(), detail: None, hint: None }
    }
}

/// A statement that can be described and executed many times.
pub trait Prepared: Send + Sync + 'static {
    fn describe(&self) -> &Description;
}

/// What the front knows about a connection before a session exists.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    pub user: String,
    pub database: String,
    /// Settings of the startup packet (`application_name`, `options=-c k=v`, …) in order.
    pub settings: Vec<(String, String)>,
    pub peer: Option<SocketAddr>,
    /// The number `pg_backend_pid()` returns and CancelRequest names.
    pub backend_pid: i32,
    /// Set when the current statement must stop; the executor hands it to what it runs.
    pub cancel: CancelFlag,
}

/// Makes executors. One per process.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    type Executor: Executor;

    /// Opens a session.
    ///
    /// # Errors
    /// 28000 `role "x" does not exist`, 3D000 `database "x" does not exist`, 42704 or 22023 for a startup
    /// setting that `SET` would refuse.
    async fn connect(&self, request: ConnectRequest) -> Result<Self::Executor, SqlError>;
}

/// One session's executor: transaction state, settings, statements.
#[async_trait]
pub trait Executor: Send + 'static {
    /// One parsed statement.
    type Statement: Send + Sync + 'static;
    type Prepared: Prepared;

    /// Splits and parses a text; an empty text gives no statement.
    ///
    /// # Errors
    /// 42601 with the position; nothing of the text has run.
    fn parse(&mut self, text: &str) -> Result<Vec<Arc<Self::Statement>>, SqlError>;

    /// Plans a statement. `None` types are inferred; types beyond the ones used are kept as given.
    ///
    /// # Errors
    /// Whatever planning finds; 25P02 in a failed transaction unless the statement ends it.
    async fn prepare(
        &mut self,
        statement: &Arc<Self::Statement>,
        parameter_types: &[Option<ColumnType>],
    ) -> Result<Arc<Self::Prepared>, SqlError>;

    /// Runs a statement. Outside a transaction the statement is its own, committed before this returns
    /// (rows of a query may still be read, at the statement's snapshot).
    ///
    /// # Errors
    /// Whatever the statement meets.
    async fn execute(
        &mut self,
        prepared: &Arc<Self::Prepared>,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome<Self::Statement>, SqlError>;

    /// The columns of an open SQL cursor, which clients describe as a portal of its name.
    fn cursor_columns(&self, _name: &str) -> Option<Arc<[ResultColumn]>> {
        None
    }

    /// Takes rows of the COPY that the last `execute` began; column order as in `CopyIn::schema`.
    ///
    /// # Errors
    /// Constraint and storage errors; the loop then calls `copy_abort`.
    async fn copy_rows(&mut self, batch: RecordBatch) -> Result<(), SqlError>;

    /// Ends the COPY and returns the number of rows; outside a transaction it is durable then.
    ///
    /// # Errors
    /// As `copy_rows`, and commit errors.
    async fn copy_finish(&mut self) -> Result<u64, SqlError>;

    /// The row of the COPY (counted from 0 over all batches) that the error just returned by `copy_rows` or
    /// `copy_finish` is about, when there is one: the loop adds the line to the error's context.
    fn failed_copy_row(&self) -> Option<u64> {
        None
    }

    /// Gives up the COPY; nothing of it stays.
    async fn copy_abort(&mut self);

    /// For the status byte. An implicit transaction counts as `Idle`.
    fn transaction_status(&self) -> TransactionStatus;

    /// Opens the implicit transaction of a text with several statements, or of a pipeline up to Sync. Does
    /// nothing inside an explicit transaction. `BEGIN` inside makes it explicit; `COMMIT` or `ROLLBACK`
    /// inside ends it, and the loop calls this again before the next statement.
    ///
    /// # Errors
    /// None in practice; kept fallible for stores that must be asked.
    async fn begin_implicit(&mut self) -> Result<(), SqlError>;

    /// Ends the implicit transaction; does nothing when there is none (never begun, or made explicit).
    ///
    /// # Errors
    /// Commit errors.
    async fn end_implicit(&mut self, commit: bool) -> Result<(), SqlError>;

    /// Told when a statement has run and all its rows are read, before its completion is told: what its
    /// functions changed of the session takes effect.
    ///
    /// # Errors
    /// None in practice: changes are checked when they are made.
    fn statement_done(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    /// Told once about every error the client gets: an explicit transaction moves to `Failed`, settings and
    /// buffered writes of an autocommit statement are undone.
    fn statement_failed(&mut self, error: &SqlError);

    /// The session's settings; the loop reads time zone, timeouts and the like from here, and reports
    /// changes of reported settings.
    fn settings(&self) -> &SessionSettings;

    /// Mutable access for bookkeeping of what was reported.
    fn settings_mut(&mut self) -> &mut SessionSettings;

    /// The instant that `'now'` means in text input (parameters, COPY): the transaction's or statement's
    /// start, microseconds since 1970.
    fn now_micros(&self) -> i64;

    /// Notices of what ran since the last call.
    fn take_notices(&mut self) -> Vec<Notice>;

    /// The client is gone: roll back, release what the session holds.
    async fn close(&mut self);
}
