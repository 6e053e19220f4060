//! Sequences: values are given out from memory, up to a mark that is in the log before the first of them leaves.
//!
//! After a restart a sequence goes on at its mark, so values may be skipped, as in PostgreSQL, but none comes
//! twice. Setting a sequence is a mark too.

use proto::catalog::{CatalogChange, CatalogSnapshot, SequenceMeta};
use proto::record::RecordBody;
use proto::{SequenceId, Timestamp};

use super::Owner;
use super::batch::Batch;
use crate::error::{Error, Result};
use crate::log::Durability;

/// Where a sequence is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The value that is given out next.
    next: i128,
    /// Whether it lies one increment behind a value that was given out, and not where it was set.
    given: bool,
}

impl Owner {
    /// Another increment counts from the last value that was given out.
    pub(super) fn change_increments(&mut self, before: &CatalogSnapshot, changes: &[CatalogChange]) {
        for change in changes {
            let CatalogChange::PutSequence(after) = change else { continue };
            let (Some(before), Some(place)) =
                (before.sequences.get(&after.id), self.sequences.get_mut(&after.id))
            else {
                continue;
            };
            if place.given {
                place.next += i128::from(after.increment) - i128::from(before.increment);
            }
        }
    }

    /// The next values; their mark is part of the turn when the present one does not cover them.
    pub(super) fn add_next_values(
        &mut self,
        batch: &mut Batch,
        sequence: SequenceId,
        count: usize,
    ) -> Result<Vec<i64>> {
        let meta = known(batch, sequence)?;
        let increment = i128::from(meta.increment);
        let mark = batch.work.sequences.get(&sequence).copied().unwrap_or(meta.first);
        let next = self.sequences.get(&sequence).map_or_else(|| i128::from(mark), |place| place.next);
        let values: Vec<i128> = (0..count as i128).map(|step| next + step * increment).collect();
        if let Some(outside) = values.iter().find(|value| !meta_range(&meta).contains(*value)) {
            let (end, limit) = if *outside > i128::from(meta.maximum) {
                ("maximum", meta.maximum)
            } else {
                ("minimum", meta.minimum)
            };
            return Err(Error::SequenceExhausted { name: meta.name.clone(), end, limit });
        }
        let behind = next + count as i128 * increment;
        let covered = if increment > 0 { behind <= i128::from(mark) } else { behind >= i128::from(mark) };
        if !covered {
            let ahead = behind + increment * i128::from(self.parts.settings.sequence_cache);
            let next = ahead.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            let body = RecordBody::SequenceMark { sequence, next };
            self.push(batch, body, Timestamp::ZERO, None, Durability::Synced)?;
        }
        self.sequences.insert(sequence, Place { next: behind, given: true });
        // In range: checked above.
        Ok(values.into_iter().map(|value| value as i64).collect())
    }

    /// Makes `next` the next value.
    pub(super) fn add_set_sequence(
        &mut self,
        batch: &mut Batch,
        sequence: SequenceId,
        next: i64,
    ) -> Result<()> {
        known(batch, sequence)?;
        let body = RecordBody::SequenceMark { sequence, next };
        self.push(batch, body, Timestamp::ZERO, None, Durability::Synced)?;
        self.sequences.insert(sequence, Place { next: i128::from(next), given: false });
        Ok(())
    }
}

fn known(batch: &Batch, sequence: SequenceId) -> Result<std::sync::Arc<SequenceMeta>> {
    let known = batch.catalogs.shown.sequences.get(&sequence).cloned();
    known.ok_or_else(|| Error::UndefinedObject { what: format!("sequence with OID {sequence}") })
}

fn meta_range(meta: &SequenceMeta) -> std::ops::RangeInclusive<i128> {
    i128::from(meta.minimum)..=i128::from(meta.maximum)
}
