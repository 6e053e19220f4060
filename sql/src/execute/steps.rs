//! The steps of a statement that has several: rows locked for SELECT … FOR UPDATE, and data-modifying WITH queries.
//! Each gives the rows that the steps behind it read as a relation; all see the tables as they were before the first.
//!
//! Invariant: a row that is returned as locked is locked, and was the newest version of itself after that.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Int64Type, Schema};
use cluster::locks::{LockMode, LockTarget};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use exec::StatementContext;
use exec::step::step_rows;
use futures::StreamExt as _;
use planner::plan::{LockWait, LockedRows, LockingQuery, Plan, RowLock, Step, StepWork};
use proto::record::RowRef;
use proto::{ErrorKind, SqlError, TableId};
use segments::is_private;

use super::locking::{Wanted, concurrent_update, row_target};
use super::transaction::Transaction;
use super::write::WriteFailure;
use super::{SessionExecutor, node_error, rows, rows_error};

/// A row to be locked: where it is and what is locked for it.
struct Candidate {
    row: RowRef,
    target: LockTarget,
}

/// The rows of one batch with what to lock for each, by the position in `LockingQuery::rows`.
struct Candidates {
    batch: RecordBatch,
    /// None for the missing side of a join.
    locks: Vec<Vec<Option<Candidate>>>,
}

impl SessionExecutor {
    /// Locks all tables of a statement and its steps in the modes it needs.
    pub(super) async fn lock_for_statement(
        &self,
        transaction: &mut Transaction,
        plan: &Plan,
    ) -> Result<(), SqlError> {
        let mut modes: BTreeMap<TableId, Vec<LockMode>> = BTreeMap::new();
        for table in plan.tables() {
            modes.entry(table).or_default().push(LockMode::AccessShare);
        }
        for step in plan.steps() {
            match &step.work {
                StepWork::Lock(query) => {
                    for locked in &query.rows {
                        modes.entry(locked.table.id).or_default().push(LockMode::RowShare);
                    }
                }
                StepWork::Write(write) => {
                    if let Some(table) = write.target() {
                        modes.entry(table).or_default().push(LockMode::RowExclusive);
                    }
                }
            }
        }
        if let Some(table) = plan.target() {
            modes.entry(table).or_default().push(LockMode::RowExclusive);
        }
        let wanted =
            modes.into_iter().flat_map(|(table, modes)| modes.into_iter().map(move |mode| (table, mode)));
        self.lock_tables(transaction, wanted).await
    }

    /// Runs steps in their order; the context that also has their rows.
    pub(super) async fn run_steps(
        &mut self,
        transaction: &mut Transaction,
        steps: &[Step],
        mut context: Arc<StatementContext>,
    ) -> Result<Arc<StatementContext>, WriteFailure> {
        for step in steps {
            let given = match &step.work {
                StepWork::Lock(query) => self.locked_rows(transaction, query, &context).await?,
                StepWork::Write(plan) => {
                    transaction.wrote_in_step = true;
                    self.write_rows(transaction, plan, &context).await?.returned
                }
            };
            let given = given.iter().map(|batch| step_rows(batch, &step.schema));
            let given = Arc::new(given.collect::<Result<Vec<_>, _>>()?);
            let mut with_rows = StatementContext::clone(&context);
            with_rows.steps.insert(step.number, given);
            context = Arc::new(with_rows);
        }
        Ok(context)
    }

    /// The rows of a query, each locked as it asks for.
    async fn locked_rows(
        &mut self,
        transaction: &mut Transaction,
        query: &LockingQuery,
        context: &Arc<StatementContext>,
    ) -> Result<Vec<RecordBatch>, WriteFailure> {
        let offset = row_count(query.offset.as_ref(), context)?.unwrap_or(0);
        let limit = row_count(query.limit.as_ref(), context)?.unwrap_or(usize::MAX);
        let most = offset.saturating_add(limit);
        let mark = self.lock_owner(transaction).mark();
        let (taken, locked) = self.take_rows(transaction, query, most, context).await?;
        for (rows, found) in query.rows.iter().zip(&locked) {
            let committed = found.iter().filter(|row| !is_private(row.segment));
            let committed = committed.map(|row| (*row, ()));
            let ended = self.shared.node.first_ended(self.database, rows.table.id, committed);
            if ended.map_err(|error| node_error(&error))?.is_some() {
                if rows.wait != LockWait::Wait {
                    // The next look may find other rows.
                    self.lock_owner(transaction).release_since(mark);
                }
                return Err(concurrent_update());
            }
        }
        let visible: Vec<usize> = (0..query.visible).collect();
        let mut left_out = offset;
        let mut given = Vec::new();
        for batch in taken {
            let skipped = left_out.min(batch.num_rows());
            left_out -= skipped;
            if skipped < batch.num_rows() {
                given.push(rows::project(&batch.slice(skipped, batch.num_rows() - skipped), &visible)?);
            }
        }
        Ok(given)
    }

