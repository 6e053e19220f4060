use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::executor::block_on;
use object_store::memory::InMemory;
use proto::Classify;

use super::*;
use crate::fixture::{Row, batch, table};
use crate::flush::{store_objects, write_segment};
use crate::growing::GrowingRows;
use crate::view::{ScanColumn, SegmentForm};

/// A sealed segment of rows `first..first + count`, one commit each, at the timestamp of their id.
fn sealed(store: &InMemory, segment: u64, first: i64, count: i64) -> MergeInput {
    let mut random = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(segment);
    let mut rows = GrowingRows::new(SegmentId(segment), table());
    for id in first..first + count {
        let row = Row::random(id, &mut random);
        rows.append(&batch(&[row]), Timestamp(id as u64), RowId(id as u64)).unwrap();
    }
    let (files, objects) = write_segment(&rows, &DeleteSet::new(), Epoch(1), segment).unwrap();
    block_on(store_objects(store, &objects)).unwrap();
    let segment = block_on(SealedSegment::open(store, table(), files)).unwrap();
    MergeInput { segment, deletes: DeleteSet::new() }
}

fn ids(segment: &Arc<SealedSegment>) -> Vec<i64> {
    let state =
        crate::SegmentState { form: SegmentForm::Sealed(Arc::clone(segment)), deletes: DeleteSet::new() };
    let view = state.at(Timestamp::MAX);
    let rows = view.read_range(&[ScanColumn::Column(0)], 0, view.rows()).unwrap();
    rows.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn merged(store: &InMemory, inputs: &[MergeInput], horizon: u64) -> Option<Arc<SealedSegment>> {
    let horizon = Timestamp(horizon);
    let merged = merge(inputs, &table(), SegmentId(9), horizon, (Epoch(1), 9), &|_, _| true).unwrap();
    let (files, objects) = merged?;
    block_on(store_objects(store, &objects)).unwrap();
    Some(block_on(SealedSegment::open(store, table(), files)).unwrap())
}

#[test]
fn rows_keep_their_order_whatever_the_order_of_the_inputs() {
    let store = InMemory::new();
    let inputs = [sealed(&store, 3, 201, 50), sealed(&store, 1, 1, 100), sealed(&store, 2, 101, 100)];
    let child = merged(&store, &inputs, 0).unwrap();
    assert_eq!(ids(&child), (1..=250).collect::<Vec<_>>());
    assert_eq!((child.files().min_ts, child.files().max_ts), (Timestamp(1), Timestamp(250)));
    assert_eq!(child.identity(249), (Timestamp(250), RowId(250)));
}

#[test]
fn only_what_ended_behind_the_horizon_goes() {
    let store = InMemory::new();
    let mut inputs = [sealed(&store, 1, 1, 10), sealed(&store, 2, 11, 10)];
    inputs[0].deletes.insert(2, RowId(3), Timestamp(50));
    inputs[0].deletes.insert(3, RowId(4), Timestamp(51));
    inputs[1].deletes.end_all(5, Timestamp(60));
    let child = merged(&store, &inputs, 50).unwrap();
    assert_eq!(ids(&child), (1..=20).filter(|id| *id != 3).collect::<Vec<_>>());
    // A delete that came after the merge had read its inputs.
    inputs[1].deletes.insert(9, RowId(20), Timestamp(70));
    let carried = carried_deletes(inputs.iter().map(|input| (&*input.segment, &input.deletes)), &child);
    let at = |row| carried.delete_ts(child.ordinal_of(RowId(row)).unwrap());
    assert_eq!((at(4), at(11), at(15)), (Some(Timestamp(51)), Some(Timestamp(60)), Some(Timestamp(60))));
    assert_eq!((at(16), at(20), carried.len()), (None, Some(Timestamp(70)), 7));
    assert_eq!(child.ordinal_of(RowId(3)), None);
}

#[test]
fn a_merge_may_leave_nothing_and_may_be_ended() {
    let store = InMemory::new();
    let mut inputs = [sealed(&store, 1, 1, 10)];
    let canceled = merge(&inputs, &table(), SegmentId(9), Timestamp(0), (Epoch(1), 9), &|_, _| false);
    assert_eq!(canceled.unwrap_err().kind(), ErrorKind::QueryCanceled);
    inputs[0].deletes.end_all(10, Timestamp(20));
    assert!(merged(&store, &inputs, 20).is_none());
    assert_eq!(ids(&merged(&store, &inputs, 19).unwrap()).len(), 10);
}
