//! ALTER TABLE: the changed table put into the transaction's catalog, existing rows shown to meet it, and written
//! anew where the planner asks for that.
//!
//! Invariant: what was shown of the rows, or written in their place, holds at the commit: the owner refuses the
//! change when a row has begun or ended since.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use exec::StatementContext;
use futures::StreamExt as _;
use planner::plan::{AlterStatement, AlterTable};
use proto::catalog::{CatalogChange, TableMeta};
use proto::{ErrorKind, Oid, SequenceId, SqlError};

use super::super::duplicates::{duplicated, prove_key};
use super::super::insert::overlay;
use super::super::transaction::{Extent, Transaction};
use super::super::{SessionExecutor, node_error, rows, rows_error, storage_error};
use super::{sequence_meta, settle_own_references};
use crate::session::Notice;

impl SessionExecutor {
    /// Makes the change in a transaction.
    pub(super) async fn alter_table(
        &mut self,
        transaction: &mut Transaction,
        alter: &AlterTable,
    ) -> Result<(), SqlError> {
        if transaction.extent == Extent::Block
            && alter.statement == (AlterStatement::CreateUniqueIndex { concurrently: true })
        {
            return Err(SqlError::new(
                ErrorKind::ActiveSqlTransaction,
                "CREATE INDEX CONCURRENTLY cannot run inside a transaction block",
            ));
        }
        for notice in &alter.notices {
            self.notices.push(Notice { code: notice.code, ..Notice::notice(notice.message.clone()) });
        }
        let (after, mut changes, drawn) = self.numbered(alter).await?;
        let context = self.statement_context(transaction, &[alter.before.id]).await?;
        let after = Arc::new(with_missing(after, alter, &context)?);
        let rows = match &alter.rewrite {
            Some(source) => Some(self.shared.engine.execute(source.clone(), Arc::clone(&context)).await?),
            None => None,
        };
        let proves = !alter.proofs.is_empty()
            || !alter.proven_keys.is_empty()
            || !alter.proven_foreign_keys.is_empty();
        if alter.rewrite.is_some() || proves {
            let read_ts = context.snapshots.get(&alter.before.id).map(|snapshot| snapshot.read_ts);
            let targets = after.foreign_keys.iter();
            let targets = targets.filter(|key| alter.proven_foreign_keys.contains(&key.name));
            for table in targets.map(|key| key.target).chain([alter.before.id]) {
                transaction.unchanged.extend(read_ts.map(|read_ts| (table, read_ts)));
            }
        }
        changes.extend(alter.released.iter().cloned().map(CatalogChange::PutTable));
        changes.push(CatalogChange::PutTable(Arc::clone(&after)));
        changes.extend(alter.dropped_sequences.iter().map(|id| CatalogChange::DropSequence(*id)));
        transaction
            .change_catalog(&self.shared.node.catalog(), changes)
            .map_err(|error| storage_error(&error))?;
        if let Some(mut batches) = rows {
            let own = self.statement_context(transaction, &[]).await?;
            overlay(transaction, &after).truncate();
            let mut keys = HashSet::new();
            while let Some(batch) = batches.next().await {
                let batch = batch.map_err(exec::to_sql_error)?;
                let batch = filled(&batch, &after, &drawn, &own).await?;
                check_new_key(&after, &batch, &mut keys)?;
                overlay(transaction, &after).insert(&batch).map_err(|error| storage_error(&error))?;
                self.stage_if_large(transaction, after.id).await?;
            }
        }
        self.prove(transaction, alter, &after).await
    }

    /// Shows that existing rows meet what is new.
    async fn prove(
        &mut self,
        transaction: &mut Transaction,
        alter: &AlterTable,
        after: &Arc<TableMeta>,
    ) -> Result<(), SqlError> {
        for proof in &alter.proofs {
            let context = self.statement_context(transaction, &[after.id]).await?;
            let mut found = self.shared.engine.execute(proof.plan.clone(), context).await?;
            while let Some(batch) = found.next().await {
                if batch.map_err(exec::to_sql_error)?.num_rows() > 0 {
                    return Err(proof.error.clone());
                }
            }
        }
        if !alter.proven_keys.is_empty() {
            let context = self.statement_context(transaction, &[after.id]).await?;
            let snapshot = self.snapshot_of(&context, after)?;
            for key in after.keys().filter(|key| alter.proven_keys.iter().any(|name| name == key.name)) {
                prove_key(&snapshot, key)?;
            }
        }
        if !alter.proven_foreign_keys.is_empty() {
            let context = self.statement_context(transaction, &[after.id]).await?;
            let snapshot = self.snapshot_of(&context, after)?;
            let catalog = self.catalog_of(transaction);
            for name in &alter.proven_foreign_keys {
                self.prove_reference(transaction, &catalog, &snapshot, name).await?;
            }
        }
        Ok(())
    }

