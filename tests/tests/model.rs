//! The model test over many seeds, and the proof that it finds the bugs it is there for.
//!
//! `MODEL_SEEDS` says how many seeds, `SEED` from which; both are printed.
#![expect(clippy::print_stdout, reason = "what a planted bug did is printed")]

use cluster::PlantedBug;
use tests::model::{self, Counts};

const OPERATIONS: usize = 200;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn every_read_equals_the_twin() {
    let (first, seeds) = (number("SEED", 1), number("MODEL_SEEDS", 60));
    println!("model test: SEED={first} MODEL_SEEDS={seeds}, {OPERATIONS} operations each");
    let next = std::sync::atomic::AtomicU64::new(0);
    let total = std::sync::Mutex::new(Counts::default());
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    match model::run(first + seed, OPERATIONS, None) {
                        Ok(counts) => total.lock().expect("no panic").add(counts),
                        Err(difference) => failures.lock().expect("no panic").push(difference),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    let total = total.into_inner().expect("no panic");
    println!("model test: {seeds} seeds, {total}");
    assert!(
        failures.is_empty(),
        "{} seeds differ\n{}",
        failures.len(),
        failures[..failures.len().min(3)].join("\n")
    );
    // A run that did not do its work proves nothing.
    let least = [
        total.commits / 20,
        total.conflicts,
        total.duplicates,
        total.orphans,
        total.given_up,
        total.checkpoints,
        total.restarts,
        total.rebuilds,
        total.compactions,
        total.collections / 2,
    ];
    assert!(least.iter().all(|count| *count >= seeds), "too little of something: {total}");
}

/// Whether one of a few seeds that are right without a planted bug goes wrong with it.
fn is_found(bug: PlantedBug) {
    let found = (1..=40).find_map(|seed| {
        let difference = model::run(seed, OPERATIONS, Some(bug)).err()?;
        model::run(seed, OPERATIONS, None).is_ok().then_some(difference)
    });
    let difference = found.unwrap_or_else(|| panic!("{bug:?} was not found by 40 seeds"));
    println!("{bug:?}: {difference}");
}

#[test]
fn a_checkpoint_that_passes_unflushed_rows_is_found() {
    is_found(PlantedBug::CheckpointPassesUnflushedRows);
}

#[test]
fn a_delete_not_applied_to_growing_rows_is_found() {
    is_found(PlantedBug::DeleteNotAppliedToGrowing);
}

#[test]
fn an_insert_into_a_sealed_segment_is_found() {
    is_found(PlantedBug::InsertIntoSealedSegment);
}
