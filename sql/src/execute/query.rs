//! Queries, EXPLAIN and COPY … TO: plans that read, and the binding of parameters.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::physical_plan::SendableRecordBatchStream;
use exec::{ParameterValue, StatementContext};
use futures::StreamExt as _;
use planner::plan::{ExplainFormat, ExplainPlan, OutputColumn, Plan, QueryPlan};
use planner::syntax::Parsed;
use proto::{ColumnType, ErrorKind, SqlError, TableId};

use super::SessionExecutor;
use super::names;
use super::prepare::{Planned, PreparedStatement};
use super::transaction::{Extent, Transaction};
use crate::session::{Outcome, Parameter, ResultColumn, RowStream, RowsTag, SessionRequest};

impl SessionExecutor {
    /// Runs a statement by its kind.
    pub(super) async fn execute_statement(
        &mut self,
        prepared: &Arc<PreparedStatement>,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome<Parsed>, SqlError> {
        let newest = prepared.newest();
        self.refuse_in_failed_transaction(&newest.plan)?;
        match &*newest.plan {
            Plan::Insert(_) | Plan::Update(_) | Plan::Delete(_) | Plan::Truncate(_) => {
                self.run_write(prepared, &parameters).await
            }
            Plan::Query(query) if !query.steps.is_empty() => self.run_write(prepared, &parameters).await,
            Plan::Ddl(_) => self.run_ddl(prepared).await,
            Plan::Query(_) => loop {
                let planned = self.current_plan(prepared)?;
                let Plan::Query(query) = &*planned.plan else { return Err(changed_kind()) };
                match self.prepared_rows(&planned, query, &values_of(&parameters)).await {
                    Err(error) if exec::statement::is_stale_plan(&error) => self.cancel.check()?,
                    Err(error) => return Err(error),
                    Ok(rows) => {
                        let columns = Arc::clone(&planned.columns);
                        return Ok(Outcome::Rows { columns, rows, tag: RowsTag::Select });
                    }
                }
            },
            Plan::Prepare(prepare) => Ok(Outcome::Session(SessionRequest::Prepare {
                name: prepare.name.clone(),
                statement: Arc::clone(&prepare.statement),
                parameter_types: prepare.parameter_types.clone(),
            })),
            Plan::Explain(_) | Plan::Copy(_) | Plan::Execute(_) | Plan::Call(_) | Plan::Lock(_) => loop {
                let outcome = match bound(&self.current_plan(prepared)?.plan, &parameters)? {
                    Plan::Explain(explain) => self.explain(&explain).await,
                    Plan::Copy(copy) => self.copy_statement(&copy).await,
                    Plan::Call(call) => self.call(&call).await,
                    Plan::Lock(lock) => self.lock_table(&lock).await,
                    Plan::Execute(execute) => {
                        let parameters = match &execute.values {
                            Some(values) => self.evaluated(values).await?,
                            None => Vec::new(),
                        };
                        Ok(Outcome::Session(SessionRequest::Execute { name: execute.name, parameters }))
                    }
                    _ => Err(changed_kind()),
                };
                match outcome {
                    Err(error) if exec::statement::is_stale_plan(&error) => self.cancel.check()?,
                    outcome => return outcome,
                }
            },
            Plan::CreateTableAs(_) => self.create_table_as(prepared).await,
            Plan::Declare { name, .. } => {
                let plan = self.current_plan(prepared)?;
                let Plan::Declare { query, .. } = &*plan.plan else { return Err(changed_kind()) };
                self.declare(name, query).await
            }
            Plan::Cursor(command) => self.cursor_command(command).await,
            Plan::Snapshot(command) => self.snapshot_command(command).await,
            Plan::Session(command) => self.session_command(command),
            Plan::Transaction(command) => self.transaction_command(command).await,
            Plan::Maintenance(maintenance) => self.maintain(maintenance).await,
            Plan::Checkpoint => {
                self.shared.node.checkpoint().await.map_err(|error| super::node_error(&error))?;
                Ok(Outcome::Done { tag: "CHECKPOINT".to_owned() })
            }
        }
    }

    /// The rows of a query at its own read point; they stay readable whatever the session does next.
    pub(super) async fn query_rows(&mut self, query: &QueryPlan) -> Result<RowStream, SqlError> {
        let context = self.reading_context(&query.tables).await?;
        let stream = self.shared.engine.execute(query.logical.clone(), Arc::clone(&context)).await?;
        Ok(delivered(stream, query, &context))
    }

    /// The same with open parameters, by the plan's template when it has one.
    async fn prepared_rows(
        &mut self,
        planned: &Planned,
        query: &QueryPlan,
        values: &[ParameterValue],
    ) -> Result<RowStream, SqlError> {
        let context = self.reading_context(&query.tables).await?;
        if planned.lasts()
            && let Some(template) = self.template(&planned.template, query, values, &context).await?
            && let Some(stream) = self.shared.engine.run(&template, values, &context)?
        {
            return Ok(delivered(stream, query, &context));
        }
        let logical = planner::bind(query.logical.clone(), values)?;
        let stream = self.shared.engine.execute(logical, Arc::clone(&context)).await?;
        Ok(delivered(stream, query, &context))
    }

    /// The columns of a query of one row, as values.
    pub(super) async fn evaluated(&mut self, query: &QueryPlan) -> Result<Vec<Parameter>, SqlError> {
        let mut rows = self.query_rows(query).await?;
        let row = rows.next().await.transpose()?.filter(|row| row.num_rows() == 1);
        let row = row.ok_or_else(|| SqlError::new(ErrorKind::Internal, "values that are not one row"))?;
        let value = |(column, array): (&OutputColumn, &arrow::array::ArrayRef)| {
            let value = ScalarValue::try_from_array(array, 0).map_err(exec::to_sql_error)?;
            Ok(Parameter { value, ty: column.ty })
        };
        query.columns.iter().zip(row.columns()).map(value).collect()
    }

    /// What a statement that only reads is run against.
    async fn reading_context(&mut self, tables: &[TableId]) -> Result<Arc<StatementContext>, SqlError> {
        let mut transaction = self.take_transaction();
        let context = match self.lock_for_reading(&mut transaction, tables).await {
            Ok(()) => self.statement_context(&mut transaction, tables).await,
            Err(error) => Err(error),
        };
        self.keep(transaction);
        context
    }

    /// Puts a transaction that a reading statement borrowed back, if it goes on.
    pub(super) fn keep(&mut self, transaction: Transaction) {
        if transaction.extent != Extent::Statement {
            self.transaction = Some(transaction);
        }
    }

    async fn explain(&mut self, explain: &ExplainPlan) -> Result<Outcome<Parsed>, SqlError> {
        if explain.options.format == ExplainFormat::Json {
            return Err(SqlError::unsupported("EXPLAIN (FORMAT JSON)"));
        }
        let (verb, table, logical) = match &*explain.plan {
            Plan::Query(query) => (None, None, &query.logical),
            Plan::Insert(insert) => (Some("Insert"), Some(&insert.table), &insert.source),
            Plan::Update(update) => (Some("Update"), Some(&update.table), &update.source),
            Plan::Delete(delete) => (Some("Delete"), Some(&delete.table), &delete.source),
            _ => return Err(SqlError::unsupported("EXPLAIN of this statement")),
        };
        if verb.is_some() && explain.options.analyze {
            return Err(SqlError::unsupported("EXPLAIN ANALYZE of a statement that writes"));
        }
        let context = self.reading_context(&explain.plan.tables()).await?;
        let options =
            exec::ExplainOptions { analyze: explain.options.analyze, ..exec::ExplainOptions::default() };
        let mut lines = self.shared.engine.explain(logical.clone(), context, options).await?;
        if explain.options.analyze {
            lines.extend(self.insisted_lines());
        }
        let lines = match (verb, table) {
            (Some(verb), Some(table)) => under(&format!("{verb} on {}", table.name), lines),
            _ => lines,
        };
        Ok(text_rows(&["QUERY PLAN"], vec![lines], RowsTag::Explain))
    }
}

/// A stream of the engine as the session sends it: with the names of catalog objects, and errors of ours.
pub(super) fn delivered(
    stream: SendableRecordBatchStream,
    query: &QueryPlan,
    context: &Arc<StatementContext>,
) -> RowStream {
    let stream = stream.map(|batch| batch.map_err(exec::to_sql_error));
    let named = names::positions(&query.columns);
    if named.is_empty() {
        return stream.boxed();
    }
    let session = Arc::clone(&context.session);
    stream.map(move |batch| names::add(&batch?, &named, &session)).boxed()
}

/// A plan's lines as the child of a node of ours.
fn under(node: &str, lines: Vec<String>) -> Vec<String> {
    let mut all = vec![node.to_owned()];
    for (position, line) in lines.into_iter().enumerate() {
        all.push(if position == 0 { format!("  ->  {line}") } else { format!("      {line}") });
    }
    all
}

fn changed_kind() -> SqlError {
    SqlError::new(ErrorKind::Internal, "a statement changed its kind when it was planned again")
}

/// A result of text columns, given column by column.
pub(super) fn text_rows(names: &[&str], columns: Vec<Vec<String>>, tag: RowsTag) -> Outcome<Parsed> {
    let described: Vec<ResultColumn> =
        names.iter().map(|name| ResultColumn::computed(*name, ColumnType::TEXT)).collect();
    let arrays = names.iter().zip(columns).map(|(name, values)| {
        (*name, Arc::new(arrow::array::StringArray::from(values)) as arrow::array::ArrayRef)
    });
    let rows = arrow::record_batch::RecordBatch::try_from_iter(arrays)
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("text rows: {error}")));
    Outcome::Rows { columns: described.into(), rows: futures::stream::iter([rows]).boxed(), tag }
}

/// A plan with its parameters replaced by their values.
pub(super) fn bound(plan: &Plan, parameters: &[Parameter]) -> Result<Plan, SqlError> {
    planner::bind_plan(plan.clone(), &values_of(parameters))
}

fn values_of(parameters: &[Parameter]) -> Vec<ParameterValue> {
    let value = |parameter: &Parameter| ParameterValue { value: parameter.value.clone(), ty: parameter.ty };
    parameters.iter().map(value).collect()
}
