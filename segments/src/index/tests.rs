use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListBuilder, Float32Builder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};
use futures::executor::block_on;
use object_store::memory::InMemory;
use proto::catalog::{IndexMeta, IndexMethod, TableMeta};
use proto::{ColumnType, DistanceMetric, Epoch, Oid, RowId, SegmentId, Timestamp};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::deletes::DeleteSet;
use crate::fixture::table_of;
use crate::flush::{store_objects, write_index, write_segment};
use crate::growing::GrowingRows;
use crate::search::{IndexUse, SearchMethod, SegmentHits, search};
use crate::store::put_new;
use crate::view::{SegmentForm, SegmentView};
use crate::{ObjectKind, SealedSegment};

const DIMENSIONS: usize = 16;
const HNSW: IndexMethod = IndexMethod::Hnsw { m: 12, ef_construction: 60 };
const IVF_FLAT: IndexMethod = IndexMethod::IvfFlat { lists: 20 };

/// Vectors around a few centres, now and then none, or one of zeros.
fn vectors(rows: usize, odd: bool, random: &mut ChaCha8Rng) -> Vec<Option<Vec<f32>>> {
    let centres: Vec<Vec<f32>> =
        (0..30).map(|_| (0..DIMENSIONS).map(|_| random.random_range(-1.0..1.0)).collect()).collect();
    let mut vectors = Vec::with_capacity(rows);
    for _ in 0..rows {
        let kind = if odd { random.random_range(0..100) } else { 9 };
        vectors.push(match kind {
            0 => None,
            1 => Some(vec![0.0; DIMENSIONS]),
            _ => {
                let centre = &centres[random.random_range(0..centres.len())];
                Some(centre.iter().map(|element| element + random.random_range(-0.9..0.9)).collect())
            }
        });
    }
    vectors
}

/// A query that resembles the rows, as real ones do.
fn near(vectors: &[Option<Vec<f32>>], random: &mut ChaCha8Rng) -> Vec<f32> {
    let countable = |vector: &&Vec<f32>| vector.iter().any(|element| *element != 0.0);
    let row = random.random_range(0..vectors.len() / 2);
    let found = vectors[row..].iter().flatten().find(countable).expect("some row is not zero");
    found.iter().map(|element| element + random.random_range(-0.2..0.2)).collect()
}

fn column(vectors: &[Option<Vec<f32>>]) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let mut lists = FixedSizeListBuilder::new(Float32Builder::new(), DIMENSIONS as i32).with_field(item);
    for vector in vectors {
        lists.values().append_slice(vector.as_deref().unwrap_or(&[0.0; DIMENSIONS]));
        lists.append(vector.is_some());
    }
    Arc::new(lists.finish())
}

fn meta(metric: DistanceMetric, method: IndexMethod) -> IndexMeta {
    let name = "i".to_owned();
    IndexMeta { oid: Oid(20_000), name, column: 1, metric, method, written_options: Vec::new() }
}

struct Stored {
    store: InMemory,
    segment: Arc<SealedSegment>,
}

fn stored(vectors: &[Option<Vec<f32>>], meta: &IndexMeta) -> Stored {
    stored_with(vectors, &DeleteSet::new(), meta)
}

/// The index is built when these rows have ended.
fn stored_with(vectors: &[Option<Vec<f32>>], deletes: &DeleteSet, meta: &IndexMeta) -> Stored {
    let table = table_of(&[ColumnType::vector(DIMENSIONS as i32)]);
    let table = Arc::new(TableMeta { indexes: vec![meta.clone()], ..(*table).clone() });
    let mut rows = GrowingRows::new(SegmentId(1), Arc::clone(&table));
    let batch = RecordBatch::try_new(table.arrow_schema(), vec![column(vectors)]).unwrap();
    rows.append(&batch, Timestamp(1), RowId(1)).unwrap();
    let store = InMemory::new();
    let (files, objects) = write_segment(&rows, &DeleteSet::new(), Epoch(1), 1).unwrap();
    block_on(store_objects(&store, &objects)).unwrap();
    let segment = block_on(SealedSegment::open(&store, table, files)).unwrap();
    let object = write_index(&segment, deletes, meta, (Epoch(1), 2), 2, &mut |_, _, _| true).unwrap();
    block_on(store_objects(&store, std::slice::from_ref(&object))).unwrap();
    let segment = block_on(segment.with_index(&store, meta, &object.entry));
    assert!(segment.index(meta.oid).unwrap().usable().is_some());
    Stored { store, segment }
}

