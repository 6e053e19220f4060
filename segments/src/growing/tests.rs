use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::fixture::{Row, batch, ids, table};

fn filled(sizes: &[usize]) -> (GrowingRows, Vec<Row>) {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut rows = GrowingRows::new(SegmentId(1), table());
    let mut twin: Vec<Row> = Vec::new();
    for (ts, &size) in (10_u64..).zip(sizes) {
        let new: Vec<Row> = (0..size).map(|at| Row::random((twin.len() + at) as i64, &mut random)).collect();
        rows.append(&batch(&new), Timestamp(ts), RowId(100 + twin.len() as u64)).unwrap();
        twin.extend(new);
    }
    (rows, twin)
}

#[test]
fn chunks_merge_geometrically_up_to_the_limit() {
    let (rows, _) = filled(&[1; 1000]);
    assert!(rows.chunks.len() <= 11, "{} chunks", rows.chunks.len());
    let (rows, twin) = filled(&[5000, 5000, 3000, 20_000, 1, 1, 1, 700]);
    let lengths = rows.piece_lengths();
    assert_eq!(lengths.iter().sum::<usize>(), twin.len());
    assert_eq!(lengths[0], 5000, "5000 + 5000 would pass the limit");
    assert_eq!(lengths[1], 8000, "5000 + 3000 fit");
    let starts: Vec<u32> =
        lengths.iter().scan(0, |sum, length| Some(std::mem::replace(sum, *sum + *length as u32))).collect();
    assert_eq!(rows.starts.as_slice(), starts);
}

#[test]
fn any_range_and_any_rows_come_back_as_appended() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let sizes: Vec<usize> =
        (0..60).map(|_| if random.random_bool(0.6) { 1 } else { random.random_range(0..400) }).collect();
    let (rows, twin) = filled(&sizes);
    for _ in 0..200 {
        let start = random.random_range(0..=twin.len());
        let len = random.random_range(0..=twin.len() - start);
        let columns: Vec<ArrayRef> =
            (0..6).map(|column| rows.range(Source::Column(column), start, len).unwrap()).collect();
        assert_eq!(columns, batch(&twin[start..start + len]).columns());
        let wanted: Vec<u32> =
            (0..random.random_range(0..50)).map(|_| random.random_range(0..twin.len() as u32)).collect();
        let sources: Vec<Source> = (0..6).map(Source::Column).collect();
        let picked: Vec<Row> = wanted.iter().map(|at| twin[*at as usize].clone()).collect();
        assert_eq!(rows.rows_at(&sources, &wanted).unwrap(), batch(&picked).columns());
    }
    for (ordinal, row) in (0..).zip(&twin) {
        assert_eq!(rows.identity(ordinal).1, RowId(100 + row.id as u64));
    }
}

#[test]
fn rows_until_counts_what_had_begun() {
    let sizes = [3, 0, 1, 500, 1, 9000, 2];
    let (rows, _) = filled(&sizes);
    for ts in 5..30 {
        let expected: usize = (10_u64..).zip(sizes).filter(|(at, _)| *at <= ts).map(|(_, size)| size).sum();
        assert_eq!(rows.rows_until(Timestamp(ts)), expected, "ts {ts}");
    }
}

#[test]
fn readers_keep_what_they_took() {
    let segment = GrowingSegment::new(SegmentId(1), table());
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut taken = Vec::new();
    for id in 0..300 {
        segment
            .append(&batch(&[Row::random(id, &mut random)]), Timestamp(id as u64), RowId(id as u64))
            .unwrap();
        taken.push(segment.rows());
    }
    for (count, rows) in (1..).zip(taken) {
        assert_eq!(rows.rows(), count);
        let column = rows.range(Source::Column(0), 0, count).unwrap();
        let batch = RecordBatch::try_from_iter([("id", column)]).unwrap();
        assert_eq!(ids(&batch), (0..count as i64).collect::<Vec<_>>());
    }
}

#[test]
fn rows_of_another_shape_are_refused_and_leave_nothing() {
    let mut rows = GrowingRows::new(SegmentId(1), table());
    let wrong =
        RecordBatch::try_from_iter([("id", Arc::new(UInt64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let error = rows.append(&wrong, Timestamp(1), RowId(1)).unwrap_err();
    assert!(matches!(error, Error::RowShape { .. }), "{error}");
    assert_eq!(
        (rows.rows(), rows.keys(table().primary_key.as_ref().unwrap().index_oid).unwrap().sorted().len()),
        (0, 0)
    );
}
