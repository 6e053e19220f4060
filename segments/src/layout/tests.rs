use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use futures::executor::block_on;
use object_store::memory::InMemory;
use proto::catalog::{Column, FormerColumns};
use proto::{ColumnType, DistanceMetric, Epoch, RowId, SegmentId, Timestamp};

use super::*;
use crate::deletes::DeleteSet;
use crate::error::Error;
use crate::fixture::table_of;
use crate::flush::{store_objects, write_segment};
use crate::growing::GrowingRows;
use crate::sealed::SealedSegment;
use crate::search::top_k;
use crate::view::{ScanColumn, SegmentForm, SegmentState};

/// `a int, b text` at version 1.
fn before() -> Arc<TableMeta> {
    Arc::new(TableMeta { schema_version: 1, ..(*table_of(&[ColumnType::INT4, ColumnType::TEXT])).clone() })
}

/// `b text, c float8 DEFAULT 2.5, v vector(2) DEFAULT '[3,4]'` at version 2.
fn after() -> Arc<TableMeta> {
    let mut meta = (*before()).clone();
    let former = meta.columns.iter().map(|column| column.id).collect();
    meta.former = vec![FormerColumns { until: 1, columns: former }];
    meta.schema_version = 2;
    meta.columns.remove(0);
    let column = |id, name: &str, ty, value: ArrayRef| {
        let batch = RecordBatch::try_from_iter([("value", value)]).unwrap();
        let missing = Some(proto::record::encode_batch(&batch).unwrap());
        Column { id, name: name.into(), ty, nullable: false, default: None, identity: None, missing }
    };
    let vector = ColumnType::vector(2);
    let value = {
        let DataType::FixedSizeList(item, 2) = vector.data_type() else { panic!("{vector:?}") };
        let floats = Arc::new(arrow::array::Float32Array::from(vec![3.0, 4.0]));
        Arc::new(arrow::array::FixedSizeListArray::new(item, 2, floats, None))
    };
    meta.columns.push(column(3, "c", ColumnType::FLOAT8, Arc::new(Float64Array::from(vec![2.5]))));
    meta.columns.push(column(4, "v", vector, value));
    Arc::new(meta)
}

fn old_batch() -> RecordBatch {
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec![Some("x"), None]))];
    RecordBatch::try_new(before().arrow_schema(), columns).unwrap()
}

fn old_rows() -> GrowingRows {
    let mut rows = GrowingRows::new(SegmentId(1), before());
    rows.append(&old_batch(), Timestamp(1), RowId(1)).unwrap();
    rows
}

fn check(form: SegmentForm) {
    let view = SegmentState { form, deletes: DeleteSet::new() }.at(Timestamp(9));
    let all: Vec<ScanColumn> = (0..3).map(ScanColumn::Column).collect();
    for batch in [view.read_range(&all, 0, 2).unwrap(), view.read_rows(&all, &[0, 1]).unwrap()] {
        assert_eq!(batch.column(0).as_ref(), &StringArray::from(vec![Some("x"), None]));
        assert_eq!(batch.column(1).as_ref(), &Float64Array::from(vec![2.5, 2.5]));
        assert_eq!(batch.column(2).null_count(), 0);
    }
    let hits = top_k(&view, 2, DistanceMetric::L2, &[0.0; 2], 5, view.visible()).unwrap();
    assert_eq!(hits.len(), view.rows());
    assert!(hits.iter().all(|hit| hit.distance == Some(5.0)), "{hits:?}");
}

#[test]
fn growing_rows_go_forward() {
    check(SegmentForm::Growing(old_rows()).with_table(&after()).unwrap());
}

#[test]
fn a_replay_makes_the_same_of_older_records() {
    let mut rows = GrowingRows::new(SegmentId(1), after());
    rows.append_at(1, &old_batch(), Timestamp(1), RowId(1)).unwrap();
    check(SegmentForm::Growing(rows));
}

#[test]
fn stored_rows_go_forward_at_once_and_when_opened_anew() {
    let store = InMemory::new();
    let (files, objects) = write_segment(&old_rows(), &DeleteSet::new(), Epoch(1), 1).unwrap();
    block_on(store_objects(&store, &objects)).unwrap();
    let opened = block_on(SealedSegment::open(&store, before(), files.clone())).unwrap();
    check(SegmentForm::Sealed(opened).with_table(&after()).unwrap());
    check(SegmentForm::Sealed(block_on(SealedSegment::open(&store, after(), files)).unwrap()));
}

#[test]
fn rows_of_another_shape_are_refused() {
    let mut rows = GrowingRows::new(SegmentId(1), after());
    let narrow = old_batch().project(&[0]).unwrap();
    let refused = rows.append_at(1, &narrow, Timestamp(1), RowId(1));
    assert!(matches!(refused, Err(Error::RowShape { .. })), "{refused:?}");
    let turned = old_batch().project(&[1, 0]).unwrap();
    let refused = rows.append_at(1, &turned, Timestamp(1), RowId(1));
    assert!(matches!(refused, Err(Error::RowShape { .. })), "{refused:?}");
}

