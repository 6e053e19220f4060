//! What a statement is once names and types are known: a closed set of plans, each a plain value.
//!
//! A query is a DataFusion logical plan plus what the wire needs to know of its columns; DML is the query that
//! finds or makes the rows plus what the sink does with them; DDL and session commands are values that `sql`
//! carries out. OIDs and ids of new objects are not here: they are drawn at execution.
//!
//! Invariant: every `LogicalPlan` here runs on DataFusion with exec's functions once parameters are bound.

use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlan};
use proto::catalog::{
    CatalogChange, CheckConstraint, ForeignKey, Identity, IndexMethod, PrimaryKey, SequenceMeta, TableMeta,
    TableOptions, UniqueKey,
};
use proto::{ColumnType, DistanceMetric, Oid, TableId};

use crate::syntax::{Parsed, WrittenInstant};

mod alter;
mod copy;
mod steps;

pub use alter::{AlterStatement, AlterTable, RowChecks, RowProof, RowRules};
pub use copy::{CopyFormat, CopyFrom, CopyHeader, CopyOptions, CopyPlan};
pub use steps::{LockPlan, LockWait, LockedRows, LockingQuery, RowLock, Step, StepWork, TableLockMode};

/// A planned statement.
#[derive(Clone, Debug)]
pub enum Plan {
    Query(QueryPlan),
    Insert(Box<InsertPlan>),
    Update(Box<UpdatePlan>),
    Delete(Box<DeletePlan>),
    Truncate(TruncatePlan),
    Ddl(DdlCommand),
    Session(SessionCommand),
    Transaction(TransactionCommand),
    Copy(Box<CopyPlan>),
    Explain(ExplainPlan),
    Checkpoint,
    Maintenance(MaintenancePlan),
    Call(CallPlan),
    Lock(LockPlan),
    Prepare(PreparePlan),
    Execute(ExecutePlan),
    /// `DECLARE CURSOR`.
    Declare {
        name: String,
        query: Box<QueryPlan>,
    },
    Cursor(CursorCommand),
    Snapshot(SnapshotCommand),
    CreateTableAs(Box<CreateTableAs>),
}

/// `VACUUM` and `ANALYZE`.
#[derive(Clone, Debug)]
pub struct MaintenancePlan {
    /// ANALYZE alone when false.
    pub vacuum: bool,
    pub full: bool,
    pub analyze: bool,
    pub verbose: bool,
    /// `None` for all tables of the database.
    pub tables: Option<Vec<Arc<TableMeta>>>,
}

/// A procedure of schema `elanus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Procedure {
    Flush,
    Compact,
    /// Everything, to the place that the argument names.
    Backup,
}

/// `CALL`: the arguments are the columns of a query of one row.
#[derive(Clone, Debug)]
pub struct CallPlan {
    pub procedure: Procedure,
    pub arguments: Option<QueryPlan>,
}

/// `CREATE TABLE AS` and `SELECT INTO`.
#[derive(Clone, Debug)]
pub struct CreateTableAs {
    pub create: CreateTable,
    pub query: QueryPlan,
}

impl Plan {
    /// The types of `$1`, `$2`, …
    #[must_use]
    pub fn parameters(&self) -> &[ColumnType] {
        match self {
            Self::Query(plan) => &plan.parameters,
            Self::Insert(plan) => &plan.parameters,
            Self::Update(plan) => &plan.parameters,
            Self::Delete(plan) => &plan.parameters,
            Self::Explain(plan) => plan.plan.parameters(),
            Self::Call(plan) => plan.arguments.as_ref().map_or(&[], |query| query.parameters.as_slice()),
            Self::Execute(plan) => plan.values.as_ref().map_or(&[], |query| query.parameters.as_slice()),
            Self::Copy(plan) => match plan.as_ref() {
                CopyPlan::To { query, .. } => &query.parameters,
                CopyPlan::From(_) => &[],
            },
            _ => &[],
        }
    }

    /// The columns of the result, when the statement returns rows (EXPLAIN and SHOW are `sql`'s).
    #[must_use]
    pub fn columns(&self) -> Option<&[OutputColumn]> {
        match self {
            Self::Query(plan) => Some(&plan.columns),
            Self::Insert(plan) => plan.returning.as_ref().map(|returning| returning.columns.as_slice()),
            Self::Update(plan) => plan.returning.as_ref().map(|returning| returning.columns.as_slice()),
            Self::Delete(plan) => plan.returning.as_ref().map(|returning| returning.columns.as_slice()),
            _ => None,
        }
    }

