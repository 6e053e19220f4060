//! CREATE TABLE AS and SELECT INTO: the table and its rows in one transaction.

use std::sync::Arc;

use futures::StreamExt as _;
use planner::plan::{CreateTableAs, Plan};
use planner::syntax::Parsed;
use proto::catalog::CatalogChange;
use proto::{ErrorKind, SqlError};

use super::insert::overlay;
use super::prepare::PreparedStatement;
use super::transaction::{Extent, Transaction};
use super::write::WriteFailure;
use super::{SessionExecutor, rows, storage_error};
use crate::session::{Notice, Outcome};

impl SessionExecutor {
    pub(super) async fn create_table_as(
        &mut self,
        prepared: &PreparedStatement,
    ) -> Result<Outcome<Parsed>, SqlError> {
        let planned = self.current_plan(prepared)?;
        let Plan::CreateTableAs(plan) = &*planned.plan else {
            return Err(SqlError::new(ErrorKind::Internal, "a statement changed its kind"));
        };
        if plan.create.exists {
            let message = format!("relation \"{}\" already exists, skipping", plan.create.name);
            self.notices.push(Notice { code: "42P07", ..Notice::notice(message) });
            return Ok(Outcome::Done { tag: "CREATE TABLE AS".to_owned() });
        }
        let mut transaction = self.take_transaction();
        if transaction.read_only || self.reads_the_past() {
            self.keep(transaction);
            return Err(SqlError::new(
                ErrorKind::ReadOnlySqlTransaction,
                "cannot execute CREATE TABLE AS in a read-only transaction",
            ));
        }
        let made = self.make_table_of(&mut transaction, plan).await;
        if transaction.extent != Extent::Statement {
            self.transaction = Some(transaction);
            return made.map(|rows| Outcome::Done { tag: format!("SELECT {rows}") });
        }
        match made {
            Ok(rows) => {
                self.commit_transaction(transaction).await.map_err(WriteFailure::into_error)?;
                Ok(Outcome::Done { tag: format!("SELECT {rows}") })
            }
            Err(error) => {
                transaction.release_locks();
                Err(error)
            }
        }
    }

    async fn make_table_of(
        &mut self,
        transaction: &mut Transaction,
        plan: &CreateTableAs,
    ) -> Result<usize, SqlError> {
        self.lock_for_reading(transaction, &plan.query.tables).await?;
        let context = self.statement_context(transaction, &plan.query.tables).await?;
        let mut batches = self.shared.engine.execute(plan.query.logical.clone(), context).await?;
        let changes = self.create_table(&plan.create).await?;
        let table = changes.iter().find_map(|change| match change {
            CatalogChange::PutTable(table) => Some(Arc::clone(table)),
            _ => None,
        });
        let table = table.ok_or_else(|| SqlError::new(ErrorKind::Internal, "no table was made"))?;
        transaction
            .change_catalog(&self.shared.node.catalog(), changes)
            .map_err(|error| storage_error(&error))?;
        let mut count = 0;
        while let Some(batch) = batches.next().await {
            let batch = rows::conform(&batch.map_err(exec::to_sql_error)?, &table)?;
            count += batch.num_rows();
            overlay(transaction, &table).insert(&batch).map_err(|error| storage_error(&error))?;
            self.stage_if_large(transaction, table.id).await?;
        }
        Ok(count)
    }
}
