//! The simulation over many seeds, and the proof that a seed is one run.
//!
//! `SEEDS` says how many seeds, `SEED` from which; both are printed. `TRACE=1` prints everything that happens. `BUG_SEEDS`
//! is how many seeds may pass before a planted bug is found.
#![expect(clippy::print_stdout, reason = "what a run did is printed")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::PlantedBug;
use cluster::clock::SystemClock;
use proto::time::Clock;
use tests::simulation::{self, Form, Report};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Runs seeds on all processors and prints what they came to.
fn all_seeds(form: Form, seeds: u64) -> Report {
    let first = number("SEED", 1);
    println!("simulation, {form:?}: SEED={first} SEEDS={seeds}");
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
                    match simulation::run(seed, form, None) {
                        Ok(report) => total.lock().expect("no panic").add(report),
                        Err(failure) => failures.lock().expect("no panic").push(failure),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    let total = total.into_inner().expect("no panic");
    let seconds = clock.monotonic_micros() / 1_000_000;
    println!("simulation, {form:?}: {seeds} seeds in {seconds} s, trace {:016x}: {total}", total.hash);
    let first = failures[..failures.len().min(5)].join("\n");
    assert!(failures.is_empty(), "{} seeds failed\n{first}", failures.len());
    total
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_else_appears() {
    all_seeds(Form::Memory, number("SEEDS", 40));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails() {
    let seeds = number("SEEDS", 30);
    let total = all_seeds(Form::Disk, seeds);
    assert!(total.kills >= seeds * 2, "the power failed {} times only", total.kills);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let first = number("SEED", 1);
    for seed in first..first + 3 {
        let [one, two] = [(); 2].map(|()| simulation::run(seed, Form::Memory, None));
        assert_eq!(one, two, "SEED={seed}");
        let [one, two] = [(); 2].map(|()| simulation::run(seed, Form::Disk, None));
        assert_eq!(one, two, "SEED={seed}, on a disk");
    }
}

/// The first of some seeds that goes wrong with a bug, with what it says.
fn first_failure(bug: PlantedBug, form: Form, seeds: u64) -> Option<(u64, String)> {
    // A run that did too little has found nothing.
    let fails = |seed| simulation::run(seed, form, Some(bug)).err().filter(|why| !why.contains("INVALID"));
    (1..=seeds).find_map(|seed| Some((seed, fails(seed)?)))
}

#[test]
fn every_planted_bug_is_found() {
    let seeds = number("BUG_SEEDS", 200);
    let (next, missed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(bug) =
                    PlantedBug::ALL.get(next.fetch_add(1, Ordering::Relaxed) as usize).copied()
                {
                    let clock = SystemClock::new();
                    let found = first_failure(bug, Form::Memory, seeds);
                    let millis = clock.monotonic_micros() / 1000;
                    if let Some((seed, why)) = found {
                        let why = why.lines().next().unwrap_or_default();
                        println!("found: {bug:?}, {seed} seeds, {millis} ms: {why}");
                    } else {
                        println!("missed: {bug:?}, {seeds} seeds, {millis} ms");
                        missed.lock().expect("no panic").push(bug);
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("no panic");
    assert!(missed.is_empty(), "not found by {seeds} seeds each: {missed:?}");
}

#[test]
fn a_missing_sync_is_found_when_the_power_fails() {
    let found = first_failure(PlantedBug::AnsweredBeforeSynced, Form::Disk, 40);
    let (seed, why) = found.expect("40 seeds find it");
    println!("found on a disk: {seed} seeds: {}", why.lines().next().unwrap_or_default());
}
