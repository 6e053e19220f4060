//! VACUUM, ANALYZE and CALL: which tables, which procedure.

use proto::{ErrorKind, SqlError};

use crate::context::PlanContext;
use crate::error::{At as _, Result, undefined_table_column, unsupported};
use crate::names::{self, NamedRelation, fold, qualified};
use crate::plan::{CallPlan, MaintenancePlan, Procedure};
use crate::query::plan_query;
use crate::syntax::{CallStatement, MaintenanceStatement};

/// The tables that VACUUM or ANALYZE works on. System relations hold nothing to work on.
pub(crate) fn plan_maintenance(
    statement: &MaintenanceStatement,
    context: &PlanContext,
) -> Result<MaintenancePlan> {
    let mut tables = Vec::with_capacity(statement.targets.len());
    for (name, columns) in &statement.targets {
        let name = qualified(name, context)?;
        // PostgreSQL tells no position here.
        let found = names::relation(&name, context).map_err(|mut error| {
            error.position = None;
            error
        })?;
        let NamedRelation::Table(table) = found else { continue };
        for column in columns {
            let column = fold(column);
            if table.columns.iter().all(|known| known.name != column) {
                return Err(undefined_table_column(&table.name, &column));
            }
        }
        tables.push(table);
    }
    Ok(MaintenancePlan {
        vacuum: statement.vacuum,
        full: statement.full,
        analyze: statement.analyze,
        verbose: statement.verbose,
        tables: (!statement.targets.is_empty()).then_some(tables),
    })
}

/// The procedure of a CALL, one of ours.
pub(crate) fn plan_call(call: &CallStatement, context: &PlanContext) -> Result<CallPlan> {
    let name = qualified(&call.name, context)?;
    if call.arguments.as_ref().is_some_and(|arguments| arguments.instants().is_some()) {
        return Err(unsupported("AS OF in the arguments of CALL"));
    }
    let arguments = match call.arguments.as_deref() {
        Some(sqlparser::ast::Statement::Query(query)) => Some(plan_query(query, context)?),
        _ => None,
    };
    let count = arguments.as_ref().map_or(0, |arguments| arguments.columns.len());
    let ours = name.schema.as_deref() == Some("elanus");
    let procedure = match (name.name.as_str(), count) {
        ("flush", 0 | 1) if ours => Procedure::Flush,
        ("compact", 1) if ours => Procedure::Compact,
        ("backup", 1) if ours => Procedure::Backup,
        _ => {
            let types = arguments.iter().flat_map(|arguments| &arguments.columns);
            let types: Vec<String> = types.map(|column| column.ty.without_typmod().display()).collect();
            let message = format!("procedure {}({}) does not exist", name.display(), types.join(", "));
            let hint = "No procedure matches the given name and argument types. You might need to add explicit \
                        type casts.";
            return Err(SqlError::new(ErrorKind::UndefinedFunction, message).with_hint(hint).at(name.span));
        }
    };
    Ok(CallPlan { procedure, arguments })
}
