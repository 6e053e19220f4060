//! TRUNCATE.

use sqlparser::ast::{self, TruncateIdentityOption};

use crate::context::PlanContext;
use crate::error::{Result, syntax};
use crate::names::{qualified, target_table};
use crate::plan::TruncatePlan;

pub(crate) fn plan_truncate(truncate: &ast::Truncate, context: &PlanContext) -> Result<TruncatePlan> {
    if truncate.partitions.is_some() || truncate.on_cluster.is_some() || truncate.if_exists {
        return Err(syntax("syntax error in TRUNCATE"));
    }
    let mut tables = Vec::with_capacity(truncate.table_names.len());
    for target in &truncate.table_names {
        let table = target_table(&qualified(&target.name, context)?, context)?;
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    let restart_identity = matches!(truncate.identity, Some(TruncateIdentityOption::Restart));
    Ok(TruncatePlan { tables, restart_identity })
}
