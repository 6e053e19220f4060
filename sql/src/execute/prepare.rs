//! Parsing and planning for a session, and the plans it keeps.
//!
//! A plan is valid for one catalog revision and one state of the session's settings; it is remade silently when
//! either moved, and refused when that changes the result's columns (0A000, as in PostgreSQL). A plan that
//! reads system relations holds their content and is never kept.
//!
//! Invariant: the plan that runs was made under the catalog the transaction sees now.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use planner::plan::{CopyPlan, OutputColumn, Plan, SessionCommand, TransactionCommand};
use planner::syntax::Parsed;
use planner::{PlanContext, PlanSettings};
use proto::{ColumnType, ErrorKind, SqlError, TableId};

use super::SessionExecutor;
use super::template::TemplateSlot;
use super::transaction::{CatalogStamp, Extent, Transaction};
use crate::session::{Description, Prepared, ResultColumn};

/// Statement texts and plans a session keeps; beyond it the cache starts anew.
const CACHED_STATEMENTS: usize = 256;
/// Longer texts (literal vectors) are not worth keeping.
const CACHED_TEXT_BYTES: usize = 4096;

/// What a plan depends on besides its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Validity {
    revision: u64,
    /// The running transaction's private catalog.
    own_catalog: Option<CatalogStamp>,
    settings: u64,
}

/// A plan and what follows from it.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) plan: Arc<Plan>,
    /// None: the plan holds content that only its own execution may show.
    validity: Option<Validity>,
    /// The columns as the wire announces them; empty for a statement without rows.
    pub(super) columns: Arc<[ResultColumn]>,
    pub(super) template: TemplateSlot,
}

impl Planned {
    /// Whether the plan may run more than once.
    pub(super) const fn lasts(&self) -> bool {
        self.validity.is_some()
    }
}

/// A statement with its newest plan and what Describe tells of it.
#[derive(Debug)]
pub struct PreparedStatement {
    statement: Arc<Parsed>,
    parameter_types: Vec<Option<ColumnType>>,
    newest: Mutex<Arc<Planned>>,
    description: Description,
}

impl Prepared for PreparedStatement {
    fn describe(&self) -> &Description {
        &self.description
    }
}

/// What a session has parsed and planned before.
#[derive(Debug, Default)]
pub(super) struct PlanCache {
    texts: HashMap<String, Vec<Arc<Parsed>>>,
    plans: HashMap<(usize, Vec<Option<ColumnType>>), Arc<PreparedStatement>>,
}

impl PlanCache {
    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.plans.clear();
    }
}

/// Whether results look the same: names and types, whatever table they come from.
fn same_columns(left: Option<&[ResultColumn]>, right: Option<&[ResultColumn]>) -> bool {
    let seen = |column: &ResultColumn| (column.name.clone(), column.ty);
    match (left, right) {
        (Some(left), Some(right)) => left.iter().map(seen).eq(right.iter().map(seen)),
        (None, None) => true,
        _ => false,
    }
}

/// The wire's view of planned columns.
pub(super) fn result_columns(columns: &[OutputColumn]) -> Vec<ResultColumn> {
    columns
        .iter()
        .map(|column| {
            let (table_oid, attnum) =
                column.table.map_or((0, 0), |(table, attnum)| (table.oid().0, attnum as i16));
            ResultColumn { name: column.name.clone(), ty: column.ty, table_oid, attnum }
        })
        .collect()
}

impl SessionExecutor {
    pub(super) fn parse_cached(&mut self, text: &str) -> Result<Vec<Arc<Parsed>>, SqlError> {
        if let Some(parsed) = self.plans.texts.get(text) {
            return Ok(parsed.clone());
        }
        let parsed: Vec<Arc<Parsed>> = planner::syntax::parse(text)?.into_iter().map(Arc::new).collect();
        if text.len() <= CACHED_TEXT_BYTES {
            if self.plans.texts.len() >= CACHED_STATEMENTS {
                self.plans.clear();
            }
            self.plans.texts.insert(text.to_owned(), parsed.clone());
        }
        Ok(parsed)
    }

    /// Plans a statement at the moments it was resolved to, once nobody holds its definitions.
    pub(super) async fn prepare_at_moments(
        &mut self,
        statement: &Arc<Parsed>,
        parameter_types: &[Option<ColumnType>],
    ) -> Result<Arc<PreparedStatement>, SqlError> {
        let prepared = self.prepare_statement(statement, parameter_types)?;
        if self.locks.bar_readers() && self.wait_for_definitions(&prepared.tables()).await? {
            return self.prepare_statement(statement, parameter_types);
        }
        Ok(prepared)
    }

    pub(super) fn prepare_statement(
        &mut self,
        statement: &Arc<Parsed>,
        parameter_types: &[Option<ColumnType>],
    ) -> Result<Arc<PreparedStatement>, SqlError> {
        // The address names a statement while the cache holds it.
        let address = (Arc::as_ptr(statement) as usize, parameter_types.to_vec());
        let cached = self.plans.plans.get(&address).map(Arc::clone);
        if let Some(cached) = cached
            && Arc::ptr_eq(&cached.statement, statement)
            && let planned = cached.newest()
            && self.moments.is_now()
            && planned.validity == Some(self.validity())
        {
            self.refuse_in_failed_transaction(&planned.plan)?;
            return Ok(cached);
        }
        let (planned, description) = self.plan_now(statement, parameter_types)?;
        self.refuse_in_failed_transaction(&planned.plan)?;
        let lasts = planned.validity.is_some();
        let prepared = Arc::new(PreparedStatement {
            description,
            statement: Arc::clone(statement),
            parameter_types: parameter_types.to_vec(),
            newest: Mutex::new(planned),
        });
        if lasts && statement.text.len() <= CACHED_TEXT_BYTES {
            if self.plans.plans.len() >= CACHED_STATEMENTS {
                self.plans.plans.clear();
            }
            self.plans.plans.insert(address, Arc::clone(&prepared));
        }
        Ok(prepared)
    }

