use super::*;

const LIMITS: Limits = Limits { segment_bytes: 1000, small_segments: 4, dead_fraction: 0.2 };

fn segment(id: u64, bytes: u64, rows: u64, purgeable: u64) -> Candidate {
    let first_row = RowId(id * 1_000_000);
    Candidate { segment: SegmentId(id), first_row, rows, purgeable, bytes, is_copyable: true }
}

fn planned(candidates: &[Candidate], goal: CompactionGoal) -> Vec<Vec<u64>> {
    let merges = plan(candidates, &LIMITS, goal);
    let mut seen = std::collections::BTreeSet::new();
    for segment in merges.iter().flatten() {
        assert!(seen.insert(*segment), "{segment} is in two merges");
    }
    merges.into_iter().map(|merge| merge.into_iter().map(|segment| segment.0).collect()).collect()
}

#[test]
fn few_small_segments_and_few_dead_rows_are_left_alone() {
    let table =
        [segment(1, 900, 100, 19), segment(2, 10, 10, 0), segment(3, 10, 10, 1), segment(4, 10, 10, 0)];
    assert_eq!(planned(&table, CompactionGoal::Automatic), Vec::<Vec<u64>>::new());
    assert_eq!(planned(&[], CompactionGoal::Full), Vec::<Vec<u64>>::new());
}

#[test]
fn many_small_segments_are_merged() {
    let table: Vec<Candidate> = (1..=5).map(|id| segment(id, 10, 10, 0)).collect();
    assert_eq!(planned(&table, CompactionGoal::Automatic), [[1, 2, 3, 4, 5]]);
}

#[test]
fn a_large_one_is_not_copied_again_for_a_few_small_ones() {
    let mut table: Vec<Candidate> = (1..=5).map(|id| segment(id, 10, 10, 0)).collect();
    table.push(segment(6, 400, 400, 0));
    assert_eq!(planned(&table, CompactionGoal::Automatic), [[1, 2, 3, 4, 5]]);
    // The cost of many rounds stays near n log n.
    let (mut sizes, mut copied, mut next) = (Vec::<Candidate>::new(), 0, 1);
    for _ in 0..90 {
        sizes.push(segment(next, 5, 5, 0));
        next += 1;
        for merge in plan(&sizes, &LIMITS, CompactionGoal::Automatic) {
            let bytes = sizes.iter().filter(|one| merge.contains(&one.segment)).map(|one| one.bytes).sum();
            sizes.retain(|one| !merge.contains(&one.segment));
            sizes.push(segment(next, bytes, bytes, 0));
            next += 1;
            copied += bytes;
        }
    }
    assert!(sizes.len() < 20 && copied < 450 * 6, "{} segments, {copied} bytes copied", sizes.len());
}

#[test]
fn a_merge_is_not_larger_than_a_segment_may_be() {
    let table: Vec<Candidate> = (1..=9).map(|id| segment(id, 300, 300, 0)).collect();
    let merges = planned(&table, CompactionGoal::Automatic);
    assert_eq!(merges, [[1, 2, 3, 4]]);
    assert_eq!(planned(&table, CompactionGoal::Full), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
}

#[test]
fn dead_rows_are_purged_from_the_fraction_on() {
    let table = [segment(1, 900, 100, 20), segment(2, 900, 100, 19)];
    assert_eq!(planned(&table, CompactionGoal::Automatic), [[1]]);
    assert_eq!(planned(&table, CompactionGoal::Vacuum), [[1], [2]]);
    let whole = [segment(1, 900, 100, 0), segment(2, 900, 100, 0)];
    assert_eq!(planned(&whole, CompactionGoal::Full), Vec::<Vec<u64>>::new());
}

#[test]
fn what_has_ended_altogether_goes_without_a_copy() {
    let mut gone = segment(2, 900, 100, 100);
    gone.is_copyable = false;
    let mut kept = segment(3, 900, 100, 99);
    kept.is_copyable = false;
    let table = [segment(1, 900, 100, 100), gone, kept];
    assert_eq!(planned(&table, CompactionGoal::Automatic), [[1, 2]]);
    assert_eq!(planned(&table, CompactionGoal::Full), [[1, 2]]);
}

#[test]
fn vacuum_joins_what_is_small_and_full_joins_everything() {
    let table = [segment(1, 10, 10, 0), segment(2, 600, 600, 0), segment(3, 10, 10, 0)];
    assert_eq!(planned(&table, CompactionGoal::Vacuum), [[1, 3]]);
    assert_eq!(planned(&table, CompactionGoal::Full), [[1, 2, 3]]);
}