    /// Takes the first `most` rows that can be had; the rows, and by table which they are.
    async fn take_rows(
        &mut self,
        transaction: &mut Transaction,
        query: &LockingQuery,
        most: usize,
        context: &Arc<StatementContext>,
    ) -> Result<(Vec<RecordBatch>, Vec<Vec<RowRef>>), WriteFailure> {
        let mut locked: Vec<Vec<RowRef>> = query.rows.iter().map(|_| Vec::new()).collect();
        let (mut taken, mut count) = (Vec::new(), 0);
        let mut wanted = Wanted::default();
        let mut batches = self.shared.engine.execute(query.logical.clone(), Arc::clone(context)).await?;
        while count < most
            && let Some(batch) = batches.next().await
        {
            let found = candidates(batch.map_err(exec::to_sql_error)?, &query.rows)?;
            let mut kept = Vec::new();
            for position in 0..found.batch.num_rows() {
                if count == most {
                    break;
                }
                if !self.try_row(transaction, query, &found, position, &mut wanted)? {
                    continue;
                }
                for (locks, rows) in found.locks.iter().zip(&mut locked) {
                    rows.extend(locks[position].as_ref().map(|candidate| candidate.row));
                }
                kept.push(position as u32);
                count += 1;
            }
            taken.push(rows::take_rows(&found.batch, &kept)?);
        }
        self.take_locks(transaction, wanted).await?;
        Ok((taken, locked))
    }

    /// Whether a row is to be returned: those that are waited for are noted in `wanted`.
    fn try_row(
        &self,
        transaction: &mut Transaction,
        query: &LockingQuery,
        found: &Candidates,
        position: usize,
        wanted: &mut Wanted,
    ) -> Result<bool, SqlError> {
        for (rows, locks) in query.rows.iter().zip(&found.locks) {
            let Some(candidate) = &locks[position] else { continue };
            if matches!(candidate.target, LockTarget::Row { .. }) && is_private(candidate.row.segment) {
                continue;
            }
            let mode = lock_mode(rows.strength);
            match rows.wait {
                LockWait::Wait => wanted.add(candidate.target, mode),
                LockWait::Skip | LockWait::Refuse => {
                    let taken = self.lock_owner(transaction).try_take(candidate.target, mode.into());
                    if !taken && rows.wait == LockWait::Skip {
                        return Ok(false);
                    }
                    if !taken {
                        let message =
                            format!("could not obtain lock on row in relation \"{}\"", rows.table.name);
                        return Err(SqlError::new(ErrorKind::LockNotAvailable, message));
                    }
                }
            }
        }
        Ok(true)
    }
}

const fn lock_mode(strength: RowLock) -> LockMode {
    match strength {
        RowLock::KeyShare => LockMode::ForKeyShare,
        RowLock::Share => LockMode::ForShare,
        RowLock::NoKeyUpdate => LockMode::ForNoKeyUpdate,
        RowLock::Update => LockMode::ForUpdate,
    }
}

/// What to lock for the rows of a batch.
fn candidates(batch: RecordBatch, tables: &[LockedRows]) -> Result<Candidates, SqlError> {
    let mut locks = Vec::with_capacity(tables.len());
    for locked in tables {
        let identity = rows::project(&batch, &[locked.first, locked.first + 1, locked.first + 2])?;
        let key_columns = locked.first + 3..locked.first + 3 + locked.table.key_positions().len();
        let keys = rows::keys(&batch, &key_columns.collect::<Vec<_>>())?;
        let found = rows::identities(&identity)?.into_iter().zip(keys).enumerate();
        let candidate = |(position, (row, key)): (usize, (RowRef, Box<[u8]>))| {
            let exists = !identity.column(0).is_null(position);
            exists.then(|| Candidate { row, target: row_target(&locked.table, &row, &key) })
        };
        locks.push(found.map(candidate).collect());
    }
    Ok(Candidates { batch, locks })
}

/// The value of LIMIT or OFFSET.
fn row_count(count: Option<&Expr>, context: &Arc<StatementContext>) -> Result<Option<usize>, SqlError> {
    let Some(count) = count else { return Ok(None) };
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .map_err(rows_error("LIMIT"))?;
    let schema = Arc::new(DFSchema::empty());
    let values = exec::rows::evaluate(std::slice::from_ref(count), &schema, &row, context)?;
    let value = values[0].as_primitive_opt::<Int64Type>().filter(|values| values.is_valid(0));
    match value.map(|values| values.value(0)) {
        None => Ok(None),
        Some(rows) => usize::try_from(rows)
            .map(Some)
            .map_err(|_| SqlError::new(ErrorKind::InvalidRowCountInLimit, "LIMIT must not be negative")),
    }
}
