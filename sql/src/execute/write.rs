//! Write statements: INSERT, UPDATE, DELETE and TRUNCATE, their retry and their result.
//!
//! A statement locks the rows and keys it changes. When one of them has changed since it was read, the statement is
//! run again at a new read point, as PostgreSQL's READ COMMITTED re-evaluates a row; REPEATABLE READ ends in 40001.
//!
//! Invariant: a failed attempt leaves nothing but its locks: its buffered writes are dropped.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _};
use planner::plan::{OutputColumn, Plan, Returning, RowLock, StepWork};
use proto::{ErrorKind, SqlError};

use super::prepare::PreparedStatement;
use super::transaction::{Extent, Isolation, Transaction};
use super::{SessionExecutor, errors, query};
use crate::session::{Outcome, Parameter, RowsTag};

/// Attempts of one autocommit statement before its conflict is reported; each attempt lost to a commit that
/// succeeded, so this bounds waiting, not progress.
const MAX_ATTEMPTS: usize = 10_000;

/// Why a write did not happen.
#[derive(Debug)]
pub(super) enum WriteFailure {
    /// The statement itself is at fault.
    Statement(SqlError),
    /// A row or key changed since the statement read it: another attempt may succeed.
    Conflict(SqlError),
    /// A key exists: another attempt may succeed only for ON CONFLICT.
    Duplicate(SqlError),
    /// The table changed since the statement was planned.
    SchemaChanged(SqlError),
}

impl WriteFailure {
    #[expect(clippy::needless_pass_by_value, reason = "shape of map_err")]
    pub(super) fn from_node(error: cluster::Error) -> Self {
        let carried = errors::node_error(&error);
        match error {
            cluster::Error::Conflict => Self::Conflict(carried),
            cluster::Error::DuplicateKey { .. } => Self::Duplicate(carried),
            cluster::Error::SchemaChanged => Self::SchemaChanged(carried),
            _ => Self::Statement(carried),
        }
    }

    /// Whether nothing has run because the plan was made under another schema.
    fn is_stale(&self) -> bool {
        matches!(self, Self::Statement(error) if exec::statement::is_stale_plan(error))
    }

    pub(super) fn into_error(self) -> SqlError {
        match self {
            Self::Statement(error) | Self::Conflict(error) | Self::Duplicate(error) => error,
            Self::SchemaChanged(error) => SqlError { kind: ErrorKind::SerializationFailure, ..error },
        }
    }
}

impl From<SqlError> for WriteFailure {
    fn from(error: SqlError) -> Self {
        Self::Statement(error)
    }
}

/// What a write statement did.
#[derive(Debug, Default)]
pub(super) struct WriteEffect {
    pub(super) affected: u64,
    /// Result rows of RETURNING.
    pub(super) returned: Vec<RecordBatch>,
}

