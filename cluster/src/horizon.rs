//! Horizons: before which instant the past of each table may be gone, and who holds it back.
//!
//! ```text
//! horizon/<table>            u64 LE: rows that ended at or before it may be purged, and the table itself when it
//!                            was dropped at or before it
//! snapshot/<database>/<name> `NamedSnapshot`
//! ```
//! A horizon follows the time at the distance of the table's retention, stays at or behind the last commit of the
//! channel (what an ordinary read reads at), behind every pin and every named snapshot that covers the table.
//! Whoever purges raises it first, here and then in the meta store; whoever reads pins first, then checks. Both
//! happen under one lock, so that nobody reads what is being purged.
//!
//! Invariants: a horizon only grows, over restarts too; a pin holds for the longer of the retention and
//! `LONGEST_PIN_MILLIS`, a named snapshot until it is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message;
use proto::catalog::TableMeta;
use proto::{ChannelId, DatabaseId, ErrorKind, SqlError, TableId, Timestamp};

use crate::catalog::{number, read_number};
use crate::error::{Error, Result};
use crate::follower::Published;
use crate::meta::{Guard, MetaStore, Outcome, Write};
use crate::oracle::TimestampOracle;

/// A reader holds the past at least this long, however short the retention is.
const LONGEST_PIN_MILLIS: u64 = 60 * 60 * 1000;

/// An instant that somebody has given a name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct NamedSnapshot {
    #[prost(uint64, tag = "1")]
    database: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(fixed64, tag = "3")]
    ts: u64,
    /// None: all tables of the database.
    #[prost(uint64, repeated, tag = "4")]
    tables: Vec<u64>,
    #[prost(bool, tag = "5")]
    all_tables: bool,
    /// Milliseconds since 1970.
    #[prost(uint64, tag = "6")]
    pub created_millis: u64,
}

impl NamedSnapshot {
    /// The instant.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        Timestamp(self.ts)
    }

    /// The database it belongs to.
    #[must_use]
    pub const fn of_database(&self) -> DatabaseId {
        DatabaseId(self.database)
    }

    /// The tables it holds; `None` for all of the database.
    #[must_use]
    pub fn only(&self) -> Option<Vec<TableId>> {
        (!self.all_tables).then(|| self.tables.iter().map(|table| TableId(*table)).collect())
    }

    fn covers(&self, table: &TableMeta) -> bool {
        self.database == table.database.0 && (self.all_tables || self.tables.contains(&table.id.0))
    }

    fn key(&self) -> String {
        format!("snapshot/{:020}/{}", self.database, self.name)
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// In memory ahead of the meta store while one is being written.
    marks: BTreeMap<TableId, Timestamp>,
    durable: BTreeMap<TableId, Timestamp>,
    pins: BTreeMap<(ChannelId, Timestamp), usize>,
    snapshots: BTreeMap<(DatabaseId, String), Arc<NamedSnapshot>>,
}

/// See the file header.
#[derive(Debug)]
pub(crate) struct Horizons {
    meta: Arc<dyn MetaStore>,
    oracle: Arc<dyn TimestampOracle>,
    /// Of tables that say nothing.
    retention_millis: u64,
    inner: Mutex<Inner>,
    /// Held while one is written.
    writing: tokio::sync::Mutex<()>,
}

/// Holds the past of a channel's tables from an instant on, until it is dropped.
#[derive(Debug)]
pub struct Pin {
    horizons: Arc<Horizons>,
    channel: ChannelId,
    ts: Timestamp,
}

impl Pin {
    /// The instant that is held.
    #[must_use]
    pub const fn ts(&self) -> Timestamp {
        self.ts
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut inner = self.horizons.inner.lock();
        let key = (self.channel, self.ts);
        if let Some(count) = inner.pins.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                inner.pins.remove(&key);
            }
        }
    }
}

impl Horizons {
    /// The horizons that the store knows.
    pub(crate) async fn open(
        meta: Arc<dyn MetaStore>,
        oracle: Arc<dyn TimestampOracle>,
        retention_millis: u64,
    ) -> Result<Self> {
        let mut inner = Inner::default();
        for entry in meta.list("horizon/").await?.entries {
            let table = entry.key.split('/').nth(1).and_then(|id| id.parse().ok()).map(TableId);
            let table = table.ok_or_else(|| Error::corrupted(&entry.key, "not a key of this version"))?;
            inner.durable.insert(table, Timestamp(read_number(&entry.key, &entry.value)?));
        }
        inner.marks = inner.durable.clone();
        for entry in meta.list("snapshot/").await?.entries {
            let snapshot = NamedSnapshot::decode(entry.value);
            let snapshot = snapshot.map_err(|error| Error::corrupted(&entry.key, error))?;
            inner.snapshots.insert((snapshot.of_database(), snapshot.name.clone()), Arc::new(snapshot));
        }
        let writing = tokio::sync::Mutex::default();
        Ok(Self { meta, oracle, retention_millis, inner: Mutex::new(inner), writing })
    }