    /// What runs before the statement itself.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        match self {
            Self::Query(plan) => &plan.steps,
            Self::Insert(plan) => &plan.steps,
            Self::Update(plan) => &plan.steps,
            Self::Delete(plan) => &plan.steps,
            _ => &[],
        }
    }

    /// The table whose rows the statement itself changes.
    #[must_use]
    pub fn target(&self) -> Option<TableId> {
        match self {
            Self::Insert(plan) => Some(plan.table.id),
            Self::Update(plan) => Some(plan.table.id),
            Self::Delete(plan) => Some(plan.table.id),
            _ => None,
        }
    }

    /// The user tables whose snapshots the statement needs.
    #[must_use]
    pub fn tables(&self) -> Vec<TableId> {
        match self {
            Self::Query(plan) => plan.tables.clone(),
            Self::Declare { query, .. } => query.tables.clone(),
            Self::CreateTableAs(plan) => plan.query.tables.clone(),
            Self::Insert(plan) => plan.tables.clone(),
            Self::Update(plan) => plan.tables.clone(),
            Self::Delete(plan) => plan.tables.clone(),
            Self::Truncate(plan) => plan.tables.iter().map(|table| table.id).collect(),
            Self::Explain(plan) => plan.plan.tables(),
            Self::Copy(plan) => match plan.as_ref() {
                CopyPlan::To { query, .. } => query.tables.clone(),
                CopyPlan::From(from) => vec![from.table.id],
            },
            _ => Vec::new(),
        }
    }
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// PostgreSQL's name for it, which need not be unique.
    pub name: String,
    pub ty: ColumnType,
    /// Table and attnum, when the column is a plain table column.
    pub table: Option<(TableId, u32)>,
}

/// A query; `logical`'s columns are `columns` in order (field names differ: they are unique).
#[derive(Clone, Debug)]
pub struct QueryPlan {
    pub logical: LogicalPlan,
    pub columns: Vec<OutputColumn>,
    pub parameters: Vec<ColumnType>,
    pub tables: Vec<TableId>,
    pub steps: Vec<Step>,
}

/// `INSERT`: the source gives whole rows in the table's column order, cast to the column types, defaults filled.
#[derive(Clone, Debug)]
pub struct InsertPlan {
    pub table: Arc<TableMeta>,
    pub source: LogicalPlan,
    pub checks: Option<Box<RowChecks>>,
    pub conflict: Option<ConflictPlan>,
    pub returning: Option<Returning>,
    pub parameters: Vec<ColumnType>,
    /// The tables read, and the target.
    pub tables: Vec<TableId>,
    pub steps: Vec<Step>,
}

/// `ON CONFLICT`.
#[derive(Clone, Debug)]
pub struct ConflictPlan {
    pub target: ConflictTarget,
    pub action: ConflictAction,
}

/// Which conflicts the clause covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictTarget {
    /// No target was named: every unique key.
    Any,
    /// Keys over the same columns, by the OIDs of their indexes.
    Keys(Vec<Oid>),
}

/// What happens to a row whose key exists.
#[derive(Clone, Debug)]
pub enum ConflictAction {
    Nothing,
    /// `assignments` give the new values of columns by position, `filter` says whether the row is updated; both
    /// are over `schema`: the existing row's columns, then the excluded row's.
    Update {
        assignments: Vec<(usize, Expr)>,
        filter: Option<Expr>,
        schema: DFSchemaRef,
    },
}

/// `RETURNING`, over the affected rows.
#[derive(Clone, Debug)]
pub struct Returning {
    pub expressions: Vec<Expr>,
    /// The row the expressions are over: the table's columns in order, then, for UPDATE FROM and DELETE USING, the
    /// columns of the other relations in the order of `source`'s trailing columns.
    pub schema: DFSchemaRef,
    pub columns: Vec<OutputColumn>,
}

/// `UPDATE`: the source gives `_segment, _ordinal, _row`, the new values of all table columns, the old values of
/// the key columns (key order), and `extra` columns of the FROM list that RETURNING reads.
#[derive(Clone, Debug)]
pub struct UpdatePlan {
    pub table: Arc<TableMeta>,
    pub source: LogicalPlan,
    pub checks: Option<Box<RowChecks>>,
    /// Number of trailing columns that only RETURNING reads.
    pub extra: usize,
    pub returning: Option<Returning>,
    pub parameters: Vec<ColumnType>,
    pub tables: Vec<TableId>,
    pub steps: Vec<Step>,
}

