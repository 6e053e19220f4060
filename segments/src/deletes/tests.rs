use super::*;

fn visible(set: &DeleteSet, rows: usize, read_ts: u64) -> Vec<usize> {
    let mut words = bitmap::all_set(rows);
    set.hide(&mut words, rows, Timestamp(read_ts));
    bitmap::from_words(words, rows).set_indices().collect()
}

#[test]
fn the_earliest_delete_wins_and_clones_do_not_change() {
    let mut set = DeleteSet::new();
    set.insert(3, RowId(30), Timestamp(7));
    let before = set.clone();
    assert_eq!(before.all_undeleted(5).count_set_bits(), 4);
    set.insert(3, RowId(30), Timestamp(9));
    set.insert(1, RowId(10), Timestamp(8));
    set.insert(4, RowId(40), Timestamp(12));
    set.insert(4, RowId(40), Timestamp(10));
    assert_eq!(set.len(), 3);
    assert_eq!(visible(&set, 5, 6), [0, 1, 2, 3, 4]);
    assert_eq!(visible(&set, 5, 7), [0, 1, 2, 4]);
    assert_eq!(visible(&set, 5, 8), [0, 2, 4]);
    assert_eq!(visible(&set, 5, 10), [0, 2]);
    assert_eq!(visible(&set, 5, 99), [0, 2]);
    assert_eq!(visible(&before, 5, 99), [0, 1, 2, 4]);
    assert_eq!(before.all_undeleted(5).count_set_bits(), 4);
    assert_eq!(set.all_undeleted(5).count_set_bits(), 2);
    assert_eq!(set.all_undeleted(6).count_set_bits(), 3, "a cache of fewer rows is not used");
}

#[test]
fn truncate_ends_the_rows_of_its_moment() {
    let mut set = DeleteSet::new();
    set.insert(0, RowId(0), Timestamp(3));
    set.end_all(70, Timestamp(5));
    set.insert(71, RowId(71), Timestamp(6));
    assert_eq!(visible(&set, 73, 4).len(), 72);
    assert_eq!(visible(&set, 73, 5), [70, 71, 72]);
    assert_eq!(visible(&set, 73, 6), [70, 72]);
    assert_eq!(set.delete_ts(0), Some(Timestamp(3)));
    assert_eq!(set.delete_ts(69), Some(Timestamp(5)));
    assert_eq!(set.delete_ts(70), None);
    assert!(set.is_deleted(71, Timestamp(6)) && !set.is_deleted(71, Timestamp(5)));
}

#[test]
fn pages_far_apart() {
    let mut set = DeleteSet::new();
    for ordinal in [0, 1023, 1024, 5000, 99_999] {
        set.insert(ordinal, RowId(u64::from(ordinal)), Timestamp(1));
    }
    assert_eq!(set.entries().map(|entry| entry.ordinal).collect::<Vec<_>>(), [0, 1023, 1024, 5000, 99_999]);
    assert_eq!(set.all_undeleted(100_000).count_set_bits(), 99_995);
    assert_eq!(set.all_undeleted(1024).count_set_bits(), 1022);
}
