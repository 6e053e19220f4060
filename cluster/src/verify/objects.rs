//! The objects that manifests name, each read once, and what nothing names.
//!
//! Invariant: the bytes of an object are compared with the checksum its manifest has before anything else is made of
//! them.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use proto::catalog::{CatalogSnapshot, TableMeta};
use segments::format::catalog_object::{CATALOG_FOLDER, CatalogObject, list_catalogs, read_catalog};
use segments::format::manifest::{Manifest, SegmentFiles, TableFiles};
use segments::format::object_name::ObjectName;
use segments::store::read_object;
use segments::{SealedSegment, verify_object};

use super::{Progress, Report};
use crate::error::{Error, Result};
use crate::flusher::{table_files, tables_with_files};
use crate::meta::MetaStore;

/// A table as it is read, and the objects it consists of.
pub(super) type Table = (Arc<TableMeta>, TableFiles);

/// One object store, what was seen of it, and what was found.
pub(super) struct Walk<'a> {
    pub(super) store: &'a dyn ObjectStore,
    pub(super) report: Report,
    progress: Progress<'a>,
    /// Objects and segments that were read.
    objects: BTreeSet<Path>,
    segments: BTreeSet<Vec<Path>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(store: &'a dyn ObjectStore, progress: Progress<'a>) -> Self {
        let (objects, segments) = (BTreeSet::new(), BTreeSet::new());
        Self { store, report: Report::default(), progress, objects, segments }
    }

    /// The tables of a meta store by their pointers; those whose manifests are damaged are reported.
    pub(super) async fn tables_of(
        &mut self,
        meta: &dyn MetaStore,
        catalog: &CatalogSnapshot,
    ) -> Result<Vec<Table>> {
        self.report.tables = catalog.tables.len() as u64;
        let objects = self.list().await?;
        let mut tables = Vec::new();
        for id in tables_with_files(meta).await? {
            let table = catalog.tables.get(&id);
            let of_object =
                || objects.iter().find(|(name, _)| name.table == id).map(|(name, _)| name.database);
            self.report.dropped_tables += u64::from(table.is_none());
            let Some(database) = table.map(|table| table.database).or_else(of_object) else {
                self.report.damaged(format!("manifest of table {id}"), "it is missing");
                continue;
            };
            let files = table_files(meta, self.store, database, id).await;
            if let Some(Some(files)) = self.report.settle(&format!("table {id}"), files)? {
                tables.push((Arc::clone(table.unwrap_or(&files.table)), files));
            }
        }
        Ok(tables)
    }

    /// Every object of these tables that was not read before; then what belongs to none of them is counted.
    pub(super) async fn tables(&mut self, tables: &[Table]) -> Result<()> {
        let mut keys = BTreeSet::new();
        let entries = tables.iter().flat_map(|(_, files)| files.segments.values());
        let entries = entries.flat_map(|segment| &segment.objects);
        let total = entries.filter(|entry| keys.insert(&entry.key)).map(|entry| entry.length).sum();
        (self.progress)(0, total);
        for (table, files) in tables {
            for segment in files.segments.values() {
                self.segment(table, segment, total).await?;
            }
        }
        self.count_unnamed(tables).await
    }

    /// Every byte of a segment's objects; then that they open, which shows that they fit each other.
    async fn segment(&mut self, table: &Arc<TableMeta>, segment: &SegmentFiles, total: u64) -> Result<()> {
        if !self.segments.insert(segment.objects.iter().map(|entry| entry.key.clone()).collect()) {
            return Ok(());
        }
        self.report.segments += 1;
        let before = self.report.damage.len();
        for entry in segment.objects.iter().filter(|entry| self.objects.insert(entry.key.clone())) {
            self.report.objects += 1;
            self.report.object_bytes += entry.length;
            let checked = verify_object(self.store, entry).await;
            self.report.settle(entry.key.as_ref(), checked.map_err(Error::from))?;
            (self.progress)(self.report.object_bytes, total);
        }
        if self.report.damage.len() > before {
            return Ok(());
        }
        let name = format!("segment {} of table \"{}\"", segment.segment, table.name);
        let opened = SealedSegment::open_state(self.store, Arc::clone(table), segment.clone()).await;
        let Some(state) = self.report.settle(&name, opened.map_err(Error::from))? else { return Ok(()) };
        if let segments::SegmentForm::Sealed(sealed) = &state.form {
            for index in sealed.indexes() {
                if let Some(reason) = index.failure() {
                    self.report.damaged(format!("index {} of {name}", index.oid()), reason);
                }
            }
        }
        Ok(())
    }

    /// Every catalog object, each by itself, because one that is no longer needed may have lost its parent; then what a
    /// rebuild would go by.
    pub(super) async fn catalog_objects(&mut self) -> Result<()> {
        let numbers = list_catalogs(self.store, CATALOG_FOLDER).await?;
        let before = self.report.damage.len();
        for n in &numbers {
            let key = CatalogObject::key(CATALOG_FOLDER, *n);
            let read = read_object(self.store, &key).await.and_then(CatalogObject::decode);
            self.report.settle(key.as_ref(), read.map_err(Error::from))?;
        }
        if let Some(newest) = numbers.last()
            && self.report.damage.len() == before
        {
            let read = read_catalog(self.store, CATALOG_FOLDER, *newest).await;
            self.report.settle("catalog objects", read.map_err(Error::from))?;
        }
        Ok(())
    }

    /// Every object that has a key of ours.
    async fn list(&self) -> Result<Vec<(ObjectName, ObjectMeta)>> {
        let failed = |error| Error::from(segments::Error::store("list", "", error));
        let listed: Vec<ObjectMeta> = self.store.list(None).try_collect().await.map_err(failed)?;
        let ours = |object: ObjectMeta| Some((ObjectName::parse(&object.location)?, object));
        Ok(listed.into_iter().filter_map(ours).collect())
    }

    async fn count_unnamed(&mut self, tables: &[Table]) -> Result<()> {
        let mut named = BTreeSet::new();
        for (table, files) in tables {
            let manifests = files.ancestors.iter().chain([&files.id]);
            named.extend(manifests.map(|id| Manifest::key(table.database, table.id, *id)));
            let objects = files.segments.values().flat_map(|segment| &segment.objects);
            named.extend(objects.map(|entry| entry.key.clone()));
        }
        for (_, object) in self.list().await?.iter().filter(|(_, object)| !named.contains(&object.location)) {
            self.report.unnamed_objects += 1;
            self.report.unnamed_bytes += object.size;
        }
        Ok(())
    }
}
