//! The state of a channel at one offset, as a value that shares what did not change with its predecessors.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use proto::catalog::TableMeta;
use proto::record::{RowRef, TableChange};
use proto::{Epoch, ErrorKind, Offset, RowId, SegmentId, SequenceId, SqlError, TableId, Timestamp, TxnId};
use segments::merge::carried_deletes;
use segments::{DeleteSet, SealedSegment, SegmentForm, SegmentState, TableSnapshot};

use crate::error::{Error, Result};
use crate::settings::{PlantedBug, Settings};
use crate::staging::{StagedObjects, StagedSegment};

/// How far a segment has come. Its identity and content stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Takes rows.
    Growing,
    /// A Seal record ended it; it waits for the flusher.
    Frozen,
    /// In files of its own transaction that no manifest names; it waits for the flusher.
    Staged,
    /// In files that the manifest names.
    Stored,
}

/// From where on deletes of a segment are in no delete object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsaved {
    /// No record before it holds one.
    pub(crate) first: Offset,
    /// None of them is earlier.
    pub(crate) ts: Timestamp,
}

/// A segment as this node holds it.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) state: SegmentState,
    pub(crate) stage: Stage,
    /// The first record that carries rows of it, until it is stored.
    pub(crate) first_row: Offset,
    /// Where the deletes begin that are in no delete object yet.
    pub(crate) unsaved: Option<Unsaved>,
    /// Keeps the files of a staged segment.
    pub(crate) objects: Option<Arc<StagedObjects>>,
}

impl Segment {
    /// A segment in files that a manifest names.
    pub(crate) const fn stored(state: SegmentState, unsaved: Option<Unsaved>) -> Self {
        Self { state, stage: Stage::Stored, first_row: Offset(0), unsaved, objects: None }
    }

    /// Whether the flusher is to make it a stored one.
    pub(crate) const fn waits(&self) -> bool {
        matches!(self.stage, Stage::Frozen | Stage::Staged)
    }

    /// Bytes of the files with its rows, of memory while it has none.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.state.form {
            SegmentForm::Growing(rows) => rows.memory_bytes() as u64,
            SegmentForm::Sealed(sealed) => sealed.stored_bytes(),
        }
    }

    /// Bytes of memory that rows which are not in files take.
    pub(crate) fn memory_bytes(&self) -> usize {
        match &self.state.form {
            SegmentForm::Growing(rows) => rows.memory_bytes(),
            SegmentForm::Sealed(_) => 0,
        }
    }
}

/// A table's rows on the channel.
#[derive(Clone, Debug)]
pub(crate) struct TableState {
    /// Ascending by id.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The next row id to give out.
    pub(crate) next_row: RowId,
    /// Rows that ended at or before this instant may be gone; earlier instants cannot be read.
    pub(crate) purged: Timestamp,
    /// Segments that were merged into others, whose rows a replay may still meet in the log.
    pub(crate) replaced: Vec<(SegmentId, Offset)>,
}

impl TableState {
    /// A table without rows.
    pub(crate) const fn new() -> Self {
        Self { segments: Vec::new(), next_row: RowId(1), purged: Timestamp::ZERO, replaced: Vec::new() }
    }

    fn position(&self, id: SegmentId) -> std::result::Result<usize, usize> {
        self.segments.binary_search_by_key(&id, |segment| segment.state.form.id())
    }

    /// A segment by its id.
    pub(crate) fn segment(&self, id: SegmentId) -> Option<&Arc<Segment>> {
        self.position(id).ok().map(|position| &self.segments[position])
    }

    /// A segment to be changed; readers keep the version they hold.
    pub(crate) fn segment_mut(&mut self, id: SegmentId) -> Option<&mut Segment> {
        self.position(id).ok().map(|position| Arc::make_mut(&mut self.segments[position]))
    }

    /// Where a row is now. A merge moves rows to another segment and keeps their ids, so a reference made before it
    /// is still good; `None` when the row is nowhere.
    pub(crate) fn locate(&self, target: RowRef) -> Option<(SegmentId, u32)> {
        if self.segment(target.segment).is_some() {
            return Some((target.segment, target.ordinal));
        }
        let forms = self.segments.iter().rev().map(|segment| &segment.state.form);
        forms.into_iter().find_map(|form| Some((form.id(), form.ordinal_of(target.row)?)))
    }

    /// Whether the segment's rows were stored and merged into another.
    pub(crate) fn is_replaced(&self, segment: SegmentId) -> bool {
        self.replaced.iter().any(|(replaced, _)| *replaced == segment)
    }

