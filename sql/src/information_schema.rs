//! `information_schema`: the SQL standard's view of the same objects, one relation per file.
//!
//! Invariant: only relations of the current database show.

use crate::pg_catalog::Computed;

mod columns;
mod constraints;
mod schemata;
mod sequences;
mod tables;

/// The relations with rows.
pub(crate) const RELATIONS: &[&Computed] = &[
    &columns::COLUMNS,
    &constraints::CONSTRAINT_COLUMN_USAGE,
    &constraints::REFERENTIAL_CONSTRAINTS,
    &constraints::KEY_COLUMN_USAGE,
    &constraints::TABLE_CONSTRAINTS,
    &schemata::SCHEMATA,
    &sequences::SEQUENCES,
    &tables::TABLES,
];

/// `yes_or_no`.
const fn yes_no(flag: bool) -> &'static str {
    if flag { "YES" } else { "NO" }
}
