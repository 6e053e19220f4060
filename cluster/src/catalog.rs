//! What exists, in the meta store: typed keys, loading, changing, and the counters that ids come from.
//!
//! ```text
//! catalog/revision                    u64 LE, grows with every change of what is below `catalog/`
//! catalog/database/<id>               proto::catalog stored forms; ids as 20 digits, so that listings are in order
//! catalog/table/<id>
//! catalog/sequence/<id>
//! catalog/namespace/<oid>
//! catalog/comment/<catalog>-<object>-<column>
//! counter/oid | counter/segment       u64 LE, the next number to give out
//! channel/<id>/epoch                  u64 LE, the epoch of the owner
//! channel/<id>/checkpoint             `channel::Checkpoint`
//! channel/<id>/decision/<txn>         `channel::Decision`: the transaction is decided, its Commit record may
//!                                     still be missing from the log
//! storage/<table>/manifest            pointer to the table's newest manifest (`flusher`)
//! oracle/mark                         see `oracle`
//! history/…                           see `history`
//! rebuild/unfinished                  see `rebuild`
//! horizon/… | snapshot/…              see `horizon`
//! ```
//! Invariants: a change is one meta transaction guarded by `catalog/revision`, so two changes never overlap;
//! numbers are never given out twice (blocks lost in a crash stay unused).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use proto::catalog::{
    CatalogChange, CatalogSnapshot, DatabaseMeta, FIRST_USER_OID, FormError, ObjectAddress, TableMeta,
    decode_comment, decode_database, decode_namespace, decode_sequence, decode_table, encode_comment,
    encode_database, encode_namespace, encode_sequence, encode_table,
};
use proto::{ChannelId, DatabaseId, Oid, SegmentId, SequenceId, TableId, Timestamp, TxnId};

use crate::error::{Error, Result};
use crate::horizon::Horizons;
use crate::meta::{Guard, MetaStore, Outcome, Write};

mod history;
mod rollback;

pub use history::DroppedTable;
use history::Step;
pub(crate) use history::mentioned_tables;
pub(crate) use rollback::roll_back;

const PREFIX: &str = "catalog/";
pub(crate) const REVISION: &str = "catalog/revision";
pub(crate) const OIDS: &str = "counter/oid";
pub(crate) const SEGMENTS: &str = "counter/segment";
/// There while a rebuild fills the store.
pub(crate) const UNFINISHED: &str = "rebuild/unfinished";
/// The database users get.
pub const DEFAULT_DATABASE: &str = "elanus";

/// Keys of the other parts of the store.
pub(crate) fn epoch_key(channel: ChannelId) -> String {
    format!("channel/{:020}/epoch", channel.0)
}

pub(crate) fn checkpoint_key(channel: ChannelId) -> String {
    format!("channel/{:020}/checkpoint", channel.0)
}

pub(crate) fn decision_prefix(channel: ChannelId) -> String {
    format!("channel/{:020}/decision/", channel.0)
}

pub(crate) fn decision_key(channel: ChannelId, txn: TxnId) -> String {
    format!("{}{:020}", decision_prefix(channel), txn.0)
}

pub(crate) fn manifest_key(table: TableId) -> String {
    format!("storage/{:020}/manifest", table.0)
}