    /// The deletes of a merged segment: those its inputs have.
    pub(crate) fn carried_deletes(&self, inputs: &[SegmentId], merged: Option<&SealedSegment>) -> DeleteSet {
        let Some(merged) = merged else { return DeleteSet::new() };
        let inputs = inputs.iter().filter_map(|input| {
            let state = &self.segment(*input)?.state;
            match &state.form {
                SegmentForm::Sealed(sealed) => Some((sealed.as_ref(), &state.deletes)),
                SegmentForm::Growing(_) => None,
            }
        });
        carried_deletes(inputs, merged)
    }

    /// Puts a merged segment in its inputs' place. `before` is behind every record that may carry their rows.
    pub(crate) fn replace(&mut self, inputs: &[SegmentId], merged: Option<Segment>, before: Offset) {
        self.segments.retain(|segment| !inputs.contains(&segment.state.form.id()));
        self.replaced.extend(inputs.iter().map(|segment| (*segment, before)));
        if let Some(merged) = merged {
            self.add(merged);
        }
    }

    /// Adds a segment at its place.
    pub(crate) fn add(&mut self, segment: Segment) {
        match self.position(segment.state.form.id()) {
            Ok(position) => self.segments[position] = Arc::new(segment),
            Err(position) => self.segments.insert(position, Arc::new(segment)),
        }
    }

    /// The segment that takes rows.
    pub(crate) fn growing(&self) -> Option<&Arc<Segment>> {
        self.segments.iter().rev().find(|segment| segment.stage == Stage::Growing)
    }

    /// The segment that the next rows go to; None when a new one must be begun.
    pub(crate) fn target(&self, settings: &Settings) -> Option<SegmentId> {
        let target = if settings.has(PlantedBug::InsertIntoSealedSegment) {
            self.segments.last()
        } else {
            self.growing()
        };
        target.map(|segment| segment.state.form.id())
    }

    /// The table at an instant, its rows as this version of it.
    ///
    /// # Errors
    /// `SchemaChanged` when the rows are of a later version already; 72000 when rows of that instant are gone.
    pub(crate) fn at(&self, table: Arc<TableMeta>, read_ts: Timestamp) -> Result<TableSnapshot> {
        if read_ts < self.purged {
            return Err(SqlError::new(ErrorKind::SnapshotTooOld, "snapshot too old").into());
        }
        let mut segments = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let view = segment.state.at(read_ts);
            let version = segment.state.form.table().schema_version;
            segments.push(Arc::new(match version.cmp(&table.schema_version) {
                Ordering::Equal => view,
                Ordering::Less => view.with_table(&table)?,
                Ordering::Greater => return Err(Error::SchemaChanged),
            }));
        }
        Ok(TableSnapshot { table, read_ts, segments })
    }

    /// The table at a past instant, its rows as the version of then.
    ///
    /// # Errors
    /// 72000 when rows of that instant are gone.
    pub(crate) fn past(&self, table: &Arc<TableMeta>, read_ts: Timestamp) -> Result<TableSnapshot> {
        if read_ts < self.purged {
            return Err(SqlError::new(ErrorKind::SnapshotTooOld, "snapshot too old").into());
        }
        let mut segments = Vec::with_capacity(self.segments.len());
        // Rows that began later may have other types under the same column ids.
        for segment in self.segments.iter().filter(|segment| segment.state.form.min_ts() <= read_ts) {
            let view = segment.state.at(read_ts);
            let same = segment.state.form.table() == table;
            segments.push(Arc::new(if same { view } else { view.with_table(table)? }));
        }
        Ok(TableSnapshot { table: Arc::clone(table), read_ts, segments })
    }

    /// Reads all rows as this version of the table from now on.
    fn adopt(&mut self, table: &Arc<TableMeta>) -> Result<()> {
        for segment in &mut self.segments {
            if segment.state.form.table().schema_version < table.schema_version {
                let form = segment.state.form.with_table(table)?;
                Arc::make_mut(segment).state.form = form;
            }
        }
        Ok(())
    }

    fn is_older(&self, table: &TableMeta) -> bool {
        self.segments.iter().any(|segment| segment.state.form.table().schema_version < table.schema_version)
    }

    /// Whether a row began or ended after an instant.
    pub(crate) fn changed_since(&self, ts: Timestamp) -> bool {
        self.segments
            .iter()
            .any(|segment| segment.state.form.max_ts() > ts || segment.state.deletes.max_ts() > ts)
    }
}

/// A transaction with payloads that is not decided.
#[derive(Clone, Debug)]
pub(crate) struct OpenTransaction {
    pub(crate) first: Offset,
    pub(crate) parts: BTreeMap<u32, Arc<Vec<TableChange>>>,
}

