//! What a statement is planned and run against: catalog, read point, snapshots, session values.
//!
//! Invariant: all snapshots of a statement are taken at one read point before its first row is read.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use exec::statement::SearchSettings;
use exec::{SessionValues, StatementContext};
use proto::catalog::CatalogSnapshot;
use proto::time::ReadPoint;
use proto::{ErrorKind, SqlError, TableId};
use segments::{SnapshotSource as _, TableSnapshot};

use super::sequences::NodeSequences;
use super::setting_changes::SettingChanges;
use super::transaction::{Isolation, Transaction};
use super::{SessionExecutor, node_error, storage_error};

/// What functions may know of the session, made once per change of its settings; times and catalog are stale.
#[derive(Debug, Default)]
pub(super) struct SettingsCache {
    version: u64,
    values: Option<SessionValues>,
}

impl SessionExecutor {
    /// The catalog this session sees: the shared one, or the transaction's own view of it.
    pub(super) fn catalog(&self) -> Arc<CatalogSnapshot> {
        self.transaction
            .as_ref()
            .and_then(|transaction| transaction.catalog.clone())
            .unwrap_or_else(|| self.shared.node.catalog())
    }

    /// The schemas of `search_path`. `$user` names none: users have no schemas of their own, and the schema
    /// `elanus` holds the system's views, not the user's tables.
    pub(super) fn search_path(&self) -> Vec<String> {
        let path = self.settings.search_path();
        path.into_iter().filter(|name| name != "$user").collect()
    }

    /// What functions may know of this session now.
    pub(super) fn session_values(
        &mut self,
        catalog: Arc<CatalogSnapshot>,
        transaction_micros: i64,
    ) -> Arc<SessionValues> {
        let statement_micros = self.wall_micros();
        let version = self.settings.version();
        let known = self.settings_cache.values.take().filter(|_| self.settings_cache.version == version);
        let known = known.unwrap_or_else(|| self.fresh_session_values());
        let values = SessionValues { transaction_micros, statement_micros, catalog, ..known.clone() };
        self.settings_cache = SettingsCache { version, values: Some(known) };
        Arc::new(values)
    }

    fn fresh_session_values(&self) -> SessionValues {
        let shown = self.settings.shown_values();
        SessionValues {
            transaction_micros: 0,
            statement_micros: 0,
            clock: Arc::clone(&self.shared.clock),
            dice: Arc::clone(&self.shared.dice),
            user: self.user.clone(),
            session_user: self.user.clone(),
            database: self.database_name.clone(),
            database_id: self.database,
            search_path: self.search_path(),
            time_zone: self.settings.time_zone(),
            settings: Arc::new(shown.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect()),
            setting_sink: Arc::<SettingChanges>::clone(&self.setting_changes),
            backend_pid: self.backend_pid,
            catalog: Arc::default(),
            sequence_values: Arc::clone(&self.sequence_values),
            last_commit: Arc::clone(&self.last_commit),
        }
    }

    /// Everything a statement in `transaction` may look at, with snapshots of `tables`.
    pub(super) async fn statement_context(
        &mut self,
        transaction: &mut Transaction,
        tables: &[TableId],
    ) -> Result<Arc<StatementContext>, SqlError> {
        let mut snapshots = HashMap::with_capacity(tables.len());
        if !tables.is_empty() {
            if transaction.fixed_point.is_none() {
                self.insist(tables).await?;
            }
            let point = self.read_point(transaction).await?;
            for &table in tables {
                if let Entry::Vacant(place) = snapshots.entry(table) {
                    place.insert(self.table_snapshot(transaction, table, point).await?);
                }
            }
        }
        let catalog = transaction.catalog.clone().unwrap_or_else(|| self.shared.node.catalog());
        let session = self.session_values(catalog, transaction.started_micros);
        let sequences = NodeSequences {
            node: Arc::clone(&self.shared.node),
            catalog: Arc::clone(&session.catalog),
            own: Arc::clone(&transaction.sequences),
        };
        Ok(Arc::new(StatementContext {
            snapshots,
            past: self.moments.tables(&self.shared.node),
            session,
            sequences: Arc::new(sequences),
            advisory: Arc::new(self.advisory_locks(transaction)),
            steps: BTreeMap::new(),
            cancel: self.cancel.execution().clone(),
            search: self.search_settings(),
        }))
    }

    fn search_settings(&self) -> SearchSettings {
        let positive = |name| usize::try_from(self.settings.integer(name)).unwrap_or(1).max(1);
        SearchSettings {
            use_indexes: self.settings.is_on("enable_indexscan"),
            scan_rows: self.settings.is_on("enable_seqscan"),
            ef_search: positive("hnsw.ef_search"),
            probes: positive("ivfflat.probes"),
        }
    }

    async fn read_point(&self, transaction: &mut Transaction) -> Result<ReadPoint, SqlError> {
        if let Some(fixed) = transaction.fixed_point {
            return Ok(fixed);
        }
        let pinned = self.shared.node.pinned_barrier(self.database).await;
        let (point, pin) = pinned.map_err(|error| node_error(&error))?;
        transaction.pin = Some(pin);
        if transaction.isolation == Isolation::RepeatableRead {
            transaction.fixed_point = Some(point);
        }
        transaction.last_point = Some(point);
        Ok(point)
    }

    /// A table at the point, with the transaction's own writes.
    pub(super) async fn table_snapshot(
        &self,
        transaction: &Transaction,
        table: TableId,
        point: ReadPoint,
    ) -> Result<Arc<TableSnapshot>, SqlError> {
        let shared = self.shared.node.catalog();
        let mut base = if shared.tables.contains_key(&table) {
            self.shared.node.snapshot(table, point).await.map_err(|error| storage_error(&error))?
        } else {
            self.own_new_table(transaction, table, point)?
        };
        let own = transaction.catalog.as_ref().and_then(|catalog| catalog.tables.get(&table));
        match own.map(|own| own.schema_version.cmp(&base.table.schema_version)) {
            Some(Ordering::Greater) => {
                if let Some(own) = own {
                    base = Arc::new(base.with_table(own).map_err(|error| storage_error(&error))?);
                }
            }
            // This transaction goes on with the catalog it has changed, which does not know the table any more.
            Some(Ordering::Less) => return Err(altered(&base)),
            Some(Ordering::Equal) | None => {}
        }
        match transaction.writes.get(&table) {
            Some(overlay) if overlay.table().schema_version != base.table.schema_version => {
                Err(altered(&base))
            }
            Some(overlay) => Ok(Arc::new(base.with_overlay(overlay))),
            None => Ok(base),
        }
    }

    /// A table that only this transaction knows has no committed rows.
    fn own_new_table(
        &self,
        transaction: &Transaction,
        table: TableId,
        point: ReadPoint,
    ) -> Result<Arc<TableSnapshot>, SqlError> {
        let meta =
            transaction.catalog.as_ref().and_then(|catalog| catalog.tables.get(&table)).ok_or_else(|| {
                SqlError::new(ErrorKind::UndefinedTable, format!("relation with OID {table} does not exist"))
            })?;
        Ok(Arc::new(TableSnapshot { table: Arc::clone(meta), read_ts: point.read_ts, segments: Vec::new() }))
    }
}

/// Somebody else has changed the table under what this transaction has done.
fn altered(table: &TableSnapshot) -> SqlError {
    SqlError::new(
        ErrorKind::SerializationFailure,
        format!("could not serialize access: table \"{}\" was altered", table.table.name),
    )
}
