//! What planning may look at: the catalog at one revision, the session's search path, and the system relations.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use exec::SessionValues;
use proto::catalog::CatalogSnapshot;
use proto::{ColumnType, DatabaseId};

use crate::instants::Instants;

/// Everything a plan depends on besides the statement; equal contexts give equal plans.
#[derive(Clone)]
pub struct PlanContext {
    pub catalog: Arc<CatalogSnapshot>,
    pub database: DatabaseId,
    /// Schemas searched for unqualified names; `pg_catalog` comes first implicitly.
    pub search_path: Vec<String>,
    /// The types the client gave for `$1`, `$2`, …; `None` where it left them open.
    pub parameter_types: Vec<Option<ColumnType>>,
    pub system: Arc<dyn SystemRelations>,
    pub session: Arc<SessionValues>,
    pub settings: PlanSettings,
    /// The past instants that the statement reads at.
    pub instants: Instants,
}

impl fmt::Debug for PlanContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PlanContext")
            .field("revision", &self.catalog.revision)
            .field("database", &self.database)
            .field("search_path", &self.search_path)
            .finish_non_exhaustive()
    }
}

/// Settings that change plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanSettings {
    /// Relations one statement may name, counted through CTEs and subqueries (54001 beyond).
    pub max_relations: usize,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self { max_relations: 256 }
    }
}

/// The relations of `pg_catalog`, `information_schema` and `elanus`, computed from the catalog.
pub trait SystemRelations: Send + Sync {
    /// The relation of a name; `schema` is `None` for an unqualified name, which means `pg_catalog`.
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<dyn TableProvider>>;
}

/// No system relations at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSystemRelations;

impl SystemRelations for NoSystemRelations {
    fn relation(&self, _schema: Option<&str>, _name: &str) -> Option<Arc<dyn TableProvider>> {
        None
    }
}