/// `DELETE`: the source gives `_segment, _ordinal, _row`, the table's columns at `columns`, and `extra` columns of the
/// USING list that RETURNING reads.
#[derive(Clone, Debug)]
pub struct DeletePlan {
    pub table: Arc<TableMeta>,
    pub source: LogicalPlan,
    /// Positions of all columns with RETURNING; else of those that are part of a key.
    pub columns: Vec<usize>,
    /// Number of trailing columns that only RETURNING reads.
    pub extra: usize,
    pub returning: Option<Returning>,
    pub parameters: Vec<ColumnType>,
    pub tables: Vec<TableId>,
    pub steps: Vec<Step>,
}

/// `TRUNCATE`.
#[derive(Clone, Debug)]
pub struct TruncatePlan {
    pub tables: Vec<Arc<TableMeta>>,
    pub restart_identity: bool,
    pub notices: Vec<DdlNotice>,
}

/// `PREPARE`: the statement is planned when it is prepared.
#[derive(Clone, Debug)]
pub struct PreparePlan {
    pub name: String,
    /// `None` for types left to inference.
    pub parameter_types: Vec<Option<ColumnType>>,
    pub statement: Arc<Parsed>,
}

/// `EXECUTE`: the values are the columns of a query of one row.
#[derive(Clone, Debug)]
pub struct ExecutePlan {
    pub name: String,
    pub values: Option<QueryPlan>,
}

/// `EXPLAIN`.
#[derive(Clone, Debug)]
pub struct ExplainPlan {
    pub options: ExplainOptions,
    pub plan: Box<Plan>,
}

/// The options of `EXPLAIN`, with PostgreSQL's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainOptions {
    pub analyze: bool,
    pub verbose: bool,
    pub costs: bool,
    pub buffers: bool,
    pub timing: bool,
    pub summary: bool,
    pub format: ExplainFormat,
}

/// How `EXPLAIN` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainFormat {
    Text,
    Json,
}

/// DDL, as values; ids and OIDs are drawn when it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DdlCommand {
    CreateTable(CreateTable),
    AlterTable(Box<AlterTable>),
    /// There is nothing to do but to say so.
    Nothing {
        tag: &'static str,
        notices: Vec<DdlNotice>,
    },
    DropTable {
        tables: Vec<Arc<TableMeta>>,
        skipped: Vec<String>,
        /// Tables without the foreign keys that CASCADE drops.
        released: Vec<Arc<TableMeta>>,
        notices: Vec<DdlNotice>,
    },
    CreateIndex(CreateIndex),
    /// Tables with the OIDs of their indexes to be dropped, and names that IF EXISTS passes over.
    DropIndex {
        indexes: Vec<(Arc<TableMeta>, Oid)>,
        skipped: Vec<String>,
    },
    CreateExtension {
        name: String,
        if_not_exists: bool,
    },
    DropExtension {
        name: String,
        if_exists: bool,
    },
    CreateDatabase {
        name: String,
    },
    /// `UNDROP TABLE`: which table it is, is known to who keeps dropped ones.
    Undrop {
        schema: Option<String>,
        name: String,
        new_name: Option<String>,
    },
    DropDatabase {
        name: String,
        force: bool,
    },
    /// Definitions that are complete: sequences, schemas, comments, tables dropped with what hangs on them. An id
    /// or OID of 0 is drawn when it is carried out.
    Catalog {
        tag: &'static str,
        changes: Vec<CatalogChange>,
        notices: Vec<DdlNotice>,
    },
    /// `ALTER SEQUENCE … RESTART`: the next value, with the changed definition.
    RestartSequence {
        sequence: Arc<SequenceMeta>,
        next: i64,
    },
}

impl DdlCommand {
    /// The command tag.
    #[must_use]
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::CreateTable(_) => "CREATE TABLE",
            Self::AlterTable(alter) => match alter.statement {
                AlterStatement::AlterTable => "ALTER TABLE",
                AlterStatement::CreateUniqueIndex { .. } => "CREATE INDEX",
            },
            Self::Nothing { tag, .. } => tag,
            Self::DropTable { .. } => "DROP TABLE",
            Self::CreateIndex(_) => "CREATE INDEX",
            Self::DropIndex { .. } => "DROP INDEX",
            Self::CreateExtension { .. } => "CREATE EXTENSION",
            Self::DropExtension { .. } => "DROP EXTENSION",
            Self::CreateDatabase { .. } => "CREATE DATABASE",
            Self::Undrop { .. } => "UNDROP TABLE",
            Self::DropDatabase { .. } => "DROP DATABASE",
            Self::Catalog { tag, .. } => tag,
            Self::RestartSequence { .. } => "ALTER SEQUENCE",
        }
    }
}

