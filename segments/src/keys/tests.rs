use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

#[test]
fn lower_bound_equals_the_plain_search() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    for length in [0, 1, 2, 7, 100, 5000] {
        let mut hashes: Vec<u64> = (0..length).map(|_| random.random()).collect();
        hashes.extend([0, 0, u64::MAX, u64::MAX].iter().take(length));
        // Skewed keys: everything in one corner must still be found.
        hashes.extend((0..length as u64).map(|small| small / 3));
        hashes.sort_unstable();
        let probes = hashes.clone().into_iter().chain((0..200).map(|_| random.random())).chain([0, u64::MAX]);
        for probe in probes {
            assert_eq!(lower_bound(&hashes, probe), hashes.partition_point(|&found| found < probe));
        }
    }
}

#[test]
fn every_key_is_found_whatever_the_batches() {
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let mut runs = KeyRuns::default();
    let mut twin: Vec<u64> = Vec::new();
    let mut clones = Vec::new();
    while twin.len() < 4000 {
        let size = if random.random_bool(0.7) { 1 } else { random.random_range(0..300) };
        let hashes: Vec<u64> =
            (0..size).map(|_| hash_key(&random.random_range(0..3000_u32).to_le_bytes())).collect();
        runs.append(hashes.iter().copied().zip(twin.len() as u32..));
        twin.extend(&hashes);
        clones.push((twin.len(), runs.clone()));
    }
    assert!(runs.runs.len() <= 14, "{} runs", runs.runs.len());
    for (length, runs) in clones.iter().step_by(17).chain(clones.last()) {
        for probe in 0..3000_u32 {
            let hash = hash_key(&probe.to_le_bytes());
            let mut found = Vec::new();
            runs.candidates(hash, &mut found);
            found.sort_unstable();
            let expected: Vec<u32> =
                (0..*length as u32).filter(|&ordinal| twin[ordinal as usize] == hash).collect();
            assert_eq!(found, expected);
        }
        let sorted = runs.sorted();
        assert!(sorted.is_sorted());
        assert_eq!(sorted.len(), *length);
    }
}