/// Everything a channel says up to `next`.
#[derive(Clone, Debug)]
pub(crate) struct ChannelState {
    /// The offset behind the last applied record.
    pub(crate) next: Offset,
    /// Where the epochs began that records from the checkpoint on belong to, ascending.
    pub(crate) epochs: Arc<Vec<(Offset, Epoch)>>,
    /// The last commit's timestamp: the channel's service_ts.
    pub(crate) last_ts: Timestamp,
    pub(crate) tables: BTreeMap<TableId, Arc<TableState>>,
    pub(crate) open: BTreeMap<TxnId, Arc<OpenTransaction>>,
    /// First payload and Commit of decided transactions, while a checkpoint may still come to lie between the two.
    decided: Arc<Vec<(Offset, Offset)>>,
    /// Per sequence the next value that is certainly free.
    pub(crate) sequences: BTreeMap<SequenceId, i64>,
    /// Staged segments that the record to be applied next may name.
    pub(crate) opened: BTreeMap<SegmentId, StagedSegment>,
}

impl ChannelState {
    /// The state before the first record.
    pub(crate) fn new() -> Self {
        Self {
            next: Offset(0),
            epochs: Arc::default(),
            last_ts: Timestamp::ZERO,
            tables: BTreeMap::new(),
            open: BTreeMap::new(),
            decided: Arc::default(),
            sequences: BTreeMap::new(),
            opened: BTreeMap::new(),
        }
    }

    /// A table to be changed, created when it had no rows so far.
    pub(crate) fn table_mut(&mut self, id: TableId) -> &mut TableState {
        Arc::make_mut(self.tables.entry(id).or_insert_with(|| Arc::new(TableState::new())))
    }

    /// The epoch in force at an offset that is still needed: records of smaller ones behind it do not exist.
    pub(crate) fn epoch_at(&self, offset: Offset) -> Epoch {
        let begun = self.epochs.iter().rev().find(|(start, _)| *start <= offset);
        begun.map_or(Epoch(0), |(_, epoch)| *epoch)
    }

    /// Brings the rows of changed tables forward to the catalog's version of them.
    ///
    /// # Errors
    /// When a missing value cannot be read.
    pub(crate) fn adopt(&mut self, catalog: &proto::catalog::CatalogSnapshot) -> Result<()> {
        for (id, table) in &mut self.tables {
            if let Some(meta) = catalog.tables.get(id)
                && table.is_older(meta)
            {
                Arc::make_mut(table).adopt(meta)?;
            }
        }
        Ok(())
    }

    /// Forgets what the catalog no longer has. Its objects stay in the store for a later collection.
    pub(crate) fn retain(&mut self, catalog: &proto::catalog::CatalogSnapshot) {
        self.tables.retain(|id, _| catalog.tables.contains_key(id));
        self.sequences.retain(|id, _| catalog.sequences.contains_key(id));
    }

    /// Every row that began or ended at or before this instant is in files that manifests name.
    pub(crate) fn complete(&self) -> Timestamp {
        let segments = self.tables.values().flat_map(|table| &table.segments);
        let outside = segments.filter_map(|segment| match segment.stage {
            Stage::Stored => segment.unsaved.map(|unsaved| unsaved.ts),
            Stage::Growing | Stage::Frozen | Stage::Staged => {
                let form = &segment.state.form;
                (form.rows() > 0).then(|| form.identity(0).0)
            }
        });
        let before = |ts: Timestamp| Timestamp(ts.0.saturating_sub(1));
        outside.map(before).fold(self.last_ts, Timestamp::min)
    }

    /// Notes where a transaction with payloads begins and ends.
    pub(crate) fn add_decided(&mut self, first: Offset, commit: Offset) {
        Arc::make_mut(&mut self.decided).push((first, commit));
        // This one counts: it may lead back to one that ended before all that is needed otherwise.
        let needed = self.needed_from(false);
        Arc::make_mut(&mut self.decided).retain(|(_, commit)| *commit >= needed);
    }

    /// The first record that a restart still needs. Of a transaction with payloads it needs all records or none: a replay
    /// that met a Commit without its payloads could not tell it from damage.
    pub(crate) fn needed_from(&self, ignore_rows: bool) -> Offset {
        let segments = self.tables.values().flat_map(|table| &table.segments);
        let rows = segments.clone().filter(|segment| segment.stage != Stage::Stored && !ignore_rows);
        let deletes =
            segments.filter_map(|segment| segment.unsaved.filter(|_| segment.stage == Stage::Stored));
        let deletes = deletes.map(|unsaved| unsaved.first);
        let open = self.open.values().map(|open| open.first);
        let first = rows.map(|segment| segment.first_row).chain(deletes).chain(open).min();
        let mut needed = first.unwrap_or(self.next).min(self.next);
        let cut = |needed: Offset| {
            let mut cut = self.decided.iter().filter(|(first, commit)| *first < needed && needed <= *commit);
            cut.next().map(|(first, _)| *first)
        };
        while let Some(first) = cut(needed) {
            needed = first;
        }
        needed
    }
}