    /// How far back a table can be read, milliseconds.
    pub(crate) fn retention_millis(&self, table: &TableMeta) -> u64 {
        table.options.retention_millis.unwrap_or(self.retention_millis)
    }

    /// Pins the newest commit that a channel shows.
    pub(crate) fn pin_newest(self: &Arc<Self>, published: &Published) -> Pin {
        let mut inner = self.inner.lock();
        let ts = published.state().last_ts;
        self.add_pin(&mut inner, published.channel, ts)
    }

    /// Pins an instant; whether it can be read is asked afterwards.
    pub(crate) fn pin(self: &Arc<Self>, channel: ChannelId, ts: Timestamp) -> Pin {
        self.add_pin(&mut self.inner.lock(), channel, ts)
    }

    fn add_pin(self: &Arc<Self>, inner: &mut Inner, channel: ChannelId, ts: Timestamp) -> Pin {
        *inner.pins.entry((channel, ts)).or_default() += 1;
        Pin { horizons: Arc::clone(self), channel, ts }
    }

    /// The first instant that is not older than `millis`.
    fn ago(&self, millis: u64) -> Timestamp {
        Timestamp::from_millis(self.oracle.wall_millis().saturating_sub(millis))
    }

    /// Moves a table's horizon to where it may be by now and makes it durable. `published` is the channel that
    /// serves the table; none for a dropped one, which no ordinary read sees.
    pub(crate) async fn raise(&self, table: &TableMeta, published: Option<&Published>) -> Result<Timestamp> {
        let _writing = self.writing.lock().await;
        let (mark, durable) = {
            let mut inner = self.inner.lock();
            let newest = published.map_or(Timestamp::MAX, |published| published.state().last_ts);
            let target = self.target(&inner, table).min(newest);
            let inner = &mut *inner;
            let mark = inner.marks.entry(table.id).or_default();
            *mark = target.max(*mark);
            (*mark, inner.durable.get(&table.id).copied().unwrap_or_default())
        };
        if mark > durable {
            let write = Write::put(horizon_key(table.id), number(mark.0));
            // No guard, so it is never refused.
            let _ = self.meta.commit(Vec::new(), vec![write]).await?;
            self.inner.lock().durable.insert(table.id, mark);
        }
        Ok(mark)
    }

    /// Where a table's horizon may move to, pins and snapshots considered; the newest commit is not.
    fn target(&self, inner: &Inner, table: &TableMeta) -> Timestamp {
        let retention = self.retention_millis(table);
        let honoured = self.ago(retention.max(LONGEST_PIN_MILLIS));
        let pins = (table.channel, honoured)..=(table.channel, Timestamp::MAX);
        let pinned = inner.pins.range(pins).next().map(|((_, ts), _)| *ts);
        let covering = inner.snapshots.values().filter(|snapshot| snapshot.covers(table));
        let held = covering.map(|snapshot| snapshot.at()).min();
        [pinned, held].into_iter().flatten().fold(self.ago(retention), Timestamp::min)
    }

    /// The horizon that a merge planned now would have; nothing is raised.
    pub(crate) fn expected(&self, table: &TableMeta, published: &Published) -> Timestamp {
        let inner = self.inner.lock();
        let mark = inner.marks.get(&table.id).copied().unwrap_or_default();
        self.target(&inner, table).min(published.state().last_ts).max(mark)
    }

    /// A table's horizon.
    pub(crate) fn mark(&self, table: TableId) -> Timestamp {
        self.inner.lock().marks.get(&table).copied().unwrap_or_default()
    }

    /// Whether a table can be read at an instant that is pinned. `held`: it was asked before, and the pin holds.
    ///
    /// # Errors
    /// `BeforeHorizon`.
    pub(crate) fn check(&self, table: &TableMeta, ts: Timestamp, held: bool) -> Result<()> {
        let inner = self.inner.lock();
        let mark = inner.marks.get(&table.id).copied().unwrap_or_default();
        let oldest = mark.max(self.ago(self.retention_millis(table)));
        let mut named = inner.snapshots.values().filter(|snapshot| snapshot.covers(table));
        if ts >= oldest || ts >= mark && (held || named.any(|snapshot| snapshot.at() == ts)) {
            return Ok(());
        }
        Err(Error::BeforeHorizon { what: format!("table \"{}\"", table.name), asked: ts, oldest })
    }