/// What DDL tells the client beside its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DdlNotice {
    /// SQLSTATE.
    pub code: &'static str,
    pub message: String,
}

impl DdlNotice {
    /// A notice without a code of its own.
    pub(crate) const fn plain(message: String) -> Self {
        Self { code: "00000", message }
    }
}

/// `CREATE TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTable {
    pub namespace: String,
    pub name: String,
    /// Whether a relation of the name exists; only with IF NOT EXISTS, else it is an error.
    pub exists: bool,
    pub columns: Vec<NewColumn>,
    /// Column ids are positions from 1, here and below; OIDs come later.
    pub primary_key: Option<PrimaryKey>,
    pub uniques: Vec<UniqueKey>,
    /// Those to the table itself name table 0.
    pub foreign_keys: Vec<ForeignKey>,
    pub checks: Vec<CheckConstraint>,
    pub options: TableOptions,
}

/// `CREATE INDEX` of a vector index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateIndex {
    pub table: Arc<TableMeta>,
    pub name: String,
    /// Whether a relation of the name exists; only with IF NOT EXISTS, else it is an error.
    pub exists: bool,
    /// Id of the column.
    pub column: u32,
    pub metric: DistanceMetric,
    pub method: IndexMethod,
    /// `name=value` as written in WITH.
    pub written_options: Vec<String>,
    pub concurrently: bool,
}

/// A column of a new table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumn {
    pub name: String,
    pub ty: ColumnType,
    pub nullable: bool,
    /// SQL text; for `sequence` columns it is `nextval('<schema>.<sequence>'::regclass)`.
    pub default: Option<String>,
    pub identity: Option<Identity>,
    /// The sequence to create with the table and owned by this column.
    pub sequence: Option<NewSequence>,
}

/// A sequence made for a serial or identity column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSequence {
    pub name: String,
    pub ty: ColumnType,
    pub start: i64,
    pub increment: i64,
    pub minimum: i64,
    pub maximum: i64,
}

/// Commands about the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionCommand {
    Set {
        name: String,
        value: SetValue,
        local: bool,
    },
    Reset {
        name: String,
    },
    ResetAll,
    Show {
        name: String,
    },
    ShowAll,
    Discard(DiscardTarget),
    /// `None` is ALL.
    Deallocate {
        name: Option<String>,
    },
    Unlisten,
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION …`.
    SetCharacteristics(TransactionModes),
}

/// The right side of `SET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetValue {
    Default,
    /// One text per list element, without quotes.
    Values(Vec<String>),
}

/// What `DISCARD` throws away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardTarget {
    All,
    Plans,
    Sequences,
    Temporary,
}

/// Transaction control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionCommand {
    /// `start`: written as START TRANSACTION, which is then the tag.
    Begin {
        modes: TransactionModes,
        /// `AS OF SYSTEM TIME`.
        at: Option<WrittenInstant>,
        start: bool,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint {
        name: String,
    },
    Release {
        name: String,
    },
    RollbackTo {
        name: String,
    },
    /// `SET TRANSACTION …`.
    SetModes {
        modes: TransactionModes,
        at: Option<WrittenInstant>,
    },
}

/// Commands about cursors that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CursorCommand {
    Fetch {
        name: String,
        count: FetchCount,
        /// MOVE: the rows are passed over.
        moves: bool,
    },
    /// `None` is ALL.
    Close { name: Option<String> },
}

/// Named snapshots: instants that are kept readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotCommand {
    Create {
        name: String,
        /// Schema and name of the tables; they are looked up as of the instant. None: all of the database.
        tables: Vec<(Option<String>, String)>,
        /// None: now.
        at: Option<WrittenInstant>,
    },
    Drop {
        name: String,
        if_exists: bool,
    },
}

/// How many rows FETCH takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchCount {
    Rows(u64),
    All,
    /// A direction other than forward.
    Backward,
}

/// Transaction modes; `None` is what the session's default says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

/// PostgreSQL's isolation levels; READ UNCOMMITTED behaves as READ COMMITTED, SERIALIZABLE as REPEATABLE READ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}
