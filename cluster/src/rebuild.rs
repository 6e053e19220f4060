//! A meta store and empty logs made from the object store alone, for `elanus rebuild-meta` and `elanus restore`.
//!
//! Source: the newest catalog object (`catalog_objects`) and, per table, the highest manifest. Every database comes back
//! as of one instant: that up to which the files are known to hold everything, or an earlier one that was asked for.
//! What began or ended later is taken out again (`cut`), the catalog is rolled back to it (`catalog::roll_back`), so that
//! no transaction comes back in part. What no file had is lost; the report says which instant was reached.
//!
//! Why the highest manifest counts although the pointer that made it count is gone: a manifest is written when its objects
//! are, describes a state that was published, and is deleted before them. One whose commit failed therefore says
//! nothing that is wrong, and any later commit has a higher number.
//!
//! Numbers go on above everything seen: epochs, OIDs, segments, timestamps. The next start takes an epoch above the one
//! used here. The meta store must be empty; until everything is in it, `rebuild/unfinished` keeps a server from
//! starting on it.
//!
//! What it is not: a repair of damaged objects. A damaged catalog object or manifest ends it with the object's name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore};
use prost::Message as _;
use proto::catalog::{CatalogSnapshot, TableMeta};
use proto::time::{Clock, Dice};
use proto::{ChannelId, DatabaseId, Epoch, SegmentId, TableId, Timestamp};
use segments::format::catalog_object::{CATALOG_FOLDER, Entries, list_catalogs, read_catalog};
use segments::format::manifest::{ManifestId, TableFiles};
use segments::format::object_name::ObjectName;

use crate::catalog::{
    OIDS, REVISION, SEGMENTS, UNFINISHED, checkpoint_key, epoch_key, manifest_key, mentioned_tables, number,
    of_entries, read_number, roll_back,
};
use crate::catalog_objects::RecoveryMark;
use crate::channel::{Checkpoint, TableMark};
use crate::error::{Error, Result};
use crate::flusher::pointer_bytes;
use crate::lease::LEASE_KEY;
use crate::log::LogBroker;
use crate::meta::{Guard, MetaStore, Outcome, Write};
use crate::oracle::MARK_KEY;

mod cut;

/// Writes of one meta transaction: etcd takes 128.
const WRITES: usize = 100;
/// OIDs that are passed over, for those given out since the newest catalog object.
const OID_GAP: u64 = 1000;

/// Where the parts are, and what becomes of them.
#[derive(Clone, Debug)]
pub struct Target {
    /// Empty.
    pub meta: Arc<dyn MetaStore>,
    /// Without records.
    pub log: Arc<dyn LogBroker>,
    pub store: Arc<dyn ObjectStore>,
    pub clock: Arc<dyn Clock>,
    pub dice: Arc<dyn Dice>,
}

/// A database that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub name: String,
    /// What was committed later is lost. Zero when nothing of it was ever in files.
    pub as_of: Timestamp,
    pub tables: u64,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub databases: Vec<Recovered>,
    pub segments: u64,
    /// Of row versions in files, those that began after the instant and were taken out.
    pub cut_rows: u64,
    /// Objects that belong to nothing that came back; the server deletes them.
    pub ignored_objects: u64,
}

/// What a rebuild goes by.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) entries: Entries,
    /// The manifests that count; none: the highest of each table.
    pub(crate) pointers: Option<BTreeMap<TableId, ManifestId>>,
    /// The latest instant to bring back.
    pub(crate) until: Timestamp,
}

