//! Reading the past, and what holds it: instants, pins, named snapshots, dropped tables.

use std::sync::Arc;
use std::time::Duration;

use proto::catalog::{CatalogSnapshot, TableMeta};
use proto::time::ReadPoint;
use proto::{DatabaseId, TableId, Timestamp};
use segments::TableSnapshot;

use super::Node;
use crate::catalog::DroppedTable;
use crate::compactor::forget_dropped;
use crate::error::{Error, Result};
use crate::horizon::{NamedSnapshot, Pin};
use crate::owner::OwnerMessage;
use crate::tasks::sleep;

/// How far the clocks of those who give timestamps and those who use them may differ.
const CLOCK_TOLERANCE_MILLIS: u64 = 5_000;

/// A past instant of a database: what existed, and a pin that keeps its rows. Clones share the pin.
#[derive(Clone, Debug)]
pub struct Instant {
    pub ts: Timestamp,
    pub catalog: Arc<CatalogSnapshot>,
    _pin: Arc<Pin>,
}

impl Node {
    /// A read point that shows every acknowledged commit, and a pin that keeps it readable.
    ///
    /// # Errors
    /// As `barrier`.
    pub async fn pinned_barrier(&self, database: DatabaseId) -> Result<(ReadPoint, Pin)> {
        let runtime = self.runtime(database)?;
        self.catch_up(&runtime).await?;
        let pin = self.parts.horizons.pin_newest(&runtime.owner.published);
        // Asked afterwards: a process that was stopped in between has read a state that may be old by now.
        self.parts.lease.check()?;
        Ok((ReadPoint::at(pin.ts()), pin))
    }

    /// The time that relative times are counted from, milliseconds since 1970.
    #[must_use]
    pub fn oracle_millis(&self) -> u64 {
        self.parts.oracle.wall_millis()
    }

    /// Makes sure that every commit at or before an instant is shown, and that none will come. The instant itself,
    /// or where the clock has run ahead of the oracle the newest that can be had.
    ///
    /// # Errors
    /// `InFuture` when the clock has not reached it; when another server may have taken over.
    pub async fn settle(&self, database: DatabaseId, ts: Timestamp) -> Result<Timestamp> {
        let runtime = self.runtime(database)?;
        let oracle = &self.parts.oracle;
        let mut settled = ts;
        if ts > oracle.now() {
            let reached = self.parts.clock.now_millis().max(oracle.wall_millis());
            if ts.millis() > reached {
                return Err(Error::InFuture(ts));
            }
            settled = ts.min(oracle.next(1).await?);
        }
        // A commit under way may have drawn an earlier timestamp.
        if settled > runtime.owner.published.state().last_ts {
            runtime.owner.ask(|reply| OwnerMessage::Fence { reply }).await?;
        }
        self.parts.lease.check()?;
        Ok(settled)
    }

    /// The newest commit of a database that is shown.
    ///
    /// # Errors
    /// When the database does not exist.
    pub fn shown(&self, database: DatabaseId) -> Result<Timestamp> {
        Ok(self.runtime(database)?.owner.published.state().last_ts)
    }

    /// How far back tables can be read that say nothing else, milliseconds.
    #[must_use]
    pub fn retention_millis(&self) -> u64 {
        self.parts.settings.retention_millis
    }

    /// Waits until every commit at or before a timestamp is shown and none can come any more.
    ///
    /// # Errors
    /// `InFuture` when it lies further ahead of the clock than clocks differ.
    pub async fn await_guarantee(&self, database: DatabaseId, guarantee: Timestamp) -> Result<()> {
        loop {
            let reached = self.parts.clock.now_millis().max(self.parts.oracle.wall_millis());
            let missing = guarantee.millis().saturating_sub(reached);
            if missing > CLOCK_TOLERANCE_MILLIS {
                return Err(Error::InFuture(guarantee));
            }
            if missing == 0 {
                return self.settle(database, guarantee).await.map(|_| ());
            }
            sleep(Some(Duration::from_millis(missing))).await;
        }
    }

