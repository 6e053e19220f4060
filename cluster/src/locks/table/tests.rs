//! The lock table alone: order, upgrade, release, circles.

use proto::{DatabaseId, TableId};
use tokio::sync::oneshot::Receiver;

use super::*;

const TABLE: LockTarget = LockTarget::Table(TableId(7));
const KEY: LockTarget = LockTarget::Key { table: TableId(7), hash: 1 };
const OTHER_KEY: LockTarget = LockTarget::Key { table: TableId(7), hash: 2 };

fn waits(
    table: &mut LockTable,
    owner: OwnerId,
    target: LockTarget,
    mode: LockMode,
) -> (WaitId, Receiver<()>) {
    match table.request(owner, target, mode.into()) {
        Requested::Waits(id, granted) => (id, granted),
        Requested::Granted => panic!("{mode:?} was granted"),
    }
}

fn granted(table: &mut LockTable, owner: OwnerId, target: LockTarget, mode: LockMode) {
    let Requested::Granted = table.request(owner, target, mode.into()) else { panic!("{mode:?} waits") };
}

#[test]
fn conflicts_are_mutual() {
    for one in LockMode::ALL {
        for other in LockMode::ALL {
            assert_eq!(one.conflicts().has(other), other.conflicts().has(one), "{one:?} and {other:?}");
        }
    }
}

#[test]
fn a_queue_is_served_in_order() {
    let mut table = LockTable::default();
    let [one, two, three, four] = [1, 2, 3, 4].map(|process| table.enter(process, true));
    granted(&mut table, one, TABLE, LockMode::AccessShare);
    let (_, mut exclusive) = waits(&mut table, two, TABLE, LockMode::AccessExclusive);
    // A reader does not pass the one in line, and two readers go together.
    let (_, mut third) = waits(&mut table, three, TABLE, LockMode::AccessShare);
    let (_, mut fourth) = waits(&mut table, four, TABLE, LockMode::AccessShare);
    table.leave(one);
    exclusive.try_recv().unwrap();
    third.try_recv().unwrap_err();
    table.leave(two);
    third.try_recv().unwrap();
    fourth.try_recv().unwrap();
    table.leave(three);
    table.leave(four);
    assert_eq!((table.list(), table.exclusive_tables), (Vec::new(), 0));
}

#[test]
fn a_stronger_mode_goes_ahead_of_those_that_wait_for_the_weaker() {
    let mut table = LockTable::default();
    let (one, two) = (table.enter(1, true), table.enter(2, true));
    granted(&mut table, one, TABLE, LockMode::AccessShare);
    let (_, mut second) = waits(&mut table, two, TABLE, LockMode::AccessExclusive);
    granted(&mut table, one, TABLE, LockMode::RowExclusive);
    second.try_recv().unwrap_err();
    table.leave(one);
    second.try_recv().unwrap();
}

#[test]
fn who_leaves_a_queue_lets_those_behind_through() {
    let mut table = LockTable::default();
    let [one, two, three] = [1, 2, 3].map(|process| table.enter(process, true));
    granted(&mut table, one, TABLE, LockMode::AccessShare);
    let (wait, _granted) = waits(&mut table, two, TABLE, LockMode::AccessExclusive);
    let (_, mut third) = waits(&mut table, three, TABLE, LockMode::RowExclusive);
    table.give_up(TABLE, wait);
    third.try_recv().unwrap();
    assert_eq!(table.exclusive_tables, 0);
}

#[test]
fn locks_behind_a_mark_are_given_back() {
    let mut table = LockTable::default();
    let (one, two) = (table.enter(1, true), table.enter(2, true));
    granted(&mut table, one, KEY, LockMode::ForShare);
    let mark = table.taken(one);
    granted(&mut table, one, KEY, LockMode::ForUpdate);
    granted(&mut table, one, OTHER_KEY, LockMode::ForUpdate);
    let (_, mut share) = waits(&mut table, two, KEY, LockMode::ForShare);
    table.release_since(one, mark);
    share.try_recv().unwrap();
    assert!(table.try_request(two, OTHER_KEY, LockModes::change(true)));
    assert!(!table.try_request(two, KEY, LockMode::ForUpdate.into()));
}

#[test]
fn a_circle_is_found_by_whoever_is_in_it() {
    let mut table = LockTable::default();
    let [one, two, three] = [1, 2, 3].map(|process| table.enter(process, true));
    granted(&mut table, one, KEY, LockMode::Write);
    granted(&mut table, two, OTHER_KEY, LockMode::Write);
    let _first = waits(&mut table, one, OTHER_KEY, LockMode::Write);
    let _outside = waits(&mut table, three, KEY, LockMode::Write);
    assert_eq!(table.deadlock(1), None);
    let (wait, _second) = waits(&mut table, two, KEY, LockMode::Write);
    let edge = |process, target, blocker, number| Edge {
        process,
        target,
        mode: LockMode::Write,
        blocker,
        blocking_transaction: Some(number),
        in_line: false,
    };
    assert_eq!(table.deadlock(1), Some(vec![edge(1, OTHER_KEY, 2, 2), edge(2, KEY, 1, 1)]));
    assert_eq!(table.deadlock(2), Some(vec![edge(2, KEY, 1, 1), edge(1, OTHER_KEY, 2, 2)]));
    // Who only waits for a circle is not in it, though one of the two stood in line behind it.
    assert_eq!(table.deadlock(3), None);
    table.give_up(KEY, wait);
    assert_eq!(table.deadlock(1), None);
}

#[test]
fn a_circle_of_places_in_line_is_opened() {
    let mut table = LockTable::default();
    let [one, two, three] = [1, 2, 3].map(|process| table.enter(process, true));
    granted(&mut table, one, TABLE, LockMode::AccessShare);
    granted(&mut table, three, KEY, LockMode::Write);
    let (_, mut second) = waits(&mut table, two, TABLE, LockMode::AccessExclusive);
    let (_, mut third) = waits(&mut table, three, TABLE, LockMode::AccessShare);
    let (_, mut first) = waits(&mut table, one, KEY, LockMode::Write);
    // 1 waits for 3, 3 in line behind 2, 2 for 1: the reader goes first.
    assert_eq!(table.deadlock(1), None);
    third.try_recv().unwrap();
    table.leave(three);
    first.try_recv().unwrap();
    table.leave(one);
    second.try_recv().unwrap();
}

#[test]
fn a_session_gives_back_as_often_as_it_took() {
    let advisory = LockTarget::Advisory { database: DatabaseId(5), high: 0, low: 9, pair: false };
    let mut table = LockTable::default();
    let (one, two) = (table.enter(1, false), table.enter(2, true));
    for _ in 0..2 {
        granted(&mut table, one, advisory, LockMode::Exclusive);
        table.count(one, advisory, LockMode::Exclusive);
    }
    // A transaction of the same process does not wait for its session.
    let own = table.enter(1, true);
    granted(&mut table, own, advisory, LockMode::Exclusive);
    table.leave(own);
    assert!(table.discount(one, advisory, LockMode::Exclusive));
    assert!(!table.try_request(two, advisory, LockMode::Share.into()));
    assert!(table.discount(one, advisory, LockMode::Exclusive));
    assert!(!table.discount(one, advisory, LockMode::Exclusive));
    assert!(table.try_request(two, advisory, LockMode::Share.into()));
}
