//! The planner: SQL text to statements, statements to plans, parameters into plans, and the rule that plants exact
//! top-k search.
//!
//! What it is not: it does no I/O, reads no clock, keeps no state, and executes nothing. A plan is a function of the
//! statement and the `PlanContext`.
//!
//! Invariants: whatever the planner does not understand is an error (0A000, 42601, …), never left out; no statement
//! overflows the stack; DataFusion's SQL planner is not used, so that every type, name and message is PostgreSQL's.

use std::sync::Arc;

use proto::SqlError;
use proto::catalog::TableMeta;
use sqlparser::ast;

mod bind;
mod binder;
mod calls;
mod context;
mod ddl;
mod dml;
mod environment;
mod error;
mod expression;
mod instants;
mod maintenance;
mod names;
pub mod plan;
mod query;
mod rules;
mod scope;
pub mod syntax;
mod types;

pub use bind::{bind, bind_expression, bind_plan, bind_row_counts, row_count_parameters};
pub use context::{NoSystemRelations, PlanContext, PlanSettings, SystemRelations};
pub use error::Error;
pub use exec::ParameterValue;
pub use instants::{InstantSource, Instants, ReadInstant, has_parameters, plan_instant};
pub use plan::{
    AlterStatement, AlterTable, ConflictAction, ConflictPlan, ConflictTarget, CopyFormat, CopyFrom,
    CopyHeader, CopyOptions, CopyPlan, CreateTable, CreateTableAs, CursorCommand, DdlCommand, DdlNotice,
    DeletePlan, DiscardTarget, ExecutePlan, ExplainFormat, ExplainOptions, ExplainPlan, FetchCount,
    InsertPlan, Isolation, LockPlan, NewColumn, NewSequence, OutputColumn, Plan, PreparePlan, QueryPlan,
    Returning, RowChecks, RowProof, RowRules, SessionCommand, SetValue, SnapshotCommand, TableLockMode,
    TransactionCommand, TransactionModes, TruncatePlan, UpdatePlan,
};
pub use rules::rules;
pub use syntax::{Parsed, Statement, parse};

use binder::Binder;
use environment::{Ctes, Outside};
use error::{Result, unsupported};
use syntax::Overriding;

/// Plans a statement.
///
/// # Errors
/// PostgreSQL's error for whatever is wrong with the statement in this context; 0A000 for what is not supported.
pub fn plan(statement: &Statement, context: &PlanContext) -> std::result::Result<Plan, SqlError> {
    match statement {
        Statement::Sql(ast) => instants::with_written(ast.instants(), context, |context| {
            if ast.is_deep() {
                return syntax::on_big_stack(|| plan_ast(ast, ast.overriding(), context));
            }
            plan_ast(ast, ast.overriding(), context)
        }),
        Statement::Copy(copy) => instants::with_written(statement.instants(), context, |context| {
            Ok(Plan::Copy(Box::new(dml::plan_copy(copy, context)?)))
        }),
        Statement::Explain(options, inner) => plan_explain(options, inner, context),
        Statement::Session(command) => Ok(Plan::Session(command.clone())),
        Statement::Transaction(command) => Ok(Plan::Transaction(command.clone())),
        Statement::Checkpoint => Ok(Plan::Checkpoint),
        Statement::Maintenance(statement) => {
            maintenance::plan_maintenance(statement, context).map(Plan::Maintenance)
        }
        Statement::Call(call) => maintenance::plan_call(call, context).map(Plan::Call),
        Statement::Lock { tables, mode, nowait } => {
            dml::plan_lock(tables, *mode, *nowait, context).map(Plan::Lock)
        }
        Statement::Prepare { name, types, statement } => {
            let unknown = |ty: &ast::DataType| ty.to_string().eq_ignore_ascii_case("unknown");
            let parameter_types = types
                .iter()
                .map(|ty| if unknown(ty) { Ok(None) } else { types::column_type(ty).map(Some) })
                .collect::<Result<_>>()?;
            let statement = Arc::clone(statement);
            Ok(Plan::Prepare(PreparePlan { name: name.clone(), parameter_types, statement }))
        }
        Statement::Execute { name, values } => {
            if values.as_ref().is_some_and(|values| values.instants().is_some()) {
                return Err(unsupported("AS OF in the values of EXECUTE"));
            }
            let values = match values.as_deref() {
                Some(ast::Statement::Query(query)) => Some(query::plan_query(query, context)?),
                _ => None,
            };
            Ok(Plan::Execute(ExecutePlan { name: name.clone(), values }))
        }
        Statement::CreateExtension { name, if_not_exists } => {
            ddl::create_extension(name, *if_not_exists, context).map(Plan::Ddl)
        }
        Statement::DropExtension { name, if_exists } => {
            ddl::drop_extension(name, *if_exists, context).map(Plan::Ddl)
        }
        Statement::Declare { name, query } => match plan(query, context)? {
            Plan::Query(query) => {
                let query = Box::new(query::without_steps(query)?);
                Ok(Plan::Declare { name: name.clone(), query })
            }
            _ => Err(error::syntax("a cursor needs a query")),
        },
        Statement::Cursor(command) => Ok(Plan::Cursor(command.clone())),
        Statement::Snapshot(command) => instants::plan_snapshot(command, context).map(Plan::Snapshot),
        other => plan_definition(other, context).map(Plan::Ddl),
    }
}