    /// A past instant of a database.
    ///
    /// # Errors
    /// `InFuture`; `BeforeHorizon` when even the catalog of then is not kept.
    pub async fn instant(&self, database: DatabaseId, ts: Timestamp) -> Result<Instant> {
        let ts = self.settle(database, ts).await?;
        let channel = self.runtime(database)?.owner.published.channel;
        let pin = Arc::new(self.parts.horizons.pin(channel, ts));
        let stored = self.parts.catalog.stored();
        let tables = stored.tables.values().filter(|table| table.database == database);
        self.parts.horizons.check_database(database, ts, tables)?;
        Ok(Instant { ts, catalog: self.parts.catalog.at(ts)?, _pin: pin })
    }

    /// A table of an instant's catalog. `held`: the instant has been read before, and is pinned since.
    ///
    /// # Errors
    /// `BeforeHorizon` when its rows are not kept; 0A000 when columns of then are gone.
    pub fn past_snapshot(
        &self,
        instant: &Instant,
        table: &Arc<TableMeta>,
        held: bool,
    ) -> Result<Arc<TableSnapshot>> {
        let now = self.parts.catalog.past_table(table).map_err(|error| match error {
            Error::BeforeHorizon { what, oldest, .. } => {
                Error::BeforeHorizon { what, asked: instant.ts, oldest }
            }
            other => other,
        })?;
        self.parts.horizons.check(&now, instant.ts, held)?;
        let runtime = self.runtime(table.database)?;
        let state = runtime.owner.published.state();
        let snapshot = match state.tables.get(&table.id) {
            Some(rows) => rows.past(table, instant.ts)?,
            None => TableSnapshot { table: Arc::clone(table), read_ts: instant.ts, segments: Vec::new() },
        };
        Ok(Arc::new(snapshot))
    }

    /// Gives an instant a name, which keeps it readable: of some tables, or of all of the database.
    ///
    /// # Errors
    /// 42710 for a name that is taken, `BeforeHorizon` when a table cannot be read at the instant.
    pub async fn create_snapshot(
        &self,
        database: DatabaseId,
        name: &str,
        instant: &Instant,
        only: Option<&[TableId]>,
    ) -> Result<()> {
        let in_database = |table: &&Arc<TableMeta>| table.database == database;
        let wanted = |table: &&Arc<TableMeta>| only.is_none_or(|only| only.contains(&table.id));
        let tables = instant.catalog.tables.values().filter(in_database).filter(wanted);
        let tables: Vec<Arc<TableMeta>> = tables.cloned().collect();
        for table in &tables {
            self.parts.catalog.past_table(table)?;
        }
        self.parts.horizons.create((database, name), instant.ts, &tables, only.is_none()).await
    }

    /// Gives an instant's name back.
    ///
    /// # Errors
    /// 42704 when there is none of the name.
    pub async fn drop_snapshot(&self, database: DatabaseId, name: &str) -> Result<()> {
        self.parts.horizons.drop_snapshot(database, name).await
    }

    /// The instant of a name.
    ///
    /// # Errors
    /// 42704 when there is none of the name.
    pub fn named_snapshot(&self, database: DatabaseId, name: &str) -> Result<Arc<NamedSnapshot>> {
        self.parts.horizons.snapshot(database, name)
    }

    /// All named snapshots.
    #[must_use]
    pub fn named_snapshots(&self) -> Vec<Arc<NamedSnapshot>> {
        self.parts.horizons.snapshots()
    }

    /// The dropped tables of a database that can be had back, the last drop first.
    #[must_use]
    pub fn dropped_tables(&self, database: DatabaseId) -> Vec<DroppedTable> {
        self.parts.catalog.dropped(database)
    }

    /// Lets go of what was dropped behind the horizon.
    pub(super) async fn forget_dropped(&self) -> Result<()> {
        let channels: Vec<_> =
            self.channels.read().iter().map(|(id, runtime)| (*id, Arc::clone(runtime))).collect();
        for (channel, runtime) in channels {
            forget_dropped(&self.parts, channel, &runtime.owner, &runtime.flusher).await?;
        }
        Ok(())
    }
}
