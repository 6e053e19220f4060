//! The simulation over many seeds, and the proof that a seed is one run.
//!
//! `SEEDS` says how many seeds, `SEED` from which; both are printed. `TRACE=1` prints everything that happens.
#![expect(clippy::print_stdout, reason = "what a run did is printed")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::PlantedBug;
use cluster::clock::SystemClock;
use proto::time::Clock;
use tests::simulation::{self, Report};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_else_appears() {
    let (first, seeds) = (number("SEED", 1), number("SEEDS", 40));
    println!("simulation: SEED={first} SEEDS={seeds}");
    let clock = SystemClock::new();
    let next = AtomicU64::new(first);
    let total = Mutex::new(Report::default());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    match simulation::run(seed, None) {
                        Ok(report) => total.lock().expect("no panic").add(report),
                        Err(failure) => failures.lock().expect("no panic").push(failure),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    let total = total.into_inner().expect("no panic");
    println!(
        "simulation: {seeds} seeds in {} s, trace {:016x}: {total}",
        clock.monotonic_micros() / 1_000_000,
        total.hash
    );
    assert!(
        failures.is_empty(),
        "{} seeds failed\n{}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n")
    );
}

#[test]
fn the_same_seed_is_the_same_run() {
    let first = number("SEED", 1);
    for seed in first..first + 3 {
        let [one, two] = [simulation::run(seed, None), simulation::run(seed, None)];
        assert_eq!(one, two, "SEED={seed}");
    }
}

/// Whether one of a few seeds goes wrong with a bug.
fn is_found(bug: PlantedBug) {
    let clock = SystemClock::new();
    let seeds = number("SEEDS", 200);
    // A run that did too little has found nothing.
    let fails = |seed| simulation::run(seed, Some(bug)).err().filter(|why| !why.contains("INVALID"));
    let found = (1..=seeds).find_map(|seed| Some((seed, fails(seed)?)));
    let (seed, why) = found.unwrap_or_else(|| panic!("{bug:?} was not found by {seeds} seeds"));
    let why = why.lines().next().unwrap_or_default();
    println!("{bug:?}: seed {seed}, {} ms: {why}", clock.monotonic_micros() / 1000);
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
