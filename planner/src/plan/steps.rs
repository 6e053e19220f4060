//! Statements of several steps, and what they and LOCK TABLE lock.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlan};
use proto::catalog::TableMeta;

use super::Plan;

/// A part of a statement that runs before the rest, which reads its rows as a relation. Steps run in their order and
/// see the tables as they were before the first.
#[derive(Clone, Debug)]
pub struct Step {
    pub number: usize,
    /// The rows as the relation has them.
    pub schema: SchemaRef,
    pub work: StepWork,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum StepWork {
    /// `SELECT … FOR UPDATE`.
    Lock(Box<LockingQuery>),
    /// A data-modifying WITH query; its rows are those of RETURNING.
    Write(Box<Plan>),
}

/// A query whose rows are locked. Behind its visible columns stand, for every table with locked rows, the row's
/// identity and its key.
#[derive(Clone, Debug)]
pub struct LockingQuery {
    pub logical: LogicalPlan,
    pub visible: usize,
    /// How many locked rows there are at most, and how many of them are left out.
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
    pub rows: Vec<LockedRows>,
}

/// The rows of one table that a query locks.
#[derive(Clone, Debug)]
pub struct LockedRows {
    pub table: Arc<TableMeta>,
    /// The position of `_segment`; `_ordinal`, `_row` and the key columns follow.
    pub first: usize,
    pub strength: RowLock,
    pub wait: LockWait,
}

/// How rows are locked, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowLock {
    KeyShare,
    Share,
    NoKeyUpdate,
    Update,
}

impl RowLock {
    /// The clause's name in PostgreSQL's messages.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        match self {
            Self::KeyShare => "FOR KEY SHARE",
            Self::Share => "FOR SHARE",
            Self::NoKeyUpdate => "FOR NO KEY UPDATE",
            Self::Update => "FOR UPDATE",
        }
    }
}

/// What happens at a row that somebody else has locked; of several clauses over a table the last of these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockWait {
    Wait,
    /// SKIP LOCKED.
    Skip,
    /// NOWAIT.
    Refuse,
}

/// `LOCK TABLE`.
#[derive(Clone, Debug)]
pub struct LockPlan {
    pub tables: Vec<Arc<TableMeta>>,
    pub mode: TableLockMode,
    pub nowait: bool,
}

/// How a table is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableLockMode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}
