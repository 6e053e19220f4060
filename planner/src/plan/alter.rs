//! What ALTER TABLE changes, and what rows must meet for it.

use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlan};
use proto::catalog::TableMeta;
use proto::{SequenceId, SqlError};

use super::{DdlNotice, NewSequence};

/// `ALTER TABLE`. Objects that are new have OID 0 until they get theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterTable {
    pub statement: AlterStatement,
    pub before: Arc<TableMeta>,
    pub after: TableMeta,
    /// Sequences that come with columns, by column id; the rewrite leaves those columns NULL.
    pub sequences: Vec<(u32, NewSequence)>,
    pub dropped_sequences: Vec<SequenceId>,
    /// The value existing rows get in new columns, by column id.
    pub missing: Vec<(u32, Expr)>,
    /// What existing rows must meet, looked at once the table is `after`.
    pub proofs: Vec<RowProof>,
    /// Names of unique keys, not primary ones, whose values must be shown to differ, as `proofs`.
    pub proven_keys: Vec<String>,
    /// Names of foreign keys that rows must be shown to meet, as `proofs`.
    pub proven_foreign_keys: Vec<String>,
    /// Other tables without the foreign keys that CASCADE drops.
    pub released: Vec<Arc<TableMeta>>,
    /// The rows of `before` in the form of `after`, when all of them are written anew.
    pub rewrite: Option<LogicalPlan>,
    pub notices: Vec<DdlNotice>,
}

/// What was written to change a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterStatement {
    AlterTable,
    CreateUniqueIndex { concurrently: bool },
}

/// A query that must give no row, and the error when it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowProof {
    pub plan: LogicalPlan,
    pub error: SqlError,
}

/// CHECK constraints over whole rows of a table; a row passes unless a condition is false.
#[derive(Clone, Debug)]
pub struct RowChecks {
    pub names: Vec<String>,
    pub expressions: Vec<Expr>,
    /// The table's columns in order.
    pub schema: DFSchemaRef,
}

/// What `row_rules` gives.
#[derive(Clone, Debug)]
pub struct RowRules {
    pub checks: Option<Box<RowChecks>>,
    /// For each column the value it gets when none is given, without input columns; `None` is NULL.
    pub defaults: Vec<Option<Expr>>,
}
