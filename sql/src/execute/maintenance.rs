//! VACUUM, ANALYZE, and the procedures of schema `elanus`: work on stored segments that somebody asks for.
//!
//! ANALYZE checks its names and does nothing more: no statistics are kept, what a plan needs is counted when it runs.

use std::sync::Arc;

use cluster::CompactionGoal;
use datafusion::common::ScalarValue;
use exec::functions::catalog::Scope;
use exec::functions::catalog::relations::to_regclass;
use planner::plan::{CallPlan, MaintenancePlan, Procedure};
use planner::syntax::Parsed;
use proto::catalog::TableMeta;
use proto::{ErrorKind, SqlError, TableId};

use super::ddl::refuse_in_block;
use super::{SessionExecutor, node_error};
use crate::session::{Notice, Outcome, Severity};

/// What a table's segments hold.
#[derive(Clone, Copy, Default)]
struct Held {
    segments: u64,
    rows: u64,
    dead: u64,
}

impl SessionExecutor {
    /// VACUUM and ANALYZE.
    pub(super) async fn maintain(&mut self, plan: &MaintenancePlan) -> Result<Outcome<Parsed>, SqlError> {
        let transaction = self.take_transaction();
        let refused = if plan.vacuum { refuse_in_block(&transaction, "VACUUM") } else { Ok(()) };
        self.keep(transaction);
        refused?;
        let tables = match &plan.tables {
            Some(tables) => tables.clone(),
            None => {
                let catalog = self.catalog();
                catalog.tables.values().filter(|table| table.database == self.database).cloned().collect()
            }
        };
        for table in &tables {
            if plan.vacuum {
                self.vacuum(plan, table).await?;
            }
            if plan.analyze && plan.verbose {
                self.inform(format!("analyzing \"{}.{}\"", table.namespace, table.name), None);
            }
        }
        let tag = if plan.vacuum { "VACUUM" } else { "ANALYZE" };
        Ok(Outcome::Done { tag: tag.to_owned() })
    }

    async fn vacuum(&mut self, plan: &MaintenancePlan, table: &Arc<TableMeta>) -> Result<(), SqlError> {
        let before = self.held(table.id);
        let name = format!("\"{}.{}\"", table.namespace, table.name);
        if plan.verbose {
            self.inform(format!("vacuuming {name}"), None);
        }
        let goal = if plan.full { CompactionGoal::Full } else { CompactionGoal::Vacuum };
        match self.compacted(table.id, goal).await {
            // Dropped meanwhile, as PostgreSQL passes it over.
            Err(error) if error.kind == ErrorKind::UndefinedTable => return Ok(()),
            outcome => outcome?,
        }
        if plan.verbose {
            let after = self.held(table.id);
            let removed = before.rows.saturating_sub(after.rows);
            let message = format!(
                "{name}: found {removed} removable, {} nonremovable row versions in {} segments",
                after.rows, before.segments
            );
            let detail = format!(
                "{} dead row versions cannot be removed yet; {} segments remain.",
                after.dead, after.segments
            );
            self.inform(message, Some(detail));
        }
        Ok(())
    }

    fn held(&self, table: TableId) -> Held {
        let infos = self.shared.node.segment_infos();
        infos.iter().filter(|info| info.table == table).fold(Held::default(), |held, info| Held {
            segments: held.segments + 1,
            rows: held.rows + info.rows,
            dead: held.dead + info.deleted,
        })
    }

    fn inform(&mut self, message: String, detail: Option<String>) {
        self.notices.push(Notice { severity: Severity::Info, detail, ..Notice::notice(message) });
    }

    /// Waits until a table is merged and purged; a cancel ends that.
    async fn compacted(&self, table: TableId, goal: CompactionGoal) -> Result<(), SqlError> {
        tokio::select! {
            done = self.shared.node.compact(table, goal) => done.map_err(|error| node_error(&error)),
            reason = self.cancel.cancelled() => Err(reason.error()),
        }
    }

    async fn flushed(&self, table: TableId) -> Result<(), SqlError> {
        tokio::select! {
            done = self.shared.node.flush(table) => done.map_err(|error| node_error(&error)),
            reason = self.cancel.cancelled() => Err(reason.error()),
        }
    }

    /// CALL.
    pub(super) async fn call(&mut self, call: &CallPlan) -> Result<Outcome<Parsed>, SqlError> {
        let arguments = match &call.arguments {
            Some(arguments) => self.evaluated(arguments).await?,
            None => Vec::new(),
        };
        if call.procedure == Procedure::Backup {
            self.back_up(arguments.first().map(|argument| &argument.value)).await?;
            return Ok(Outcome::Done { tag: "CALL".to_owned() });
        }
        let tables: Vec<TableId> = match arguments.first() {
            Some(argument) => vec![self.table_of(&argument.value)?],
            None => {
                let catalog = self.catalog();
                let own = catalog.tables.values().filter(|table| table.database == self.database);
                own.map(|table| table.id).collect()
            }
        };
        for table in tables {
            match call.procedure {
                Procedure::Flush => self.flushed(table).await?,
                Procedure::Compact => self.compacted(table, CompactionGoal::Vacuum).await?,
                Procedure::Backup => {}
            }
        }
        Ok(Outcome::Done { tag: "CALL".to_owned() })
    }

    /// Copies all databases to a folder or bucket; a cancel ends that and leaves what was copied for the next.
    async fn back_up(&mut self, place: Option<&ScalarValue>) -> Result<(), SqlError> {
        let Some(ScalarValue::Utf8(Some(place))) = place else {
            let message = "the place of a backup must be a text that is not null";
            return Err(SqlError::new(ErrorKind::InvalidParameterValue, message));
        };
        let store = (self.shared.open_store)(place)?;
        let report = tokio::select! {
            done = self.shared.node.backup(&store, &|_, _| {}) => done.map_err(|error| node_error(&error))?,
            reason = self.cancel.cancelled() => return Err(reason.error()),
        };
        tracing::info!(?report, place, "backed up");
        Ok(())
    }

    /// The table that a text or a regclass names.
    fn table_of(&self, value: &ScalarValue) -> Result<TableId, SqlError> {
        let catalog = self.catalog();
        let path = self.search_path();
        let scope =
            Scope { catalog: &catalog, database: self.database, search_path: &path, owner: &self.user };
        let (oid, shown) = match value {
            ScalarValue::Utf8(Some(name)) => (to_regclass(scope, name)?, name.clone()),
            ScalarValue::UInt32(Some(oid)) => (Some(*oid), oid.to_string()),
            ScalarValue::Utf8(None) | ScalarValue::UInt32(None) | ScalarValue::Null => {
                let message = "the name of a table must not be null";
                return Err(SqlError::new(ErrorKind::NullValueNotAllowed, message));
            }
            other => {
                let message = format!("a table is named by text or regclass, not by {}", other.data_type());
                return Err(SqlError::new(ErrorKind::DatatypeMismatch, message));
            }
        };
        let table = oid.map(|oid| TableId(u64::from(oid)));
        let table = table.filter(|table| catalog.tables.contains_key(table));
        table.ok_or_else(|| {
            SqlError::new(ErrorKind::UndefinedTable, format!("relation \"{shown}\" does not exist"))
        })
    }
}
