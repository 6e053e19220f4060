//! COPY as a plan: which rows, in which form, between the client or a place that the server reaches.
//!
//! What it is not: no place is opened or looked at here; a path or an address is text until it is carried out.
//!
//! Invariant: Parquet comes from a place or goes to one, never over the client's connection.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use proto::catalog::TableMeta;

use super::{QueryPlan, RowChecks};

/// `COPY`.
#[derive(Clone, Debug)]
pub enum CopyPlan {
    From(Box<CopyFrom>),
    To {
        query: Box<QueryPlan>,
        /// The table that is named, none for a query.
        table: Option<Arc<TableMeta>>,
        options: CopyOptions,
        /// A path or address as written; none for STDOUT.
        file: Option<String>,
    },
}

/// `COPY … FROM`.
#[derive(Clone, Debug)]
pub struct CopyFrom {
    pub table: Arc<TableMeta>,
    /// Positions of the table columns that the data's fields go to, in field order.
    pub columns: Vec<usize>,
    /// Whether the statement names the columns.
    pub listed: bool,
    /// For each table column not among `columns` that has a default: its position and value, without input columns.
    pub defaults: Vec<(usize, Expr)>,
    pub checks: Option<Box<RowChecks>>,
    pub options: CopyOptions,
    /// A path or address as written; none for STDIN.
    pub file: Option<String>,
}

/// The options of `COPY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub delimiter: u8,
    pub null: String,
    pub header: CopyHeader,
    pub quote: u8,
    pub escape: u8,
    /// Columns (by name) whose values are quoted always; `*` is every column.
    pub force_quote: Vec<String>,
    /// Columns whose values never match the null string.
    pub force_not_null: Vec<String>,
    /// Columns whose quoted values match the null string too.
    pub force_null: Vec<String>,
}

/// How the rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
    Parquet,
}

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyHeader {
    No,
    Yes,
    /// The line must name the columns.
    Match,
}