/// A u64 as the store keeps it.
pub(crate) fn number(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

/// Reads a u64 back.
pub(crate) fn read_number(key: &str, value: &[u8]) -> Result<u64> {
    let bytes = value.try_into().map_err(|_| Error::corrupted(key, "not 8 bytes"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// What a node knows of what exists and existed.
#[derive(Debug)]
struct Known {
    catalog: Arc<CatalogSnapshot>,
    /// Ascending by revision.
    steps: Vec<Arc<Step>>,
    /// Instants before it cannot be told.
    since: Timestamp,
    /// Follow from the above and the horizons.
    dropped: Vec<DroppedTable>,
    stored: Arc<CatalogSnapshot>,
}

impl Known {
    fn new(
        catalog: Arc<CatalogSnapshot>,
        steps: Vec<Arc<Step>>,
        since: Timestamp,
        horizons: &Horizons,
    ) -> Result<Self> {
        let dropped = history::dropped(&catalog, &steps, horizons)?;
        let stored = history::stored(&catalog, &dropped);
        Ok(Self { catalog, steps, since, dropped, stored })
    }

    fn after(&self, catalog: Arc<CatalogSnapshot>, step: Step, horizons: &Horizons) -> Result<Self> {
        let dropped = history::dropped_after(&self.dropped, &step, &catalog, horizons)?;
        let stored = history::stored(&catalog, &dropped);
        let mut steps = self.steps.clone();
        steps.push(Arc::new(step));
        Ok(Self { catalog, steps, since: self.since, dropped, stored })
    }
}

/// The catalog of a node: the store's content as an immutable value, and the way to change it.
#[derive(Debug)]
pub(crate) struct Catalog {
    meta: Arc<dyn MetaStore>,
    horizons: Arc<Horizons>,
    known: ArcSwap<Known>,
    /// One change at a time from here; other nodes' changes are found by the guard.
    turn: tokio::sync::Mutex<()>,
}

/// A change that is in the store but not shown yet.
#[derive(Debug)]
#[must_use]
pub(crate) struct Changed {
    known: Known,
}

impl Changed {
    /// The catalog with the change.
    pub(crate) const fn catalog(&self) -> &Arc<CatalogSnapshot> {
        &self.known.catalog
    }

    /// What storage keeps from now on.
    pub(crate) const fn stored(&self) -> &Arc<CatalogSnapshot> {
        &self.known.stored
    }
}

impl Catalog {
    /// Loads the catalog; an empty store gets its first databases. `now` is where the history of a store begins
    /// that has kept none.
    pub(crate) async fn open(
        meta: Arc<dyn MetaStore>,
        horizons: Arc<Horizons>,
        now: Timestamp,
    ) -> Result<Self> {
        if meta.get(UNFINISHED).await?.is_some() {
            let reason = "a rebuild of it was interrupted; empty it and rebuild it again";
            return Err(Error::Unavailable { what: "the meta store".into(), reason: reason.into() });
        }
        if load(meta.as_ref()).await?.revision == 0 {
            bootstrap(meta.as_ref()).await?;
        }
        Self::begin_history(meta.as_ref(), now).await?;
        let known = ArcSwap::from_pointee(load_known(meta.as_ref(), &horizons).await?);
        Ok(Self { meta, horizons, known, turn: tokio::sync::Mutex::default() })
    }

    fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }

    /// The catalog as it is shown.
    pub(crate) fn snapshot(&self) -> Arc<CatalogSnapshot> {
        Arc::clone(&self.known.load().catalog)
    }

    /// Writes changes of an instant together with other keys. They are not shown before `publish`. A changed table
    /// must be the next version of the one that exists, or was dropped.
    pub(crate) async fn change(
        &self,
        changes: &[CatalogChange],
        ts: Timestamp,
        guards: Vec<Guard>,
        writes: Vec<Write>,
    ) -> Result<Changed> {
        let _turn = self.turn.lock().await;
        let mut base = self.known();
        // Another node may have changed the catalog: look again, at most as often as it wins.
        loop {
            let changes = expand(&base.catalog, changes);
            check(&base.catalog, &base.stored, &changes)?;
            let mut next = apply_expanded(&base.catalog, &changes);
            let revision = base.catalog.revision;
            next.revision = revision + 1;
            let mut all_guards = vec![Guard::Equals { key: REVISION.into(), value: number(revision) }];
            all_guards.extend(guards.iter().cloned());
            let mut all_writes = vec![Write::put(REVISION, number(next.revision))];
            all_writes.extend(changes.iter().filter_map(change_write));
            let step = Step::of(self.meta.as_ref(), next.revision, ts, &all_writes).await?;
            all_writes.push(step.write());
            all_writes.extend(writes.iter().cloned());
            match self.meta.commit(all_guards, all_writes).await? {
                Outcome::Committed(_) => {
                    return Ok(Changed { known: base.after(Arc::new(next), step, &self.horizons)? });
                }
                Outcome::Refused { guard: 0 } => {
                    base = Arc::new(load_known(self.meta.as_ref(), &self.horizons).await?);
                }
                Outcome::Refused { .. } => {
                    return Err(Error::Unavailable {
                        what: "the channel".into(),
                        reason: "another owner has taken over".into(),
                    });
                }
            }
        }
    }

    /// Shows a written change.
    pub(crate) fn publish(&self, changed: Changed) {
        let known = Arc::new(changed.known);
        self.known.rcu(|current| {
            let newer = current.catalog.revision < known.catalog.revision;
            if newer { Arc::clone(&known) } else { Arc::clone(current) }
        });
    }

    /// Reads everything again: after a change of unknown outcome.
    pub(crate) async fn reload(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let known = load_known(self.meta.as_ref(), &self.horizons).await?;
        self.publish(Changed { known });
        Ok(())
    }

    /// The first of `count` OIDs that nobody else gets.
    pub(crate) async fn allocate_oids(&self, count: u32) -> Result<Oid> {
        let first = self.allocate(OIDS, u64::from(FIRST_USER_OID), u64::from(count)).await?;
        let last = first + u64::from(count);
        u32::try_from(last).map_err(|_| Error::Internal("all object identifiers are used up".into()))?;
        Ok(Oid(first as u32))
    }

    /// The first of `count` segment ids that nobody else gets.
    pub(crate) async fn allocate_segments(&self, count: u64) -> Result<SegmentId> {
        Ok(SegmentId(self.allocate(SEGMENTS, 1, count).await?))
    }

    async fn allocate(&self, key: &str, start: u64, count: u64) -> Result<u64> {
        loop {
            let entry = self.meta.get(key).await?;
            let (first, guard) = match &entry {
                None => (start, Guard::Absent { key: key.into() }),
                Some(entry) => (
                    read_number(key, &entry.value)?,
                    Guard::Equals { key: key.into(), value: entry.value.clone() },
                ),
            };
            let written = self.meta.commit(vec![guard], vec![Write::put(key, number(first + count))]).await;
            match written {
                Ok(Outcome::Committed(_)) => return Ok(first),
                Ok(Outcome::Refused { .. }) => {}
                // The numbers stay unused in any case: nothing of the caller's is in doubt.
                Err(Error::Unknown { reason }) => {
                    return Err(Error::Unavailable { what: "the meta store".into(), reason });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A dropped database takes its tables and sequences along; a new one without a channel gets its own, and a
/// table without one gets its database's home channel. Changes of indexes become changes of their tables as those are
/// by now.
fn expand(base: &CatalogSnapshot, changes: &[CatalogChange]) -> Vec<CatalogChange> {
    let mut expanded = Vec::with_capacity(changes.len());
    let mut view = base.clone();
    for change in changes {
        change.apply(&mut view);
        match change {
            CatalogChange::DropDatabase(id) => {
                let tables = base.tables.values().filter(|table| table.database == *id);
                expanded.extend(tables.map(|table| CatalogChange::DropTable(table.id)));
                let sequences = base.sequences.values().filter(|sequence| sequence.database == *id);
                expanded.extend(sequences.map(|sequence| CatalogChange::DropSequence(sequence.id)));
                let namespaces = base.namespaces.values().filter(|namespace| namespace.database == *id);
                expanded.extend(namespaces.map(|namespace| CatalogChange::DropNamespace(namespace.oid)));
                expanded.extend(comments_of(base, id.0 as u32));
                expanded.push(change.clone());
            }
            CatalogChange::PutDatabase(database) if database.home_channel == ChannelId(0) => {
                let mut database = database.as_ref().clone();
                database.home_channel = ChannelId(database.id.0);
                expanded.push(CatalogChange::PutDatabase(Arc::new(database)));
            }
            CatalogChange::DropTable(id) => {
                expanded.extend(comments_of(base, id.oid().0));
                expanded.push(change.clone());
            }
            CatalogChange::DropSequence(id) => {
                expanded.extend(comments_of(base, id.oid().0));
                expanded.push(change.clone());
            }
            CatalogChange::DropNamespace(oid) => {
                expanded.extend(comments_of(base, oid.0));
                expanded.push(change.clone());
            }
            CatalogChange::PutTable(table) => expanded.push(put_table(&view, table.id)),
            CatalogChange::PutIndex(id, _) | CatalogChange::DropIndex(id, _)
                if view.tables.contains_key(id) =>
            {
                expanded.push(put_table(&view, *id));
            }
            other => expanded.push(other.clone()),
        }
    }
    expanded
}

/// The change that makes a table what it is in `view`, on its database's home channel unless it has one.
fn put_table(view: &CatalogSnapshot, id: TableId) -> CatalogChange {
    let mut table = Arc::clone(&view.tables[&id]);
    if table.channel == ChannelId(0) {
        let home = view.databases.get(&table.database).map(|database| database.home_channel);
        Arc::make_mut(&mut table).channel = home.unwrap_or_default();
    }
    CatalogChange::PutTable(table)
}

/// Whether two forms of a table differ in their indexes at most.
fn same_but_indexes(left: &TableMeta, right: &TableMeta) -> bool {
    TableMeta { indexes: right.indexes.clone(), ..left.clone() } == *right
}

/// The comments on a dropped object and its columns.
fn comments_of(base: &CatalogSnapshot, object: u32) -> impl Iterator<Item = CatalogChange> {
    let about = base.comments.keys().filter(move |about| about.object == object);
    about.map(|about| CatalogChange::PutComment(*about, None))
}

/// As `check`, of one table.
fn check_table(view: &CatalogSnapshot, stored: &CatalogSnapshot, table: &TableMeta) -> Result<()> {
    match view.tables.get(&table.id) {
        None if !view.databases.contains_key(&table.database) => return Err(Error::SchemaChanged),
        None if table.schema_version > 1 => {
            let before = stored.tables.get(&table.id);
            if before.is_none_or(|before| before.schema_version + 1 != table.schema_version) {
                return Err(Error::UndefinedTable(table.id));
            }
        }
        Some(known)
            if known.schema_version + 1 != table.schema_version && !same_but_indexes(known, table) =>
        {
            return Err(Error::SchemaChanged);
        }
        _ => {}
    }
    let mut others = view.clone();
    others.tables.remove(&table.id);
    for name in std::iter::once(table.name.as_str()).chain(table.index_names()) {
        if others.relation_exists(table.database, &table.namespace, name) {
            return Err(Error::DuplicateRelation(name.to_owned()));
        }
    }
    Ok(())
}

/// Refuses changes that do not fit what exists by now, or, of a table that comes back, is still stored.
fn check(base: &CatalogSnapshot, stored: &CatalogSnapshot, changes: &[CatalogChange]) -> Result<()> {
    let mut view = base.clone();
    for change in changes {
        match change {
            CatalogChange::PutTable(table) => check_table(&view, stored, table)?,
            CatalogChange::PutSequence(sequence) => {
                let mut others = view.clone();
                others.sequences.remove(&sequence.id);
                if others.relation_exists(sequence.database, &sequence.namespace, &sequence.name) {
                    return Err(Error::DuplicateRelation(sequence.name.clone()));
                }
            }
            CatalogChange::PutDatabase(database) => {
                if view.database(&database.name).is_some_and(|known| known.id != database.id) {
                    return Err(Error::DuplicateDatabase(database.name.clone()));
                }
            }
            CatalogChange::DropTable(id) if !view.tables.contains_key(id) => {
                return Err(Error::UndefinedTable(*id));
            }
            CatalogChange::DropSequence(id) if !view.sequences.contains_key(id) => {
                return Err(Error::UndefinedObject { what: format!("sequence with OID {id}") });
            }
            CatalogChange::DropDatabase(id) if !view.databases.contains_key(id) => {
                return Err(Error::UndefinedObject { what: format!("database with OID {id}") });
            }
            // Without their table; with it `expand` has made them changes of the table.
            CatalogChange::PutIndex(id, _) | CatalogChange::DropIndex(id, _) => {
                return Err(Error::UndefinedTable(*id));
            }
            CatalogChange::PutNamespace(namespace) => {
                let known = view.namespace(namespace.database, &namespace.name);
                if known.is_some_and(|known| known.oid != namespace.oid) {
                    return Err(Error::DuplicateSchema(namespace.name.clone()));
                }
            }
            CatalogChange::DropNamespace(oid) if !view.namespaces.contains_key(oid) => {
                return Err(Error::UndefinedObject { what: format!("schema with OID {oid}") });
            }
            CatalogChange::DropTable(_)
            | CatalogChange::DropSequence(_)
            | CatalogChange::DropDatabase(_)
            | CatalogChange::DropNamespace(_)
            | CatalogChange::PutComment(..) => {}
        }
        apply_one(change, &mut view);
    }
    // Whoever planned a foreign key saw the key it refers to; it may be gone by now, or come to be referred to.
    let resolves = |table: &Arc<TableMeta>| view.references_of(table).count() == table.foreign_keys.len();
    if view.tables.values().all(resolves) { Ok(()) } else { Err(Error::SchemaChanged) }
}

fn object_key(kind: &str, id: u64) -> String {
    format!("catalog/{kind}/{id:020}")
}

fn comment_key(about: ObjectAddress) -> String {
    format!("catalog/comment/{}-{}-{}", about.class, about.object, about.column)
}

/// What a change that `expand` gave writes.
fn change_write(change: &CatalogChange) -> Option<Write> {
    let delete = |kind, id| Write::Delete { key: object_key(kind, id) };
    Some(match change {
        CatalogChange::PutDatabase(database) => {
            Write::put(object_key("database", database.id.0), encode_database(database))
        }
        CatalogChange::DropDatabase(id) => delete("database", id.0),
        CatalogChange::PutTable(table) => Write::put(object_key("table", table.id.0), encode_table(table)),
        CatalogChange::DropTable(id) => delete("table", id.0),
        CatalogChange::PutSequence(sequence) => {
            Write::put(object_key("sequence", sequence.id.0), encode_sequence(sequence))
        }
        CatalogChange::DropSequence(id) => delete("sequence", id.0),
        CatalogChange::PutNamespace(namespace) => {
            Write::put(object_key("namespace", namespace.oid.0.into()), encode_namespace(namespace))
        }
        CatalogChange::DropNamespace(oid) => delete("namespace", oid.0.into()),
        CatalogChange::PutComment(about, Some(text)) => {
            Write::put(comment_key(*about), encode_comment(*about, text))
        }
        CatalogChange::PutComment(about, None) => Write::Delete { key: comment_key(*about) },
        CatalogChange::PutIndex(..) | CatalogChange::DropIndex(..) => return None,
    })
}

/// The catalog after expanded changes, whose tables are whole: their indexes are not taken from what is known.
fn apply_expanded(base: &CatalogSnapshot, changes: &[CatalogChange]) -> CatalogSnapshot {
    let mut next = base.clone();
    changes.iter().for_each(|change| apply_one(change, &mut next));
    next
}

fn apply_one(change: &CatalogChange, snapshot: &mut CatalogSnapshot) {
    match change {
        CatalogChange::PutTable(table) => {
            snapshot.tables.insert(table.id, Arc::clone(table));
        }
        other => other.apply(snapshot),
    }
}

/// Everything below `catalog/` at one revision of the store.
pub(crate) async fn load(meta: &dyn MetaStore) -> Result<CatalogSnapshot> {
    let listing = meta.list(PREFIX).await?;
    of_entries(&listing.entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
}

/// The catalog that entries make; those of other parts are passed over.
pub(crate) fn of_entries(entries: &BTreeMap<String, Bytes>) -> Result<CatalogSnapshot> {
    let mut snapshot = CatalogSnapshot::default();
    for (key, value) in entries.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
        if key == REVISION {
            snapshot.revision = read_number(key, value)?;
        } else {
            put_entry(&mut snapshot, key, value)?;
        }
    }
    Ok(snapshot)
}

/// The catalog with its history, both of one revision.
async fn load_known(meta: &dyn MetaStore, horizons: &Horizons) -> Result<Known> {
    loop {
        let snapshot = load(meta).await?;
        let (steps, since) = history::load(meta).await?;
        if load(meta).await?.revision == snapshot.revision {
            let since = since.unwrap_or_default();
            return Known::new(Arc::new(snapshot), steps, since, horizons);
        }
    }
}

/// Puts what a key holds into a catalog.
fn put_entry(snapshot: &mut CatalogSnapshot, key: &str, value: &[u8]) -> Result<()> {
    let damaged = |error: FormError| Error::corrupted(key, error);
    match key.split('/').nth(1) {
        Some("database") => {
            let database = decode_database(value).map_err(damaged)?;
            snapshot.databases.insert(database.id, database);
        }
        Some("table") => {
            let table = decode_table(value).map_err(damaged)?;
            snapshot.tables.insert(table.id, table);
        }
        Some("sequence") => {
            let sequence = decode_sequence(value).map_err(damaged)?;
            snapshot.sequences.insert(sequence.id, sequence);
        }
        Some("namespace") => {
            let namespace = decode_namespace(value).map_err(damaged)?;
            snapshot.namespaces.insert(namespace.oid, namespace);
        }
        Some("comment") => {
            let (about, text) = decode_comment(value).map_err(damaged)?;
            snapshot.comments.insert(about, text);
        }
        _ => return Err(Error::corrupted(key, "not a key of this version")),
    }
    Ok(())
}

/// Takes what a key stands for out of a catalog.
fn remove_entry(snapshot: &mut CatalogSnapshot, key: &str) -> Result<()> {
    let damaged = || Error::corrupted(key, "not a key of this version");
    let mut parts = key.split('/').skip(1);
    let (kind, name) = (parts.next().ok_or_else(damaged)?, parts.next().ok_or_else(damaged)?);
    if kind == "comment" {
        snapshot.comments.retain(|about, _| comment_key(*about) != key);
        return Ok(());
    }
    let id: u64 = name.parse().map_err(|_| damaged())?;
    match kind {
        "database" => drop(snapshot.databases.remove(&DatabaseId(id))),
        "table" => drop(snapshot.tables.remove(&TableId(id))),
        "sequence" => drop(snapshot.sequences.remove(&SequenceId(id))),
        "namespace" => drop(snapshot.namespaces.remove(&Oid(id as u32))),
        _ => return Err(damaged()),
    }
    Ok(())
}

/// The databases of a new cluster, with the OIDs PostgreSQL gives the first two.
async fn bootstrap(meta: &dyn MetaStore) -> Result<()> {
    let databases = [(1, "template1"), (5, "postgres"), (16_384, DEFAULT_DATABASE)];
    let mut writes = vec![Write::put(REVISION, number(1))];
    writes.push(Write::put(history::SINCE, number(0)));
    writes.extend(databases.into_iter().filter_map(|(id, name)| {
        change_write(&CatalogChange::PutDatabase(Arc::new(DatabaseMeta {
            id: DatabaseId(id),
            name: name.into(),
            home_channel: ChannelId(id),
            extensions: Vec::new(),
        })))
    }));
    // A loser of this race finds the winner's databases.
    let _ = meta.commit(vec![Guard::Absent { key: REVISION.into() }], writes).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