fn allowed(meta: &IndexMeta, ef_search: usize, probes: usize) -> IndexUse {
    let params = SearchParams { ef_search, probes, ..SearchParams::default() };
    IndexUse { oid: meta.oid, params, forced: false }
}

fn ask(
    segment: &Arc<SealedSegment>,
    metric: DistanceMetric,
    query: &[f32],
    k: usize,
    admit: &BooleanBuffer,
    index: Option<&IndexUse>,
) -> SegmentHits {
    let form = SegmentForm::Sealed(Arc::clone(segment));
    let view = SegmentView::new(form, DeleteSet::new(), Timestamp::MAX);
    search(&view, 0, metric, query, k, admit, index).unwrap()
}

/// Share of the exact answer's distances that the other answer reaches.
fn recall(exact: &SegmentHits, found: &SegmentHits) -> f64 {
    let worst = exact.hits.last().unwrap().distance.unwrap() + 1e-9;
    let good = found.hits.iter().filter(|hit| hit.distance.is_some_and(|distance| distance <= worst)).count();
    good as f64 / exact.hits.len() as f64
}

#[test]
fn an_index_finds_nearly_all_of_the_nearest_rows_and_only_admitted_ones() {
    for (method, ef_search, probes) in [(HNSW, 80, 1), (IVF_FLAT, 40, 5)] {
        for metric in DistanceMetric::ALL.into_iter().filter(|metric| method.supports(*metric)) {
            let mut random = ChaCha8Rng::seed_from_u64(11);
            let vectors = vectors(12_000, true, &mut random);
            let meta = meta(metric, method);
            let Stored { segment, .. } = stored(&vectors, &meta);
            let (mut sum, mut by_index) = (0.0, 0);
            for round in 0..40 {
                let density = [1.0, 0.8, 0.5, 0.3][round % 4];
                let admit: BooleanBuffer = (0..vectors.len()).map(|_| random.random_bool(density)).collect();
                let query = near(&vectors, &mut random);
                let exact = ask(&segment, metric, &query, 10, &admit, None);
                let allowed = allowed(&meta, ef_search, probes);
                let found = ask(&segment, metric, &query, 10, &admit, Some(&allowed));
                assert_eq!(found.hits.len(), 10);
                assert!(found.hits.iter().all(|hit| admit.value(hit.ordinal as usize)));
                let mut rows: Vec<u32> = found.hits.iter().map(|hit| hit.ordinal).collect();
                rows.sort_unstable();
                rows.dedup();
                assert_eq!(rows.len(), 10, "no row twice");
                sum += recall(&exact, &found);
                by_index += usize::from(found.method == SearchMethod::Index);
            }
            assert!(by_index >= 20, "{method:?} {metric:?}: {by_index} of 40 by index");
            assert!(sum / 40.0 > 0.85, "{method:?} {metric:?}: recall {}", sum / 40.0);
        }
    }
}

#[test]
fn k_rows_come_whenever_k_qualify() {
    for method in [HNSW, IVF_FLAT] {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let vectors = vectors(6000, true, &mut random);
        let meta = meta(DistanceMetric::Cosine, method);
        let Stored { segment, .. } = stored(&vectors, &meta);
        let query = vec![1.0; DIMENSIONS];
        for density in [0.0, 0.0005, 0.01, 0.2, 1.0] {
            let admit: BooleanBuffer = (0..vectors.len()).map(|_| random.random_bool(density)).collect();
            for k in [0, 1, 10, 500, 6000] {
                let found =
                    ask(&segment, DistanceMetric::Cosine, &query, k, &admit, Some(&allowed(&meta, 10, 1)));
                assert_eq!(found.hits.len(), k.min(admit.count_set_bits()), "{method:?} {density} {k}");
            }
        }
    }
}