impl SessionExecutor {
    /// Runs a write statement to its end: committed outside a block, buffered inside one.
    pub(super) async fn run_write(
        &mut self,
        prepared: &PreparedStatement,
        parameters: &[Parameter],
    ) -> Result<Outcome<planner::syntax::Parsed>, SqlError> {
        let mut kept = None;
        for _ in 0..MAX_ATTEMPTS {
            let plan = query::bound(&self.current_plan(prepared)?.plan, parameters)?;
            let mut transaction = self.take_transaction();
            let alone = transaction.extent == Extent::Statement;
            let again = alone || transaction.isolation == Isolation::ReadCommitted;
            if alone {
                // An attempt keeps the place in line of the one before.
                transaction.locks = kept.take();
            }
            let before = transaction.writes.clone();
            let attempt = self.attempt(&mut transaction, &plan).await;
            let outcome = match attempt {
                Ok(effect) if alone => {
                    let locks = transaction.locks.take();
                    let committed = self.commit_transaction(transaction).await;
                    match (&committed, locks) {
                        (Ok(_), Some(locks)) => locks.release_all(),
                        (_, locks) => kept = locks,
                    }
                    committed.map(|_| effect)
                }
                Ok(effect) => {
                    let staged = self.stage_large(&mut transaction).await;
                    self.transaction = Some(transaction);
                    staged.map(|()| effect).map_err(WriteFailure::Statement)
                }
                Err(failure) => {
                    if alone {
                        kept = transaction.locks.take();
                        transaction.release_locks();
                    } else {
                        transaction.writes = before;
                        self.transaction = Some(transaction);
                    }
                    Err(failure)
                }
            };
            match outcome {
                Ok(effect) => return Ok(finish(&plan, effect)),
                Err(failure) if failure.is_stale() || again && retries(&plan, &failure) => {
                    self.cancel.check()?;
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
        Err(SqlError::new(
            ErrorKind::SerializationFailure,
            "could not serialize access due to concurrent update",
        ))
    }

    async fn attempt(
        &mut self,
        transaction: &mut Transaction,
        plan: &Plan,
    ) -> Result<WriteEffect, WriteFailure> {
        if transaction.read_only || self.reads_the_past() {
            return Err(read_only(plan).into());
        }
        if let Plan::Truncate(truncate) = plan {
            return self.truncate(transaction, truncate).await;
        }
        self.lock_for_statement(transaction, plan).await?;
        let mut tables = plan.tables();
        tables.extend(plan.target());
        transaction.wrote_in_step = false;
        let context = self.statement_context(transaction, &tables).await?;
        let context = self.run_steps(transaction, plan.steps(), context).await?;
        self.write_rows(transaction, plan, &context).await
    }

    /// A statement, or a step of one, whose steps before it have run.
    pub(super) async fn write_rows(
        &mut self,
        transaction: &mut Transaction,
        plan: &Plan,
        context: &Arc<exec::StatementContext>,
    ) -> Result<WriteEffect, WriteFailure> {
        match plan {
            Plan::Insert(insert) => self.insert(transaction, insert, context).await,
            Plan::Update(update) => self.update(transaction, update, context).await,
            Plan::Delete(delete) => self.delete(transaction, delete, context).await,
            Plan::Query(query) => {
                let stream = self.shared.engine.execute(query.logical.clone(), Arc::clone(context)).await?;
                let returned: Vec<_> = query::delivered(stream, query, context).try_collect().await?;
                Ok(WriteEffect { affected: 0, returned })
            }
            _ => Err(SqlError::new(ErrorKind::Internal, "not a write statement").into()),
        }
    }

    /// Evaluates RETURNING over affected rows.
    pub(super) fn returning(
        returning: Option<&Returning>,
        rows: &RecordBatch,
        context: &Arc<exec::StatementContext>,
    ) -> Result<Option<RecordBatch>, SqlError> {
        let Some(returning) = returning else { return Ok(None) };
        let arrays = exec::rows::evaluate(&returning.expressions, &returning.schema, rows, context)?;
        batch_of(&returning.columns, arrays, rows.num_rows()).map(Some)
    }
}

/// A batch of result columns; their Arrow types are what the expressions gave.
pub(super) fn batch_of(
    columns: &[OutputColumn],
    arrays: Vec<arrow::array::ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, SqlError> {
    let fields: Vec<arrow::datatypes::Field> = columns
        .iter()
        .zip(&arrays)
        .map(|(column, array)| arrow::datatypes::Field::new(&column.name, array.data_type().clone(), true))
        .collect();
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(arrow::datatypes::Schema::new(fields)), arrays, &options)
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("result rows: {error}")))
}

fn retries(plan: &Plan, failure: &WriteFailure) -> bool {
    match failure {
        WriteFailure::Conflict(_) | WriteFailure::SchemaChanged(_) => true,
        WriteFailure::Duplicate(_) => {
            let steps = plan.steps().iter().filter_map(|step| match &step.work {
                StepWork::Write(plan) => Some(plan.as_ref()),
                StepWork::Lock(_) => None,
            });
            std::iter::once(plan).chain(steps).any(meets_conflicts)
        }
        WriteFailure::Statement(_) => false,
    }
}

const fn meets_conflicts(plan: &Plan) -> bool {
    matches!(plan, Plan::Insert(insert) if insert.conflict.is_some())
}

fn read_only(plan: &Plan) -> SqlError {
    let verb = match plan {
        Plan::Insert(_) => "INSERT",
        Plan::Update(_) => "UPDATE",
        Plan::Delete(_) => "DELETE",
        Plan::Truncate(_) => "TRUNCATE TABLE",
        other => match other.steps().first().map(|step| &step.work) {
            Some(StepWork::Lock(query)) => {
                let strength = query.rows.first().map_or(RowLock::Update, |rows| rows.strength);
                return read_only_error(&format!("SELECT {}", strength.clause()));
            }
            _ => "SELECT",
        },
    };
    read_only_error(verb)
}

fn read_only_error(verb: &str) -> SqlError {
    SqlError::new(
        ErrorKind::ReadOnlySqlTransaction,
        format!("cannot execute {verb} in a read-only transaction"),
    )
}

fn finish(plan: &Plan, effect: WriteEffect) -> Outcome<planner::syntax::Parsed> {
    let (tag, returning) = match plan {
        Plan::Insert(insert) => (RowsTag::Insert, insert.returning.as_ref()),
        Plan::Update(update) => (RowsTag::Update, update.returning.as_ref()),
        Plan::Delete(delete) => (RowsTag::Delete, delete.returning.as_ref()),
        Plan::Query(query) => {
            return Outcome::Rows {
                columns: super::prepare::result_columns(&query.columns).into(),
                rows: futures::stream::iter(effect.returned.into_iter().map(Ok)).boxed(),
                tag: RowsTag::Select,
            };
        }
        _ => return Outcome::Done { tag: "TRUNCATE TABLE".to_owned() },
    };
    match returning {
        Some(returning) => Outcome::Rows {
            columns: super::prepare::result_columns(&returning.columns).into(),
            rows: futures::stream::iter(effect.returned.into_iter().map(Ok)).boxed(),
            tag,
        },
        None => Outcome::Done { tag: tag.complete(effect.affected) },
    }
}
