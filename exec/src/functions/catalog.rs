//! Functions over the system catalogs (`format_type`, `pg_get_indexdef`, `to_regclass`, …) and the facts they
//! share with the catalog relations of `sql`.
//!
//! What it is not: the catalog relations themselves. Functions here read only the session's values: the catalog
//! snapshot, the database, the search path.
//!
//! Invariants: every function stands in `functions()` and is evaluated row by row; like PostgreSQL's, it answers NULL
//! to an object that does not exist and to a NULL argument.

use crate::functions::overload::PgFunction;

pub mod builtin;
mod definitions;
mod expand;
mod facts;
pub mod names;
mod pretty;
pub mod relations;
mod row;
pub mod scope;
mod sizes;
pub mod types;

pub use definitions::{constraint_definition, default_text, index_definition};
pub use relations::{resolve_reg_name, resolve_reg_oid};
pub use scope::{Index, Key, Relation, Scope};

/// Every function over the catalogs.
#[must_use]
pub fn functions() -> Vec<PgFunction> {
    [definitions::functions(), expand::functions(), facts::functions(), sizes::functions()]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests;