#[test]
fn a_forced_index_leaves_out_rows_without_a_distance() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let vectors = vectors(500, true, &mut random);
    let meta = meta(DistanceMetric::Cosine, HNSW);
    let Stored { segment, .. } = stored(&vectors, &meta);
    let admit = BooleanBuffer::new_set(500);
    let forced = IndexUse { forced: true, ..allowed(&meta, 40, 1) };
    let found = ask(&segment, DistanceMetric::Cosine, &[1.0; DIMENSIONS], 500, &admit, Some(&forced));
    let countable = vectors.iter().flatten().filter(|vector| vector.iter().any(|element| *element != 0.0));
    assert_eq!(found.hits.len(), countable.count());
}

#[test]
fn a_query_without_direction_is_answered_exactly() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let vectors = vectors(6000, true, &mut random);
    let meta = meta(DistanceMetric::Cosine, HNSW);
    let Stored { segment, .. } = stored(&vectors, &meta);
    let admit = BooleanBuffer::new_set(vectors.len());
    let query = [0.0; DIMENSIONS];
    let exact = ask(&segment, DistanceMetric::Cosine, &query, 5, &admit, None);
    let found = ask(&segment, DistanceMetric::Cosine, &query, 5, &admit, Some(&allowed(&meta, 40, 1)));
    let rows = |hits: &SegmentHits| hits.hits.iter().map(|hit| hit.ordinal).collect::<Vec<_>>();
    assert_eq!(rows(&found), rows(&exact));
}

#[test]
fn a_damaged_index_is_found_out_and_its_segment_answers_exactly() {
    for method in [HNSW, IVF_FLAT] {
        let mut random = ChaCha8Rng::seed_from_u64(9);
        let vectors = vectors(4000, false, &mut random);
        let meta = meta(DistanceMetric::L2, method);
        let Stored { store, segment } = stored(&vectors, &meta);
        let entry = segment.files().object(ObjectKind::Index(meta.oid.0)).unwrap().clone();
        let sound = block_on(crate::store::read_object(&store, &entry.key)).unwrap();
        let admit = BooleanBuffer::new_set(vectors.len());
        let query = vec![0.1; DIMENSIONS];
        let exact = ask(&segment, DistanceMetric::L2, &query, 10, &admit, None);
        let mut noticed = 0;
        for round in 0..60_u64 {
            let mut bytes = sound.buffer().as_slice().to_vec();
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << (round % 8);
            let key = object_store::path::Path::from(format!("damaged/{round}"));
            block_on(put_new(&store, &key, bytes.into())).unwrap();
            let damaged = crate::ObjectEntry { key, ..entry.clone() };
            let segment = block_on(segment.with_index(&store, &meta, &damaged));
            let found =
                ask(&segment, DistanceMetric::L2, &query, 10, &admit, Some(&allowed(&meta, 4000, 20)));
            let again = IndexUse { forced: true, ..allowed(&meta, 4000, 20) };
            let forced = ask(&segment, DistanceMetric::L2, &query, 10, &admit, Some(&again));
            assert_eq!(found.hits, exact.hits, "byte {at}");
            assert_eq!(forced.hits, exact.hits, "byte {at}");
            let index = segment.index(meta.oid).unwrap();
            noticed += usize::from(index.failure().is_some());
        }
        // What no search touched goes unnoticed, and harms nobody.
        assert!(noticed > 30, "{method:?}: only {noticed} of 60 damages were noticed");
    }
}

#[test]
fn few_rows_make_an_index_too() {
    for method in [HNSW, IVF_FLAT] {
        for rows in [0, 1, 3] {
            let mut random = ChaCha8Rng::seed_from_u64(3);
            let vectors = vectors(rows, false, &mut random);
            let meta = meta(DistanceMetric::L2, method);
            let Stored { segment, .. } = stored(&vectors, &meta);
            let admit = BooleanBuffer::new_set(rows);
            let forced = IndexUse { forced: true, ..allowed(&meta, 40, 1) };
            let found = ask(&segment, DistanceMetric::L2, &[0.0; DIMENSIONS], 2, &admit, Some(&forced));
            assert_eq!(found.hits.len(), rows.min(2));
        }
    }
}

/// Every `one_in`th row ends, at 11, 12, … 19.
fn ended(rows: usize, one_in: usize) -> DeleteSet {
    let mut deletes = DeleteSet::new();
    for ordinal in (0..rows).step_by(one_in) {
        let ts = Timestamp(11 + (ordinal / one_in % 9) as u64);
        deletes.insert(ordinal as u32, RowId(1 + ordinal as u64), ts);
    }
    deletes
}

