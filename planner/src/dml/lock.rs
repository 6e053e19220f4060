//! LOCK TABLE.

use sqlparser::ast;

use crate::context::PlanContext;
use crate::error::Result;
use crate::names::{qualified, target_table};
use crate::plan::{LockPlan, TableLockMode};

pub(crate) fn plan_lock(
    names: &[ast::ObjectName],
    mode: TableLockMode,
    nowait: bool,
    context: &PlanContext,
) -> Result<LockPlan> {
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let table = target_table(&qualified(name, context)?, context)?;
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    Ok(LockPlan { tables, mode, nowait })
}
