//! Merging sealed segments into one: rows that ended at or before the horizon go, all others keep commit timestamp,
//! row id and order. A pure function of its inputs; nothing is stored here.
//!
//! What it is not: a decision what to merge, or which deletes the merged segment has. Those are carried over by
//! row id when it takes its inputs' place (`carried_deletes`), so that deletes which came meanwhile are among them.
//!
//! Invariants: row ids, and so timestamps, ascend with the ordinal, as in every segment; a row of before
//! its table was written anew is never copied; columns that the table has dropped are copied when the table it is
//! given still has them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use proto::catalog::{KeyMeta, TableMeta};
use proto::{Epoch, ErrorKind, RowId, SegmentId, SqlError, Timestamp};

use crate::bitmap;
use crate::deletes::DeleteSet;
use crate::error::{Error, Result};
use crate::flush::{NewObject, StoredRows, write_rows};
use crate::format::manifest::SegmentFiles;
use crate::growing::Source;
use crate::keys::{key_hashes, placed};
use crate::sealed::SealedSegment;

/// Rows copied at once.
const PIECE_ROWS: usize = 8192;

/// A segment to be merged.
#[derive(Clone, Debug)]
pub struct MergeInput {
    pub segment: Arc<SealedSegment>,
    pub deletes: DeleteSet,
}

/// Hears how many rows were copied of how many copies of a row there will be; false ends the merge.
pub type MergeReport<'a> = &'a (dyn Fn(usize, usize) -> bool + Sync);

/// The objects of the merged segment, and its entry for the manifest; `None` when no row is left.
///
/// # Errors
/// `Corrupted` naming a damaged object of an input; `QueryCanceled` when the report says so.
pub fn merge(
    inputs: &[MergeInput],
    table: &Arc<TableMeta>,
    id: SegmentId,
    horizon: Timestamp,
    (epoch, n): (Epoch, u64),
    report: MergeReport<'_>,
) -> Result<Option<(SegmentFiles, Vec<NewObject>)>> {
    let rows = MergedRows::new(inputs, table, id, horizon, report)?;
    if rows.places.is_empty() { Ok(None) } else { write_rows(&rows, epoch, n).map(Some) }
}

/// The deletes of a merged segment: those of its inputs, of rows that are still there.
#[must_use]
pub fn carried_deletes<'a>(
    inputs: impl IntoIterator<Item = (&'a SealedSegment, &'a DeleteSet)>,
    merged: &SealedSegment,
) -> DeleteSet {
    let mut carried = DeleteSet::new();
    let mut carry = |row: RowId, ts: Timestamp| {
        if let Some(ordinal) = merged.ordinal_of(row) {
            carried.insert(ordinal, row, ts);
        }
    };
    for (segment, deletes) in inputs {
        deletes.entries().for_each(|entry| carry(entry.row, entry.ts));
        for end in deletes.ends() {
            (0..end.rows).for_each(|ordinal| carry(segment.identity(ordinal).1, end.ts));
        }
    }
    carried
}

/// Neighbouring rows of one input.
#[derive(Debug)]
struct Run {
    input: usize,
    ordinals: Vec<u32>,
}

/// The rows that stay, in order.
struct MergedRows<'a> {
    id: SegmentId,
    table: &'a Arc<TableMeta>,
    schema: SchemaRef,
    segments: Vec<Arc<SealedSegment>>,
    runs: Vec<Run>,
    /// Input and ordinal of every row.
    places: Vec<(u32, u32)>,
    report: MergeReport<'a>,
    copied: std::sync::atomic::AtomicUsize,
}

