//! The system catalogs: every relation of `pg_catalog` and `information_schema` that PostgreSQL 16 has, and the
//! views of schema `elanus`, computed for one statement from the catalog snapshot.
//!
//! What it is not: stored. No relation here holds a fact of its own; nothing is written through them. Which
//! columns a relation has stands in `exec::functions::catalog::builtin`; one file here per relation with rows;
//! relations without such a file have no rows because Elanus has no object of their kind.
//!
//! Invariants: names, order and types of columns are PostgreSQL 16's; an OID means the same object in every
//! relation, on every node, for ever.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cluster::locks::LockInfo;
use cluster::{Compaction, GarbageInfo, IndexBuild, IndexStatus};
use datafusion::datasource::TableProvider;
use exec::functions::catalog::{Scope, builtin};
use proto::catalog::CatalogSnapshot;
use proto::{DatabaseId, TableId};

use crate::copy::progress::CopyRow;
use crate::settings::SettingRow;
use crate::views::SegmentRow;

mod fixed;
mod pg_am;
mod pg_attrdef;
mod pg_attribute;
mod pg_auth;
mod pg_class;
mod pg_constraint;
mod pg_database;
mod pg_depend;
mod pg_description;
mod pg_extension;
mod pg_index;
mod pg_locks;
mod pg_namespace;
mod pg_opclass;
mod pg_proc;
mod pg_sequence;
mod pg_settings;
mod pg_stat_activity;
mod pg_tables;
mod pg_type;
mod table;
pub(crate) mod value;

pub(crate) use pg_attrdef::text as column_default;
pub(crate) use pg_database::oid as pg_database_oid;
pub use pg_stat_activity::ActivityRow;
use table::SystemTable;
pub(crate) use value::{Row, Value, row};

/// Rows that another part of the server holds, asked for when a statement reads the relation.
#[derive(Clone)]
pub struct Source<T>(Arc<dyn Fn() -> Vec<T> + Send + Sync>);

impl<T> Source<T> {
    /// Rows as a function gives them.
    pub fn new(rows: impl Fn() -> Vec<T> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rows))
    }

    /// The rows of now.
    #[must_use]
    pub fn rows(&self) -> Vec<T> {
        (self.0)()
    }
}

impl<T: 'static> Default for Source<T> {
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl<T> std::fmt::Debug for Source<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Source")
    }
}

/// What the relations of one statement are computed from.
#[derive(Clone, Debug)]
pub struct Facts {
    pub catalog: Arc<CatalogSnapshot>,
    pub database: DatabaseId,
    pub search_path: Vec<String>,
    /// The one user, who owns everything.
    pub user: String,
    pub settings: Source<SettingRow>,
    pub activity: Source<ActivityRow>,
    pub locks: Source<LockInfo>,
    pub segments: Source<SegmentRow>,
    pub indexes: Source<IndexStatus>,
    pub builds: Source<IndexBuild>,
    pub compactions: Source<Compaction>,
    pub copies: Source<CopyRow>,
    pub garbage: Source<(TableId, GarbageInfo)>,
    pub snapshots: Source<Arc<cluster::NamedSnapshot>>,
}

impl Facts {
    /// Facts of the catalog alone: what the other parts of the server hold is empty.
    #[must_use]
    pub fn new(catalog: Arc<CatalogSnapshot>, database: DatabaseId, user: &str) -> Self {
        Self {
            catalog,
            database,
            search_path: vec!["public".to_owned()],
            user: user.to_owned(),
            settings: Source::default(),
            activity: Source::default(),
            locks: Source::default(),
            segments: Source::default(),
            indexes: Source::default(),
            builds: Source::default(),
            compactions: Source::default(),
            copies: Source::default(),
            garbage: Source::default(),
            snapshots: Source::default(),
        }
    }

    /// The objects of the current database.
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            catalog: &self.catalog,
            database: self.database,
            search_path: &self.search_path,
            owner: &self.user,
        }
    }

    /// Whether CREATE EXTENSION was run for a name in the current database.
    pub(crate) fn has_extension(&self, name: &str) -> bool {
        self.catalog
            .databases
            .get(&self.database)
            .is_some_and(|database| database.extensions.iter().any(|extension| extension == name))
    }

    /// The current database's name.
    pub(crate) fn database_name(&self) -> &str {
        self.catalog.databases.get(&self.database).map_or("", |database| &database.name)
    }
}

/// A relation with rows: its columns in order, and how its rows are computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Computed {
    pub(crate) schema: &'static str,
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) rows: fn(&Facts) -> Vec<Row>,
}

/// Every relation with rows that depend on the catalog or the server.
fn computed() -> impl Iterator<Item = &'static Computed> {
    const OWN: &[&Computed] = &[
        &pg_am::PG_AM,
        &pg_attrdef::PG_ATTRDEF,
        &pg_attribute::PG_ATTRIBUTE,
        &pg_auth::PG_AUTHID,
        &pg_auth::PG_ROLES,
        &pg_auth::PG_SHADOW,
        &pg_auth::PG_USER,
        &pg_class::PG_CLASS,
        &pg_constraint::PG_CONSTRAINT,
        &pg_database::PG_DATABASE,
        &pg_depend::PG_DEPEND,
        &pg_description::PG_DESCRIPTION,
        &pg_description::PG_SHDESCRIPTION,
        &pg_extension::PG_AVAILABLE_EXTENSIONS,
        &pg_extension::PG_EXTENSION,
        &pg_index::PG_INDEX,
        &pg_index::PG_INDEXES,
        &pg_locks::PG_LOCKS,
        &pg_namespace::PG_NAMESPACE,
        &pg_opclass::PG_OPCLASS,
        &pg_proc::PG_PROC,
        &pg_sequence::PG_SEQUENCE,
        &pg_sequence::PG_SEQUENCES,
        &pg_settings::PG_SETTINGS,
        &pg_stat_activity::PG_STAT_ACTIVITY,
        &pg_tables::PG_TABLES,
        &pg_type::PG_TYPE,
    ];
    OWN.iter().chain(crate::information_schema::RELATIONS).chain(crate::views::RELATIONS).copied()
}

/// Computed relations by schema and name.
static COMPUTED: LazyLock<HashMap<(&str, &str), &'static Computed>> =
    LazyLock::new(|| computed().map(|relation| ((relation.schema, relation.name), relation)).collect());

/// The system relations that one statement sees.
#[derive(Clone, Debug)]
pub struct Relations {
    facts: Arc<Facts>,
}

impl Relations {
    /// Relations over facts that do not change while the statement runs.
    #[must_use]
    pub fn new(facts: Facts) -> Self {
        Self { facts: Arc::new(facts) }
    }

    /// The relation of a name; without a schema `pg_catalog` is meant.
    #[must_use]
    pub fn relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<dyn TableProvider>> {
        let relation = builtin::relation(schema.unwrap_or("pg_catalog"), name)?;
        let computed = COMPUTED.get(&(relation.namespace, relation.name)).copied();
        Some(Arc::new(SystemTable::new(relation, computed, Arc::clone(&self.facts))))
    }
}

impl planner::SystemRelations for Relations {
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<dyn TableProvider>> {
        Self::relation(self, schema, name)
    }
}

#[cfg(test)]
mod tests;