/// The rows of before as the table of then reads them.
fn check_past(form: &SegmentForm) {
    let past = form.with_table(&before()).unwrap();
    let view = SegmentState { form: past, deletes: DeleteSet::new() }.at(Timestamp(9));
    let all = [ScanColumn::Column(0), ScanColumn::Column(1)];
    for batch in [view.read_range(&all, 0, 2).unwrap(), view.read_rows(&all, &[0, 1]).unwrap()] {
        assert_eq!(batch.column(0).as_ref(), &Int32Array::from(vec![1, 2]));
        assert_eq!(batch.column(1).as_ref(), &StringArray::from(vec![Some("x"), None]));
    }
}

/// The table with the columns that it has dropped.
fn kept() -> Arc<TableMeta> {
    let mut meta = (*after()).clone();
    meta.columns.push(before().columns[0].clone());
    Arc::new(meta)
}

#[test]
fn a_dropped_column_is_there_for_the_table_of_then() {
    let store = InMemory::new();
    let growing = old_rows().with_table(after()).unwrap();
    let mut replayed = GrowingRows::new(SegmentId(1), after());
    replayed.append_at(1, &old_batch(), Timestamp(1), RowId(1)).unwrap();
    let whole = replayed.with_table(kept()).unwrap();
    let (files, objects) = write_segment(&whole, &DeleteSet::new(), Epoch(1), 1).unwrap();
    block_on(store_objects(&store, &objects)).unwrap();
    let stored = block_on(SealedSegment::open(&store, after(), files)).unwrap();
    for form in [SegmentForm::Growing(growing), SegmentForm::Growing(replayed), SegmentForm::Sealed(stored)] {
        check_past(&form);
        check(form.clone());
        // There and back.
        check(form.with_table(&before()).unwrap().with_table(&after()).unwrap());
    }
}

#[test]
fn rows_of_several_versions_share_a_segment() {
    let mut rows = GrowingRows::new(SegmentId(1), after());
    rows.append_at(1, &old_batch(), Timestamp(1), RowId(1)).unwrap();
    let new = old_rows().with_table(after()).unwrap();
    let view = SegmentState { form: SegmentForm::Growing(new), deletes: DeleteSet::new() }.at(Timestamp(9));
    let all: Vec<ScanColumn> = (0..3).map(ScanColumn::Column).collect();
    rows.append(&view.read_range(&all, 0, 2).unwrap(), Timestamp(2), RowId(3)).unwrap();
    let growing = SegmentForm::Growing(rows.clone());
    check_past(&growing);
    check(growing.clone());
    let store = InMemory::new();
    let whole = rows.with_table(kept()).unwrap();
    let (files, objects) = write_segment(&whole, &DeleteSet::new(), Epoch(1), 1).unwrap();
    block_on(store_objects(&store, &objects)).unwrap();
    let stored = SegmentForm::Sealed(block_on(SealedSegment::open(&store, after(), files)).unwrap());
    check_past(&stored);
    for form in [growing, stored] {
        let view = SegmentState { form, deletes: DeleteSet::new() }.at(Timestamp(9));
        let batch = view.read_rows(&all, &[3, 0]).unwrap();
        assert_eq!(batch.column(0).as_ref(), &StringArray::from(vec![None, Some("x")]));
        assert_eq!(batch.column(1).as_ref(), &Float64Array::from(vec![2.5, 2.5]));
    }
}

/// A table whose rows were all written anew with another type and a key: what is left of the old ones is NULL, but not
/// to the table of then.
#[test]
fn rows_that_were_written_anew_are_not_read_any_more() {
    let mut meta = (*before()).clone();
    meta.schema_version = 2;
    meta.rewritten = 2;
    meta.columns[0].ty = ColumnType::TEXT;
    meta.primary_key = Some(proto::catalog::PrimaryKey {
        oid: proto::Oid(1),
        index_oid: proto::Oid(2),
        name: "k".into(),
        columns: vec![1],
    });
    let meta = Arc::new(meta);
    let store = InMemory::new();
    let (files, objects) = write_segment(&old_rows(), &DeleteSet::new(), Epoch(1), 1).unwrap();
    block_on(store_objects(&store, &objects)).unwrap();
    let opened = block_on(SealedSegment::open(&store, before(), files.clone())).unwrap();
    let mut replayed = GrowingRows::new(SegmentId(1), Arc::clone(&meta));
    replayed.append_at(1, &old_batch(), Timestamp(1), RowId(1)).unwrap();
    let growing = old_rows().with_table(Arc::clone(&meta)).unwrap();
    let (_, objects) = write_segment(&growing, &DeleteSet::new(), Epoch(1), 2).unwrap();
    assert!(objects.iter().any(|object| object.entry.kind == crate::ObjectKind::Keys));
    let forms = [
        SegmentForm::Growing(growing),
        SegmentForm::Growing(replayed),
        SegmentForm::Sealed(opened).with_table(&meta).unwrap(),
        SegmentForm::Sealed(block_on(SealedSegment::open(&store, Arc::clone(&meta), files)).unwrap()),
    ];
    for form in forms {
        check_past(&form);
        let view = SegmentState { form, deletes: DeleteSet::new() }.at(Timestamp(9));
        let batch = view.read_range(&[ScanColumn::Column(0), ScanColumn::Column(1)], 0, 2).unwrap();
        assert_eq!((batch.column(0).null_count(), batch.column(1).null_count()), (2, 2));
    }
}
