//! Queries, EXPLAIN and COPY … TO: plans that read, and the binding of parameters.

use std::sync::Arc;

use futures::StreamExt as _;
use planner::ParameterValue;
use planner::plan::{ExplainFormat, ExplainPlan, Plan, QueryPlan};
use planner::syntax::Parsed;
use proto::{ColumnType, ErrorKind, SqlError};

use super::SessionExecutor;
use super::names;
use super::prepare::{PreparedStatement, result_columns};
use super::transaction::{Extent, Transaction};
use crate::session::{Outcome, Parameter, ResultColumn, RowStream, RowsTag};

impl SessionExecutor {
    /// Runs a statement by its kind.
    pub(super) async fn execute_statement(
        &mut self,
        prepared: &Arc<PreparedStatement>,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome<Parsed>, SqlError> {
        self.refuse_in_failed_transaction(prepared.made())?;
        match &**prepared.made() {
            Plan::Insert(_) | Plan::Update(_) | Plan::Delete(_) | Plan::Truncate(_) => {
                self.run_write(prepared, &parameters).await
            }
            Plan::Query(_) | Plan::Explain(_) | Plan::Copy(_) | Plan::Ddl(_) => {
                match bound(&*self.current_plan(prepared)?, &parameters)? {
                    Plan::Query(query) => {
                        let rows = self.query_rows(&query).await?;
                        let columns = result_columns(&query.columns).into();
                        Ok(Outcome::Rows { columns, rows, tag: RowsTag::Select })
                    }
                    Plan::Explain(explain) => self.explain(&explain).await,
                    Plan::Copy(copy) => self.copy_statement(&copy).await,
                    Plan::Ddl(command) => self.ddl(&command).await,
                    _ => Err(changed_kind()),
                }
            }
            Plan::Session(command) => self.session_command(command),
            Plan::Transaction(command) => self.transaction_command(command).await,
            Plan::Checkpoint => {
                self.shared.node.checkpoint().await.map_err(|error| super::node_error(&error))?;
                Ok(Outcome::Done { tag: "CHECKPOINT".to_owned() })
            }
        }
    }

    /// The rows of a query at its own read point; they stay readable whatever the session does next.
    pub(super) async fn query_rows(&mut self, query: &QueryPlan) -> Result<RowStream, SqlError> {
        let mut transaction = self.take_transaction();
        let context = self.statement_context(&mut transaction, &query.tables).await;
        self.keep(transaction);
        let context = context?;
        let session = Arc::clone(&context.session);
        let stream = self.shared.engine.execute(query.logical.clone(), context).await?;
        let stream = stream.map(|batch| batch.map_err(exec::to_sql_error));
        let named = names::positions(&query.columns);
        if named.is_empty() {
            return Ok(stream.boxed());
        }
        Ok(stream.map(move |batch| names::add(&batch?, &named, &session)).boxed())
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
        let mut transaction = self.take_transaction();
        let context = self.statement_context(&mut transaction, &explain.plan.tables()).await;
        self.keep(transaction);
        let options =
            exec::ExplainOptions { analyze: explain.options.analyze, ..exec::ExplainOptions::default() };
        let lines = self.shared.engine.explain(logical.clone(), context?, options).await?;
        let lines = match (verb, table) {
            (Some(verb), Some(table)) => under(&format!("{verb} on {}", table.name), lines),
            _ => lines,
        };
        Ok(text_rows(&["QUERY PLAN"], vec![lines], RowsTag::Explain))
    }
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
    let values: Vec<ParameterValue> = parameters
        .iter()
        .map(|parameter| ParameterValue { value: parameter.value.clone(), ty: parameter.ty })
        .collect();
    planner::bind_plan(plan.clone(), &values)
}
