use super::*;

fn row(version: i32, tag: &str) -> Row {
    Row { version, tag: tag.to_owned(), code: i64::from(version), parent: None }
}

/// A ledger with two rows and an operation in doubt that changes one and adds one.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(0);
    ledger.apply(Effect::from([((0, 3), Some(row(0, "a"))), ((1, 6), Some(row(0, "a")))]));
    ledger.doubt = Some(Effect::from([((0, 3), Some(row(1, "b"))), ((0, 9), Some(row(0, "b")))]));
    ledger
}

fn found(rows: &[(Key, Row)]) -> Vec<String> {
    judge(&rows.iter().cloned().collect(), &mut [ledger()], &mut Report::default())
}

#[test]
fn all_or_nothing_of_the_doubtful_is_right() {
    assert_eq!(found(&[((0, 3), row(0, "a")), ((1, 6), row(0, "a"))]), Vec::<String>::new());
    assert_eq!(
        found(&[((0, 3), row(1, "b")), ((0, 9), row(0, "b")), ((1, 6), row(0, "a"))]),
        Vec::<String>::new()
    );
}

#[test]
fn half_lost_and_resurrected_are_seen() {
    let half = found(&[((0, 3), row(1, "b")), ((1, 6), row(0, "a"))]);
    assert!(half.iter().any(|violation| violation.starts_with("half")), "{half:?}");
    let lost = found(&[((0, 3), row(0, "a"))]);
    assert!(lost.iter().any(|violation| violation.starts_with("lost")), "{lost:?}");
    let stale = found(&[((0, 3), row(0, "a")), ((1, 6), row(5, "z"))]);
    assert!(stale.iter().any(|violation| violation.starts_with("lost")), "{stale:?}");
    let extra = found(&[((0, 3), row(0, "a")), ((1, 6), row(0, "a")), ((1, 12), row(0, "a"))]);
    assert!(extra.iter().any(|violation| violation.starts_with("resurrected")), "{extra:?}");
}

#[test]
fn duplicates_and_orphans_are_seen() {
    let of = |code, parent| Row { code, parent, ..row(0, "a") };
    let right = [((0, 3), of(1, None)), ((1, 6), of(1, Some(3))), ((1, 9), of(2, None))];
    assert_eq!(keys_and_references(&right.iter().cloned().collect()), Vec::<String>::new());
    let duplicate = [((0, 3), of(1, None)), ((0, 6), of(1, None))];
    let found = keys_and_references(&duplicate.into_iter().collect());
    assert!(found.len() == 1 && found[0].starts_with("duplicate"), "{found:?}");
    let orphan = [((0, 3), of(1, None)), ((1, 6), of(1, Some(4)))];
    let found = keys_and_references(&orphan.into_iter().collect());
    assert!(found.len() == 1 && found[0].starts_with("orphan"), "{found:?}");
}
