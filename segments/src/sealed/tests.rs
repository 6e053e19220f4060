use arrow::array::{
    FixedSizeBinaryArray, Float32Builder, Float64Array, Int32Array, IntervalMonthDayNanoArray, ListArray,
    ListBuilder, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano};
use futures::executor::block_on;
use object_store::memory::InMemory;
use proto::{ColumnType, DistanceMetric, Epoch, TypeKind};

use super::*;
use crate::fixture::{table, table_of};
use crate::flush::{store_objects, write_segment};
use crate::growing::GrowingRows;
use crate::search::top_k;
use crate::view::ScanColumn;

fn seal(rows: &GrowingRows, table: Arc<TableMeta>) -> SegmentState {
    let store = InMemory::new();
    let (files, objects) = write_segment(rows, &DeleteSet::new(), Epoch(1), 1).unwrap();
    block_on(store_objects(&store, &objects)).unwrap();
    block_on(SealedSegment::open_state(&store, table, files)).unwrap()
}

#[test]
fn a_segment_without_rows_is_a_segment() {
    let state = seal(&GrowingRows::new(SegmentId(1), table()), table());
    let view = state.at(Timestamp(5));
    let columns: Vec<ScanColumn> = (0..6).map(ScanColumn::Column).collect();
    assert_eq!((view.rows(), view.visible_count()), (0, 0));
    assert_eq!(view.read_range(&columns, 0, 0).unwrap().num_rows(), 0);
    assert_eq!(view.read_rows(&columns, &[]).unwrap().num_columns(), 6);
    assert!(top_k(&view, 3, DistanceMetric::L2, &[0.0; 5], 3, view.visible()).unwrap().is_empty());
    let mut found = [None];
    let (table, value) = (table(), crate::fixture::key(1));
    let key = table.primary_key.as_ref().unwrap().as_key();
    view.find_keys(key, &[Some(value.as_ref())], &[Some(7)], &mut found).unwrap();
    assert_eq!(found, [None]);
}

#[test]
fn columns_added_later_are_null_and_dropped_ones_are_not_read() {
    let old = table_of(&[ColumnType::INT4, ColumnType::TEXT]);
    let mut rows = GrowingRows::new(SegmentId(1), Arc::clone(&old));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec![Some("x"), None]))];
    rows.append(&RecordBatch::try_new(old.arrow_schema(), columns).unwrap(), Timestamp(1), RowId(1)).unwrap();
    let mut new =
        (*table_of(&[ColumnType::INT4, ColumnType::TEXT, ColumnType::FLOAT8, ColumnType::vector(2)])).clone();
    new.columns.remove(0);
    let state = seal(&rows, Arc::new(new));
    let view = state.at(Timestamp(1));
    let all: Vec<ScanColumn> = (0..3).map(ScanColumn::Column).collect();
    for batch in [view.read_range(&all, 0, 2).unwrap(), view.read_rows(&all, &[0, 1]).unwrap()] {
        assert_eq!(batch.column(0).as_ref(), &StringArray::from(vec![Some("x"), None]));
        assert_eq!(batch.column(1).as_ref(), &Float64Array::from(vec![None, None]));
        assert_eq!(batch.column(2).null_count(), 2);
    }
    let hits = top_k(&view, 2, DistanceMetric::L2, &[0.0; 2], 5, view.visible()).unwrap();
    assert_eq!(
        hits.iter().map(|hit| (hit.ordinal, hit.distance)).collect::<Vec<_>>(),
        [(0, None), (1, None)]
    );
    assert_eq!(
        view.column_bounds(0),
        Some((ScalarBound::Text("x".to_owned()), ScalarBound::Text("x".to_owned())))
    );
}

#[test]
fn every_storable_type_survives_sealing() {
    let kinds = TypeKind::ALL.iter().map(|kind| ColumnType::from(*kind)).filter(|ty| ty.is_storable());
    let table = table_of(&kinds.chain([ColumnType::array_of(TypeKind::Interval)]).collect::<Vec<_>>());
    let mut rows = GrowingRows::new(SegmentId(1), Arc::clone(&table));
    let intervals = || {
        let value = |months, days, nanoseconds| Some(IntervalMonthDayNano { months, days, nanoseconds });
        IntervalMonthDayNanoArray::from(vec![value(-14, 3, 4_500_000), None, value(i32::MAX, -5, -1000)])
    };
    let columns = table.columns.iter().map(|column| match column.ty.data_type() {
        DataType::Interval(_) => Arc::new(intervals()) as ArrayRef,
        DataType::List(item) if column.ty.array => {
            let offsets = OffsetBuffer::from_lengths([3, 0, 0]);
            let nulls = NullBuffer::from(vec![true, false, true]);
            Arc::new(ListArray::new(item, offsets, Arc::new(intervals()), Some(nulls)))
        }
        DataType::List(_) => {
            let item = Field::new("item", DataType::Float32, false);
            let mut lists = ListBuilder::new(Float32Builder::new()).with_field(item);
            lists.append_value([Some(1.0), Some(-2.5)]);
            lists.append_null();
            lists.append_value([Some(3.0)]);
            Arc::new(lists.finish())
        }
        DataType::Timestamp(_, zone) => {
            let micros = TimestampMicrosecondArray::from(vec![Some(1_709_168_523_456_789), None, Some(-1)]);
            Arc::new(micros.with_timezone_opt(zone))
        }
        DataType::FixedSizeBinary(width) => {
            let values = [Some(vec![1_u8; width as usize]), None, Some(vec![2; width as usize])];
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), width).unwrap())
        }
        other => {
            let text = match other {
                DataType::Boolean => [Some("true"), None, Some("false")],
                DataType::Date32 => [Some("2024-02-29"), None, Some("0001-01-01")],
                DataType::UInt32 => [Some("12"), None, Some("7")],
                DataType::Time64(_) => [Some("12:34:56.789"), None, Some("00:00:01")],
                _ => [Some("12"), None, Some("-7")],
            };
            arrow::compute::cast(&StringArray::from(text.to_vec()), &other).unwrap()
        }
    });
    let batch = RecordBatch::try_new(table.arrow_schema(), columns.collect()).unwrap();
    rows.append(&batch, Timestamp(1), RowId(1)).unwrap();
    let state = seal(&rows, Arc::clone(&table));
    let view = state.at(Timestamp(1));
    let all: Vec<ScanColumn> = (0..table.columns.len()).map(ScanColumn::Column).collect();
    assert_eq!(view.read_range(&all, 0, 3).unwrap(), batch);
    assert!(batch.columns().iter().all(|column| column.null_count() == 1), "a NULL of every type");
    assert!(top_k(&view, table.columns.len() - 2, DistanceMetric::L2, &[0.0; 2], 5, view.visible()).is_err());
}

