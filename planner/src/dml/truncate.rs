//! TRUNCATE.

use std::sync::Arc;

use proto::catalog::TableMeta;
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, CascadeOption, TruncateIdentityOption};

use crate::context::PlanContext;
use crate::error::{Result, syntax};
use crate::names::{qualified, target_table};
use crate::plan::{DdlNotice, TruncatePlan};

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
    let notices = truncated_along(&mut tables, truncate.cascade == Some(CascadeOption::Cascade), context)?;
    let restart_identity = matches!(truncate.identity, Some(TruncateIdentityOption::Restart));
    Ok(TruncatePlan { tables, restart_identity, notices })
}

/// Adds the tables that refer to those truncated, when CASCADE says so.
///
/// # Errors
/// 0A000 for a table that others refer to.
fn truncated_along(
    tables: &mut Vec<Arc<TableMeta>>,
    cascade: bool,
    context: &PlanContext,
) -> Result<Vec<DdlNotice>> {
    let mut notices = Vec::new();
    let mut next = 0;
    while let Some(target) = tables.get(next).cloned() {
        next += 1;
        for reference in context.catalog.references_to(&target) {
            let table = reference.table;
            if tables.iter().any(|known| known.id == table.id) {
                continue;
            }
            if !cascade {
                return Err(SqlError::new(
                    ErrorKind::FeatureNotSupported,
                    "cannot truncate a table referenced in a foreign key constraint",
                )
                .with_detail(format!("Table \"{}\" references \"{}\".", table.name, target.name))
                .with_hint(format!(
                    "Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.",
                    table.name
                )));
            }
            notices.push(DdlNotice::plain(format!("truncate cascades to table \"{}\"", table.name)));
            tables.push(Arc::clone(table));
        }
    }
    Ok(notices)
}
