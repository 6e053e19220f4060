//! What each record does to a channel's state. Deterministic: the same records give the same state everywhere.
//!
//! A replay starts from stored segments and may meet records that are in them already: rows of stored segments
//! are skipped (a segment is stored as a whole), deletes are applied again (the same end of the same row).
//! Tables that the catalog no longer has are passed over. Rows of an older schema version become rows of the
//! catalog's version, as the live channel made them when the table changed.

use std::sync::Arc;

use arrow::array::RecordBatch;
use proto::catalog::{CatalogSnapshot, TableMeta};
use proto::record::{LogRecord, Placement, RecordBody, RowDelete, StagedRows, TableChange};
use proto::{Offset, RowId, SegmentId, TableId, Timestamp, TxnId};
use segments::{DeleteSet, GrowingRows, SegmentForm, SegmentState};

use super::state::{ChannelState, OpenTransaction, Segment, Stage, TableState, Unsaved};
use crate::error::{Error, Result};
use crate::settings::{PlantedBug, Settings};

impl ChannelState {
    /// Applies the record at `offset`, which must be the next one.
    pub(crate) fn apply(
        &mut self,
        offset: Offset,
        record: &LogRecord,
        catalog: &CatalogSnapshot,
        settings: &Settings,
    ) -> Result<()> {
        if offset != self.next {
            return Err(Error::Internal(format!("record {offset} applied at {}", self.next)));
        }
        self.next = offset.next();
        match &record.body {
            RecordBody::EpochStart { .. } => Arc::make_mut(&mut self.epochs).push((offset, record.epoch)),
            RecordBody::Payload { txn, part, changes } => self.add_part(offset, *txn, *part, changes),
            RecordBody::Abort { txn } => drop(self.open.remove(txn)),
            RecordBody::Seal { table, segment } => self.seal(*table, *segment),
            RecordBody::SequenceMark { sequence, next } => {
                if catalog.sequences.contains_key(sequence) {
                    self.sequences.insert(*sequence, *next);
                }
            }
            RecordBody::Commit { txn, parts, placements, changes } => {
                let open = self.take_parts(*txn, *parts)?;
                let mut first = open.as_ref().map_or(offset, |open| open.first);
                if settings.has(PlantedBug::PayloadsTakenForTheirCommit) {
                    first = offset;
                }
                let parts = open.iter().flat_map(|open| open.parts.values().map(|part| part.as_slice()));
                let all: Vec<&[TableChange]> = parts.chain([changes.as_slice()]).collect();
                let commit = Commit { first, ts: record.ts, all: &all, settings };
                commit.apply(self, placements, catalog)?;
                for staged in all.iter().flat_map(|part| part.iter()).flat_map(|change| &change.staged) {
                    self.opened.remove(&staged.segment);
                }
                if first < offset {
                    self.add_decided(first, offset);
                }
                self.last_ts = self.last_ts.max(record.ts);
            }
        }
        Ok(())
    }

    fn add_part(&mut self, offset: Offset, txn: TxnId, part: u32, changes: &[TableChange]) {
        let open = self
            .open
            .entry(txn)
            .or_insert_with(|| Arc::new(OpenTransaction { first: offset, parts: Default::default() }));
        Arc::make_mut(open).parts.insert(part, Arc::new(changes.to_vec()));
    }

    /// The payloads of a transaction that is being decided.
    fn take_parts(&mut self, txn: TxnId, parts: u32) -> Result<Option<Arc<OpenTransaction>>> {
        let open = self.open.remove(&txn);
        let have = open.as_ref().map_or(0, |open| open.parts.len());
        if have != parts as usize {
            let reason = format!("transaction {txn} has {have} of {parts} payloads");
            return Err(Error::corrupted("the log", reason));
        }
        Ok(open)
    }

