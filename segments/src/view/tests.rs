use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::fixture::{Row, batch, table};

fn state() -> SegmentState {
    let mut random = ChaCha8Rng::seed_from_u64(51);
    let mut rows = GrowingRows::new(SegmentId(7), table());
    for ts in 1..=10_u64 {
        let new: Vec<Row> = (0..20).map(|at| Row::random(ts as i64 * 100 + at, &mut random)).collect();
        rows.append(&batch(&new), Timestamp(ts), RowId(ts * 20)).unwrap();
    }
    let mut deletes = DeleteSet::new();
    deletes.insert(0, RowId(20), Timestamp(4));
    deletes.insert(199, RowId(219), Timestamp(12));
    SegmentState { form: SegmentForm::Growing(rows), deletes }
}

#[test]
fn visibility_follows_the_read_timestamp() {
    let state = state();
    for (read_ts, expected) in [(0, 0), (1, 20), (3, 60), (4, 79), (10, 199), (11, 199), (12, 198), (99, 198)]
    {
        let view = state.at(Timestamp(read_ts));
        assert_eq!(view.visible_count(), expected, "read ts {read_ts}");
        assert_eq!(view.visible().len(), 200);
        for ordinal in 0..200 {
            assert_eq!(view.is_visible(ordinal), view.visible().value(ordinal as usize));
        }
    }
}

#[test]
fn hidden_columns_identify_rows() {
    let view = state().at(Timestamp(5));
    let columns = [ScanColumn::Ts, ScanColumn::Row, ScanColumn::Segment, ScanColumn::Ordinal];
    let range = view.read_range(&columns, 15, 10).unwrap();
    assert_eq!(
        range.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["_ts", "_row", "_segment", "_ordinal"]
    );
    assert_eq!(range.column(0).as_primitive::<UInt64Type>().value(5), 2);
    assert_eq!(range.column(1).as_primitive::<UInt64Type>().value(0), 35);
    assert_eq!(range.column(2).as_primitive::<UInt64Type>().value(0), 7);
    let ordinals: Vec<u32> = (15..25).collect();
    assert_eq!(view.read_rows(&columns, &ordinals).unwrap(), range);
    assert_eq!(view.read_range(&[], 0, 200).unwrap().num_rows(), 200);
    assert!(view.read_range(&columns, 195, 6).is_err());
    assert!(view.read_rows(&columns, &[200]).is_err());
    assert!(view.read_range(&[ScanColumn::Column(6)], 0, 1).is_err());
}

#[test]
fn natural_ranges_cover_every_row_once() {
    let form = state().form;
    for most in [1, 7, 64, 1000] {
        let ranges = form.natural_ranges(most);
        assert!(ranges.iter().all(|range| range.len() <= most && !range.is_empty()));
        assert!(ranges.iter().flat_map(Clone::clone).eq(0..200));
    }
}
