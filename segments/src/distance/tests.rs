use proto::DistanceMetric;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn vector(length: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let scale = 10_f32.powi(random.random_range(-3..4));
    (0..length).map(|_| random.random_range(-1.0..1.0_f32) * scale).collect()
}

#[test]
fn every_level_gives_the_same_bits() {
    let levels = Level::available();
    let mut random = ChaCha8Rng::seed_from_u64(21);
    let lengths = (1..100).chain([127, 128, 129, 383, 384, 385, 768, 1000, 1536, 2001]);
    for length in lengths {
        let query = vector(length, &mut random);
        let mut rows: Vec<f32> = (0..9).flat_map(|_| vector(length, &mut random)).collect();
        rows.extend(std::iter::repeat_n(0.0, length));
        rows.extend(query.iter().copied());
        for metric in DistanceMetric::ALL {
            let bits = |level| {
                let mut out = vec![0.0; 11];
                Scanner::at_level(metric, &query, level).block(&rows, &mut out);
                out.iter().map(|distance| distance.to_bits()).collect::<Vec<_>>()
            };
            let plain = bits(Level::Baseline);
            for &level in &levels {
                assert_eq!(bits(level), plain, "{metric:?} {length} {level:?}");
            }
            for (row, expected) in rows.chunks(length).zip(&plain) {
                assert_eq!(distance(metric, &query, row).to_bits(), *expected, "one by one as in a block");
                assert_eq!(distance(metric, row, &query).to_bits(), *expected, "symmetric");
            }
        }
    }
}

#[test]
fn results_agree_with_double_precision() {
    let mut random = ChaCha8Rng::seed_from_u64(22);
    for length in [1, 3, 31, 32, 33, 100, 384, 1536] {
        for _ in 0..20 {
            let (a, b) = (vector(length, &mut random), vector(length, &mut random));
            let pairs = || a.iter().zip(&b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            let dot: f64 = pairs().map(|(a, b)| a * b).sum();
            let norms: f64 =
                pairs().map(|(a, _)| a * a).sum::<f64>() * pairs().map(|(_, b)| b * b).sum::<f64>();
            let magnitude: f64 = pairs().map(|(a, b)| (a * b).abs()).sum();
            let check = |metric, expected: f64, scale: f64| {
                let found = distance(metric, &a, &b);
                assert!((found - expected).abs() <= 1e-6 * scale, "{metric:?} {length}: {found} {expected}");
            };
            let squares: f64 = pairs().map(|(a, b)| (a - b) * (a - b)).sum();
            check(DistanceMetric::L2, squares.sqrt(), squares.sqrt());
            check(
                DistanceMetric::L1,
                pairs().map(|(a, b)| (a - b).abs()).sum(),
                magnitude.max(1e-9) + squares.sqrt() * 40.0,
            );
            check(DistanceMetric::InnerProduct, -dot, magnitude);
            check(DistanceMetric::Cosine, 1.0 - dot / norms.sqrt(), 1.0);
        }
    }
}

#[test]
fn special_cases() {
    assert!(distance(DistanceMetric::Cosine, &[0.0, 0.0], &[1.0, 2.0]).is_nan());
    assert!(distance(DistanceMetric::Cosine, &[1.0, 2.0], &[0.0, 0.0]).is_nan());
    assert_eq!(distance(DistanceMetric::Cosine, &[3.0, 4.0], &[6.0, 8.0]), 0.0);
    assert_eq!(distance(DistanceMetric::Cosine, &[3.0, 4.0], &[-3.0, -4.0]), 2.0);
    assert_eq!(distance(DistanceMetric::L2, &[0.0, 0.0], &[3.0, 4.0]), 5.0);
    assert_eq!(distance(DistanceMetric::InnerProduct, &[1.0, 2.0], &[3.0, 4.0]), -11.0);
    assert_eq!(distance(DistanceMetric::L1, &[0.0, 0.0], &[3.0, -4.0]), 7.0);
    let mut out = Vec::new();
    distances(DistanceMetric::L2, &[0.0], &[1.0, -2.0], &mut out);
    assert_eq!(out, [1.0, 2.0]);
}
