//! The instants that a statement reads at: what the session has resolved them to, and what planning makes of them.
//!
//! The planner reads no clock, so it hands the written instants out as queries of one value (`plan_instants`); the
//! session evaluates them, and plans the statement with what it got (`Instants` in the context).
//!
//! Invariant: an instant that no table has claimed is an error (0A000), never ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::logical_expr::LogicalPlanBuilder;
use proto::catalog::CatalogSnapshot;
use proto::{ErrorKind, SqlError, Timestamp};
use sqlparser::ast;

use crate::binder::Binder;
use crate::context::PlanContext;
use crate::environment::{Ctes, Env, Place};
use crate::error::{Result, from_datafusion, unsupported};
use crate::names::qualified;
use crate::plan::{OutputColumn, Plan, QueryPlan, SnapshotCommand};
use crate::scope::Relations;
use crate::syntax::{SnapshotStatement, WrittenInstant, WrittenInstants};

/// A past instant, resolved.
#[derive(Clone, Debug)]
pub struct ReadInstant {
    pub ts: Timestamp,
    /// What existed then.
    pub catalog: Arc<CatalogSnapshot>,
}

/// What the instants of a statement were resolved to.
#[derive(Clone, Debug, Default)]
pub struct Instants {
    /// For all tables without an instant of their own; none is now.
    pub statement: Option<ReadInstant>,
    /// By the position they are known by. One that is missing depends on a parameter that has no value yet: the plan
    /// is for describing only.
    pub tables: BTreeMap<u64, ReadInstant>,
    /// What the statement being planned says.
    written: Option<Arc<WrittenInstants>>,
    claimed: Arc<Mutex<BTreeSet<u64>>>,
}

/// A written instant as something to evaluate.
#[derive(Clone, Debug)]
pub enum InstantSource {
    /// By the name of a snapshot.
    Snapshot(String),
    /// A query of one value.
    Value(Box<QueryPlan>),
}

/// The written instant as something to evaluate. Parameters must have their types in the context.
///
/// # Errors
/// Those of the expression; it cannot have columns.
pub fn plan_instant(written: &WrittenInstant, context: &PlanContext) -> Result<InstantSource> {
    let expression = match written {
        WrittenInstant::Snapshot(name) => return Ok(InstantSource::Snapshot(name.clone())),
        WrittenInstant::Value(expression) => expression,
    };
    let binder = Binder::new(context);
    let (ctes, relations) = (Ctes::default(), Relations::default());
    let bound = binder.bind(expression, &Env::new(&relations, &ctes, Place::Instant))?;
    let bound = binder.settle(bound)?;
    let logical = LogicalPlanBuilder::empty(true)
        .project([bound.expr.alias("instant")])
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    let columns = vec![OutputColumn { name: "instant".to_owned(), ty: bound.ty, table: None }];
    let parameters = binder.parameter_types()?;
    Ok(InstantSource::Value(Box::new(QueryPlan {
        logical,
        columns,
        parameters,
        tables: Vec::new(),
        steps: Vec::new(),
    })))
}

/// Whether the value of a written instant depends on parameters.
#[must_use]
pub fn has_parameters(written: &WrittenInstant) -> bool {
    let WrittenInstant::Value(expression) = written else { return false };
    let found = ast::visit_expressions(expression.as_ref(), |part: &ast::Expr| match part {
        ast::Expr::Value(value) if matches!(value.value, ast::Value::Placeholder(_)) => {
            std::ops::ControlFlow::Break(())
        }
        _ => std::ops::ControlFlow::Continue(()),
    });
    found.is_break()
}

/// The command of CREATE or DROP SNAPSHOT.
pub(crate) fn plan_snapshot(statement: &SnapshotStatement, context: &PlanContext) -> Result<SnapshotCommand> {
    Ok(match statement {
        SnapshotStatement::Create { name, tables, at } => {
            let place = |name| qualified(name, context).map(|name| (name.schema, name.name));
            let tables = tables.iter().map(place).collect::<Result<_>>()?;
            SnapshotCommand::Create { name: name.clone(), tables, at: at.clone() }
        }
        SnapshotStatement::Drop { name, if_exists } => {
            SnapshotCommand::Drop { name: name.clone(), if_exists: *if_exists }
        }
    })
}