impl<'a> MergedRows<'a> {
    fn new(
        inputs: &[MergeInput],
        table: &'a Arc<TableMeta>,
        id: SegmentId,
        horizon: Timestamp,
        report: MergeReport<'a>,
    ) -> Result<Self> {
        let mut rows: Vec<(u64, u32, u32)> = Vec::new();
        for (input, MergeInput { segment, deletes }) in inputs.iter().enumerate() {
            let before = rows.len();
            let mut words = bitmap::all_set(segment.rows());
            deletes.hide(&mut words, segment.rows(), horizon);
            for (position, word) in words.into_iter().enumerate() {
                bitmap::each_bit(word, |bit| {
                    let ordinal = (position * bitmap::WORD + bit) as u32;
                    rows.push((segment.identity(ordinal).1.0, input as u32, ordinal));
                });
            }
            if rows.len() > before && segment.files().schema_version < table.rewritten {
                let message =
                    format!("segment {} holds rows of before its table was written anew", segment.id());
                return Err(SqlError::new(ErrorKind::Internal, message).into());
            }
        }
        if u32::try_from(rows.len()).is_err() {
            return Err(Error::SegmentFull(id));
        }
        rows.sort_unstable();
        let mut runs: Vec<Run> = Vec::new();
        for (_, input, ordinal) in &rows {
            match runs.last_mut() {
                Some(run) if run.input == *input as usize && run.ordinals.len() < PIECE_ROWS => {
                    run.ordinals.push(*ordinal);
                }
                _ => runs.push(Run { input: *input as usize, ordinals: vec![*ordinal] }),
            }
        }
        let segments = inputs.iter().map(|input| input.segment.with_table(Arc::clone(table))).collect();
        let places = rows.into_iter().map(|(_, input, ordinal)| (input, ordinal)).collect();
        let (schema, copied) = (table.stored_schema(), std::sync::atomic::AtomicUsize::new(0));
        Ok(Self { id, table, schema, segments, runs, places, report, copied })
    }

    fn piece(&self, run: &Run, source: Source) -> Result<ArrayRef> {
        let segment = &self.segments[run.input];
        let (first, last) = (run.ordinals[0] as usize, run.ordinals[run.ordinals.len() - 1] as usize);
        if last - first + 1 == run.ordinals.len() {
            return segment.range(source, first, run.ordinals.len());
        }
        let mut rows = segment.rows_at(&[source], &run.ordinals)?;
        rows.pop().ok_or_else(|| Error::OutOfRange { segment: self.id, what: "column".into() })
    }
}

impl StoredRows for MergedRows<'_> {
    fn id(&self) -> SegmentId {
        self.id
    }

    fn table(&self) -> &Arc<TableMeta> {
        self.table
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn rows(&self) -> usize {
        self.places.len()
    }

    fn pieces(&self, source: Source) -> Result<Vec<ArrayRef>> {
        let total = self.places.len() * (self.schema.fields().len() + 2);
        let mut pieces = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            pieces.push(self.piece(run, source)?);
            let rows = run.ordinals.len();
            let copied = self.copied.fetch_add(rows, std::sync::atomic::Ordering::Relaxed) + rows;
            if !(self.report)(copied.min(total), total) {
                let message = "canceling statement due to user request";
                return Err(SqlError::new(ErrorKind::QueryCanceled, message).into());
            }
        }
        Ok(pieces)
    }

    fn key_pairs(&self, key: KeyMeta<'_>) -> Result<Vec<(u64, u32)>> {
        let positions = self.table.positions(key.columns);
        let fields: Vec<Field> =
            positions.iter().map(|position| self.schema.field(*position).clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        let within: Vec<usize> = (0..positions.len()).collect();
        let mut pairs = Vec::with_capacity(self.places.len());
        let mut ordinals = 0_u32..;
        for run in &self.runs {
            let columns: Vec<ArrayRef> = positions
                .iter()
                .map(|position| self.piece(run, Source::Column(*position)))
                .collect::<Result<_>>()?;
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
            pairs.extend(key_hashes(key, &batch, &within)?.into_iter().zip(&mut ordinals).filter_map(placed));
        }
        pairs.sort_unstable();
        Ok(pairs)
    }

    fn identity(&self, ordinal: u32) -> (Timestamp, RowId) {
        let (input, ordinal) = self.places[ordinal as usize];
        self.segments[input as usize].identity(ordinal)
    }
}

#[cfg(test)]
mod tests;