    /// Whether anything of a database can be read at an instant that is pinned.
    ///
    /// # Errors
    /// `BeforeHorizon`.
    pub(crate) fn check_database<'t>(
        &self,
        database: DatabaseId,
        ts: Timestamp,
        tables: impl Iterator<Item = &'t Arc<TableMeta>>,
    ) -> Result<()> {
        let longest = tables.map(|table| self.retention_millis(table)).fold(self.retention_millis, u64::max);
        let oldest = self.ago(longest);
        let inner = self.inner.lock();
        let is_named = |snapshot: &Arc<NamedSnapshot>| snapshot.database == database.0 && snapshot.at() == ts;
        if ts >= oldest || inner.snapshots.values().any(is_named) {
            return Ok(());
        }
        Err(Error::BeforeHorizon { what: "the database".to_owned(), asked: ts, oldest })
    }

    /// What the catalog's history must reach back to.
    pub(crate) fn catalog_horizon<'t>(&self, tables: impl Iterator<Item = &'t Arc<TableMeta>>) -> Timestamp {
        let longest = tables.map(|table| self.retention_millis(table)).fold(self.retention_millis, u64::max);
        let inner = self.inner.lock();
        let pinned = inner.pins.keys().map(|(_, ts)| *ts).min();
        let held = inner.snapshots.values().map(|snapshot| snapshot.at()).min();
        [pinned, held].into_iter().flatten().fold(self.ago(longest), Timestamp::min)
    }

    /// Forgets the horizons of tables that are not to come back.
    pub(crate) async fn forget(&self, is_known: impl Fn(TableId) -> bool) -> Result<()> {
        let _writing = self.writing.lock().await;
        let marks = self.inner.lock().durable.clone();
        let gone: Vec<TableId> = marks.into_keys().filter(|table| !is_known(*table)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let deletes = gone.iter().map(|table| Write::Delete { key: horizon_key(*table) }).collect();
        let _ = self.meta.commit(Vec::new(), deletes).await?;
        let mut inner = self.inner.lock();
        for table in gone {
            inner.durable.remove(&table);
            inner.marks.remove(&table);
        }
        Ok(())
    }

    /// Gives an instant a name. `tables` are those to be held, `all` whether new ones of the database count too.
    ///
    /// # Errors
    /// 42710 when the name is taken, `BeforeHorizon` when a table cannot be read at the instant any more.
    pub(crate) async fn create(
        &self,
        (database, name): (DatabaseId, &str),
        ts: Timestamp,
        tables: &[Arc<TableMeta>],
        all: bool,
    ) -> Result<()> {
        let snapshot = NamedSnapshot {
            database: database.0,
            name: name.to_owned(),
            ts: ts.0,
            tables: if all { Vec::new() } else { tables.iter().map(|table| table.id.0).collect() },
            all_tables: all,
            created_millis: self.oracle.wall_millis(),
        };
        let taken = || {
            SqlError::new(ErrorKind::DuplicateObject, format!("snapshot \"{name}\" already exists")).into()
        };
        let (key, place) = (snapshot.key(), (database, name.to_owned()));
        tables.iter().try_for_each(|table| self.check(table, ts, false))?;
        let value = snapshot.encode_to_vec();
        {
            let mut inner = self.inner.lock();
            // Held in memory before it is written: from here on nothing behind it is purged.
            let behind = |table: &&Arc<TableMeta>| inner.marks.get(&table.id).is_some_and(|mark| *mark > ts);
            if let Some(table) = tables.iter().find(behind) {
                let (what, oldest) = (format!("table \"{}\"", table.name), inner.marks[&table.id]);
                return Err(Error::BeforeHorizon { what, asked: ts, oldest });
            }
            if inner.snapshots.contains_key(&place) {
                return Err(taken());
            }
            inner.snapshots.insert(place.clone(), Arc::new(snapshot));
        }
        let guard = Guard::Absent { key: key.clone() };
        let written = self.meta.commit(vec![guard], vec![Write::put(key, value)]).await;
        match written {
            Ok(Outcome::Committed(_)) => Ok(()),
            Ok(Outcome::Refused { .. }) => {
                self.inner.lock().snapshots.remove(&place);
                Err(taken())
            }
            // Of unknown fate: it goes on holding until the next start finds out.
            Err(error) => Err(error),
        }
    }

    /// Gives an instant's name back.
    ///
    /// # Errors
    /// 42704 when there is none of the name.
    pub(crate) async fn drop_snapshot(&self, database: DatabaseId, name: &str) -> Result<()> {
        let snapshot = self.snapshot(database, name)?;
        let _ = self.meta.commit(Vec::new(), vec![Write::Delete { key: snapshot.key() }]).await?;
        self.inner.lock().snapshots.remove(&(database, name.to_owned()));
        Ok(())
    }

    /// The named snapshot of a database.
    ///
    /// # Errors
    /// 42704 when there is none of the name.
    pub(crate) fn snapshot(&self, database: DatabaseId, name: &str) -> Result<Arc<NamedSnapshot>> {
        let found = self.inner.lock().snapshots.get(&(database, name.to_owned())).cloned();
        found.ok_or_else(|| Error::UndefinedObject { what: format!("snapshot \"{name}\"") })
    }

    /// All named snapshots.
    pub(crate) fn snapshots(&self) -> Vec<Arc<NamedSnapshot>> {
        self.inner.lock().snapshots.values().cloned().collect()
    }
}

fn horizon_key(table: TableId) -> String {
    format!("horizon/{:020}", table.0)
}