    fn seal(&mut self, table: TableId, segment: SegmentId) {
        if !self.tables.contains_key(&table) {
            return;
        }
        if let Some(segment) = self.table_mut(table).segment_mut(segment)
            && segment.stage == Stage::Growing
        {
            segment.stage = Stage::Frozen;
        }
    }
}

/// A decided transaction: the changes of all parts, in order.
struct Commit<'a> {
    /// The first record that a replay needs to do this again.
    first: Offset,
    ts: Timestamp,
    all: &'a [&'a [TableChange]],
    settings: &'a Settings,
}

impl Commit<'_> {
    /// Truncates first, then deletes, then inserts, whatever part they came in.
    fn apply(
        &self,
        state: &mut ChannelState,
        placements: &[Placement],
        catalog: &CatalogSnapshot,
    ) -> Result<()> {
        let changes = || self.all.iter().flat_map(|part| part.iter());
        let known = |change: &&TableChange| catalog.tables.contains_key(&change.table);
        for change in changes().filter(known).filter(|change| change.truncate) {
            self.truncate(state.table_mut(change.table));
        }
        for change in changes().filter(known).filter(|change| !change.deletes.is_empty()) {
            let table = state.table_mut(change.table);
            for delete in &change.deletes {
                self.delete(table, delete)?;
            }
        }
        for placement in placements {
            if let Some(meta) = catalog.tables.get(&placement.table) {
                let of_table = changes().filter(|change| change.table == placement.table);
                let mut staged = of_table.clone().flat_map(|change| &change.staged);
                let staged = staged.find(|staged| staged.segment == placement.segment);
                let batches = of_table
                    .flat_map(|change| change.inserts.iter().map(|batch| (change.schema_version, batch)));
                let table = state.table_mut(placement.table);
                table.next_row = table.next_row.max(RowId(placement.first_row.0 + placement.rows));
                if let Some(staged) = staged {
                    self.take_staged(state, placement, staged, meta)?;
                    continue;
                }
                let empty = || SegmentForm::Growing(GrowingRows::new(placement.segment, Arc::clone(meta)));
                self.insert(table, placement, batches, empty)?;
            }
        }
        Ok(())
    }

    /// Ends every row that began before this transaction.
    fn truncate(&self, table: &mut TableState) {
        for segment in &mut table.segments {
            let rows = rows_before(&segment.state.form, self.ts);
            // Known already when a replay meets what a deletes object holds.
            let known = segment.state.deletes.ends().iter().any(|end| end.rows >= rows && end.ts <= self.ts);
            if rows > 0 && !known {
                let segment = Arc::make_mut(segment);
                segment.state.deletes.end_all(rows, self.ts);
                segment.unsaved.get_or_insert(Unsaved { first: self.first, ts: self.ts });
            }
        }
    }

    fn delete(&self, table: &mut TableState, delete: &RowDelete) -> Result<()> {
        let target = delete.target;
        let Some((segment, ordinal)) = table.locate(target) else {
            // A replay meets the end of a row that was purged since.
            if self.ts <= table.purged {
                return Ok(());
            }
            let reason = format!("a delete names segment {}, which is not there", target.segment);
            return Err(Error::corrupted("the log", reason));
        };
        let Some(segment) = table.segment_mut(segment) else {
            return Err(Error::Internal("a segment just found is not there".into()));
        };
        if segment.stage == Stage::Growing && self.settings.has(PlantedBug::DeleteNotAppliedToGrowing) {
            return Ok(());
        }
        if self.settings.has(PlantedBug::DeletesOnlyAsTimeGrows) && self.ts <= segment.state.deletes.max_ts()
        {
            return Ok(());
        }
        if segment.state.deletes.delete_ts(ordinal).is_some_and(|known| known <= self.ts) {
            // A replay meets what a deletes object holds.
            return Ok(());
        }
        segment.state.deletes.insert(ordinal, target.row, self.ts);
        segment.unsaved.get_or_insert(Unsaved { first: self.first, ts: self.ts });
        Ok(())
    }

    /// Makes a staged segment one of its table's.
    fn take_staged(
        &self,
        state: &mut ChannelState,
        placement: &Placement,
        staged: &StagedRows,
        meta: &Arc<TableMeta>,
    ) -> Result<()> {
        let opened = state.opened.remove(&staged.segment);
        let table = state.table_mut(placement.table);
        if table.is_replaced(placement.segment) || table.segment(placement.segment).is_some() {
            // A manifest names it already.
            return Ok(());
        }
        let damaged = |reason: &str| {
            Error::corrupted("the log", format!("staged segment {}: {reason}", placement.segment))
        };
        let opened = opened.ok_or_else(|| damaged("nobody has opened it"))?;
        if opened.segment().rows() as u64 != placement.rows {
            return Err(damaged("it has another number of rows than its place"));
        }
        let mut rows = opened.segment().beginning(placement.segment, self.ts, placement.first_row);
        if rows.table().schema_version < meta.schema_version {
            rows = rows.with_table(Arc::clone(meta));
        }
        let mut deletes = DeleteSet::new();
        for &ordinal in staged.ended.iter().filter(|ordinal| u64::from(**ordinal) < placement.rows) {
            deletes.insert(ordinal, RowId(placement.first_row.0 + u64::from(ordinal)), self.ts);
        }
        let stage = if self.settings.has(PlantedBug::StagedTakenForStored) {
            opened.objects().named();
            Stage::Stored
        } else {
            Stage::Staged
        };
        table.add(Segment {
            state: SegmentState { form: SegmentForm::Sealed(rows), deletes },
            stage,
            first_row: self.first,
            unsaved: None,
            objects: Some(Arc::clone(opened.objects())),
        });
        Ok(())
    }

    fn insert<'b>(
        &self,
        table: &mut TableState,
        placement: &Placement,
        batches: impl Iterator<Item = (u64, &'b RecordBatch)>,
        empty: impl FnOnce() -> SegmentForm,
    ) -> Result<()> {
        if table.is_replaced(placement.segment) {
            // Stored, and merged into another segment since.
            return Ok(());
        }
        if table.segment(placement.segment).is_none() {
            table.add(Segment {
                state: SegmentState { form: empty(), deletes: DeleteSet::new() },
                stage: Stage::Growing,
                first_row: self.first,
                unsaved: None,
                objects: None,
            });
        }
        let Some(segment) = table.segment_mut(placement.segment) else {
            return Err(Error::Internal("a segment just added is not there".into()));
        };
        let SegmentForm::Growing(rows) = &mut segment.state.form else {
            return Ok(());
        };
        if segment.stage != Stage::Growing && !self.settings.has(PlantedBug::InsertIntoSealedSegment) {
            let reason = format!("rows for segment {} behind its Seal", placement.segment);
            return Err(Error::corrupted("the log", reason));
        }
        let mut row = placement.first_row.0;
        for (schema_version, batch) in batches {
            rows.append_at(schema_version, batch, self.ts, RowId(row))?;
            row += batch.num_rows() as u64;
        }
        if row != placement.first_row.0 + placement.rows {
            let reason = format!("{} rows placed, {} found", placement.rows, row - placement.first_row.0);
            return Err(Error::corrupted("the log", reason));
        }
        // An earlier record of an open transaction may come before the one that opened the segment.
        segment.first_row = segment.first_row.min(self.first);
        Ok(())
    }
}

/// How many rows of a segment began before an instant: they are its first ones.
fn rows_before(form: &SegmentForm, ts: Timestamp) -> u32 {
    let rows = form.rows() as u32;
    if form.max_ts() < ts {
        return rows;
    }
    let (mut low, mut high) = (0, rows);
    while low < high {
        let middle = low + (high - low) / 2;
        if form.identity(middle).0 < ts { low = middle + 1 } else { high = middle }
    }
    low
}
