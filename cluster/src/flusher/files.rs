//! The objects of a segment and the manifest that names them.

use std::sync::Arc;

use proto::catalog::{CatalogSnapshot, TableMeta};
use proto::{ChannelId, Epoch};
use segments::SegmentForm;

use crate::channel::Parts;
use crate::error::{Error, Result};
use crate::follower::{ChannelState, Segment};

/// One segment to be written.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) parts: &'a Parts,
    pub(super) channel: ChannelId,
    pub(super) epoch: Epoch,
    pub(super) meta: &'a Arc<TableMeta>,
}

impl Job<'_> {
    /// Writes the segment's rows (or only its deletes, when the rows are stored already).
    #[allow(clippy::unused_async, reason = "writes objects")]
    pub(super) async fn store(&self, segment: &Segment) -> Result<Option<SegmentForm>> {
        let what = format!("segment {} of channel {} in epoch {}", segment.state.form.id(), self.channel, self.epoch);
        Err(Error::Unavailable { what, reason: format!("table {} on {:?}", self.meta.name, self.parts.store) })
    }
}

/// Loads the stored segments of every table of a channel into a state.
#[allow(clippy::unused_async, reason = "reads manifests")]
pub(crate) async fn load_tables(
    _parts: &Parts,
    channel: ChannelId,
    catalog: &CatalogSnapshot,
    state: &mut ChannelState,
) -> Result<()> {
    for table in catalog.tables.values().filter(|table| table.channel == channel) {
        state.table_mut(table.id);
    }
    Ok(())
}