/// Plans a statement that may say instants of its own.
pub(crate) fn with_written(
    written: Option<&Arc<WrittenInstants>>,
    context: &PlanContext,
    plan: impl FnOnce(&PlanContext) -> Result<Plan>,
) -> Result<Plan> {
    let Some(written) = written else { return plan(context) };
    let instants =
        Instants { written: Some(Arc::clone(written)), claimed: Arc::default(), ..context.instants.clone() };
    let context = PlanContext { instants, ..context.clone() };
    let plan = plan(&context)?;
    if written.statement.is_some()
        && let Some(verb) = writing(&plan)
    {
        return Err(SqlError::new(
            ErrorKind::ReadOnlySqlTransaction,
            format!("cannot execute {verb} in a read-only transaction"),
        )
        .with_detail("The statement says AS OF SYSTEM TIME, and what is past cannot be changed."));
    }
    let claimed = context.instants.claimed.lock().unwrap_or_else(PoisonError::into_inner);
    match written.tables.iter().find(|(position, _)| !claimed.contains(position)) {
        Some((position, _)) => {
            let position = u32::try_from(*position).unwrap_or(u32::MAX);
            Err(unsupported("FOR SYSTEM_TIME AS OF in this place").with_position(position))
        }
        None => Ok(plan),
    }
}

/// What a plan that changes something is called.
const fn writing(plan: &Plan) -> Option<&'static str> {
    match plan {
        Plan::Insert(_) => Some("INSERT"),
        Plan::Update(_) => Some("UPDATE"),
        Plan::Delete(_) => Some("DELETE"),
        Plan::Truncate(_) => Some("TRUNCATE TABLE"),
        Plan::Ddl(command) => Some(command.tag()),
        _ => None,
    }
}

/// The clause of a relation.
pub(crate) enum Clause {
    /// The relation is read at the statement's instant, if there is one.
    Absent,
    /// It has its own; none while a parameter has no value yet.
    Own(Option<ReadInstant>),
}

/// Rows of the past are nobody's to lock.
pub(crate) fn refuse_locks(context: &PlanContext) -> Result<()> {
    let instants = &context.instants;
    if instants.statement.is_none() && instants.written.is_none() {
        return Ok(());
    }
    Err(SqlError::new(
        ErrorKind::ReadOnlySqlTransaction,
        "cannot execute SELECT FOR UPDATE in a read-only transaction",
    )
    .with_detail("The statement reads a past time."))
}

impl Binder<'_> {
    /// The instant written behind a relation's name or alias. It counts as seen from here on.
    pub(crate) fn clause_of(
        &self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Clause> {
        let instants = &self.context.instants;
        let Some(written) = &instants.written else { return Ok(Clause::Absent) };
        if let Some(statement) = &written.statement {
            self.note_instant(statement)?;
        }
        let last = name.0.last().and_then(|part| part.as_ident());
        let places: Vec<u64> = last
            .into_iter()
            .chain(alias.map(|alias| &alias.name))
            .map(|name| name.span.start.column)
            .collect();
        let Some((position, clause)) = written.tables.iter().find(|(place, _)| places.contains(place)) else {
            return Ok(Clause::Absent);
        };
        instants.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(*position);
        self.note_instant(clause)?;
        Ok(Clause::Own(instants.tables.get(position).cloned()))
    }

    /// Gives the parameters of an instant their types.
    pub(crate) fn note_instant(&self, written: &WrittenInstant) -> Result<()> {
        if let WrittenInstant::Value(expression) = written
            && has_parameters(written)
        {
            let (ctes, relations) = (Ctes::default(), Relations::default());
            let bound = self.bind(expression, &Env::new(&relations, &ctes, Place::Instant))?;
            self.settle(bound)?;
        }
        Ok(())
    }
}
