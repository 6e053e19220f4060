//! The model test: random inserts, deletes, truncates, seals and reopenings beside a plain `Vec`.
//!
//! Every step reads the table at a random instant through scan, key lookup and top-k, and compares with the twin.

use std::sync::Arc;

use futures::executor::block_on;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proto::record::RowRef;
use proto::{DistanceMetric, Epoch, Offset, RowId, SegmentId, Timestamp};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fixture::{DIMENSIONS, Row, VECTOR, batch, ids, key, table};
use crate::flush::{store_objects, write_deletes, write_segment};
use crate::index::flat::compare_distances;
use crate::*;

struct Version {
    row: Row,
    id: RowId,
    from: Timestamp,
    until: Timestamp,
    place: (SegmentId, u32),
}

struct Model {
    random: ChaCha8Rng,
    store: Arc<dyn ObjectStore>,
    twin: Vec<Version>,
    states: Vec<SegmentState>,
    growing: GrowingSegment,
    growing_deletes: DeleteSet,
    files: TableFiles,
    ts: u64,
    attempt: u64,
    /// Instants before this one are no longer read.
    purged: Timestamp,
}

impl Model {
    fn new(seed: u64, store: Arc<dyn ObjectStore>) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            store,
            twin: Vec::new(),
            states: Vec::new(),
            growing: GrowingSegment::new(SegmentId(1), table()),
            growing_deletes: DeleteSet::new(),
            files: TableFiles::empty(table()),
            ts: 1,
            attempt: 0,
            purged: Timestamp::ZERO,
        }
    }

    fn insert(&mut self) {
        self.ts += 1;
        let size = if self.random.random_bool(0.5) { 1 } else { self.random.random_range(1..300) };
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..size {
            let id = self.random.random_range(0..5000);
            let live = |version: &&Version| version.row.id == id && version.until == Timestamp::MAX;
            if self.twin.iter().find(live).is_none() && rows.iter().all(|row| row.id != id) {
                rows.push(Row::random(id, &mut self.random));
            }
        }
        let first = self.twin.len() as u64;
        let start = self.growing.rows().rows() as u32;
        self.growing.append(&batch(&rows), Timestamp(self.ts), RowId(first)).unwrap();
        let segment = self.growing.rows().id();
        for (at, row) in (0..).zip(rows) {
            let (from, until) = (Timestamp(self.ts), Timestamp::MAX);
            let id = RowId(first + u64::from(at));
            self.twin.push(Version { row, id, from, until, place: (segment, start + at) });
        }
    }

    fn deletes_of(&mut self, segment: SegmentId) -> &mut DeleteSet {
        let state = self.states.iter_mut().find(|state| state.form.id() == segment);
        state.map_or(&mut self.growing_deletes, |state| &mut state.deletes)
    }

    fn delete(&mut self) {
        self.ts += 1;
        let ts = Timestamp(self.ts);
        for _ in 0..self.random.random_range(1..40) {
            if self.twin.is_empty() {
                return;
            }
            let at = self.random.random_range(0..self.twin.len());
            let version = &mut self.twin[at];
            if version.until == Timestamp::MAX {
                version.until = ts;
                let ((segment, ordinal), row) = (version.place, version.id);
                self.deletes_of(segment).insert(ordinal, row, ts);
            }
        }
    }

    fn truncate(&mut self) {
        self.ts += 1;
        let ts = Timestamp(self.ts);
        self.twin.iter_mut().for_each(|version| version.until = version.until.min(ts));
        for state in &mut self.states {
            state.deletes.end_all(state.form.rows() as u32, ts);
        }
        self.growing_deletes.end_all(self.growing.rows().rows() as u32, ts);
    }

    fn seal(&mut self) {
        let rows = self.growing.rows();
        self.attempt += 1;
        let (files, objects) = write_segment(&rows, &self.growing_deletes, Epoch(1), self.attempt).unwrap();
        block_on(store_objects(&*self.store, &objects)).unwrap();
        self.publish(vec![files.clone()], Vec::new());
        let state = block_on(SealedSegment::open_state(&*self.store, table(), files)).unwrap();
        self.states.push(state);
        self.growing = GrowingSegment::new(SegmentId(rows.id().0 + 1), table());
        self.growing_deletes = DeleteSet::new();
    }

    fn publish(&mut self, segments: Vec<SegmentFiles>, removed: Vec<SegmentId>) {
        self.attempt += 1;
        let id = ManifestId { epoch: Epoch(1), n: self.attempt };
        let manifest = self.files.next(id, table(), Offset(self.ts), segments, removed);
        let location = Manifest::key(table().database, table().id, id);
        block_on(store::put_new(&*self.store, &location, manifest.encode())).unwrap();
        self.files.apply(&manifest);
    }

    /// Merges some sealed segments, neighbours or not, and purges behind a horizon; deletes that come between the
    /// merge and the swap are carried over.
    fn merge(&mut self) {
        let picked: Vec<usize> = (0..self.states.len()).filter(|_| self.random.random_bool(0.4)).collect();
        if picked.is_empty() {
            return;
        }
        self.purged = Timestamp(self.random.random_range(self.purged.0..=self.ts));
        self.attempt += 1;
        let id = SegmentId(1_000_000 + self.attempt);
        let inputs: Vec<merge::MergeInput> = picked
            .iter()
            .map(|at| {
                let SegmentForm::Sealed(segment) = &self.states[*at].form else { panic!("sealed") };
                merge::MergeInput { segment: Arc::clone(segment), deletes: self.states[*at].deletes.clone() }
            })
            .collect();
        let writer = (Epoch(1), self.attempt);
        let merged = merge::merge(&inputs, &table(), id, self.purged, writer, &|_, _| true).unwrap();
        (0..self.random.random_range(0..3)).for_each(|_| self.delete());
        let parents: Vec<SegmentState> = picked.iter().rev().map(|at| self.states.remove(*at)).collect();
        let removed: Vec<SegmentId> = parents.iter().map(|state| state.form.id()).collect();
        let Some((files, objects)) = merged else { return self.publish(Vec::new(), removed) };
        block_on(store_objects(&*self.store, &objects)).unwrap();
        let mut state = block_on(SealedSegment::open_state(&*self.store, table(), files.clone())).unwrap();
        let SegmentForm::Sealed(child) = &state.form else { panic!("sealed") };
        let from = inputs.iter().map(|input| {
            let parent = parents.iter().find(|state| state.form.id() == input.segment.id());
            (&*input.segment, &parent.expect("one of those picked").deletes)
        });
        state.deletes = merge::carried_deletes(from, child);
        for version in &mut self.twin {
            if removed.contains(&version.place.0) {
                let ordinal = child.ordinal_of(version.id);
                assert!(ordinal.is_some() || version.until <= self.purged, "a row that is needed was purged");
                assert!(ordinal.is_none() || version.until > self.purged, "a purged row is still there");
                version.place = (id, ordinal.unwrap_or(u32::MAX));
            }
        }
        self.states.push(state);
        self.publish(vec![files], removed);
    }

    /// Saves all deletes, forgets the sealed segments and reads everything back from the store.
    fn reopen(&mut self) {
        if self.states.is_empty() {
            return;
        }
        let mut changed = Vec::new();
        for state in &self.states {
            self.attempt += 1;
            let (segment, rows) = (state.form.id(), state.form.rows());
            let object = write_deletes(&table(), segment, rows, &state.deletes, Epoch(1), self.attempt);
            block_on(store_objects(&*self.store, std::slice::from_ref(&object))).unwrap();
            changed.push(self.files.segments[&segment].clone().with_deletes(object.entry));
        }
        self.publish(changed, Vec::new());
        let table = table();
        let read = block_on(TableFiles::read(&*self.store, table.database, table.id, self.files.id)).unwrap();
        assert_eq!(read, self.files);
        self.states = read
            .segments
            .values()
            .map(|files| {
                block_on(SealedSegment::open_state(&*self.store, Arc::clone(&table), files.clone())).unwrap()
            })
            .collect();
    }

    fn snapshot(&self, read_ts: Timestamp) -> TableSnapshot {
        let growing = SegmentState {
            form: SegmentForm::Growing(self.growing.rows()),
            deletes: self.growing_deletes.clone(),
        };
        let segments = self.states.iter().chain([&growing]).map(|state| Arc::new(state.at(read_ts)));
        TableSnapshot { table: table(), read_ts, segments: segments.collect() }
    }

    fn check(&mut self) {
        let now = self.ts;
        let read_ts = Timestamp(if self.random.random_bool(0.5) {
            now
        } else {
            self.random.random_range(self.purged.0..=now + 1)
        });
        let snapshot = self.snapshot(read_ts);
        block_on(snapshot.load(&[0, 1])).unwrap();
        let twin: Vec<&Version> =
            self.twin.iter().filter(|version| version.from <= read_ts && read_ts < version.until).collect();
        assert_eq!(snapshot.visible_rows(), twin.len() as u64);
        let mut found: Vec<(i64, Option<String>)> = Vec::new();
        for view in &snapshot.segments {
            let ordinals: Vec<u32> = view.visible().set_indices().map(|at| at as u32).collect();
            let rows = view.read_rows(&[ScanColumn::Column(0), ScanColumn::Column(1)], &ordinals).unwrap();
            let titles = arrow::array::AsArray::as_string::<i32>(rows.column(1));
            found.extend(ids(&rows).into_iter().zip(titles.iter().map(|title| title.map(str::to_owned))));
        }
        let mut expected: Vec<(i64, Option<String>)> =
            twin.iter().map(|version| (version.row.id, version.row.title.clone())).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "read ts {read_ts}");
        self.check_keys(
            &snapshot,
            &twin.iter().map(|version| (version.row.id, version.place, version.id)).collect::<Vec<_>>(),
        );
        self.check_search(read_ts, &snapshot);
    }

    fn check_keys(&mut self, snapshot: &TableSnapshot, twin: &[(i64, (SegmentId, u32), RowId)]) {
        let wanted: Vec<i64> = (0..30)
            .map(|_| self.random.random_range(0..5000))
            .chain(twin.iter().map(|row| row.0).take(20))
            .collect();
        let keys: Vec<Box<[u8]>> = wanted.iter().map(|id| key(*id)).collect();
        let found = snapshot.find_keys(&keys).unwrap();
        for (id, found) in wanted.iter().zip(found) {
            let expected = twin.iter().find(|row| row.0 == *id);
            let expected = expected.map(|(_, (segment, ordinal), row)| RowRef {
                segment: *segment,
                ordinal: *ordinal,
                row: *row,
            });
            assert_eq!(found, expected, "key {id}");
        }
    }

    fn check_search(&mut self, read_ts: Timestamp, snapshot: &TableSnapshot) {
        let query: Vec<f32> = (0..DIMENSIONS).map(|_| self.random.random_range(-2..3) as f32).collect();
        let metric = DistanceMetric::ALL[self.random.random_range(0..4)];
        let k = self.random.random_range(1..40);
        let order = |left: Option<f64>, right: Option<f64>| {
            left.is_none()
                .cmp(&right.is_none())
                .then_with(|| compare_distances(left.unwrap_or(0.0), right.unwrap_or(0.0)))
        };
        let mut hits: Vec<Hit> = snapshot
            .segments
            .iter()
            .flat_map(|view| top_k(view, VECTOR, metric, &query, k, view.visible()).unwrap())
            .collect();
        hits.sort_by(|a, b| order(a.distance, b.distance).then(a.ts.cmp(&b.ts)).then(a.row.cmp(&b.row)));
        hits.truncate(k);
        let live = self.twin.iter().filter(|version| version.from <= read_ts && read_ts < version.until);
        let mut expected: Vec<(Option<f64>, Timestamp, RowId)> =
            live.map(|version| (version.row.distance(metric, &query), version.from, version.id)).collect();
        expected.sort_by(|a, b| order(a.0, b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        expected.truncate(k);
        let shown = |distance: Option<f64>| distance.map(f64::to_bits);
        let hits: Vec<_> = hits.iter().map(|hit| (shown(hit.distance), hit.ts, hit.row)).collect();
        let expected: Vec<_> = expected.iter().map(|row| (shown(row.0), row.1, row.2)).collect();
        assert_eq!(hits, expected, "{metric:?} k {k} read ts {read_ts}");
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..45 => self.insert(),
            45..80 => self.delete(),
            80..82 => self.truncate(),
            82..90 => self.seal(),
            90..94 => self.merge(),
            _ => self.reopen(),
        }
        self.check();
    }
}

fn run(seed: u64, steps: usize, store: Arc<dyn ObjectStore>) {
    println!("model seed {seed}");
    let mut model = Model::new(seed, store);
    (0..steps).for_each(|_| model.step());
}

#[test]
fn random_operations_equal_the_twin_in_memory() {
    (0..25).for_each(|seed| run(seed, 60, Arc::new(InMemory::new())));
}

#[test]
fn random_operations_equal_the_twin_on_mapped_files() {
    for seed in 100..104 {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::open(Arc::new(SystemDoor), directory.path()).unwrap();
        run(seed, 60, Arc::new(store));
    }
}
