//! Deletes in every state of a segment and at every moment of what happens to it.
//!
//! `MATRIX_SEEDS` says how many seeds, `SEED` from which; both are printed.

use tests::matrix::{self, Report};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn deletes_stay_deleted_in_every_cell_of_the_matrix() {
    let (first, seeds) = (number("SEED", 1), number("MATRIX_SEEDS", 5));
    println!("delete matrix: SEED={first} MATRIX_SEEDS={seeds}");
    let mut report = Report::default();
    let mut failures = Vec::new();
    for seed in first..first + seeds {
        failures.extend(matrix::run(seed, &mut report).err().into_iter().flatten());
    }
    println!("delete matrix: {report}, {} failures", failures.len());
    assert!(failures.is_empty(), "{}", failures[..failures.len().min(20)].join("\n"));
    // A run that did not do its work proves nothing.
    let cells = seeds * (matrix::STATES.len() * matrix::OPERATIONS.len() * matrix::MOMENTS.len()) as u64;
    assert_eq!(report.cells, cells);
    assert!(report.reads >= cells * 8 && report.deleted_rows >= cells * 6, "too little was done: {report}");
}

#[test]
fn a_full_disk_loses_nothing_and_is_over_when_there_is_space() {
    let seed = number("SEED", 1);
    println!("full disk: SEED={seed}");
    for seed in seed..seed + 5 {
        matrix::run_full_disk(seed).unwrap_or_else(|difference| panic!("seed {seed}: {difference}"));
    }
}
