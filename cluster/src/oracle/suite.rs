//! The contract of `oracle.rs` as tests. `open` called again is the oracle after a restart.

use std::sync::Arc;

use async_trait::async_trait;
use proto::Timestamp;

use super::{TimestampOracle, WINDOW_MILLIS};
use crate::clock::SimClock;
use crate::error::Result;

/// Opens and reopens an oracle on one storage.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The oracle; called again it is the oracle after a restart.
    async fn open(&self) -> Result<Arc<dyn TimestampOracle>>;
    /// The clock it runs by.
    fn clock(&self) -> Arc<SimClock>;
    /// How many marks were written so far.
    async fn writes(&self) -> u64;
}

const START: u64 = 1_700_000_000_000;

/// Runs every line of the contract, each on a fresh storage and a clock at the given milliseconds.
///
/// # Errors
/// When the oracle fails where the contract wants an answer; a broken promise panics.
pub async fn run<B: Bench>(fresh: impl Fn(u64) -> B) -> Result<()> {
    timestamps_only_grow(&fresh(START)).await?;
    forward_jumps_are_slewed(&fresh(START)).await?;
    now_lies_between(&fresh(START)).await?;
    marks_are_written_once_per_window(&fresh(START)).await?;
    two_oracles_never_agree(&fresh(START)).await
}

async fn timestamps_only_grow(bench: &impl Bench) -> Result<()> {
    let mut last = Timestamp::ZERO;
    for step in 0..40_u64 {
        let oracle = bench.open().await?;
        match step % 4 {
            0 => bench.clock().set_wall(START - step * 3_600_000),
            1 => bench.clock().advance(step * 997),
            2 => bench.clock().set_wall(START + step * 3_600_000),
            _ => {}
        }
        for count in [1, 7, 300_000] {
            let first = oracle.next(count).await?;
            assert!(first > last, "step {step}: {first} after {last}");
            last = Timestamp(first.0 + u64::from(count) - 1);
        }
    }
    Ok(())
}

async fn forward_jumps_are_slewed(bench: &impl Bench) -> Result<()> {
    let oracle = bench.open().await?;
    assert_eq!(oracle.next(1).await?.millis(), START);
    bench.clock().advance(1_000);
    assert_eq!(oracle.next(1).await?.millis(), START + 1_000, "an even clock is followed");
    bench.clock().set_wall(START + 10_000_000);
    assert_eq!(oracle.next(1).await?.millis(), START + 1_000, "no time has passed");
    bench.clock().advance(1_000);
    assert_eq!(oracle.next(1).await?.millis(), START + 2_100);
    bench.clock().set_wall(START);
    bench.clock().advance(2_000);
    assert_eq!(oracle.next(1).await?.millis(), START + 2_100, "a clock set back is waited for");
    Ok(())
}

async fn now_lies_between(bench: &impl Bench) -> Result<()> {
    let oracle = bench.open().await?;
    let mut given = oracle.next(5).await?.0 + 4;
    for step in 0..20 {
        let now = oracle.now();
        assert!(now.0 >= given);
        let later = oracle.next(2).await?;
        assert!(later > now, "step {step}");
        given = later.0 + 1;
        bench.clock().advance(step * 700);
    }
    bench.clock().advance(10 * WINDOW_MILLIS);
    let shown = oracle.now();
    let restarted = bench.open().await?;
    assert!(restarted.next(1).await? > shown, "what was shown before a restart stays below");
    Ok(())
}

async fn marks_are_written_once_per_window(bench: &impl Bench) -> Result<()> {
    let oracle = bench.open().await?;
    for _ in 0..100 {
        oracle.now();
        bench.clock().advance(WINDOW_MILLIS);
    }
    assert_eq!(bench.writes().await, 0, "nothing is drawn, nothing is written");
    for _ in 0..1_000 {
        oracle.next(3).await?;
        bench.clock().advance(10);
    }
    let writes = bench.writes().await;
    assert!((1..=4).contains(&writes), "{writes} writes in 10 s");
    Ok(())
}

async fn two_oracles_never_agree(bench: &impl Bench) -> Result<()> {
    let old = bench.open().await?;
    let before = old.next(10).await?;
    let new = bench.open().await?;
    let after = new.next(10).await?;
    assert!(after.0 > before.0 + 9);
    // The old one may use up its window, which lies below the new one's start, and then fails.
    loop {
        match old.next(1 << 20).await {
            Ok(first) => assert!(first.0 + (1 << 20) <= after.0),
            Err(_) => return Ok(()),
        }
    }
}
