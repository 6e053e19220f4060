//! DECLARE, FETCH, MOVE and CLOSE: a query's rows read piece by piece, at the snapshot of the DECLARE.
//!
//! What it is not: scrollable, updatable or held beyond its transaction.
//!
//! Invariant: a cursor ends with its transaction.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt as _;
use parking_lot::Mutex;
use planner::plan::{CursorCommand, FetchCount, QueryPlan};
use planner::syntax::Parsed;
use proto::{ErrorKind, SqlError, TxnId};

use super::SessionExecutor;
use super::prepare::result_columns;
use super::transaction::Extent;
use crate::session::{Outcome, ResultColumn, RowStream, RowsTag};

/// An open cursor.
pub(super) struct OpenCursor {
    transaction: TxnId,
    columns: Arc<[ResultColumn]>,
    /// Locked by nobody: only `&mut` reaches it, and a session must be shareable.
    rows: Mutex<RowStream>,
    /// Read from the stream and not fetched yet.
    left: Option<RecordBatch>,
}

/// The session's cursors by name.
#[derive(Default)]
pub(super) struct Cursors(HashMap<String, OpenCursor>);

impl std::fmt::Debug for Cursors {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl SessionExecutor {
    pub(super) async fn declare(
        &mut self,
        name: &str,
        query: &QueryPlan,
    ) -> Result<Outcome<Parsed>, SqlError> {
        self.end_cursors();
        let running = self.transaction.as_ref().filter(|running| running.extent == Extent::Block);
        let Some(transaction) = running.map(|running| running.id) else {
            return Err(SqlError::new(
                ErrorKind::NoActiveSqlTransaction,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        };
        if self.cursors.0.contains_key(name) {
            return Err(SqlError::new(
                ErrorKind::DuplicateCursor,
                format!("cursor \"{name}\" already exists"),
            ));
        }
        let rows = self.query_rows(query).await?;
        let columns = result_columns(&query.columns).into();
        let cursor = OpenCursor { transaction, columns, rows: Mutex::new(rows), left: None };
        self.cursors.0.insert(name.to_owned(), cursor);
        Ok(Outcome::Done { tag: "DECLARE CURSOR".to_owned() })
    }

    pub(super) async fn cursor_command(
        &mut self,
        command: &CursorCommand,
    ) -> Result<Outcome<Parsed>, SqlError> {
        self.end_cursors();
        match command {
            CursorCommand::Close { name: None } => {
                self.cursors.0.clear();
                Ok(Outcome::Done { tag: "CLOSE CURSOR ALL".to_owned() })
            }
            CursorCommand::Close { name: Some(name) } => match self.cursors.0.remove(name) {
                Some(_) => Ok(Outcome::Done { tag: "CLOSE CURSOR".to_owned() }),
                None => Err(undefined(name)),
            },
            CursorCommand::Fetch { name, count, moves } => {
                let cursor = self.cursors.0.get_mut(name).ok_or_else(|| undefined(name))?;
                let wanted = match count {
                    FetchCount::Rows(rows) => usize::try_from(*rows).unwrap_or(usize::MAX),
                    FetchCount::All => usize::MAX,
                    FetchCount::Backward => {
                        return Err(SqlError::new(
                            ErrorKind::ObjectNotInPrerequisiteState,
                            "cursor can only scan forward",
                        )
                        .with_hint("Declare it with SCROLL option to enable backward scan."));
                    }
                };
                let batches = cursor.take(wanted).await?;
                if *moves {
                    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                    return Ok(Outcome::Done { tag: format!("MOVE {rows}") });
                }
                let columns = Arc::clone(&cursor.columns);
                let rows = futures::stream::iter(batches.into_iter().map(Ok)).boxed();
                Ok(Outcome::Rows { columns, rows, tag: RowsTag::Fetch })
            }
        }
    }

    /// Closes the cursors of transactions that have ended.
    fn end_cursors(&mut self) {
        let running = self.transaction.as_ref().map(|running| running.id);
        self.cursors.0.retain(|_, cursor| Some(cursor.transaction) == running);
    }

    /// The columns of an open cursor.
    pub(super) fn open_cursor_columns(&self, name: &str) -> Option<Arc<[ResultColumn]>> {
        let running = self.transaction.as_ref().map(|running| running.id);
        let cursor = self.cursors.0.get(name).filter(|cursor| Some(cursor.transaction) == running)?;
        Some(Arc::clone(&cursor.columns))
    }

    /// The columns of FETCH from an open cursor.
    pub(super) fn fetched_columns(&self, command: &CursorCommand) -> Option<Vec<ResultColumn>> {
        match command {
            CursorCommand::Fetch { name, moves: false, .. } => {
                self.cursors.0.get(name).map(|cursor| cursor.columns.to_vec())
            }
            _ => None,
        }
    }
}

impl OpenCursor {
    /// The next rows, at most `wanted`.
    async fn take(&mut self, wanted: usize) -> Result<Vec<RecordBatch>, SqlError> {
        let mut taken = Vec::new();
        let mut missing = wanted;
        while missing > 0 {
            let batch = match self.left.take() {
                Some(batch) => batch,
                None => match self.rows.get_mut().next().await {
                    Some(batch) => batch?,
                    None => break,
                },
            };
            let rows = batch.num_rows().min(missing);
            if rows < batch.num_rows() {
                self.left = Some(batch.slice(rows, batch.num_rows() - rows));
            }
            missing -= rows;
            taken.push(batch.slice(0, rows));
        }
        Ok(taken)
    }
}

fn undefined(name: &str) -> SqlError {
    SqlError::new(ErrorKind::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
}
