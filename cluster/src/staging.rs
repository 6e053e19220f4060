//! Rows of a large transaction in files before its commit: a sealed segment that no manifest names yet.
//!
//! Whoever writes them (`Node::stage`) keeps them until the commit; the records of the transaction name them; the commit
//! gives them instant and row ids; the flusher names them in a manifest. A replay that meets the commit before
//! that opens them from the store.
//!
//! Invariant: until a manifest names them or the transaction is given up, a `StagedObjects` keeps them from collection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::ObjectStore;
use proto::catalog::CatalogSnapshot;
use proto::record::{StagedRows, TableChange};
use proto::{Epoch, SegmentId};
use segments::format::manifest::SegmentFiles;
use segments::format::object_name::ObjectName;
use segments::{DeleteSet, SealedSegment, SegmentForm, SegmentView};

use crate::channel::Parts;
use crate::collector::{Garbage, Writer, Writers};
use crate::error::{Error, Result};
use crate::follower::ChannelState;

/// Keeps objects that no manifest names from being collected; the last one gone without that is a reason to look for them.
#[derive(Debug)]
pub(crate) struct StagedObjects {
    /// Taken when the last one goes: it must have ended before the look for its objects.
    writer: Option<Writer>,
    garbage: Arc<Garbage>,
    is_named: AtomicBool,
}

impl StagedObjects {
    pub(crate) fn new(writer: Writer, garbage: &Arc<Garbage>) -> Self {
        Self { writer: Some(writer), garbage: Arc::clone(garbage), is_named: AtomicBool::new(false) }
    }

    /// A manifest names them now.
    pub(crate) fn named(&self) {
        self.is_named.store(true, Ordering::SeqCst);
    }
}

impl Drop for StagedObjects {
    fn drop(&mut self) {
        self.writer = None;
        if !self.is_named.load(Ordering::SeqCst) {
            self.garbage.scan();
        }
    }
}

/// A segment of rows that are not committed.
#[derive(Clone, Debug)]
pub struct StagedSegment {
    segment: Arc<SealedSegment>,
    objects: Arc<StagedObjects>,
}

impl StagedSegment {
    pub(crate) const fn new(segment: Arc<SealedSegment>, objects: Arc<StagedObjects>) -> Self {
        Self { segment, objects }
    }

    /// The rows.
    #[must_use]
    pub const fn segment(&self) -> &Arc<SealedSegment> {
        &self.segment
    }

    pub(crate) const fn objects(&self) -> &Arc<StagedObjects> {
        &self.objects
    }

    /// The rows that the transaction has not ended itself.
    pub(crate) fn live(&self, ended: &[u32]) -> Result<SegmentView> {
        let mut deletes = DeleteSet::new();
        for &ordinal in ended {
            if ordinal as usize >= self.segment.rows() {
                let reason = format!("row {ordinal} of a segment with {} rows ends", self.segment.rows());
                return Err(Error::corrupted("a transaction", reason));
            }
            let (ts, row) = self.segment.identity(ordinal);
            deletes.insert(ordinal, row, ts);
        }
        let form = SegmentForm::Sealed(Arc::clone(&self.segment));
        Ok(SegmentView::new(form, deletes, proto::Timestamp::MAX))
    }
}

/// Staged segments by their numbers.
pub(crate) fn by_segment(staged: &[StagedSegment]) -> BTreeMap<SegmentId, StagedSegment> {
    staged.iter().map(|staged| (staged.segment.id(), staged.clone())).collect()
}

/// What it takes to open staged segments again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opener<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) writers: &'a Arc<Writers>,
    pub(crate) garbage: &'a Arc<Garbage>,
}

impl<'a> Opener<'a> {
    pub(crate) fn of(parts: &'a Parts) -> Self {
        Self { store: parts.store.as_ref(), writers: &parts.writers, garbage: &parts.garbage }
    }

    /// Opens what `all`, about to be decided, names and the state does not have: neither opened, nor as a segment.
    ///
    /// # Errors
    /// `Missing` or `Corrupted` naming the object.
    pub(crate) async fn open_all(
        self,
        state: &mut ChannelState,
        catalog: &CatalogSnapshot,
        all: &[&[TableChange]],
    ) -> Result<()> {
        for change in all.iter().flat_map(|part| part.iter()) {
            let Some(table) = catalog.tables.get(&change.table) else { continue };
            for rows in unopened(state, change) {
                let files = files_of(rows)?;
                let objects = self.keep(&files);
                let segment = SealedSegment::open(self.store, Arc::clone(table), files).await?;
                state.opened.insert(rows.segment, StagedSegment::new(segment, objects));
            }
        }
        Ok(())
    }

    fn keep(self, files: &SegmentFiles) -> Arc<StagedObjects> {
        let name = files.objects.iter().find_map(|entry| ObjectName::parse(&entry.key));
        let (epoch, n) = name.map_or((Epoch(0), 0), |name| (name.epoch, name.n));
        Arc::new(StagedObjects::new(self.writers.resume(epoch, n), self.garbage))
    }
}

/// The staged rows of a change that a state must have opened before it can take the change.
pub(crate) fn unopened<'c>(state: &ChannelState, change: &'c TableChange) -> Vec<&'c StagedRows> {
    let table = state.tables.get(&change.table);
    let is_known = |segment: SegmentId| {
        let in_table = |table: &Arc<crate::follower::TableState>| {
            table.segment(segment).is_some() || table.is_replaced(segment)
        };
        state.opened.contains_key(&segment) || table.is_some_and(in_table)
    };
    change.staged.iter().filter(|rows| !is_known(rows.segment)).collect()
}

fn files_of(rows: &StagedRows) -> Result<SegmentFiles> {
    let object = || format!("the log's entry of segment {}", rows.segment);
    let files = SegmentFiles::decode(rows.files.clone());
    let files = files.map_err(|reason| Error::corrupted(object(), reason))?;
    if files.segment != rows.segment || files.rows != rows.rows {
        return Err(Error::corrupted(object(), "it names other files"));
    }
    Ok(files)
}