fn plan_explain(options: &ExplainOptions, inner: &Statement, context: &PlanContext) -> Result<Plan> {
    let plan = plan(inner, context)?;
    match plan {
        Plan::Query(_) | Plan::Insert(_) | Plan::Update(_) | Plan::Delete(_) if plan.steps().is_empty() => {}
        Plan::Query(_) | Plan::Insert(_) | Plan::Update(_) | Plan::Delete(_) => {
            return Err(unsupported(
                "EXPLAIN of a statement with locked rows or a data-modifying WITH query",
            ));
        }
        Plan::Execute(_) => return Err(unsupported("EXPLAIN EXECUTE")),
        _ => return Err(error::syntax("EXPLAIN works for queries, INSERT, UPDATE and DELETE only")),
    }
    Ok(Plan::Explain(ExplainPlan { options: options.clone(), plan: Box::new(plan) }))
}

/// The definitions that our own parser reads.
fn plan_definition(statement: &Statement, context: &PlanContext) -> Result<DdlCommand> {
    match statement {
        Statement::Comment { about, text } => ddl::comment(about, text.as_deref(), context),
        Statement::CreateSequence { name, if_not_exists, data_type, clauses } => {
            ddl::create_sequence(name, *if_not_exists, data_type.as_ref(), clauses, context)
        }
        Statement::AlterSequence { name, if_exists, clauses } => {
            ddl::alter_sequence(name, *if_exists, clauses, context)
        }
        Statement::RenameSequence { name, if_exists, new_name } => {
            ddl::rename_sequence(name, *if_exists, new_name, context)
        }
        Statement::CreateDatabase { name, options } => ddl::create_database(name, options, context),
        Statement::DropDatabase { name, if_exists, force } => {
            ddl::drop_database(name, *if_exists, *force, context)
        }
        Statement::Undrop { name, new_name } => {
            let name = names::qualified(name, context)?;
            let (schema, name) = (name.schema, name.name);
            Ok(DdlCommand::Undrop { schema, name, new_name: new_name.clone() })
        }
        Statement::Unsupported(what) => Err(unsupported(what)),
        _ => Err(error::internal("a statement without a plan")),
    }
}