    /// The plan to run now: the newest one, or another when the catalog or the settings moved.
    pub(super) fn current_plan(&mut self, prepared: &PreparedStatement) -> Result<Arc<Planned>, SqlError> {
        let newest = prepared.newest();
        if self.moments.is_now() && newest.validity.is_some_and(|validity| validity == self.validity()) {
            return Ok(newest);
        }
        let (planned, description) = self.plan_now(&prepared.statement, &prepared.parameter_types)?;
        if !same_columns(description.columns.as_deref(), prepared.description.columns.as_deref()) {
            return Err(SqlError::new(
                ErrorKind::FeatureNotSupported,
                "cached plan must not change result type",
            ));
        }
        *prepared.newest.lock() = Arc::clone(&planned);
        Ok(planned)
    }

    fn validity(&self) -> Validity {
        Validity {
            revision: self.shared.node.catalog().revision,
            own_catalog: self.transaction.as_ref().and_then(|transaction| transaction.stamp),
            settings: self.settings.version(),
        }
    }

    fn plan_now(
        &mut self,
        statement: &Parsed,
        parameter_types: &[Option<ColumnType>],
    ) -> Result<(Arc<Planned>, Description), SqlError> {
        let catalog = self.catalog();
        let started = self.transaction.as_ref().map_or_else(|| self.wall_micros(), |t| t.started_micros);
        let session = self.session_values(Arc::clone(&catalog), started);
        let system = Arc::new(self.system_relations(&catalog));
        let context = PlanContext {
            catalog,
            database: self.database,
            search_path: self.search_path(),
            parameter_types: parameter_types.to_vec(),
            system: Arc::clone(&system) as _,
            session,
            settings: PlanSettings::default(),
            instants: self.moments.instants.clone(),
        };
        let plan = planner::plan(&statement.statement, &context)?;
        let description = self.description(&plan);
        let planned = Planned {
            plan: Arc::new(plan),
            validity: (!system.was_read() && self.moments.is_now()).then(|| self.validity()),
            columns: description.columns.as_deref().unwrap_or_default().into(),
            template: TemplateSlot::default(),
        };
        Ok((Arc::new(planned), description))
    }

    /// What rules of tables are bound against while a transaction's statement runs.
    pub(super) fn rule_context(&mut self, transaction: &Transaction) -> PlanContext {
        let catalog = self.catalog_of(transaction);
        let session = self.session_values(Arc::clone(&catalog), transaction.started_micros);
        PlanContext {
            database: self.database,
            search_path: self.search_path(),
            parameter_types: Vec::new(),
            system: Arc::new(self.system_relations(&catalog)),
            catalog,
            session,
            settings: PlanSettings::default(),
            instants: planner::Instants::default(),
        }
    }

    fn description(&self, plan: &Plan) -> Description {
        let columns = match plan {
            Plan::Explain(_) => Some(vec![ResultColumn::computed("QUERY PLAN", ColumnType::TEXT)]),
            Plan::Session(SessionCommand::Show { name }) => {
                Some(vec![ResultColumn::computed(self.settings.shown_name(name), ColumnType::TEXT)])
            }
            Plan::Session(SessionCommand::ShowAll) => Some(
                ["name", "setting", "description"]
                    .map(|name| ResultColumn::computed(name, ColumnType::TEXT))
                    .to_vec(),
            ),
            Plan::Cursor(command) => self.fetched_columns(command),
            Plan::Copy(copy) if matches!(**copy, CopyPlan::To { .. }) => None,
            other => other.columns().map(result_columns),
        };
        Description { parameters: plan.parameters().to_vec(), columns }
    }

    /// 25P02 for everything but the end of a failed block.
    pub(super) fn refuse_in_failed_transaction(&self, plan: &Plan) -> Result<(), SqlError> {
        let failed = self
            .transaction
            .as_ref()
            .is_some_and(|transaction| transaction.failed && transaction.extent == Extent::Block);
        let ends = matches!(
            plan,
            Plan::Transaction(
                TransactionCommand::Commit { .. }
                    | TransactionCommand::Rollback { .. }
                    | TransactionCommand::RollbackTo { .. }
            )
        );
        if failed && !ends {
            return Err(SqlError::new(
                ErrorKind::InFailedSqlTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }
}

impl PreparedStatement {
    /// The user tables it reads and writes.
    pub(super) fn tables(&self) -> Vec<TableId> {
        self.newest().plan.tables()
    }

    pub(super) fn hints(&self) -> &planner::syntax::ReadHints {
        &self.statement.hints
    }

    pub(super) fn statement(&self) -> &planner::syntax::Statement {
        &self.statement.statement
    }

    /// The plan made last; `current_plan` says whether it still holds.
    pub(super) fn newest(&self) -> Arc<Planned> {
        Arc::clone(&self.newest.lock())
    }
}