/// `table()` with unique titles and prices: NULL titles differ from one another, NULL prices do not.
fn with_unique_keys() -> Arc<proto::catalog::TableMeta> {
    let unique = |index: u32, column: u32, nulls_distinct: bool| proto::catalog::UniqueKey {
        constraint: None,
        index_oid: Oid(index),
        name: format!("t_{column}_idx"),
        columns: vec![column],
        nulls_distinct,
    };
    let mut table = (*table()).clone();
    table.schema_version += 1;
    table.uniques = vec![unique(16_405, 2, true), unique(16_406, 3, false)];
    Arc::new(table)
}

/// A title of row 8 and a price of row 4, and what none has; NULL and NULL.
fn found_by_key(view: crate::SegmentView, table: &Arc<proto::catalog::TableMeta>) -> Vec<Option<u64>> {
    let snapshot = crate::TableSnapshot {
        table: Arc::clone(table),
        read_ts: Timestamp(9),
        segments: vec![Arc::new(view)],
    };
    let wanted = crate::fixture::batch(&[
        row(1, Some("title 8"), Some(4.5)),
        row(2, Some("none"), Some(9.9)),
        row(3, None, None),
    ]);
    let mut found = Vec::new();
    for key in table.keys().filter(|key| !key.is_primary) {
        let positions = table.positions(key.columns);
        let values = proto::key::encode_unique_keys(&wanted, &positions, key.nulls_distinct).unwrap();
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        found
            .extend(snapshot.find(key, &values).unwrap().into_iter().map(|found| found.map(|row| row.row.0)));
    }
    found
}

fn row(id: i64, title: Option<&str>, price: Option<f64>) -> crate::fixture::Row {
    crate::fixture::Row { id, title: title.map(str::to_owned), price, vector: None }
}

#[test]
fn unique_keys_find_rows_of_every_age_and_form() {
    let (old, new) = (table(), with_unique_keys());
    let rows: Vec<_> = (0..100)
        .map(|id| {
            let (title, price) = (format!("title {id}"), id as f64 + 0.5);
            row(id, (id % 3 != 0).then_some(title.as_str()), (id != 7).then_some(price))
        })
        .collect();
    let grown = |table: &Arc<_>| {
        let mut grown = GrowingRows::new(SegmentId(1), Arc::clone(table));
        for (ts, rows) in rows.chunks(30).enumerate() {
            let first = RowId(rows[0].id as u64);
            grown.append(&crate::fixture::batch(rows), Timestamp(ts as u64 + 1), first).unwrap();
        }
        grown
    };
    let growing = |rows: GrowingRows| crate::SegmentState {
        form: crate::SegmentForm::Growing(rows),
        deletes: DeleteSet::new(),
    };
    let forms = [
        ("growing with the keys", growing(grown(&new)).at(Timestamp(9))),
        ("growing, keys later", growing(grown(&old).with_table(Arc::clone(&new)).unwrap()).at(Timestamp(9))),
        ("sealed with the keys", seal(&grown(&new), Arc::clone(&new)).at(Timestamp(9))),
        ("sealed, opened with the keys", seal(&grown(&old), Arc::clone(&new)).at(Timestamp(9))),
        (
            "sealed, keys later",
            seal(&grown(&old), Arc::clone(&old)).at(Timestamp(9)).with_table(&new).unwrap(),
        ),
    ];
    for (form, view) in forms {
        assert_eq!(found_by_key(view, &new), [Some(8), None, None, Some(4), None, Some(7)], "{form}");
    }
    let rewritten = Arc::new(proto::catalog::TableMeta { rewritten: 9, schema_version: 9, ..(*new).clone() });
    let ended = seal(&grown(&new), Arc::clone(&new)).at(Timestamp(9)).with_table(&rewritten).unwrap();
    assert_eq!(found_by_key(ended, &rewritten), [None; 6]);
}
