//! Turns of their own: catalog transactions, and the flusher's news.

use proto::{SegmentId, TableId};
use segments::{DeleteSet, SegmentForm, SegmentState};

use super::{Owner, OwnerMessage, Replaced, Stored};
use crate::error::Result;
use crate::flusher::Replacement;
use crate::follower::{Segment, Stage, Unsaved};
use crate::settings::PlantedBug;

impl Owner {
    /// Works on a message that shares its turn with nobody.
    pub(super) async fn work_alone(&mut self, message: OwnerMessage) {
        if self.broken {
            // The turn before it failed; what it rests on is gone.
            return self.refuse(message, "the log could not be written");
        }
        match message {
            OwnerMessage::Commit { request, reply } => {
                let outcome = self.commit_catalog(*request).await;
                // The asker may be gone; what was decided stays decided.
                let _ = reply.send(outcome);
            }
            OwnerMessage::Stored { stored, reply } => {
                let outcome = self.take_stored(stored);
                // The flusher may be stopping; the state is right either way.
                let _ = reply.send(outcome);
            }
            OwnerMessage::Indexed { table, segment, form, reply } => {
                let _ = reply.send(self.take_indexed(table, segment, form));
            }
            OwnerMessage::Replaced { replaced, reply } => {
                let _ = reply.send(self.take_replaced(*replaced));
            }
            OwnerMessage::TakeOver { reply } => {
                let _ = reply.send(self.take_over().await);
            }
            OwnerMessage::Forget { reply } => {
                self.retain_known();
                let _ = reply.send(Ok(()));
            }
            other => self.refuse(other, "it came to the wrong place"),
        }
    }

    /// Serves a segment from its files from now on, and remembers which deletes are in them.
    fn take_stored(&self, stored: Stored) -> Result<()> {
        let mut state = self.handle.published.state().as_ref().clone();
        if !state.tables.contains_key(&stored.table) {
            // Dropped while it was written; its objects wait for collection.
            return Ok(());
        }
        if let Some(segment) = state.table_mut(stored.table).segment_mut(stored.segment) {
            let was_unflushed = segment.stage != Stage::Stored;
            if let Some(form) = stored.form {
                segment.state.form = self.newest(stored.table, form)?;
                segment.stage = Stage::Stored;
                segment.objects = None;
            }
            segment.unsaved = unsaved(&segment.state.deletes, &stored.deletes, stored.later);
            if was_unflushed && self.parts.settings.has(PlantedBug::DeletesOfUnflushedRowsNotSaved) {
                segment.unsaved = None;
            }
        }
        self.handle.published.publish(state);
        Ok(())
    }
}

impl Owner {
    /// Serves a stored segment with other indexes from now on.
    fn take_indexed(&self, table: TableId, segment: SegmentId, form: SegmentForm) -> Result<()> {
        let mut state = self.handle.published.state().as_ref().clone();
        let form = self.newest(table, form)?;
        if state.tables.contains_key(&table)
            && let Some(found) = state.table_mut(table).segment_mut(segment)
        {
            found.state.form = form;
            self.handle.published.publish(state);
        }
        Ok(())
    }

    /// Serves a merged segment instead of its inputs, with the deletes that those have by now.
    fn take_replaced(&self, replaced: Replaced) -> Result<()> {
        let Replaced { replacement, deletes: saved, later, before } = replaced;
        let Replacement { table, inputs, merged, purged, .. } = replacement;
        let mut state = self.handle.published.state().as_ref().clone();
        if !state.tables.contains_key(&table) {
            return Ok(());
        }
        let rows = state.table_mut(table);
        if !inputs.iter().all(|input| rows.segment(*input).is_some()) {
            // The channel was taken over meanwhile, and its files were read after they had changed.
            return Ok(());
        }
        let merged = match merged {
            None => None,
            Some(merged) => {
                let mut deletes = rows.carried_deletes(&inputs, Some(&merged));
                if self.parts.settings.has(PlantedBug::MergeIgnoresNewDeletes) {
                    deletes = saved.clone();
                }
                let unsaved = unsaved(&deletes, &saved, later);
                let form = self.newest(table, SegmentForm::Sealed(merged))?;
                let state = SegmentState { form, deletes };
                Some(Segment::stored(state, unsaved))
            }
        };
        rows.purged = rows.purged.max(purged);
        rows.replace(&inputs, merged, before);
        self.handle.published.publish(state);
        Ok(())
    }

    /// Rows that were written or indexed while their table changed, as what the table is now.
    fn newest(&self, table: TableId, form: SegmentForm) -> Result<SegmentForm> {
        let catalog = self.parts.catalog.stored();
        Ok(match catalog.tables.get(&table) {
            Some(meta) if form.table().schema_version < meta.schema_version => form.with_table(meta)?,
            _ => form,
        })
    }
}

/// Where deletes may begin that are not in the files. Deletes are only ever added, so equal counts mean equal sets.
fn unsaved(now: &DeleteSet, saved: &DeleteSet, later: Unsaved) -> Option<Unsaved> {
    let same = now.len() == saved.len() && now.ends().len() == saved.ends().len();
    (!same).then_some(later)
}