/// What a row of a table must meet, and what its columns get by default, for rows that no statement names.
///
/// # Errors
/// When a stored expression cannot be bound; a defect.
pub fn row_rules(table: &Arc<TableMeta>, context: &PlanContext) -> std::result::Result<RowRules, SqlError> {
    let binder = Binder::new(context);
    let dml = dml::Dml { binder: &binder, ctes: &Ctes::default(), overriding: None };
    let checks = ddl::row_checks(table, &binder)?;
    let mut defaults = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        defaults.push(dml.default_expression(column)?.map(|bound| bound.expr));
    }
    Ok(RowRules { checks, defaults })
}

/// Plans a statement of sqlparser.
///
/// # Errors
/// Those of `plan`.
pub fn plan_sql(statement: &ast::Statement, context: &PlanContext) -> std::result::Result<Plan, SqlError> {
    plan_ast(statement, None, context)
}

fn plan_ast(
    statement: &ast::Statement,
    overriding: Option<Overriding>,
    context: &PlanContext,
) -> Result<Plan> {
    match statement {
        ast::Statement::Query(query) => plan_query(query, overriding, context),
        ast::Statement::Insert(_) | ast::Statement::Update(_) | ast::Statement::Delete(_) => {
            let binder = Binder::new(context);
            plan_dml(statement, &dml::Dml { binder: &binder, ctes: &Ctes::default(), overriding })
        }
        ast::Statement::Truncate(truncate) => dml::plan_truncate(truncate, context).map(Plan::Truncate),
        ast::Statement::CreateIndex(create) => ddl::create_index(create, context).map(Plan::Ddl),
        ast::Statement::AlterTable(alter) => ddl::alter_table(alter, context).map(Plan::Ddl),
        ast::Statement::CreateTable(create) => match &create.query {
            Some(query) => {
                ddl::create_table(&ast::CreateTable { columns: Vec::new(), ..create.clone() }, context)?;
                Ok(Plan::CreateTableAs(Box::new(ddl::create_table_as(create, query, context)?)))
            }
            None => ddl::create_table(create, context).map(Plan::Ddl),
        },
        ast::Statement::CreateSchema { schema_name, if_not_exists, .. } => {
            ddl::create_schema(schema_name, *if_not_exists, context).map(Plan::Ddl)
        }
        ast::Statement::Drop { object_type, if_exists, names, cascade, .. } => {
            let dropped = ddl::Dropped { kind: object_type, if_exists: *if_exists, names, cascade: *cascade };
            ddl::drop_objects(&dropped, context).map(Plan::Ddl)
        }
        other => Err(unsupported(first_words(other))),
    }
}

/// A query, or DML behind WITH.
fn plan_query(query: &ast::Query, overriding: Option<Overriding>, context: &PlanContext) -> Result<Plan> {
    if let Some(made) = ddl::select_into(query, context)? {
        return Ok(Plan::CreateTableAs(Box::new(made)));
    }
    let (ast::SetExpr::Insert(statement) | ast::SetExpr::Update(statement) | ast::SetExpr::Delete(statement)) =
        query.body.as_ref()
    else {
        return query::plan_whole_query(query, context).map(Plan::Query);
    };
    let binder = Binder::new(context);
    let none = Ctes::default();
    let ctes = match &query.with {
        Some(with) => binder.with(with, Outside { ctes: &none, scope: None }, true)?,
        None => none,
    };
    plan_dml(statement, &dml::Dml { binder: &binder, ctes: &ctes, overriding })
}

fn plan_dml(statement: &ast::Statement, dml: &dml::Dml<'_>) -> Result<Plan> {
    match statement {
        ast::Statement::Insert(insert) => Ok(Plan::Insert(Box::new(dml.insert(insert)?))),
        ast::Statement::Update(update) => Ok(Plan::Update(Box::new(dml.update(update)?))),
        ast::Statement::Delete(delete) => Ok(Plan::Delete(Box::new(dml.delete(delete)?))),
        other => Err(unsupported(first_words(other))),
    }
}

/// The command of a statement, for messages.
fn first_words(statement: &ast::Statement) -> String {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    words.join(" ").to_uppercase()
}

#[cfg(test)]
mod tests;