    /// The table with OIDs for what is new in it, its sequences, and which columns draw from them.
    async fn numbered(
        &self,
        alter: &AlterTable,
    ) -> Result<(TableMeta, Vec<CatalogChange>, Vec<(u32, SequenceId)>), SqlError> {
        let mut table = alter.after.clone();
        let new_checks = table.checks.iter().filter(|check| check.oid == Oid(0)).count();
        let new_key = table.primary_key.as_ref().is_some_and(|key| key.oid == Oid(0));
        let new_uniques = table.uniques.iter().filter(|key| key.index_oid == Oid(0)).count();
        let new_foreign = table.foreign_keys.iter().filter(|key| key.oid == Oid(0)).count();
        let count =
            new_foreign + new_checks + (usize::from(new_key) + new_uniques) * 2 + alter.sequences.len();
        if count == 0 {
            return Ok((table, Vec::new(), Vec::new()));
        }
        let first = self.shared.node.allocate_oids(count as u32).await.map_err(|error| node_error(&error))?;
        let mut oids = (first.0..).map(Oid);
        let mut next = || oids.next().unwrap_or(Oid(0));
        for check in table.checks.iter_mut().filter(|check| check.oid == Oid(0)) {
            check.oid = next();
        }
        if let Some(key) = table.primary_key.as_mut().filter(|key| key.oid == Oid(0)) {
            (key.oid, key.index_oid) = (next(), next());
        }
        for key in table.uniques.iter_mut().filter(|key| key.index_oid == Oid(0)) {
            (key.index_oid, key.constraint) = (next(), key.constraint.map(|_| next()));
        }
        for key in table.foreign_keys.iter_mut().filter(|key| key.oid == Oid(0)) {
            key.oid = next();
        }
        settle_own_references(&mut table);
        let mut changes = Vec::new();
        let mut drawn = Vec::new();
        for (column, sequence) in &alter.sequences {
            let id = SequenceId(u64::from(next().0));
            let owner = Some((table.id, *column));
            let meta = sequence_meta(id, self.database, &table.namespace, sequence, owner);
            changes.push(CatalogChange::PutSequence(Arc::new(meta)));
            // An identity added to a column that exists leaves its values alone.
            if !alter.before.columns.iter().any(|old| old.id == *column) {
                drawn.push((*column, id));
            }
        }
        Ok((table, changes, drawn))
    }
}

/// The table with the values that rows lack in its new columns.
fn with_missing(
    mut table: TableMeta,
    alter: &AlterTable,
    context: &Arc<StatementContext>,
) -> Result<TableMeta, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .map_err(rows_error("ALTER TABLE"))?;
    let schema = Arc::new(DFSchema::empty());
    for (id, expression) in &alter.missing {
        let values = exec::rows::evaluate(std::slice::from_ref(expression), &schema, &row, context)?;
        let Some(column) = table.columns.iter_mut().find(|column| column.id == *id) else { continue };
        let value =
            arrow::compute::cast(&values[0], &column.ty.data_type()).map_err(rows_error("ALTER TABLE"))?;
        if value.is_null(0) {
            continue;
        }
        let batch = RecordBatch::try_from_iter([("value", value)]).map_err(rows_error("ALTER TABLE"))?;
        column.missing = Some(proto::record::encode_batch(&batch).map_err(rows_error("ALTER TABLE"))?);
    }
    Ok(table)
}

/// Rows of a rewrite in the carriers of the table, with drawn values in the columns that take them. NULLs are
/// let through: the proofs behind speak of them.
async fn filled(
    batch: &RecordBatch,
    table: &TableMeta,
    drawn: &[(u32, SequenceId)],
    context: &StatementContext,
) -> Result<RecordBatch, SqlError> {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    for (id, sequence) in drawn {
        let Some(position) = table.columns.iter().position(|column| column.id == *id) else { continue };
        let values = context.sequences.next_values(*sequence, batch.num_rows()).await?;
        columns[position] = Arc::new(Int64Array::from(values));
    }
    let schema = table.stored_schema();
    let columns = columns.iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(rows_error("ALTER TABLE"))?;
    RecordBatch::try_new(schema, columns).map_err(rows_error("ALTER TABLE"))
}

/// 23505 when rows of a new key's columns come twice.
fn check_new_key(
    table: &TableMeta,
    batch: &RecordBatch,
    taken: &mut HashSet<Box<[u8]>>,
) -> Result<(), SqlError> {
    let positions = table.key_positions();
    let Some(key) = &table.primary_key else { return Ok(()) };
    for (row, bytes) in rows::keys(batch, &positions)?.into_iter().enumerate() {
        if positions.iter().any(|&at| batch.column(at).is_null(row)) || taken.insert(bytes) {
            continue;
        }
        return Err(duplicated(table, key.as_key(), batch, row));
    }
    Ok(())
}
