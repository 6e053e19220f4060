//! The files of a table as of an instant: rows that began later are hidden, rows that ended later live again.
//!
//! Segments that begin later go; a segment with later rows or later ends gets another deletes object, in which each
//! later row ends when it begins, so that no reader ever sees it and a merge removes it. An index that leaves out rows
//! which ended later goes, because they live again; it is built anew. Other objects stay.
//!
//! Invariant: doing it again with the same instant changes nothing.

use std::sync::Arc;

use object_store::ObjectStore;
use proto::catalog::TableMeta;
use proto::{Offset, Oid, Timestamp};
use segments::DeleteSet;
use segments::flush::{store_objects, write_deletes};
use segments::format::manifest::{Manifest, ManifestId, ObjectKind, SegmentFiles, TableFiles};
use segments::sealed::{read_complete_since, read_deletes, read_identities};
use segments::store::put_new;

use crate::error::Result;

/// What a cut came to.
pub(super) struct Cut {
    pub(super) pointer: ManifestId,
    pub(super) segments: u64,
    /// Row versions that were taken out.
    pub(super) rows: u64,
}

/// Writes what differs as of `at`, and a manifest `id` that names it; nothing when nothing differs.
pub(super) async fn cut(
    store: &dyn ObjectStore,
    table: &Arc<TableMeta>,
    files: &TableFiles,
    at: Timestamp,
    id: ManifestId,
) -> Result<Cut> {
    let (mut changed, mut removed, mut rows) = (Vec::new(), Vec::new(), 0);
    for segment in files.segments.values() {
        if segment.min_ts > at {
            removed.push(segment.segment);
            rows += segment.rows;
            continue;
        }
        let mut cut = segment.clone();
        if let Some((deletes, hidden)) = deletes_at(store, segment, at).await? {
            let count = segment.rows as usize;
            let object = write_deletes(table, segment.segment, count, &deletes, id.epoch, id.n);
            store_objects(store, std::slice::from_ref(&object)).await?;
            cut = cut.with_deletes(object.entry);
            rows += hidden;
        }
        let lacking = lacking_indexes(store, table, segment, at).await?;
        cut.objects.retain(|entry| !lacking.contains(&entry.kind));
        if cut != *segment {
            changed.push(cut);
        }
    }
    let segments = (files.segments.len() - removed.len()) as u64;
    if changed.is_empty() && removed.is_empty() {
        return Ok(Cut { pointer: files.id, segments, rows });
    }
    let mut manifest = files.next(id, Arc::clone(table), Offset(0), changed, removed);
    // Positions of a log that is gone.
    manifest.replaced.clear();
    let key = Manifest::key(table.database, table.id, id);
    put_new(store, &key, manifest.encode()).await?;
    Ok(Cut { pointer: id, segments, rows })
}

/// The indexes of a segment without rows that are there at an instant: those that are complete only later. One whose file
/// cannot be read is as good as one of them.
async fn lacking_indexes(
    store: &dyn ObjectStore,
    table: &TableMeta,
    segment: &SegmentFiles,
    at: Timestamp,
) -> Result<Vec<ObjectKind>> {
    let mut lacking = Vec::new();
    for entry in &segment.objects {
        let ObjectKind::Index(oid) = entry.kind else { continue };
        let Some(meta) = table.index(Oid(oid)) else { continue };
        match read_complete_since(store, meta, entry).await {
            Ok(since) if since <= at => {}
            Ok(_) | Err(segments::Error::Corrupted { .. } | segments::Error::Missing { .. }) => {
                lacking.push(entry.kind);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(lacking)
}

/// A segment's deletes as of an instant, and how many later rows they hide; `None` when they are what they were.
async fn deletes_at(
    store: &dyn ObjectStore,
    segment: &SegmentFiles,
    at: Timestamp,
) -> Result<Option<(DeleteSet, u64)>> {
    let known = read_deletes(store, segment).await?;
    if segment.max_ts <= at && known.max_ts() <= at {
        return Ok(None);
    }
    let mut deletes = DeleteSet::new();
    for entry in known.entries().filter(|entry| entry.ts <= at) {
        deletes.insert(entry.ordinal, entry.row, entry.ts);
    }
    for end in known.ends().iter().filter(|end| end.ts <= at) {
        deletes.end_all(end.rows, end.ts);
    }
    let mut hidden = 0;
    if segment.max_ts > at {
        for (ordinal, (ts, row)) in read_identities(store, segment).await?.into_iter().enumerate() {
            if ts > at {
                deletes.insert(ordinal as u32, row, ts);
                hidden += 1;
            }
        }
    }
    let same = deletes.len() == known.len()
        && deletes.ends() == known.ends()
        && deletes.entries().eq(known.entries());
    Ok((!same).then_some((deletes, hidden)))
}