#[test]
fn many_rows_that_have_ended_are_left_out_and_still_found_by_who_sees_them() {
    for (method, ef_search, probes) in [(HNSW, 80, 1), (IVF_FLAT, 40, 5)] {
        let mut random = ChaCha8Rng::seed_from_u64(21);
        let vectors = vectors(8000, true, &mut random);
        let meta = meta(DistanceMetric::L2, method);
        let deletes = ended(vectors.len(), 3);
        let Stored { store, segment } = stored_with(&vectors, &deletes, &meta);
        let again = SealedSegment::open(&store, Arc::clone(segment.table()), segment.files().clone());
        for segment in [segment, block_on(again).unwrap()] {
            let index = segment.index(meta.oid).unwrap();
            let live = vectors.iter().enumerate().filter(|(row, vector)| row % 3 > 0 && vector.is_some());
            assert_eq!(index.usable().unwrap().rows(), live.count());
            assert_eq!(index.complete_since(), Timestamp(19));
            let (mut sum, mut by_index) = (0.0, 0);
            for read_ts in [1, 10, 11, 18, 19, 20, u64::MAX].map(Timestamp) {
                let form = SegmentForm::Sealed(Arc::clone(&segment));
                let view = SegmentView::new(form, deletes.clone(), read_ts);
                let ask = |query: &[f32], index: Option<&IndexUse>| {
                    search(&view, 0, meta.metric, query, 10, view.visible(), index).unwrap()
                };
                for _ in 0..10 {
                    let query = near(&vectors, &mut random);
                    let exact = ask(&query, None);
                    let found = ask(&query, Some(&allowed(&meta, ef_search, probes)));
                    let forced = IndexUse { forced: true, ..allowed(&meta, ef_search, probes) };
                    let forced = ask(&query, Some(&forced));
                    assert_eq!((found.hits.len(), forced.hits.len()), (10, 10));
                    if read_ts < Timestamp(19) {
                        assert_eq!((found.method, forced.method), (SearchMethod::Exact, SearchMethod::Exact));
                        assert_eq!((&found.hits, &forced.hits), (&exact.hits, &exact.hits));
                    } else {
                        assert!(found.hits.iter().all(|hit| hit.ordinal % 3 > 0));
                        by_index += usize::from(found.method == SearchMethod::Index);
                        sum += recall(&exact, &forced);
                    }
                }
            }
            assert!(by_index >= 20, "{method:?}: {by_index} of 30 by index");
            assert!(sum / 30.0 > 0.85, "{method:?}: recall {}", sum / 30.0);
        }
    }
}

#[test]
fn few_rows_that_have_ended_stay_in_the_index() {
    let mut random = ChaCha8Rng::seed_from_u64(22);
    let vectors = vectors(3000, false, &mut random);
    let meta = meta(DistanceMetric::L2, HNSW);
    let deletes = ended(vectors.len(), 12);
    let Stored { segment, .. } = stored_with(&vectors, &deletes, &meta);
    let index = segment.index(meta.oid).unwrap();
    assert_eq!(index.usable().unwrap().rows(), vectors.len());
    assert!(index.usable_at(Timestamp(1)).is_some());
}

#[test]
fn an_index_may_leave_out_every_row() {
    for method in [HNSW, IVF_FLAT] {
        let mut random = ChaCha8Rng::seed_from_u64(23);
        let vectors = vectors(50, false, &mut random);
        let meta = meta(DistanceMetric::L2, method);
        let deletes = ended(vectors.len(), 1);
        assert!(deletes.has_ended_all(vectors.len()) && !DeleteSet::new().has_ended_all(0));
        let Stored { segment, .. } = stored_with(&vectors, &deletes, &meta);
        let view = SegmentView::new(SegmentForm::Sealed(segment), deletes, Timestamp(12));
        let forced = IndexUse { forced: true, ..allowed(&meta, 40, 1) };
        let query = [0.0; DIMENSIONS];
        let found = search(&view, 0, meta.metric, &query, 50, view.visible(), Some(&forced)).unwrap();
        assert_eq!(found.hits.len(), view.visible_count());
    }
}
