//! Column defaults; the expression is kept as SQL text, which `pg_get_expr` prints as it is.

use exec::functions::catalog::default_text;
use proto::catalog::{Column, TableMeta};

use super::{Computed, Facts, Row, row};

/// `pg_catalog.pg_attrdef`.
pub(crate) const PG_ATTRDEF: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_attrdef",
    columns: &["oid", "adrelid", "adnum", "adbin"],
    rows: rows,
};

/// OIDs from here up belong to defaults, which have none of their own: they are made of table and column.
const FIRST_OID: u32 = 1 << 31;

/// The OID of a column's default: the same for ever, because a column id is never reused.
pub(super) const fn oid(table: u32, column: u32) -> u32 {
    FIRST_OID | (table.wrapping_mul(1600).wrapping_add(column) & (FIRST_OID - 1))
}

/// Whether a column has a default expression: identity columns have none.
pub(super) const fn has_default(column: &Column) -> bool {
    column.default.is_some() && column.identity.is_none()
}

/// The default as PostgreSQL prints it.
pub(crate) fn text(column: &Column) -> Option<String> {
    let default = column.default.as_deref().filter(|_| has_default(column))?;
    Some(default_text(default, column.ty))
}

fn of_table(table: &TableMeta) -> impl Iterator<Item = Row> + '_ {
    let table_oid = table.id.oid().0;
    table.columns.iter().filter_map(move |column| {
        Some(row![oid(table_oid, column.id), table_oid, i64::from(column.id), text(column)?])
    })
}

fn rows(facts: &Facts) -> Vec<Row> {
    facts.scope().tables().flat_map(of_table).collect()
}
