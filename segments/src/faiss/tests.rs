use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;

fn vectors(rows: usize, dimensions: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    (0..rows * dimensions).map(|_| random.random_range(-1.0..1.0)).collect()
}

const PARAMETERS: GraphParameters =
    GraphParameters { metric: DistanceMetric::L2, m: 8, ef_construction: 40, threads: 2 };

#[test]
fn faiss_is_compiled_for_wide_registers() {
    let library = library();
    assert!(library.starts_with("1.12."), "{library}");
    #[cfg(target_arch = "x86_64")]
    assert!(library.contains("AVX2"), "the build flags did not reach FAISS: {library}");
}

#[test]
fn a_graph_has_its_nodes_and_says_how_far_it_is() {
    let values = vectors(5000, 12);
    let mut seen = Vec::new();
    let rows = NodeRows { values: &values, dimensions: 12, ordinals: None };
    let graph = build_graph(rows, PARAMETERS, &mut |done| {
        seen.push(done);
        true
    });
    let graph = graph.expect("it is built");
    assert_eq!((graph.levels.len(), graph.offsets.len()), (5000, 5001));
    assert_eq!(graph.neighbours.len(), *graph.offsets.last().expect("one at least"));
    assert!(graph.neighbours.iter().all(|neighbour| (-1..5000).contains(neighbour)));
    assert_eq!(seen, [2000, 4000, 5000]);
}

#[test]
fn a_build_stops_when_told() {
    let values = vectors(5000, 4);
    let rows = NodeRows { values: &values, dimensions: 4, ordinals: None };
    assert_eq!(build_graph(rows, PARAMETERS, &mut |_| false), Err(FaissError::Canceled));
}

#[test]
fn no_rows_give_an_empty_graph() {
    let rows = NodeRows { values: &[], dimensions: 4, ordinals: None };
    let graph = build_graph(rows, PARAMETERS, &mut |_| true).expect("it is built");
    assert_eq!((graph.entry, graph.levels.len()), (-1, 0));
}

#[test]
fn every_vector_goes_to_its_nearest_centroid() {
    let values = vectors(400, 6);
    let found = centroids(&values, 6, 5, false, 1).expect("enough vectors");
    let assigned = assign(&found, &values, 6, false, 1).expect("assigned");
    for (row, list) in values.chunks(6).zip(assigned) {
        let distance = |centroid: &[f32]| crate::distance::distance(DistanceMetric::L2, row, centroid);
        let nearest = found.chunks(6).map(distance).fold(f64::INFINITY, f64::min);
        assert!(distance(&found[list as usize * 6..][..6]) <= nearest + 1e-5);
    }
    assert!(matches!(centroids(&values[..12], 6, 5, false, 1), Err(FaissError::Failed(_))));
}
