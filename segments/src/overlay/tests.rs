use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::fixture::{Row, batch, ids, key, table};
use crate::snapshot::TableSnapshot;

fn base() -> TableSnapshot {
    let mut random = ChaCha8Rng::seed_from_u64(41);
    let mut rows = GrowingRows::new(SegmentId(7), table());
    let new: Vec<Row> = (0..10).map(|id| Row::random(id, &mut random)).collect();
    rows.append(&batch(&new), Timestamp(5), RowId(0)).unwrap();
    let view = SegmentView::new(SegmentForm::Growing(rows), DeleteSet::new(), Timestamp(9));
    TableSnapshot { table: table(), read_ts: Timestamp(9), segments: vec![Arc::new(view)] }
}

fn insert(overlay: &mut TableOverlay, id: i64) {
    let mut random = ChaCha8Rng::seed_from_u64(id as u64);
    overlay.insert(&batch(&[Row::random(id, &mut random)])).unwrap();
}

fn delete(overlay: &mut TableOverlay, snapshot: &TableSnapshot, id: i64) {
    let found = snapshot.with_overlay(overlay).find_keys(&[key(id)]).unwrap()[0].expect("the key is visible");
    overlay.delete(found, Bytes::from(key(id).into_vec()));
}

fn visible(snapshot: &TableSnapshot) -> Vec<i64> {
    let mut all: Vec<i64> = Vec::new();
    for view in &snapshot.segments {
        let batch = view.read_range(&[ScanColumn::Column(0)], 0, view.rows()).unwrap();
        let found = ids(&batch);
        all.extend(view.visible().set_indices().map(|at| found[at]));
        for at in 0..view.rows() {
            assert_eq!(view.is_visible(at as u32), view.visible().value(at));
        }
    }
    all.sort_unstable();
    all
}

#[test]
fn a_transaction_sees_its_own_writes_and_commits_their_net_effect() {
    let snapshot = base();
    let mut overlay = TableOverlay::new(table());
    assert!(overlay.is_empty());
    delete(&mut overlay, &snapshot, 3);
    insert(&mut overlay, 3);
    insert(&mut overlay, 100);
    insert(&mut overlay, 101);
    delete(&mut overlay, &snapshot, 100);
    let before = overlay.clone();
    delete(&mut overlay, &snapshot, 3);
    delete(&mut overlay, &snapshot, 4);
    assert_eq!(visible(&snapshot.with_overlay(&overlay)), [0, 1, 2, 5, 6, 7, 8, 9, 101]);
    assert_eq!(visible(&snapshot.with_overlay(&before)), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 101]);
    assert_eq!(visible(&snapshot).len(), 10, "the base does not change");
    let found = snapshot.with_overlay(&overlay).find_keys(&[key(3), key(100), key(101), key(5)]).unwrap();
    assert!(found[0].is_none() && found[1].is_none());
    assert!(found[2].is_some_and(|row| is_private(row.segment)));
    assert_eq!(found[3].map(|row| row.segment), Some(SegmentId(7)));
    let change = overlay.into_change().unwrap();
    assert_eq!(change.deletes.iter().map(|delete| delete.target.ordinal).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(change.deletes[0].key, Bytes::from(key(3).into_vec()));
    assert_eq!(change.inserts.iter().flat_map(ids).collect::<Vec<_>>(), [101]);
    assert_eq!(before.into_change().unwrap().inserts.iter().flat_map(ids).collect::<Vec<_>>(), [3, 101]);
}

#[test]
fn truncate_hides_everything_before_it() {
    let snapshot = base();
    let mut overlay = TableOverlay::new(table());
    delete(&mut overlay, &snapshot, 3);
    insert(&mut overlay, 50);
    overlay.truncate();
    insert(&mut overlay, 3);
    assert_eq!(visible(&snapshot.with_overlay(&overlay)), [3]);
    let change = overlay.into_change().unwrap();
    assert!(change.truncate && change.deletes.is_empty());
    assert_eq!(change.inserts.iter().flat_map(ids).collect::<Vec<_>>(), [3]);
}

#[test]
fn nothing_left_is_nothing() {
    let mut overlay = TableOverlay::new(table());
    let snapshot = base();
    insert(&mut overlay, 77);
    assert!(!overlay.is_empty() && overlay.memory_bytes() > 0);
    delete(&mut overlay, &snapshot, 77);
    assert!(overlay.is_empty());
    assert_eq!(overlay.clone().into_change().unwrap().inserted_rows(), 0);
    overlay.truncate();
    assert!(!overlay.is_empty());
}
