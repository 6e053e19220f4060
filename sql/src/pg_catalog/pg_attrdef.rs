//! Column defaults; the expression is kept as SQL text, which `pg_get_expr` prints as it is.

use exec::functions::catalog::default_text;
use exec::functions::catalog::relations::relation;
use proto::catalog::{Column, TableMeta};

use super::{Computed, Facts, Row, row};

/// `pg_catalog.pg_attrdef`.
pub(crate) const PG_ATTRDEF: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_attrdef",
    columns: &["oid", "adrelid", "adnum", "adbin"],
    rows,
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
pub(crate) fn text(facts: &Facts, column: &Column) -> Option<String> {
    let default = column.default.as_deref().filter(|_| has_default(column))?;
    Some(default_text(&sequence_in_path(facts, default), column.ty))
}

/// `nextval('public.s'::regclass)` names the sequence as `regclass` prints it: bare when the path finds it.
fn sequence_in_path(facts: &Facts, default: &str) -> String {
    let named = default.strip_prefix("nextval('").and_then(|rest| rest.strip_suffix("'::regclass)"));
    let found = named.and_then(|name| relation(facts.scope(), &name.replace("''", "'")).ok());
    match found {
        Some(sequence) => {
            let shown = facts.scope().relation_text(sequence).replace('\'', "''");
            format!("nextval('{shown}'::regclass)")
        }
        None => default.to_owned(),
    }
}

fn of_table<'a>(facts: &'a Facts, table: &'a TableMeta) -> impl Iterator<Item = Row> + 'a {
    let table_oid = table.id.oid().0;
    table.columns.iter().filter_map(move |column| {
        Some(row![oid(table_oid, column.id), table_oid, i64::from(column.id), text(facts, column)?])
    })
}

fn rows(facts: &Facts) -> Vec<Row> {
    facts.scope().tables().flat_map(|table| of_table(facts, table)).collect()
}