/// Makes a meta store from the newest catalog object. `progress` hears how many tables are done, and of how many.
///
/// # Errors
/// When the meta store is not empty, a log has records, there is no catalog object, or something it needs is damaged.
pub async fn rebuild(target: &Target, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Report> {
    let Some(n) = list_catalogs(target.store.as_ref(), CATALOG_FOLDER).await?.pop() else {
        let what = "a catalog object in the object store (catalog/…)".to_owned();
        return Err(Error::UndefinedObject { what });
    };
    let (entries, _) = read_catalog(target.store.as_ref(), CATALOG_FOLDER, n).await?;
    compose(target, Source { entries, pointers: None, until: Timestamp::MAX }, progress).await
}

/// What the keys of all objects say.
#[derive(Debug, Default)]
struct Found {
    objects: u64,
    epoch: Epoch,
    segment: SegmentId,
    table: TableId,
    manifests: BTreeMap<(DatabaseId, TableId), ManifestId>,
    of_table: BTreeMap<TableId, u64>,
}

impl Found {
    async fn list(store: &dyn ObjectStore) -> Result<Self> {
        let failed = |error| Error::from(segments::Error::store("list", "", error));
        let listed: Vec<ObjectMeta> = store.list(None).try_collect().await.map_err(failed)?;
        let mut found = Self::default();
        for name in listed.iter().filter_map(|object| ObjectName::parse(&object.location)) {
            found.objects += 1;
            found.epoch = found.epoch.max(name.epoch);
            found.table = found.table.max(name.table);
            *found.of_table.entry(name.table).or_default() += 1;
            match name.segment {
                Some(segment) => found.segment = found.segment.max(segment),
                None => {
                    let id = ManifestId { epoch: name.epoch, n: name.n };
                    let known = found.manifests.entry((name.database, name.table)).or_default();
                    *known = id.max(*known);
                }
            }
        }
        Ok(found)
    }
}

/// Everything that is known before anything is written.
struct Plan {
    entries: Entries,
    catalog: CatalogSnapshot,
    marks: BTreeMap<ChannelId, RecoveryMark>,
    instants: BTreeMap<DatabaseId, Timestamp>,
    tables: Vec<(Arc<TableMeta>, TableFiles)>,
    found: Found,
}

impl Plan {
    async fn make(target: &Target, source: Source) -> Result<Self> {
        let mut entries = source.entries;
        let found = Found::list(target.store.as_ref()).await?;
        let newest = of_entries(&entries)?;
        let marks = RecoveryMark::all(&entries)?;
        let complete = |channel| marks.get(channel).map_or(Timestamp::ZERO, |mark| Timestamp(mark.complete));
        let instants: BTreeMap<DatabaseId, Timestamp> = newest
            .databases
            .values()
            .map(|database| (database.id, complete(&database.home_channel).min(source.until)))
            .collect();
        let instant = |database: DatabaseId| instants.get(&database).copied().unwrap_or_default();
        let files = read_files(target, &found, source.pointers.as_ref(), &instants).await?;
        let mut read: BTreeMap<TableId, u64> = BTreeMap::new();
        for files in &files {
            let (table, at) = (files.table.id, instant(files.table.database));
            let surviving = files.segments.values().filter(|segment| segment.min_ts <= at);
            read.insert(table, surviving.map(|segment| segment.schema_version).max().unwrap_or_default());
        }
        let mut keep = BTreeSet::new();
        loop {
            let mut rolled = entries.clone();
            roll_back(&mut rolled, instant, &keep)?;
            let catalog = of_entries(&rolled)?;
            let is_ahead = |table: &&Arc<TableMeta>| {
                read.get(&table.id).is_some_and(|version| *version > table.schema_version)
            };
            // Written under a later definition than that of the instant: only the newest one reads it.
            let ahead: Vec<TableId> =
                catalog.tables.values().filter(is_ahead).map(|table| table.id).collect();
            let known = keep.len();
            keep.extend(ahead);
            if keep.len() == known {
                entries = rolled;
                break;
            }
        }
        let catalog = of_entries(&entries)?;
        let dropped: BTreeMap<TableId, Arc<TableMeta>> =
            mentioned_tables(&entries)?.into_iter().map(|table| (table.id, table)).collect();
        let definition = |id: TableId| catalog.tables.get(&id).or_else(|| dropped.get(&id)).cloned();
        let tables =
            files.into_iter().filter_map(|files| Some((definition(files.table.id)?, files))).collect();
        Ok(Self { entries, catalog, marks, instants, tables, found })
    }

    fn instant(&self, database: DatabaseId) -> Timestamp {
        self.instants.get(&database).copied().unwrap_or_default()
    }
}

/// What each table of a known database consists of.
async fn read_files(
    target: &Target,
    found: &Found,
    pointers: Option<&BTreeMap<TableId, ManifestId>>,
    instants: &BTreeMap<DatabaseId, Timestamp>,
) -> Result<Vec<TableFiles>> {
    let mut files = Vec::new();
    for ((database, table), highest) in &found.manifests {
        let pointer = match pointers {
            Some(pointers) => pointers.get(table),
            None => Some(highest),
        };
        if let Some(pointer) = pointer.filter(|_| instants.contains_key(database)) {
            files.push(TableFiles::read(target.store.as_ref(), *database, *table, *pointer).await?);
        }
    }
    Ok(files)
}

/// Makes meta store and logs. Nothing is written to the meta store before everything has been read.
pub(crate) async fn compose(
    target: &Target,
    source: Source,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report> {
    refuse_full(target.meta.as_ref()).await?;
    let plan = Plan::make(target, source).await?;
    let mut report = Report::default();
    let epoch = plan.found.epoch.next();
    let mut writes: Vec<Write> =
        plan.entries.iter().filter(|(key, _)| is_copied(key)).map(|(key, value)| put(key, value)).collect();
    let mut next_rows: BTreeMap<TableId, u64> = BTreeMap::new();
    let total = plan.tables.len() as u64;
    progress(0, total);
    for (n, (table, files)) in plan.tables.iter().enumerate() {
        let at = plan.instant(table.database);
        if files.purged > at {
            let (what, oldest) = (format!("table \"{}\"", table.name), files.purged);
            return Err(Error::BeforeHorizon { what, asked: at, oldest });
        }
        let id = ManifestId { epoch, n: n as u64 + 1 };
        let cut = cut::cut(target.store.as_ref(), table, files, at, id).await?;
        report.cut_rows += cut.rows;
        report.segments += cut.segments;
        writes.push(Write::put(manifest_key(table.id), pointer_bytes(cut.pointer)));
        let rows = files.segments.values().map(|segment| segment.max_row.0 + 1);
        next_rows.insert(table.id, rows.max().unwrap_or(1));
        progress(n as u64 + 1, total);
    }
    let known = plan.tables.iter().filter_map(|(table, _)| plan.found.of_table.get(&table.id));
    report.ignored_objects = plan.found.objects - known.sum::<u64>();
    writes.extend(counters(&plan)?);
    writes.push(Write::put(MARK_KEY, number(oracle_mark(&plan, target.clock.as_ref())?.0)));
    for database in plan.catalog.databases.values() {
        let tables = plan.catalog.tables.values().filter(|table| table.database == database.id).count();
        let (name, as_of) = (database.name.clone(), plan.instant(database.id));
        report.databases.push(Recovered { name, as_of, tables: tables as u64 });
        writes
            .extend(channel_writes(target, &plan, (database.home_channel, as_of), epoch, &next_rows).await?);
    }
    commit(target.meta.as_ref(), writes, plan.catalog.revision).await?;
    Ok(report)
}

/// The lease of whoever rebuilds is no content.
async fn refuse_full(meta: &dyn MetaStore) -> Result<()> {
    if meta.list("").await?.entries.iter().any(|entry| entry.key != LEASE_KEY) {
        let reason = "it is not empty, and nothing is overwritten".to_owned();
        return Err(Error::Unavailable { what: "the meta store".into(), reason });
    }
    Ok(())
}

/// Entries that go into the meta store as they are.
fn is_copied(key: &str) -> bool {
    let others = ["counter/", "oracle/", "recovery/", "storage/"];
    key != REVISION && !others.iter().any(|other| key.starts_with(other))
}

fn put(key: &str, value: &Bytes) -> Write {
    Write::put(key, value.clone())
}

/// Above every number that is in use or was seen.
fn counters(plan: &Plan) -> Result<[Write; 2]> {
    let known = |key: &str| plan.entries.get(key).map_or(Ok(0), |value| read_number(key, value));
    let oids = known(OIDS)?.max(plan.found.table.0 + 1).max(u64::from(proto::catalog::FIRST_USER_OID));
    let segments = known(SEGMENTS)?.max(plan.found.segment.0 + 1);
    Ok([Write::put(OIDS, number(oids + OID_GAP)), Write::put(SEGMENTS, number(segments))])
}

/// Above every timestamp that was given and is known of, and not behind the clock.
fn oracle_mark(plan: &Plan, clock: &dyn Clock) -> Result<Timestamp> {
    let known = plan.entries.get(MARK_KEY).map_or(Ok(0), |value| read_number(MARK_KEY, value))?;
    let marks = plan.marks.values().flat_map(|mark| [mark.complete, mark.last_ts]);
    let files = plan.tables.iter().flat_map(|(_, files)| files.segments.values());
    let rows =
        files.map(|segment| segment.max_ts.0).chain(plan.tables.iter().map(|(_, files)| files.purged.0));
    let seen = marks.chain(rows).chain([known]).max().unwrap_or_default();
    Ok(Timestamp(seen).next().max(Timestamp::from_millis(clock.now_millis())))
}

/// The epoch and the checkpoint of a channel whose log begins anew.
async fn channel_writes(
    target: &Target,
    plan: &Plan,
    (channel, as_of): (ChannelId, Timestamp),
    epoch: Epoch,
    next_rows: &BTreeMap<TableId, u64>,
) -> Result<[Write; 2]> {
    let bounds = target.log.open(channel, target.dice.next_u64()).await?;
    if !target.log.read(channel, bounds.first, 1).await?.is_empty() || bounds.epoch > Epoch(0) {
        let reason = "it has records, and nothing is overwritten".to_owned();
        return Err(Error::Unavailable { what: format!("log channel {channel}"), reason });
    }
    let mark = plan.marks.get(&channel).cloned().unwrap_or_default();
    let mut tables: BTreeMap<u64, u64> = mark.tables.iter().map(|mark| (mark.table, mark.next_row)).collect();
    for (table, _) in plan.tables.iter().filter(|(table, _)| table.channel == channel) {
        let next = tables.entry(table.id.0).or_default();
        *next = next_rows.get(&table.id).copied().unwrap_or(1).max(*next);
    }
    let checkpoint = Checkpoint {
        offset: bounds.first.0,
        epoch: 0,
        last_ts: as_of.0,
        incarnation: bounds.incarnation,
        sequences: mark.sequences,
        tables: tables.into_iter().map(|(table, next_row)| TableMark { table, next_row }).collect(),
    };
    Ok([
        Write::put(checkpoint_key(channel), checkpoint.encode_to_vec()),
        Write::put(epoch_key(channel), number(epoch.0)),
    ])
}

/// Writes everything; the revision, without which the store counts as empty, comes last.
async fn commit(meta: &dyn MetaStore, writes: Vec<Write>, revision: u64) -> Result<()> {
    let guard = || vec![Guard::Absent { key: REVISION.into() }];
    let taken = |outcome| match outcome {
        Outcome::Committed(_) => Ok(()),
        Outcome::Refused { .. } => {
            let reason = "somebody else fills it".to_owned();
            Err(Error::Unavailable { what: "the meta store".into(), reason })
        }
    };
    taken(meta.commit(guard(), vec![Write::put(UNFINISHED, number(1))]).await?)?;
    for writes in writes.chunks(WRITES) {
        taken(meta.commit(guard(), writes.to_vec()).await?)?;
    }
    let last = vec![Write::put(REVISION, number(revision)), Write::Delete { key: UNFINISHED.into() }];
    taken(meta.commit(guard(), last).await?)
}
